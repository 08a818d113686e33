/// Header values with more than ASCII in them (RFC 2047).
enum EncodedWords {
    /// `=?UTF-8?B?…?=` and `=?UTF-8?Q?…?=` become what they stand for. A value that isn't made of such words stays as it is.
    static func decode(_ value: String) -> String {
        guard value.hasPrefix("=?"), value.hasSuffix("?=") else { return value }
        var bytes: [UInt8] = []
        for word in value.split(whereSeparator: { $0 == " " || $0 == "\t" }) {
            let parts = word.split(separator: "?", omittingEmptySubsequences: false)
            guard parts.count == 5, parts[0] == "=", parts[4] == "=", parts[1].lowercased() == "utf-8" else { return value }
            switch parts[2].lowercased() {
            case "b":
                guard let decoded = Base64.bytes(String(parts[3])) else { return value }
                bytes += decoded
            case "q":
                guard let decoded = quotedPrintable(parts[3]) else { return value }
                bytes += decoded
            default: return value
            }
        }
        return String(validating: bytes, as: UTF8.self) ?? value
    }

    private static func quotedPrintable(_ text: Substring) -> [UInt8]? {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "_"): bytes.append(0x20)
            case UInt8(ascii: "="):
                guard rest.count >= 2,
                    let value = Hex.bytes(String(decoding: rest.prefix(2), as: UTF8.self), byteCount: 1)
                else { return nil }
                bytes += value
                rest = rest.dropFirst(2)
            default: bytes.append(byte)
            }
        }
        return bytes
    }
}
