internal import Interfaces
internal import System
internal import Wire

/// Gathers what becomes of one event, for those who watch its worker. Reactor thread only.
final class EventTrace {
    private let traces: WorkerTraces
    private let sinks: [any TraceSink]
    private let worker: TraceEvent.Worker
    private let target: TraceEvent.Target
    private let cause: TraceEvent.Cause
    private let span: TraceSpan
    private let clock: any NodeClock
    private let startedAt: UnixTime
    private let started: Instant
    private var outcome: TraceEvent.Outcome?
    private var status: Int?
    private var logs: [TraceEvent.Log] = []
    private var logByteCount = 0
    private var exceptions: [TraceEvent.Exception] = []
    private var isTruncated = false
    private var byteCount = 0
    private var isOver = false

    /// One event throws once; its background work may add to that.
    private static let exceptionsMax = 32
    /// Beside its logs an event takes its head, of which the parser bounds the length.
    private static let fixedByteCount = 1 << 10

    fileprivate init(
        traces: WorkerTraces, sinks: [any TraceSink], worker: TraceEvent.Worker, target: TraceEvent.Target,
        cause: TraceEvent.Cause, span: TraceSpan, clock: any NodeClock
    ) {
        self.traces = traces
        self.sinks = sinks
        self.worker = worker
        self.target = target
        self.cause = cause
        self.span = span
        self.clock = clock
        // Not the reactor's, which is the time of its last turn.
        started = clock.now()
        startedAt = clock.wallTime()
        byteCount = Self.fixedByteCount
        switch cause {
        case .fetch(let request):
            byteCount += request.headers.reduce(request.url.utf8.count) { $0 + $1.name.utf8.count + $1.value.utf8.count + 16 }
        case .rpc(let method): byteCount += method.utf8.count
        case .scheduled, .queue, .alarm, .socket: break
        }
    }

    // MARK: What happens

    func log(_ message: LogMessage) {
        guard !isOver else { return }
        guard message.level != LogMessage.uncaughtLevel else { return failed(CallFailure(message.text)) }
        guard !isTruncated else { return }
        let log = TraceEvent.Log(
            time: clock.wallTime(), level: TraceEvent.Level(message.level), text: message.text, fields: message.fields)
        guard logByteCount + log.byteCount <= LogMessage.bytesPerEventMax, traces.take(log.byteCount) else {
            isTruncated = true
            return
        }
        logByteCount += log.byteCount
        logs.append(log)
    }

    /// The handler has answered.
    ///
    /// - Parameter message: What stands behind the status byte.
    func answered(_ message: UnsafeRawBufferPointer) {
        switch cause {
        case .fetch: status = unsafe (try? ReplyHead(reading: message.bytes))?.status
        case .scheduled, .rpc, .socket: break
        // The batch's last word is whether its handler has succeeded; why it hasn't, its log says.
        case .queue: if unsafe message.first == 0 { outcome = .exception }
        case .alarm: if let failure = unsafe ObjectAlarmReply.failure(message) { failed(failure) }
        }
    }

    /// The handler, or work that it left behind, threw.
    func failed(_ failure: CallFailure) {
        if outcome == nil { outcome = .exception }
        guard exceptions.count < Self.exceptionsMax else { return }
        exceptions.append(TraceEvent.Exception(time: clock.wallTime(), name: failure.name, message: failure.message))
    }

    func reset(_ reason: StreamReset) {
        switch reason.code {
        case .exceededCPU: outcome = .exceededCpu
        case .exceededMemory: outcome = .exceededMemory
        case .cancelled: outcome = outcome ?? .canceled
        case .exception, .hung: return failed(CallFailure(reason.message))
        case .overloaded, .internal: outcome = outcome ?? .unknown
        }
        if reason.code == .exceededCPU || reason.code == .exceededMemory { failed(CallFailure(reason.message)) }
    }

    /// Its client left, or nobody waits for it any more.
    func abandoned() { outcome = outcome ?? .canceled }

    /// The event is over, with all its background work.
    func end() {
        guard !isOver else { return }
        isOver = true
        traces.give(logByteCount)
        let event = TraceEvent(
            worker: worker, target: target, cause: cause, span: span, started: startedAt, duration: clock.now() - started,
            outcome: outcome ?? .ok, status: status,
            logs: logs, exceptions: exceptions, isTruncated: isTruncated, byteCount: byteCount + logByteCount)
        for sink in sinks { sink.receive(event) }
    }
}

extension EventStream {
    /// Begins to gather what becomes of the event, if somebody watches its worker.
    ///
    /// - Parameters:
    ///   - target: What of the worker it is for.
    ///   - write: Writes the event's message as the isolate gets it; called only if somebody wants to know, or it is logged.
    func watch(_ target: TraceEvent.Target = .worker, _ write: (inout ByteBuffer) -> Void) {
        let traces = worker.pool.traces
        let isLogged = account != nil && worker.pool.logsEvents
        guard traces.isWatched || isLogged else { return }
        let sampling = traces.sample()
        guard !sampling.isEmpty || isLogged else { return }
        var buffer = ByteBuffer()
        write(&buffer)
        let message = unsafe buffer.withReadable { unsafe Array($0) }
        // What the isolate can't read either is no event.
        guard let cause = try? TraceEvent.Cause(kind, message) else { return }
        if isLogged { account?.entry = EventAccount.Entry(target: target, cause: cause) }
        let described = TraceEvent.Worker(worker)
        let sinks = sampling.filter { $0.wants(cause, of: described) }
        guard !sinks.isEmpty else { return }
        trace = EventTrace(
            traces: traces, sinks: sinks, worker: described, target: target, cause: cause, span: span,
            clock: channel.reactor.clock)
    }
}

extension ObjectAlarmReply {
    /// What went wrong, if an answer says so.
    static func failure(_ message: UnsafeRawBufferPointer) -> CallFailure? {
        var decoder = unsafe WireDecoder(Array(message))
        guard let reply = try? ObjectAlarmReply(decoding: &decoder) else { return nil }
        switch reply.outcome {
        case .done, .notDue: return nil
        case .failed, .abandoned: return CallFailure(reply.failure ?? "the alarm failed", marks: .remote)
        }
    }
}

extension TraceEvent.Worker {
    init(_ worker: WorkerRuntime) {
        let configuration = worker.configuration
        self.init(
            tenant: configuration.tenant, name: worker.name, version: configuration.version,
            versionTag: configuration.versionTag, redactor: worker.pool.redactor, colo: configuration.colo)
    }
}

extension TraceEvent.Cause {
    /// Reads the message of an event of `kind`.
    init(_ kind: CallKind, _ message: [UInt8]) throws(WireError) {
        var decoder = WireDecoder(message)
        switch kind {
        case .fetch:
            // As a subrequest has it: with what it says of redirects in front.
            let fetch = try FetchMessage([0] + message)
            var headers: [(name: String, value: String)] = []
            fetch.headers.forEachOnWire { headers.append(($0, $1)) }
            self = .fetch(TraceEvent.Request(method: fetch.method, url: fetch.url, headers: headers))
        case .objectFetch:
            _ = try ObjectEventHead(decoding: &decoder)
            let fetch = try FetchMessage([0] + decoder.takeRest())
            var headers: [(name: String, value: String)] = []
            fetch.headers.forEachOnWire { headers.append(($0, $1)) }
            self = .fetch(TraceEvent.Request(method: fetch.method, url: fetch.url, headers: headers))
        case .scheduled:
            let scheduled = try ScheduledMessage(decoding: &decoder)
            self = .scheduled(cron: scheduled.cron, time: UnixTime(milliseconds: scheduled.scheduledTime))
        case .queue:
            // Not the messages, which may be large.
            let queue = try decoder.takeString()
            self = .queue(queue, batchSize: Int(try decoder.takeUInt32()))
        case .rpc:
            _ = try decoder.takeString()  // The caller's props.
            self = .rpc(method: try Self.method(&decoder))
        case .objectCall:
            _ = try ObjectEventHead(decoding: &decoder)
            self = .rpc(method: try Self.method(&decoder))
        case .objectAlarm:
            _ = try ObjectEventHead(decoding: &decoder)
            let alarm = try ObjectAlarmMessage(decoding: &decoder)
            self = .alarm(UnixTime(milliseconds: alarm.scheduledTime))
        case .objectSocket:
            _ = try ObjectEventHead(decoding: &decoder)
            switch try ObjectSocketMessage(decoding: &decoder).content {
            case .text, .binary: self = .socket(.message)
            case .close(let close): self = .socket(.close(code: close.code, wasClean: close.wasClean))
            case .error: self = .socket(.error)
            }
        default: throw .invalidValue("kind of event", offset: 0)
        }
    }

    /// Of an `RPCMessage`, without its arguments, which may be large.
    private static func method(_ decoder: inout WireDecoder) throws(WireError) -> String {
        _ = try decoder.takeString()  // The entrypoint.
        return try decoder.takeString()
    }
}
