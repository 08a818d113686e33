package import Interfaces
package import System

package struct QueueReadiness: Equatable, Sendable {
    package var isPaused: Bool
    /// Messages that are ready, counted up to the limit that was given.
    package var readyCount: Int
    /// Since when the first of them is.
    package var oldestReady: UnixTime?
    /// When the next one will be that isn't yet.
    package var nextReady: UnixTime?

    package init(isPaused: Bool, readyCount: Int, oldestReady: UnixTime?, nextReady: UnixTime?) {
        self.isPaused = isPaused
        self.readyCount = readyCount
        self.oldestReady = oldestReady
        self.nextReady = nextReady
    }
}

package struct QueueLeaseRequest: Sendable {
    package var queue: String
    package var consumer: QueueConsumerSettings
    package var countMax: Int
    /// Ends a batch early, so that it fits into one message of the wire; a single message always fits.
    package var byteCountMax: Int
    /// How long a pull may keep the messages; `nil` for a worker, which the node itself watches.
    package var visibility: Duration?

    package init(
        _ queue: String, consumer: QueueConsumerSettings, countMax: Int? = nil, byteCountMax: Int = 3 << 20,
        visibility: Duration? = nil
    ) {
        self.queue = queue
        self.consumer = consumer
        self.countMax = countMax ?? consumer.batchSizeMax
        self.byteCountMax = byteCountMax
        self.visibility = visibility
    }
}

/// Messages in the hands of one consumer.
package struct QueueLease: Sendable {
    package struct Message: Equatable, Sendable {
        /// The message's number in its queue.
        package var sequence: UInt64
        package var source: QueueMessageSource = .worker
        package var item: QueueBatchMessage.Item
    }
    package var queue: String
    /// Of the queue, whose name may be another one when the lease ends.
    package var queueID: [UInt8]
    /// Tells this lease from later ones of the same messages.
    package var number: UInt64
    package var messages: [Message]
    package var metrics: QueueMetrics

    /// The message of the event that delivers them.
    package var batch: QueueBatchMessage {
        QueueBatchMessage(queue: queue, items: messages.map(\.item), metrics: metrics)
    }
}

/// What became of a lease's messages.
package struct QueueSettlement: Equatable, Sendable {
    package var acknowledgedCount = 0
    package var retriedCount = 0
    package var deadLetteredCount = 0
    /// Gone after their last attempt, for want of a dead letter queue.
    package var droppedCount = 0

    package init(
        acknowledgedCount: Int = 0, retriedCount: Int = 0, deadLetteredCount: Int = 0, droppedCount: Int = 0
    ) {
        self.acknowledgedCount = acknowledgedCount
        self.retriedCount = retriedCount
        self.deadLetteredCount = deadLetteredCount
        self.droppedCount = droppedCount
    }
}
