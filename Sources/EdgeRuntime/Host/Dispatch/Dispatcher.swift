internal import Interfaces
internal import Isolates
internal import System

/// An event that wants an isolate. Reactor thread only.
protocol Dispatchable: AnyObject {
    /// Opens the event on `channel`, which has room for it.
    func dispatch(on channel: Channel)
    func refuse(_ reason: Refusal)
    /// Nobody waits for it any more.
    var isAbandoned: Bool { get }
}

/// Why an event got no isolate.
enum Refusal: Equatable, Sendable {
    /// As many wait already as may.
    case queueFull
    /// None became free in time.
    case timedOut
    /// Its isolates die at start, or can't be started.
    case unavailable(String)
    /// They did start once: it may be over soon.
    case backingOff
    case shuttingDown
    /// Another version serves now: ask again, by today's routes.
    case replaced
}

/// A reactor's view of all pools: which channels are ready, which events wait. Reactor thread only.
final class Dispatcher: Ticker {
    private unowned let reactor: Reactor
    private var lanes: [Lane?] = []
    /// All channels of this reactor, ready or not.
    private var channels: [IsolateID: Channel] = [:]

    /// Events that may wait for one worker on one reactor: what a burst of new connections can bring at once.
    static let waitingMax = 4096
    /// Longer than any healthy isolate needs to start.
    static let waitMax = Duration.seconds(30)

    /// What this reactor knows of one pool.
    private final class Lane {
        let pool: IsolatePool
        var channels: [Channel] = []
        var waiting = WaitingLine()
        /// Of those that wait, how many nobody waits for any more, at most.
        var abandonedCount = 0
        init(_ pool: IsolatePool) { self.pool = pool }
    }

    init(reactor: Reactor) { self.reactor = reactor }

    /// Hands an event that another event waits for to the least loaded isolate of `worker`, whatever it has to do: if calls
    /// between workers stood in line, all places could be held by events that wait for one another.
    func submitNested(_ event: some Dispatchable, to worker: WorkerRuntime) {
        let lane = lane(worker.pool)
        if let channel = pick(lane, .max) { return event.dispatch(on: channel) }
        guard lane.waiting.count < Self.waitingMax else { return event.refuse(.queueFull) }
        lane.waiting.insertFirst(event, limit: .max, deadline: reactor.now + Self.waitMax)
        if let reason = worker.pool.request(from: reactor.index) { refuseWaiting(of: worker.pool, reason) }
    }

    /// Hands `event` to the least loaded isolate of `worker`, now or when one is free.
    func submit(_ event: some Dispatchable, to worker: WorkerRuntime) {
        let lane = lane(worker.pool)
        if lane.waiting.isEmpty, !worker.pool.someWait(elsewhereThan: reactor.index),
            let channel = pick(lane, worker.limits.concurrency)
        {
            return event.dispatch(on: channel)
        }
        if lane.waiting.count >= Self.waitingMax, lane.abandonedCount > 0 {
            // Clients that left must not take the places of those that stay.
            lane.waiting.removeAbandoned()
            lane.abandonedCount = 0
        }
        guard lane.waiting.count < Self.waitingMax else { return event.refuse(.queueFull) }
        lane.waiting.append(event, limit: worker.limits.concurrency, deadline: reactor.now + Self.waitMax)
        if let reason = worker.pool.request(from: reactor.index) { return refuseWaiting(of: worker.pool, reason) }
        // A place may have become free on another reactor just before it could know that one is wanted here.
        if pick(lane, worker.limits.concurrency) != nil { offerPlace(of: worker.pool) }
    }

    /// An event of `worker` that waits was abandoned.
    func gaveUp(_ worker: WorkerRuntime) { existingLane(worker.pool)?.abandonedCount += 1 }

    /// What is known of `pool`; a pool that had its slot before is not meant.
    private func existingLane(_ pool: IsolatePool) -> Lane? {
        guard pool.slot < lanes.count, let lane = lanes[pool.slot], lane.pool === pool else { return nil }
        return lane
    }

    private func lane(_ pool: IsolatePool) -> Lane {
        if let lane = existingLane(pool) { return lane }
        while lanes.count <= pool.slot { lanes.append(nil) }
        let lane = Lane(pool)
        lanes[pool.slot] = lane
        return lane
    }

    /// The ready channel whose isolate has the fewest events open, if it may take one more.
    private func pick(_ lane: Lane, _ concurrency: Int) -> Channel? {
        var best: Channel?
        var bestLoad = concurrency
        for channel in lane.channels where !channel.isRetired && !channel.isCongested {
            let load = channel.isolate.openEvents
            if load < bestLoad {
                best = channel
                bestLoad = load
            }
        }
        return best
    }

    /// `channel`'s isolate has finished an event.
    func released(_ channel: Channel, by event: EventStream) {
        if event.worker.pool.someWait { offerPlace(of: event.worker.pool) }
    }

    /// Gives a free place to the reactor whose turn it is: the next one that has events waiting, this one last. Were this one
    /// the first, one that always has enough to do for itself would leave the others none.
    private func offerPlace(of pool: IsolatePool) { pool.offerPlace(after: reactor.index, hops: pool.reactorCount) }

    /// A place is free, and it is this reactor's turn.
    func takePlace(of pool: IsolatePool, hops: Int) {
        guard let lane = existingLane(pool) else {
            pool.satisfied(reactor.index)
            return pool.offerPlace(after: reactor.index, hops: hops)
        }
        // What this one can't use, because its channel is congested or nobody waits any more, is the next one's.
        if !serve(lane) { pool.offerPlace(after: reactor.index, hops: hops) }
    }

    /// - Returns: whether an event got a place.
    @discardableResult
    private func serve(_ lane: Lane) -> Bool {
        var hasServed = false
        while let (event, concurrency) = lane.waiting.first {
            if event.isAbandoned {
                lane.waiting.removeFirst()
                lane.abandonedCount = max(0, lane.abandonedCount - 1)
                continue
            }
            guard let channel = pick(lane, concurrency) else { return hasServed }
            lane.waiting.removeFirst()
            event.dispatch(on: channel)
            hasServed = true
        }
        lane.pool.satisfied(reactor.index)
        return hasServed
    }

    // MARK: What the pools report

    /// Takes a new isolate's channel; events come once the isolate is ready.
    func adopt(_ channel: Channel) { channels[channel.isolate.id] = channel }

    func isolateReady(_ isolate: Isolate) {
        guard let channel = channels[isolate.id], !channel.isRetired else { return }
        let lane = lane(isolate.pool)
        lane.channels.append(channel)
        serve(lane)
    }

    func channelGone(_ channel: Channel, of pool: IsolatePool) {
        existingLane(pool)?.channels.removeAll { $0 === channel }
    }

    /// This reactor's channel to an isolate; `nil` when that is gone.
    func channel(of isolate: IsolateID) -> Channel? { channels[isolate] }

    /// No new events for `isolate`; open ones go on.
    func retire(_ isolate: Isolate) {
        guard let channel = channels[isolate.id] else { return }
        channel.retire()
        channelGone(channel, of: isolate.pool)
    }

    /// Asks the isolate to exit when its work is done.
    func shutDown(_ isolate: Isolate) { channels[isolate.id]?.openControl(.shutdown, []) { _ in } }

    /// Tells the clients of `isolate`'s WebSockets to come again.
    func closeWebSockets(of isolate: Isolate) { channels[isolate.id]?.closeWebSockets() }

    /// Calls `completion` when the isolate has answered a health event, or is beyond being asked.
    func checkHealth(_ isolate: Isolate, completion: @escaping () -> Void) {
        guard let channel = channels[isolate.id] else { return completion() }
        channel.openControl(.health, []) { _ in completion() }
    }

    func isolateExited(_ isolate: Isolate, _ exit: IsolateExit) {
        guard let channel = channels.removeValue(forKey: isolate.id) else { return }
        channelGone(channel, of: isolate.pool)
        channel.isolateExited(exit)
    }

    /// The pool can't start isolates: those that wait are told.
    func refuseWaiting(of pool: IsolatePool, _ reason: Refusal) {
        guard let lane = existingLane(pool) else { return }
        while let (event, _) = lane.waiting.first {
            lane.waiting.removeFirst()
            if !event.isAbandoned { event.refuse(reason) }
        }
        lane.abandonedCount = 0
        pool.satisfied(reactor.index)
    }

    func forget(_ pool: IsolatePool) {
        refuseWaiting(of: pool, .replaced)
        if existingLane(pool) != nil { lanes[pool.slot] = nil }
    }

    /// Shows `look` what events of a release have left to be done behind their answers.
    func noteBackgroundWork(_ look: DrainLook) {
        for channel in channels.values { channel.noteBackgroundWork(look) }
    }

    /// Streams that are open on all channels.
    var openStreamCount: Int { channels.values.reduce(0) { $0 + $1.openStreamCount } }
    /// Bytes that wait for isolates to read them.
    var heldByteCount: Int { channels.values.reduce(0) { $0 + $1.heldByteCount } }
    var waitingCount: Int { lanes.reduce(0) { $0 + ($1?.waiting.count ?? 0) } }

    func tick(_ now: Instant) {
        for case let lane? in lanes where !lane.waiting.isEmpty {
            for event in lane.waiting.removeExpired(now) where !event.isAbandoned { event.refuse(.timedOut) }
            serve(lane)
        }
    }
}

/// Events in the order they came.
struct WaitingLine {
    private struct Entry {
        /// `nil` once it was served: what is over must not be kept by a place in a line.
        var event: (any Dispatchable)?
        let limit: Int
        let deadline: Instant
    }
    private var entries: [Entry] = []
    private var head = 0

    var count: Int { entries.count - head }
    var isEmpty: Bool { head == entries.count }
    var first: (any Dispatchable, Int)? {
        guard !isEmpty, let event = entries[head].event else { return nil }
        return (event, entries[head].limit)
    }

    mutating func append(_ event: any Dispatchable, limit: Int, deadline: Instant) {
        entries.append(Entry(event: event, limit: limit, deadline: deadline))
    }

    /// It was waited for before it came: it doesn't stand behind.
    mutating func insertFirst(_ event: any Dispatchable, limit: Int, deadline: Instant) {
        entries.insert(Entry(event: event, limit: limit, deadline: deadline), at: head)
    }

    mutating func removeFirst() {
        entries[head].event = nil
        head += 1
        if head == entries.count || head > 512 {
            entries.removeFirst(head)
            head = 0
        }
    }

    mutating func removeAbandoned() {
        entries.removeFirst(head)
        head = 0
        entries.removeAll { $0.event?.isAbandoned ?? true }
    }

    /// All wait equally long, so the expired ones stand in front.
    mutating func removeExpired(_ now: Instant) -> [any Dispatchable] {
        var expired: [any Dispatchable] = []
        while !isEmpty, entries[head].deadline <= now {
            if let event = entries[head].event { expired.append(event) }
            removeFirst()
        }
        return expired
    }
}
