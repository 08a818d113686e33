internal import HTTP

/// Keeps objects from being overwritten and deleted (spec: r2, section 4). Where several match, the longest holds.
package struct R2LockRule: R2Rule {
    package static let title = "lock"
    package static let countMax = 1000

    package var id: String
    package var isEnabled: Bool
    package var keyPrefix: String?
    package var condition: Condition

    package enum Condition: Codable, Equatable, Sendable {
        /// So long after each object was uploaded.
        case age(seconds: Int64)
        /// Until this time. Milliseconds since 1970.
        case date(Int64)
        case indefinite

        /// The time until which it holds for what came at `uploaded`; `nil` for ever.
        package func end(uploaded: Int64) -> Int64? {
            switch self {
            case .age(let seconds): uploaded + seconds * 1000
            case .date(let time): time
            case .indefinite: nil
            }
        }
    }

    package init(id: String, isEnabled: Bool = true, prefix: String? = nil, _ condition: Condition) {
        self.id = id
        self.isEnabled = isEnabled
        keyPrefix = prefix
        self.condition = condition
    }

    package var prefix: String { keyPrefix ?? "" }

    package func check() throws(R2Failure) {
        guard case .age(let seconds) = condition, !(1...R2RuleLimits.ageSecondsMax).contains(seconds) else { return }
        throw .invalidRules(
            "lock rule \"\(id)\": maxAgeSeconds is a number from 1 to \(R2RuleLimits.ageSecondsMax), not \(seconds)")
    }

    private enum CodingKeys: String, CodingKey {
        case id, condition
        case isEnabled = "enabled"
        case keyPrefix = "prefix"
    }
}

extension R2LockRule.Condition {
    private enum CodingKeys: String, CodingKey { case type, maxAgeSeconds, date }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        switch try container.decode(String.self, forKey: .type) {
        case "Age": self = .age(seconds: try container.decode(Int64.self, forKey: .maxAgeSeconds))
        case "Date": self = .date(try R2Date.decode(container.decode(String.self, forKey: .date)))
        case "Indefinite": self = .indefinite
        case let type:
            throw R2Failure.invalidRules("a lock condition is of type Age, Date or Indefinite, not \"\(type)\"")
        }
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        switch self {
        case .age(let seconds):
            try container.encode("Age", forKey: .type)
            try container.encode(seconds, forKey: .maxAgeSeconds)
        case .date(let time):
            try container.encode("Date", forKey: .type)
            try container.encode(InternetTimestamp.text(milliseconds: time), forKey: .date)
        case .indefinite: try container.encode("Indefinite", forKey: .type)
        }
    }
}
