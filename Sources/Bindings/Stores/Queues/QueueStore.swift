package import Interfaces
package import System

/// A tenant's queues. Safe on any thread; what changes something is durable when it returns.
package protocol QueueStore: Sendable {
    /// Makes the queue when it is missing; `settings`, when given, replace those it has.
    func openQueue(_ name: String, settings: QueueSettings?) async throws(QueueError)

    /// Removes the queue and its messages.
    func deleteQueue(_ name: String) async throws(QueueError)

    func settings(of queue: String) throws(QueueError) -> QueueSettings

    // MARK: Producers

    /// Adds all messages or none. A delay that a message doesn't have is the queue's.
    ///
    /// - Throws: the product's limits as `.refused`.
    func send(
        _ messages: [QueueSendMessage.Item], form: QueueLimits.Form, to queue: String
    ) async throws(QueueError) -> QueueMetrics

    /// Answers in place.
    func metrics(of queue: String) throws(QueueError) -> QueueMetrics

    // MARK: Consumers

    /// Says what could be leased now; a read in place.
    ///
    /// - Parameter countMax: Counting ends here.
    func readiness(of queue: String, countMax: Int) throws(QueueError) -> QueueReadiness

    /// Leases the ready messages that have waited longest.
    ///
    /// `attempts` is raised and stored with the lease. A message that has been delivered as often as `consumer` allows,
    /// because nobody lived to settle it, goes to the dead letter queue instead.
    ///
    /// - Returns: `nil` when nothing is ready or the queue is paused.
    func lease(_ request: QueueLeaseRequest) async throws(QueueError) -> QueueLease?

    /// Ends a lease: `decisions` has one element for each of its messages. Messages that the lease doesn't hold any more
    /// are passed over.
    @discardableResult
    func settle(
        _ lease: QueueLease, _ decisions: [QueueBatchReply.Decision], consumer: QueueConsumerSettings
    ) async throws(QueueError) -> QueueSettlement

    /// Ends a lease whose messages were never handed over: they are ready again, at their old place and with their
    /// attempts as before.
    func release(_ lease: QueueLease) async throws(QueueError)

    /// Removes every message that is there now: ready, delayed or leased.
    func purge(_ queue: String) async throws(QueueError)

    /// Calls `notify` with a queue's name whenever something in it may have become ready, or will at another time than
    /// before. Never calls it for time that passes: see `QueueReadiness.nextReady`. `notify` must not block.
    func onReady(_ notify: @escaping @Sendable (_ queue: String) -> Void)
}

extension QueueStore {
    /// When the next message is ready: a time in the past when one is.
    package func nextReadyTime(of queue: String) throws(QueueError) -> UnixTime? {
        let readiness = try readiness(of: queue, countMax: 1)
        return readiness.oldestReady ?? readiness.nextReady
    }
}

package struct QueueSettings: Equatable, Sendable {
    /// For messages sent without a delay of their own.
    package var deliveryDelaySeconds: Int64
    /// Nothing is leased while it is true.
    package var isPaused: Bool
    package var retentionSeconds: Int64

    package init(deliveryDelaySeconds: Int64 = 0, isPaused: Bool = false, retentionSeconds: Int64 = 345_600) {
        self.deliveryDelaySeconds = deliveryDelaySeconds
        self.isPaused = isPaused
        self.retentionSeconds = retentionSeconds
    }
}

/// What a consumer's configuration says about its queue (spec: queues, section 1).
package struct QueueConsumerSettings: Equatable, Sendable {
    package var batchSizeMax: Int
    /// How long a ready message waits for others.
    package var batchTimeout: Duration
    /// A message is delivered once more than this.
    package var retriesMax: Int
    package var retryDelaySeconds: Int64
    package var deadLetterQueue: String?
    /// `nil` follows the backlog.
    package var concurrencyMax: Int?

    package init(
        batchSizeMax: Int = 10, batchTimeout: Duration = .seconds(5), retriesMax: Int = 3,
        retryDelaySeconds: Int64 = 0, deadLetterQueue: String? = nil, concurrencyMax: Int? = nil
    ) {
        self.batchSizeMax = batchSizeMax
        self.batchTimeout = batchTimeout
        self.retriesMax = retriesMax
        self.retryDelaySeconds = retryDelaySeconds
        self.deadLetterQueue = deadLetterQueue
        self.concurrencyMax = concurrencyMax
    }
}

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
        package var item: QueueBatchMessage.Item
    }
    package var queue: String
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

package enum QueueError: Error, Equatable, Sendable {
    /// The caller's mistake, in the product's words.
    case refused(CallFailure)
    case noSuchQueue(String)
    /// More waits than may wait; nothing was changed.
    case overloaded
    /// The disk's or the engine's failure; it stands in the log. Nothing was changed.
    case failed
}
