/// What a request's headers ask of a file beyond its content.
enum EntityTags {
    /// Whether `If-None-Match` names the tag, compared weakly (RFC 9110 §13.1.2).
    static func matches(_ field: String, _ tag: String) -> Bool {
        if field.trimmed == "*" { return true }
        return field.utf8.split(separator: UInt8(ascii: ",")).contains { member in
            var text = String(decoding: Array(member), as: UTF8.self).trimmed
            if text.hasPrefix("W/") { text = String(text.dropFirst(2)) }
            return text == tag
        }
    }
}

/// What `Range` comes to for a body of a known length (RFC 9110 §14.2).
package enum RangeOutcome: Equatable, Sendable {
    /// All of it: no range was asked for, or one that may be left unanswered (several at once among them).
    case whole
    case part(Range<Int>)
    case unsatisfiable

    package init(_ field: String?, byteCount: Int) {
        self = Self.parse(field, byteCount) ?? .whole
    }

    private static func parse(_ field: String?, _ byteCount: Int) -> RangeOutcome? {
        guard let field, let (unit, range) = field.cut(at: "="), unit.trimmed.lowercased() == "bytes",
            let (first, last) = range.trimmed.cut(at: "-")
        else { return nil }
        if first.isEmpty {
            guard let count = number(last) else { return nil }
            guard count > 0, byteCount > 0 else { return .unsatisfiable }
            return .part(max(0, byteCount - count)..<byteCount)
        }
        guard let start = number(first), last.isEmpty || number(last) != nil else { return nil }
        let end = number(last) ?? .max
        guard end >= start else { return nil }
        guard start < byteCount else { return .unsatisfiable }
        return .part(start..<(end < byteCount ? end + 1 : byteCount))
    }

    /// Digits only; what is beyond every file is as good as the greatest number.
    private static func number(_ text: String) -> Int? {
        guard !text.isEmpty, text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
        return Int(text) ?? .max
    }
}
