package import Interfaces
package import System

/// Ends of leases that must not be lost: a worker's lease has no time at which it lapses, so messages whose settlement
/// failed would stay out of reach until the node starts again.
extension QueueStore {
    /// Settles, again and again while the disk or the engine refuses, each time after a longer pause of at most
    /// 30 seconds. Ends with the error of the last attempt when the task is cancelled, or the queue is gone.
    package func settlePatiently(
        _ lease: QueueLease, _ decisions: [QueueBatchReply.Decision], consumer: QueueConsumerSettings,
        clock: any NodeClock, whenFailed: @Sendable (QueueError) -> Void
    ) async throws(QueueError) -> QueueSettlement {
        try await patiently(clock, whenFailed) { () throws(QueueError) in
            try await settle(lease, decisions, consumer: consumer)
        }
    }

    /// As above, for messages that were never handed over.
    package func releasePatiently(
        _ lease: QueueLease, clock: any NodeClock, whenFailed: @Sendable (QueueError) -> Void
    ) async throws(QueueError) {
        try await patiently(clock, whenFailed) { () throws(QueueError) in try await release(lease) }
    }

    private func patiently<Value>(
        _ clock: any NodeClock, _ whenFailed: (QueueError) -> Void, _ attempt: () async throws(QueueError) -> Value
    ) async throws(QueueError) -> Value {
        var pause = Duration.milliseconds(100)
        while true {
            do throws(QueueError) { return try await attempt() } catch {
                switch error {
                case .noSuchQueue, .refused, .deliveryPaused: throw error
                case .failed, .overloaded: break
                }
                whenFailed(error)
                guard !Task.isCancelled, (try? await clock.sleep(for: pause)) != nil else { throw error }
                pause = min(pause * 2, .seconds(30))
            }
        }
    }
}
