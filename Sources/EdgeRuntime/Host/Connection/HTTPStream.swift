internal import HTTP
internal import Observability
internal import System
internal import TLS
internal import Wire

/// What takes requests, one after the other, and has each answered: a connection of HTTP/1.1, or a stream of HTTP/2, which
/// carries one. Reactor thread only.
///
/// Here and in the extensions is all that both have in common: whom a request goes to, what is told of its client, the cache,
/// files, limits, errors, and the flow of both bodies under credit. What carries the bytes is left to the two:
/// - the request's head lies at the start of `input` as HTTP/1.1 writes it, found by `parser`; the body's bytes follow it;
/// - the answer's head is appended to `output` as HTTP/1.1 writes it and made ready by `endHead`; the body's bytes follow it,
///   or stay apart in `responseBody`.
class HTTPStream: PollTarget {
    /// See `Connection`; a stream of HTTP/2 begins with `idle` and is never in `handshake` or `head`.
    enum Phase {
        case handshake, idle, head, gathering, waiting, exchanging, lingering
        /// A stream of HTTP/2 that carries a WebSocket.
        case tunnel
        case closed
    }

    final let reactor: Reactor
    final let node: NodeContext
    final let role: ListenerRole
    final let client: Client

    /// The port of the listener for https that requests are sent to instead of being answered here.
    final let redirectPort: UInt16?

    final var input = ByteBuffer()
    final var output = ByteBuffer()
    final var parser: RequestHeadParser
    final var phase = Phase.idle
    /// When the current phase, or the body's flow, is given up.
    final var deadline: Instant

    // The request.
    final var exchange = Exchange()
    final var requestBody = RequestBody.none
    /// Nothing of the request is still to come, as far as its framing outside of the bytes tells (HTTP/2).
    final var hasRequestEnded = false
    /// Bytes of the request's body that its consumer can take now.
    final var bodyAllowance = 0
    final weak var bodyConsumer: (any BodyConsumer)?
    /// A consumer that nobody else keeps: the source that a local handler reads.
    final var retainedConsumer: BufferedSource?
    final var chunked = ChunkedDecoder()
    final var isPumping = false
    final var event: EventStream?

    // The answer.
    final var responseBody = ResponseBody.none
    /// Compresses the answer's body.
    final var responseEncoder: BodyEncoder?
    /// What feeds the answer's body; kept while it flows.
    final var responseProducer: (any BodyProducer)?
    /// Body bytes taken from the producer and not granted again.
    final var ungranted = 0
    private var bytesSentAtTick = 0
    /// In both directions.
    final var bytesMoved = 0

    init(
        reactor: Reactor, node: NodeContext, role: ListenerRole, client: Client, redirectPort: UInt16?, deadline: Instant
    ) {
        self.reactor = reactor
        self.node = node
        self.role = role
        self.client = client
        self.redirectPort = redirectPort
        self.deadline = deadline
        parser = RequestHeadParser(limits: node.settings.limits)
    }

    // MARK: What carries the stream

    /// Has it written at the end of the turn.
    func markDirty() { preconditionFailure("what carries the stream does this") }

    /// Looks anew at how much the client may send: something was read, or can't be.
    func updateInterest() { preconditionFailure("what carries the stream does this") }

    /// Ends it at once, whatever it is doing.
    ///
    /// - Parameter isComplete: the answer has been written.
    func close(isComplete: Bool = false) { preconditionFailure("what carries the stream does this") }

    /// What follows the head that `parser` has found.
    func makeRequestBody() -> RequestBody { preconditionFailure("what carries the stream does this") }

    /// Asks the client for the body that it holds back.
    func sendContinue() { preconditionFailure("what carries the stream does this") }

    /// The form of a body whose end isn't known before it comes, with its lines in the head.
    func makeOpenBody() -> ResponseBody { preconditionFailure("what carries the stream does this") }

    /// Completes the head at the end of `output`.
    ///
    /// - Parameter hasLength: whether it is known now what will follow.
    func endHead(hasLength: Bool) { preconditionFailure("what carries the stream does this") }

    /// Answers that what follows is a WebSocket, and ends HTTP here.
    ///
    /// - Parameters:
    ///   - accept: What HTTP/1.1 says to the client's key.
    ///   - lines: Of the answer's head, besides those of the switch.
    /// - Returns: What carries the WebSocket; `nil` when this is no request for one, or the client is gone.
    func switchProtocols(
        accept: String, _ lines: [UInt8], _ compression: PerMessageDeflate?
    ) -> WebSocketLink.Opening? {
        nil
    }

    /// As logs and `/cdn-cgi/trace` name it.
    var protocolName: String { preconditionFailure("what carries the stream does this") }

    /// `nil` where nothing is encrypted.
    var tlsSession: TLSSession? { preconditionFailure("what carries the stream does this") }

    // MARK: The request

    /// Waits for a small body.
    final func gather() {
        phase = .gathering
        deadline = reactor.now + node.settings.bodyTimeout
        updateInterest()
    }

    /// Whether all of the request's body is here, or may be.
    final var hasRestOfBody: Bool {
        guard requestBody.isPending else { return true }
        guard let left = requestBody.bytesLeft else { return !input.isEmpty }
        return left <= Int64(input.readableByteCount - exchange.unconsumedHead)
    }

    /// Answers what can't be read as a request, or isn't there in time.
    final func refuseRequest(_ error: EdgeError) {
        exchange = Exchange()
        exchange.ray = reactor.random.next()
        exchange.mustClose = true
        phase = .exchanging
        answer(error)
    }

    // MARK: Deadlines

    final func tickGathering(_ now: Instant) {
        guard now >= deadline || isTooSlow(now) else { return }
        phase = .exchanging
        exchange.mustClose = true
        answer(.requestTimeout)
    }

    /// Whether bytes have moved since deadlines were last looked at.
    final var hasMoved: Bool { bytesMoved != bytesSentAtTick }

    final func tickExchange(_ now: Instant) {
        // The time to answer, not the time that a body takes: that has limits of its own.
        if let wall = exchange.wallLimit, !exchange.isHeadSent {
            if requestBody.isPending, bodyAllowance > 0 { exchange.waitsSince = now }
            exchange.route?.worker.near(.wall, used: now - exchange.waitsSince, allowed: wall)
            if now - exchange.waitsSince >= wall { return cancelEvent(.cancelled, answering: .wallTime) }
        }
        // Progress is any byte in either direction while one is due.
        if requestBody.isPending, bodyAllowance > 0, isTooSlow(now) {
            exchange.mustClose = true
            return exchange.isHeadSent ? close() : cancelEvent(.cancelled, answering: .requestTimeout)
        }
        let isStalled = requestBody.isPending && bodyAllowance > 0 || !output.isEmpty || responseBody.isApart
        if hasMoved || !isStalled {
            bytesSentAtTick = bytesMoved
            deadline = now + node.settings.bodyTimeout
        } else if now >= deadline {
            if exchange.isHeadSent || !requestBody.isPending {
                close()
            } else {
                exchange.mustClose = true
                cancelEvent(.cancelled, answering: .requestTimeout)
            }
        }
    }

    /// A client that trickles its body must not hold a worker's place for as long as it likes. The rate is the one that other
    /// servers ask for (Apache's mod_reqtimeout): 500 bytes a second, after 20 seconds.
    private func isTooSlow(_ now: Instant) -> Bool {
        let seconds = (now - exchange.started).wholeNanoseconds / 1_000_000_000 - 20
        return seconds > 0 && bytesMoved &- exchange.bytesMovedBefore < 500 * Int(seconds)
    }

    /// Ends the event and gives the client the node's answer instead.
    final func cancelEvent(_ reason: StreamReset, answering error: EdgeError) {
        let event = event
        self.event = nil
        event?.abandon(reason)
        answer(error)
    }

    // MARK: The end

    override func drain(_ look: DrainLook) { drainExchange(look) }

    final func took(bodyBytes count: Int) { ungranted += count }

    /// Has the compressor give out what it holds back: the client waits for what was said so far.
    ///
    /// - Returns: false when the answer was cut short by it.
    final func flushEncoder() -> Bool {
        guard output.isEmpty, let encoder = responseEncoder, encoder.holdsBack else { return true }
        if unsafe encoder.flush({ unsafe appendEncoded($0) }) { return true }
        abortResponse()
        return false
    }

    /// The answer is written: what belonged to it is let go.
    final func endAnswer() {
        noteEnd()
        responseBody = .none
        responseEncoder = nil
        responseProducer = nil
        event = nil
        if requestBody.isPending { bodyConsumer?.fail(.cancelled) }
        bodyConsumer = nil
        retainedConsumer = nil
        exchange.shadow?.originalEnded()
        exchange.shadow = nil
        // A connection that waits for its next request keeps no release.
        exchange.route = nil
        exchange.release = nil
    }

    /// Between taking a request and the end of its answer.
    final var isInExchange: Bool { phase == .gathering || phase == .waiting || phase == .exchanging }

    /// The exchange is somebody else's from here on: what belonged to it is let go.
    final func leaveExchange() {
        retainedConsumer = nil
        bodyConsumer = nil
        event = nil
        exchange.route = nil
        exchange.release = nil
    }

    /// Nobody is there any more to get an answer: what is going on is told, and let go. The stream is closed behind it.
    final func abandonExchange() {
        if phase == .waiting, let route = exchange.route { reactor.dispatcher.gaveUp(route.worker) }
        let wasInExchange = isInExchange
        phase = .closed
        if wasInExchange { noteAbort() }
        exchange.origin = nil
        exchange.cacheFill = nil
        exchange.shadow?.cancel()
        exchange.shadow = nil
        let event = event
        self.event = nil
        event?.abandon(.cancelled)
        responseProducer?.cancel(.cancelled)
        responseProducer = nil
        responseEncoder = nil
        if requestBody.isPending { bodyConsumer?.fail(.cancelled) }
        bodyConsumer = nil
        retainedConsumer = nil
        input.consume(input.readableByteCount)
        output.consume(output.readableByteCount)
    }
}
