internal import FoundationEssentials

/// What the three kinds of rules have in common: a bucket has a list of them, which the REST API carries as
/// `{"rules":[…]}` and which the store keeps in that form.
package protocol R2Rule: Codable, Equatable, Sendable {
    /// As messages name it.
    static var title: String { get }
    static var countMax: Int { get }
    var id: String { get }
    var prefix: String { get }
    /// Throws `.invalidRules` for what can't be meant.
    func check() throws(R2Failure)
}

package struct R2RuleSet<Rule: R2Rule>: Codable, Equatable, Sendable {
    package var rules: [Rule]

    package init(_ rules: [Rule]) { self.rules = rules }

    /// Reads and checks what a client sent.
    package init(json: [UInt8]) throws(R2Failure) {
        self = try R2JSON.decode(json)
        try check()
    }

    package var json: [UInt8] { get throws { try JSONText.encode(self) } }

    package func check() throws(R2Failure) {
        guard rules.count <= Rule.countMax else {
            throw .invalidRules("a bucket has at most \(Rule.countMax) \(Rule.title) rules, not \(rules.count)")
        }
        var ids: Set<String> = []
        for rule in rules {
            guard (1...R2RuleLimits.idBytesMax).contains(rule.id.utf8.count) else {
                throw .invalidRules("a rule's id has 1 to \(R2RuleLimits.idBytesMax) bytes, not \(rule.id.utf8.count)")
            }
            guard ids.insert(rule.id).inserted else {
                throw .invalidRules("two \(Rule.title) rules have the id \"\(rule.id)\"")
            }
            guard rule.prefix.utf8.count <= R2Limits.keyBytesMax else {
                throw .invalidRules("the prefix of rule \"\(rule.id)\" is longer than a key can be")
            }
            try rule.check()
        }
    }
}

package enum R2RuleLimits {
    package static let idBytesMax = 255
    /// A hundred years: more is a mistake, and times stay far from their type's end.
    package static let ageSecondsMax: Int64 = 100 * 366 * 86_400
}

/// JSON from clients of the control plane.
package enum R2JSON {
    package static func decode<Value: Decodable>(_ json: [UInt8]) throws(R2Failure) -> Value {
        do {
            return try JSONDecoder().decode(Value.self, from: Data(json))
        } catch let failure as R2Failure {
            throw failure
        } catch let error as DecodingError {
            throw .malformedJSON(reason(error))
        } catch {
            throw .malformedJSON("\(error)")
        }
    }

    private static func reason(_ error: DecodingError) -> String {
        func place(_ path: [any CodingKey]) -> String {
            path.reduce(into: "") { text, key in
                text += key.intValue.map { "[\($0)]" } ?? (text.isEmpty ? "" : ".") + key.stringValue
            }
        }
        switch error {
        case .keyNotFound(let key, let context): return "\(place(context.codingPath + [key])) is missing"
        case .typeMismatch(let type, let context): return "\(place(context.codingPath)) must be of type \(type)"
        case .valueNotFound(_, let context): return "\(place(context.codingPath)) must not be null"
        case .dataCorrupted(let context): return "\(place(context.codingPath)): \(context.debugDescription)"
        @unknown default: return "it can't be read"
        }
    }
}

extension String {
    /// By bytes: `hasPrefix` takes different spellings of a character for the same.
    package func startsWithBytes(of prefix: String) -> Bool { utf8.starts(with: prefix.utf8) }

    package func endsWithBytes(of suffix: String) -> Bool { utf8.reversed().starts(with: suffix.utf8.reversed()) }
}
