internal import Interfaces
internal import StoresQueues
internal import System

/// A queue store that passes on what it doesn't do otherwise.
protocol QueueStoreWrapper: QueueStore {
    var inner: any QueueStore { get }
}

extension QueueStoreWrapper {
    func openQueue(_ name: String, settings: QueueSettings?) async throws(QueueError) {
        try await inner.openQueue(name, settings: settings)
    }
    func configureQueue(_ name: String, _ change: QueueSettingsChange) async throws(QueueError) -> QueueRecord {
        try await inner.configureQueue(name, change)
    }
    func createQueue(_ name: String, settings: QueueSettings) async throws(QueueError) -> QueueRecord {
        try await inner.createQueue(name, settings: settings)
    }
    func updateQueue(_ name: String, _ change: QueueSettingsChange) async throws(QueueError) -> QueueRecord {
        try await inner.updateQueue(name, change)
    }
    func renameQueue(
        _ name: String, to newName: String, _ change: QueueSettingsChange
    ) async throws(QueueError) -> QueueRecord {
        try await inner.renameQueue(name, to: newName, change)
    }
    func deleteQueue(_ name: String) async throws(QueueError) { try await inner.deleteQueue(name) }
    func settings(of queue: String) throws(QueueError) -> QueueSettings { try inner.settings(of: queue) }
    func queue(_ name: String) throws(QueueError) -> QueueRecord { try inner.queue(name) }
    func queue(withID id: String) throws(QueueError) -> QueueRecord? { try inner.queue(withID: id) }
    func queues() throws(QueueError) -> [QueueRecord] { try inner.queues() }
    func consumer(of queue: String) throws(QueueError) -> QueueConsumerRecord? { try inner.consumer(of: queue) }
    func addConsumer(
        _ draft: QueueConsumerDraft, to queue: String
    ) async throws(QueueError) -> QueueConsumerRecord { try await inner.addConsumer(draft, to: queue) }
    func updateConsumer(
        _ id: String, of queue: String, _ draft: QueueConsumerDraft
    ) async throws(QueueError) -> QueueConsumerRecord? { try await inner.updateConsumer(id, of: queue, draft) }
    func removeConsumer(_ id: String, of queue: String) async throws(QueueError) -> Bool {
        try await inner.removeConsumer(id, of: queue)
    }
    func setReleaseConsumers(_ drafts: [String: QueueConsumerDraft]) async throws(QueueError) {
        try await inner.setReleaseConsumers(drafts)
    }
    func send(
        _ messages: [QueueSendMessage.Item], form: QueueLimits.Form, from source: QueueMessageSource,
        to queue: String
    ) async throws(QueueError) -> QueueMetrics {
        try await inner.send(messages, form: form, from: source, to: queue)
    }
    func metrics(of queue: String) throws(QueueError) -> QueueMetrics { try inner.metrics(of: queue) }
    func readiness(of queue: String, countMax: Int) throws(QueueError) -> QueueReadiness {
        try inner.readiness(of: queue, countMax: countMax)
    }
    func lease(_ request: QueueLeaseRequest) async throws(QueueError) -> QueueLease? {
        try await inner.lease(request)
    }
    @discardableResult
    func settle(
        _ lease: QueueLease, _ decisions: [QueueBatchReply.Decision], consumer: QueueConsumerSettings
    ) async throws(QueueError) -> QueueSettlement {
        try await inner.settle(lease, decisions, consumer: consumer)
    }
    func release(_ lease: QueueLease) async throws(QueueError) { try await inner.release(lease) }
    func pull(
        from queue: String, batchSize: Int?, visibilityTimeout: Duration?
    ) async throws(QueueError) -> QueuePull {
        try await inner.pull(from: queue, batchSize: batchSize, visibilityTimeout: visibilityTimeout)
    }
    func settle(
        pulled queue: String, acknowledge: [String], retry: [QueuePullRetry]
    ) async throws(QueueError) -> QueuePullSettlement {
        try await inner.settle(pulled: queue, acknowledge: acknowledge, retry: retry)
    }
    func peek(into queue: String, batchSize: Int?) throws(QueueError) -> [QueuePeekedMessage] {
        try inner.peek(into: queue, batchSize: batchSize)
    }
    func purge(_ queue: String) async throws(QueueError) -> QueuePurge { try await inner.purge(queue) }
    func purge(_ queue: String, references: [String]) async throws(QueueError) -> [String] {
        try await inner.purge(queue, references: references)
    }
    func purgeStatus(of queue: String) throws(QueueError) -> QueuePurge? { try inner.purgeStatus(of: queue) }
    func replay(_ queue: String, from time: UnixTime) async throws(QueueError) -> Int {
        try await inner.replay(queue, from: time)
    }
    func history(of queue: String) throws(QueueError) -> QueueHistory { try inner.history(of: queue) }
    func verify() async throws(QueueError) -> [String] { try await inner.verify() }
    func onReady(_ notify: @escaping @Sendable (_ queue: String) -> Void) { inner.onReady(notify) }
    func onConsumerChange(_ notify: @escaping @Sendable () -> Void) { inner.onConsumerChange(notify) }
}

/// Some sends are slow, and some messages are ready a little later than they would be: what is sent after them overtakes
/// them.
final class SimulatedQueueProducer: QueueStoreWrapper {
    let inner: any QueueStore
    private let schedule: SimulationSchedule
    private let reorders: Bool

    /// One message in so many is late.
    private static let lateMessagesPeriod = 8
    private static let latenessMax: Int = 3

    init(_ inner: any QueueStore, _ schedule: SimulationSchedule, _ settings: SimulationSettings) {
        self.schedule = schedule
        reorders = settings.reordersQueues
        self.inner = inner
    }

    func send(
        _ messages: [QueueSendMessage.Item], form: QueueLimits.Form, from source: QueueMessageSource,
        to queue: String
    ) async throws(QueueError) -> QueueMetrics {
        var call = schedule.next(.queueSend)
        do throws(CancellationError) { try await schedule.delay(&call) } catch { throw .overloaded }
        var messages = messages
        if reorders {
            let standard = try inner.settings(of: queue).deliveryDelaySeconds
            for index in messages.indices {
                let message = schedule.next(.queueOrder)
                var chance = message.chance
                guard chance.below(Self.lateMessagesPeriod) == 0 else { continue }
                let delay = messages[index].delaySeconds ?? standard
                let late = delay + Int64(1 + chance.below(Self.latenessMax))
                // A delay that is wrong, or about to be, is the store's to judge.
                guard delay >= 0, late <= QueueLimits.delaySecondsMax else { continue }
                messages[index].delaySeconds = late
                schedule.note(message, "makes a message late", [("queue", queue), ("seconds", "\(late - delay)")])
            }
        }
        return try await inner.send(messages, form: form, from: source, to: queue)
    }
}

/// Batches come in another order, and of some messages the acknowledgement is lost once: they come again. What is decided
/// of a message follows from its number in its queue.
final class SimulatedQueueConsumer: QueueStoreWrapper {
    let inner: any QueueStore
    private let schedule: SimulationSchedule
    private let reorders: Bool
    private let duplicatePercentage: Int

    init(_ inner: any QueueStore, _ schedule: SimulationSchedule, _ settings: SimulationSettings) {
        self.schedule = schedule
        reorders = settings.reordersQueues
        duplicatePercentage = settings.queueDuplicatePercentage
        self.inner = inner
    }

    func lease(_ request: QueueLeaseRequest) async throws(QueueError) -> QueueLease? {
        guard var lease = try await inner.lease(request) else { return nil }
        if reorders, lease.messages.count > 1, let first = lease.messages.first?.sequence {
            var chance = schedule.chance(.queueOrder, Chance.mix(first, lease.queue))
            lease.messages.shuffle(using: &chance)
            schedule.note(
                .queueOrder, first, "shuffles a batch",
                [("queue", lease.queue), ("messages", "\(lease.messages.count)")])
        }
        return lease
    }

    @discardableResult
    func settle(
        _ lease: QueueLease, _ decisions: [QueueBatchReply.Decision], consumer: QueueConsumerSettings
    ) async throws(QueueError) -> QueueSettlement {
        var decisions = decisions
        for (index, message) in lease.messages.enumerated() where index < decisions.count {
            // Never more deliveries than a message may have: its last one stays acknowledged.
            guard decisions[index] == .acknowledge, message.item.attempts == 1, consumer.retriesMax > 0 else { continue }
            var chance = schedule.chance(.queueSettle, Chance.mix(message.sequence, lease.queue))
            guard chance.below(100) < duplicatePercentage else { continue }
            decisions[index] = .retry(delaySeconds: Int64(chance.below(3)))
            schedule.note(
                .queueSettle, message.sequence, "loses an acknowledgement", [("queue", lease.queue)])
        }
        return try await inner.settle(lease, decisions, consumer: consumer)
    }
}
