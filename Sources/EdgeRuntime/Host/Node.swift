internal import HTTP
package import Interfaces
package import Isolates
package import Observability
internal import Stores
internal import Synchronization
package import System
package import Wire

/// One running node: its reactors, listeners, pools and routes. Safe on any thread.
package final class Node: Sendable {
    package let clock: any NodeClock
    package let logger: Logger
    package let reactors: [Reactor]
    /// Who watches which worker's events.
    package let traces = TraceDirectory()
    let context: NodeContext
    private let environment: PoolEnvironment
    private let supervisor: Supervisor
    /// What the process may have open.
    private let descriptorsMax: Int
    let state = Mutex(State())

    struct State {
        var nextReactor = 0
        var pools: [Int: IsolatePool] = [:]
        var isStopped = false
        /// Addresses of clients are taken, and nobody is let in yet.
        var holdsClients = false
        /// Listening sockets of the process that this one follows.
        var inherited: [InheritedListener] = []
    }

    /// - Parameters:
    ///   - reactorCount: One per core is right: reactors never wait.
    ///   - local: Answers on the control listener, and below `/cdn-cgi/` and `/__edge/` on public ones.
    ///   - clientLimit: How often one client may come, whichever worker it asks; `nil`: as often as it likes.
    ///   - isSealed: Whether workers reach nothing outside.
    package init(
        settings: EdgeSettings, clock: any NodeClock, logger: Logger, reactorCount: Int, local: any LocalHandler,
        clientLimit: (any RequestLimit)? = nil, isSealed: Bool = false
    ) async throws {
        self.clock = clock
        self.logger = logger
        let files = BlockingPool(name: "edge-files", threadCount: 4)
        let outbound = OutboundClient(clock: clock, isSealed: isSealed)
        reactors = try (0..<reactorCount).map { index throws(SystemError) in
            try Reactor(index: index, clock: clock, logger: logger, files: files, outbound: outbound)
        }
        var settings = settings
        descriptorsMax = DescriptorLimit.raise()
        settings.fitConnections(to: descriptorsMax)
        context = NodeContext(
            settings: settings, logger: logger, clock: clock, local: local, clientLimit: clientLimit)
        let directory = IsolateDirectory()
        supervisor = try await Supervisor(
            logger: logger,
            callbacks: Supervisor.Callbacks(
                onExit: { id, exit in directory.exited(id, exit) },
                onNotice: { id, notice in directory.noticed(id, notice) }))
        environment = PoolEnvironment(
            reactors: reactors, spawner: supervisor, directory: directory, clock: clock, logger: logger,
            webSocketDrain: settings.webSocketDrain)
        for reactor in reactors { reactor.start() }
        scheduleMaintenance()
    }

    // MARK: Listening

    /// Listens on `address` with every reactor.
    ///
    /// - Returns: the address, with the port that the kernel chose for port 0.
    package func listen(
        _ address: ListenAddress, for role: LocalRequest.Listener, _ security: ListenerSecurity = .plain
    ) async throws(SystemError) -> ListenAddress {
        let inherited = takeInherited(address, for: role)
        // Those of another process it takes connections from until `letClientsIn`.
        let opens = inherited.isEmpty && (role == .control || state.withLock { !$0.holdsClients })
        if inherited.isEmpty { try Listener.checkIsFree(address) }
        var bound = inherited.first?.bound ?? address
        var sockets = inherited.map { (number: $0.descriptor, phase: Listener.Phase.held) }
        // Where the other process had fewer reactors. A first one that is refused later stays with this process.
        for _ in 0..<max(0, reactors.count - sockets.count) {
            let descriptor = try Listener.bind(bound)
            if bound.port == 0 { bound = ListenAddress(host: bound.host, port: Listener.port(of: descriptor.rawValue)) }
            sockets.append((descriptor.release(), .bound))
        }
        for (index, socket) in sockets.enumerated() {
            let (context, bound, reactor) = (context, bound, reactors[index % reactors.count])
            let failure: SystemError? = await reactor.call {
                do throws(SystemError) {
                    let listener = try Listener(
                        Descriptor(owning: socket.number), asked: address, address: bound, role: ListenerRole(role),
                        security: security, reactor: reactor, node: context, phase: socket.phase, opens: opens)
                    reactor.listeners.append(listener)
                    return nil
                } catch {
                    return error
                }
            }
            if let failure { throw failure }
        }
        return bound
    }

    /// Addresses of clients that are listened on from now on are taken, but whoever comes is refused until `letClientsIn`:
    /// before a release serves, a load balancer does better to go elsewhere.
    package func holdClients() { state.withLock { $0.holdsClients = true } }

    /// Takes connections at all addresses.
    package func letClientsIn() async throws(SystemError) {
        state.withLock { $0.holdsClients = false }
        for reactor in reactors {
            let failure: SystemError? = await reactor.call {
                do throws(SystemError) {
                    for listener in reactor.listeners { try listener.open() }
                    return nil
                } catch {
                    return error
                }
            }
            if let failure { throw failure }
        }
    }

    /// What clients are spoken with who come to `address`, which `listen` returned, from now on. Open connections go on as
    /// they are.
    package func setSecurity(_ security: ListenerSecurity, at address: ListenAddress) async {
        for reactor in reactors {
            await reactor.call {
                for listener in reactor.listeners where listener.address == address { listener.security = security }
            }
        }
    }

    /// Takes no more connections at an address that `listen` returned. Open ones go on.
    package func stopListening(at address: ListenAddress) async {
        for reactor in reactors {
            await reactor.call {
                for listener in reactor.listeners where listener.address == address { listener.close() }
                reactor.listeners.removeAll { $0.address == address }
            }
        }
    }

    /// Whose word about a client's address counts, for connections that come from now on.
    package func setTrustedProxies(_ proxies: TrustedProxies) async {
        context.trustedProxies.withLock { $0 = proxies }
        for reactor in reactors {
            await reactor.call { for listener in reactor.listeners { listener.forgetClient() } }
        }
    }

    // MARK: Workers and routes

    /// Makes the pool of one version. Nothing starts before `IsolatePool.start`.
    package func makePool(
        configuration: IsolateConfiguration, image: IsolateImage, limits: WorkerLimits, size: PoolSize,
        identity: TenantIdentity?
    ) -> IsolatePool {
        makePool(
            configuration: configuration, image: image, limits: limits, size: size, identity: identity, files: nil, objects: nil
        )
    }

    private func makePool(
        configuration: IsolateConfiguration, image: IsolateImage, limits: WorkerLimits, size: PoolSize,
        identity: TenantIdentity?, files: WritableFiles?, objects: (any ObjectHosting)?
    ) -> IsolatePool {
        let specification = IsolateSpecification(
            image: image, workerName: configuration.worker, channelCount: reactors.count,
            limits: IsolateLimits(cpu: limits.cpu, memoryBytes: UInt64(limits.memoryByteCount)),
            identity: identity, files: files)
        return state.withLock { state in
            var slot = 0
            while state.pools[slot] != nil { slot += 1 }
            // Another version of it, if there is one.
            let sibling = state.pools.values.first {
                $0.configuration.tenant == configuration.tenant && $0.configuration.worker == configuration.worker
            }
            let pool = IsolatePool(
                slot: slot, configuration: configuration, specification: specification, size: size,
                environment: environment, headroom: sibling?.headroom,
                traces: traces.traces(of: configuration.worker, tenant: configuration.tenant), objects: objects)
            state.pools[slot] = pool
            return pool
        }
    }

    /// Makes the pool of one version's isolates for durable objects: they are started when objects need them, and can write below
    /// the directories of `configuration.objectClasses`.
    package func makeObjectPool(
        configuration: IsolateConfiguration, image: IsolateImage, limits: WorkerLimits, space: ObjectSpace
    ) -> IsolatePool {
        let names = configuration.objectClasses.map { $0.directory.split(separator: "/").last.map(String.init) ?? "" }
        return makePool(
            configuration: configuration, image: image, limits: limits,
            size: PoolSize(min: 0, max: ObjectLimits.isolatesMax, idleTimeout: .seconds(60)), identity: space.identity,
            files: WritableFiles(
                directory: space.directory, names: names,
                descriptorsMax: ObjectLimits.descriptorsMax(available: descriptorsMax)), objects: space)
    }

    /// Ends a pool for good, once its open events are done. Whoever asks it for an isolate from now on is refused.
    package func retire(_ pool: IsolatePool) { pool.stop() }

    /// Ends a pool that nothing can mean any more, and gives its slot free.
    package func release(_ pool: IsolatePool) {
        pool.stop()
        freeSlot(of: pool)
    }

    /// Its isolates take their time to end, those with WebSockets most, and are still found by the slot.
    private func freeSlot(of pool: IsolatePool) {
        _ = clock.schedule(at: clock.now() + IsolatePool.drainDeadline + .seconds(5)) { [weak self] in
            guard let self else { return }
            guard pool.openWebSockets == 0 else { return freeSlot(of: pool) }
            state.withLock { state in
                if state.pools[pool.slot] === pool { state.pools[pool.slot] = nil }
            }
        }
    }

    /// Sends new requests by `routes`; those that are open go on where they are.
    package func install(_ routes: RoutingTable) async {
        for reactor in reactors { await reactor.call { reactor.install(routes) } }
    }

    package var pools: [IsolatePool] { state.withLock { $0.pools.sorted { $0.key < $1.key }.map(\.value) } }

    // MARK: Events of the node's own

    /// Why an event of the node's own (cron, queue) has no result.
    package enum EventError: Error, Sendable {
        case threw(CallFailure)
        case lost(String)
        case refused(String)
    }

    /// Gives `worker` an event and waits for its answer.
    ///
    /// - Parameters:
    ///   - allowance: CPU time as for a request, or the longer one of events without a client.
    ///   - read: Reads the message of the answer, on a reactor. An isolate whose answer can't be read is ended.
    package func send<Reply: Sendable>(
        _ kind: CallKind, _ message: [UInt8], to worker: WorkerRuntime, of release: ReleaseRuntime,
        allowance: EventLedger.Allowance = .extended, _ read: @escaping @Sendable (inout WireDecoder) throws(WireError) -> Reply
    ) async throws(EventError) -> Reply {
        let reactor = state.withLock { state -> Reactor in
            state.nextReactor = (state.nextReactor + 1) % reactors.count
            return reactors[state.nextReactor]
        }
        let result: Result<Reply, EventError> = await withCheckedContinuation { continuation in
            reactor.post {
                let event = BackgroundEvent(
                    kind, message, worker: worker, release: release, allowance: allowance, read
                ) {
                    continuation.resume(returning: $0)
                }
                reactor.dispatcher.submit(event, to: worker)
            }
        }
        return try result.get()
    }

    // MARK: Numbers

    package struct Snapshot: Sendable {
        package var counters = ReactorCounters()
        package var connections = 0
        package var waitingEvents = 0

        package init() {}
    }

    package func snapshot() async -> Snapshot {
        var snapshot = Snapshot()
        for reactor in reactors {
            let (counters, connections, waiting) = await reactor.call {
                (reactor.counters, reactor.connectionCount, reactor.dispatcher.waitingCount)
            }
            snapshot.counters = snapshot.counters + counters
            snapshot.connections += connections
            snapshot.waitingEvents += waiting
        }
        return snapshot
    }

    // MARK: The end

    /// How a node goes out of service. `serving`: not at all. `announcing`: answers say that their connection ends with them
    /// (`Connection: close`, GOAWAY), all else is as ever. `draining`: connections without a request end too.
    /// `replacing`: another process will have the connections that can be handed on; the others hear of their end.
    package enum Leaving: Sendable { case serving, replacing, announcing, draining }

    /// Listeners stay as they are.
    package func set(_ leaving: Leaving) async {
        for reactor in reactors { await reactor.call { reactor.set(leaving) } }
    }

    /// Requests of clients that aren't answered to their end. Looks at every connection.
    package func openRequestCount() async -> Int {
        var count = 0
        for reactor in reactors { count += await reactor.call { reactor.openRequestCount } }
        return count
    }

    /// Takes no new connections, lets requests and what `isBusy` says finish until `deadline`, then ends all isolates.
    /// Their background work has until then too.
    ///
    /// - Returns: the requests that had to be cut off.
    package func drain(
        until deadline: Instant, while isBusy: @Sendable () -> Bool = { false }
    ) async -> Int {
        for reactor in reactors {
            await reactor.call { for listener in reactor.listeners { listener.stopHandshakes() } }
        }
        // What a listener has half taken when it closes is reset.
        try? await clock.sleep(for: .milliseconds(5))
        for reactor in reactors {
            await reactor.call {
                for listener in reactor.listeners { listener.close() }
                reactor.listeners = []
                reactor.startDraining()
            }
        }
        var open = await snapshot().connections
        while open > 0 || isBusy(), clock.now() < deadline {
            do { try await clock.sleep(for: .milliseconds(20)) } catch { break }
            open = await snapshot().connections
        }
        await stopIsolates(until: deadline)
        return open
    }

    private func stopIsolates(until deadline: Instant) async {
        let pools = pools
        for pool in pools { pool.stop() }
        // An isolate without work needs milliseconds to end.
        let deadline = max(deadline, clock.now() + .seconds(5))
        while pools.contains(where: { !$0.isEmpty }), clock.now() < deadline {
            do { try await clock.sleep(for: .milliseconds(10)) } catch { break }
        }
        for pool in pools { pool.kill() }
        await supervisor.shutDown()
    }

    private func scheduleMaintenance() {
        _ = clock.schedule(at: clock.now() + .seconds(1)) { [weak self] in
            guard let self else { return }
            for pool in pools { pool.maintain() }
            scheduleMaintenance()
        }
    }
}

/// An event that no client waits for. Reactor thread only; it keeps itself alive until it has its answer.
private final class BackgroundEvent<Reply>: EventOwner, Dispatchable, DrainableEvent {
    private var reactor: Reactor?
    private let kind: CallKind
    private let message: [UInt8]
    private let worker: WorkerRuntime
    private let release: ReleaseRuntime
    private let allowance: EventLedger.Allowance
    private let read: (inout WireDecoder) throws(WireError) -> Reply
    private var completion: ((Result<Reply, Node.EventError>) -> Void)?
    private var itself: BackgroundEvent?

    init(
        _ kind: CallKind, _ message: [UInt8], worker: WorkerRuntime, release: ReleaseRuntime,
        allowance: EventLedger.Allowance, _ read: @escaping (inout WireDecoder) throws(WireError) -> Reply,
        completion: @escaping (Result<Reply, Node.EventError>) -> Void
    ) {
        self.kind = kind
        self.message = message
        self.worker = worker
        self.release = release
        self.allowance = allowance
        self.read = read
        self.completion = completion
        itself = self
    }

    var isAbandoned: Bool { false }

    /// Product limit for events that no client waits for.
    private static var wallMax: Duration { .seconds(15 * 60) }
    private weak var event: EventStream?
    private var deadline = Instant(nanoseconds: .max)

    func tick(_ now: Instant) {
        worker.near(.wall, used: Self.wallMax - (deadline - now), allowed: Self.wallMax)
        guard now >= deadline, let event else { return }
        event.abandon(.cancelled)
        complete(.failure(.lost("it took longer than \(Self.wallMax)")))
    }

    func dispatch(on channel: Channel) {
        deadline = channel.reactor.now + Self.wallMax
        reactor = channel.reactor
        channel.reactor.addTicker(self)
        channel.reactor.backgroundEventCount += 1
        event = channel.open(
            kind, flags: .end,
            make: {
                EventStream(
                    number: $0, channel: channel, worker: worker, release: release, kind: kind, owner: self,
                    allowance: allowance)
            },
            { $0.append(message) })
        event?.watch { $0.append(message) }
    }

    func drain(_ look: DrainLook) {
        guard let event, completion != nil, look.means(release) else { return }
        let limit = kind == .queue ? look.limits.batches : look.limits.jobs
        guard look.mustEnd(after: limit, begunAt: event.started) else { return }
        event.abandon(.cancelled)
        // A batch counts as one that no handler has seen, so that its messages have lost no attempt.
        let reason = "its release was replaced, and it took longer than \(limit) after that"
        complete(.failure(kind == .queue ? .refused(reason) : .lost(reason)))
    }

    func refuse(_ reason: Refusal) { complete(.failure(.refused("\(reason)"))) }

    func event(_ event: EventStream, answered message: UnsafeRawBufferPointer) throws(WireError) {
        var decoder = unsafe WireDecoder(Array(message))
        complete(.success(try read(&decoder)))
    }

    func event(_ event: EventStream, threw failure: CallFailure, passThrough: Bool) { complete(.failure(.threw(failure))) }

    func event(_ event: EventStream, wasReset reason: StreamReset) {
        complete(.failure(.lost(reason.message.isEmpty ? "\(reason.code)" : reason.message)))
    }

    private func complete(_ result: Result<Reply, Node.EventError>) {
        let completion = completion
        self.completion = nil
        completion?(result)
        if reactor != nil, completion != nil { reactor?.backgroundEventCount -= 1 }
        reactor?.removeTicker(self)
        itself = nil
    }
}
