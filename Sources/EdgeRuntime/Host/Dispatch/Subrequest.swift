internal import Assets
internal import Interfaces
internal import System
internal import Wire

/// A call from one worker to another of the same release. It never leaves the reactor.
final class Subrequest: EventOwner, Dispatchable, CallActivity {
    private unowned let call: CallStream
    private let parent: EventStream
    private let release: ReleaseRuntime
    private let worker: WorkerRuntime
    /// The fetch message: it has to wait when all isolates of the target are busy.
    private let message: [UInt8]
    /// Whether a body follows the message: it may have come and ended while the call waited for an isolate.
    private let hasBody: Bool
    private var target: EventStream?
    private var isOver = false

    static func start(
        _ call: CallStream, of event: EventStream, binding: UInt16, _ message: UnsafeRawBufferPointer
    ) throws(WireError) -> AnyObject? {
        if binding == CallHead.noBinding {
            return try unsafe OutboundCall.start(call, of: event, message)
        }
        guard Int(binding) < event.worker.bindings.count else {
            throw .invalidValue("service binding number", offset: 2)
        }
        switch event.worker.bindings[Int(binding)] {
        case .store, .values, .object: throw .invalidValue("service binding number", offset: 2)
        case .assets:
            guard let site = event.release.sites[event.worker.name] else {
                call.answer(failure: CallFailure("The worker's assets are not in this release."))
                return nil
            }
            AssetCall.start(call, of: site, try FetchMessage(unsafe Array(message)))
            return nil
        case .entrypoint(let entrypoint) where !entrypoint.name.isEmpty:
            call.answer(
                failure: CallFailure(
                    "The entrypoint \"\(entrypoint.name)\" takes typed calls, not requests.", name: "TypeError"))
            return nil
        case .service, .entrypoint:
            guard let name = event.worker.bindings[Int(binding)].entrypoint?.worker else { return nil }
            if let worker = event.release.workers[name] {
                let target = RouteTarget(release: event.release, worker: worker)
                return try unsafe start(call, of: event, to: target, message)
            }
            guard let site = event.release.sites[name] else {
                call.answer(failure: CallFailure("Service binding target \"\(name)\" is not in this release."))
                return nil
            }
            AssetCall.start(call, of: site, try FetchMessage(unsafe Array(message)))
            return nil
        }
    }

    static func start(
        _ call: CallStream, of event: EventStream, to target: RouteTarget, _ message: UnsafeRawBufferPointer
    ) throws(WireError) -> AnyObject? {
        if let site = target.site {
            let fetch = try FetchMessage(unsafe Array(message))
            if let answer = site.rules.answerBeforeWorker(AssetRequest(fetch)) {
                AssetCall.send(answer, of: site, on: call, isHead: fetch.method == "HEAD")
                return nil
            }
        }
        guard event.invocations.count < EventStream.Invocations.max else {
            call.answer(failure: .tooDeep)
            return nil
        }
        event.invocations.count += 1
        event.worker.counted(
            event.invocations.count, of: .invocations, EventStream.Invocations.max, (call.binding, .subrequest))
        let worker = target.worker
        let subrequest = unsafe Subrequest(
            call, parent: event, target: target, message: Array(message.dropFirst()))
        call.channel.reactor.dispatcher.submitNested(subrequest, to: worker)
        return subrequest
    }

    private init(_ call: CallStream, parent: EventStream, target: RouteTarget, message: [UInt8]) {
        self.call = call
        self.parent = parent
        release = target.release
        worker = target.worker
        self.message = message
        hasBody = call.hasBody
    }

    // MARK: Dispatchable

    var isAbandoned: Bool { isOver }

    func dispatch(on channel: Channel) {
        let stream = channel.open(
            .fetch, flags: hasBody ? [] : .end,
            make: {
                EventStream(
                    number: $0, channel: channel, worker: worker, release: release, kind: .fetch,
                    owner: self, zone: parent.zone, invocations: parent.invocations)
            },
            { $0.append(message) })
        stream.beginAccount(for: .worker, caller: parent, meter: release.meter[worker.name]) { $0.append(message) }
        target = stream
        if hasBody {
            stream.producer = call.connectBody(to: stream, window: 0)
            stream.requestBody()
        }
    }

    func refuse(_ reason: Refusal) {
        finish(CallFailure("Worker \"\(worker.name)\" could not be reached: \(reason)."))
    }

    private func finish(_ failure: CallFailure) {
        guard !isOver else { return }
        isOver = true
        call.answer(failure: failure)
    }

    // MARK: EventOwner

    func event(_ event: EventStream, answered message: UnsafeRawBufferPointer) throws(WireError) {
        guard !isOver else { return }
        let head = try ReplyHead(reading: unsafe message.bytes)
        let body = try event.replyBody(head)
        let headers = unsafe UnsafeRawBufferPointer(rebasing: message.dropFirst(ReplyHead.byteCount))
        isOver = true
        call.answer(body: body) { buffer in
            ReplyHead.write(
                status: head.status, hasBody: body != nil, bodyLength: head.bodyLength, isEncoded: head.isEncoded,
                headerCount: head.headerCount, into: &buffer)
            unsafe buffer.append(headers)
        }
    }

    func event(_ event: EventStream, threw failure: CallFailure, passThrough: Bool) { finish(failure) }

    func event(_ event: EventStream, wasReset reason: StreamReset) {
        finish(CallFailure(reason.message.isEmpty ? "Network connection lost." : reason.message))
    }

    // MARK: CallActivity

    func callEnded(_ reason: StreamReset) {
        guard !isOver else { return }
        isOver = true
        target?.abandon(reason)
    }
}

extension EventStream {
    /// The body that belongs to the answer with `head`: the event's own, or one that the isolate passes on unread.
    func replyBody(_ head: ReplyHead) throws(WireError) -> ReplyBody? {
        guard head.hasBody else { return nil }
        guard head.spliceStream != 0 else { return .stream(self) }
        if head.spliceStream == number {
            guard let body = takeBodyToIsolate() else {
                throw .invalidValue("number of the stream to pass on", offset: 11)
            }
            return .redirected(body)
        }
        guard let call = channel.call(head.spliceStream), let body = call.takeBody() else {
            throw .invalidValue("number of the stream to pass on", offset: 11)
        }
        return body
    }
}

/// Work that goes on behind an event's answer: it holds the event, so that the calls it makes find their release.
final class BackgroundWork: CallActivity, Ticker {
    private unowned let call: CallStream
    private let event: EventStream
    private let reactor: Reactor

    /// Product limit: shared by all of an event's tasks, counted from the end of the answer.
    private var durationMax: Duration { event.kind.isEventOfObject ? .seconds(15 * 60) : .seconds(30) }

    init(_ call: CallStream, of event: EventStream) {
        self.call = call
        self.event = event
        reactor = call.channel.reactor
        event.linger()
        reactor.addTicker(self)
    }

    func tick(_ now: Instant) {
        guard !event.isOpen else { return }
        guard let deadline = event.backgroundDeadline else {
            event.backgroundDeadline = now + durationMax
            return
        }
        guard now >= deadline else {
            return event.worker.near(.waitUntil, used: durationMax - (deadline - now), allowed: durationMax)
        }
        call.reset(
            StreamReset(.cancelled, "waitUntil() tasks did not complete within the allowed time after invocation end"))
    }

    func callEnded(_ reason: StreamReset) {
        reactor.removeTicker(self)
        event.stopLingering()
    }
}
