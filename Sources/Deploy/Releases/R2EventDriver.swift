internal import Interfaces
internal import Observability
internal import StoresQueues
internal import StoresR2
internal import System

/// Carries the events of a tenant's buckets into its queues, from the opening of the stores to their end, whether or not a
/// release serves.
final class R2EventDriver: Sendable {
    private let task: Task<Void, Never>

    init(
        tenant: String, buckets: EmbeddedR2Store, queues: EmbeddedQueueStore, clock: any NodeClock, logger: Logger
    ) {
        let publisher = R2EventPublisher(store: buckets, account: tenant, clock: clock, logger: logger) {
            queue, bodies throws(R2EventPublisher.Refusal) in
            let messages = bodies.map { QueueSendMessage.Item(contentType: .json, body: $0) }
            do throws(QueueError) {
                _ = try await queues.send(messages, form: .batch, to: queue)
            } catch {
                switch error {
                case .noSuchQueue: throw .noSuchQueue
                case .refused(let failure): throw .unavailable("\(failure)")
                case .deliveryPaused, .overloaded, .failed: throw .unavailable("\(error)")
                }
            }
        }
        task = Task { await publisher.run() }
    }

    /// Returns when nothing is on its way any more: before the queues and the buckets are closed.
    func stop() async {
        task.cancel()
        await task.value
    }
}
