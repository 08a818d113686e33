/// Collects what is wrong with a request's fields, so that a client hears all of it at once.
package struct Validation {
    package private(set) var fields: [String: String] = [:]

    package init() {}

    /// Notes that `field` is wrong; the first message about a field stays.
    package mutating func refuse(_ field: String, _ message: String) {
        if fields[field] == nil { fields[field] = message }
    }

    /// The value, or `nil` after noting that it is missing.
    package mutating func required<Value>(_ field: String, _ value: Value?) -> Value? {
        if value == nil { refuse(field, "is required") }
        return value
    }

    package enum TextForm: Sendable {
        /// One line; white space around it is cut off.
        case line
        /// Any lines, kept to the letter.
        case body
    }

    /// A text of `counts` Unicode scalars (as SQL's `length` counts) without control characters; a body may
    /// have line breaks and tabs.
    package mutating func text(
        _ field: String, _ value: String?, counts: ClosedRange<Int>, as form: TextForm = .line
    ) -> String? {
        guard let value = required(field, value) else { return nil }
        let text = form == .line ? value.trimmingWhitespace() : value
        // Bytes first: they are counted already, whatever the length.
        guard text.utf8.count <= counts.upperBound * 4 else {
            refuse(field, "has more than \(counts.upperBound) characters")
            return nil
        }
        let count = text.unicodeScalars.count
        if count < counts.lowerBound {
            refuse(field, count == 0 ? "must not be empty" : "has fewer than \(counts.lowerBound) characters")
            return nil
        }
        if count > counts.upperBound {
            refuse(field, "has more than \(counts.upperBound) characters")
            return nil
        }
        let isClean = text.unicodeScalars.allSatisfy { scalar in
            switch scalar.value {
            case 9, 10, 13: form == .body
            case 0..<32, 127..<160: false
            default: true
            }
        }
        guard isClean else {
            refuse(field, "contains control characters")
            return nil
        }
        return text
    }

    /// An address in the form that mail systems of today take, in lower case.
    package mutating func email(_ field: String, _ value: String?) -> String? {
        guard let value = required(field, value) else { return nil }
        guard let email = EmailAddress(value) else {
            refuse(field, "is not an e-mail address")
            return nil
        }
        return email.text
    }

    /// 3 to 32 letters, digits, `_`, `-` or `.`, beginning with a letter or digit.
    package mutating func username(_ field: String, _ value: String?) -> String? {
        guard let value = required(field, value) else { return nil }
        guard (3...32).contains(value.utf8.count) else {
            refuse(field, "must have 3 to 32 characters")
            return nil
        }
        let isWellFormed = value.utf8.enumerated().allSatisfy { position, byte in
            byte.isASCIILetterOrDigit || (position > 0 && [0x5F, 0x2D, 0x2E].contains(byte))
        }
        guard isWellFormed else {
            refuse(
                field,
                "may contain letters, digits, \"_\", \"-\" and \".\", and begins with a letter or digit")
            return nil
        }
        return value
    }

    /// 8 characters to 72 bytes (bcrypt reads no more), no NUL. No rules of composition (NIST SP 800-63B
    /// §5.1.1.2).
    package mutating func password(_ field: String, _ value: String?) -> String? {
        guard let value = required(field, value) else { return nil }
        if value.utf8.count > 72 {
            refuse(field, "has more than 72 bytes")
        } else if value.count < 8 {
            refuse(field, "has fewer than 8 characters")
        } else if value.utf8.contains(0) {
            refuse(field, "contains a NUL character")
        } else {
            return value
        }
        return nil
    }

    /// One of an enumeration's raw values.
    package mutating func choice<Choice: RawRepresentable & CaseIterable>(
        _ field: String, _ value: String?, _ type: Choice.Type = Choice.self
    ) -> Choice? where Choice.RawValue == String {
        guard let value = required(field, value) else { return nil }
        guard let choice = Choice(rawValue: value) else {
            refuse(field, "must be one of " + Choice.allCases.map(\.rawValue).joined(separator: ", "))
            return nil
        }
        return choice
    }

    /// A whole number from a query parameter.
    package mutating func number(
        _ field: String, _ text: String?, in range: ClosedRange<Int>, default fallback: Int
    ) -> Int {
        guard let text else { return fallback }
        guard let number = Int(text), range.contains(number) else {
            refuse(field, "must be a whole number from \(range.lowerBound) to \(range.upperBound)")
            return fallback
        }
        return number
    }

    /// - Throws: 422 with all fields that were refused.
    package func finish() throws(APIError) {
        guard fields.isEmpty else { throw .validation(fields) }
    }
}

/// An address that mail can be sent to: `local@domain` with a dotted domain, in lower case.
///
/// Not all of RFC 5321: quoted local parts, address literals and comments are refused, as everywhere.
package struct EmailAddress: Equatable, Sendable {
    package let text: String

    package init?(_ value: String) {
        let text = value.trimmingWhitespace().lowercased()
        guard text.utf8.count <= 254, text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else { return nil }
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        guard parts.count == 2, (1...64).contains(parts[0].utf8.count) else { return nil }
        let isLocal = parts[0].utf8.allSatisfy { byte in
            byte.isASCIILetterOrDigit || "!#$%&'*+/=?^_`{|}~.-".utf8.contains(byte)
        }
        guard isLocal, !parts[0].hasPrefix("."), !parts[0].hasSuffix("."), !parts[0].contains("..") else {
            return nil
        }
        let labels = parts[1].split(separator: ".", omittingEmptySubsequences: false)
        guard labels.count >= 2, let last = labels.last, last.utf8.count >= 2 else { return nil }
        let areLabels = labels.allSatisfy { label in
            (1...63).contains(label.utf8.count) && !label.hasPrefix("-") && !label.hasSuffix("-")
                && label.utf8.allSatisfy { $0.isASCIILetterOrDigit || $0 == 0x2D }
        }
        guard areLabels, !last.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        self.text = text
    }
}

extension UInt8 {
    var isASCIILetterOrDigit: Bool {
        switch self {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        default: false
        }
    }
}

extension String {
    package func trimmingWhitespace() -> String {
        var text = self[...]
        while let first = text.first, first.isWhitespace { text.removeFirst() }
        while let last = text.last, last.isWhitespace { text.removeLast() }
        return String(text)
    }
}
