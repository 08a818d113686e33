internal import Interfaces
internal import LMDB
internal import System

/// One change by a consumer, inside one transaction: what it does to the queue and to its dead letter queue.
struct QueueStep {
    private let name: String
    private let consumer: QueueConsumerSettings
    private let tables: QueueTables
    private let now: Int64
    private var queue: QueueRow
    /// Read, or made, when the first dead letter comes.
    private var deadLetters: QueueRow?
    private(set) var settlement = QueueSettlement()

    init(
        _ name: String, _ consumer: QueueConsumerSettings, _ tables: QueueTables, _ clock: any NodeClock,
        _ transaction: borrowing LMDBReadTransaction
    ) throws {
        self.name = name
        self.consumer = consumer
        self.tables = tables
        now = clock.wallTime().milliseconds
        queue = try EmbeddedQueueStore.require(name, tables, transaction)
    }

    /// Stores the rows of both queues.
    func save(_ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) {
        try tables.save(queue, name, transaction)
        if let deadLetters, let target = consumer.deadLetterQueue {
            try tables.save(deadLetters, target, transaction)
        }
    }

    // MARK: Leasing

    mutating func lease(
        _ request: QueueLeaseRequest, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> QueueLease? {
        if queue.settings.isPaused { return nil }
        try endLapsedLeases(transaction)
        let number = queue.nextLease
        let expiry = request.visibility.map { now + $0.wholeMilliseconds } ?? MessageRow.noEnd
        var leased: [QueueLease.Message] = []
        var byteCount = 0
        var isFull = false
        while !isFull, leased.count < request.countMax {
            // Whatever is done with one of them takes it out of the index.
            let entries = try tables.entries(
                tables.ready, of: queue, times: 0...now, max: request.countMax - leased.count,
                transaction.reading)
            if entries.isEmpty { break }
            for entry in entries {
                guard let old = try tables.message(entry.sequence, of: queue, transaction.reading) else {
                    throw LMDBError("message row", .corrupted)
                }
                if old.isExpired(at: now, queue.settings) {
                    try tables.remove(entry.sequence, old, from: &queue, transaction)
                    continue
                }
                if old.attempts > consumer.retriesMax {
                    try bury(entry.sequence, old, transaction)
                    continue
                }
                byteCount += Int(old.bodyByteCount)
                isFull = !leased.isEmpty && byteCount > request.byteCountMax
                if isFull { break }
                var message = old
                message.attempts += 1
                message.leasedUntil = expiry
                message.lease = number
                try tables.update(entry.sequence, from: old, to: message, in: queue, transaction)
                let item = QueueBatchMessage.Item(
                    id: message.idText, timestamp: message.timestamp, contentType: message.contentType,
                    body: try tables.body(entry.sequence, of: queue, transaction.reading),
                    attempts: message.attempts)
                leased.append(QueueLease.Message(sequence: entry.sequence, item: item))
            }
        }
        if !leased.isEmpty { queue.nextLease += 1 }
        try save(transaction)
        guard !leased.isEmpty else { return nil }
        return QueueLease(
            queue: name, number: number, messages: leased,
            metrics: try tables.metrics(queue, transaction.reading))
    }

    /// A pull that didn't settle in time: its messages are ready since its end.
    private mutating func endLapsedLeases(_ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) {
        let lapsed = try tables.entries(
            tables.leases, of: queue, times: 0...now, max: 1000, transaction.reading)
        for entry in lapsed {
            guard let old = try tables.message(entry.sequence, of: queue, transaction.reading) else {
                continue
            }
            var message = old
            message.leasedUntil = nil
            message.readyAt = entry.time
            try tables.update(entry.sequence, from: old, to: message, in: queue, transaction)
        }
    }

    // MARK: Settling

    mutating func settle(
        _ sequence: UInt64, lease: UInt64, _ decision: QueueBatchReply.Decision,
        _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        guard let old = try tables.message(sequence, of: queue, transaction.reading), old.lease == lease
        else {
            return  // Purged, or in another's hands by now.
        }
        switch decision {
        case .acknowledge:
            try tables.remove(sequence, old, from: &queue, transaction)
            settlement.acknowledgedCount += 1
        case .retry(let delaySeconds):
            if old.isExpired(at: now, queue.settings) {
                try tables.remove(sequence, old, from: &queue, transaction)
            } else if old.attempts > consumer.retriesMax {
                try bury(sequence, old, transaction)
            } else {
                let delay = min(
                    max(0, delaySeconds ?? consumer.retryDelaySeconds), QueueLimits.delaySecondsMax)
                var message = old
                message.leasedUntil = nil
                message.lease = 0
                message.readyAt = now + delay * 1000
                try tables.update(sequence, from: old, to: message, in: queue, transaction)
                settlement.retriedCount += 1
            }
        }
    }

    /// Ends a message whose attempts are used up: it moves to the dead letter queue, or is gone.
    private mutating func bury(
        _ sequence: UInt64, _ message: MessageRow, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        guard let target = consumer.deadLetterQueue, target != name else {
            try tables.remove(sequence, message, from: &queue, transaction)
            settlement.droppedCount += 1
            return
        }
        let body = try tables.body(sequence, of: queue, transaction.reading)
        try tables.remove(sequence, message, from: &queue, transaction)
        var letters: QueueRow
        if let deadLetters {
            letters = deadLetters
        } else if let found = try tables.queue(target, transaction.reading) {
            letters = found
        } else {
            letters = try tables.makeQueue(target, QueueSettings(), transaction)
        }
        try tables.append(
            MessageRow(
                id: message.id, timestamp: message.timestamp, arrival: now, contentType: message.contentType,
                bodyByteCount: message.bodyByteCount, readyAt: now),
            body: body, to: &letters, transaction)
        deadLetters = letters
        settlement.deadLetteredCount += 1
    }
}
