public import HTTP
internal import Wire

/// Which bytes of an object a get asks for.
public enum R2Range: Equatable, Sendable {
    /// From `offset`, to the end or for `length` bytes.
    case offset(Int64, length: Int64? = nil)
    /// The first bytes.
    case length(Int64)
    /// The last bytes.
    case suffix(Int64)
    /// The value of a `Range` header: one satisfiable range of bytes is used; several ranges, anything
    /// malformed and what lies outside the object give the whole object.
    case header(String)

    /// The `Range` header of `headers`; `nil` when there is none.
    public init?(_ headers: Headers) {
        guard let value = headers.get("range") else { return nil }
        self = .header(value)
    }

    /// As HTTP asks for one (RFC 9110 §14.2): anything but a single range of bytes is as if there were none, and one that
    /// lies outside the object is an error, other than `header`.
    package init?(asking text: String) {
        let halves = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard halves.count == 2, halves[0].lowercased() == "bytes" else { return nil }
        let ends = halves[1].split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2, ends.allSatisfy({ $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }) else { return nil }
        switch (Int64(ends[0]), Int64(ends[1])) {
        case (let first?, let last?) where first <= last: self = .offset(first, length: min(last, .max - 1) - first + 1)
        case (let first?, nil) where ends[1].isEmpty: self = .offset(first)
        case (nil, let suffix?) where ends[0].isEmpty: self = .suffix(suffix)
        default: return nil
        }
    }

    /// Checks what can be checked without knowing the object.
    ///
    /// - Throws: the product's RangeError for a negative number.
    package func validate() throws(CallFailure) {
        func check(_ value: Int64, _ what: String) throws(CallFailure) {
            guard value >= 0 else {
                throw .rangeError(
                    "Invalid range. \(what) (\(value)) must be greater than or equal to 0.")
            }
        }
        switch self {
        case .offset(let offset, let length):
            try check(offset, "Starting offset")
            if let length { try check(length, "Length") }
        case .length(let length): try check(length, "Length")
        case .suffix(let suffix): try check(suffix, "Suffix")
        case .header: break
        }
    }

    /// The bytes this range means in an object of `size` bytes, inside its bounds; `nil` is the whole
    /// object.
    ///
    /// - Throws: `.invalidRange` when no byte would be left.
    package func resolve(size: Int64) throws(R2Failure) -> R2ResolvedRange? {
        switch self {
        case .offset(let offset, let length):
            guard offset >= 0, offset < size, length.map({ $0 > 0 }) ?? true else { throw .invalidRange }
            return R2ResolvedRange(offset: offset, length: min(length ?? .max, size - offset))
        case .length(let length): return try R2Range.offset(0, length: length).resolve(size: size)
        case .suffix(let suffix):
            let length = min(suffix, size)
            guard length > 0 else { throw .invalidRange }
            return R2ResolvedRange(offset: size - length, length: length)
        case .header(let text): return Self.resolve(header: text, size: size)
        }
    }

    private static func resolve(header text: String, size: Int64) -> R2ResolvedRange? {
        let trimmed = text.utf8.drop { $0 == 32 || $0 == 9 }
        let unit = trimmed.prefix { $0 != UInt8(ascii: "=") }
        let name = String(Substring(unit)).lowercased().filter { $0 != " " }
        guard name == "bytes", unit.endIndex < trimmed.endIndex else { return nil }
        let rest = String(Substring(trimmed[trimmed.index(after: unit.endIndex)...]))
            .filter { $0 != " " && $0 != "\t" }
        let ends = rest.split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2, ends.allSatisfy({ $0.utf8.allSatisfy { (48...57).contains($0) } }) else {
            return nil
        }
        switch (Int64(ends[0]), Int64(ends[1])) {
        case (let first?, let last?):
            guard first <= last, first < size else { return nil }
            return R2ResolvedRange(offset: first, length: min(last, size - 1) - first + 1)
        case (let first?, nil) where ends[1].isEmpty:
            guard first < size else { return nil }
            return R2ResolvedRange(offset: first, length: size - first)
        case (nil, let suffix?) where ends[0].isEmpty:
            let length = min(suffix, size)
            return length > 0 ? R2ResolvedRange(offset: size - length, length: length) : nil
        default: return nil
        }
    }

    func encode(into encoder: inout WireEncoder) {
        switch self {
        case .offset(let offset, let length):
            encoder.put(UInt8(1))
            encoder.put(offset)
            encoder.put(length)
        case .length(let length):
            encoder.put(UInt8(2))
            encoder.put(length)
        case .suffix(let suffix):
            encoder.put(UInt8(3))
            encoder.put(suffix)
        case .header(let text):
            encoder.put(UInt8(4))
            encoder.put(text)
        }
    }

    init(decoding decoder: inout WireDecoder) throws(WireError) {
        switch try decoder.takeUInt8() {
        case 1: self = .offset(try decoder.takeInt64(), length: try decoder.takeOptionalInt64())
        case 2: self = .length(try decoder.takeInt64())
        case 3: self = .suffix(try decoder.takeInt64())
        case 4: self = .header(try decoder.takeString())
        default: throw .invalidValue("range form", offset: decoder.offset - 1)
        }
    }
}

/// The bytes that a get really returned.
public struct R2ResolvedRange: Equatable, Sendable {
    public var offset: Int64
    public var length: Int64

    public init(offset: Int64, length: Int64) {
        self.offset = offset
        self.length = length
    }

    func encode(into encoder: inout WireEncoder) {
        encoder.put(offset)
        encoder.put(length)
    }

    init(decoding decoder: inout WireDecoder) throws(WireError) {
        offset = try decoder.takeInt64()
        length = try decoder.takeInt64()
    }
}
