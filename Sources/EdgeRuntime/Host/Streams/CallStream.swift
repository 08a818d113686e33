internal import Interfaces
internal import Stores
internal import System
internal import Wire

/// One call of an isolate to the node: a binding, another worker, the outside. Reactor thread only.
final class CallStream: ChannelStream, @unchecked Sendable {  // Tasks that carry it run on the reactor only.
    /// The event that makes the call; it keeps its release alive while the call lasts.
    let event: EventStream?
    private var task: Task<Void, Never>?
    /// The reply's body while nobody has asked for it.
    private var pendingBody: ReplyBody?
    /// What the reply's body holds in memory until the stream ends.
    private var heldByteCount = 0
    private var flowing: (any BodyProducer)?
    /// The request's body of the event, when it is the call's as well.
    private var requestBodyProducer: (any RedirectableProducer)?
    private weak var requestBodyConsumer: (any BodyConsumer)?
    /// By which binding a subrequest is made, for warnings.
    private(set) var binding = CallHead.noBinding
    /// What the call does beyond a single answer: a subrequest, `waitUntil`.
    private var activity: AnyObject?

    init(number: UInt32, channel: Channel, event: EventStream?, isLazy: Bool) {
        self.event = event
        super.init(
            number: number, channel: channel, sendCredit: isLazy ? 0 : WireLimits.initialCredit,
            receiveCredit: WireLimits.initialCredit, hasPeerOpened: true)
    }

    // MARK: The call's body

    /// Makes the body of the event's request, which the isolate hasn't asked for, the call's.
    ///
    /// - Returns: false when the event has ended meanwhile, and the body with it; the call has its answer then.
    func takeRequestBody() throws(WireError) -> Bool {
        guard let event, event.isOpen else {
            answer(failure: CallFailure("Network connection lost."))
            return false
        }
        guard let body = event.takeBodyToIsolate() else { throw .unexpectedFrame(.open, stream: number) }
        requestBodyProducer = body
        return true
    }

    var hasBody: Bool { requestBodyProducer != nil || !receivedEnd }
    /// What feeds the call's body.
    var bodyProducer: any BodyProducer { requestBodyProducer ?? self }

    /// Connects the call's body to `consumer`, which can take `window` bytes at once.
    @discardableResult
    func connectBody(to consumer: any BodyConsumer, window: Int) -> any BodyProducer {
        guard let producer = requestBodyProducer else {
            connect(to: consumer, window: window)
            return self
        }
        requestBodyConsumer = consumer
        (consumer as? ChannelStream)?.bodyOrigin = self
        producer.redirect(to: consumer)
        producer.grant(window)
        return producer
    }

    /// The body that was the event's outlives the call: it has gone on from where it was sent, or the answer has.
    func letRequestBodyGo() {
        requestBodyProducer = nil
        requestBodyConsumer = nil
    }

    /// - Parameter message: What stands behind the call's head; valid during the call only.
    func start(_ call: CallHead, _ message: UnsafeRawBufferPointer) throws(WireError) {
        guard let event else {
            return answer(failure: CallFailure("The call does not belong to an event that is still running."))
        }
        switch call.kind {
        case .waitUntil:
            activity = BackgroundWork(self, of: event)
            refusesBody = true
            markSentEnd()  // The node has nothing to say here: the stream ends with the work.
        case .subrequest:
            binding = call.binding
            guard event.countSubrequest(call) else { return answer(failure: CallFailure("Too many subrequests.")) }
            activity = try unsafe Subrequest.start(self, of: event, binding: call.binding, message)
        case .serviceInvoke:
            binding = call.binding
            guard event.countSubrequest(call) else { return answer(failure: CallFailure("Too many subrequests.")) }
            activity = try unsafe ServiceCall.start(self, of: event, call, message)
        case .objectRequest, .objectInvoke:
            binding = call.binding
            guard event.countSubrequest(call) else { return answer(failure: CallFailure("Too many subrequests.")) }
            activity = try unsafe ObjectCall.start(self, of: event, call, message)
        default: throw .invalidValue("call kind", offset: 0)  // A store's calls come by `ask`.
        }
    }

    /// Asks a store for an answer that has to be waited for.
    func ask(_ service: any StoreService, _ call: StoreCall) {
        var source: BufferedSource?
        var call = call
        if hasBody {
            let buffered = BufferedSource(reactor: channel.reactor)
            buffered.start(from: bodyProducer)
            connectBody(to: buffered, window: WireLimits.initialCredit)
            source = buffered
            activity = buffered
        }
        call.body = source
        let question = call
        task = Task(executorPreference: channel.reactor) {
            do throws(CallFailure) {
                self.answer(try await service.answer(question))
            } catch {
                if error.isMalformedCall { return self.channel.broken(by: error.message) }
                if error.isOfHeldStore { self.event?.invocations.metHeldStore = true }
                self.answer(failure: error)
            }
        }
    }

    // MARK: Answering

    // A call's end cancels its task, but work that is nearly done still answers.

    func answer(failure: CallFailure) {
        guard isOpen else { return }
        channel.sendReply(on: self, flags: .end) { failure.writeReply(into: &$0) }
        stopReceiving()
    }

    func answer(_ reply: StoreReply) {
        guard isOpen else {
            if let body = reply.body { ReplyBody.stored(body).cancel(.cancelled) }
            return
        }
        if let body = reply.body {
            answer(body: .stored(body)) { $0.append(reply.message) }
        } else {
            channel.sendReply(on: self, flags: .end) { reply.writeHead(into: &$0) }
            stopReceiving()
        }
    }

    /// Answers with a head that `write` puts behind the status byte, and a body if there is one.
    func answer(body: ReplyBody?, _ write: (inout ByteBuffer) -> Void) {
        guard isOpen else {
            body?.cancel(.cancelled)
            return
        }
        if case .stored(.bytes(let bytes))? = body {
            guard channel.heldBodyBytes + bytes.count <= Channel.heldBytesMax else {
                return answer(failure: CallFailure("Too many answers are held without being read."))
            }
            heldByteCount = bytes.count
            channel.heldBodyBytes += heldByteCount
        }
        channel.sendReply(on: self, flags: body == nil ? .end : []) { buffer in
            buffer.append(UInt8(0))
            write(&buffer)
        }
        guard let body else { return }
        pendingBody = body
        if hasCredit { startBody() }
    }

    /// What the isolate has not finished sending is of no use any more.
    private func stopReceiving() {
        if !receivedEnd { reset(.cancelled) }
    }

    // MARK: The reply's body

    /// Takes the body away to send it somewhere else: the isolate sees an empty one. `nil` when it has begun to read.
    func takeBody() -> ReplyBody? {
        guard let body = pendingBody else { return nil }
        pendingBody = nil
        // The body's producer must outlive this stream, and what that is still sent itself.
        if case .stream = body {
            activity = nil
            letRequestBodyGo()
        }
        channel.sendEnd(on: self)
        markSentEnd()
        return body
    }

    /// Takes the WebSocket away that the call was answered with, when nothing of it went to the isolate; the call is over then.
    func takeSocket() -> (any SocketFarEnd)? {
        let socket: any SocketFarEnd
        switch pendingBody {
        case .stream(let stream as EventStream)? where stream.isSocket: socket = stream
        case .redirected(let outside as WorkerSocket)?: socket = outside
        case .stream, .redirected, .stored, .hibernating, nil: return nil
        }
        pendingBody = nil
        activity = nil
        disconnect()
        reset(.cancelled)
        return socket
    }

    /// As above, for one that hibernates.
    func takeHibernatingSocket() -> ObjectSocket? {
        guard case .hibernating(let socket)? = pendingBody else { return nil }
        pendingBody = nil
        activity = nil
        disconnect()
        reset(.cancelled)
        return socket
    }

    private func startBody() {
        guard let body = pendingBody else { return }
        pendingBody = nil
        let producer = body.start(on: channel.reactor, to: self, window: 0)
        guard isOpen else { return producer.cancel(.cancelled) }
        flowing = producer
        self.producer = producer
        requestBody()
    }

    /// Nobody reads the rest of the call's body. The answer is not touched by that: it comes, or has come.
    override func cancel(_ reason: StreamReset) { discardIncoming() }

    override func creditArrived() {
        if pendingBody != nil { startBody() }
    }

    override func wasReset(_ reason: StreamReset) { stop(reason) }
    override func closed() { stop(.cancelled) }

    private func stop(_ reason: StreamReset) {
        task?.cancel()
        task = nil
        pendingBody?.cancel(reason)
        pendingBody = nil
        flowing = nil
        channel.heldBodyBytes -= heldByteCount
        heldByteCount = 0
        let consumer = requestBodyConsumer
        (activity as? any CallActivity)?.callEnded(reason)
        activity = nil
        // Whoever takes the body gets no more of it, and must not wait for that.
        requestBodyProducer?.cancel(reason)
        requestBodyProducer = nil
        consumer?.fail(reason)
    }
}

/// What goes on behind a call and has to know when the call is over.
protocol CallActivity: AnyObject {
    func callEnded(_ reason: StreamReset)
}

extension StoreReply {
    /// The payload of the `open` frame that answers.
    func writeHead(into buffer: inout ByteBuffer) {
        buffer.append(UInt8(0))
        buffer.append(message)
    }
}

extension CallFailure {
    /// As above.
    func writeReply(into buffer: inout ByteBuffer) {
        var encoder = WireEncoder()
        encoder.put(UInt8(1))
        encode(into: &encoder)
        buffer.append(encoder.bytes)
    }
}
