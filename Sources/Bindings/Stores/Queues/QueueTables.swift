internal import Interfaces
internal import LMDB

/// The databases of a tenant's queues, and the steps that keep them consistent with each other.
///
///     queues     name                      → QueueRow       (under one zero byte: the next queue's number)
///     messages   queue, sequence           → MessageRow
///     bodies     queue, sequence           → bytes
///     ready      queue, time, sequence     → nothing        (every message that isn't leased)
///     leases     queue, expiry, sequence   → nothing        (every message that is)
///     ages       queue, timestamp, sequence → nothing       (every message)
struct QueueTables: Sendable {
    let queues: LMDBDatabase
    let messages: LMDBDatabase
    let bodies: LMDBDatabase
    let ready: LMDBDatabase
    let leases: LMDBDatabase
    let ages: LMDBDatabase

    init(_ environment: LMDBEnvironment) throws(LMDBError) {
        queues = try environment.openDatabase("queues")
        messages = try environment.openDatabase("messages")
        bodies = try environment.openDatabase("bodies")
        ready = try environment.openDatabase("ready")
        leases = try environment.openDatabase("leases")
        ages = try environment.openDatabase("ages")
    }

    /// Makes `ages` anew when a node that doesn't know it has worked on the messages.
    func restoreAges(in environment: LMDBEnvironment) throws {
        let agrees = try environment.read { transaction throws(LMDBError) in
            try transaction.count(of: ages) == transaction.count(of: messages)
        }
        if agrees { return }
        try environment.write { try $0.removeAll(in: ages) }
        var bound: [UInt8] = []
        while true {
            // Some at a time: a transaction has a limit.
            let start = bound
            let keys = try environment.read { transaction throws(LMDBError) in
                try transaction.withCursor(messages) { cursor throws(LMDBError) in
                    var keys: [(message: [UInt8], age: [UInt8])] = []
                    var found = try start.isEmpty ? cursor.moveToFirst() : cursor.seek(start)
                    while found, keys.count < 10_000 {
                        guard let message = MessageRow(cursor.value) else {
                            throw LMDBError("message row", .corrupted)
                        }
                        let key = cursor.key
                        var age = Array(key.prefix(4))
                        age.append(bigEndian: max(0, message.timestamp))
                        keys.append((key, age + key.dropFirst(4)))
                        found = try cursor.moveToNext()
                    }
                    return keys
                }
            }
            guard let last = keys.last else { return }
            try environment.write { transaction in
                for key in keys { try transaction.put(key.age, [], in: ages) }
            }
            bound = last.message + [0]
        }
    }

    // MARK: Queues

    private static let numberKey: [UInt8] = [0]

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

    func save(
        _ row: QueueRow, _ name: String, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        try transaction.put(Array(name.utf8), row.bytes, in: queues)
    }

    func makeQueue(
        _ name: String, _ settings: QueueSettings, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> QueueRow {
        let number: UInt32 = try transaction.value(of: Self.numberKey, in: queues)?.littleEndian(at: 0) ?? 0
        var next: [UInt8] = []
        next.append(littleEndian: number + 1)
        try transaction.put(Self.numberKey, next, in: queues)
        let row = QueueRow(number: number, settings: settings)
        try save(row, name, transaction)
        return row
    }

    func removeQueue(_ name: String, _ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) {
        try transaction.delete(Array(name.utf8), in: queues)
    }

    func metrics(
        _ queue: QueueRow, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> QueueMetrics {
        QueueMetrics(
            backlogCount: queue.backlogCount, backlogBytes: queue.backlogBytes,
            oldestMessageTimestamp: try oldestTimestamp(in: queue, transaction))
    }

    /// Not that of the first message: a dead letter keeps its time, and clocks are set back.
    private func oldestTimestamp(
        in queue: QueueRow, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> Int64? {
        let prefix = Self.prefix(queue)
        return try transaction.withCursor(ages) { cursor throws(LMDBError) -> Int64? in
            var found = try cursor.seek(prefix)
            while found, cursor.keyStarts(with: prefix) {
                let key = cursor.key
                // An entry without its message is what a node left that doesn't know the index.
                let message = prefix + key.dropFirst(12)
                if try transaction.contains(message, in: messages) { return key.bigEndian(at: 4) }
                found = try cursor.moveToNext()
            }
            return nil
        }
    }

    // MARK: Messages

    /// Puts a message behind all others of `queue`, ready at its time. The caller saves `queue`.
    func append(
        _ message: MessageRow, body: [UInt8], to queue: inout QueueRow,
        _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        let sequence = queue.nextSequence
        queue.nextSequence += 1
        queue.backlogCount += 1
        queue.backlogBytes += Int64(message.bodyByteCount)
        let key = Self.key(queue, sequence)
        try transaction.put(key, message.bytes, in: messages)
        try transaction.put(key, body, in: bodies)
        try transaction.put(Self.key(queue, message.readyAt, sequence), [], in: ready)
        try transaction.put(Self.key(queue, message.timestamp, sequence), [], in: ages)
    }

    /// Replaces what is stored about a message, and moves it between the indexes. The body stays.
    func update(
        _ sequence: UInt64, from old: MessageRow, to new: MessageRow, in queue: QueueRow,
        _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        try unindex(sequence, old, queue, transaction)
        try transaction.put(Self.key(queue, sequence), new.bytes, in: messages)
        if let expiry = new.leasedUntil {
            try transaction.put(Self.key(queue, expiry, sequence), [], in: leases)
        } else {
            try transaction.put(Self.key(queue, new.readyAt, sequence), [], in: ready)
        }
    }

    /// The caller saves `queue`.
    func remove(
        _ sequence: UInt64, _ message: MessageRow, from queue: inout QueueRow,
        _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        try unindex(sequence, message, queue, transaction)
        let key = Self.key(queue, sequence)
        try transaction.delete(key, in: messages)
        try transaction.delete(key, in: bodies)
        try transaction.delete(Self.key(queue, message.timestamp, sequence), in: ages)
        queue.backlogCount -= 1
        queue.backlogBytes -= Int64(message.bodyByteCount)
    }

    private func unindex(
        _ sequence: UInt64, _ message: MessageRow, _ queue: QueueRow,
        _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        if let expiry = message.leasedUntil {
            try transaction.delete(Self.key(queue, expiry, sequence), in: leases)
        } else {
            try transaction.delete(Self.key(queue, message.readyAt, sequence), in: ready)
        }
    }

    func message(
        _ sequence: UInt64, of queue: QueueRow, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> MessageRow? {
        guard let bytes = try transaction.value(of: Self.key(queue, sequence), in: messages) else {
            return nil
        }
        guard let message = MessageRow(bytes) else { throw LMDBError("message row", .corrupted) }
        return message
    }

    func body(
        _ sequence: UInt64, of queue: QueueRow, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> [UInt8] {
        try transaction.value(of: Self.key(queue, sequence), in: bodies) ?? []
    }

    // MARK: Walks

    /// The messages that came first, in the order they came in.
    func first(
        of queue: QueueRow, max: Int, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> [(sequence: UInt64, message: MessageRow)] {
        let prefix = Self.prefix(queue)
        return try transaction.withCursor(messages) { cursor throws(LMDBError) in
            var result: [(sequence: UInt64, message: MessageRow)] = []
            var found = try cursor.seek(prefix)
            while found, result.count < max, cursor.keyStarts(with: prefix) {
                guard let message = MessageRow(cursor.value) else {
                    throw LMDBError("message row", .corrupted)
                }
                result.append((cursor.key.bigEndian(at: 4), message))
                found = try cursor.moveToNext()
            }
            return result
        }
    }

    struct Entry {
        var time: Int64
        var sequence: UInt64
    }

    /// The entries of an index, `ready` or `leases`, with `times`, in order.
    func entries(
        _ index: LMDBDatabase, of queue: QueueRow, times: ClosedRange<Int64>, max: Int,
        _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> [Entry] {
        let prefix = Self.prefix(queue)
        return try transaction.withCursor(index) { cursor throws(LMDBError) in
            var result: [Entry] = []
            var found = try cursor.seek(Self.key(queue, times.lowerBound, 0))
            while found, result.count < max, cursor.keyStarts(with: prefix) {
                let key = cursor.key
                let entry = Entry(time: key.bigEndian(at: 4), sequence: key.bigEndian(at: 12))
                if entry.time > times.upperBound { break }
                result.append(entry)
                found = try cursor.moveToNext()
            }
            return result
        }
    }

    private static func prefix(_ queue: QueueRow) -> [UInt8] {
        var key: [UInt8] = []
        key.append(bigEndian: queue.number)
        return key
    }

    private static func key(_ queue: QueueRow, _ sequence: UInt64) -> [UInt8] {
        var key = prefix(queue)
        key.append(bigEndian: sequence)
        return key
    }

    private static func key(_ queue: QueueRow, _ time: Int64, _ sequence: UInt64) -> [UInt8] {
        var key = prefix(queue)
        key.append(bigEndian: max(0, time))
        key.append(bigEndian: sequence)
        return key
    }
}
