package import System

/// When a queue's consumer gets its next batch, and how many batches it handles at once. A state machine
/// without clock or timer: the node calls it whenever something happened, and does what it says.
///
/// Batches: one leaves when it is full, or when its first message has waited for the time-out.
/// Concurrency: it begins with one batch. While more is ready than fits into the next batch and the last one
/// went well, one more is allowed, at most once per `evaluationInterval`; a failure halves; a queue that
/// drains gives one back.
package struct ConsumerScheduler: Sendable {
    package enum Action: Equatable, Sendable {
        /// `batchStarted`, lease up to so many messages, deliver them, and ask again.
        case lease(countMax: Int)
        /// Ask again at this time, or when something happens before. `nil`: only then.
        case wait(until: UnixTime?)
    }

    package enum Outcome: Sendable { case succeeded, failed }

    /// How often a backlog may add one batch.
    package static let evaluationInterval = Duration.seconds(1)

    private let settings: QueueConsumerSettings
    private let concurrencyCap: Int
    package private(set) var inFlightCount = 0
    package private(set) var concurrency = 1
    private var lastOutcome = Outcome.succeeded
    /// When `concurrency` may grow again.
    private var nextEvaluation: UnixTime?

    /// - Parameters:
    ///   - tenantCap: The most that the tenant's limits allow.
    ///   - inFlightCount: Batches that are on their way by earlier settings. They take places like any other.
    package init(_ settings: QueueConsumerSettings, tenantCap: Int, inFlightCount: Int = 0) {
        self.settings = settings
        self.inFlightCount = inFlightCount
        concurrencyCap = max(1, min(settings.concurrencyMax ?? 250, tenantCap, 250))
    }

    /// How far `QueueStore.readiness` has to count.
    package var readyCountMax: Int { settings.batchSizeMax + 1 }

    /// What to do now. Asking changes nothing but the allowed concurrency.
    package mutating func next(_ readiness: QueueReadiness, now: UnixTime) -> Action {
        if readiness.isPaused { return .wait(until: nil) }
        guard inFlightCount < concurrency else { return evaluate(readiness, now: now) }
        return batch(readiness, now: now)
    }

    /// A batch is being leased, or on its way.
    package mutating func batchStarted() { inFlightCount += 1 }

    /// Nothing was there to be leased, or it was given back before anyone saw it: as if it had not started.
    package mutating func batchWithdrawn() {
        precondition(inFlightCount > 0, "only what started is withdrawn")
        inFlightCount -= 1
    }

    /// A batch was settled.
    package mutating func batchEnded(_ outcome: Outcome, _ readiness: QueueReadiness) {
        precondition(inFlightCount > 0, "only what started ends")
        inFlightCount -= 1
        lastOutcome = outcome
        switch outcome {
        case .failed: concurrency = max(1, concurrency / 2)
        case .succeeded where readiness.readyCount == 0: concurrency = max(1, concurrency - 1)
        case .succeeded: break
        }
    }

    /// All places are taken: is the backlog a reason for one more?
    private mutating func evaluate(_ readiness: QueueReadiness, now: UnixTime) -> Action {
        guard concurrency < concurrencyCap, lastOutcome == .succeeded,
            readiness.readyCount > settings.batchSizeMax
        else {
            nextEvaluation = nil
            return .wait(until: nil)
        }
        guard let due = nextEvaluation else {
            let due = now + Self.evaluationInterval
            nextEvaluation = due
            return .wait(until: due)
        }
        guard now >= due else { return .wait(until: due) }
        concurrency += 1
        nextEvaluation = nil
        return batch(readiness, now: now)
    }

    private func batch(_ readiness: QueueReadiness, now: UnixTime) -> Action {
        guard readiness.readyCount > 0, let oldest = readiness.oldestReady else {
            return .wait(until: readiness.nextReady)
        }
        let deadline = oldest + settings.batchTimeout
        if readiness.readyCount >= settings.batchSizeMax || now >= deadline {
            return .lease(countMax: settings.batchSizeMax)
        }
        // A delayed message may fill the batch before the time-out.
        return .wait(until: readiness.nextReady.map { min($0, deadline) } ?? deadline)
    }
}
