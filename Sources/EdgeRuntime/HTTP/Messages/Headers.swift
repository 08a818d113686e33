package import Wire

/// The headers of a request or a response.
///
/// Names are compared in any case and kept in lower case. Several values of one name are read as one, joined
/// by `, `; only `Set-Cookie` keeps its values apart. Order is kept on the wire; iteration is sorted by name.
///
/// They are held as the bytes of a fetch message, so receiving or passing on headers decodes none of them,
/// and looking one up decodes that one. A lookup looks at all of them: there are few.
public struct Headers: Sendable {
    /// `(nameLength: UInt16, valueLength: UInt32, name, value)*`
    private var block: [UInt8]
    /// Where the first header starts in `block`; what is in front belongs to the message it came in.
    private var start: Int
    /// How many headers there are; values of one name count one by one.
    package private(set) var wireCount: Int

    public init() {
        block = []
        start = 0
        wireCount = 0
    }

    /// - Throws: the first name or value that is invalid.
    public init(_ pairs: some Sequence<(String, String)>) throws(HeaderError) {
        self.init()
        for (name, value) in pairs { try append(name, value) }
    }

    /// Takes over the headers of a fetch message. Costs a walk over their lengths.
    ///
    /// - Parameters:
    ///   - message: the whole message. Names are in lower case.
    ///   - offset: where the first header starts; moved behind the last one.
    package init(message: [UInt8], count: Int, from offset: inout Int) throws(WireError) {
        var cursor = HeaderBlockCursor(count: count, from: offset)
        while try cursor.next(message) != nil {}
        block = cursor.offset == message.count ? message : Array(message[..<cursor.offset])
        start = offset
        wireCount = count
        offset = cursor.offset
    }

    // MARK: Reading

    public var isEmpty: Bool { wireCount == 0 }

    public func has(_ name: String) -> Bool { find(name) { _ in .stop } }

    /// The values of `name`, joined by `, `; `nil` when there is none.
    public func get(_ name: String) -> String? {
        var joined: String?
        find(name) { value in
            if let before = joined {
                joined = before + ", " + text(value)
            } else {
                joined = text(value)
            }
            return .goOn
        }
        return joined
    }

    /// The values of `name` in their order, each as it was sent. Meant for `Set-Cookie`.
    public func getAll(_ name: String) -> [String] {
        var values: [String] = []
        find(name) { value in
            values.append(text(value))
            return .goOn
        }
        return values
    }

    public func getSetCookie() -> [String] { getAll("set-cookie") }

    /// `get`.
    public subscript(_ name: String) -> String? {
        get { self.get(name) }
    }

    // MARK: Changing

    /// Replaces all values of `name`.
    public mutating func set(_ name: String, _ value: String) throws(HeaderError) {
        try Self.validate(name, value)
        remove(name)
        put(name, value)
    }

    /// Adds a value behind those that `name` has.
    public mutating func append(_ name: String, _ value: String) throws(HeaderError) {
        try Self.validate(name, value)
        put(name, value)
    }

    public mutating func delete(_ name: String) { remove(name) }

    // MARK: The wire

    /// Appends all headers as a fetch message has them, without their count (`wireCount`).
    package func encode(into buffer: inout ByteBuffer) { buffer.append(block[start...]) }

    /// Calls `body` with each header in its order on the wire, values of one name one by one.
    package func forEachOnWire(_ body: (_ name: String, _ value: String) -> Void) {
        forEach { name, value in body(text(name), text(value)) }
    }

    /// The form of `forEachOnWire` for bytes, which are lent for the call.
    package func forEachSpan(_ body: (_ name: RawSpan, _ value: RawSpan) -> Void) {
        // SAFETY: the bytes of an array of plain bytes are initialised, and the span lives for this call.
        let bytes = unsafe block.span.bytes
        forEach { name, value in body(bytes.extracting(name.range), bytes.extracting(value.range)) }
    }

    // MARK: Private parts

    private enum Next { case goOn, stop }

    /// Whitespace around a value doesn't belong to it
    /// (https://fetch.spec.whatwg.org/#concept-header-value-normalize).
    private static func trimmed(_ value: String) -> Substring.UTF8View {
        var utf8 = value[...].utf8
        while let byte = utf8.first, byte.isHeaderWhitespace { utf8.removeFirst() }
        while let byte = utf8.last, byte.isHeaderWhitespace { utf8.removeLast() }
        return utf8
    }

    private static func validate(_ name: String, _ value: String) throws(HeaderError) {
        guard !name.isEmpty, name.utf8.allSatisfy(\.isTokenByte) else { throw .invalidName(name) }
        guard name.utf8.count < 1 << 16, value.utf8.count <= 1 << 20 else { throw .tooLong(name: name) }
        guard trimmed(value).allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }) else {
            throw .invalidValue(name: name)
        }
    }

    private mutating func put(_ name: String, _ value: String) {
        let value = Self.trimmed(value)
        let nameCount = name.utf8.count
        let valueCount = value.count
        block.reserveCapacity(block.count + HeaderBlockCursor.prefixByteCount + nameCount + valueCount)
        block.append(UInt8(truncatingIfNeeded: nameCount))
        block.append(UInt8(truncatingIfNeeded: nameCount >> 8))
        for shift in [0, 8, 16, 24] { block.append(UInt8(truncatingIfNeeded: valueCount >> shift)) }
        for byte in name.utf8 { block.append(byte.asciiLowercased) }
        block.append(contentsOf: value)
        wireCount += 1
    }

    private mutating func remove(_ name: String) {
        guard has(name) else { return }
        var kept: [UInt8] = []
        kept.reserveCapacity(block.count - start)
        var keptCount = 0
        forEach { candidate, value in
            guard !matches(candidate, name) else { return }
            kept.append(contentsOf: block[(candidate.offset - HeaderBlockCursor.prefixByteCount)..<value.end])
            keptCount += 1
        }
        block = kept
        start = 0
        wireCount = keptCount
    }

    private func forEach(_ body: (_ name: ByteRange, _ value: ByteRange) -> Void) {
        var cursor = HeaderBlockCursor(count: wireCount, from: start)
        // The lengths were checked when the block came to be.
        while let entry = try? cursor.next(block) { body(entry.name, entry.value) }
    }

    /// Calls `body` with each value of `name` until it stops.
    ///
    /// - Returns: whether there was one.
    @discardableResult
    private func find(_ name: String, _ body: (ByteRange) -> Next) -> Bool {
        var found = false
        var cursor = HeaderBlockCursor(count: wireCount, from: start)
        while let entry = try? cursor.next(block) {
            guard matches(entry.name, name) else { continue }
            found = true
            if case .stop = body(entry.value) { break }
        }
        return found
    }

    private func matches(_ range: ByteRange, _ name: String) -> Bool {
        let utf8 = name.utf8
        guard utf8.count == range.count else { return false }
        var offset = range.offset
        for byte in utf8 {
            guard block[offset] == byte.asciiLowercased else { return false }
            offset += 1
        }
        return true
    }

    /// Bytes that are no UTF-8 are read one by one, as ISO 8859-1.
    private func text(_ range: ByteRange) -> String {
        let bytes = block[range.range]
        if let text = String(validating: bytes, as: UTF8.self) { return text }
        return String(String.UnicodeScalarView(bytes.map { Unicode.Scalar($0) }))
    }
}

extension Headers: Sequence {
    /// Sorted by name; values of one name joined, those of `set-cookie` one by one.
    public func makeIterator() -> IndexingIterator<[(name: String, value: String)]> {
        var entries: [(name: String, value: String)] = []
        entries.reserveCapacity(wireCount)
        forEachOnWire { name, value in entries.append((name, value)) }
        // Swift's sort is stable, so values keep their order.
        entries.sort { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
        var combined: [(name: String, value: String)] = []
        combined.reserveCapacity(entries.count)
        for entry in entries {
            if let last = combined.last, last.name == entry.name, entry.name != "set-cookie" {
                combined[combined.count - 1].value = last.value + ", " + entry.value
            } else {
                combined.append(entry)
            }
        }
        return combined.makeIterator()
    }
}

extension Headers: Equatable {
    /// Whether both iterate alike.
    public static func == (left: Headers, right: Headers) -> Bool {
        left.elementsEqual(right) { $0.name == $1.name && $0.value == $1.value }
    }
}

extension Headers: CustomDebugStringConvertible {
    /// Names only: values may be secrets.
    public var debugDescription: String { "Headers(\(map(\.name).joined(separator: ", ")))" }
}

extension UInt8 {
    fileprivate var isHeaderWhitespace: Bool { self == 0x20 || self == 0x09 || self == 0x0A || self == 0x0D }
}
