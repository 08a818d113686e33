package import Interfaces
package import System

/// A tenant's queues. Safe on any thread; what changes something is durable when it returns.
///
/// The product's own errors come as `QueueError.refused`, with its numbers (spec: queues, section 6).
package protocol QueueStore: Sendable {
    // MARK: Queues

    /// Makes the queue when it is missing; `settings`, when given, replace those it has.
    func openQueue(_ name: String, settings: QueueSettings?) async throws(QueueError)

    /// Makes the queue when it is missing, and changes what `change` names of its settings.
    @discardableResult
    func configureQueue(
        _ name: String, _ change: QueueSettingsChange
    ) async throws(QueueError) -> QueueRecord

    /// Makes a queue that isn't there yet (11009).
    func createQueue(_ name: String, settings: QueueSettings) async throws(QueueError) -> QueueRecord

    /// Changes what `change` names of a queue's settings.
    @discardableResult
    func updateQueue(_ name: String, _ change: QueueSettingsChange) async throws(QueueError) -> QueueRecord

    /// Gives a queue a name that no other has (11009), and changes what `change` names of its settings. Its id stays, leases
    /// are settled as before, and consumers whose dead letters it gets know it by its new name.
    @discardableResult
    func renameQueue(
        _ name: String, to newName: String, _ change: QueueSettingsChange
    ) async throws(QueueError) -> QueueRecord

    /// Removes the queue, its messages and its consumer.
    func deleteQueue(_ name: String) async throws(QueueError)

    func settings(of queue: String) throws(QueueError) -> QueueSettings

    func queue(_ name: String) throws(QueueError) -> QueueRecord

    /// The queue with an id of 32 hexadecimal digits; `nil` when there is none.
    func queue(withID id: String) throws(QueueError) -> QueueRecord?

    /// All of them, by name.
    func queues() throws(QueueError) -> [QueueRecord]

    // MARK: Who consumes

    /// The queue's one consumer.
    func consumer(of queue: String) throws(QueueError) -> QueueConsumerRecord?

    /// Gives a queue its consumer (11004 when it has one), and makes the dead letter queue when it is missing.
    func addConsumer(
        _ draft: QueueConsumerDraft, to queue: String
    ) async throws(QueueError) -> QueueConsumerRecord

    /// - Returns: `nil` when the queue has no consumer with that id.
    func updateConsumer(
        _ id: String, of queue: String, _ draft: QueueConsumerDraft
    ) async throws(QueueError) -> QueueConsumerRecord?

    /// - Returns: whether the queue had a consumer with that id.
    func removeConsumer(_ id: String, of queue: String) async throws(QueueError) -> Bool

    /// Makes the consumers of a release the only ones that releases have: those of earlier releases go. All or
    /// none: 11004 when one of the queues has a consumer of another origin.
    func setReleaseConsumers(_ drafts: [String: QueueConsumerDraft]) async throws(QueueError)

    // MARK: Producers

    /// Adds all messages or none. A delay that a message doesn't have is the queue's.
    ///
    /// - Throws: the product's limits as `.refused`.
    func send(
        _ messages: [QueueSendMessage.Item], form: QueueLimits.Form, from source: QueueMessageSource,
        to queue: String
    ) async throws(QueueError) -> QueueMetrics

    /// Answers in place.
    func metrics(of queue: String) throws(QueueError) -> QueueMetrics

    // MARK: Delivery to a worker

    /// Says what could be leased now; a read in place.
    ///
    /// - Parameter countMax: Counting ends here.
    func readiness(of queue: String, countMax: Int) throws(QueueError) -> QueueReadiness

    /// Leases the ready messages that have waited longest.
    ///
    /// `attempts` is raised and stored with the lease. A message that has been delivered as often as
    /// `consumer` allows, because nobody lived to settle it, goes to the dead letter queue instead.
    ///
    /// - Returns: `nil` when nothing is ready or the queue is paused.
    func lease(_ request: QueueLeaseRequest) async throws(QueueError) -> QueueLease?

    /// Ends a lease: `decisions` has one element for each of its messages. Messages that the lease doesn't
    /// hold any more are passed over.
    @discardableResult
    func settle(
        _ lease: QueueLease, _ decisions: [QueueBatchReply.Decision], consumer: QueueConsumerSettings
    ) async throws(QueueError) -> QueueSettlement

    /// Ends a lease whose messages were never handed over: they are ready again, at their old place and with
    /// their attempts as before.
    func release(_ lease: QueueLease) async throws(QueueError)

    // MARK: Pulling

    /// Leases ready messages to a client of the queue's `http_pull` consumer, at once: perhaps none.
    ///
    /// What isn't settled when `visibilityTimeout` has passed is ready again, or, after its last attempt, goes
    /// where dead letters go, whether anybody pulls or not.
    ///
    /// - Parameters:
    ///   - batchSize: 1...100; `nil`: the consumer's.
    ///   - visibilityTimeout: 0...12 h; `nil`: the consumer's.
    /// - Throws: `.deliveryPaused`; 10026 without a pull consumer, and for values out of range.
    func pull(
        from queue: String, batchSize: Int?, visibilityTimeout: Duration?
    ) async throws(QueueError) -> QueuePull

    /// Settles pulled messages by their leases. A lease in both lists is acknowledged. Leases that no message
    /// has any more, or that are none, are named in the answer's warnings and change nothing.
    func settle(
        pulled queue: String, acknowledge: [String], retry: [QueuePullRetry]
    ) async throws(QueueError) -> QueuePullSettlement

    /// What would be pulled next, without taking it: attempts stay as they are.
    func peek(into queue: String, batchSize: Int?) throws(QueueError) -> [QueuePeekedMessage]

    // MARK: Purge and replay

    /// Removes every message that is there now, ready, delayed or leased, and the history. A later start
    /// finishes a purge that was interrupted.
    @discardableResult
    func purge(_ queue: String) async throws(QueueError) -> QueuePurge

    /// Removes the messages that `peek` or `pull` named so.
    ///
    /// - Returns: the references that name no message.
    func purge(_ queue: String, references: [String]) async throws(QueueError) -> [String]

    /// The last purge; `nil` when there was none.
    func purgeStatus(of queue: String) throws(QueueError) -> QueuePurge?

    /// Puts back what was acknowledged of the messages that came to the queue at `time` or later, in their old
    /// order and with no attempts, as far as the history still has them. Their retention goes on.
    ///
    /// - Returns: how many. When it throws, some may have been put back; asking again does the rest.
    func replay(_ queue: String, from time: UnixTime) async throws(QueueError) -> Int

    /// What could be replayed.
    func history(of queue: String) throws(QueueError) -> QueueHistory

    // MARK: The store

    /// Looks at everything that is stored, and says what doesn't fit together; empty when all does.
    func verify() async throws(QueueError) -> [String]

    /// Calls `notify` with a queue's name whenever something in it may have become ready, or will at another
    /// time than before. Never calls it for time that passes: see `QueueReadiness.nextReady`. `notify` must not
    /// block.
    func onReady(_ notify: @escaping @Sendable (_ queue: String) -> Void)

    /// Calls `notify` whenever a queue gets another consumer, or loses it. `notify` must not block.
    func onConsumerChange(_ notify: @escaping @Sendable () -> Void)
}

extension QueueStore {
    /// When the next message is ready: a time in the past when one is.
    package func nextReadyTime(of queue: String) throws(QueueError) -> UnixTime? {
        let readiness = try readiness(of: queue, countMax: 1)
        return readiness.oldestReady ?? readiness.nextReady
    }

    /// As a worker does it.
    package func send(
        _ messages: [QueueSendMessage.Item], form: QueueLimits.Form, to queue: String
    ) async throws(QueueError) -> QueueMetrics {
        try await send(messages, form: form, from: .worker, to: queue)
    }

    /// Ends delivery: batches on their way finish, pulls are refused, sends go on. Durable.
    package func pauseDelivery(of queue: String) async throws(QueueError) {
        try await updateQueue(queue, QueueSettingsChange(isPaused: true))
    }

    package func resumeDelivery(of queue: String) async throws(QueueError) {
        try await updateQueue(queue, QueueSettingsChange(isPaused: false))
    }
}

package enum QueueError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The caller's mistake, in the product's words.
    case refused(CallFailure)
    case noSuchQueue(String)
    /// Nothing is pulled while delivery is paused.
    case deliveryPaused
    /// More waits than may wait; nothing was changed.
    case overloaded
    /// The disk's or the engine's failure; it stands in the log. Nothing was changed.
    case failed

    package var description: String {
        switch self {
        case .refused(let failure): failure.description
        case .noSuchQueue(let name): "there is no queue \"\(name)\""
        case .deliveryPaused: "delivery is paused"
        case .overloaded: "too many changes wait for the disk"
        case .failed: "the store failed; the log says why"
        }
    }
}
