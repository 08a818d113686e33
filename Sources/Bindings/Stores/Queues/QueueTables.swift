internal import Interfaces
internal import LMDB

/// The databases of a tenant's queues, and the steps that keep them consistent with each other.
///
///     queues     name                      → QueueRow       (under one zero byte: the next queue's number; under
///                                                            two: QueueTotals)
///     ids        id                        → name
///     consumers  queue                     → ConsumerRow
///     messages   queue, sequence           → MessageRow
///     history    queue, sequence           → MessageRow     (acknowledged, kept to be replayed)
///     bodies     queue, sequence           → bytes          (of messages and of history)
///     ready      queue, time, sequence     → nothing        (every message that isn't leased)
///     leases     queue, expiry, sequence   → nothing        (every message that is)
///     ages       queue, timestamp, sequence → nothing       (every message)
struct QueueTables: Sendable {
    let queues: LMDBDatabase
    let ids: LMDBDatabase
    let consumers: LMDBDatabase
    let history: LMDBDatabase
    let messages: LMDBDatabase
    let bodies: LMDBDatabase
    let ready: LMDBDatabase
    let leases: LMDBDatabase
    let ages: LMDBDatabase

    init(_ environment: LMDBEnvironment) throws(LMDBError) {
        queues = try environment.openDatabase("queues")
        ids = try environment.openDatabase("ids")
        consumers = try environment.openDatabase("consumers")
        history = try environment.openDatabase("history")
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
                    var keys: [(message: [UInt8], age: [UInt8]?)] = []
                    var found = try start.isEmpty ? cursor.moveToFirst() : cursor.seek(start)
                    while found, keys.count < 10_000 {
                        let key = cursor.key
                        // A row that can't be read has no time: it must not keep the others from being delivered.
                        let age = MessageRow(cursor.value).map { message in
                            var age = Array(key.prefix(4))
                            age.append(bigEndian: max(0, message.timestamp))
                            return age + key.dropFirst(4)
                        }
                        keys.append((key, age))
                        found = try cursor.moveToNext()
                    }
                    return keys
                }
            }
            guard let last = keys.last else { return }
            try environment.write { transaction in
                for age in keys.compactMap(\.age) { try transaction.put(age, [], in: ages) }
            }
            bound = last.message + [0]
        }
    }

    // MARK: Metrics

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
        _ message: MessageRow, body: [UInt8]?, to queue: inout QueueRow,
        _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        let sequence = queue.nextSequence
        queue.nextSequence += 1
        queue.backlogCount += 1
        queue.backlogBytes += Int64(message.bodyByteCount)
        let key = Self.key(queue, sequence)
        try transaction.put(key, message.bytes, in: messages)
        // None: a dead letter that lost it before.
        if let body { try transaction.put(key, body, in: bodies) }
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

    /// Removes what came before `end`, messages and history, up to some hundreds. The caller saves `queue`.
    ///
    /// - Returns: whether nothing of it is left.
    func removeSome(
        of queue: inout QueueRow, before end: UInt64, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> Bool {
        let waiting = try rows(messages, of: queue, max: 1000, transaction.reading).filter { $0.sequence < end }
        for (sequence, message) in waiting {
            if let message {
                try remove(sequence, message, from: &queue, transaction)
            } else {
                let key = Self.key(queue, sequence)
                try transaction.delete(key, in: messages)
                try transaction.delete(key, in: bodies)
                queue.backlogCount -= 1
            }
        }
        let past = try rows(history, of: queue, max: 1000, transaction.reading).filter { $0.sequence < end }
        for (sequence, message) in past { try forget(sequence, message, of: &queue, transaction) }
        guard waiting.count < 1000, past.count < 1000 else { return false }
        // Damaged rows say neither how much they counted nor where they stood.
        if try rows(messages, of: queue, max: 1, transaction.reading).isEmpty {
            (queue.backlogCount, queue.backlogBytes) = (0, 0)
            for index in [ready, leases, ages] {
                if try !removeSome(startingWith: Self.prefix(queue), in: index, transaction) { return false }
            }
        }
        if try rows(history, of: queue, max: 1, transaction.reading).isEmpty {
            (queue.historyCount, queue.historyBytes) = (0, 0)
        }
        return true
    }

    /// Says whether nothing is left.
    private func removeSome(
        startingWith prefix: [UInt8], in index: LMDBDatabase, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> Bool {
        try transaction.withCursor(index) { cursor throws(LMDBError) in
            var found = try cursor.seek(prefix)
            var count = 0
            while found, count < 1000, cursor.keyStarts(with: prefix) {
                try cursor.delete()
                count += 1
                found = try cursor.moveToNext()
            }
            return count < 1000
        }
    }

    func unindex(
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

    /// `nil` also for a row that can't be read.
    func readableMessage(
        _ sequence: UInt64, of queue: QueueRow, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> MessageRow? {
        try transaction.value(of: Self.key(queue, sequence), in: messages).flatMap { MessageRow($0) }
    }

    func body(
        _ sequence: UInt64, of queue: QueueRow, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> [UInt8]? {
        try transaction.value(of: Self.key(queue, sequence), in: bodies)
    }

    // MARK: Walks

    /// Rows of `messages` or `history` from a sequence on, in the order in which they came; `nil` stands for one that
    /// can't be read.
    func rows(
        _ database: LMDBDatabase, of queue: QueueRow, from sequence: UInt64 = 0, max: Int,
        _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> [(sequence: UInt64, message: MessageRow?)] {
        let prefix = Self.prefix(queue)
        return try transaction.withCursor(database) { cursor throws(LMDBError) in
            var result: [(sequence: UInt64, message: MessageRow?)] = []
            var found = try cursor.seek(Self.key(queue, sequence))
            while found, result.count < max, cursor.keyStarts(with: prefix) {
                result.append((cursor.key.bigEndian(at: 4), MessageRow(cursor.value)))
                found = try cursor.moveToNext()
            }
            return result
        }
    }

    struct Entry {
        var time: Int64
        var sequence: UInt64
    }

    /// The entries of an index, `ready` or `leases`, with `times`, in order; `last` is the one they come behind.
    func entries(
        _ index: LMDBDatabase, of queue: QueueRow, times: ClosedRange<Int64>, behind last: Entry? = nil, max: Int,
        _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> [Entry] {
        let prefix = Self.prefix(queue)
        return try transaction.withCursor(index) { cursor throws(LMDBError) in
            var result: [Entry] = []
            let first = last.map { Self.key(queue, $0.time, $0.sequence + 1) } ?? Self.key(queue, times.lowerBound, 0)
            var found = try cursor.seek(first)
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

    /// When the next pull lapses that hasn't yet; leases of workers don't.
    func nextLapse(
        of queue: QueueRow, after time: Int64, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> Int64? {
        try entries(leases, of: queue, times: (time + 1)...(MessageRow.noEnd - 1), max: 1, transaction).first?.time
    }

    static func prefix(_ queue: QueueRow) -> [UInt8] {
        var key: [UInt8] = []
        key.append(bigEndian: queue.number)
        return key
    }

    static func key(_ queue: QueueRow, _ sequence: UInt64) -> [UInt8] {
        var key = prefix(queue)
        key.append(bigEndian: sequence)
        return key
    }

    static func key(_ queue: QueueRow, _ time: Int64, _ sequence: UInt64) -> [UInt8] {
        key(queue.number, time, sequence)
    }

    static func key(_ number: UInt32, _ time: Int64, _ sequence: UInt64) -> [UInt8] {
        var key: [UInt8] = []
        key.reserveCapacity(20)
        key.append(bigEndian: number)
        key.append(bigEndian: max(0, time))
        key.append(bigEndian: sequence)
        return key
    }
}
