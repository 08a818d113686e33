internal import Interfaces
internal import Isolates
internal import Stores
internal import System
internal import Wire

/// Who wants to know what became of an event. Reactor thread only.
protocol EventOwner: AnyObject {
    /// The head of the answer: the message behind the status byte, valid during the call only.
    func event(_ event: EventStream, answered message: UnsafeRawBufferPointer) throws(WireError)
    /// The handler threw.
    ///
    /// - Parameter passThrough: whether it asked before that the origin answers then.
    func event(_ event: EventStream, threw failure: CallFailure, passThrough: Bool)
    /// There will be no answer, or no more of it.
    func event(_ event: EventStream, wasReset reason: StreamReset)
}

/// One event on its way through an isolate: a request, a cron tick, a batch of messages. Reactor thread only.
final class EventStream: ChannelStream {
    let worker: WorkerRuntime
    /// Service bindings resolve in the release that accepted the request, whatever is active by now.
    let release: ReleaseRuntime
    let kind: CallKind
    /// Of the request that all this answers; where there is none, the worker's own.
    let zone: String
    let started: Instant
    /// Held until the stream ends or its owner abandons it.
    private var owner: (any EventOwner)?
    private(set) var hasAnswered = false
    /// Calls that count as subrequests so far.
    private(set) var subrequestCount = 0
    /// Worker invocations that stem from the same incoming request, shared by all of them.
    private(set) lazy var invocations = Invocations()
    private var isCounted = true
    /// For the watchdog: open as long as the event or its background work.
    private var ledgerEntry: EventLedger.Entry?
    private var isLingering = false
    /// Its client, if there is one, waits no more.
    var hasBackgroundWork: Bool { isLingering && !isOpen }
    /// The answer was a WebSocket: the stream carries its messages from then on, both ways.
    private(set) var isSocket = false
    private var isSocketCounted = false
    /// `nil`: nobody watches the event.
    var trace: EventTrace?
    /// What its release counts of it; `nil` for clients' requests, whose connection does that, and when it is done.
    var account: EventAccount?
    /// Its place in a trace: as the client has it, or begun here.
    lazy var span = TraceSpan(&channel.reactor.random)

    final class Invocations {
        /// Product limit: 32 invocations per incoming request.
        static let max = 32
        var count = 1
        /// One of them was refused by a store that takes no writes while a release is deployed.
        var metHeldStore = false
        /// How often the request has left this edge and come back: see `EdgeHeaders.onTheWayOut`.
        var hops = 0
    }

    init(
        number: UInt32, channel: Channel, worker: WorkerRuntime, release: ReleaseRuntime, kind: CallKind,
        owner: any EventOwner, zone: String? = nil, invocations: Invocations? = nil, started: Instant? = nil,
        holdsBody: Bool = false, allowance: EventLedger.Allowance = .standard
    ) {
        self.worker = worker
        self.release = release
        self.kind = kind
        self.zone = zone ?? worker.cache?.homeZone ?? ""
        self.owner = owner
        self.started = started ?? channel.reactor.now
        super.init(
            number: number, channel: channel, sendCredit: holdsBody ? 0 : WireLimits.initialCredit,
            receiveCredit: WireLimits.initialCredit, hasPeerOpened: false)
        if let invocations { self.invocations = invocations }
        channel.isolate.eventStarted()
        ledgerEntry = channel.openLedger(number, allowance)
    }

    /// When all background work of the event is to end; `nil` while it is being answered.
    var backgroundDeadline: Instant?

    /// Background work keeps the event in the watchdog's books after its answer.
    func linger() {
        isLingering = true
        channel.isolate.backgroundWorkStarted()
        channel.linger(self)
    }

    func stopLingering() {
        isLingering = false
        channel.isolate.backgroundWorkEnded()
        if abandonedAt == nil { channel.stopLingering(self) }
        if !isOpen { closeLedger() }
    }

    private func closeLedger() {
        guard let entry = ledgerEntry, !isLingering, abandonedAt == nil else { return }
        ledgerEntry = nil
        channel.closeLedger(entry)
        trace?.end()
    }

    /// Connections of the event that wait for their response's head.
    private var busyConnections = 0
    private var waitingForConnection: [() -> Void] = []
    /// Product limit: the seventh queues, without an error.
    private static let connectionsMax = 6

    /// Runs `body` when the event has a connection to the outside free.
    func whenConnectionIsFree(_ body: @escaping () -> Void) {
        guard busyConnections < Self.connectionsMax else { return waitingForConnection.append(body) }
        busyConnections += 1
        body()
    }

    func connectionBecameFree() {
        guard waitingForConnection.isEmpty else { return waitingForConnection.removeFirst()() }
        busyConnections -= 1
    }

    private var storeCallCount = 0

    /// Counts one more call of a store; false when the limit is reached.
    func countStoreCall(_ call: CallHead) -> Bool {
        storeCallCount += 1
        let most = CallKind.storeCallsMax(subrequestsMax: worker.limits.subrequestsMax)
        worker.counted(storeCallCount, of: .storeCalls, most, (call.binding, call.kind))
        return storeCallCount <= most
    }

    private var oneWayCallCount = 0

    /// Counts one more call without an answer; false when the limit is reached.
    func countOneWayCall(_ call: CallHead) -> Bool {
        oneWayCallCount += 1
        worker.counted(oneWayCallCount, of: .dataPoints, AnalyticsLimits.pointsPerEventMax, (call.binding, call.kind))
        return oneWayCallCount <= AnalyticsLimits.pointsPerEventMax
    }

    /// D1 queries (spec: d1, section 8): a worker of the free table has 50, and so has one that is to make no subrequests.
    var queries: QueryAllowance {
        let allowance = queriesSoFar ?? QueryAllowance(max(50, worker.limits.subrequestsMax))
        queriesSoFar = allowance
        return allowance
    }
    /// `nil` until the first one.
    private var queriesSoFar: QueryAllowance?

    /// Counts one more subrequest; false when the limit is reached.
    func countSubrequest(_ call: CallHead) -> Bool {
        subrequestCount += 1
        worker.counted(subrequestCount, of: .subrequests, worker.limits.subrequestsMax, (call.binding, call.kind))
        return subrequestCount <= worker.limits.subrequestsMax
    }

    /// Names the event as the end of its isolate does, and the limit that it broke.
    func logFields(_ reason: StreamReset) -> [(name: String, value: String)] {
        let fields = [
            (name: "code", value: "\(reason.code)"), (name: "event", value: "channel \(channel.index), stream \(number)"),
        ]
        switch reason.code {
        case .exceededCPU:
            return fields + [("limit", "\(worker.limits.cpu.wholeNanoseconds / 1_000_000) ms of CPU time")]
        case .exceededMemory: return fields + [("limit", "\(worker.limits.memoryByteCount) bytes of memory")]
        case .cancelled, .exception, .hung, .overloaded, .internal: return fields
        }
    }

    private var logByteCount = 0

    /// Counts what the event logs.
    ///
    /// - Returns: the bytes in all.
    func countLog(_ byteCount: Int) -> Int {
        let isNear = WorkerLimit.isNear(Int64(logByteCount), of: Int64(LogMessage.bytesPerEventMax))
        logByteCount += byteCount
        // The call that crosses the mark, and no other: an event may log a thousand times after it.
        if !isNear, WorkerLimit.isNear(Int64(logByteCount), of: Int64(LogMessage.bytesPerEventMax)) {
            worker.near(
                .log, used: Int64(logByteCount), allowed: Int64(LogMessage.bytesPerEventMax), call: (CallHead.noBinding, .log))
        }
        return logByteCount
    }

    /// Set while the handler of an event that nobody waits for any more is still to end.
    private var abandonedAt: Instant?
    private static let handlerEndMax = Duration.seconds(30)

    /// The owner has lost interest: its client went away. The handler is told, and the event keeps its place until it has
    /// ended: it runs on, may start background work, and uses CPU time.
    func abandon(_ reason: StreamReset) {
        owner = nil
        guard isOpen else { return }
        if !receivedEnd {
            trace?.abandoned()
            closeAccount(.abandoned)
            abandonedAt = channel.reactor.now
            channel.linger(self)
        }
        reset(reason)
    }

    /// The isolate says that the handler of an abandoned event has ended.
    func handlerEnded() {
        guard abandonedAt != nil else { return }
        abandonedAt = nil
        if !isLingering { channel.stopLingering(self) }
        leave()
    }

    /// An isolate that never says so doesn't hold the place for ever.
    func checkHandler(_ now: Instant) {
        if let abandonedAt, now - abandonedAt >= Self.handlerEndMax { handlerEnded() }
    }

    override func receivedReply(_ payload: UnsafeRawBufferPointer) throws(WireError) {
        guard !hasAnswered, let status = unsafe payload.first else {
            throw .unexpectedFrame(.open, stream: number)
        }
        hasAnswered = true
        let message = unsafe UnsafeRawBufferPointer(rebasing: payload.dropFirst())
        switch status {
        case 0:
            unsafe trace?.answered(message)
            if account != nil { try unsafe noteAnswer(message) }
            if kind == .fetch || kind == .objectFetch, try ReplyHead.isSocket(unsafe message.bytes) { becomeSocket() }
            guard let owner else { return reset(.cancelled) }
            try unsafe owner.event(self, answered: message)
        case 1:
            var decoder = unsafe WireDecoder(Array(message))
            let failure = try CallFailure(decoding: &decoder).redacted(by: channel.isolate.pool.redactor).shortened
            failed(failure)
            let passThrough = decoder.remainingByteCount > 0 ? try decoder.takeBool() : false
            let owner = owner
            self.owner = nil
            owner?.event(self, threw: failure, passThrough: passThrough)
        default: throw .invalidValue("reply status", offset: 0)
        }
    }

    /// A handler that has answered reads no more of its request.
    override func receivedEndWhileSending() { if !isSocket { reset(.cancelled) } }

    override func wasReset(_ reason: StreamReset) {
        trace?.reset(reason)
        if account != nil { closeAccount(EventAccount.Result(reason)) }
        let owner = owner
        self.owner = nil
        leave()
        // What it left half-done stays so: other events of the isolate may wait for it.
        if reason.code == .exceededCPU { channel.isolate.pool.recycle(channel.isolate, because: "an event was cut off in it") }
        owner?.event(self, wasReset: reason)
    }

    override func closed() {
        owner = nil
        leave()
    }

    // MARK: What is counted

    /// The handler threw, or its object was reset under it.
    func failed(_ failure: CallFailure) {
        trace?.failed(failure)
        closeAccount(.failed(.exception, failure))
    }

    private func noteAnswer(_ message: UnsafeRawBufferPointer) throws(WireError) {
        switch kind {
        case .fetch, .objectFetch: closeAccount(.answered(status: try ReplyHead(reading: unsafe message.bytes).status))
        case .objectAlarm:
            closeAccount(unsafe ObjectAlarmReply.failure(message).map { .failed(.exception, $0) } ?? .answered(status: nil))
        default: closeAccount(.answered(status: nil))
        }
    }

    private func closeAccount(_ result: EventAccount.Result) {
        guard let account else { return }
        self.account = nil
        account.close(self, result)
    }

    // MARK: WebSockets

    /// From now on it takes no event's place: thousands of sockets may be open that say nothing. They keep their isolate.
    private func becomeSocket() {
        isSocket = true
        isSocketCounted = true
        channel.isolate.socketOpened()
        freePlace()
    }

    /// Gives what the socket does from now on to somebody else.
    func hand(to owner: any EventOwner) { self.owner = owner }

    /// The isolate goes: the client is to come again. One that belongs to another worker's event ends with that.
    func restartSocket() {
        (owner as? WorkerSocket)?.say(SocketClose(code: 1012, reason: "the worker is being replaced: connect again"))
    }

    func closeSocket(_ close: SocketClose) {
        if let socket = owner as? WorkerSocket { socket.say(close) } else { reset(StreamReset(.cancelled, close.reason)) }
    }

    /// Each message may use what a request may: CPU time, calls, log lines.
    func renewAllowance() {
        subrequestCount = 0
        storeCallCount = 0
        oneWayCallCount = 0
        logByteCount = 0
        queriesSoFar = nil
        guard let entry = ledgerEntry else { return }
        channel.closeLedger(entry)
        ledgerEntry = channel.openLedger(number, .standard)
    }

    /// What carries the WebSocket of the answer with `head`: the event's own stream, or the one that another worker, or a server,
    /// has answered the isolate with, which passes it on.
    func socketStream(_ head: ReplyHead) throws(WireError) -> any SocketFarEnd {
        guard head.spliceStream != 0 else { return self }
        guard let call = channel.call(head.spliceStream), let stream = call.takeSocket() else {
            throw .invalidValue("number of the WebSocket to pass on", offset: 11)
        }
        return stream
    }

    /// The hibernating WebSocket of the answer with `head`, if it is one.
    func hibernatingSocket(_ head: ReplyHead) -> ObjectSocket? {
        guard head.spliceStream != 0 else { return nil }
        return channel.call(head.spliceStream)?.takeHibernatingSocket()
    }

    /// The isolate has a place free again.
    private func leave() {
        guard abandonedAt == nil else { return }
        if isSocketCounted {
            isSocketCounted = false
            closeLedger()
            channel.isolate.socketClosed()
        }
        guard isCounted else { return }
        closeLedger()
        freePlace()
    }

    /// Called once, when its handler has ended or its answer has become a WebSocket.
    var whenOver: (() -> Void)?

    private func freePlace() {
        isCounted = false
        if let whenOver {
            self.whenOver = nil
            whenOver()
        }
        channel.isolate.eventEnded()
        channel.latencies.record(from: started, to: channel.reactor.now)
        channel.reactor.dispatcher.released(channel, by: self)
    }
}
