package import System

/// Keeps a version that crashes at once from being started over and over. Pure: it is given the time.
///
///     steady ── 3rd failure within 60 s ──▶ backing off (1 s, 2 s, 4 s … 5 min, one step per failure)
///        ▲                                     │
///        └──── an isolate stayed healthy for 10 s, or 10 min without a failure
///
/// The pause grows only while isolates fail to start. One that was ready and then died can have died of
/// its clients' requests, and nobody may lock a worker out for minutes by sending it what kills it: that
/// pause stays at 1 s.
package struct CrashLoopBackoff: Sendable {
    package static let failuresMax = 3
    package static let window = Duration.seconds(60)
    package static let firstDelay = Duration.seconds(1)
    package static let longestDelay = Duration.seconds(300)
    package static let healthyAfter = Duration.seconds(10)
    package static let forgetAfter = Duration.seconds(600)

    package enum Report: Equatable, Sendable {
        /// Now is the moment to tell: this many failures within the window, next start after `delay`.
        case loopBegan(failureCount: Int, delay: Duration)
        case loopContinues(delay: Duration)
    }

    /// Failures within the window, oldest first, at most `failuresMax` of them.
    private var failures: [Instant] = []
    private var lastFailure: Instant?
    private var delay: Duration?
    /// Whether the pause is for isolates that had started well: short enough for requests to wait for its
    /// end.
    package private(set) var isBrief = false
    /// When something may be started again; `nil`: at any time.
    package private(set) var startAllowedAt: Instant?

    package init() {}

    package var isLooping: Bool { delay != nil }

    /// Whether an isolate may be started at `now`.
    package func mayStart(at now: Instant) -> Bool { startAllowedAt.map { $0 <= now } ?? true }

    /// An isolate failed (`IsolateExit.isFailure`), or could not be started.
    ///
    /// - Parameter wasReady: It had started, and failed later.
    package mutating func noteFailure(at now: Instant, wasReady: Bool = false) -> Report? {
        if let lastFailure, now - lastFailure >= Self.forgetAfter { reset() }
        lastFailure = now
        failures.removeAll { now - $0 >= Self.window }
        failures.append(now)
        if failures.count > Self.failuresMax { failures.removeFirst() }
        if let delay {
            // One round of starts may fail several times: only a failure after the pause deepens it.
            guard mayStart(at: now) else { return nil }
            isBrief = wasReady
            return beginPause(
                wasReady ? Self.firstDelay : min(Self.longestDelay, delay * 2), at: now, isNew: false)
        }
        guard failures.count >= Self.failuresMax else { return nil }
        isBrief = wasReady
        return beginPause(Self.firstDelay, at: now, isNew: true)
    }

    /// An isolate that has run for `uptime` answers as it should.
    package mutating func noteHealth(uptime: Duration) {
        if uptime >= Self.healthyAfter { reset() }
    }

    private mutating func beginPause(_ delay: Duration, at now: Instant, isNew: Bool) -> Report {
        self.delay = delay
        startAllowedAt = now + delay
        return isNew ? .loopBegan(failureCount: failures.count, delay: delay) : .loopContinues(delay: delay)
    }

    private mutating func reset() { self = CrashLoopBackoff() }
}
