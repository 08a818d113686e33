internal import Interfaces
internal import LMDB
internal import System

/// Who consumes a queue: one worker, or clients that pull. Releases replace what releases made; the rest belongs to whoever
/// manages the tenant's queues.
extension EmbeddedQueueStore {
    package func consumer(of queue: String) throws(QueueError) -> QueueConsumerRecord? {
        try read(queue) { row, transaction throws(LMDBError) in try tables.consumer(of: row, transaction) }
    }

    package func addConsumer(
        _ draft: QueueConsumerDraft, to queue: String
    ) async throws(QueueError) -> QueueConsumerRecord {
        try Self.check(draft, for: queue)
        let record = try await commit("add consumer") { [tables, clock] transaction in
            let row = try Self.require(queue, tables, transaction.reading)
            if let present = try tables.consumer(of: row, transaction.reading) {
                throw Self.alreadyConsumed(queue, by: present)
            }
            let now = clock.wallTime()
            let record = Self.record(draft, .management, at: now)
            try tables.save(record, of: row, transaction)
            try Self.makeDeadLetterQueue(of: draft, tables, at: now, transaction)
            return record
        }
        notifyOfConsumers()
        return record
    }

    package func updateConsumer(
        _ id: String, of queue: String, _ draft: QueueConsumerDraft
    ) async throws(QueueError) -> QueueConsumerRecord? {
        try Self.check(draft, for: queue)
        let record = try await commit("update consumer") { [tables, clock] transaction -> QueueConsumerRecord? in
            let row = try Self.require(queue, tables, transaction.reading)
            guard var record = try tables.consumer(of: row, transaction.reading), record.id == id else { return nil }
            record.kind = draft.kind
            record.settings = draft.settings
            try tables.save(record, of: row, transaction)
            try Self.makeDeadLetterQueue(of: draft, tables, at: clock.wallTime(), transaction)
            return record
        }
        notifyOfConsumers()
        return record
    }

    package func removeConsumer(_ id: String, of queue: String) async throws(QueueError) -> Bool {
        let isRemoved = try await commit("remove consumer") { [tables] transaction in
            let row = try Self.require(queue, tables, transaction.reading)
            guard try tables.consumer(of: row, transaction.reading)?.id == id else { return false }
            try tables.save(nil, of: row, transaction)
            return true
        }
        notifyOfConsumers()
        return isRemoved
    }

    package func setReleaseConsumers(_ drafts: [String: QueueConsumerDraft]) async throws(QueueError) {
        for (queue, draft) in drafts { try Self.check(draft, for: queue) }
        let changed = try await commit("set consumers") { [tables, clock] transaction in
            let now = clock.wallTime()
            var changed: [String] = []
            for name in try tables.names(transaction.reading) where drafts[name] == nil {
                guard let row = try tables.queue(name, transaction.reading),
                    try tables.consumer(of: row, transaction.reading)?.origin == .release
                else { continue }
                try tables.save(nil, of: row, transaction)
                changed.append(name)
            }
            for (name, draft) in drafts.sorted(by: { $0.key < $1.key }) {
                let row = try Self.require(name, tables, transaction.reading)
                var record = Self.record(draft, .release, at: now)
                if let present = try tables.consumer(of: row, transaction.reading) {
                    // A worker that was given the queue by hand keeps it; the release says how from now on.
                    guard present.origin == .release || present.kind == draft.kind else {
                        throw Self.alreadyConsumed(name, by: present)
                    }
                    if present.kind == draft.kind {
                        record.id = present.id
                        record.createdAt = present.createdAt
                    }
                    if present == record { continue }
                }
                try tables.save(record, of: row, transaction)
                try Self.makeDeadLetterQueue(of: draft, tables, at: now, transaction)
                changed.append(name)
            }
            return changed
        }
        if !changed.isEmpty { notifyOfConsumers() }
    }

    private static func check(_ draft: QueueConsumerDraft, for queue: String) throws(QueueError) {
        do throws(CallFailure) { try draft.settings.check(for: queue) } catch { throw .refused(error) }
    }

    private static func alreadyConsumed(_ queue: String, by present: QueueConsumerRecord) -> CallFailure {
        let consumer =
            switch present.kind {
            case .worker(let script): "worker \"\(script)\""
            case .pull: "http_pull"
            }
        return CallFailure("a consumer already exists: queue \"\(queue)\" has \(consumer)", code: 11004)
    }

    private static func record(
        _ draft: QueueConsumerDraft, _ origin: QueueConsumerRecord.Origin, at now: UnixTime
    ) -> QueueConsumerRecord {
        QueueConsumerRecord(
            id: Hex.text(RandomID.make()), createdAt: now, origin: origin, kind: draft.kind, settings: draft.settings)
    }

    private static func makeDeadLetterQueue(
        of draft: QueueConsumerDraft, _ tables: QueueTables, at now: UnixTime,
        _ transaction: borrowing LMDBWriteTransaction
    ) throws {
        guard let name = draft.settings.deadLetterQueue, try tables.queue(name, transaction.reading) == nil else {
            return
        }
        _ = try tables.makeQueue(name, QueueSettings(), at: now.milliseconds, transaction)
    }
}
