internal import Interfaces

/// What a tenant's queues may hold. A message counts its body and 100 bytes.
package struct QueueQuota: Equatable, Sendable {
    /// All backlogs together; one queue may have its own limit, or the product's.
    package var backlogBytesMax: Int64 = 100_000_000_000
    package var queueCountMax = QueueLimits.queueCountMax
    /// Acknowledged messages that one queue keeps to be replayed; 0 keeps none.
    package var historyBytesMax: Int64 = 64 << 20
    /// All of them together: a queue whose share is taken by others keeps less.
    package var totalHistoryBytesMax: Int64 = 1 << 30

    package init() {}

    func historyCostMax(of queue: QueueRow, _ totals: QueueTotals) -> Int64 {
        max(0, min(historyBytesMax, totalHistoryBytesMax - (totals.historyCost - queue.historyCost)))
    }

    /// - Throws: 10251 when `cost` more would be too much.
    func check(adding cost: Int64, to queue: QueueRow, _ totals: QueueTotals) throws(QueueError) {
        let backlogMax = queue.settings.backlogBytesMax ?? QueueLimits.backlogBytesMax
        guard queue.backlogCost + cost <= backlogMax, totals.backlogCost + cost <= backlogBytesMax else {
            throw .refused(QueueLimits.storageLimitExceeded)
        }
    }
}
