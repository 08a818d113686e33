internal import Interfaces
internal import Isolates
internal import System

/// Which isolate has which object, and what waits for it: the truth about ownership. Pure: it is told what happens and when, and
/// answers with what is to be done.
///
/// An object goes through
///
///     absent ─ event, place ─▶ opening ─ opened ─▶ open ─ idle, another version, a wish ─▶ draining ─▶ closing ─ closed ─▶ absent
///
/// and from all of these to absent when its isolate says that it is over (`aborted`), and, once the isolate's process is reaped, when
/// that has died (`lost` until then). Nobody but this decides to open or to close. Events that come while it is neither
/// opening from their own reactor nor open wait in a line of their reactor: here they are only counted.
///
/// Whenever a line may have somewhere to go, the effect `wake` says so to its reactor.
struct ObjectRegistry {
    /// Names a version's pool of isolates for as long as the space lives.
    typealias ServerID = Int

    enum Phase: Equatable {
        case absent
        /// `objectOpen` was sent by this reactor: its events follow it on the same channel.
        case opening(reactor: Int)
        case open
        /// New events wait, those that the object has may end, until then.
        case draining(ObjectCloseReason, until: Instant)
        /// `objectClose` was sent; its answer must come until then.
        case closing(ObjectCloseReason, until: Instant)
        /// Its isolate is beyond reach, but its process may still be there.
        case lost
    }

    /// A hibernating WebSocket, in memory or not. The socket itself is with its reactor.
    struct Socket {
        var state: ObjectSocketState
        /// Counts up: the newest one has the highest number.
        var order: UInt64
    }

    struct Entry {
        let namespace: String
        var phase = Phase.absent
        /// Who has it, or had it last.
        var host: IsolateID?
        var server: ServerID?
        /// Of all lives of all objects each has a number of its own, a later one a higher one: also of an object that was forgotten
        /// meanwhile. What is said of an earlier one is of no interest.
        var incarnation: UInt64 = 0
        /// Events that were given to it and are not over.
        var inFlight = 0
        var waiting = 0
        var waitingByteCount = 0
        /// One bit for each reactor that has events waiting.
        var waitingReactors: UInt64 = 0
        /// Waits for an isolate of that version with room.
        var waitsForPlace: ServerID?
        var window = (start: Instant(nanoseconds: .min / 2), count: 0)
        var usedAt: Instant
        /// How many attempts to hibernate have found it busy since it was used. Each waits twice as long as the one before.
        var busyCount = 0
        /// When it is to be evicted, if it can't hibernate: `usedAt` and this.
        var evictDelay = Duration.zero
        var hasIdleCheck = false
        var isMoving = false
        /// It is to be closed as soon as it is open.
        var closeWish: ObjectCloseReason?
        var name: String?
        var sockets: [SocketID: Socket] = [:]
        var autoResponse: SocketAutoResponse?
        var eventTimeout: Int64?

        var hasOwner: Bool { phase != .absent }
        /// Nobody may open it: its files are being changed.
        var isLocked = false
        var isForgettable: Bool { phase == .absent && waiting == 0 && sockets.isEmpty && !isLocked }
    }

    /// An isolate that can have objects.
    struct Host {
        let server: ServerID
        var objects: Set<ObjectID> = []
        /// It takes no more.
        var isRetiring = false
    }

    private struct Server {
        var hosts: [IsolateID] = []
        var liveCount = 0
        /// Objects that wait for a place, in order.
        var line: [ObjectID] = []
        var isGrowing = false
    }

    /// Which version has which part of a namespace's ids.
    struct Share: Equatable {
        var server: ServerID
        /// The first point that is the next one's.
        var end: Int
    }

    struct Delivery: Equatable {
        var host: IsolateID
        var server: ServerID
        var incarnation: UInt64
        /// `objectOpen` goes in front of the event.
        var opens: Bool
    }

    enum Refusal: Equatable {
        case notServed
        /// Isolates of the version that is to have it can't be started.
        case noIsolate
        case tooMany, tooMuch, tooLong, tooOften
    }

    enum Admission: Equatable {
        case deliver(Delivery)
        case wait
        case refuse(Refusal)
    }

    enum Effect: Equatable {
        case wake(ObjectID, reactors: UInt64)
        case close(ObjectID, host: IsolateID, incarnation: UInt64, ObjectCloseReason, patience: Duration)
        /// Events that wait are refused.
        case refuseWaiting(ObjectID, reactors: UInt64, Refusal)
        case wantIsolate(ServerID)
        case kill(IsolateID, ObjectID)
        /// A retiring isolate has no objects any more.
        case emptied(IsolateID)
        /// The object's WebSockets are to be closed with 1012.
        case disconnect(ObjectID)
    }

    var settings: ObjectSettings
    private(set) var entries: [ObjectID: Entry] = [:]
    private(set) var hosts: [IsolateID: Host] = [:]
    private var servers: [ServerID: Server] = [:]
    private var shares: [String: [Share]] = [:]
    private var deadlines = DeadlineHeap<ObjectID>()
    private var moves: [ObjectID] = []
    private var activeMoves = 0
    private var nextSocket: UInt64 = 0
    private var lastIncarnation: UInt64 = 0
    private(set) var isSuspended = false
    private var random: RandomBits
    /// Processors: objects are spread over as many isolates before these are full.
    private let spread: Int

    /// An isolate with fewer objects is not worth a second one.
    private static let spreadMin = 8

    init(settings: ObjectSettings, spread: Int, random: RandomBits = RandomBits()) {
        self.settings = settings
        self.spread = spread
        self.random = random
    }

    // MARK: What it knows

    subscript(_ id: ObjectID) -> Entry? { entries[id] }
    func liveCount(of server: ServerID) -> Int { servers[server]?.liveCount ?? 0 }
    func isServing(_ server: ServerID) -> Bool { shares.values.contains { $0.contains { $0.server == server } } }
    var nextDeadline: Instant? { deadlines.first }

    /// Which version is to have the object now; `nil`: none.
    func server(of id: ObjectID, in namespace: String) -> ServerID? {
        shares[namespace]?.first { id.point < $0.end }?.server
    }

    // MARK: Events

    /// An event has come.
    ///
    /// - Parameters:
    ///   - byteCount: What it holds in memory while it waits.
    ///   - isLimited: Whether it may be refused because too much waits; what comes from a WebSocket or of an alarm waits instead.
    ///   - isBehindOthers: Whether its reactor has others waiting for the object.
    mutating func enter(
        _ id: ObjectID, in namespace: String, from reactor: Int, byteCount: Int, isLimited: Bool, isBehindOthers: Bool,
        at now: Instant, _ effects: inout [Effect]
    ) -> Admission {
        guard isSuspended || server(of: id, in: namespace) != nil else { return .refuse(.notServed) }
        var entry = entries[id] ?? Entry(namespace: namespace, usedAt: now)
        guard entry.namespace == namespace else { return .refuse(.notServed) }
        if isLimited {
            if now - entry.window.start >= ObjectLimits.rateWindow { entry.window = (now, 0) }
            entry.window.count += 1
            guard entry.window.count <= ObjectLimits.rateMax else {
                entries[id] = entry
                return .refuse(.tooOften)
            }
        }
        if !isBehindOthers, let delivery = deliver(id, &entry, from: reactor, at: now, &effects) {
            entries[id] = entry
            return .deliver(delivery)
        }
        if isLimited {
            guard entry.waiting < ObjectLimits.waitingMax else { return .refuse(.tooMany) }
            guard entry.waitingByteCount + byteCount <= ObjectLimits.waitingBytesMax else { return .refuse(.tooMuch) }
        }
        entry.waiting += 1
        entry.waitingByteCount += byteCount
        entry.waitingReactors |= 1 << UInt64(reactor)
        entries[id] = entry
        return .wait
    }

    /// The first event of a reactor's line tries again. It doesn't count as waiting any more unless the answer is `wait`.
    mutating func readmit(
        _ id: ObjectID, from reactor: Int, byteCount: Int, at now: Instant, _ effects: inout [Effect]
    ) -> Admission {
        guard var entry = entries[id] else { return .refuse(.notServed) }
        guard isSuspended || server(of: id, in: entry.namespace) != nil else {
            entry.waiting -= 1
            entry.waitingByteCount -= byteCount
            store(id, entry)
            return .refuse(.notServed)
        }
        let delivery = deliver(id, &entry, from: reactor, at: now, &effects)
        if delivery != nil {
            entry.waiting -= 1
            entry.waitingByteCount -= byteCount
        }
        entries[id] = entry
        return delivery.map { .deliver($0) } ?? .wait
    }

    private mutating func deliver(
        _ id: ObjectID, _ entry: inout Entry, from reactor: Int, at now: Instant, _ effects: inout [Effect]
    ) -> Delivery? {
        switch entry.phase {
        case .absent:
            guard !isSuspended, !entry.isLocked, let server = server(of: id, in: entry.namespace) else { return nil }
            guard let host = place(id, on: server, &entry, at: now, &effects) else { return nil }
            entry.phase = .opening(reactor: reactor)
            entry.host = host
            entry.server = server
            lastIncarnation += 1
            entry.incarnation = lastIncarnation
            entry.inFlight = 1
            entry.busyCount = 0
            entry.usedAt = now
            return Delivery(host: host, server: server, incarnation: entry.incarnation, opens: true)
        case .opening(let opener):
            guard opener == reactor, entry.inFlight < ObjectLimits.inFlightMax else { return nil }
        case .open: guard entry.inFlight < ObjectLimits.inFlightMax else { return nil }
        case .draining, .closing, .lost: return nil
        }
        guard let host = entry.host, let server = entry.server else { return nil }
        entry.inFlight += 1
        entry.usedAt = now
        return Delivery(host: host, server: server, incarnation: entry.incarnation, opens: false)
    }

    /// The event could not be sent after all; it waits, in front of its reactor's line.
    ///
    /// - Parameter isLost: The isolate can't be reached any more; else it has only too much to read, and the event isn't the first.
    mutating func undeliver(
        _ id: ObjectID, _ delivery: Delivery, from reactor: Int, byteCount: Int, isLost: Bool, at now: Instant,
        _ effects: inout [Effect]
    ) {
        guard var entry = entries[id] else { return }
        entry.waiting += 1
        entry.waitingByteCount += byteCount
        entry.waitingReactors |= 1 << UInt64(reactor)
        guard entry.incarnation == delivery.incarnation, entry.hasOwner else {
            // Its owner has gone meanwhile: whoever opens it next is told of the line here.
            entries[id] = entry
            effects.append(.wake(id, reactors: 1 << UInt64(reactor)))
            return
        }
        entry.inFlight -= 1
        if isLost { entry.phase = .lost }
        entries[id] = entry
    }

    /// An event that has waited is gone: too old, or nobody waits for it any more.
    mutating func gaveUp(_ id: ObjectID, byteCount: Int) {
        guard var entry = entries[id] else { return }
        entry.waiting -= 1
        entry.waitingByteCount -= byteCount
        store(id, entry)
    }

    /// A reactor's line is empty.
    mutating func lineIsEmpty(_ id: ObjectID, of reactor: Int, _ effects: inout [Effect]) {
        guard var entry = entries[id] else { return }
        entry.waitingReactors &= ~(1 << UInt64(reactor))
        let server = server(of: id, in: entry.namespace)
        let isUnused = entry.phase == .absent && entry.waitingReactors == 0
        store(id, entry)
        // It may have been given a turn that it has no use for.
        if isUnused, let server { offerPlaces(of: server, &effects) }
    }

    /// An event is over, whatever became of it.
    mutating func ended(_ id: ObjectID, _ incarnation: UInt64, at now: Instant, _ effects: inout [Effect]) {
        guard var entry = entries[id], entry.incarnation == incarnation, entry.hasOwner else { return }
        entry.inFlight -= 1
        entry.usedAt = now
        entry.busyCount = 0
        entries[id] = entry
        switch entry.phase {
        case .open:
            if entry.waitingReactors != 0 { effects.append(.wake(id, reactors: entry.waitingReactors)) }
            guard entry.inFlight == 0 else { return }
            let isInTheWay = entry.waitingReactors == 0 && !(entry.server.flatMap { servers[$0]?.line.isEmpty } ?? true)
            if isInTheWay, entry.host.flatMap({ hosts[$0] }).map({ $0.objects.count >= settings.objectsPerIsolate }) ?? false {
                return close(id, .hibernation, patience: .zero, at: now, &effects)
            }
            watchIdle(id, at: now)
        case .draining(let reason, let deadline):
            if entry.inFlight == 0 { close(id, reason, patience: max(.zero, deadline - now), at: now, &effects) }
        case .absent, .opening, .closing, .lost: break
        }
    }

    // MARK: What the owner says

    mutating func opened(
        _ id: ObjectID, _ incarnation: UInt64, name: String?, at now: Instant, _ effects: inout [Effect]
    ) {
        guard var entry = entries[id], entry.incarnation == incarnation, case .opening = entry.phase else { return }
        entry.phase = .open
        entry.usedAt = now
        if let name { entry.name = name }
        entries[id] = entry
        if let wish = entry.closeWish { return drain(id, wish, at: now, &effects) }
        if entry.waitingReactors != 0 { effects.append(.wake(id, reactors: entry.waitingReactors)) }
        if entry.inFlight == 0 { watchIdle(id, at: now) }
    }

    /// The object could not be opened; its isolate has forgotten it. The caller fails all its events, those that wait too.
    mutating func openFailed(_ id: ObjectID, _ incarnation: UInt64, at now: Instant, _ effects: inout [Effect]) {
        guard let entry = entries[id], entry.incarnation == incarnation, case .opening = entry.phase else { return }
        end(id, at: now, &effects)
    }

    /// The opening was cut off, and the isolate may have something of the object. The caller fails all its events.
    mutating func openBroke(_ id: ObjectID, _ incarnation: UInt64, at now: Instant, _ effects: inout [Effect]) {
        guard let entry = entries[id], entry.incarnation == incarnation, case .opening = entry.phase else { return }
        entries[id]?.inFlight = 0
        close(id, .requested, patience: .zero, at: now, &effects)
    }

    /// The isolate says that this life is over, and has forgotten it. The caller fails its events.
    ///
    /// - Returns: the life that is over; `nil` when the isolate doesn't have the object.
    mutating func aborted(_ id: ObjectID, by host: IsolateID, at now: Instant, _ effects: inout [Effect]) -> UInt64? {
        guard let entry = entries[id], entry.host == host, entry.hasOwner, entry.phase != .lost else { return nil }
        let incarnation = entry.incarnation
        end(id, at: now, &effects)
        return incarnation
    }

    mutating func closed(_ id: ObjectID, _ incarnation: UInt64, isBusy: Bool, at now: Instant, _ effects: inout [Effect]) {
        guard var entry = entries[id], entry.incarnation == incarnation, case .closing(let reason, _) = entry.phase else {
            return
        }
        guard isBusy else { return end(id, at: now, &effects) }
        guard reason == .hibernation || reason == .inactivity else {
            if let host = entry.host { effects.append(.kill(host, id)) }
            return
        }
        entry.phase = .open
        entry.busyCount += 1
        if reason == .inactivity { entry.usedAt = now }
        entries[id] = entry
        if let wish = entry.closeWish { return drain(id, wish, at: now, &effects) }
        if entry.waitingReactors != 0 { effects.append(.wake(id, reactors: entry.waitingReactors)) }
        watchIdle(id, at: now)
    }

    // MARK: Closing

    /// Has the object leave memory.
    ///
    /// - Returns: whether it was there.
    mutating func wantClosed(_ id: ObjectID, _ reason: ObjectCloseReason, at now: Instant, _ effects: inout [Effect]) -> Bool {
        guard let entry = entries[id], entry.hasOwner else { return false }
        switch entry.phase {
        case .open: drain(id, reason, at: now, &effects)
        case .opening, .closing(.hibernation, _), .closing(.inactivity, _): entries[id]?.closeWish = reason
        case .absent, .draining, .closing, .lost: break
        }
        return true
    }

    /// Has the object leave memory, and keeps it from being opened.
    mutating func lock(_ id: ObjectID, in namespace: String, at now: Instant, _ effects: inout [Effect]) {
        entries[id, default: Entry(namespace: namespace, usedAt: now)].isLocked = true
        _ = wantClosed(id, .requested, at: now, &effects)
    }

    mutating func unlock(_ id: ObjectID, at now: Instant, _ effects: inout [Effect]) {
        guard var entry = entries[id] else { return }
        entry.isLocked = false
        store(id, entry)
        if !entry.hasOwner, entry.waitingReactors != 0 { effects.append(.wake(id, reactors: entry.waitingReactors)) }
    }

    private mutating func drain(_ id: ObjectID, _ reason: ObjectCloseReason, at now: Instant, _ effects: inout [Effect]) {
        guard var entry = entries[id], entry.phase == .open else { return }
        entry.closeWish = nil
        guard entry.inFlight > 0 else {
            entries[id] = entry
            return close(id, reason, patience: settings.drain, at: now, &effects)
        }
        let deadline = now + settings.drain
        entry.phase = .draining(reason, until: deadline)
        entries[id] = entry
        deadlines.insert(id, at: deadline)
    }

    private mutating func close(
        _ id: ObjectID, _ reason: ObjectCloseReason, patience: Duration, at now: Instant, _ effects: inout [Effect]
    ) {
        guard var entry = entries[id], let host = entry.host else { return }
        let deadline = now + patience + ObjectLimits.closeGrace
        entry.phase = .closing(reason, until: deadline)
        entries[id] = entry
        deadlines.insert(id, at: deadline)
        effects.append(.close(id, host: host, incarnation: entry.incarnation, reason, patience: patience))
    }

    private mutating func watchIdle(_ id: ObjectID, at now: Instant) {
        guard var entry = entries[id], !entry.hasIdleCheck else { return }
        entry.hasIdleCheck = true
        entry.evictDelay = settings.evictAfter * (1 + Double(random.next() >> 11) / Double(1 << 53))
        entries[id] = entry
        deadlines.insert(id, at: entry.usedAt + patience(entry).delay)
    }

    /// How long after its last use it is to leave memory, and why.
    private func patience(_ entry: Entry) -> (delay: Duration, reason: ObjectCloseReason) {
        let delay = settings.hibernateAfter * (1 << min(entry.busyCount, 20))
        return delay < settings.evictAfter || entry.busyCount == 0 ? (delay, .hibernation) : (entry.evictDelay, .inactivity)
    }

    /// Looks at what is due.
    mutating func sweep(at now: Instant, _ effects: inout [Effect]) {
        while let id = deadlines.popDue(now) {
            guard let entry = entries[id] else { continue }
            switch entry.phase {
            case .open:
                entries[id]?.hasIdleCheck = false
                guard entry.inFlight == 0 else { continue }  // Its end asks again.
                let (delay, reason) = patience(entry)
                guard now - entry.usedAt >= delay else {
                    entries[id]?.hasIdleCheck = true
                    deadlines.insert(id, at: entry.usedAt + delay)
                    continue
                }
                close(id, reason, patience: .zero, at: now, &effects)
            case .draining(let reason, let deadline):
                if now >= deadline { close(id, reason, patience: .zero, at: now, &effects) }
            case .closing(_, let deadline):
                if now >= deadline, let host = entry.host { effects.append(.kill(host, id)) }
            case .absent, .opening, .lost: entries[id]?.hasIdleCheck = false
            }
        }
    }

    /// Nobody has the object any more.
    private mutating func end(_ id: ObjectID, at now: Instant, _ effects: inout [Effect]) {
        guard var entry = entries[id], entry.hasOwner else { return }
        if let host = entry.host, let server = entry.server {
            hosts[host]?.objects.remove(id)
            servers[server]?.liveCount -= 1
            if let left = hosts[host], left.isRetiring, left.objects.isEmpty { effects.append(.emptied(host)) }
        }
        entry.phase = .absent
        entry.inFlight = 0
        entry.host = nil
        entry.closeWish = nil
        entry.hasIdleCheck = false
        if entry.isMoving {
            entry.isMoving = false
            activeMoves -= 1
        }
        let server = entry.server
        store(id, entry)
        if entry.waitingReactors != 0 { effects.append(.wake(id, reactors: entry.waitingReactors)) }
        if let server { offerPlaces(of: server, &effects) }
        startMoves(at: now, &effects)
    }

    private mutating func store(_ id: ObjectID, _ entry: Entry) { entries[id] = entry.isForgettable ? nil : entry }

    // MARK: Places

    /// - Returns: `nil` when the object has to wait.
    private mutating func place(
        _ id: ObjectID, on server: ServerID, _ entry: inout Entry, at now: Instant, _ effects: inout [Effect]
    ) -> IsolateID? {
        var record = servers[server] ?? Server()
        let usable = record.hosts.filter { hosts[$0]?.isRetiring == false }
        let best = usable.min { (hosts[$0]?.objects.count ?? 0, $0) < (hosts[$1]?.objects.count ?? 0, $1) }
        let least = best.flatMap { hosts[$0]?.objects.count } ?? .max
        let wantsMore = least >= settings.objectsPerIsolate || (usable.count < spread && least >= Self.spreadMin)
        if wantsMore, usable.count < settings.isolatesMax, !record.isGrowing {
            record.isGrowing = true
            effects.append(.wantIsolate(server))
        }
        guard let best, least < settings.objectsPerIsolate else {
            if entry.waitsForPlace != server {
                entry.waitsForPlace = server
                record.line.append(id)
                if usable.count >= settings.isolatesMax { evictOne(of: usable, at: now, &effects) }
            }
            servers[server] = record
            return nil
        }
        entry.waitsForPlace = nil
        record.liveCount += 1
        servers[server] = record
        hosts[best]?.objects.insert(id)
        return best
    }

    /// All places are taken: the object that has had nothing to do for longest makes room.
    private mutating func evictOne(of usable: [IsolateID], at now: Instant, _ effects: inout [Effect]) {
        var oldest: (id: ObjectID, usedAt: Instant)?
        for id in usable.flatMap({ hosts[$0]?.objects ?? [] }) {
            guard let entry = entries[id], entry.phase == .open, entry.inFlight == 0, entry.busyCount == 0 else { continue }
            if oldest.map({ entry.usedAt < $0.usedAt }) ?? true { oldest = (id, entry.usedAt) }
        }
        if let oldest { close(oldest.id, .hibernation, patience: .zero, at: now, &effects) }
    }

    /// Wakes as many of those that wait for a place as there are places.
    private mutating func offerPlaces(of server: ServerID, _ effects: inout [Effect]) {
        guard var record = servers[server], !record.line.isEmpty else { return }
        var free = record.hosts.reduce(0) { count, host in
            guard let host = hosts[host], !host.isRetiring else { return count }
            return count + max(0, settings.objectsPerIsolate - host.objects.count)
        }
        while free > 0, !record.line.isEmpty {
            let id = record.line.removeFirst()
            guard let entry = entries[id], entry.waitsForPlace == server else { continue }
            entries[id]?.waitsForPlace = nil
            guard entry.phase == .absent, entry.waitingReactors != 0 else { continue }
            effects.append(.wake(id, reactors: entry.waitingReactors))
            free -= 1
        }
        servers[server] = record
    }

    // MARK: Isolates

    mutating func hostIsReady(_ host: IsolateID, of server: ServerID, _ effects: inout [Effect]) {
        hosts[host] = Host(server: server)
        servers[server, default: Server()].hosts.append(host)
        servers[server]?.isGrowing = false
        offerPlaces(of: server, &effects)
    }

    /// No more objects for this one; those that it has leave it.
    mutating func hostRetires(_ host: IsolateID, at now: Instant, _ effects: inout [Effect]) {
        guard let record = hosts[host], !record.isRetiring else {
            if hosts[host] == nil { effects.append(.emptied(host)) }
            return
        }
        hosts[host]?.isRetiring = true
        guard !record.objects.isEmpty else { return effects.append(.emptied(host)) }
        for id in record.objects { _ = wantClosed(id, .requested, at: now, &effects) }
    }

    /// Its process is gone.
    mutating func hostExited(_ host: IsolateID, at now: Instant, _ effects: inout [Effect]) {
        guard let record = hosts[host] else { return }
        for id in record.objects { end(id, at: now, &effects) }
        hosts[host] = nil
        servers[record.server]?.hosts.removeAll { $0 == host }
        offerPlaces(of: record.server, &effects)
        if let left = servers[record.server], left.hosts.isEmpty, left.line.isEmpty, !isServing(record.server) {
            servers[record.server] = nil
        }
    }

    /// An isolate that was asked for comes not.
    mutating func noIsolate(for server: ServerID, _ effects: inout [Effect]) {
        guard var record = servers[server] else { return }
        record.isGrowing = false
        let line = record.line
        record.line = []
        servers[server] = record
        guard record.hosts.isEmpty else { return }
        for id in line {
            guard let entry = entries[id], entry.waitsForPlace == server else { continue }
            entries[id]?.waitsForPlace = nil
            effects.append(.refuseWaiting(id, reactors: entry.waitingReactors, .noIsolate))
        }
    }

    // MARK: Versions

    /// Which versions have the namespace's objects from now on. The oldest one comes first: a share that grows takes points from its
    /// neighbours only.
    mutating func serve(
        _ namespace: String, by list: [(server: ServerID, share: Int)], at now: Instant, _ effects: inout [Effect]
    ) {
        var end = 0
        shares[namespace] = list.map { item in
            end += item.share
            return Share(server: item.server, end: end)
        }
        // Shares that don't make up the whole line: the last one has the rest.
        if let last = list.indices.last { shares[namespace]?[last].end = 10_000 }
        if list.isEmpty { shares[namespace] = nil }
        for (id, entry) in entries where entry.namespace == namespace {
            let target = server(of: id, in: namespace)
            guard target != entry.server else { continue }
            if settings.onDeploy == .disconnect, entry.server != nil, !entry.sockets.isEmpty { effects.append(.disconnect(id)) }
            if entry.hasOwner { moves.append(id) }
            if !entry.hasOwner, entry.waitingReactors != 0 { effects.append(.wake(id, reactors: entry.waitingReactors)) }
        }
        // A place that one was to have who goes elsewhere now.
        for server in servers.keys { offerPlaces(of: server, &effects) }
        startMoves(at: now, &effects)
    }

    private mutating func startMoves(at now: Instant, _ effects: inout [Effect]) {
        while activeMoves < ObjectLimits.movesAtOnce, !moves.isEmpty {
            let id = moves.removeFirst()
            guard let entry = entries[id], entry.hasOwner, !entry.isMoving, entry.server != server(of: id, in: entry.namespace)
            else { continue }
            entries[id]?.isMoving = true
            activeMoves += 1
            _ = wantClosed(id, .codeUpdated, at: now, &effects)
        }
    }

    /// Objects that have still to move to another version.
    var movingCount: Int { activeMoves + moves.count }

    mutating func suspend(at now: Instant, _ effects: inout [Effect]) {
        isSuspended = true
        for (id, entry) in entries where entry.hasOwner { _ = wantClosed(id, .requested, at: now, &effects) }
    }

    mutating func resume(_ effects: inout [Effect]) {
        isSuspended = false
        for (id, entry) in entries where entry.phase == .absent && entry.waitingReactors != 0 {
            effects.append(.wake(id, reactors: entry.waitingReactors))
        }
    }

    var ownedCount: Int { entries.values.count { $0.hasOwner } }

    // MARK: WebSockets

    /// - Returns: false when the object has as many as it may.
    mutating func addSocket(_ state: ObjectSocketState, to id: ObjectID, in namespace: String, at now: Instant) -> Bool {
        var entry = entries[id] ?? Entry(namespace: namespace, usedAt: now)
        guard entry.sockets.count < ObjectLimits.socketsMax else { return false }
        nextSocket += 1
        entry.sockets[state.id] = Socket(state: state, order: nextSocket)
        entries[id] = entry
        return true
    }

    mutating func removeSocket(_ socket: SocketID, of id: ObjectID) {
        guard var entry = entries[id], entry.sockets.removeValue(forKey: socket) != nil else { return }
        store(id, entry)
    }

    mutating func changeSocket(_ socket: SocketID, of id: ObjectID, _ change: (inout ObjectSocketState) -> Void) {
        guard var found = entries[id]?.sockets[socket] else { return }
        change(&found.state)
        entries[id]?.sockets[socket] = found
    }

    /// The newest one first.
    func sockets(of id: ObjectID) -> [ObjectSocketState] {
        (entries[id]?.sockets.values.sorted { $0.order > $1.order } ?? []).map(\.state)
    }

    mutating func setAutoResponse(_ pair: SocketAutoResponse?, eventTimeout: Int64?, of id: ObjectID) {
        entries[id]?.autoResponse = pair
        entries[id]?.eventTimeout = eventTimeout
    }
}

/// Moments, the first of them at hand.
struct DeadlineHeap<Value> {
    private var items: [(at: Instant, value: Value)] = []

    var first: Instant? { items.first?.at }

    mutating func insert(_ value: Value, at instant: Instant) {
        items.append((instant, value))
        var child = items.count - 1
        while child > 0, items[child].at < items[(child - 1) / 2].at {
            items.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    mutating func popDue(_ now: Instant) -> Value? {
        guard let first = items.first, first.at <= now else { return nil }
        items.swapAt(0, items.count - 1)
        items.removeLast()
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < items.count && items[child].at < items[least].at {
                least = child
            }
            guard least != parent else { return first.value }
            items.swapAt(parent, least)
            parent = least
        }
    }
}
