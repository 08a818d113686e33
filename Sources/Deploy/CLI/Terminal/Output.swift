internal import ControlPlane

/// What commands print.
enum Output {
    /// One line of JSON, for scripts.
    static func json(_ json: JSON) { print(String(decoding: json.bytes, as: UTF8.self)) }

    /// `2026-11-21 20:53:11` of a time as the API writes it, in UTC; what is no such time stays.
    static func time(_ text: String?) -> String {
        guard let text else { return "" }
        guard text.utf8.count >= 19, text.utf8.dropFirst(10).first == UInt8(ascii: "T") else { return text }
        return "\(text.prefix(10)) \(text.dropFirst(11).prefix(8))"
    }
}
