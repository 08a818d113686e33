internal import FoundationEssentials
internal import Interfaces
internal import StoresQueues
internal import StoresR2
internal import System

/// What the control plane can ask of a tenant's buckets: their rules, what they hold, and whether they are sound. Results
/// are JSON in the shapes of the product's REST API (spec: r2, section 5).
package struct BucketAdministration: Sendable {
    package enum Subject: Equatable, Sendable {
        case lifecycle(bucket: String)
        case lock(bucket: String)
        /// `bucket`: `nil` for all of the tenant's.
        case usage(bucket: String?)
        /// Ours: what may be stored. `bucket`: as above.
        case limits(bucket: String?)
        /// `queue`: `nil` for all of the bucket's.
        case notifications(bucket: String, queue: String?)
        /// Ours: looks for damage in all of the tenant's buckets.
        case verification(checksums: Bool)
    }

    package enum Action: Equatable, Sendable { case get, put, delete, post }

    package struct Refusal: Error, Sendable {
        package var status: Int
        package var code: Int
        package var message: String
    }

    private let buckets: EmbeddedR2Store
    private let queues: EmbeddedQueueStore

    init(buckets: EmbeddedR2Store, queues: EmbeddedQueueStore) {
        self.buckets = buckets
        self.queues = queues
    }

    /// - Returns: JSON; `nil` when the subject has no such action.
    package func answer(_ subject: Subject, _ action: Action, body: [UInt8]) async throws(Refusal) -> [UInt8]? {
        do {
            return try await result(subject, action, body)
        } catch let failure as R2Failure {
            throw Self.refusal(failure, subject)
        } catch QueueError.noSuchQueue(let name) {
            throw Refusal(status: 404, code: 11000, message: "The queue \"\(name)\" does not exist.")
        } catch {
            throw Refusal(status: 500, code: 10001, message: R2Failure.internalError.message)
        }
    }

    private func result(_ subject: Subject, _ action: Action, _ body: [UInt8]) async throws -> [UInt8]? {
        switch (subject, action) {
        case (.lifecycle(let bucket), .get):
            return try encode(R2RuleSet(buckets.lifecycleRules(of: bucket)))
        case (.lifecycle(let bucket), .put):
            try await buckets.setLifecycleRules(R2RuleSet(json: body).rules, of: bucket)
            return Self.nothing
        case (.lock(let bucket), .get): return try encode(R2RuleSet(buckets.lockRules(of: bucket)))
        case (.lock(let bucket), .put):
            try await buckets.setLockRules(R2RuleSet(json: body).rules, of: bucket)
            return Self.nothing
        case (.usage(let bucket), .get): return try encode(buckets.usage(of: bucket))
        case (.limits(let bucket), .get): return try encode(buckets.limits(of: bucket))
        case (.limits(let bucket), .put):
            try await buckets.setLimits(R2JSON.decode(body), of: bucket)
            return Self.nothing
        case (.notifications(let bucket, nil), .get): return try encode(buckets.notifications(of: bucket))
        case (.notifications(let bucket, let queue?), .get):
            let found = try buckets.notifications(of: bucket).queues.first { $0.queueName == queue }
            guard let found else { throw R2Failure.noNotificationConfiguration }
            return try encode(found)
        case (.notifications(let bucket, let queue?), .put):
            let added: AddedRules = try R2JSON.decode(body)
            _ = try queues.settings(of: queue)
            try await buckets.addNotificationRules(added.rules, queue: queue, of: bucket)
            return Self.nothing
        case (.notifications(let bucket, let queue?), .delete):
            let removed: RemovedRules = body.isEmpty ? RemovedRules() : try R2JSON.decode(body)
            try await buckets.removeNotificationRules(removed.ruleIds ?? [], queue: queue, of: bucket)
            return Self.nothing
        case (.verification(let checksums), .get):
            return try encode(Verification(await buckets.verify(checksums ? .checksums : .sizes)))
        case (.verification(let checksums), .post):
            return try encode(Verification(await buckets.verify(checksums ? .checksums : .sizes, repairing: .leftovers)))
        default: return nil
        }
    }

    private static let nothing = Array("{}".utf8)

    private struct AddedRules: Decodable {
        var rules: [R2NotificationRule]
    }
    private struct RemovedRules: Decodable {
        var ruleIds: [String]?
    }
    private struct Verification: Encodable {
        var objects: Int
        var parts: Int
        var files: Int
        var damaged: Int
        var repaired: Int
        var damage: [String]

        init(_ report: R2VerifyReport) {
            objects = report.objectCount
            parts = report.partCount
            files = report.fileCount
            damaged = report.damageCount
            repaired = report.repairedCount
            damage = report.damage.map(\.description)
        }
    }

    private func encode(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return Array(try encoder.encode(value))
    }

    private static func refusal(_ failure: R2Failure, _ subject: Subject) -> Refusal {
        switch failure {
        case .noSuchBucket:
            // The notifications' API has a number of its own for it.
            if case .notifications = subject { return Refusal(status: 404, code: 10085, message: failure.message) }
            return Refusal(status: 404, code: failure.code, message: failure.message)
        case .noNotificationConfiguration: return Refusal(status: 404, code: failure.code, message: failure.message)
        case .internalError: return Refusal(status: 500, code: failure.code, message: failure.message)
        case .unavailable: return Refusal(status: 503, code: failure.code, message: failure.message)
        default: return Refusal(status: 400, code: failure.code, message: failure.message)
        }
    }
}
