internal import Interfaces
internal import System
internal import Wire

/// What is counted, and logged if requests are, of an event that is no client's request: a call of another worker, or something
/// for a durable object. It is closed once, when it is known what became of the event. Reactor thread only.
struct EventAccount {
    /// What the log names.
    struct Entry {
        let target: TraceEvent.Target
        let cause: TraceEvent.Cause
    }

    /// `nil`: nobody counts it.
    let lane: MeterLane?
    /// Whether its time tells of the code. That of an event that has its object opened doesn't, nor that of an alarm, which
    /// nobody waits for.
    let timing: Timing
    /// `nil`: it isn't logged.
    var entry: Entry?

    enum Timing { case counted, ignored }

    enum Result {
        /// - Parameter status: of the answer to a request.
        case answered(status: Int?)
        case failed(TraceEvent.Outcome, CallFailure)
        /// Nobody waits for it any more.
        case abandoned
    }

    func close(_ event: EventStream, _ result: Result) {
        let now = event.channel.reactor.now
        switch result {
        case .answered(let status):
            lane?.noteCall(
                isError: (status ?? 0) >= 500, from: timing == .counted ? event.started : nil, to: now)
        // What may be made again was ended by the node, for an upgrade or with its isolate, whose own end is counted.
        case .failed(_, let failure): lane?.noteCall(isError: !failure.marks.contains(.retryable), from: nil, to: now)
        case .abandoned: break
        }
        if let entry { log(event, entry, result, now) }
    }

    private func log(_ event: EventStream, _ entry: Entry, _ result: Result, _ now: Instant) {
        let hundredths = max(0, (now - event.started).wholeNanoseconds) / 10_000
        var fields = [(name: "ms", value: "\(Double(hundredths) / 100)")]
        var text = entry.cause.text
        switch entry.target {
        case .worker: break
        case .entrypoint(let name):
            text = "\(name.isEmpty ? "default" : name).\(text)"
            fields.append(("entrypoint", name))
        case .object(let id, let className):
            text = "\(className).\(text)"
            fields += [("class", className), ("object", "\(id)")]
        }
        switch result {
        case .answered(let status):
            fields.append(("outcome", TraceEvent.Outcome.ok.rawValue))
            if let status { fields.append(("status", "\(status)")) }
        case .failed(let outcome, let failure): fields += [("outcome", outcome.rawValue), ("error", "\(failure)")]
        case .abandoned: fields.append(("outcome", TraceEvent.Outcome.canceled.rawValue))
        }
        fields.append(("trace", event.span.traceID))
        event.worker.pool.logger.log(.info, text, fields)
    }
}

extension EventAccount.Result {
    /// What the early end of an event's stream says of it.
    init(_ reason: StreamReset) {
        switch reason.code {
        case .exceededCPU: self = .failed(.exceededCpu, CallFailure(reason.message))
        case .exceededMemory: self = .failed(.exceededMemory, CallFailure(reason.message))
        case .exception, .hung, .internal, .overloaded:
            self = .failed(reason.code == .internal ? .unknown : .exception, CallFailure(reason.message))
        case .cancelled: self = .abandoned
        }
    }
}

extension EventStream {
    /// Has the event counted for `meter`'s worker, or for the release's own, and gathered if somebody watches.
    ///
    /// - Parameters:
    ///   - caller: Whose trace it goes on; `nil`: it begins one.
    ///   - write: As for `watch`.
    func beginAccount(
        for target: TraceEvent.Target, caller: EventStream?, meter: WorkerMeter?, timing: EventAccount.Timing = .counted,
        _ write: (inout ByteBuffer) -> Void
    ) {
        let reactor = channel.reactor
        if let caller { span = caller.span.child(&reactor.random) }
        account = EventAccount(lane: meter?.lane(reactor.index), timing: timing)
        watch(target, write)
    }
}
