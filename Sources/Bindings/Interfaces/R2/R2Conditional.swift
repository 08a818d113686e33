public import HTTP
internal import Wire

/// `onlyIf`: when a get has a body and when a put happens (spec: r2, "Conditionals").
public struct R2Conditional: Equatable, Sendable {
    package enum Tag: Equatable, Sendable {
        case any
        case strong(String)
        case weak(String)
    }

    package private(set) var etagMatches: [Tag]?
    package private(set) var etagDoesNotMatch: [Tag]?
    /// Milliseconds since 1970.
    package private(set) var uploadedBefore: Int64?
    package private(set) var uploadedAfter: Int64?
    package private(set) var secondsGranularity = false

    /// The object form. ETags stand without quotes; `*` is any object. Times are milliseconds since 1970.
    ///
    /// - Throws: the product's TypeError for an ETag in quotes.
    public init(
        etagMatches: String? = nil, etagDoesNotMatch: String? = nil, uploadedBefore: Int64? = nil,
        uploadedAfter: Int64? = nil, secondsGranularity: Bool = false
    ) throws(CallFailure) {
        self.etagMatches = try etagMatches.map { tag throws(CallFailure) in [try Self.unquoted(tag)] }
        self.etagDoesNotMatch = try etagDoesNotMatch.map { tag throws(CallFailure) in [try Self.unquoted(tag)]
        }
        self.uploadedBefore = uploadedBefore
        self.uploadedAfter = uploadedAfter
        self.secondsGranularity = secondsGranularity
    }

    /// The headers form: `If-Match`, `If-None-Match`, `If-Unmodified-Since`, `If-Modified-Since`. A date
    /// that can't be read counts as absent (RFC 9110 §13.1.3).
    ///
    /// - Throws: `Invalid ETag in if-match header` and its sibling.
    public init(_ headers: Headers) throws(CallFailure) {
        for (name, path) in [
            ("if-match", \R2Conditional.etagMatches), ("if-none-match", \R2Conditional.etagDoesNotMatch),
        ] {
            guard let value = headers.get(name) else { continue }
            guard let tags = Self.tags(inHeader: value) else {
                throw CallFailure("Invalid ETag in \(name) header")
            }
            self[keyPath: path] = tags
        }
        uploadedBefore = headers.get("if-unmodified-since").flatMap(R2HTTPMetadata.milliseconds)
        uploadedAfter = headers.get("if-modified-since").flatMap(R2HTTPMetadata.milliseconds)
        secondsGranularity = true
    }

    /// Whether all four conditions hold for an object with this `etag` (unquoted) and time of upload.
    package func passes(etag: String, uploaded: Int64) -> Bool {
        let matches =
            etagMatches.map { tags in
                tags.contains {
                    switch $0 {
                    case .any: true
                    case .strong(let tag): tag == etag
                    case .weak: false
                    }
                }
            } ?? true
        let differs =
            etagDoesNotMatch.map { tags in
                !tags.contains {
                    switch $0 {
                    case .any: true
                    case .strong(let tag), .weak(let tag): tag == etag
                    }
                }
            } ?? true
        let after =
            uploadedAfter.map { granular($0) < granular(uploaded) || (etagDoesNotMatch != nil && differs) }
            ?? true
        let before =
            uploadedBefore.map { granular(uploaded) < granular($0) || (etagMatches != nil && matches) }
            ?? true
        return matches && differs && after && before
    }

    /// Whether a put may create the object that doesn't exist.
    package var passesMissing: Bool { etagMatches == nil && uploadedAfter == nil }

    private func granular(_ milliseconds: Int64) -> Int64 {
        guard secondsGranularity else { return milliseconds }
        let rest = milliseconds % 1000
        return milliseconds - (rest < 0 ? rest + 1000 : rest)
    }

    private static func unquoted(_ tag: String) throws(CallFailure) -> Tag {
        if tag == "*" { return .any }
        guard !(tag.utf8.count >= 2 && tag.utf8.first == quote && tag.utf8.last == quote) else {
            throw .typeError("Conditional ETag should not be wrapped in quotes (\(tag)).")
        }
        return .strong(tag)
    }

    private static let quote = UInt8(ascii: "\"")

    /// A list of quoted tags, each possibly weak, or `*`; `nil` for anything else (RFC 9110 §8.8.3).
    private static func tags(inHeader value: String) -> [Tag]? {
        var tags: [Tag] = []
        var rest = value.utf8[...]
        func skipSpace() { rest = rest.drop { $0 == 32 || $0 == 9 } }
        while true {
            skipSpace()
            if rest.first == UInt8(ascii: "*") {
                rest = rest.dropFirst()
                tags.append(.any)
            } else {
                let isWeak = rest.starts(with: "W/".utf8)
                if isWeak { rest = rest.dropFirst(2) }
                guard rest.first == quote else { return nil }
                rest = rest.dropFirst()
                guard let end = rest.firstIndex(of: quote) else { return nil }
                let tag = String(Substring(rest[..<end]))
                tags.append(isWeak ? .weak(tag) : .strong(tag))
                rest = rest[rest.index(after: end)...]
            }
            skipSpace()
            if rest.isEmpty { return tags }
            guard rest.first == UInt8(ascii: ",") else { return nil }
            rest = rest.dropFirst()
        }
    }

    func encode(into encoder: inout WireEncoder) {
        for tags in [etagMatches, etagDoesNotMatch] {
            encoder.put(tags) { encoder, tags in
                encoder.put(list: tags) { encoder, tag in
                    switch tag {
                    case .any: encoder.put(UInt8(0))
                    case .strong(let text):
                        encoder.put(UInt8(1))
                        encoder.put(text)
                    case .weak(let text):
                        encoder.put(UInt8(2))
                        encoder.put(text)
                    }
                }
            }
        }
        encoder.put(uploadedBefore)
        encoder.put(uploadedAfter)
        encoder.put(secondsGranularity)
    }

    init(decoding decoder: inout WireDecoder) throws(WireError) {
        func takeTags(_ decoder: inout WireDecoder) throws(WireError) -> [Tag] {
            try decoder.takeList { decoder throws(WireError) in
                switch try decoder.takeUInt8() {
                case 0: return .any
                case 1: return .strong(try decoder.takeString())
                case 2: return .weak(try decoder.takeString())
                default: throw .invalidValue("ETag form", offset: decoder.offset - 1)
                }
            }
        }
        etagMatches = try decoder.takeOptional { decoder throws(WireError) in try takeTags(&decoder) }
        etagDoesNotMatch = try decoder.takeOptional { decoder throws(WireError) in try takeTags(&decoder) }
        uploadedBefore = try decoder.takeOptionalInt64()
        uploadedAfter = try decoder.takeOptionalInt64()
        secondsGranularity = try decoder.takeBool()
    }
}
