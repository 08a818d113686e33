internal import Interfaces
internal import LMDB

/// One change by a consumer, inside one transaction: what it does to the queue and to its dead letter queue.
struct QueueStep {
    private let name: String
    private let consumer: QueueConsumerSettings
    private let tables: QueueTables
    private let now: Int64
    private var queue: QueueRow
    /// What the queue's history may count.
    private let historyCostMax: Int64
    /// Read, or made, when the first dead letter comes.
    private var deadLetters: QueueRow?
    /// Where they go.
    private(set) var deadLetterQueue: String?
    private(set) var settlement = QueueSettlement()
    /// What was found that can't be delivered, in words.
    private(set) var faults: [String] = []

    /// - Parameter now: Milliseconds since 1970.
    init(
        _ name: String, _ queue: QueueRow, _ consumer: QueueConsumerSettings, _ tables: QueueTables,
        _ quota: QueueQuota, at now: Int64, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) {
        self.name = name
        self.consumer = consumer
        self.tables = tables
        self.now = now
        self.queue = queue
        historyCostMax = quota.historyCostMax(of: queue, try tables.totals(transaction))
    }

    var isPaused: Bool { queue.settings.isPaused }

    /// Stores the rows of both queues.
    mutating func save(_ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) {
        try tables.trimHistory(of: &queue, toCost: historyCostMax, max: 1000, transaction)
        try tables.save(queue, name, transaction)
        if let deadLetters, let target = deadLetterQueue {
            try tables.save(deadLetters, target, transaction)
        }
    }

    // MARK: Leasing

    mutating func lease(
        _ request: QueueLeaseRequest, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> QueueLease? {
        if isPaused { return nil }
        try endLapsedLeases(max: 1000, transaction)
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
                guard let old = try readable(entry, transaction) else { continue }
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
                let body = try tables.body(entry.sequence, of: queue, transaction.reading)
                guard let body, old.fault(of: body) == nil else {
                    try setAside(entry, "message \(old.idText) \(old.fault(of: body) ?? "can't be read")", transaction)
                    continue
                }
                var message = old
                message.attempts += 1
                message.leasedUntil = expiry
                message.lease = number
                try tables.update(entry.sequence, from: old, to: message, in: queue, transaction)
                let item = QueueBatchMessage.Item(
                    id: message.idText, timestamp: message.timestamp, contentType: message.contentType,
                    body: body, attempts: message.attempts)
                leased.append(QueueLease.Message(sequence: entry.sequence, source: message.source, item: item))
            }
        }
        if !leased.isEmpty { queue.nextLease += 1 }
        try save(transaction)
        guard !leased.isEmpty else { return nil }
        return QueueLease(
            queue: name, queueID: queue.id, number: number, messages: leased,
            metrics: try tables.metrics(queue, transaction.reading))
    }

    private mutating func readable(
        _ entry: QueueTables.Entry, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> MessageRow? {
        let row = try tables.readableMessage(entry.sequence, of: queue, transaction.reading)
        if let row, row.leasedUntil == nil, max(0, row.readyAt) == entry.time {
            if queue.purgeEnd.map({ entry.sequence < $0 }) ?? false {
                try tables.remove(entry.sequence, row, from: &queue, transaction)
                return nil
            }
            return row
        }
        let reason = row == nil ? "has no row that can be read" : "isn't ready at the time that the index says"
        try setAside(entry, "message number \(entry.sequence) \(reason)", transaction)
        return nil
    }

    /// One damaged message must not hold up those behind it: it leaves the index of those that are ready, and stays where
    /// it is for whoever repairs it, until its retention ends or a purge.
    private mutating func setAside(
        _ entry: QueueTables.Entry, _ fault: String, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        try transaction.delete(QueueTables.key(queue, entry.time, entry.sequence), in: tables.ready)
        faults.append(fault)
    }

    /// Pulls that didn't settle in time: their messages are ready since their end, or had their last attempt.
    ///
    /// - Returns: how many ended.
    @discardableResult
    mutating func endLapsedLeases(
        max: Int, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> Int {
        let lapsed = try tables.entries(
            tables.leases, of: queue, times: 0...now, max: max, transaction.reading)
        for entry in lapsed {
            guard let old = try tables.readableMessage(entry.sequence, of: queue, transaction.reading),
                old.leasedUntil == entry.time
            else {
                try transaction.delete(QueueTables.key(queue, entry.time, entry.sequence), in: tables.leases)
                faults.append("message number \(entry.sequence) has no row with the lease that the index says")
                continue
            }
            if old.isExpired(at: now, queue.settings) {
                try tables.remove(entry.sequence, old, from: &queue, transaction)
            } else if old.attempts > consumer.retriesMax {
                try bury(entry.sequence, old, transaction)
            } else {
                var message = old
                message.leasedUntil = nil
                message.readyAt = entry.time
                try tables.update(entry.sequence, from: old, to: message, in: queue, transaction)
            }
        }
        return lapsed.count
    }

    // MARK: Settling

    /// - Parameter proves: Whether the message is the one that is meant; it is another one's when its number was used anew.
    /// - Returns: whether the lease still held the message: it was neither purged nor given to another.
    @discardableResult
    mutating func settle(
        _ sequence: UInt64, lease: UInt64, _ decision: QueueBatchReply.Decision,
        _ transaction: borrowing LMDBWriteTransaction, proves: (MessageRow) -> Bool = { _ in true }
    ) throws(LMDBError) -> Bool {
        guard lease != 0, queue.purgeEnd.map({ sequence >= $0 }) ?? true,
            let old = try tables.readableMessage(sequence, of: queue, transaction.reading),
            old.lease == lease, proves(old)
        else { return false }
        switch decision {
        case .acknowledge:
            try retire(sequence, old, transaction)
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
        return true
    }

    /// Ends a message that was acknowledged: into the history, if it may keep it.
    private mutating func retire(
        _ sequence: UInt64, _ message: MessageRow, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        if Int64(message.bodyByteCount) + MessageRow.overheadByteCount > historyCostMax
            || message.isExpired(at: now, queue.settings)
        {
            try tables.remove(sequence, message, from: &queue, transaction)
        } else {
            try tables.retire(sequence, message, from: &queue, transaction)
        }
    }

    /// Since the batch began, the dead letter queue may have been given another name: then the stored consumer knows it.
    private func deadLetterName(_ transaction: borrowing LMDBReadTransaction) throws(LMDBError) -> String? {
        guard let target = deadLetterQueue ?? consumer.deadLetterQueue else { return nil }
        if deadLetters != nil { return target }
        if try tables.queue(target, transaction) != nil { return target }
        return try tables.consumer(of: queue, transaction)?.settings.deadLetterQueue ?? target
    }

    /// Ends a message whose attempts are used up: it moves to the dead letter queue, or is gone.
    private mutating func bury(
        _ sequence: UInt64, _ message: MessageRow, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        guard let target = try deadLetterName(transaction.reading), target != name else {
            try tables.remove(sequence, message, from: &queue, transaction)
            settlement.droppedCount += 1
            return
        }
        let body = try tables.body(sequence, of: queue, transaction.reading)
        if let fault = message.fault(of: body) { faults.append("dead letter \(message.idText) \(fault)") }
        try tables.remove(sequence, message, from: &queue, transaction)
        var letters: QueueRow
        if let deadLetters {
            letters = deadLetters
        } else if let found = try tables.queue(target, transaction.reading) {
            letters = found
        } else {
            letters = try tables.makeQueue(target, QueueSettings(), at: now, transaction)
        }
        try tables.append(
            MessageRow(
                id: message.id, timestamp: message.timestamp, arrival: now, contentType: message.contentType,
                bodyByteCount: message.bodyByteCount, readyAt: now, source: message.source,
                checksum: message.checksum),
            body: body, to: &letters, transaction)
        deadLetters = letters
        deadLetterQueue = target
        settlement.deadLetteredCount += 1
    }
}
