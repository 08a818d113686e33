/// Writes JSON (RFC 8259).
package enum JSONText {
    package static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case _ where scalar.value < 0x20 || scalar.value == 0x7F:
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }

    package static func object(_ members: [(String, String)]) -> String {
        "{\(members.map { "\(quoted($0.0)):\($0.1)" }.joined(separator: ","))}"
    }
}

extension DocumentValue {
    /// The value as JSON; `nil` when it holds what JSON hasn't: a date, an infinity, not-a-number.
    package var json: String? {
        switch content {
        case .string(let text): return JSONText.quoted(text)
        case .integer(let number): return String(number)
        case .float(let number): return number.isFinite ? "\(number)" : nil
        case .boolean(let value): return value ? "true" : "false"
        case .null: return "null"
        case .date: return nil
        case .array(let elements):
            var texts: [String] = []
            for element in elements {
                guard let text = element.json else { return nil }
                texts.append(text)
            }
            return "[\(texts.joined(separator: ","))]"
        case .table(let table):
            var members: [(String, String)] = []
            for entry in table.entries {
                guard let text = entry.value.json else { return nil }
                members.append((entry.key, text))
            }
            return JSONText.object(members)
        }
    }

    /// The value as TOML on one line: what `config show` prints.
    package var tomlText: String {
        switch content {
        case .string(let text): JSONText.quoted(text)
        case .integer(let number): String(number)
        case .float(let number):
            number.isNaN ? "nan" : number.isInfinite ? (number < 0 ? "-inf" : "inf") : "\(number)"
        case .boolean(let value): value ? "true" : "false"
        case .null: "null"
        case .date(let date): date.description
        case .array(let elements): "[\(elements.map(\.tomlText).joined(separator: ", "))]"
        case .table(let table):
            table.isEmpty
                ? "{}"
                : "{ \(table.entries.map { "\(Self.tomlKey($0.key)) = \($0.value.tomlText)" }.joined(separator: ", ")) }"
        }
    }

    static func tomlKey(_ key: String) -> String {
        let isBare = !key.isEmpty && key.utf8.allSatisfy(TOMLParser.isBareKeyByte)
        return isBare ? key : JSONText.quoted(key)
    }
}
