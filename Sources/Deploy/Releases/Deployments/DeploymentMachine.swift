internal import Configuration
internal import Observability
internal import Synchronization
internal import System

/// Brings one release after the other into service, as spec deploys.md C2 says. Each transition is written down before anything
/// follows from it, and what a state does can be done again: so a node that was killed goes on from its rows alone.
///
///     created → validated → prechecked → backed-up → migrated → starting → healthy → smoke-tested → shifting(n %)
///             → active → monitoring → draining → retired
///
/// One of several nodes' waits in `prepared`, in place of `shifting`, for the word to switch: see `Coordination`.
///
/// Up to `shifting` the release before serves as if nothing were tried, and a failure leads back to it. From `monitoring` the
/// way back is one transaction, since its slot is still warm. One deployment has the lock until it drains.
package actor DeploymentMachine {
    let store: ReleaseStore
    let disk: BlockingPool
    let clock: any NodeClock
    let logger: Logger
    /// Of this start of the node.
    let boot: String
    /// Says whether the node dies here: for tests.
    let fault: @Sendable (DeploymentState, DeploymentFault.Moment) -> Bool
    let makeEnvironment: @Sendable () -> DeploymentEnvironment
    private nonisolated let attached = Mutex<(any DeploymentSlots)?>(nil)

    /// The deployment that has the lock.
    var present: Run?
    /// Those past it, which wait for their previous release to go.
    var finishing: [Int64: Run] = [:]
    /// Somebody is composing a release.
    private var isClaimed = false
    /// Why none is begun for now; `nil`: nothing is in the way.
    private var obstacle: String?
    /// A node that was made to die does nothing more.
    var isDead = false
    private var bells: [Int: CheckedContinuation<Void, Never>] = [:]
    private var nextBell = 0
    /// How often there were news.
    private(set) var ringCount = 0
    private var sleeper: (number: Int, continuation: CheckedContinuation<Void, Never>)?

    /// A deployment under way; owned by the machine's actor.
    final class Run {
        var journaled: JournaledDeployment
        let release: ReleaseRecord
        let content: ReleaseContent
        /// `nil`: it is of no bundle.
        var input: DeploymentInput?
        let environment: DeploymentEnvironment
        var request: Request?
        /// Without further checks.
        var isPromoting = false
        /// It has paused where it was to, and somebody has let it go on.
        var hasPaused = false
        /// It has passed smoke tests.
        var isTested = false
        /// What carries it on.
        var task: Task<Void, Never>?
        /// Ends what is under way, when somebody wants it to.
        var interrupt: (@Sendable (DeploymentFailure) -> Void)?
        /// What goes on although nobody waits for it any more.
        var lingering: Task<Void, Never>?
        /// Its previous release is to go now.
        var isHastened = false
        /// What the old release did before the switch.
        var baseline: SlotSample?
        var isFrozen = false
        /// There is no way back that watching could lead to.
        var isUnwatched = false
        /// What the leader of several nodes said last; `nil`: nothing yet.
        var coordination: Coordination?
        /// When that lapses, by the clock that nobody sets.
        var lease: Instant?
        var hasLapsed = false
        /// The word to switch has come.
        var isSwitching = false

        init(
            _ journaled: JournaledDeployment, _ release: ReleaseRecord, _ content: ReleaseContent, _ input: DeploymentInput?,
            _ environment: DeploymentEnvironment
        ) {
            self.journaled = journaled
            self.release = release
            self.content = content
            self.input = input
            self.environment = environment
        }

        var record: DeploymentRecord {
            get { journaled.record }
            set { journaled.record = newValue }
        }
        var candidate: CandidateRelease { CandidateRelease(record: release, content: content, input: input) }
        /// A return to a release that served before: nothing is migrated or tried, all requests move at once.
        var isReturn: Bool { record.trigger == .rollback }
        var isCoordinated: Bool { record.options.coordination != nil }
        /// One of several nodes, which was watched, and isn't to go back because of itself any more.
        var isBound: Bool { coordination.map { [.watched, .ask, .confirm].contains($0.word) } ?? false }
        var steps: [Int] { isReturn || isCoordinated ? [100] : record.options.steps ?? input?.settings.steps ?? [100] }
        var bake: Duration {
            isReturn ? .zero : record.options.bakeSeconds.map { .seconds($0) } ?? input?.settings.bake ?? .zero
        }
        var monitor: Duration {
            isReturn || isUnwatched
                ? .zero : record.options.monitorSeconds.map { .seconds($0) } ?? input?.settings.monitor ?? .zero
        }
        var keepWarm: Duration { input?.keepWarm ?? .seconds(600) }
    }

    enum Request {
        case abort(ScriptAuthor)
        case resume(ScriptAuthor)
        case promote(ScriptAuthor)
        case switchOver(ScriptAuthor)
    }

    init(
        store: ReleaseStore, disk: BlockingPool, clock: any NodeClock, logger: Logger, boot: String = RandomID.uuid(),
        environment: @escaping @Sendable () -> DeploymentEnvironment,
        fault: @escaping @Sendable (DeploymentState, DeploymentFault.Moment) -> Bool = { state, moment in
            DeploymentFault.ofProcess?.strike(state, moment)
            return false
        }
    ) {
        self.store = store
        self.disk = disk
        self.clock = clock
        self.logger = logger
        self.boot = boot
        makeEnvironment = environment
        self.fault = fault
    }

    nonisolated func attach(_ slots: any DeploymentSlots) { attached.withLock { $0 = slots } }

    /// Lets go of the slots: nothing is begun any more, and what was begun stays as its rows say.
    nonisolated func detach() { attached.withLock { $0 = nil } }

    nonisolated var slotsIfAttached: (any DeploymentSlots)? { attached.withLock { $0 } }

    func read<Value: Sendable>(_ body: @escaping @Sendable (ReleaseStore) throws -> Value) async throws(DeploymentError)
        -> Value
    {
        let store = store
        do { return try await disk.run { () throws -> Value in try body(store) } } catch {
            throw .failed(DeploymentFailure("\(error)"))
        }
    }

    /// Whether a deployment has the lock, and whether one waits for its previous release to go.
    var isBusy: Bool { present != nil }
    package var inProgress: DeploymentRecord? { present?.record }
    var isFinishing: Bool { !finishing.isEmpty }

    /// Carries a deployment on, which is in the journal. Owned by it: ends with it, or with the node.
    func start(_ run: Run) {
        present = run
        run.task = Task { await self.drive(run) }
    }

    // MARK: One at a time

    /// Waits for its turn to make a deployment.
    ///
    /// - Throws: `.locked` while another one is in progress.
    func claim(over superseded: Int64? = nil) async throws(DeploymentError) {
        while true {
            if let obstacle { throw .notNow(obstacle) }
            if let present, present.record.number != superseded { throw .locked(present.record) }
            if !isClaimed { break }
            await nextChange(until: nil)
        }
        isClaimed = true
    }

    func unclaim() {
        isClaimed = false
        ring()
    }

    /// Lets no deployment begin until `admit`, because of `reason`.
    ///
    /// - Throws: while one is in progress, or being begun; then nothing is refused.
    package func refuse(because reason: String) throws(DeploymentError) {
        if let present { throw .locked(present.record) }
        guard !isClaimed else { throw .notNow("a deployment is being begun") }
        obstacle = reason
    }

    package func admit() { obstacle = nil }

    // MARK: Waiting

    /// Wakes all who wait for news.
    func ring() {
        ringCount += 1
        let woken = bells.values
        bells = [:]
        for bell in woken { bell.resume() }
    }

    /// Returns at the next piece of news, or at `deadline`.
    func nextChange(until deadline: Instant?) async {
        let number = nextBell
        nextBell += 1
        let timer = deadline.map { deadline in
            clock.schedule(at: deadline) { Task { await self.wake(number) } }
        }
        await withCheckedContinuation { bells[number] = $0 }
        timer?.cancel()
    }

    private func wake(_ number: Int) { bells.removeValue(forKey: number)?.resume() }

    /// Sleeps until `deadline`, or until somebody wants something of the deployment in progress.
    func sleep(until deadline: Instant?) async {
        guard present?.request == nil else { return }
        let number = nextBell
        nextBell += 1
        let timer = deadline.map { deadline in
            clock.schedule(at: deadline) { Task { await self.rouse(number) } }
        }
        await withCheckedContinuation { sleeper = (number, $0) }
        timer?.cancel()
    }

    private func rouse(_ number: Int) {
        guard sleeper?.number == number else { return }
        rouse()
    }

    func rouse() {
        let woken = sleeper
        sleeper = nil
        woken?.continuation.resume()
    }

    // MARK: The journal

    /// Writes down where the deployment is from now on, as often as it takes.
    func commit(_ entries: [JournalEntry]) async {
        let (store, time) = (store, clock.wallTime())
        var change = ReleaseStore.Change()
        change.journal = entries
        let whole = change
        var delay = Duration.seconds(1)
        while !isDead {
            do {
                try await disk.run { () throws -> Void in try store.commit(whole, at: time) }
                return ring()
            } catch {
                logger.log(.error, "the deployment stands still: its state can't be written down: \(error)")
                try? await clock.sleep(for: delay)
                delay = min(delay * 2, DeploymentRules.retryMax)
            }
        }
    }

    /// Goes into another state.
    func enter(
        _ state: DeploymentState, _ run: Run, percent: Int? = nil, _ text: String = "",
        _ change: (inout JournalEntry) -> Void = { _ in }
    ) async {
        if strikes(run.record.state, .done) { return }
        var record = run.record
        record.state = state
        if let percent { record.percent = percent }
        if state.isEnd { record.finishedAt = clock.wallTime() }
        var entry = JournalEntry(record)
        entry.events = [(.entered, text.isEmpty ? Self.text(of: record) : text)]
        change(&entry)
        await commit([entry])
        if isDead { return }
        note(entry, run)
        _ = strikes(state, .committed)
    }

    /// The entry has been committed.
    func note(_ entry: JournalEntry, _ run: Run) {
        run.journaled.record = entry.record
        if let steps = entry.steps { run.journaled.steps = steps }
        if let backups = entry.backups { run.journaled.backups = backups }
        if let contracted = entry.contracted { run.journaled.contracted = contracted }
        if let coordination = entry.coordination { keep(coordination, run) }
        logger.log(
            .info, "deployment \(entry.record.state)",
            [
                ("deployment", "\(entry.record.number)"), ("release", "\(entry.record.release)"),
                ("percent", "\(entry.record.percent)"),
            ])
        ring()
    }

    func strikes(_ state: DeploymentState, _ moment: DeploymentFault.Moment) -> Bool {
        if !isDead, fault(state, moment) { isDead = true }
        return isDead
    }

    static func text(of record: DeploymentRecord) -> String {
        switch record.state {
        case .created: "release \(record.release) is recorded"
        case .validated: "checking what the release asks for"
        case .prechecked: "checking the node, and what is to be migrated"
        case .backedUp: "noting where databases can go back to"
        case .migrated: "migrating"
        case .starting: "starting release \(record.release) beside the one that serves"
        case .healthy: "its isolates run; asking for their health"
        case .smokeTested: "release \(record.release) gets requests of tests alone"
        case .prepared: "release \(record.release) waits for the word to switch"
        case .shifting: "release \(record.release) gets \(record.percent) % of requests"
        case .active: "release \(record.release) is active"
        case .monitoring: "watching how it does"
        case .draining: "the release before finishes what it began"
        case .retired: "the release before is retired"
        case .rolledBack: "rolled back: \(record.reason ?? "")"
        case .refused: "refused: \(record.reason ?? "")"
        }
    }

    /// Adds a line to the history.
    func tell(_ run: Run, _ kind: DeploymentEvent.Kind, _ text: String) async {
        let (store, time, record) = (store, clock.wallTime(), run.record)
        logger.log(
            kind == .warning || kind == .failure ? .warning : .info, "deployment: \(text)", [("deployment", "\(record.number)")]
        )
        do { try await disk.run { () throws -> Void in try store.note([(kind, text)], record, at: time) } } catch {
            logger.log(.error, "a deployment's event can't be written down: \(error)")
        }
        ring()
    }

    // MARK: Limits

    /// Runs `body`, for as long as `limit` says and nobody interrupts.
    ///
    /// - Parameter lingers: Whether what it makes in the end, although nobody waits for it any more, has to be undone.
    func limited<Value: Sendable>(
        _ run: Run, _ limit: Duration?, _ what: String, lingers: Bool = false,
        _ body: @escaping @Sendable () async throws(DeploymentFailure) -> Value
    ) async throws(DeploymentFailure) -> Value {
        let race = Race<Value>()
        let task = Task {
            do throws(DeploymentFailure) { race.finish(.success(try await body())) } catch { race.finish(.failure(error)) }
        }
        let timer = limit.map { limit in
            clock.schedule(at: clock.now() + limit) {
                race.finish(.failure(DeploymentFailure("\(what) took longer than \(limit.components.seconds) s")))
            }
        }
        run.interrupt = { race.finish(.failure($0)) }
        defer { run.interrupt = nil }
        if lingers { run.lingering = task }
        let result = await race.result()
        timer?.cancel()
        return try result.get()
    }
}

/// The first of several results counts.
private final class Race<Value: Sendable>: Sendable {
    private enum State {
        case open(CheckedContinuation<Result<Value, DeploymentFailure>, Never>?)
        case done(Result<Value, DeploymentFailure>)
    }
    private let state = Mutex(State.open(nil))

    func finish(_ result: Result<Value, DeploymentFailure>) {
        let waiter = state.withLock { state -> CheckedContinuation<Result<Value, DeploymentFailure>, Never>? in
            guard case .open(let waiter) = state else { return nil }
            state = .done(result)
            return waiter
        }
        waiter?.resume(returning: result)
    }

    func result() async -> Result<Value, DeploymentFailure> {
        await withCheckedContinuation { continuation in
            let done = state.withLock { state -> Result<Value, DeploymentFailure>? in
                if case .done(let result) = state { return result }
                state = .open(continuation)
                return nil
            }
            if let done { continuation.resume(returning: done) }
        }
    }
}
