/// Stops calling a service that fails, and finds out when it works again.
///
/// - closed: calls pass. Ends when, with at least `callsMin` calls in the current period, half of them or
///   more failed.
/// - open: calls are refused. Ends after `openMilliseconds`.
/// - probing: one call passes, others are refused. A success closes; a failure opens again. A probe that
///   never reports (its caller was cancelled) is given up after `openMilliseconds`, and the next call is
///   the probe.
package struct CircuitBreaker: Sendable {
    package enum State: Equatable, Sendable {
        case closed
        /// Times in milliseconds since 1970.
        case open(until: Int64)
        case probing(since: Int64)
    }

    package private(set) var state = State.closed
    private var periodStart: Int64 = 0
    private var calls = 0
    private var failures = 0

    private let callsMin: Int
    private let periodMilliseconds: Int64
    private let openMilliseconds: Int64

    package init(callsMin: Int = 10, periodMilliseconds: Int64 = 10_000, openMilliseconds: Int64 = 5_000) {
        self.callsMin = callsMin
        self.periodMilliseconds = periodMilliseconds
        self.openMilliseconds = openMilliseconds
    }

    /// Whether a call may be made now. Each one that may is followed by `report`, unless its caller was
    /// cancelled.
    package mutating func mayCall(now: Int64) -> Bool {
        switch state {
        case .closed: return true
        case .open(let end):
            guard now >= end else { return false }
            state = .probing(since: now)
            return true
        case .probing(let start):
            guard now - start >= openMilliseconds else { return false }
            state = .probing(since: now)
            return true
        }
    }

    package enum Outcome: Sendable { case success, failure }

    package mutating func report(_ outcome: Outcome, now: Int64) {
        switch (state, outcome) {
        case (.closed, _):
            if now - periodStart >= periodMilliseconds {
                periodStart = now
                calls = 0
                failures = 0
            }
            calls += 1
            if outcome == .failure { failures += 1 }
            if calls >= callsMin, failures * 2 >= calls { open(now) }
        case (.probing, .success):
            state = .closed
            periodStart = now
            calls = 0
            failures = 0
        case (.probing, .failure): open(now)
        case (.open, _): break  // A call from before the breaker opened.
        }
    }

    private mutating func open(_ now: Int64) { state = .open(until: now + openMilliseconds) }
}

/// How many retries a service's calls may cause: a tenth of them, so that retries can't multiply an
/// overload.
package struct RetryBudget: Sendable {
    private var tenths: Int
    private let tenthsMax: Int

    /// - Parameter retriesMax: What can be saved up; also what there is at the start.
    package init(retriesMax: Int = 10) {
        tenthsMax = retriesMax * 10
        tenths = tenthsMax
    }

    /// Each first try earns a tenth of a retry.
    package mutating func earn() { tenths = min(tenthsMax, tenths + 1) }

    package mutating func spend() -> Bool {
        guard tenths >= 10 else { return false }
        tenths -= 10
        return true
    }
}
