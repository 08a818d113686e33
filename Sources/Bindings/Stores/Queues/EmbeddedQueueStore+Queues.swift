package import Interfaces
internal import LMDB
internal import System

/// Queues themselves: names, ids, settings.
extension EmbeddedQueueStore {
    /// Letters, digits, inner hyphens; at most 63 (spec: queues, section 1).
    package static func isQueueName(_ name: String) -> Bool {
        let bytes = Array(name.utf8)
        let hyphen = UInt8(ascii: "-")
        return (1...63).contains(bytes.count) && bytes.first != hyphen && bytes.last != hyphen
            && bytes.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == hyphen }
    }

    package func openQueue(_ name: String, settings: QueueSettings?) async throws(QueueError) {
        _ = try await change(name, whenMissing: .make) { settings ?? $0 }
    }

    @discardableResult
    package func configureQueue(
        _ name: String, _ change: QueueSettingsChange
    ) async throws(QueueError) -> QueueRecord {
        try await self.change(name, whenMissing: .make) { change.applied(to: $0) }
    }

    package func createQueue(_ name: String, settings: QueueSettings) async throws(QueueError) -> QueueRecord {
        do throws(CallFailure) { try settings.check() } catch { throw .refused(error) }
        try Self.checkName(name)
        let record = try await commit("create queue") { [tables, clock, quota] transaction in
            guard try tables.queue(name, transaction.reading) == nil else {
                throw QueueLimits.nameTaken(name)
            }
            let row = try Self.make(name, settings, tables, clock, quota, transaction)
            return Self.record(name, row, nil)
        }
        rates.setLimit(settings.messagesPerSecondMax, of: name)
        notify([name])
        return record
    }

    @discardableResult
    package func updateQueue(
        _ name: String, _ change: QueueSettingsChange
    ) async throws(QueueError) -> QueueRecord {
        try await self.change(name, whenMissing: .refuse) { change.applied(to: $0) }
    }

    private enum Missing { case make, refuse }

    private func change(
        _ name: String, whenMissing: Missing, _ change: @escaping @Sendable (QueueSettings) -> QueueSettings
    ) async throws(QueueError) -> QueueRecord {
        if whenMissing == .make { try Self.checkName(name) }
        let record = try await commit("open queue") { [tables, clock, quota] transaction in
            if var queue = try tables.queue(name, transaction.reading) {
                let consumer = try tables.consumer(of: queue, transaction.reading)
                let settings = change(queue.settings)
                guard settings != queue.settings else { return Self.record(name, queue, consumer) }
                try settings.check()
                queue.settings = settings
                queue.modifiedAt = clock.wallTime().milliseconds
                try tables.save(queue, name, transaction)
                return Self.record(name, queue, consumer)
            }
            guard whenMissing == .make else { throw QueueError.noSuchQueue(name) }
            let settings = change(QueueSettings())
            try settings.check()
            return Self.record(name, try Self.make(name, settings, tables, clock, quota, transaction), nil)
        }
        rates.setLimit(record.settings.messagesPerSecondMax, of: name)
        notify([name])
        return record
    }

    static func checkName(_ name: String) throws(QueueError) {
        guard isQueueName(name) else { throw .refused(QueueLimits.invalidName(name)) }
    }

    private static func make(
        _ name: String, _ settings: QueueSettings, _ tables: QueueTables, _ clock: any NodeClock,
        _ quota: QueueQuota, _ transaction: borrowing LMDBWriteTransaction
    ) throws -> QueueRow {
        guard try tables.totals(transaction.reading).queueCount < quota.queueCountMax else {
            throw CallFailure("queue count exceeds limit of \(quota.queueCountMax)", code: 10251)
        }
        return try tables.makeQueue(name, settings, at: clock.wallTime().milliseconds, transaction)
    }

    package func deleteQueue(_ name: String) async throws(QueueError) {
        var isGone = false
        while !isGone {
            isGone = try await commit("delete queue") { [tables, clock] transaction in
                var queue = try Self.require(name, tables, transaction.reading)
                if try tables.removeSome(of: &queue, before: .max, transaction) {
                    try tables.removeQueue(queue, name, transaction)
                    return true
                }
                queue.modifiedAt = clock.wallTime().milliseconds
                try tables.save(queue, name, transaction)
                return false
            }
        }
        rates.setLimit(nil, of: name)
        warned.withLock { _ = $0.remove(name) }
        notify([name])
        notifyOfConsumers()
    }

    package func settings(of queue: String) throws(QueueError) -> QueueSettings {
        try read(queue) { row, _ throws(LMDBError) in row.settings }
    }

    package func metrics(of queue: String) throws(QueueError) -> QueueMetrics {
        try read(queue) { row, transaction throws(LMDBError) in try tables.metrics(row, transaction) }
    }

    package func queue(_ name: String) throws(QueueError) -> QueueRecord {
        try read(name) { row, transaction throws(LMDBError) in
            Self.record(name, row, try tables.consumer(of: row, transaction))
        }
    }

    package func queue(withID id: String) throws(QueueError) -> QueueRecord? {
        guard id.utf8.count == 32, let bytes = Hex.bytes(id) else { return nil }
        do throws(LMDBError) {
            return try environment.read { transaction throws(LMDBError) in
                guard let name = try tables.name(ofQueueWithID: bytes, transaction),
                    let row = try tables.queue(name, transaction)
                else { return nil }
                return Self.record(name, row, try tables.consumer(of: row, transaction))
            }
        } catch { throw failed("read", error) }
    }

    package func queues() throws(QueueError) -> [QueueRecord] {
        do throws(LMDBError) {
            return try environment.read { transaction throws(LMDBError) in
                var records: [QueueRecord] = []
                for name in try tables.names(transaction) {
                    guard let row = try tables.queue(name, transaction) else { continue }
                    records.append(Self.record(name, row, try tables.consumer(of: row, transaction)))
                }
                return records
            }
        } catch { throw failed("read", error) }
    }

    static func record(_ name: String, _ row: QueueRow, _ consumer: QueueConsumerRecord?) -> QueueRecord {
        QueueRecord(
            id: Hex.text(row.id), name: name, createdAt: UnixTime(milliseconds: row.createdAt),
            modifiedAt: UnixTime(milliseconds: row.modifiedAt), settings: row.settings, consumer: consumer)
    }
}
