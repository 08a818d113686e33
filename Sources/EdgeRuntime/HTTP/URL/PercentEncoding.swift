/// A percent-encode set of the URL standard (https://url.spec.whatwg.org/#percent-encoded-bytes): which bytes
/// are written as `%XX`. Bytes outside ASCII always are.
struct PercentEncodeSet: Sendable {
    private let encoded: ASCIISet

    private init(_ base: PercentEncodeSet?, _ characters: StaticString) {
        var low = base?.encoded.low ?? 0x0000_0000_FFFF_FFFF
        var high = base?.encoded.high ?? 1 << 63
        // Literals of a few characters; the sets are made once.
        for byte in characters.description.utf8 {
            if byte < 64 { low |= 1 << UInt64(byte) } else { high |= 1 << UInt64(byte & 0x3F) }
        }
        encoded = ASCIISet(low: low, high: high)
    }

    func contains(_ byte: UInt8) -> Bool { encoded.contains(byte) || byte >= 0x80 }

    static let c0Control = PercentEncodeSet(nil, "")
    static let fragment = PercentEncodeSet(c0Control, " \"<>`")
    static let query = PercentEncodeSet(c0Control, " \"#<>")
    static let specialQuery = PercentEncodeSet(query, "'")
    static let path = PercentEncodeSet(query, "?^`{}")
    static let userinfo = PercentEncodeSet(path, "/:;=@[\\]|")
    static let component = PercentEncodeSet(userinfo, "$%&+,")
    /// The space, which becomes `+`, apart.
    static let form = PercentEncodeSet(component, "!'()~")
}

extension [UInt8] {
    mutating func append(_ byte: UInt8, encoding set: PercentEncodeSet) {
        guard set.contains(byte) else { return append(byte) }
        append(0x25)
        append(Self.upperHexDigit(byte >> 4))
        append(Self.upperHexDigit(byte & 0xF))
    }

    mutating func append(contentsOf bytes: some Sequence<UInt8>, encoding set: PercentEncodeSet) {
        for byte in bytes { append(byte, encoding: set) }
    }

    private static func upperHexDigit(_ value: UInt8) -> UInt8 { value < 10 ? value + 0x30 : value + 0x37 }
}

/// Writing text so that it can stand in a part of a URL, and reading it back.
public enum PercentEncoding {
    /// The bytes of `bytes` with each `%XX` replaced; what is no escape stays.
    package static func decode(_ bytes: some Collection<UInt8>) -> [UInt8] {
        var decoded: [UInt8] = []
        decoded.reserveCapacity(bytes.count)
        var index = bytes.startIndex
        while index != bytes.endIndex {
            let byte = bytes[index]
            bytes.formIndex(after: &index)
            if byte == 0x25, index != bytes.endIndex, let high = bytes[index].hexDigitValue {
                let next = bytes.index(after: index)
                if next != bytes.endIndex, let low = bytes[next].hexDigitValue {
                    decoded.append(high << 4 | low)
                    index = bytes.index(after: next)
                    continue
                }
            }
            decoded.append(byte)
        }
        return decoded
    }

    /// `text` with each `%XX` replaced by its byte; bytes that are no UTF-8 become U+FFFD.
    public static func decode(_ text: String) -> String {
        guard text.utf8.contains(0x25) else { return text }
        return String(decoding: decode(text.utf8), as: UTF8.self)
    }

    /// `text` as one value inside a path or a query: what `encodeURIComponent` does, and `!'()*` as they are.
    public static func encodeComponent(_ text: String) -> String {
        var encoded: [UInt8] = []
        encoded.append(contentsOf: text.utf8, encoding: .component)
        return String(decoding: encoded, as: UTF8.self)
    }
}
