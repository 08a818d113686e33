internal import HTTP

/// What becomes of objects and uploads with time (spec: r2, section 4).
package struct R2LifecycleRule: R2Rule {
    package static let title = "lifecycle"
    package static let countMax = 1000

    package var id: String
    package var isEnabled: Bool
    package var conditions: Conditions
    package var deleteObjectsTransition: Transition?
    /// By age alone.
    package var abortMultipartUploadsTransition: Transition?
    package var storageClassTransitions: [StorageClassTransition]?

    package struct Conditions: Codable, Equatable, Sendable {
        package var prefix: String?

        package init(prefix: String? = nil) { self.prefix = prefix }
    }

    package struct Transition: Codable, Equatable, Sendable {
        package var condition: Condition

        package init(_ condition: Condition) { self.condition = condition }
    }

    package struct StorageClassTransition: Codable, Equatable, Sendable {
        package var condition: Condition
        /// `InfrequentAccess`
        package var storageClass: String

        package init(_ condition: Condition, storageClass: String = R2StorageClass.infrequentAccess.name) {
            self.condition = condition
            self.storageClass = storageClass
        }
    }

    package enum Condition: Codable, Equatable, Sendable {
        /// So long after the object was uploaded, or the upload begun.
        case age(seconds: Int64)
        /// From this time on, whenever the object came. Milliseconds since 1970.
        case date(Int64)

        /// The time from which it holds for what came at `uploaded`.
        package func due(uploaded: Int64) -> Int64 {
            switch self {
            case .age(let seconds): uploaded + seconds * 1000
            case .date(let time): time
            }
        }
    }

    package init(
        id: String, isEnabled: Bool = true, prefix: String? = nil, delete: Condition? = nil,
        abortUploads: Condition? = nil, transition: Condition? = nil
    ) {
        self.id = id
        self.isEnabled = isEnabled
        conditions = Conditions(prefix: prefix)
        deleteObjectsTransition = delete.map { Transition($0) }
        abortMultipartUploadsTransition = abortUploads.map { Transition($0) }
        storageClassTransitions = transition.map { [StorageClassTransition($0)] }
    }

    /// What a bucket begins with.
    package static let ofNewBuckets = [
        R2LifecycleRule(id: "Default Multipart Abort Rule", abortUploads: .age(seconds: 604_800))
    ]

    package var prefix: String { conditions.prefix ?? "" }

    package func check() throws(R2Failure) {
        let transitions = storageClassTransitions ?? []
        guard deleteObjectsTransition != nil || abortMultipartUploadsTransition != nil || !transitions.isEmpty else {
            throw .invalidRules("lifecycle rule \"\(id)\" does nothing: it has no transition")
        }
        if case .date? = abortMultipartUploadsTransition?.condition {
            throw .invalidRules("lifecycle rule \"\(id)\": uploads are aborted by their age, not at a date")
        }
        for transition in transitions where transition.storageClass != R2StorageClass.infrequentAccess.name {
            throw .invalidRules(
                "lifecycle rule \"\(id)\": storageClass is InfrequentAccess, not \"\(transition.storageClass)\"")
        }
        let conditions =
            [deleteObjectsTransition?.condition, abortMultipartUploadsTransition?.condition].compactMap { $0 }
            + transitions.map(\.condition)
        for case .age(let seconds) in conditions where !(1...R2RuleLimits.ageSecondsMax).contains(seconds) {
            throw .invalidRules(
                "lifecycle rule \"\(id)\": maxAge is a number from 1 to \(R2RuleLimits.ageSecondsMax), not \(seconds)")
        }
    }

    private enum CodingKeys: String, CodingKey {
        case id, conditions, deleteObjectsTransition, abortMultipartUploadsTransition, storageClassTransitions
        case isEnabled = "enabled"
    }
}

extension R2LifecycleRule.Condition {
    private enum CodingKeys: String, CodingKey { case type, maxAge, date }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        switch try container.decode(String.self, forKey: .type) {
        case "Age": self = .age(seconds: try container.decode(Int64.self, forKey: .maxAge))
        case "Date": self = .date(try R2Date.decode(container.decode(String.self, forKey: .date)))
        case let type: throw R2Failure.invalidRules("a lifecycle condition is of type Age or Date, not \"\(type)\"")
        }
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        switch self {
        case .age(let seconds):
            try container.encode("Age", forKey: .type)
            try container.encode(seconds, forKey: .maxAge)
        case .date(let time):
            try container.encode("Date", forKey: .type)
            try container.encode(InternetTimestamp.text(milliseconds: time), forKey: .date)
        }
    }
}

enum R2Date {
    static func decode(_ text: String) throws(R2Failure) -> Int64 {
        guard let time = InternetTimestamp.milliseconds(text) else {
            throw .invalidRules("\"\(text)\" is no date of RFC 3339, like 2026-01-31 or 2026-01-31T12:00:00Z")
        }
        return time
    }
}
