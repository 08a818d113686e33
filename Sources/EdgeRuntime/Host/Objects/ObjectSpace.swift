internal import Glibc
internal import Interfaces
package import Isolates
internal import Observability
package import Stores
internal import Synchronization
internal import System
internal import Wire

/// The durable objects of one tenant: which isolate has which of them, and what waits for one. It lives as long as the tenant's
/// stores. Safe on any thread.
///
/// `ObjectRegistry` decides; this carries out what it decides, on the reactors. What reactors hold of objects is in `ObjectLines`.
package final class ObjectSpace: Sendable {
    /// `state/<environment>/<tenant>/objects`. Each namespace has a directory in it, named after its id.
    package let directory: String
    let tenant: String
    let logger: Logger
    let identity: TenantIdentity?
    let reactors: [Reactor]
    let clock: any NodeClock
    let alarms: ObjectAlarmDriver
    /// What events and WebSockets of this tenant hold in memory.
    let heldBytes = Atomic<Int>(0)
    private let state: Mutex<State>

    /// A version that has objects or is to have some.
    struct Server: Sendable {
        let worker: WorkerRuntime
        /// Where its objects' own calls go, and what counts their events.
        private(set) var release: ReleaseRuntime
        private(set) var meter: WorkerMeter
        /// By namespace.
        var classNames: [String: String] = [:]

        init(_ item: ObjectServer, _ meter: WorkerMeter) {
            worker = item.worker
            release = item.release
            self.meter = meter
        }

        /// A later release has the same version.
        mutating func belong(to release: ReleaseRuntime, _ meter: WorkerMeter) {
            self.release = release
            self.meter = meter
        }
    }

    struct State {
        var registry: ObjectRegistry
        var servers: [ObjectRegistry.ServerID: Server] = [:]
        var nextServer = 0
        var isolates: [IsolateID: Isolate] = [:]
        var timerAt: Instant?
        var isClosed = false
        /// What has left a version, by its pool, until somebody asks: a version without objects isn't among the servers any more.
        var reports: [ObjectIdentifier: ObjectMoveReport] = [:]

        func number(of pool: IsolatePool) -> ObjectRegistry.ServerID? { servers.first { $0.value.worker.pool === pool }?.key }
        func number(of worker: WorkerRuntime) -> ObjectRegistry.ServerID? { servers.first { $0.value.worker === worker }?.key }
    }

    /// - Parameters:
    ///   - identity: Whom the files belong to, where the node is root.
    ///   - openIndex: Opens the index of alarms; blocks. Called again after `suspend`.
    package convenience init(
        directory: String, tenant: String, settings: ObjectSettings = ObjectSettings(), identity: TenantIdentity?, node: Node,
        openIndex: @escaping @Sendable () throws -> any ObjectAlarmIndex
    ) throws {
        try self.init(
            directory: directory, tenant: tenant, settings: settings, identity: identity, reactors: node.reactors,
            clock: node.clock, logger: node.logger, openIndex: openIndex)
    }

    init(
        directory: String, tenant: String, settings: ObjectSettings, identity: TenantIdentity?, reactors: [Reactor],
        clock: any NodeClock, logger: Logger, openIndex: @escaping @Sendable () throws -> any ObjectAlarmIndex
    ) throws {
        self.directory = directory
        self.tenant = tenant
        self.identity = identity
        self.reactors = reactors
        self.clock = clock
        self.logger = logger.with("tenant", tenant)
        alarms = try ObjectAlarmDriver(clock: clock, logger: self.logger, openIndex: openIndex)
        state = Mutex(State(registry: ObjectRegistry(settings: settings, spread: reactors.count)))
        alarms.start(self)
    }

    package var settings: ObjectSettings {
        get { state.withLock { $0.registry.settings } }
        set {
            state.withLock { $0.registry.settings = newValue }
            let needed = ObjectLimits.descriptorsMin(objects: newValue.objectsPerIsolate)
            let available = ObjectLimits.descriptorsMax(available: DescriptorLimit.raise())
            guard available < needed else { return }
            logger.log(
                .warning,
                "\(newValue.objectsPerIsolate) durable objects in one isolate need at least \(needed) open files, and it gets "
                    + "\(available): raise the node's limit of open files, or lower durable_objects.objects_per_isolate")
        }
    }

    // MARK: Namespaces

    /// Where an isolate finds a namespace's files: `IsolateConfiguration.ObjectClass.directory`. Isolates for objects run in
    /// `directory`, and have to reach nothing above it.
    package static func directoryInIsolates(of namespace: String) -> String { "/proc/self/cwd/\(namespace)" }

    /// Makes the directory of a namespace, if it is missing; blocks. Before its first isolate is started.
    package func prepare(_ namespace: ObjectNamespace) throws(ObjectSpaceError) {
        do {
            let path = directory + "/" + namespace.id
            try FileTree.makeDirectory(directory, mode: 0o711)
            guard unsafe chmod(directory, 0o711) == 0 else { throw SystemError("chmod", errno: errno, on: directory) }
            try FileTree.makeDirectory(path, mode: 0o700)
            if let identity, unsafe lchown(path, identity.userID, identity.groupID) != 0 {
                throw SystemError("chown", errno: errno, on: path)
            }
        } catch { throw .system("\(error)") }
    }

    /// Says which versions have the namespace's objects from now on: the oldest one first, its share of ids at the lower end. None:
    /// calls fail. Objects whose version changes move there, a few at a time: see `moved`.
    package func serve(_ namespace: ObjectNamespace, by list: [ObjectServer]) {
        let list = list.map { (item: $0, meter: $0.release.meter.objects(of: $0.worker)) }
        let left = update { state, effects, now in
            var left: [ReleaseRuntime] = []
            var shares: [(server: ObjectRegistry.ServerID, share: Int)] = []
            for (item, meter) in list {
                var number = state.number(of: item.worker)
                if number == nil {
                    state.nextServer += 1
                    number = state.nextServer
                    state.servers[state.nextServer] = Server(item, meter)
                }
                guard let number else { continue }
                if let before = state.servers[number]?.release, before !== item.release {
                    left.append(before)
                    state.servers[number]?.belong(to: item.release, meter)
                }
                state.servers[number]?.classNames[namespace.id] = item.className
                shares.append((number, item.share))
            }
            state.registry.serve(namespace.id, by: shares, at: now, &effects)
            return left
        }
        // Whose last holder this may have been: it ends outside of the lock.
        withExtendedLifetime(left) {}
        if !list.isEmpty { alarms.served(namespace) }
    }

    // MARK: Changing

    /// Changes the state under the lock, and then carries out what follows from that.
    @discardableResult
    func update<Result: Sendable>(
        _ body: (inout State, inout [ObjectRegistry.Effect], Instant) -> Result
    ) -> Result {
        let now = clock.now()
        let (result, effects, timer, _) = state.withLock { state in
            var effects: [ObjectRegistry.Effect] = []
            let result = body(&state, &effects, now)
            // The last one who holds a version may be this: it ends outside of the lock.
            var unused: [Server] = []
            for (number, server) in state.servers
            where !state.registry.isServing(number) && state.registry.liveCount(of: number) == 0 {
                unused.append(server)
                state.servers[number] = nil
            }
            return (result, effects, Self.nextTimer(&state), unused)
        }
        carryOut(effects)
        if let timer { schedule(timer) }
        return result
    }

    /// As `update`, for what happens with each event.
    private func quickly<Result: Sendable>(
        _ body: (inout State, inout [ObjectRegistry.Effect], Instant) -> Result
    ) -> Result {
        let now = clock.now()
        let (result, effects, timer) = state.withLock { state in
            var effects: [ObjectRegistry.Effect] = []
            let result = body(&state, &effects, now)
            return (result, effects, Self.nextTimer(&state))
        }
        carryOut(effects)
        if let timer { schedule(timer) }
        return result
    }

    private static func nextTimer(_ state: inout State) -> Instant? {
        guard let next = state.registry.nextDeadline, state.timerAt.map({ next < $0 }) ?? true else { return nil }
        state.timerAt = next
        return next
    }

    private func schedule(_ instant: Instant) {
        _ = clock.schedule(at: instant) { [weak self] in
            guard let self else { return }
            update { state, effects, now in
                if let at = state.timerAt, at <= now { state.timerAt = nil }
                state.registry.sweep(at: now, &effects)
            }
        }
    }

    private func carryOut(_ effects: [ObjectRegistry.Effect]) {
        for effect in effects {
            switch effect {
            case .wake(let id, let mask): onReactors(mask) { $0.objects.drain(id, of: self) }
            case .refuseWaiting(let id, let mask, let refusal):
                onReactors(mask) { $0.objects.refuseWaiting(id, of: self, ObjectFailure.refusal(refusal, self)) }
            case .close(let id, let host, let incarnation, let reason, let patience):
                let reactor = reactors[Int(UInt(bitPattern: id.point)) % reactors.count]
                reactor.post { self.sendClose(id, host, incarnation, reason, patience, on: reactor) }
            case .wantIsolate(let server):
                guard let pool = state.withLock({ $0.servers[server]?.worker.pool }) else { continue }
                if pool.requestForObjects() != nil { isolatesRefused(of: pool) }
            case .kill(let host, let id):
                state.withLock { $0.isolates[host] }?.kill(.unresponsive("it didn't close the durable object \(id)"))
            case .emptied(let host):
                guard let isolate = state.withLock({ $0.isolates[host] }) else { continue }
                isolate.pool.finishRetiring(isolate)
            case .disconnect(let id):
                closeSockets(of: id, SocketClose(code: 1012, reason: "the code was updated: connect again"))
            }
        }
    }

    private func onReactors(_ mask: UInt64, _ body: @escaping @Sendable (Reactor) -> Void) {
        for reactor in reactors where mask & 1 << UInt64(reactor.index) != 0 { reactor.post { body(reactor) } }
    }

    private func sendClose(
        _ id: ObjectID, _ host: IsolateID, _ incarnation: UInt64, _ reason: ObjectCloseReason, _ patience: Duration,
        on reactor: Reactor
    ) {
        if reason == .codeUpdated || reason == .requested {
            // Sockets that can't hibernate are streams, which end with their object.
            for other in reactors {
                other.post { other.objects.closeStandardSockets(id, of: self) }
            }
        }
        // Without a channel the isolate is about to end, and its end says more.
        guard let channel = reactor.dispatcher.channel(of: host), channel.isConnected else { return }
        var encoder = WireEncoder()
        ObjectCloseMessage(object: ObjectReference(id: id.bytes), reason: reason, patience: patience.wholeMilliseconds)
            .encode(into: &encoder)
        channel.openControl(.objectClose, encoder.bytes) { [self] result in
            guard case .success(let bytes) = result else { return }  // The deadline, or the isolate's end, says more.
            var decoder = WireDecoder(bytes)
            do throws(WireError) {
                let reply = try ObjectCloseReply(decoding: &decoder)
                whenHeard(id, host) { [self] in noteClosed(id, incarnation, reason, patience, isBusy: reply.isBusy) }
            } catch { channel.broken(by: "\(error)") }
        }
    }

    /// Calls `then` when all that the object has said to its WebSockets was heard: each reactor's own channel may have some of it
    /// that was written before the answer to `objectClose` and isn't read yet. Behind that, nothing that its isolate says of it
    /// is believed any more.
    private func whenHeard(_ id: ObjectID, _ host: IsolateID, _ then: @escaping @Sendable () -> Void) {
        let mask = state.withLock { state in
            state.registry[id]?.sockets.keys.reduce(into: UInt64(0)) { $0 |= 1 << UInt64($1.reactor) } ?? 0
        }
        let others = reactors.filter { mask & 1 << UInt64($0.index) != 0 && !$0.isCurrent }
        guard !others.isEmpty else { return then() }
        let countdown = Countdown(others.count)
        for reactor in others {
            reactor.post {
                reactor.dispatcher.channel(of: host)?.readAll()
                if countdown.isLast() { then() }
            }
        }
    }

    private func noteClosed(
        _ id: ObjectID, _ incarnation: UInt64, _ reason: ObjectCloseReason, _ patience: Duration, isBusy: Bool
    ) {
        update { state, effects, now in
            if reason == .codeUpdated, !isBusy, let server = state.registry[id]?.server,
                let pool = state.servers[server]?.worker.pool
            {
                let left = ObjectIdentifier(pool)
                state.reports[left, default: ObjectMoveReport()].objects += 1
                state.reports[left, default: ObjectMoveReport()].sockets += state.registry[id]?.sockets.count ?? 0
                if patience == .zero, state.registry[id]?.inFlight ?? 0 > 0 {
                    state.reports[left, default: ObjectMoveReport()].cut += 1
                }
            }
            state.registry.closed(id, incarnation, isBusy: isBusy, at: now, &effects)
        }
    }

    // MARK: Events (on reactors)

    enum Admission {
        case deliver(ObjectRegistry.Delivery, Server)
        case wait
        case refuse(CallFailure)
    }

    private func admission(_ found: (ObjectRegistry.Admission, Server?)) -> Admission {
        switch found.0 {
        case .deliver(let delivery):
            guard let server = found.1 else { preconditionFailure("a version stays as long as it has objects") }
            return .deliver(delivery, server)
        case .wait: return .wait
        case .refuse(let refusal): return .refuse(ObjectFailure.refusal(refusal, self))
        }
    }

    func enter(_ event: ObjectEvent, from reactor: Reactor, isBehindOthers: Bool) -> Admission {
        admission(
            quickly { state, effects, now in
                let found = state.registry.enter(
                    event.id, in: event.namespace.id, from: reactor.index, byteCount: event.byteCount,
                    isLimited: event.isLimited, isBehindOthers: isBehindOthers, at: now, &effects)
                if case .deliver(let delivery) = found { return (found, state.servers[delivery.server]) }
                return (found, nil)
            })
    }

    func readmit(_ event: ObjectEvent, from reactor: Reactor) -> Admission {
        admission(
            quickly { state, effects, now in
                let found = state.registry.readmit(
                    event.id, from: reactor.index, byteCount: event.byteCount, at: now, &effects)
                if case .deliver(let delivery) = found { return (found, state.servers[delivery.server]) }
                return (found, nil)
            })
    }

    func undeliver(_ event: ObjectEvent, _ delivery: ObjectRegistry.Delivery, from reactor: Reactor, isLost: Bool) {
        quickly { state, effects, now in
            state.registry.undeliver(
                event.id, delivery, from: reactor.index, byteCount: event.byteCount, isLost: isLost, at: now, &effects)
        }
    }

    func gaveUp(_ event: ObjectEvent) { state.withLock { $0.registry.gaveUp(event.id, byteCount: event.byteCount) } }

    func lineIsEmpty(_ id: ObjectID, of reactor: Reactor) {
        quickly { state, effects, _ in state.registry.lineIsEmpty(id, of: reactor.index, &effects) }
    }

    func ended(_ id: ObjectID, _ incarnation: UInt64) {
        quickly { state, effects, now in state.registry.ended(id, incarnation, at: now, &effects) }
    }

    /// Whether the id's proof has been looked at: it is asked for with each call.
    func knows(_ id: ObjectID, in namespace: ObjectNamespace) -> Bool {
        state.withLock { $0.registry[id]?.namespace == namespace.id }
    }

    // MARK: What isolates say

    func opened(_ id: ObjectID, _ incarnation: UInt64, _ reply: ObjectOpenReply, in namespace: ObjectNamespace) {
        // First: who waits for the object to be open takes it for known what its row has.
        alarms.noteTruth(id, reply.alarmTime.map { UnixTime(milliseconds: $0) }, name: reply.name, in: namespace.id)
        update { state, effects, now in state.registry.opened(id, incarnation, name: reply.name, at: now, &effects) }
    }

    /// The constructor threw: all who wait hear of that.
    func openFailed(_ id: ObjectID, _ incarnation: UInt64, _ failure: CallFailure) {
        fail(id, upTo: incarnation, failure, alsoWaiting: true)
        update { state, effects, now in state.registry.openFailed(id, incarnation, at: now, &effects) }
    }

    func openBroke(_ id: ObjectID, _ incarnation: UInt64, _ failure: CallFailure) {
        fail(id, upTo: incarnation, failure, alsoWaiting: true)
        update { state, effects, now in state.registry.openBroke(id, incarnation, at: now, &effects) }
    }

    private func aborted(_ message: ObjectAbortMessage, by isolate: Isolate) throws(WireError) {
        guard let id = ObjectID(message.object.id) else { throw .invalidValue("object id", offset: 0) }
        let failure = message.failure.redacted(by: isolate.pool.redactor).shortened
        let incarnation: UInt64? = update { state, effects, now in
            state.registry.aborted(id, by: isolate.id, at: now, &effects)
        }
        guard let incarnation else { return }
        fail(id, upTo: incarnation, failure.marked([.objectReset, .stubBroken]), alsoWaiting: false)
    }

    private func fail(_ id: ObjectID, upTo incarnation: UInt64, _ failure: CallFailure, alsoWaiting: Bool) {
        for reactor in reactors {
            // Before anything else that the isolate says of these events on the same channel.
            if reactor.isCurrent {
                reactor.objects.fail(id, of: self, upTo: incarnation, failure, alsoWaiting: alsoWaiting)
            } else {
                reactor.post { reactor.objects.fail(id, of: self, upTo: incarnation, failure, alsoWaiting: alsoWaiting) }
            }
        }
    }

    /// Takes what an isolate says one way about an object or a WebSocket of one.
    func received(_ kind: CallKind, _ message: [UInt8], from isolate: Isolate, on reactor: Reactor) throws(WireError) {
        var decoder = WireDecoder(message)
        switch kind {
        case .objectAbort: try aborted(ObjectAbortMessage(decoding: &decoder), by: isolate)
        case .socketSend:
            let send = try SocketSendMessage(decoding: &decoder)
            guard send.sockets.count <= SocketSendMessage.socketCountMax else {
                throw .invalidValue("number of WebSockets", offset: 0)
            }
            reactor.objects.send(send, from: isolate, of: self)
        case .socketClose: reactor.objects.close(try SocketCloseMessage(decoding: &decoder), from: isolate, of: self)
        case .socketAttachment:
            let change = try SocketAttachmentMessage(decoding: &decoder)
            guard change.attachment?.count ?? 0 <= ObjectLimits.attachmentBytesMax else {
                throw .invalidValue("length of an attachment", offset: 0)
            }
            guard let id = reactor.objects.owner(of: change.socket, of: self), has(id, isolate) else { return }
            state.withLock { $0.registry.changeSocket(change.socket, of: id) { $0.attachment = change.attachment } }
        case .socketAutoResponse:
            let change = try SocketAutoResponseMessage(decoding: &decoder)
            let pair = change.autoResponse
            guard max(pair?.request.utf8.count ?? 0, pair?.response.utf8.count ?? 0) <= ObjectLimits.autoResponseBytesMax,
                let id = ObjectID(change.object.id)
            else { throw .invalidValue("automatic response", offset: 0) }
            guard has(id, isolate) else { return }
            state.withLock { $0.registry.setAutoResponse(pair, eventTimeout: change.eventTimeout, of: id) }
        default: throw .invalidValue("call kind", offset: 0)
        }
    }

    /// Whether `isolate` has the object now. Nothing that an isolate says of others is believed.
    func has(_ id: ObjectID, _ isolate: Isolate) -> Bool { state.withLock { $0.registry[id]?.host == isolate.id } }

    func namespace(of id: ObjectID) -> String? { state.withLock { $0.registry[id]?.namespace } }
    func name(of id: ObjectID) -> String? { state.withLock { $0.registry[id]?.name } }

    // MARK: WebSockets

    func withRegistry<Result: Sendable>(_ look: (borrowing ObjectRegistry) -> Result) -> Result {
        state.withLock { look($0.registry) }
    }

    func inherit(_ object: ParkedObject) {
        let now = clock.now()
        state.withLock {
            $0.registry.inherit(
                object.id, in: object.namespace.id, name: object.name, autoResponse: object.autoResponse,
                eventTimeout: object.eventTimeout, at: now)
        }
    }

    func addSocket(_ socket: ObjectSocketState, to id: ObjectID, in namespace: ObjectNamespace) -> Bool {
        let now = clock.now()
        return state.withLock { $0.registry.addSocket(socket, to: id, in: namespace.id, at: now) }
    }

    func removeSocket(_ socket: SocketID, of id: ObjectID) { state.withLock { $0.registry.removeSocket(socket, of: id) } }

    /// What the object answers to `text` without being woken; notes the time if it does.
    func autoResponse(to text: [UInt8], on socket: SocketID, of id: ObjectID) -> String? {
        let time = clock.wallTime().milliseconds
        return state.withLock { state in
            guard let pair = state.registry[id]?.autoResponse, text.elementsEqual(pair.request.utf8) else { return nil }
            state.registry.changeSocket(socket, of: id) { $0.autoResponseTime = time }
            return pair.response
        }
    }

    func eventTimeout(of id: ObjectID) -> Duration? {
        state.withLock { $0.registry[id]?.eventTimeout }.flatMap { $0 > 0 ? .milliseconds($0) : nil }
    }

    /// What `objectOpen` says of the object's WebSockets.
    func socketStates(of id: ObjectID) -> (sockets: [ObjectSocketState], autoResponse: SocketAutoResponse?, timeout: Int64?) {
        state.withLock { ($0.registry.sockets(of: id), $0.registry[id]?.autoResponse, $0.registry[id]?.eventTimeout) }
    }

    private func closeSockets(of id: ObjectID, _ close: SocketClose) {
        let sockets = state.withLock { $0.registry.sockets(of: id).map(\.id) }
        for reactor in reactors {
            let own = sockets.filter { $0.reactor == reactor.index }
            guard !own.isEmpty else { continue }
            reactor.post { for socket in own { reactor.objects.end(socket, of: self, close) } }
        }
    }
}

// MARK: - Isolates

extension ObjectSpace: ObjectHosting {
    func isolateIsReady(_ isolate: Isolate) {
        update { state, effects, _ in
            state.isolates[isolate.id] = isolate
            guard let server = state.number(of: isolate.pool) else { return }
            state.registry.hostIsReady(isolate.id, of: server, &effects)
        }
    }

    func isolateMustEmpty(_ isolate: Isolate) {
        update { state, effects, now in
            state.isolates[isolate.id] = isolate
            state.registry.hostRetires(isolate.id, at: now, &effects)
        }
    }

    func isolateExited(_ isolate: Isolate) {
        update { state, effects, now in
            state.isolates[isolate.id] = nil
            state.registry.hostExited(isolate.id, at: now, &effects)
        }
    }

    func isolatesRefused(of pool: IsolatePool) {
        update { state, effects, _ in
            guard let server = state.number(of: pool) else { return }
            state.registry.noIsolate(for: server, &effects)
        }
    }

    func objectCount(of isolate: Isolate) -> Int { state.withLock { $0.registry.hosts[isolate.id]?.objects.count ?? 0 } }
}

// MARK: - Looking and acting from outside

extension ObjectSpace {
    /// Waits until no object is with `worker` any more; earlier when the task is cancelled.
    package func moved(from worker: WorkerRuntime) async -> ObjectMoveReport {
        let started = clock.now()
        let number = state.withLock { $0.number(of: worker) }
        while !Task.isCancelled, let number, state.withLock({ $0.registry.liveCount(of: number) > 0 }) {
            do { try await clock.sleep(for: .milliseconds(50)) } catch { break }
        }
        var report = state.withLock { $0.reports.removeValue(forKey: ObjectIdentifier(worker.pool)) } ?? ObjectMoveReport()
        report.longest = clock.now() - started
        return report
    }

    /// What the objects of one worker are at; `nil`: of all.
    package func counts(of worker: WorkerRuntime? = nil) -> ObjectCounts {
        state.withLock { state in
            var counts = ObjectCounts()
            let number = worker.flatMap { state.number(of: $0) }
            guard worker == nil || number != nil else { return counts }
            for entry in state.registry.entries.values where number == nil || entry.server == number {
                if entry.hasOwner { counts.live += 1 }
                counts.events += entry.inFlight
                counts.waiting += entry.waiting
                counts.sockets += entry.sockets.count
            }
            counts.moving = state.registry.movingCount
            return counts
        }
    }

    /// The ids of objects that have files, in order.
    package func list(
        _ namespace: ObjectNamespace, after cursor: String?, limit: Int
    ) async throws(ObjectSpaceError) -> [(id: String, hasStoredData: Bool)] {
        let path = directory + "/" + namespace.id
        let reactor = reactors[0]
        return await withCheckedContinuation { continuation in
            reactor.files.submit {
                continuation.resume(returning: ObjectFiles.list(in: path, after: cursor?.lowercased(), limit: limit))
            }
        }
    }

    package func inspect(_ namespace: ObjectNamespace, _ id: String) async throws(ObjectSpaceError) -> ObjectStatus {
        let object = try check(id, in: namespace)
        let path = directory + "/" + namespace.id
        let byteCount = await withCheckedContinuation { continuation in
            reactors[0].files.submit { continuation.resume(returning: ObjectFiles.byteCount(of: object, in: path)) }
        }
        let alarm = alarms.time(of: object)
        return state.withLock { state in
            let entry = state.registry[object]
            let isolate = entry.flatMap { $0.hasOwner ? $0.host : nil }.flatMap { state.isolates[$0] }
            let phase: ObjectStatus.Phase =
                switch entry?.phase ?? .absent {
                case .absent: .absent
                case .opening: .opening
                case .open: .open
                case .draining, .closing, .lost: .closing
                }
            return ObjectStatus(
                id: object.description, name: entry?.name, phase: phase, processID: isolate?.processID,
                version: isolate?.pool.configuration.version, eventCount: entry?.inFlight ?? 0,
                waitingCount: entry?.waiting ?? 0, socketCount: entry?.sockets.count ?? 0, alarm: alarm,
                storedByteCount: byteCount)
        }
    }

    func check(_ id: String, in namespace: ObjectNamespace) throws(ObjectSpaceError) -> ObjectID {
        guard let object = ObjectID(text: id), object.belongs(to: namespace.key) else { throw .badID(id) }
        return object
    }

    /// Has an object leave memory: what it is doing may finish.
    ///
    /// - Returns: false when it wasn't in memory.
    package func evict(_ namespace: ObjectNamespace, _ id: String) async throws(ObjectSpaceError) -> Bool {
        let object = try check(id, in: namespace)
        let before = state.withLock { $0.registry[object]?.incarnation }
        let was = update { state, effects, now in state.registry.wantClosed(object, .requested, at: now, &effects) }
        guard was else { return false }
        try await wait(for: object) { $0.hasOwner && $0.incarnation == before }
        return true
    }

    /// Waits as long as `holds`, at most as long as an object may take to close.
    func wait(for object: ObjectID, while holds: @Sendable (ObjectRegistry.Entry) -> Bool) async throws(ObjectSpaceError) {
        let deadline = clock.now() + settings.drain + ObjectLimits.closeGrace + .seconds(5)
        while state.withLock({ $0.registry[object].map(holds) ?? false }) {
            guard clock.now() < deadline else { throw .stillInUse(object.description) }
            do { try await clock.sleep(for: .milliseconds(10)) } catch { throw .stillInUse(object.description) }
        }
    }

    /// Removes all that an object has: its files, its alarm, its WebSockets.
    package func delete(_ namespace: ObjectNamespace, _ id: String) async throws(ObjectSpaceError) {
        let object = try check(id, in: namespace)
        update { state, effects, now in state.registry.lock(object, in: namespace.id, at: now, &effects) }
        defer { update { state, effects, now in state.registry.unlock(object, at: now, &effects) } }
        try await wait(for: object) { $0.hasOwner }
        closeSockets(of: object, SocketClose(code: 1001, reason: "the object was deleted"))
        let path = directory + "/" + namespace.id
        try await onDisk { () throws(SystemError) in try ObjectFiles.remove(object, in: path) }
        try await alarms.remove(object)
    }

    // MARK: Taking away and giving back

    /// Has all objects leave memory, and closes the index: their files can be replaced. Events wait, WebSockets stay, alarms rest until
    /// `resume`.
    package func suspend() async throws(ObjectSpaceError) {
        update { state, effects, now in state.registry.suspend(at: now, &effects) }
        let deadline = clock.now() + settings.drain + ObjectLimits.closeGrace + .seconds(5)
        while state.withLock({ $0.registry.ownedCount }) > 0 {
            guard clock.now() < deadline else {
                let count = state.withLock { $0.registry.ownedCount }
                update { state, effects, _ in state.registry.resume(&effects) }
                throw .notClosed(count)
            }
            do { try await clock.sleep(for: .milliseconds(10)) } catch {
                update { state, effects, _ in state.registry.resume(&effects) }
                throw .notClosed(state.withLock { $0.registry.ownedCount })
            }
        }
        await alarms.suspend()
    }

    package func resume() throws(ObjectSpaceError) {
        do { try alarms.resume() } catch { throw .system("\(error)") }
        update { state, effects, _ in state.registry.resume(&effects) }
    }

    /// Has the namespace's objects leave memory for good, closes their WebSockets, forgets their alarms, and moves their files to
    /// `trash/`.
    package func remove(_ namespace: ObjectNamespace) async throws(ObjectSpaceError) {
        serve(namespace, by: [])
        let deadline = clock.now() + settings.drain + ObjectLimits.closeGrace + .seconds(5)
        while true {
            let left = state.withLock { $0.registry.entries.filter { $0.value.namespace == namespace.id } }
            for (id, entry) in left where !entry.sockets.isEmpty {
                closeSockets(of: id, SocketClose(code: 1001, reason: "the class of the object was deleted"))
            }
            let owned = left.values.count { $0.hasOwner }
            if owned == 0 { break }
            guard clock.now() < deadline else { throw .notClosed(owned) }
            do { try await clock.sleep(for: .milliseconds(10)) } catch { throw .notClosed(owned) }
        }
        try await alarms.removeAll(of: namespace.id)
        try await onDisk { [directory] () throws(SystemError) in
            let source = directory + "/" + namespace.id
            guard FileTree.exists(source) else { return }
            try FileTree.makeDirectory(directory + "/trash", mode: 0o700)
            try FileTree.removeTree(directory + "/trash/" + namespace.id)
            try FileTree.rename(source, to: directory + "/trash/" + namespace.id)
        }
    }

    /// Takes `remove` back: files are in their place again, and alarms are asked of the objects.
    package func restore(_ namespace: ObjectNamespace) async throws(ObjectSpaceError) {
        try await onDisk { [directory] () throws(SystemError) in
            let source = directory + "/trash/" + namespace.id
            guard FileTree.exists(source) else { return }
            let target = directory + "/" + namespace.id
            // A new one that nobody has used yet may be in its place.
            if FileTree.exists(target) { try FileTree.removeTree(target) }
            try FileTree.rename(source, to: target)
        }
        alarms.rebuild(namespace.id)
    }

    /// Removes for good what `remove` has put into `trash/`.
    package func purge(_ namespace: String) async throws(ObjectSpaceError) {
        try await onDisk { [directory] () throws(SystemError) in
            try FileTree.removeTree(directory + "/trash/" + namespace)
        }
    }

    func onDisk(_ body: @escaping @Sendable () throws(SystemError) -> Void) async throws(ObjectSpaceError) {
        let failure: SystemError? = await withCheckedContinuation { continuation in
            reactors[0].files.submit {
                do throws(SystemError) {
                    try body()
                    continuation.resume(returning: nil)
                } catch { continuation.resume(returning: error) }
            }
        }
        if let failure { throw .system("\(failure)") }
    }

    /// Ends everything: what isolates still have is lost with them, but nothing that was acknowledged.
    package func close() async {
        update { state, effects, now in
            state.registry.suspend(at: now, &effects)
            state.isClosed = true
        }
        let deadline = clock.now() + .seconds(5)
        while state.withLock({ $0.registry.ownedCount }) > 0, clock.now() < deadline {
            do { try await clock.sleep(for: .milliseconds(10)) } catch { break }
        }
        let servers = state.withLock { state in
            defer { state.servers = [:] }
            return state.servers
        }
        _ = servers
        await alarms.suspend()
    }
}
