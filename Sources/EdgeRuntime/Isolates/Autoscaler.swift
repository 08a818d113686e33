package import System

/// Decides how many isolates a version should have, from what its isolates did since the last look.
/// Pure: it is given the time.
///
/// - Up: twice as many when their average CPU is above 80 % or p95 above 1 s, for `Rules.upAfter` on
///   end.
/// - Down: half as many when below 20 % and fewer than 100 requests/s, for `downAfter` on end, if what
///   is left would stay below 60 %. That gap, the waiting times and a pause after each change keep it
///   from flapping.
/// - To the minimum: when nothing came for `idleTimeout`; that may be zero. From zero to one on the first
///   request, and one more when all are full, which are `PoolState`'s decisions.
package struct Autoscaler: Sendable {
    package struct Rules: Equatable, Sendable {
        package var minimum: Int
        package var maximum: Int
        /// How long a reason to grow must last.
        package var upAfter: Duration = .seconds(2)
        package var downAfter: Duration = .seconds(30)
        /// No growing so soon after a change: the new isolates need time to show in the averages.
        package var pauseBeforeUp: Duration = .seconds(5)
        package var pauseBeforeDown: Duration = .seconds(60)
        package var idleTimeout: Duration = .seconds(60)

        /// - Precondition: 0 ≤ `minimum` ≤ `maximum`, 1 ≤ `maximum`.
        package init(minimum: Int, maximum: Int) {
            precondition(
                minimum >= 0 && maximum >= max(1, minimum), "the configuration has checked the range")
            self.minimum = minimum
            self.maximum = maximum
        }
    }

    /// What happened since the last observation.
    package struct Observation: Equatable, Sendable {
        /// Average over the isolates, 1 = one processor each.
        package var cpu: Double
        /// `nil` when nothing finished.
        package var p95: Duration?
        package var requestsPerSecond: Double
        /// Events open or waiting now.
        package var openCount: Int

        package init(cpu: Double, p95: Duration? = nil, requestsPerSecond: Double, openCount: Int) {
            self.cpu = cpu
            self.p95 = p95
            self.requestsPerSecond = requestsPerSecond
            self.openCount = openCount
        }
    }

    package static let busyCPU = 0.8
    package static let idleCPU = 0.2
    package static let idleRequestsPerSecond = 100.0
    package static let slowP95 = Duration.seconds(1)
    /// Halving must not lead to isolates that are busier than this.
    package static let cpuAfterHalvingMax = 0.6

    package let rules: Rules
    /// How many there should be, between minimum and maximum, or 0.
    package private(set) var target: Int
    private var busySince: Instant?
    private var idleSince: Instant?
    private var silentSince: Instant?
    private var changedAt: Instant?

    /// Starts with the minimum.
    package init(rules: Rules) {
        self.rules = rules
        target = rules.minimum
    }

    /// Notes what happened up to `now` and returns the new target.
    package mutating func observe(_ observation: Observation, at now: Instant) -> Int {
        let isBusy = observation.cpu > Self.busyCPU || (observation.p95.map { $0 > Self.slowP95 } ?? false)
        let isIdle =
            !isBusy && observation.cpu < Self.idleCPU
            && observation.requestsPerSecond < Self.idleRequestsPerSecond
        let isSilent = observation.openCount == 0 && observation.requestsPerSecond == 0
        Self.note(isBusy, &busySince, now)
        Self.note(isIdle, &idleSince, now)
        Self.note(isSilent, &silentSince, now)

        if target > rules.minimum, Self.lasts(silentSince, rules.idleTimeout, now) {
            change(to: rules.minimum, at: now)
        } else if Self.lasts(busySince, rules.upAfter, now), hasPaused(rules.pauseBeforeUp, now) {
            change(to: min(rules.maximum, max(1, target) * 2), at: now)
        } else if Self.lasts(idleSince, rules.downAfter, now), hasPaused(rules.pauseBeforeDown, now) {
            let half = max(rules.minimum, 1, target / 2)
            let isAllowed = observation.cpu * Double(target) / Double(half) < Self.cpuAfterHalvingMax
            if half < target, isAllowed { change(to: half, at: now) }
        }
        return target
    }

    /// A request came while there were none: there must be at least one from now on.
    package mutating func wakeFromZero(at now: Instant) {
        guard target == 0 else { return }
        change(to: 1, at: now)
    }

    /// All isolates are full: one more, without waiting for the averages.
    package mutating func grow(at now: Instant) {
        guard target < rules.maximum else { return }
        change(to: target + 1, at: now)
    }

    private mutating func change(to count: Int, at now: Instant) {
        guard count != target else { return }
        target = count
        changedAt = now
        busySince = nil
        idleSince = nil
        silentSince = nil
    }

    private func hasPaused(_ pause: Duration, _ now: Instant) -> Bool {
        changedAt.map { now - $0 >= pause } ?? true
    }

    private static func note(_ holds: Bool, _ since: inout Instant?, _ now: Instant) {
        since = holds ? since ?? now : nil
    }

    private static func lasts(_ since: Instant?, _ duration: Duration, _ now: Instant) -> Bool {
        since.map { now - $0 >= duration } ?? false
    }
}
