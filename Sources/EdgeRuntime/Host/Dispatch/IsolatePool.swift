package import Interfaces
internal import Isolates
internal import Observability
internal import Synchronization
internal import System
internal import Wire

/// The isolates of one version: starts them as they are needed, replaces those that die, ends those that idle.
/// Safe on any thread; the reactors' part of it is in `Dispatcher`.
package final class IsolatePool: Sendable {
    package let configuration: IsolateConfiguration
    let slot: Int
    /// Takes the worker's secrets out of what it says; `nil`: it has none.
    let redactor: SecretRedactor?
    let logger: Logger
    private let specification: IsolateSpecification
    private let environment: PoolEnvironment
    /// One bit per reactor that has events waiting.
    private let waitingReactors = Atomic<UInt64>(0)
    private let isCutOffFlag = Atomic(false)
    private let state: Mutex<State>

    /// An isolate must answer `configure` within this time. The product allows a second; a busy machine more.
    static let startDeadline = Duration.seconds(15)
    static let drainDeadline = Duration.seconds(30)
    /// Of what an isolate says before it ends.
    private static let failureBytesMax = 4096

    private struct State {
        /// Decides how many run; everything here only carries out.
        var machine: PoolState
        var members: [IsolateID: Isolate] = [:]
        /// Objects have asked for an isolate that isn't there yet.
        var isAwaitedByObjects = false
        var lastFailure: String?
        /// Whose output `lastFailure` is.
        var lastSpeaker: IsolateID?
        var isStopped = false
        var handlers: [String]?
        var description: IsolateDescription?
        var readyWaiters: [CheckedContinuation<String?, Never>] = []
        var lastSample: (time: Instant, cpu: Duration, served: Int)?
        /// Health events that are on their way.
        var checks: [IsolateID: HealthCheck] = [:]
        /// Counts the calls of `drainWebSockets` and `keepWebSockets`: the last one holds.
        var socketDrains = 0
        /// When `decide` is due anyway.
        var decidesAt: Instant?
        // For meters.
        var crashCount: Int64 = 0
        var failedStartCount: Int64 = 0
        /// Failures within `CrashLoopBackoff.window`, the oldest first; no more than tell of a loop.
        var recentExits: [Instant] = []
        /// Of isolates that have ended.
        var endedUsage: (cpu: Duration, events: Int) = (.zero, 0)

        /// Keeps what meters count of an isolate that has ended; before `machine` hears of it.
        mutating func noteEnd(_ id: IsolateID, isFailure: Bool, cpuTime: Duration, at now: Instant) {
            if let isolate = members[id] {
                endedUsage.cpu += max(cpuTime, isolate.usage.cpuTime)
                endedUsage.events += isolate.servedEvents
            }
            guard isFailure else { return }
            if case .starting? = machine.phase(of: id) { failedStartCount += 1 } else { crashCount += 1 }
            recentExits.append(now)
            if recentExits.count > 16 { recentExits.removeFirst() }
        }

        var crashLoopRefusal: Refusal {
            handlers == nil ? .unavailable(lastFailure ?? "its isolates end as they start") : .backingOff
        }
    }

    /// When the worker was warned of its limits.
    let headroom: LimitHeadroom
    /// How long events took, since the pool last looked.
    let latencies = LatencyHistogram()
    /// Who watches the worker's events, whichever version has them.
    let traces: WorkerTraces
    /// Whose objects the isolates have; `nil`: they are there for requests.
    let objects: (any ObjectHosting)?

    init(
        slot: Int, configuration: IsolateConfiguration, specification: IsolateSpecification, size: PoolSize,
        environment: PoolEnvironment, headroom: LimitHeadroom? = nil, traces: WorkerTraces = WorkerTraces(),
        objects: (any ObjectHosting)? = nil
    ) {
        self.objects = objects
        self.traces = traces
        self.headroom = headroom ?? LimitHeadroom(clock: environment.clock)
        self.slot = slot
        self.configuration = configuration
        self.specification = specification
        self.environment = environment
        redactor = SecretRedactor(configuration.secrets.map(\.value))
        logger = environment.logger.with("worker", configuration.worker).with("version", configuration.version)
            .redacting(redactor)
        var rules = Autoscaler.Rules(minimum: size.min, maximum: max(1, size.min, size.max))
        rules.idleTimeout = size.idleTimeout
        state = Mutex(State(machine: PoolState(rules: rules)))
    }

    // MARK: What others ask

    var logsEvents: Bool { environment.logsEvents }

    /// Asks for an isolate for an event that found none with a free place.
    ///
    /// - Returns: why none will come; `nil` when one may.
    func request(from index: Int) -> Refusal? {
        let now = environment.clock.now()
        let refusal = state.withLock { state -> Refusal? in
            switch state.machine.admit(at: now) {
            case .dispatch:
                state.machine.noteSaturation(at: now)
                return nil
            case .wait:
                state.machine.leaveQueue()  // The reactors' waiting lines do the counting.
                return nil
            case .refuse(.queueFull): return .queueFull
            case .refuse(.crashLoop): return state.crashLoopRefusal
            // A node that stops takes no requests; so this version was replaced.
            case .refuse(.draining): return .replaced
            }
        }
        guard refusal == nil else { return refusal }
        waitingReactors.bitwiseOr(1 << UInt64(index), ordering: .sequentiallyConsistent)
        decide()
        return nil
    }

    /// Asks for one more isolate, for objects.
    ///
    /// - Returns: why none will come; `nil` when one may.
    func requestForObjects() -> Refusal? {
        let now = environment.clock.now()
        let refusal = state.withLock { state -> Refusal? in
            switch state.machine.admit(at: now) {
            case .dispatch: state.machine.noteSaturation(at: now)
            case .wait: state.machine.leaveQueue()
            case .refuse(.queueFull): return .queueFull
            case .refuse(.crashLoop): return state.crashLoopRefusal
            case .refuse(.draining): return .replaced
            }
            state.isAwaitedByObjects = true
            return nil
        }
        if refusal == nil { decide() }
        return refusal
    }

    /// The classes of durable objects that the version has; `nil` before its first isolate said so.
    package var objectClasses: [(name: String, hasAlarm: Bool)]? { state.withLock { $0.description?.objectClasses } }
    /// The entrypoints for typed calls; as above.
    package var entrypoints: [String]? { state.withLock { $0.description?.entrypoints } }
    /// The events that the version handles; `nil` before its first isolate said so.
    package var handlers: [String]? { state.withLock { $0.handlers } }
    /// Ready isolates, for status.
    package var readyCount: Int { state.withLock { $0.machine.readyCount } }
    /// Events that are open now, over all isolates.
    package var openEvents: Int { state.withLock { $0.members.values.reduce(0) { $0 + $1.openEvents } } }
    /// WebSockets that isolates of this version handle.
    package var openWebSockets: Int { state.withLock { $0.members.values.reduce(0) { $0 + $1.openSockets } } }

    /// Closes all WebSockets of this version with 1012: their clients find the version that serves now when they come again.
    /// Those of isolates that end are closed anyway, `webSocketDrain` after they were told to.
    package func closeWebSockets() {
        for isolate in state.withLock({ Array($0.members.values) }) { closeWebSockets(of: isolate) }
    }

    /// The version serves no new requests: its WebSockets may stay for `webSocketDrain` (`deploy.drain_websockets`) from now on,
    /// then they are closed with 1012. `keepWebSockets` takes it back.
    package func drainWebSockets() {
        let number = state.withLock { state in
            state.socketDrains += 1
            return state.socketDrains
        }
        _ = environment.clock.schedule(at: environment.clock.now() + environment.webSocketDrain) { [weak self] in
            guard let self, state.withLock({ $0.socketDrains == number }) else { return }
            closeWebSockets()
        }
    }

    /// The version serves again.
    package func keepWebSockets() { state.withLock { $0.socketDrains += 1 } }

    private func closeWebSockets(of isolate: Isolate) {
        for reactor in environment.reactors { reactor.post { reactor.dispatcher.closeWebSockets(of: isolate) } }
    }

    /// Events that go on after their answer, over all isolates.
    var backgroundCount: Int { state.withLock { $0.members.values.reduce(0) { $0 + $1.backgroundCount } } }
    /// Its stores are another process' by now: what still runs can't reach them.
    func cutOff() { isCutOffFlag.store(true, ordering: .releasing) }
    var isCutOff: Bool { isCutOffFlag.load(ordering: .acquiring) }
    package var processIDs: [Int32] { state.withLock { $0.members.values.map(\.processID).sorted() } }
    package var lastFailure: String? { state.withLock { $0.lastFailure } }
    package var residentBytes: UInt64 {
        state.withLock { $0.members.values.reduce(0) { $0 + $1.usage.residentBytes } }
    }
    package var isEmpty: Bool {
        state.withLock { $0.members.isEmpty && $0.machine.startingCount == 0 && $0.machine.drainingCount == 0 }
    }

    /// Starts the minimum.
    package func start() { decide() }

    /// Starts an isolate if none runs, as a first event would, and waits until one is ready.
    ///
    /// - Returns: `nil`, or why isolates of this pool do not start.
    package func firstReady() async -> String? {
        let failure: String? = await withCheckedContinuation { continuation in
            let now = environment.clock.now()
            // `nil`: it waits; otherwise what it is to be told at once.
            let answer = state.withLock { state -> String?? in
                switch state.machine.admit(at: now) {
                case .dispatch: return .some(nil)
                case .wait: state.machine.leaveQueue()
                // Nothing will start now, so nothing would ever wake it.
                case .refuse(.draining): return "the pool is being ended"
                case .refuse(.crashLoop), .refuse(.queueFull):
                    return state.lastFailure ?? "its isolates end as they start"
                }
                state.readyWaiters.append(continuation)
                return nil
            }
            if let answer { continuation.resume(returning: answer) }
            decide()
        }
        return failure
    }

    func satisfied(_ index: Int) {
        waitingReactors.bitwiseAnd(~(1 << UInt64(index)), ordering: .relaxed)
    }

    var reactorCount: Int { environment.reactors.count }
    /// Whether events wait for a place, on any reactor.
    var someWait: Bool { waitingReactors.load(ordering: .sequentiallyConsistent) != 0 }
    func someWait(elsewhereThan index: Int) -> Bool {
        waitingReactors.load(ordering: .relaxed) & ~(1 << UInt64(index)) != 0
    }

    /// A place is free: the next reactor after `index` that has events waiting may have it.
    ///
    /// - Parameter hops: how many may still be asked.
    func offerPlace(after index: Int, hops: Int) {
        let waiting = waitingReactors.load(ordering: .sequentiallyConsistent)
        guard waiting != 0, hops > 0 else { return }
        let later = index + 1 < 64 ? (waiting >> UInt64(index + 1)) << UInt64(index + 1) : 0
        let next = (later != 0 ? later : waiting).trailingZeroBitCount
        let reactor = environment.reactors[next]
        if next == index {
            // Its turn has come round: whoever asks runs on it.
            reactor.dispatcher.takePlace(of: self, hops: 0)
        } else {
            reactor.post { reactor.dispatcher.takePlace(of: self, hops: hops - 1) }
        }
    }

    // MARK: Starting

    /// Carries out what the machine decides now.
    private func decide() {
        let now = environment.clock.now()
        var starts: [IsolateID] = []
        var ends: [Isolate] = []
        var again: Instant?
        state.withLock { state in
            let members = state.members
            // One without WebSockets goes first.
            let openCount = { (id: IsolateID) in members[id].map { $0.openEvents + $0.openSockets } ?? 0 }
            for decision in state.machine.decide(at: now, openCount: openCount) {
                switch decision {
                case .spawn:
                    let id = environment.spawner.reserveID()
                    state.machine.noteStart(id, at: now)
                    starts.append(id)
                case .retire(let id): if let isolate = members[id] { ends.append(isolate) }
                case .decideAgain(let instant):
                    if let due = state.decidesAt, due >= now, due <= instant { continue }
                    state.decidesAt = instant
                    again = instant
                }
            }
        }
        // Each task ends with its spawn; the pool's state owns what comes of it.
        for id in starts { Task { await spawn(id) } }
        for isolate in ends { retire(isolate) }
        if let again { _ = environment.clock.schedule(at: again) { [weak self] in self?.decide() } }
    }

    private func spawn(_ id: IsolateID) async {
        do {
            let spawned = try await environment.spawner.spawn(specification, as: id)
            let isolate = Isolate(spawned, pool: self, spawner: environment.spawner)
            let isStopped = state.withLock { state in
                state.members[id] = isolate
                return state.isStopped
            }
            adopt(spawned, isolate)
            environment.directory.add(isolate)
            if isStopped { isolate.kill(.requested) } else { watchStart(of: isolate) }
        } catch {
            logger.log(.error, "\(error)")
            ended(id, failure: "\(error)")
        }
    }

    /// Gives each reactor its channel; the first one brings the configuration, and so comes last: when the isolate says that
    /// it is ready, no reactor may still be waiting to hear of it, or it would never use it.
    private func adopt(_ spawned: SpawnedIsolate, _ isolate: Isolate) {
        for (index, number) in spawned.channels.enumerated().reversed() {
            let reactor = environment.reactors[index]
            let ledger = spawned.ledgers[index]
            reactor.post { [self] in
                do {
                    let channel = try Channel(
                        reactor: reactor, isolate: isolate, index: index, descriptor: Descriptor(owning: number),
                        ledger: ledger)
                    reactor.dispatcher.adopt(channel)
                    if index == 0 { configure(isolate, on: channel) }
                } catch {
                    logger.log(.error, "cannot watch a channel: \(error)")
                    // A failure, so that the next start waits.
                    isolate.kill(.unresponsive("its channel could not be watched"))
                }
            }
        }
    }

    private func configure(_ isolate: Isolate, on channel: Channel) {
        let message = configuration.encoded()
        channel.openControl(.configure, message) { [self] result in
            switch result {
            case .success(let bytes):
                var decoder = WireDecoder(bytes)
                do {
                    isReady(isolate, try IsolateDescription(decoding: &decoder))
                } catch {
                    isolate.kill(.malformedFrames("\(error)"))
                }
            case .failure(let reason):
                guard reason.code == .exception else { return }  // Its exit says more.
                state.withLock { $0.lastFailure = reason.message }
                logger.log(.error, "worker failed to start: \(reason.message)", isolate.ownFields)
                isolate.kill(.unresponsive("its initializer threw"))
            }
        }
    }

    private func isReady(_ isolate: Isolate, _ description: IsolateDescription) {
        let now = environment.clock.now()
        let isWanted = state.withLock { state in
            state.handlers = description.handlers
            state.description = description
            state.lastFailure = nil
            state.machine.noteReady(isolate.id, at: now)
            state.machine.noteHealth(isolate.id, at: now)
            if case .ready? = state.machine.phase(of: isolate.id) { return true }
            return false
        }
        guard isWanted else { return retire(isolate) }
        resumeWaiters(nil)
        let unaware = Countdown(environment.reactors.count)
        for reactor in environment.reactors {
            reactor.post { [self] in
                reactor.dispatcher.isolateReady(isolate)
                guard unaware.isLast(), let objects else { return }
                state.withLock { $0.isAwaitedByObjects = false }
                objects.isolateIsReady(isolate)
            }
        }
        decide()  // Only some may start at once.
    }

    private func resumeWaiters(_ failure: String?) {
        let waiters = state.withLock { state in
            defer { state.readyWaiters = [] }
            return state.readyWaiters
        }
        for waiter in waiters { waiter.resume(returning: failure) }
    }

    private func watchStart(of isolate: Isolate) {
        let deadline = environment.clock.now() + Self.startDeadline
        _ = environment.clock.schedule(at: deadline) { [weak self] in
            guard let self, case .starting? = state.withLock({ $0.machine.phase(of: isolate.id) }) else { return }
            isolate.kill(.unresponsive("it was not ready in time"))
        }
    }

    // MARK: The end of isolates

    /// Called once for each isolate, after its process is gone.
    func exited(_ isolate: Isolate, _ exit: IsolateExit) {
        for reactor in environment.reactors {
            reactor.post { reactor.dispatcher.isolateExited(isolate, exit) }
        }
        // One that ends before it was ready has failed, however politely.
        let isFailure = state.withLock { state in
            if exit.isFailure { return true }
            guard case .starting? = state.machine.phase(of: isolate.id), case .exited = exit.reason else { return false }
            return !state.isStopped
        }
        logger.log(isFailure ? .error : .debug, "isolate \(exit.reason)", isolate.ownFields)
        objects?.isolateExited(isolate)
        ended(isolate.id, failure: isFailure ? exit.reason.description : nil, cpuTime: exit.cpuTime)
    }

    private func ended(_ id: IsolateID, failure: String?, cpuTime: Duration = .zero) {
        let now = environment.clock.now()
        let (report, mustRefuse) = state.withLock { state -> (CrashLoopBackoff.Report?, Bool) in
            state.noteEnd(id, isFailure: failure != nil, cpuTime: cpuTime, at: now)
            state.members[id] = nil
            state.checks[id] = nil
            if let failure, state.lastFailure == nil { state.lastFailure = failure }
            let report = state.machine.noteEnd(id, isFailure: failure != nil, at: now)
            let isDown = state.machine.isLooping && state.machine.readyCount + state.machine.startingCount == 0
            return (report, isDown && !state.machine.isPauseBrief)
        }
        switch report {
        case .loopBegan(let count, let delay)?:
            logger.log(.error, "\(count) isolates failed within a minute: the next one starts in \(delay)")
        case .loopContinues(let delay)?: logger.log(.error, "isolates go on failing: the next one starts in \(delay)")
        case nil: break
        }
        if mustRefuse { resumeWaiters(state.withLock { $0.lastFailure } ?? "its isolates end as they start") }
        if mustRefuse {
            let refusal = state.withLock { $0.crashLoopRefusal }
            for reactor in environment.reactors {
                reactor.post { reactor.dispatcher.refuseWaiting(of: self, refusal) }
            }
            state.withLock { $0.isAwaitedByObjects = false }
            objects?.isolatesRefused(of: self)
        }
        decide()
    }

    /// What a running isolate writes to its standard error, and limits that it comes near to.
    func noticed(_ isolate: Isolate, _ notice: Supervisor.Notice) {
        switch notice {
        case .output(let line):
            state.withLock { state in
                // What it says before it was ever ready is the best reason for its end.
                guard case .starting? = state.machine.phase(of: isolate.id) else { return }
                let line = redactor?.redact(line) ?? line
                if state.lastSpeaker == isolate.id, let said = state.lastFailure {
                    if said.utf8.count + line.utf8.count < Self.failureBytesMax { state.lastFailure = said + "\n" + line }
                } else {
                    state.lastFailure = line
                }
                state.lastSpeaker = isolate.id
            }
            logger.log(.warning, line, [("isolate", "\(isolate.id)"), ("stream", "stderr")])
        case .nearLimit(let use):
            warn(use, of: isolate)
        }
    }

    /// Replaces `isolate`.
    func recycle(_ isolate: Isolate, because reason: String) {
        let now = environment.clock.now()
        guard state.withLock({ $0.machine.retire(isolate.id, at: now) }) else { return }
        logger.log(.info, "isolate is replaced: \(reason)", isolate.ownFields)
        retire(isolate)
        decide()
    }

    /// Lets `isolate` finish, then ends it.
    private func retire(_ isolate: Isolate) {
        guard let objects else { return finishRetiring(isolate) }
        // Its objects leave it first.
        objects.isolateMustEmpty(isolate)
    }

    /// As `retire`, for one that has no objects, or has none any more.
    func finishRetiring(_ isolate: Isolate) {
        // It exits when all reactors have said so, each behind the last event that it gave it.
        for reactor in environment.reactors {
            reactor.post {
                reactor.dispatcher.retire(isolate)
                reactor.dispatcher.shutDown(isolate)
            }
        }
        let socketsEnd = environment.clock.now() + environment.webSocketDrain
        if isolate.openSockets > 0 || isolate.openEvents > 0 {
            _ = environment.clock.schedule(at: socketsEnd) { [weak self, weak isolate] in
                if let self, let isolate { closeWebSockets(of: isolate) }
            }
        }
        endAfterDrain(isolate, socketsUntil: socketsEnd + Self.closingTime)
    }

    /// What clients have to answer to a Close frame, and workers to end.
    private static let closingTime = Duration.seconds(10)

    /// An isolate that goes because it is one too many has all the time that its open events need; one of a pool that
    /// ends has until the deadline.
    private func endAfterDrain(_ isolate: Isolate, socketsUntil socketsEnd: Instant) {
        _ = environment.clock.schedule(at: environment.clock.now() + Self.drainDeadline) { [weak self] in
            if let self {
                let hasSockets = isolate.openSockets > 0 && environment.clock.now() < socketsEnd
                if hasSockets || isolate.isBusy && !state.withLock({ $0.isStopped }) {
                    return endAfterDrain(isolate, socketsUntil: socketsEnd)
                }
            }
            isolate.kill(.requested)
        }
    }

    /// Ends all isolates after their open events; nothing new starts.
    package func stop() {
        state.withLock { state in
            state.isStopped = true
            state.machine.drain()
        }
        resumeWaiters("the node is shutting down")
        decide()
        for reactor in environment.reactors { reactor.post { reactor.dispatcher.forget(self) } }
    }

    /// Ends all isolates now.
    package func kill() {
        let isolates = state.withLock { state in
            state.isStopped = true
            state.machine.drain()
            return state.members.values.map { $0 }
        }
        for isolate in isolates { isolate.kill(.nodeStopping) }
    }

    // MARK: Size

    /// Looks at what the isolates did; called once a second.
    func maintain() {
        let now = environment.clock.now()
        let p95 = latencies.percentile(0.95, at: now)
        state.withLock { state in
            let cpu = state.members.values.reduce(Duration.zero) { $0 + $1.usage.cpuTime }
            let served = state.members.values.reduce(0) { $0 + $1.servedEvents }
            let open = state.members.values.reduce(0) { $0 + $1.openEvents }
            // An idle pool may shrink, but not to nothing under its WebSockets.
            let hasSockets = state.members.values.contains { $0.openSockets > 0 || (objects?.objectCount(of: $0) ?? 0) > 0 }
            for id in state.members.keys where state.checks[id] == nil { state.machine.noteHealth(id, at: now) }
            // Objects say how many isolates they need; while there are any, none is taken from them.
            // Nor are they silent while they wait for one: what is given up then never comes. Who still waits when those that were
            // to come are there asks again.
            if state.machine.readyCount > 0, state.machine.startingCount == 0 { state.isAwaitedByObjects = false }
            if objects != nil, hasSockets || state.isAwaitedByObjects { return }
            defer { state.lastSample = (now, cpu, served) }
            guard let last = state.lastSample, now > last.time else { return }
            let seconds = Double((now - last.time).wholeNanoseconds) / 1e9
            let used = Double((cpu - last.cpu).wholeNanoseconds) / 1e9
            state.machine.observe(
                Autoscaler.Observation(
                    cpu: max(0, used) / seconds / Double(max(1, state.members.count)), p95: p95,
                    requestsPerSecond: Double(max(0, served - last.served)) / seconds, openCount: max(open, hasSockets ? 1 : 0)),
                at: now)
        }
        for isolate in state.withLock({ Array($0.members.values) }) { isolate.refillStrayLogs() }
        checkHealth(now)
        decide()
    }

    /// Asks the isolates that have events open whether they still listen, and ends those that stay silent. An idle one is
    /// not asked: nobody waits for it.
    private func checkHealth(_ now: Instant) {
        var due: [Isolate] = []
        var silent: [Isolate] = []
        state.withLock { state in
            for (id, isolate) in state.members {
                if let check = state.checks[id] {
                    if check.isOverdue(at: now, cpuTime: isolate.usage.cpuTime) { silent.append(isolate) }
                } else if isolate.openEvents > 0 {
                    state.checks[id] = HealthCheck(sent: now, cpuTime: isolate.usage.cpuTime)
                    due.append(isolate)
                }
            }
        }
        let first = environment.reactors[0]
        for isolate in due {
            first.post { [self] in
                first.dispatcher.checkHealth(isolate) { [self] in state.withLock { $0.checks[isolate.id] = nil } }
            }
        }
        for isolate in silent { isolate.kill(.unresponsive("it has not answered a health event; \(isolate.activity)")) }
    }
}

extension IsolatePool {
    /// What its isolates did since the first of them, and how they are.
    func reading() -> MeterReading {
        let now = environment.clock.now()
        let memoryMax = Double(max(1, specification.limits.memoryBytes))
        return state.withLock { state in
            var reading = MeterReading()
            let members = state.members.values
            reading[.cpuMicroseconds] =
                members.reduce(state.endedUsage.cpu) { $0 + $1.usage.cpuTime }.wholeNanoseconds / 1000
            reading[.events] = Int64(members.reduce(state.endedUsage.events) { $0 + $1.servedEvents })
            reading[.crashes] = state.crashCount
            reading[.failedStarts] = state.failedStartCount
            reading.version = configuration.version
            reading.isolateCount = members.count
            reading.silentIsolateCount = state.checks.count { id, check in
                guard let isolate = state.members[id] else { return false }
                return check.isOverdue(at: now, cpuTime: isolate.usage.cpuTime, silenceMax: Self.silenceNoticed)
            }
            reading.recentExitCount = state.recentExits.count { now - $0 < CrashLoopBackoff.window }
            reading.memoryShare = members.reduce(0) { max($0, Double($1.usage.residentBytes) / memoryMax) }
            return reading
        }
    }

    /// A health event that is answered takes milliseconds, also on a busy machine.
    private static let silenceNoticed = Duration.seconds(5)
}
