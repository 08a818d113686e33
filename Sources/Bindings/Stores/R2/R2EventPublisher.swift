internal import Interfaces
package import Observability
package import System

/// Carries events from a store's outbox to queues, at least once each, those of one queue in the order of the changes.
///
/// Events leave the outbox when their queue has them durably; who dies in between sends them again. A queue that refuses
/// holds up no other.
package struct R2EventPublisher: Sendable {
    package enum Refusal: Error, Equatable, Sendable {
        /// There is nobody to tell: the events are dropped.
        case noSuchQueue
        /// Tried again after a pause.
        case unavailable(String)
    }
    /// Sends message bodies to a queue: all durably, or none.
    package typealias Send =
        @Sendable (_ queue: String, _ bodies: [[UInt8]]) async throws(Refusal) -> Void

    private let store: EmbeddedR2Store
    private let account: String
    private let clock: any NodeClock
    private let logger: Logger
    private let send: Send

    /// What one batch of the queues takes (spec: queues, section 1), with room for their own count.
    private static let batchCountMax = 100
    private static let batchBytesMax = 200_000

    /// - Parameter account: Whose buckets these are, as messages name it.
    package init(
        store: EmbeddedR2Store, account: String, clock: any NodeClock, logger: Logger, send: @escaping Send
    ) {
        self.store = store
        self.account = account
        self.clock = clock
        self.logger = logger
        self.send = send
    }

    /// Publishes until the task is cancelled or the store is closed; once for each opened store.
    package func run() async {
        var pause = Duration.seconds(1)
        var bell = store.newEvents.makeAsyncIterator()
        while !Task.isCancelled {
            if await publish() {
                pause = .seconds(1)
                guard await bell.next() != nil else { return }
            } else {
                guard (try? await clock.sleep(for: pause)) != nil else { return }
                pause = min(pause * 2, .seconds(60))
            }
        }
    }

    /// One pass over all that waits.
    ///
    /// - Returns: whether nothing is left.
    package func publish() async -> Bool {
        do throws(R2Failure) {
            while true {
                var hasSent = false
                var isRefused = false
                var last: String?
                // A few of each in turn: one queue's backlog must not keep the others waiting.
                while let pending = try await store.pendingEvents(afterQueue: last, countMax: Self.batchCountMax) {
                    if Task.isCancelled { return false }
                    last = pending.queue
                    if try await publish(pending) { hasSent = true } else { isRefused = true }
                }
                if !hasSent { return !isRefused }
            }
        } catch { return false }  // Logged where it happened.
    }

    private func publish(_ pending: R2PendingEvents) async throws(R2Failure) -> Bool {
        var bodies: [[UInt8]] = []
        var byteCount = 0
        for event in pending.events {
            let body: [UInt8]
            do { body = try event.message(account: account) } catch { throw .internalError }
            byteCount += body.count + 100
            guard bodies.isEmpty || byteCount <= Self.batchBytesMax else { break }
            bodies.append(body)
        }
        do throws(Refusal) {
            try await send(pending.queue, bodies)
        } catch {
            let fields = [("queue", pending.queue), ("events", "\(bodies.count)")]
            switch error {
            case .noSuchQueue: logger.log(.warning, "R2 events dropped: their queue does not exist", fields)
            case .unavailable(let reason):
                logger.log(.warning, "R2 events could not be sent yet: \(reason)", fields)
                return false
            }
        }
        try await store.removeEvents(pending, first: bodies.count)
        return true
    }
}
