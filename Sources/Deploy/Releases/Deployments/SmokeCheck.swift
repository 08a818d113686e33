internal import Configuration
internal import FoundationEssentials

/// Whether an answer is what a smoke test expects. Pure.
enum SmokeCheck {
    /// - Returns: what is wrong, in a sentence; `nil`: nothing is.
    static func failure(of answer: SmokeExchange.Answer, _ test: SmokeTest) -> String? {
        guard answer.status == test.status else {
            let said = excerpt(answer.body)
            return "expected status \(test.status), got \(answer.status)" + (said.isEmpty ? "" : ": \(said)")
        }
        for (name, value) in test.responseHeaders.sorted(by: { $0.key < $1.key }) {
            let found = answer.headers.filter { $0.name == name.lowercased() }.map(\.value)
            guard found.contains(value) else {
                return "expected the header \(name): \(value), got "
                    + (found.isEmpty ? "none of that name" : found.joined(separator: ", "))
            }
        }
        if let text = test.contains, !contains(answer.body, Array(text.utf8)) {
            return "expected a body with \"\(text)\", got \(quoted(answer.body))"
        }
        return test.json.isEmpty ? nil : jsonFailure(answer.body, test.json)
    }

    private static func jsonFailure(_ body: [UInt8], _ expected: [String: String]) -> String? {
        let whole: SmokeJSON
        do { whole = try JSONDecoder().decode(SmokeJSON.self, from: Data(body)) } catch {
            return "expected JSON, got \(quoted(body))"
        }
        for (pointer, text) in expected.sorted(by: { $0.key < $1.key }) {
            guard let found = whole.value(at: pointer) else { return "expected \(text) at \"\(pointer)\", got nothing there" }
            let wanted = try? JSONDecoder().decode(SmokeJSON.self, from: Data(text.utf8))
            guard found == wanted else { return "expected \(text) at \"\(pointer)\", got \(found.text)" }
        }
        return nil
    }

    private static func quoted(_ body: [UInt8]) -> String { body.isEmpty ? "an empty one" : "\"\(excerpt(body))\"" }

    /// Of what came, as much as a line of a report bears.
    private static func excerpt(_ body: [UInt8]) -> String {
        let text = String(decoding: body.prefix(200), as: UTF8.self)
        let line = String(String.UnicodeScalarView(text.unicodeScalars.map { $0.value < 0x20 ? " " : $0 }))
        return line.split(separator: " ").joined(separator: " ")
    }

    private static func contains(_ body: [UInt8], _ part: [UInt8]) -> Bool {
        part.isEmpty || !body.ranges(of: part).isEmpty
    }
}

/// A JSON value. Numbers are equal when their values are.
enum SmokeJSON: Decodable, Equatable {
    case null
    case boolean(Bool)
    case number(Double)
    case string(String)
    case array([SmokeJSON])
    case object([String: SmokeJSON])

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Bool.self) {
            self = .boolean(value)
        } else if let value = try? container.decode(Double.self) {
            self = .number(value)
        } else if let value = try? container.decode(String.self) {
            self = .string(value)
        } else if let value = try? container.decode([SmokeJSON].self) {
            self = .array(value)
        } else {
            self = .object(try container.decode([String: SmokeJSON].self))
        }
    }

    /// RFC 6901.
    func value(at pointer: String) -> SmokeJSON? {
        pointer.split(separator: "/", omittingEmptySubsequences: false).dropFirst().reduce(Optional.some(self)) { value, part in
            let key = String(part).replacing("~1", with: "/").replacing("~0", with: "~")
            switch value {
            case .object(let members): return members[key]
            case .array(let items):
                // No sign, no leading zero (§4).
                guard let index = Int(key), "\(index)" == key, items.indices.contains(index) else { return nil }
                return items[index]
            case .null, .boolean, .number, .string, nil: return nil
            }
        }
    }

    var text: String {
        switch self {
        case .null: "null"
        case .boolean(let value): "\(value)"
        case .number(let value): Int64(exactly: value).map { "\($0)" } ?? "\(value)"
        case .string(let value): "\"\(value)\""
        case .array(let items): "an array of \(items.count)"
        case .object(let members): "an object of \(members.count)"
        }
    }
}
