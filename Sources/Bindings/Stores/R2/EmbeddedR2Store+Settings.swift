package import Interfaces
internal import HTTP
internal import LMDB
internal import Stores
internal import System

/// What a bucket's owner sets, and what it holds. Reads answer in place; what is set is durable, and holds for every
/// write that is committed later.
extension EmbeddedR2Store {
    // MARK: Lifecycle and locks

    package func lifecycleRules(of bucket: String) throws(R2Failure) -> [R2LifecycleRule] {
        try setting("lifecycle rules", of: bucket) { number, transaction throws(LMDBError) in
            try index.bucketSettings.lifecycle(of: number, transaction)
        }
    }

    package func setLifecycleRules(_ rules: [R2LifecycleRule], of bucket: String) async throws(R2Failure) {
        let set = R2RuleSet(rules)
        try set.check()
        let number = try await commitSetting(bucket) { settings, number, transaction in
            try settings.put(set, as: .lifecycle, of: number, transaction)
        }
        lifecycleTimes.forget(number)
    }

    package func lockRules(of bucket: String) throws(R2Failure) -> [R2LockRule] {
        try setting("lock rules", of: bucket) { number, transaction throws(LMDBError) in
            try index.bucketSettings.locks(of: number, transaction)
        }
    }

    package func setLockRules(_ rules: [R2LockRule], of bucket: String) async throws(R2Failure) {
        let set = R2RuleSet(rules)
        try set.check()
        let number = try await commitSetting(bucket) { settings, number, transaction in
            try settings.put(rules.isEmpty ? nil : set, as: .locks, of: number, transaction)
        }
        lifecycleTimes.forget(number)
    }

    func refuseIfLocked(_ key: String, _ object: StoredObject, in bucket: String) throws(R2Failure) {
        let rules = try lockRules(of: bucket)
        guard !rules.isEmpty else { return }
        let now = clock.wallTime().milliseconds
        guard !RetentionPolicy(rules).isLocked(key, uploaded: object.uploaded, now: now) else {
            throw .objectLocked
        }
    }

    // MARK: Event notifications

    package func notifications(of bucket: String) throws(R2Failure) -> R2Notifications {
        try setting("event notifications", of: bucket) { number, transaction throws(LMDBError) in
            try index.bucketSettings.notifications(of: number, transaction)
        } ?? R2Notifications(bucketName: bucket)
    }

    /// Adds rules to those that the bucket has for the queue, whose name the caller has checked.
    ///
    /// - Returns: all of the bucket's rules.
    @discardableResult
    package func addNotificationRules(
        _ rules: [R2NotificationRule], queue: String, of bucket: String
    ) async throws(R2Failure) -> R2Notifications {
        guard !queue.isEmpty, queue.utf8.count <= 255, !queue.utf8.contains(0) else {
            throw .invalidRules("\"\(queue)\" is no name of a queue")
        }
        guard !rules.isEmpty else { throw .invalidRules("there is no event notification rule to add") }
        let now = clock.wallTime()
        let added: [R2Notifications.Rule] = rules.map {
            R2Notifications.Rule(
                $0, ruleId: Identifier.make(at: now).hexadecimal,
                createdAt: InternetTimestamp.text(milliseconds: now.milliseconds))
        }
        return try await change(bucket) { notifications in
            if let place = notifications.queues.firstIndex(where: { $0.queueName == queue }) {
                notifications.queues[place].rules.append(contentsOf: added)
            } else {
                notifications.queues.append(R2Notifications.Queue(queue, rules: added))
            }
        }
    }

    /// Removes the named rules of the queue; all of them when none is named. Events that wait are still sent.
    package func removeNotificationRules(
        _ ids: [String] = [], queue: String, of bucket: String
    ) async throws(R2Failure) {
        _ = try await change(bucket) { notifications in
            guard let place = notifications.queues.firstIndex(where: { $0.queueName == queue }) else {
                throw R2Failure.noNotificationConfiguration
            }
            notifications.queues[place].rules.removeAll { ids.isEmpty || ids.contains($0.ruleId) }
            if notifications.queues[place].rules.isEmpty { notifications.queues.remove(at: place) }
        }
    }

    private func change(
        _ bucket: String, _ edit: @escaping @Sendable (inout R2Notifications) throws -> Void
    ) async throws(R2Failure) -> R2Notifications {
        let (_, result) = try await commitSetting(
            bucket,
            returning: { settings, number, transaction in
                var notifications =
                    try settings.notifications(of: number, transaction.reading) ?? R2Notifications(bucketName: bucket)
                try edit(&notifications)
                try notifications.check()
                try settings.put(
                    notifications.queues.isEmpty ? nil : notifications, as: .notifications, of: number, transaction)
                return notifications
            })
        return result
    }

    // MARK: Usage and limits

    /// - Parameter bucket: `nil` for all of the tenant's.
    package func usage(of bucket: String?) throws(R2Failure) -> R2Usage {
        try setting("usage", of: bucket) { number, transaction throws(LMDBError) in
            try index.ledger.usage(of: number, transaction)
        }
    }

    /// - Parameter bucket: `nil` for the tenant's.
    package func limits(of bucket: String?) throws(R2Failure) -> R2StorageLimits {
        try setting("limits", of: bucket) { number, transaction throws(LMDBError) in
            try index.bucketSettings.limits(of: number, transaction)
        } ?? R2StorageLimits()
    }

    /// What is stored already stays, whatever the limits say.
    package func setLimits(_ limits: R2StorageLimits, of bucket: String?) async throws(R2Failure) {
        try limits.check()
        _ = try await commitSetting(bucket) { settings, number, transaction in
            try settings.put(limits == R2StorageLimits() ? nil : limits, as: .limits, of: number, transaction)
        }
    }

    // MARK: One bucket's, or the tenant's

    func setting<Value>(
        _ what: String, of bucket: String?,
        _ body: (UInt32, borrowing LMDBReadTransaction) throws(LMDBError) -> Value
    ) throws(R2Failure) -> Value {
        let found = try read(what) { transaction throws(LMDBError) -> Value? in
            guard let bucket else { return try body(BucketSettings.tenant, transaction) }
            guard let number = try index.bucket(bucket, transaction) else { return nil }
            return try body(number, transaction)
        }
        guard let found else { throw .noSuchBucket }
        return found
    }

    func commitSetting(
        _ bucket: String?,
        _ body: @escaping @Sendable (BucketSettings, UInt32, borrowing LMDBWriteTransaction) throws -> Void
    ) async throws(R2Failure) -> UInt32 {
        try await commitSetting(bucket, returning: body).number
    }

    private func commitSetting<Value: Sendable>(
        _ bucket: String?,
        returning body: @escaping @Sendable (BucketSettings, UInt32, borrowing LMDBWriteTransaction) throws -> Value
    ) async throws(R2Failure) -> (number: UInt32, value: Value) {
        try await commit("settings of \(bucket ?? "the tenant")") { [index] transaction in
            guard let bucket else {
                let number = BucketSettings.tenant
                return (number, try body(index.bucketSettings, number, transaction))
            }
            guard let number = try index.bucket(bucket, transaction.reading) else { throw R2Failure.noSuchBucket }
            return (number, try body(index.bucketSettings, number, transaction))
        }
    }
}
