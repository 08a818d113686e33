internal import HTTP

/// The directives of `Cache-Control` (RFC 9111 §5.2). Unknown ones are kept and mean nothing.
package struct CacheControl: Equatable, Sendable {
    private struct Directive: Equatable {
        var name: String
        var argument: String?
    }
    private var directives: [Directive] = []

    /// - Parameter text: the values of all lines, joined by commas.
    package init(_ text: String) {
        var reader = Reader(bytes: Array(text.utf8))
        while let (name, argument) = reader.next() { directives.append(Directive(name: name, argument: argument)) }
    }

    /// `nil` for what is no dictionary of structured fields, for an empty one, and for seconds that are no integer: the
    /// response's other fields count then (RFC 9213 §2.1, §2.2).
    package init?(targeted text: String) {
        guard let dictionary = StructuredDictionary(text), !dictionary.members.isEmpty else { return nil }
        for (key, value) in dictionary.members {
            let isInteger = if case .integer = value { true } else { false }
            guard isInteger || !Self.secondsNames.contains(key) else { return nil }
            switch value {
            case .boolean(false): break
            case .boolean(true), .other: directives.append(Directive(name: key, argument: nil))
            case .integer(let number): directives.append(Directive(name: key, argument: "\(number)"))
            case .text(let text): directives.append(Directive(name: key, argument: text))
            }
        }
    }

    private static let secondsNames: Set<String> = ["max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"]

    package var isEmpty: Bool { directives.isEmpty }

    package func has(_ name: String) -> Bool { directives.contains { $0.name == name } }

    /// The directive without an argument: `private`, but not `private="set-cookie"`.
    package func isUnqualified(_ name: String) -> Bool {
        directives.contains { $0.name == name && $0.argument == nil }
    }

    /// The field names that `name` is limited to, in lower case.
    package func fields(_ name: String) -> Set<String> {
        var fields: Set<String> = []
        for case (name, let argument?) in directives.map({ ($0.name, $0.argument) }) {
            fields.formUnion(
                argument.split(separator: ",").map { $0.filter { $0 != " " && $0 != "\t" }.lowercased() })
        }
        return fields
    }

    /// Seconds; `nil` when the directive isn't there. The first one counts; one that is no number says 0, so that what it
    /// belongs to is stale (RFC 9111 §4.2.1).
    package func seconds(_ name: String) -> Int64? {
        guard let directive = directives.first(where: { $0.name == name }) else { return nil }
        return DeltaSeconds.parse(directive.argument ?? "") ?? 0
    }

    /// `token [ "=" ( token / quoted-string ) ]`, separated by commas; what is no token is skipped up to the next comma.
    private struct Reader {
        let bytes: [UInt8]
        var offset = 0

        mutating func next() -> (name: String, argument: String?)? {
            while offset < bytes.count {
                skip { $0 == 0x20 || $0 == 0x09 || $0 == 0x2C }
                let name = take { $0 != 0x2C && $0 != 0x3D && $0 != 0x20 && $0 != 0x09 }.lowercased()
                skip(Self.isSpace)
                guard offset < bytes.count, bytes[offset] == 0x3D else {
                    skip { $0 != 0x2C }
                    if name.isEmpty { continue }
                    return (name, nil)
                }
                offset += 1
                skip(Self.isSpace)
                let isQuoted = offset < bytes.count && bytes[offset] == 0x22
                let argument = isQuoted ? takeQuoted() : take { $0 != 0x2C && $0 != 0x20 && $0 != 0x09 }
                skip { $0 != 0x2C }
                if !name.isEmpty { return (name, argument) }
            }
            return nil
        }

        private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

        private mutating func skip(_ condition: (UInt8) -> Bool) {
            while offset < bytes.count, condition(bytes[offset]) { offset += 1 }
        }

        private mutating func take(_ condition: (UInt8) -> Bool) -> String {
            let start = offset
            skip(condition)
            return String(decoding: bytes[start..<offset], as: UTF8.self)
        }

        private mutating func takeQuoted() -> String {
            offset += 1
            var text: [UInt8] = []
            while offset < bytes.count, bytes[offset] != 0x22 {
                if bytes[offset] == 0x5C, offset + 1 < bytes.count { offset += 1 }
                text.append(bytes[offset])
                offset += 1
            }
            offset += 1
            offset = min(offset, bytes.count)
            return String(decoding: text, as: UTF8.self)
        }
    }
}

/// `1*DIGIT`, cut at 2^31 (RFC 9111 §1.2.2).
enum DeltaSeconds {
    static let max: Int64 = 1 << 31

    static func parse(_ text: String) -> Int64? {
        guard !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return min(Int64(text) ?? max, max)
    }
}
