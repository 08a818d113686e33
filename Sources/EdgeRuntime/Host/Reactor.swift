internal import Glibc
internal import Interfaces
package import Observability
internal import Synchronization
package import System

/// A host thread that owns one epoll instance, its connections and its channels.
///
/// A turn: wait for events; read and parse what arrived; run what other threads resumed; write everything the turn
/// produced, once per channel and once per connection. That batching is what makes a process
/// boundary per request cheap.
///
/// It is a `TaskExecutor`: tasks that answer binding calls run on it, between events, without a lock.
package final class Reactor: TaskExecutor, @unchecked Sendable {  // Owner of the mutable state: its thread.
    package let index: Int
    let clock: any NodeClock
    let logger: Logger
    let mailbox = Mailbox()
    /// For file reads that may wait for a disk.
    let files: BlockingPool
    let outbound: OutboundClient

    // Below: reactor thread only.
    private var epoll: Epoll
    private var targets: [PollTarget?] = []
    private var generations: [UInt32] = []
    private var freeSlots: [Int] = []
    private var jobs: [UnownedJob] = []
    private var messages: [Mailbox.Message] = []
    private var dirtyChannels: [Channel] = []
    private var dirtyConnections: [Connection] = []
    private var dirtyHTTP2Connections: [HTTP2Connection] = []
    private var dirtyLinks: [WebSocketLink] = []
    private var tickers: [ObjectIdentifier: any Ticker] = [:]
    private var isStopped = false
    private var thread = pthread_t()
    /// The clock as of this turn.
    private(set) var now: Instant
    private var nextTick: Instant
    private(set) var cachedDate = CachedDate()
    var random: RandomBits
    /// Where requests go; replaced as a whole.
    private(set) var routes = RoutingTable.empty
    private(set) lazy var dispatcher = Dispatcher(reactor: self)
    /// Events for durable objects that wait or run here, and their WebSockets.
    private(set) lazy var objects = ObjectLines(reactor: self)
    private var laterWork: [() -> Void] = []
    var connectionCount = 0
    /// Steps of TLS handshakes that this turn may still do. One can cost a millisecond, and thousands may wait: the others of the
    /// reactor must not wait for all of them.
    private var handshakeStepsLeft = 0
    private static let handshakeStepsPerTurn = 16
    /// What compressors hold, in units of `BodyEncoder`.
    var encoderUnits = 0
    /// Copies of requests that are on their way.
    var shadowCount = 0
    var listeners: [Listener] = []
    /// How near the node's end is.
    private(set) var leaving = Node.Leaving.serving
    /// Answers say that their connection ends with them; connections without a request stay.
    ///
    /// - Parameter canBeParked: Whether another process can have the connection.
    func announcesEnd(canBeParked: Bool) -> Bool {
        switch leaving {
        case .serving: false
        case .replacing: !canBeParked
        case .announcing, .draining: true
        }
    }
    /// WebSockets end: the node does, or its stores are another process' by now.
    var endsWebSockets: Bool { isDraining || hasSuccessor }
    private(set) var hasSuccessor = false
    /// Connections are to end after the answer they are working on.
    var isDraining: Bool { leaving == .draining }
    /// Nothing new begins: connections that have their answers are parked.
    var isHolding = false
    var parked: [ParkedConnection] = []
    /// Of the node's own, as crons and batches are, that isolates are at.
    var backgroundEventCount = 0
    /// What this reactor has counted. Read by others through the mailbox.
    var counters = ReactorCounters()

    /// How often deadlines are looked at: time-outs are in seconds, so this is precise enough for each.
    static let tickInterval = Duration.milliseconds(250)

    package init(
        index: Int, clock: any NodeClock, logger: Logger, files: BlockingPool, outbound: OutboundClient
    ) throws(SystemError) {
        self.index = index
        self.files = files
        self.outbound = outbound
        self.clock = clock
        self.logger = logger.with("reactor", "\(index)")
        epoll = try Epoll()
        now = clock.now()
        nextTick = now + Self.tickInterval
        random = RandomBits()
        try epoll.register(mailbox.wakeup.rawValue, .read, token: .max)
        clock.onJump { [mailbox] in mailbox.put(.run {}) }
    }

    /// Starts the thread. The reactor lives as long as it runs.
    package func start() {
        SystemThread(name: "edge-reactor-\(index)") { self.run() }.start()
    }

    /// Runs `body` on the reactor's thread; any thread may call.
    package func post(_ body: @escaping @Sendable () -> Void) { mailbox.put(.run(body)) }

    /// Runs `body` on the reactor's thread and returns what it returned.
    package func call<Result: Sendable>(_ body: @escaping @Sendable () -> Result) async -> Result {
        await withCheckedContinuation { continuation in post { continuation.resume(returning: body()) } }
    }

    package func stop() { post { self.isStopped = true } }

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        if isCurrent { jobs.append(job) } else { mailbox.put(.job(job)) }
    }

    /// Whether the caller is the reactor's thread.
    var isCurrent: Bool { pthread_equal(pthread_self(), thread) != 0 }

    // MARK: The loop

    private func run() {
        thread = pthread_self()
        while !isStopped {
            let timeout = hasWork ? 0 : millisecondsToNextTick()
            handshakeStepsLeft = Self.handshakeStepsPerTurn
            epoll.wait(milliseconds: timeout) { event in
                if event.token == .max { return mailbox.wakeup.clear() }
                let slot = Int(event.token & 0xffff_ffff)
                guard slot < targets.count, let target = targets[slot], target.token == event.token else { return }
                target.becameReady(event.ready)
            }
            now = clock.now()
            cachedDate.update(to: clock.wallTime())
            drainMailbox()
            runLaterWork()
            runJobs()
            flush()
            if now >= nextTick { tick() }
        }
    }

    /// Something was left for the next turn.
    private var hasWork: Bool {
        !(jobs.isEmpty && laterWork.isEmpty && dirtyChannels.isEmpty && dirtyConnections.isEmpty
            && dirtyHTTP2Connections.isEmpty && dirtyLinks.isEmpty)
    }

    private func millisecondsToNextTick() -> Int32 {
        let nanoseconds = nextTick.nanoseconds - now.nanoseconds
        return nanoseconds <= 0 ? 0 : Int32(clamping: nanoseconds / 1_000_000 + 1)
    }

    private func drainMailbox() {
        mailbox.take(into: &messages)
        for message in messages {
            switch message {
            case .run(let body): body()
            case .job(let job): jobs.append(job)
            }
        }
        messages.removeAll(keepingCapacity: true)
    }

    private func runLaterWork() {
        guard !laterWork.isEmpty else { return }
        let work = laterWork
        laterWork = []
        for body in work { body() }
    }

    /// Runs all jobs that are ready, and those that they make ready, but not for ever: a store that
    /// answers in place could otherwise keep the loop from its sockets.
    private func runJobs() {
        var round = 0
        while !jobs.isEmpty, round < 16 {
            var batch: [UnownedJob] = []
            swap(&batch, &jobs)
            for job in batch { unsafe job.runSynchronously(on: asUnownedTaskExecutor()) }
            if jobs.isEmpty {
                batch.removeAll(keepingCapacity: true)
                swap(&batch, &jobs)
            }
            round += 1
        }
    }

    private func flush() {
        // Channels first: while isolates work on what they got, clients are written to. A flush may make others
        // dirty (a stream that gets credit), hence the loop.
        var round = 0
        while !(dirtyChannels.isEmpty && dirtyConnections.isEmpty && dirtyHTTP2Connections.isEmpty && dirtyLinks.isEmpty),
            round < 4
        {
            var channels: [Channel] = []
            swap(&channels, &dirtyChannels)
            for channel in channels { channel.flush() }
            var connections: [Connection] = []
            swap(&connections, &dirtyConnections)
            for connection in connections { connection.flush() }
            flushLinks()
            flushHTTP2()
            if dirtyChannels.isEmpty {
                channels.removeAll(keepingCapacity: true)
                swap(&channels, &dirtyChannels)
            }
            if dirtyConnections.isEmpty {
                connections.removeAll(keepingCapacity: true)
                swap(&connections, &dirtyConnections)
            }
            round += 1
        }
    }

    private func flushLinks() {
        guard !dirtyLinks.isEmpty else { return }
        var links: [WebSocketLink] = []
        swap(&links, &dirtyLinks)
        for link in links { link.flushDirty() }
        guard dirtyLinks.isEmpty else { return }
        links.removeAll(keepingCapacity: true)
        swap(&links, &dirtyLinks)
    }

    private func flushHTTP2() {
        guard !dirtyHTTP2Connections.isEmpty else { return }
        var connections: [HTTP2Connection] = []
        swap(&connections, &dirtyHTTP2Connections)
        for connection in connections { connection.flush() }
        guard dirtyHTTP2Connections.isEmpty else { return }
        connections.removeAll(keepingCapacity: true)
        swap(&connections, &dirtyHTTP2Connections)
    }

    private func tick() {
        nextTick = now + Self.tickInterval
        // By index: a tick may close its target, and copying the table for that would cost more than the ticks.
        var slot = 0
        while slot < targets.count {
            targets[slot]?.tick(now)
            slot += 1
        }
        dispatcher.tick(now)
        for ticker in tickers.values { ticker.tick(now) }
        flush()
    }

    /// Shows `look` all that may have something of a release.
    func drainTargets(_ look: DrainLook) {
        // By index: what is ended may close its target.
        var slot = 0
        while slot < targets.count {
            targets[slot]?.drain(look)
            slot += 1
        }
        for ticker in Array(tickers.values) { (ticker as? any DrainableEvent)?.drain(look) }
    }

    // MARK: What the reactor watches (reactor thread only)

    func watch(_ target: PollTarget, _ descriptor: Int32, _ interest: Epoll.Interest) throws(SystemError) {
        let slot: Int
        if let free = freeSlots.popLast() {
            slot = free
        } else {
            slot = targets.count
            targets.append(nil)
            generations.append(0)
        }
        generations[slot] &+= 1
        target.token = UInt64(generations[slot]) << 32 | UInt64(slot)
        do {
            try epoll.register(descriptor, interest, token: target.token)
        } catch {
            freeSlots.append(slot)
            throw error
        }
        targets[slot] = target
    }

    func change(_ target: PollTarget, _ descriptor: Int32, _ interest: Epoll.Interest) {
        do {
            try epoll.change(descriptor, interest, token: target.token)
        } catch {
            logger.log(.error, "cannot change what is watched: \(error)")
        }
    }

    /// Has events of what `old` watches go to `new` from now on.
    func replace(_ old: PollTarget, by new: PollTarget) {
        let slot = Int(old.token & 0xffff_ffff)
        guard slot < targets.count, targets[slot] === old else { return }
        new.token = old.token
        targets[slot] = new
    }

    /// To be called before `descriptor` is closed.
    func unwatch(_ target: PollTarget, _ descriptor: Int32) {
        let slot = Int(target.token & 0xffff_ffff)
        guard slot < targets.count, targets[slot] === target else { return }
        epoll.deregister(descriptor)
        targets[slot] = nil
        freeSlots.append(slot)
    }

    /// - Returns: false when it is to be asked again in another turn, to which epoll will lead.
    func takeHandshakeStep() -> Bool {
        guard handshakeStepsLeft > 0 else { return false }
        handshakeStepsLeft -= 1
        return true
    }

    func markDirty(_ channel: Channel) { dirtyChannels.append(channel) }
    func markDirty(_ connection: Connection) { dirtyConnections.append(connection) }
    func markDirty(_ connection: HTTP2Connection) { dirtyHTTP2Connections.append(connection) }
    func markDirty(_ link: WebSocketLink) { dirtyLinks.append(link) }

    /// Runs `body` in the next turn, after what is being done now.
    func later(_ body: @escaping () -> Void) { laterWork.append(body) }

    // MARK: What the node tells its reactors (reactor thread only)

    func install(_ routes: RoutingTable) {
        // Tenants change theirs at the same time, and what each of them sends may arrive in another order.
        guard routes.generation >= self.routes.generation else { return }
        self.routes = routes
    }
    func startDraining() { leaving = .draining }
    func set(_ leaving: Node.Leaving) { self.leaving = leaving }

    /// Requests that aren't answered to their end, but for those of the control listener.
    var openRequestCount: Int {
        targets.reduce(into: 0) { count, target in
            switch target {
            case let stream as HTTPStream: if stream.isInExchange, stream.role != .control { count += 1 }
            case let connection as HTTP2Connection:
                if connection.role != .control { count += connection.streams.all.count { $0.phase != .tunnel } }
            default: break
            }
        }
    }

    func noteSuccessor() { hasSuccessor = true }

    var connections: [Connection] { targets.compactMap { $0 as? Connection } }
    var http2Connections: [HTTP2Connection] { targets.compactMap { $0 as? HTTP2Connection } }

    var unfinished: Node.Unfinished {
        // What an object hears of a hibernating WebSocket may need stores as a request does.
        var all = Node.Unfinished(
            requestCount: dispatcher.waitingCount + objects.openSocketEventCount, eventCount: backgroundEventCount)
        func count(_ stream: HTTPStream) {
            guard stream.isInExchange else { return }
            let isStream = stream.exchange.isHeadSent && !stream.requestBody.isPending && stream.exchange.cacheFill == nil
            if isStream { all.streamCount += 1 } else { all.requestCount += 1 }
        }
        for connection in connections {
            count(connection)
            if connection.isNewcomer { all.newcomerCount += 1 }
        }
        for connection in http2Connections { for stream in connection.streams.all { count(stream) } }
        return all
    }

    func isPublicPort(_ port: UInt16) -> Bool { listeners.contains { $0.publicPort == port } }

    func addTicker(_ ticker: any Ticker) { tickers[ObjectIdentifier(ticker)] = ticker }
    func removeTicker(_ ticker: any Ticker) { tickers[ObjectIdentifier(ticker)] = nil }
}

/// Something with deadlines that has no descriptor, looked at as often as a `PollTarget`.
protocol Ticker: AnyObject {
    func tick(_ now: Instant)
}

/// Random bits for ids that need not be secret, e.g. `CF-Ray`: xoshiro256** seeded by the kernel.
struct RandomBits {
    private var state: (UInt64, UInt64, UInt64, UInt64)

    init() {
        var generator = SystemRandomNumberGenerator()
        state = (generator.next(), generator.next(), generator.next(), generator.next() | 1)
    }

    mutating func next() -> UInt64 {
        func rotate(_ value: UInt64, _ by: UInt64) -> UInt64 { (value << by) | (value >> (64 - by)) }
        let result = rotate(state.1 &* 5, 7) &* 9
        let shifted = state.1 << 17
        state.2 ^= state.0
        state.3 ^= state.1
        state.1 ^= state.2
        state.0 ^= state.3
        state.2 ^= shifted
        state.3 = rotate(state.3, 45)
        return result
    }
}
