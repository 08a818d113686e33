internal import Interfaces
internal import LMDB
internal import System

/// Giving a queue another name: its id, messages, consumer and leases stay, and dead letters follow it.
extension EmbeddedQueueStore {
    @discardableResult
    package func renameQueue(
        _ name: String, to newName: String, _ change: QueueSettingsChange
    ) async throws(QueueError) -> QueueRecord {
        try Self.checkName(newName)
        let (record, lapse) = try await commit("rename queue") { [tables, clock] transaction in
            var row = try Self.require(name, tables, transaction.reading)
            guard try tables.queue(newName, transaction.reading) == nil else { throw QueueLimits.nameTaken(newName) }
            let consumer = try tables.consumer(of: row, transaction.reading)
            try consumer?.settings.check(for: newName)
            row.settings = change.applied(to: row.settings)
            try row.settings.check()
            let now = clock.wallTime().milliseconds
            row.modifiedAt = now
            try tables.rename(row, from: name, to: newName, transaction)
            return (
                Self.record(newName, row, consumer), try tables.nextLapse(of: row, after: 0, transaction.reading)
            )
        }
        rates.setLimit(nil, of: name)
        rates.setLimit(record.settings.messagesPerSecondMax, of: newName)
        warned.withLock { _ = $0.remove(name) }
        // The timer of the old name finds nothing.
        if let lapse { lapses.arm(newName, at: lapse) }
        notify([name, newName])
        notifyOfConsumers()
        return record
    }

    /// The queue that a lease is of, whatever it is called by now: another one may have its old name.
    static func holder(
        of id: [UInt8], leasedAs name: String, _ tables: QueueTables, _ transaction: borrowing LMDBReadTransaction
    ) throws -> (name: String, row: QueueRow) {
        guard let present = try tables.name(ofQueueWithID: id, transaction),
            let row = try tables.queue(present, transaction)
        else { throw QueueError.noSuchQueue(name) }
        return (present, row)
    }
}

extension QueueTables {
    /// Moves a queue to a name that no other has, and tells the consumers whose dead letters it gets.
    func rename(
        _ row: QueueRow, from name: String, to newName: String, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        // Neither counts nor costs change, so the totals stay.
        try transaction.delete(Array(name.utf8), in: queues)
        try transaction.put(Array(newName.utf8), row.bytes, in: queues)
        try transaction.put(row.id, Array(newName.utf8), in: ids)
        for other in try names(transaction.reading) {
            guard let queue = try queue(other, transaction.reading),
                var consumer = try consumer(of: queue, transaction.reading), consumer.settings.deadLetterQueue == name
            else { continue }
            consumer.settings.deadLetterQueue = newName
            try save(consumer, of: queue, transaction)
        }
    }
}
