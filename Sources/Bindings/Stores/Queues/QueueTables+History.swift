internal import LMDB

/// Acknowledged messages: kept for a while, so that they can be replayed.
extension QueueTables {
    /// Ends a message that was acknowledged; its body stays until its history does. The caller saves `queue`.
    func retire(
        _ sequence: UInt64, _ message: MessageRow, from queue: inout QueueRow,
        _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        try unindex(sequence, message, queue, transaction)
        let key = Self.key(queue, sequence)
        try transaction.delete(key, in: messages)
        try transaction.delete(Self.key(queue, message.timestamp, sequence), in: ages)
        queue.backlogCount -= 1
        queue.backlogBytes -= Int64(message.bodyByteCount)
        var past = message
        past.leasedUntil = nil
        past.lease = 0
        try transaction.put(key, past.bytes, in: history)
        queue.historyCount += 1
        queue.historyBytes += Int64(message.bodyByteCount)
    }

    /// Ends what a retired message left; `nil` stands for a row that can't be read. The caller saves `queue`.
    func forget(
        _ sequence: UInt64, _ message: MessageRow?, of queue: inout QueueRow,
        _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        let key = Self.key(queue, sequence)
        try transaction.delete(key, in: history)
        try transaction.delete(key, in: bodies)
        queue.historyCount -= 1
        queue.historyBytes -= Int64(message?.bodyByteCount ?? 0)
    }

    /// Forgets retired messages, those that came first, until the rest counts no more than `cost`.
    func trimHistory(
        of queue: inout QueueRow, toCost cost: Int64, max: Int,
        _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        guard queue.historyCost > cost else { return }
        var left = max
        while left > 0, queue.historyCost > cost {
            let oldest = try rows(history, of: queue, max: min(left, 64), transaction.reading)
            if oldest.isEmpty { return }
            for (sequence, message) in oldest where queue.historyCost > cost {
                try forget(sequence, message, of: &queue, transaction)
                left -= 1
            }
        }
    }

    /// Puts a retired message back, ready now, as if it had never been delivered. The caller saves `queue`.
    func replay(
        _ sequence: UInt64, _ past: MessageRow, into queue: inout QueueRow, at now: Int64,
        _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        let key = Self.key(queue, sequence)
        try transaction.delete(key, in: history)
        queue.historyCount -= 1
        queue.historyBytes -= Int64(past.bodyByteCount)
        var message = past
        message.attempts = 0
        message.readyAt = now
        try transaction.put(key, message.bytes, in: messages)
        try transaction.put(Self.key(queue, now, sequence), [], in: ready)
        try transaction.put(Self.key(queue, message.timestamp, sequence), [], in: ages)
        queue.backlogCount += 1
        queue.backlogBytes += Int64(message.bodyByteCount)
    }
}
