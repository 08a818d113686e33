internal import Assets
internal import Interfaces
internal import System
internal import Wire

/// A request from one worker to another, to one of its entrypoints, or to its files.
final class Subrequest: WorkerCall {
    /// - Parameter message: A fetch message, behind what the caller does with redirects.
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
            return try unsafe start(call, of: event, to: entrypoint, message)
        case .service, .entrypoint:
            guard let name = event.worker.bindings[Int(binding)].entrypoint?.worker else { return nil }
            if let worker = event.release.workers[name] {
                let target = RouteTarget(release: event.release, worker: worker)
                return try unsafe start(call, of: event, to: target, message)
            }
            guard let site = event.release.sites[name] else {
                answerMissing(call, name)
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
        guard countInvocation(call, of: event, .subrequest) else { return nil }
        let subrequest = unsafe Subrequest(
            call, parent: event, to: target, .fetch, entrypoint: nil, Array(message.dropFirst()))
        subrequest.submit()
        return subrequest
    }

    /// A named entrypoint has no files: what it answers is its code's.
    private static func start(
        _ call: CallStream, of event: EventStream, to entrypoint: ServiceEntrypoint, _ message: UnsafeRawBufferPointer
    ) throws(WireError) -> AnyObject? {
        guard unsafe !message.isEmpty else { throw .truncated(offset: 0) }
        guard let worker = event.release.workers[entrypoint.worker] else {
            answerMissing(call, entrypoint.worker)
            return nil
        }
        guard countInvocation(call, of: event, .subrequest) else { return nil }
        var encoder = WireEncoder(capacity: message.count + 64)
        EntrypointHead(props: entrypoint.props, name: entrypoint.name).encode(into: &encoder)
        encoder.putRest(unsafe Array(message.dropFirst()))
        let subrequest = Subrequest(
            call, parent: event, to: RouteTarget(release: event.release, worker: worker), .entrypointFetch,
            entrypoint: entrypoint.name, encoder.bytes)
        subrequest.submit()
        return subrequest
    }

    override func answered(_ event: EventStream, _ message: UnsafeRawBufferPointer) throws(WireError) {
        let head = try ReplyHead(reading: unsafe message.bytes)
        try unsafe call.answer(head, message, of: event)
    }
}

extension CallStream {
    /// Passes the answer to a request on.
    ///
    /// - Parameters:
    ///   - message: What `head` was read from.
    ///   - event: Which has given the answer.
    func answer(_ head: ReplyHead, _ message: UnsafeRawBufferPointer, of event: EventStream) throws(WireError) {
        let body = try event.replyBody(head)
        let headers = unsafe UnsafeRawBufferPointer(rebasing: message.dropFirst(ReplyHead.byteCount))
        answer(body: body) { buffer in
            ReplyHead.write(
                status: head.status, hasBody: body != nil, bodyLength: head.bodyLength, isEncoded: head.isEncoded,
                headerCount: head.headerCount, into: &buffer)
            unsafe buffer.append(headers)
        }
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
