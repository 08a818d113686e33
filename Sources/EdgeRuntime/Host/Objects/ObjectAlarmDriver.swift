internal import Interfaces
internal import Observability
internal import Stores
internal import Synchronization
internal import System
internal import Wire

/// Wakes objects when their alarms are due, and tries those again that failed (spec: durable-objects, section 4). Safe on any thread.
///
/// The index is never later than the object's own row: the isolate moves it earlier before it commits and later afterwards. So an
/// alarm that is due is an event that asks the object; what the object answers says what the index is to have. While an alarm runs, its
/// entry stays where it is: whatever ends the node, it is due again.
final class ObjectAlarmDriver: Sendable {
    private struct State {
        var index: (any ObjectAlarmIndex)?
        weak var space: ObjectSpace?
        var namespaces: [String: ObjectNamespace] = [:]
        /// Alarms that were given to their objects.
        var running: Set<[UInt8]> = []
        /// Due, but nobody serves their namespace.
        var unserved: [String: Set<[UInt8]>] = [:]
        var timerAt: UnixTime?
        var timer: ClockTimer?
        /// Namespaces whose objects are being asked for their alarms.
        var rebuilding: Set<String> = []
        /// Some could not be asked: until the index is opened again, it doesn't count as whole.
        var hasRebuildFailed = false
    }
    private let clock: any NodeClock
    private let logger: Logger
    private let openIndex: @Sendable () throws -> any ObjectAlarmIndex
    private let state: Mutex<State>

    /// Alarms that run at the same time.
    private static let runningMax = 256
    /// Product limit of one run.
    static let wallMax = Duration.seconds(15 * 60)
    /// Counted tries after the first (spec: section 4).
    static let retriesMax = 6
    private static let backoffMax = 9
    /// Until an alarm is looked at again that the node itself couldn't deliver.
    private static let redeliveryDelay = Duration.seconds(2)

    init(
        clock: any NodeClock, logger: Logger, openIndex: @escaping @Sendable () throws -> any ObjectAlarmIndex
    ) throws {
        self.clock = clock
        self.logger = logger
        self.openIndex = openIndex
        state = Mutex(State(index: try openIndex()))
    }

    func start(_ space: ObjectSpace) {
        state.withLock { $0.space = space }
        look()
    }

    private var index: (any ObjectAlarmIndex)? { state.withLock { $0.index } }

    func suspend() async {
        let index = state.withLock { state in
            defer { state.index = nil }
            state.timer?.cancel()
            state.timer = nil
            state.timerAt = nil
            return state.index
        }
        await index?.close()
    }

    func resume() throws {
        guard index == nil else { return }
        let opened = try openIndex()
        state.withLock { state in
            state.index = opened
            state.running = []
            state.unserved = [:]
            state.hasRebuildFailed = false
        }
        look()
        for namespace in state.withLock({ Array($0.namespaces.keys) }) where !opened.isComplete { rebuild(namespace) }
    }

    /// Somebody has the namespace's objects from now on.
    func served(_ namespace: ObjectNamespace) {
        let (isNew, isComplete) = state.withLock { state in
            let isNew = state.namespaces[namespace.id] == nil
            state.namespaces[namespace.id] = namespace
            for object in state.unserved.removeValue(forKey: namespace.id) ?? [] { state.running.remove(object) }
            return (isNew, state.index?.isComplete ?? true)
        }
        look()
        if isNew, !isComplete { rebuild(namespace.id) }
    }

    // MARK: What objects say

    /// Answers when the index has the alarm's new time.
    func move(_ object: ObjectID, to time: UnixTime?, name: String?, in namespace: String) async throws {
        guard let index else { throw CallFailure("Durable Object storage is being replaced.", marks: .retryable) }
        if let time {
            try await index.set(
                ObjectAlarm(object: object.bytes, name: name, namespace: namespace, time: time, scheduledTime: time))
            look()
        } else {
            try await index.remove(object.bytes)
        }
    }

    /// What an object's own row says when it is opened.
    func noteTruth(_ object: ObjectID, _ time: UnixTime?, name: String?, in namespace: String) {
        guard let time, let index else { return }
        if let known = try? index.alarm(of: object.bytes), known.time <= time || (known.isRetry && known.scheduledTime == time)
        {
            return
        }
        // It ends with one transaction.
        Task { [self] in
            do { try await move(object, to: time, name: name, in: namespace) } catch {
                logger.log(.error, "the alarm of a durable object was not noted: \(error)", [("object", "\(object)")])
            }
        }
    }

    func time(of object: ObjectID) -> UnixTime? { (try? index?.alarm(of: object.bytes))?.time }

    func remove(_ object: ObjectID) async throws(ObjectSpaceError) {
        do { try await index?.remove(object.bytes) } catch { throw .system("\(error)") }
    }

    func removeAll(of namespace: String) async throws(ObjectSpaceError) {
        do { try await index?.removeAll(of: namespace) } catch { throw .system("\(error)") }
    }

    // MARK: Firing

    /// Gives those that are due to their objects, and waits for the next one.
    private func look() {
        guard let index else { return }
        let now = clock.wallTime()
        do {
            let runningCount = state.withLock { $0.running.count }
            // Those that run stand first.
            let first = try index.due(at: UnixTime(milliseconds: .max), max: runningCount + Self.runningMax + 1)
            var next: UnixTime?
            for alarm in first {
                guard alarm.time <= now else {
                    next = alarm.time
                    break
                }
                let found: (ObjectSpace, ObjectNamespace)? = state.withLock { state in
                    guard !state.running.contains(alarm.object), state.running.count < Self.runningMax else { return nil }
                    state.running.insert(alarm.object)
                    guard let space = state.space, let namespace = state.namespaces[alarm.namespace] else {
                        state.unserved[alarm.namespace, default: []].insert(alarm.object)
                        return nil
                    }
                    return (space, namespace)
                }
                if let (space, namespace) = found { fire(alarm, space, namespace) }
            }
            if let next { wait(until: next) }
        } catch {
            logger.log(.error, "the index of alarms can't be read: \(error)")
            wait(until: now + Self.redeliveryDelay)
        }
    }

    private func wait(until time: UnixTime) {
        let isEarlier = state.withLock { state in
            guard state.timerAt.map({ time < $0 }) ?? true else { return false }
            state.timer?.cancel()
            state.timerAt = time
            return true
        }
        guard isEarlier else { return }
        // Half a day at most: the wall clock may be set while this sleeps.
        let delay = min(time.milliseconds &- clock.wallTime().milliseconds, 43_200_000)
        let timer = clock.schedule(at: clock.now() + .milliseconds(max(0, delay))) { [weak self] in
            guard let self else { return }
            state.withLock { state in
                state.timerAt = nil
                state.timer = nil
            }
            look()
        }
        state.withLock { if $0.timerAt == time { $0.timer = timer } }
    }

    private func fire(_ alarm: ObjectAlarm, _ space: ObjectSpace, _ namespace: ObjectNamespace) {
        guard let id = ObjectID(alarm.object) else { return }
        let reactor = space.reactors[id.point % space.reactors.count]
        reactor.post { [self] in
            let event = ObjectAlarmEvent(alarm, id, namespace, on: reactor) { [self] outcome in
                Task { [self] in await settle(alarm, id, outcome) }
            }
            reactor.objects.submit(event)
        }
    }

    /// What became of one run.
    enum Outcome: Sendable {
        case answered(ObjectAlarmReply)
        /// It broke a limit: a counted try.
        case brokeLimit(String)
        /// It didn't come to an end, through no fault of its own.
        case lost(String)
    }

    private func settle(_ alarm: ObjectAlarm, _ id: ObjectID, _ outcome: Outcome) async {
        let next = Self.next(alarm, outcome, at: clock.wallTime(), jitter: Double.random(in: 0...0.25))
        switch outcome {
        case .answered(let reply) where reply.outcome == .abandoned || (reply.outcome == .failed && next == nil):
            log(id, "the alarm of a durable object is given up", reply.failure)
        case .answered(let reply):
            if reply.outcome == .failed { log(id, "the alarm of a durable object failed", reply.failure) }
        case .brokeLimit(let reason):
            log(id, next == nil ? "the alarm of a durable object is given up" : "the alarm of a durable object failed", reason)
        case .lost(let reason): logger.log(.warning, "an alarm is tried again: \(reason)", [("object", "\(id)")])
        }
        do {
            // What the object has set meanwhile is in the index already, and newer.
            try await index?.replace(alarm, by: next)
        } catch {
            logger.log(.error, "the index of alarms can't be written: \(error)", [("object", "\(id)")])
        }
        state.withLock { _ = $0.running.remove(alarm.object) }
        look()
    }

    private func log(_ id: ObjectID, _ text: String, _ reason: String?) {
        logger.log(.error, reason.map { "\(text): \($0)" } ?? text, [("object", "\(id)")])
    }

    /// What the index is to have after a run; `nil`: nothing.
    static func next(_ alarm: ObjectAlarm, _ outcome: Outcome, at now: UnixTime, jitter: Double) -> ObjectAlarm? {
        func anew(_ time: Int64) -> ObjectAlarm {
            let time = UnixTime(milliseconds: time)
            return ObjectAlarm(
                object: alarm.object, name: alarm.name, namespace: alarm.namespace, time: time, scheduledTime: time)
        }
        func retried(isCounted: Bool) -> ObjectAlarm? {
            var next = alarm
            next.isRetry = true
            if isCounted {
                guard alarm.retryCount < retriesMax else { return nil }
                next.retryCount += 1
            }
            let delay = 2000 * Double(1 << min(alarm.backoff, backoffMax)) * (1 + jitter)
            next.time = UnixTime(milliseconds: now.milliseconds + Int64(delay.rounded(.up)))
            next.backoff = min(alarm.backoff + 1, backoffMax)
            return next
        }
        switch outcome {
        case .answered(let reply):
            switch reply.outcome {
            case .done, .abandoned: return reply.nextTime.map(anew)
            case .notDue:
                guard let time = reply.nextTime else { return nil }
                // The row of an alarm that is being retried keeps its time.
                return time == alarm.scheduledTime.milliseconds && alarm.isRetry ? alarm : anew(time)
            case .failed:
                guard let time = reply.nextTime else { return nil }
                return time == alarm.scheduledTime.milliseconds ? retried(isCounted: true) : anew(time)
            }
        case .brokeLimit: return retried(isCounted: true)
        case .lost:
            // Counted failures behind it begin with the shortest delay again.
            var next = alarm
            next.isRetry = true
            next.backoff = 0
            next.time = now + redeliveryDelay
            return next
        }
    }

    // MARK: After the loss of the index

    /// Asks all objects of a namespace for their alarms: each that is opened says what its row has.
    func rebuild(_ id: String) {
        let found: (ObjectSpace, ObjectNamespace)? = state.withLock { state in
            guard let space = state.space, let namespace = state.namespaces[id] else { return nil }
            return state.rebuilding.insert(id).inserted ? (space, namespace) : nil
        }
        guard let (space, namespace) = found else { return }
        // It ends when all have been asked, or when the space can't be.
        Task { [self] in
            var failure: ObjectSpaceError?
            do throws(ObjectSpaceError) { try await ask(space, namespace) } catch { failure = error }
            let isWhole = state.withLock { state in
                state.rebuilding.remove(id)
                if failure != nil { state.hasRebuildFailed = true }
                return state.rebuilding.isEmpty && !state.hasRebuildFailed
            }
            if let failure {
                return logger.log(.error, "objects can't be asked for their alarms: \(failure)", [("namespace", id)])
            }
            guard isWhole, let index, !index.isComplete else { return }
            do { try await index.noteComplete() } catch { logger.log(.error, "the index of alarms can't be written: \(error)") }
        }
    }

    private func ask(_ space: ObjectSpace, _ namespace: ObjectNamespace) async throws(ObjectSpaceError) {
        var cursor: String?
        while true {
            let page = try await space.list(namespace, after: cursor, limit: 64)
            guard let last = page.last else { return }
            cursor = last.id
            for item in page {
                guard let id = ObjectID(text: item.id), id.belongs(to: namespace.key) else { continue }
                let reactor = space.reactors[id.point % space.reactors.count]
                await withCheckedContinuation { continuation in
                    reactor.post {
                        reactor.objects.submit(ObjectInquiry(id, namespace, on: reactor) { continuation.resume() })
                    }
                }
            }
        }
    }
}

/// An alarm on its way to its object. Reactor thread only.
final class ObjectAlarmEvent: ObjectEvent, Ticker {
    private let alarm: ObjectAlarm
    private let completion: @Sendable (ObjectAlarmDriver.Outcome) -> Void
    private var endsAt = Instant(nanoseconds: .max)

    init(
        _ alarm: ObjectAlarm, _ id: ObjectID, _ namespace: ObjectNamespace, on reactor: Reactor,
        completion: @escaping @Sendable (ObjectAlarmDriver.Outcome) -> Void
    ) {
        self.alarm = alarm
        self.completion = completion
        super.init(id, name: alarm.name, of: namespace, byteCount: 256, on: reactor, waitMax: ObjectLimits.waitMax)
    }

    override var isLimited: Bool { false }

    override func open(on channel: Channel, _ head: ObjectEventHead, _ server: ObjectSpace.Server) -> EventStream? {
        endsAt = reactor.now + ObjectAlarmDriver.wallMax
        reactor.addTicker(self)
        var encoder = WireEncoder()
        head.encode(into: &encoder)
        ObjectAlarmMessage(
            retryCount: UInt32(clamping: alarm.retryCount), isRetry: alarm.isRetry,
            scheduledTime: alarm.scheduledTime.milliseconds
        ).encode(into: &encoder)
        let message = encoder.bytes
        let stream = channel.open(
            .objectAlarm, flags: .end,
            make: {
                EventStream(
                    number: $0, channel: channel, worker: server.worker, release: server.release, kind: .objectAlarm,
                    owner: self)
            },
            { $0.append(message) })
        beginAccount(stream, server, timing: .ignored) { $0.append(message) }
        return stream
    }

    override func answered(_ event: EventStream, _ message: UnsafeRawBufferPointer) throws(WireError) {
        var decoder = unsafe WireDecoder(Array(message))
        over(.answered(try ObjectAlarmReply(decoding: &decoder)))
    }

    override func failed(_ failure: CallFailure) {
        // What its isolate's limits ended is the handler's doing; what the node couldn't do isn't.
        over(failure.marks.isSuperset(of: [.remote, .objectReset]) ? .brokeLimit(failure.message) : .lost(failure.message))
    }

    func tick(_ now: Instant) {
        guard now >= endsAt else { return }
        let reason = "Alarm exceeded its allowed execution time"
        stream?.failed(CallFailure(reason))
        abandon(.cancelled)
        over(.brokeLimit(reason))
    }

    private func over(_ outcome: ObjectAlarmDriver.Outcome) {
        endsAt = Instant(nanoseconds: .max)
        reactor.removeTicker(self)
        completion(outcome)
    }
}

/// Has an object opened, for what it says then. Reactor thread only.
final class ObjectInquiry: ObjectEvent {
    private let completion: () -> Void

    init(_ id: ObjectID, _ namespace: ObjectNamespace, on reactor: Reactor, completion: @escaping () -> Void) {
        self.completion = completion
        super.init(id, name: nil, of: namespace, byteCount: 64, on: reactor, waitMax: ObjectLimits.waitMax)
    }

    override var isLimited: Bool { false }

    override func open(on channel: Channel, _ head: ObjectEventHead, _ server: ObjectSpace.Server) -> EventStream? {
        completion()
        return nil
    }

    override func failed(_ failure: CallFailure) { completion() }
}

extension ObjectSpace {
    func moveAlarm(_ message: ObjectAlarmTimeMessage, from isolate: Isolate, for call: CallStream) {
        guard let id = ObjectID(message.object.id), has(id, isolate), let namespace = namespace(of: id) else {
            return call.answer(failure: CallFailure("The isolate doesn't have this Durable Object."))
        }
        let time = message.time.map { UnixTime(milliseconds: $0) }
        let name = message.object.name ?? name(of: id)
        // It ends with one transaction of the index.
        Task(executorPreference: call.channel.reactor) { [alarms, logger] in
            do {
                try await alarms.move(id, to: time, name: name, in: namespace)
                call.answer(StoreReply(message: []))
            } catch let error as CallFailure {
                call.answer(failure: error)
            } catch {
                logger.log(.error, "the index of alarms can't be written: \(error)", [("object", "\(id)")])
                call.answer(failure: CallFailure("internal error; reference = \(id.description.prefix(16))"))
            }
        }
    }
}
