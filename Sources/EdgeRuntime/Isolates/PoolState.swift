package import System

/// The isolates of one version: which run, how many requests wait for one, and what is to be done. Pure:
/// it is told what happens and when, and answers with decisions; processes and requests are its owner's.
///
/// An isolate goes through
///
///     starting ── ready ──▶ ready ── retire, drain ──▶ draining ── exited ──▶ (forgotten)
///         └────────── exited, failed to start ──────────────────────────────▶
///
/// Requests that find no ready isolate wait, up to a limit; a request that comes to an empty pool starts
/// it.
package struct PoolState: Sendable {
    package struct Limits: Equatable, Sendable {
        /// Requests that may wait for a first isolate: about a second's worth, as starting takes
        /// milliseconds.
        package var waitingMax: Int = 1000
        /// Isolates in `starting` at once: a burst must not turn into a fork storm.
        package var startingMax: Int = 4
        package init() {}
    }

    package enum Phase: Equatable, Sendable {
        case starting(since: Instant)
        case ready(since: Instant)
        case draining(since: Instant)
    }

    /// What becomes of a request that has just come.
    package enum Admission: Equatable, Sendable {
        /// A ready isolate exists: choose one.
        case dispatch
        /// Counted as waiting until `leaveQueue`.
        case wait
        /// 503 with Retry-After.
        case refuse(Refusal)
    }

    package enum Refusal: Equatable, Sendable {
        case queueFull(waitingMax: Int)
        /// It crashes whenever it is started.
        case crashLoop(retryAt: Instant)
        case draining
    }

    package enum Decision: Equatable, Sendable {
        /// Start one, under a new number, and tell `noteStart` of it.
        case spawn
        /// Let this one finish what is open, then end. It has left the ready ones already.
        case retire(IsolateID)
        /// Ask again then: starting is not allowed earlier.
        case decideAgain(at: Instant)
    }

    private let limits: Limits
    private var scaler: Autoscaler
    private var backoff = CrashLoopBackoff()
    private var phases: [IsolateID: Phase] = [:]
    private var isDraining = false
    package private(set) var waitingCount = 0
    /// In total, for metrics.
    package private(set) var refusedTotal: UInt64 = 0

    package init(rules: Autoscaler.Rules, limits: Limits = Limits()) {
        self.limits = limits
        scaler = Autoscaler(rules: rules)
    }

    // MARK: What it knows

    package var target: Int { isDraining ? 0 : scaler.target }
    package var isLooping: Bool { backoff.isLooping }
    /// Whether requests can wait for the next start: see `CrashLoopBackoff.isBrief`.
    package var isPauseBrief: Bool { backoff.isBrief }
    package func phase(of id: IsolateID) -> Phase? { phases[id] }
    /// In the order of their numbers.
    package var readyIsolates: [IsolateID] {
        phases.compactMap { if case .ready = $1 { $0 } else { nil } }.sorted()
    }
    package var startingCount: Int { phases.values.count { if case .starting = $0 { true } else { false } } }
    package var readyCount: Int { phases.values.count { if case .ready = $0 { true } else { false } } }
    package var drainingCount: Int { phases.values.count { if case .draining = $0 { true } else { false } } }

    // MARK: Requests

    package mutating func admit(at now: Instant) -> Admission {
        if isDraining { return refuse(.draining) }
        if readyCount > 0 { return .dispatch }
        if startingCount == 0, !backoff.mayStart(at: now), !backoff.isBrief {
            return refuse(.crashLoop(retryAt: backoff.startAllowedAt ?? now))
        }
        guard waitingCount < limits.waitingMax else {
            return refuse(.queueFull(waitingMax: limits.waitingMax))
        }
        scaler.wakeFromZero(at: now)
        waitingCount += 1
        return .wait
    }

    /// A request found no place at any isolate: one more is wanted, if there may be one and none is on its way.
    package mutating func noteSaturation(at now: Instant) {
        guard !isDraining, startingCount == 0 else { return }
        scaler.grow(at: now)
    }

    /// A waiting request was dispatched, refused or given up.
    package mutating func leaveQueue(count: Int = 1) {
        precondition(count >= 0 && count <= waitingCount, "only what waits can leave")
        waitingCount -= count
    }

    private mutating func refuse(_ refusal: Refusal) -> Admission {
        refusedTotal &+= 1
        return .refuse(refusal)
    }

    // MARK: Isolates

    package mutating func noteStart(_ id: IsolateID, at now: Instant) {
        precondition(phases[id] == nil, "numbers are not used twice")
        phases[id] = .starting(since: now)
    }

    /// It has answered `configure`. Does nothing when it drains or is gone by now.
    package mutating func noteReady(_ id: IsolateID, at now: Instant) {
        guard case .starting? = phases[id] else { return }
        phases[id] = .ready(since: now)
    }

    /// Its owner wants it replaced: it leaves the ready ones, as after the decision `.retire`.
    ///
    /// - Returns: false when it was not ready, and nothing has changed.
    package mutating func retire(_ id: IsolateID, at now: Instant) -> Bool {
        guard case .ready? = phases[id] else { return false }
        phases[id] = .draining(since: now)
        return true
    }

    /// It has answered a health event.
    package mutating func noteHealth(_ id: IsolateID, at now: Instant) {
        guard case .ready(let since)? = phases[id] else { return }
        backoff.noteHealth(uptime: now - since)
    }

    /// Its process has ended, or could not be started (which is a failure).
    package mutating func noteEnd(
        _ id: IsolateID, isFailure: Bool, at now: Instant
    ) -> CrashLoopBackoff.Report? {
        guard let phase = phases.removeValue(forKey: id), isFailure else { return nil }
        if case .starting = phase { return backoff.noteFailure(at: now) }
        return backoff.noteFailure(at: now, wasReady: true)
    }

    // MARK: Decisions

    /// Notes what the isolates did, for the number of them.
    package mutating func observe(_ observation: Autoscaler.Observation, at now: Instant) {
        _ = scaler.observe(observation, at: now)
    }

    /// No new requests; everything retires.
    package mutating func drain() { isDraining = true }

    /// Brings what runs closer to the target. Each decision counts as carried out but `.spawn`, which
    /// `noteStart` confirms.
    ///
    /// - Parameter openCount: Events open on an isolate: the least busy retire first.
    package mutating func decide(at now: Instant, openCount: (IsolateID) -> Int) -> [Decision] {
        let running = startingCount + readyCount
        if running < target { return start(target - running, at: now) }
        if isDraining { return retireAll(at: now) }
        return retire(running - target, at: now, openCount)
    }

    private func start(_ count: Int, at now: Instant) -> [Decision] {
        guard backoff.mayStart(at: now) else {
            return backoff.startAllowedAt.map { [.decideAgain(at: $0)] } ?? []
        }
        // In a crash loop one at a time: the first that stays tells that it is over.
        let startingMax = backoff.isLooping ? 1 : limits.startingMax
        return Array(repeating: .spawn, count: max(0, min(count, startingMax - startingCount)))
    }

    /// Ready ones only: one that starts will be ready in a moment, and somebody may be waiting for it.
    private mutating func retire(_ count: Int, at now: Instant, _ openCount: (IsolateID) -> Int) -> [Decision] {
        guard count > 0 else { return [] }
        let leastBusy = readyIsolates.map { (id: $0, open: openCount($0)) }
            .sorted { ($0.open, $1.id) < ($1.open, $0.id) }  // The youngest of equals.
        return leastBusy.prefix(count).map { startDraining($0.id, at: now) }
    }

    private mutating func retireAll(at now: Instant) -> [Decision] {
        phases.keys.sorted().compactMap { id in
            if case .draining? = phases[id] { return nil }
            return startDraining(id, at: now)
        }
    }

    private mutating func startDraining(_ id: IsolateID, at now: Instant) -> Decision {
        phases[id] = .draining(since: now)
        return .retire(id)
    }
}
