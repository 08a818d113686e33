internal import LMDB

/// Queues, their consumers, and the tenant's totals.
extension QueueTables {
    private static let numberKey: [UInt8] = [0]
    static let totalsKey: [UInt8] = [0, 0]

    func queue(
        _ name: String, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> QueueRow? {
        guard let bytes = try transaction.value(of: Array(name.utf8), in: queues) else { return nil }
        guard let row = QueueRow(bytes) else { throw LMDBError("queue row", .corrupted) }
        return row
    }

    func names(_ transaction: borrowing LMDBReadTransaction) throws(LMDBError) -> [String] {
        try transaction.withCursor(queues) { cursor throws(LMDBError) in
            var names: [String] = []
            var found = try cursor.seek([1])
            while found {
                names.append(String(decoding: cursor.key, as: UTF8.self))
                found = try cursor.moveToNext()
            }
            return names
        }
    }

    /// Stores the row, and what it changes of the totals.
    func save(
        _ row: QueueRow, _ name: String, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        let old = try queue(name, transaction.reading)
        try transaction.put(Array(name.utf8), row.bytes, in: queues)
        try addToTotals(old, row, transaction)
    }

    private func addToTotals(
        _ old: QueueRow?, _ new: QueueRow?, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        let before = try totals(transaction.reading)
        var after = before
        after.replace(old, by: new)
        if after != before { try transaction.put(Self.totalsKey, after.bytes, in: queues) }
    }

    func totals(_ transaction: borrowing LMDBReadTransaction) throws(LMDBError) -> QueueTotals {
        guard let bytes = try transaction.value(of: Self.totalsKey, in: queues) else { return QueueTotals() }
        guard let totals = QueueTotals(bytes) else { throw LMDBError("queue totals", .corrupted) }
        return totals
    }

    func makeQueue(
        _ name: String, _ settings: QueueSettings, at now: Int64,
        _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> QueueRow {
        let number: UInt32 = try transaction.value(of: Self.numberKey, in: queues)?.littleEndian(at: 0) ?? 0
        var next: [UInt8] = []
        next.append(littleEndian: number + 1)
        try transaction.put(Self.numberKey, next, in: queues)
        let row = QueueRow(number: number, settings: settings, id: RandomID.make(), createdAt: now)
        try save(row, name, transaction)
        try transaction.put(row.id, Array(name.utf8), in: ids)
        return row
    }

    func removeQueue(
        _ row: QueueRow, _ name: String, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        let old = try queue(name, transaction.reading)
        try transaction.delete(Array(name.utf8), in: queues)
        try transaction.delete(row.id, in: ids)
        try transaction.delete(Self.prefix(row), in: consumers)
        try addToTotals(old, nil, transaction)
    }

    func name(
        ofQueueWithID id: [UInt8], _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> String? {
        try transaction.value(of: id, in: ids).map { String(decoding: $0, as: UTF8.self) }
    }

    /// Brings the rows of format 1 up to date.
    func upgrade(at now: Int64, _ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) {
        var totals = QueueTotals()
        for name in try names(transaction.reading) {
            guard var row = try queue(name, transaction.reading) else { continue }
            row.id = RandomID.make()
            row.createdAt = now
            row.modifiedAt = now
            totals.replace(nil, by: row)
            try transaction.put(Array(name.utf8), row.bytes, in: queues)
            try transaction.put(row.id, Array(name.utf8), in: ids)
        }
        try transaction.put(Self.totalsKey, totals.bytes, in: queues)
    }

    // MARK: Consumers

    func consumer(
        of queue: QueueRow, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> QueueConsumerRecord? {
        guard let bytes = try transaction.value(of: Self.prefix(queue), in: consumers) else { return nil }
        guard let record = QueueConsumerRecord(stored: bytes) else {
            throw LMDBError("consumer row", .corrupted)
        }
        return record
    }

    func save(
        _ record: QueueConsumerRecord?, of queue: QueueRow, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        if let record {
            try transaction.put(Self.prefix(queue), record.stored, in: consumers)
        } else {
            try transaction.delete(Self.prefix(queue), in: consumers)
        }
    }
}
