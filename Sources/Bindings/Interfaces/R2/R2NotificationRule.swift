/// What an event notification tells of.
package enum R2EventAction: String, CaseIterable, Codable, Sendable {
    case putObject = "PutObject"
    case copyObject = "CopyObject"
    case completeMultipartUpload = "CompleteMultipartUpload"
    case deleteObject = "DeleteObject"
    case lifecycleDeletion = "LifecycleDeletion"
}

/// Which changes of a bucket go to a queue (spec: r2, section 4). What a client gives: the store adds the id.
package struct R2NotificationRule: Codable, Equatable, Sendable {
    package var actions: [R2EventAction]
    package var prefix: String?
    package var suffix: String?
    package var description: String?

    package init(
        _ actions: [R2EventAction], prefix: String? = nil, suffix: String? = nil, description: String? = nil
    ) {
        self.actions = actions
        self.prefix = prefix
        self.suffix = suffix
        self.description = description
    }

    package func matches(_ action: R2EventAction, key: String) -> Bool {
        actions.contains(action) && key.startsWithBytes(of: prefix ?? "") && key.endsWithBytes(of: suffix ?? "")
    }

    /// Whether some change could match both.
    package func overlaps(_ other: R2NotificationRule) -> Bool {
        guard actions.contains(where: other.actions.contains) else { return false }
        let (prefixes, suffixes) = ((prefix ?? "", other.prefix ?? ""), (suffix ?? "", other.suffix ?? ""))
        return (prefixes.0.startsWithBytes(of: prefixes.1) || prefixes.1.startsWithBytes(of: prefixes.0))
            && (suffixes.0.endsWithBytes(of: suffixes.1) || suffixes.1.endsWithBytes(of: suffixes.0))
    }

    package func check() throws(R2Failure) {
        guard !actions.isEmpty else { throw .invalidRules("an event notification rule needs at least one action") }
        guard (prefix ?? "").utf8.count <= R2Limits.keyBytesMax, (suffix ?? "").utf8.count <= R2Limits.keyBytesMax
        else { throw .invalidRules("the prefix or suffix of an event notification rule is longer than a key can be") }
        guard (description ?? "").utf8.count <= Self.descriptionBytesMax else {
            throw .invalidRules("the description of an event notification rule has at most \(Self.descriptionBytesMax) bytes")
        }
    }

    /// Of a bucket, for all its queues.
    package static let countMax = 100
    private static let descriptionBytesMax = 1024
}

/// All event notifications of a bucket, as the REST API lists them.
package struct R2Notifications: Codable, Equatable, Sendable {
    package var bucketName: String
    package var queues: [Queue]

    package struct Queue: Codable, Equatable, Sendable {
        package var queueId: String
        package var queueName: String
        package var rules: [Rule]

        /// A queue's name is its id as well.
        package init(_ name: String, rules: [Rule]) {
            queueId = name
            queueName = name
            self.rules = rules
        }
    }

    package struct Rule: Codable, Equatable, Sendable {
        package var ruleId: String
        /// RFC 3339.
        package var createdAt: String
        package var actions: [R2EventAction]
        package var prefix: String?
        package var suffix: String?
        package var description: String?

        package init(_ rule: R2NotificationRule, ruleId: String, createdAt: String) {
            self.ruleId = ruleId
            self.createdAt = createdAt
            actions = rule.actions
            prefix = rule.prefix
            suffix = rule.suffix
            description = rule.description
        }

        package var rule: R2NotificationRule {
            R2NotificationRule(actions, prefix: prefix, suffix: suffix, description: description)
        }
    }

    package init(bucketName: String, queues: [Queue] = []) {
        self.bucketName = bucketName
        self.queues = queues
    }

    /// Where a change is told of. Rules don't overlap, so it is one queue at most.
    package func queue(for action: R2EventAction, key: String) -> String? {
        queues.first { queue in queue.rules.contains { $0.rule.matches(action, key: key) } }?.queueName
    }

    package func check() throws(R2Failure) {
        let rules = queues.flatMap(\.rules)
        guard rules.count <= R2NotificationRule.countMax else {
            throw .invalidRules(
                "a bucket has at most \(R2NotificationRule.countMax) event notification rules, not \(rules.count)")
        }
        for (index, rule) in rules.enumerated() {
            try rule.rule.check()
            if let other = rules[..<index].first(where: { $0.rule.overlaps(rule.rule) }) {
                throw .invalidRules(
                    "the event notification rule for \(Self.range(rule.rule)) overlaps the one for \(Self.range(other.rule))")
            }
        }
    }

    private static func range(_ rule: R2NotificationRule) -> String {
        "\(rule.actions.map(\.rawValue).joined(separator: ", ")) with prefix \"\(rule.prefix ?? "")\" and suffix "
            + "\"\(rule.suffix ?? "")\""
    }
}
