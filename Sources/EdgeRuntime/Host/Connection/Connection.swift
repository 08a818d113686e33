internal import HTTP
internal import Interfaces
internal import Observability
internal import Stores
internal import System
internal import TLS
internal import Wire

/// One client's connection: reads requests one after the other, has each answered, writes the answers. Reactor thread only.
///
/// States, each with what ends it:
/// - `handshake`: of TLS, before anything else; its end, an error, the head time-out.
/// - `idle`: between requests; the first byte of a head, the idle time-out or the end of the connection.
/// - `head`: inside a head; its end, an error, the head time-out.
/// - `gathering`: a small body is still on its way; no isolate is asked for before it is here, so that a client which trickles
///   it holds only its connection.
/// - `waiting`: an isolate is being found; dispatch or refusal.
/// - `exchanging`: the request's body flows in, the answer flows out; both complete, a reset, the client leaving.
/// - `lingering`: the answer is out and the connection will close, but the client may still be sending: what it sends is
///   dropped for a moment, so that it reads the answer before it sees a reset (RFC 9112 §9.6).
/// - `closed`.
///
/// A request that is answered before its body has arrived ends the connection unless the rest is small.
/// Pipelined requests wait in the input buffer, of which no more is read than `pipelinedBytesMax`.
final class Connection: PollTarget {
    enum Phase { case handshake, idle, head, gathering, waiting, exchanging, lingering, closed }

    let reactor: Reactor
    let node: NodeContext
    let role: ListenerRole
    let client: Client

    /// The port of the listener for https that requests are sent to instead of being answered here.
    let redirectPort: UInt16?

    var transport: Transport?
    var input = ByteBuffer()
    var output = ByteBuffer()
    var parser: RequestHeadParser
    var phase = Phase.idle
    /// When the current phase, or the body's flow, is given up.
    var deadline: Instant
    private var isDirty = false
    private var interest = Epoll.Interest.read
    private var clientHasClosed = false
    private var readsOnLater = false
    /// When a client that has ended its sending counts as gone.
    private var closedDeadline = Instant(nanoseconds: .max)

    // The request.
    var exchange = Exchange()
    var requestBody = RequestBody.none
    /// Bytes of the request's body that its consumer can take now.
    var bodyAllowance = 0
    weak var bodyConsumer: (any BodyConsumer)?
    /// A consumer that nobody else keeps: the source that a local handler reads.
    var retainedConsumer: BufferedSource?
    var chunked = ChunkedDecoder()
    var isPumping = false
    var event: EventStream?

    // The answer.
    var responseBody = ResponseBody.none
    /// Compresses the answer's body.
    var responseEncoder: BodyEncoder?
    /// What feeds the answer's body; kept while it flows.
    var responseProducer: (any BodyProducer)?
    /// Body bytes taken from the producer and not granted again.
    private var ungranted = 0
    private var bytesSentAtTick = 0
    /// In both directions.
    private(set) var bytesMoved = 0

    static let pipelinedBytesMax = 64 << 10
    /// Output beyond which the answer's producer gets no more credit.
    private static let outputHighWater = 128 << 10
    /// A body that nobody reads is swallowed up to here; more, and the connection ends.
    private static let drainBytesMax: Int64 = 64 << 10
    private static let lingerTime = Duration.seconds(2)
    /// Without an answer, or without a byte of it taken, after the client's end of sending.
    private static let halfClosedTime = Duration.seconds(1)

    init(
        _ descriptor: consuming Descriptor, client: Client, role: ListenerRole, security: ListenerSecurity,
        reactor: Reactor, node: NodeContext
    ) throws(SystemError) {
        self.reactor = reactor
        self.node = node
        self.role = role
        self.client = client
        parser = RequestHeadParser(limits: node.settings.limits)
        deadline = reactor.now + node.settings.headTimeout
        let rawValue = descriptor.rawValue
        switch security {
        case .plain:
            redirectPort = nil
            transport = Transport(descriptor)
        case .redirecting(let port):
            redirectPort = port
            transport = Transport(descriptor)
        case .tls(let context):
            redirectPort = nil
            transport = Transport(descriptor, tls: try TLSSession(context, socket: rawValue))
            phase = .handshake
        }
        super.init()
        try reactor.watch(self, rawValue, .read)
        reactor.connectionCount += 1
        reactor.counters.connectionsAccepted += 1
    }

    // MARK: Reading

    override func becameReady(_ events: Epoll.Interest) {
        if phase == .handshake { return shakeHands() }
        if events.isWritable { markDirty() }
        if clientHasClosed, events.isFailure { return close() }
        guard events.isReadable || transport?.waitsToWrite == true, transport != nil else { return }
        readInput()
    }

    func readInput() {
        let limit = requestBody.isPending ? 128 << 10 : 16 << 10
        guard let result = transport?.read(into: &input, upTo: limit) else { return }
        switch result {
        case .wouldBlock: return
        case .closed: return clientClosed()
        case .moved(let count):
            bytesMoved &+= count
            bytesArrived()
        }
        if transport?.hasUnread == true, canRead { readOnLater() }
    }

    /// Reads what TLS has received and nobody has read; not at once, so that one client keeps no others waiting.
    private func readOnLater() {
        guard !readsOnLater, !clientHasClosed else { return }
        readsOnLater = true
        reactor.later { [self] in
            readsOnLater = false
            if transport?.hasUnread == true, canRead { readInput() }
        }
    }

    private func bytesArrived() {
        switch phase {
        case .handshake: break
        case .idle, .head: parseHead()
        case .gathering:
            if hasRestOfBody { submit() } else { updateInterest() }
        case .waiting, .exchanging:
            if requestBody.isPending { pumpRequestBody() }
            updateInterest()
        case .lingering: input.consume(input.readableByteCount)
        case .closed: break
        }
    }

    private func clientClosed() {
        clientHasClosed = true
        switch phase {
        case .handshake, .head, .lingering, .closed: close()
        case .gathering: abandon()
        case .idle where input.isEmpty: close()
        case .waiting, .exchanging:
            guard hasRestOfBody else { return abandon() }
            // It may have gone, or only have ended its sending (RFC 9112 §9.6) and wait for the answers. As long as something
            // moves it gets them; see `tick`.
            closedDeadline = reactor.now + Self.halfClosedTime
            updateInterest()
        case .idle: updateInterest()  // Requests that it sent before are in the input.
        }
    }

    /// Waits for a small body.
    func gather() {
        phase = .gathering
        deadline = reactor.now + node.settings.bodyTimeout
        updateInterest()
    }

    /// Whether all of the request's body is here, or may be.
    var hasRestOfBody: Bool {
        guard requestBody.isPending else { return true }
        guard let left = requestBody.bytesLeft else { return !input.isEmpty }
        return left <= Int64(input.readableByteCount - exchange.unconsumedHead)
    }

    /// The client has gone and wants no answer.
    private func abandon() {
        reactor.counters.clientAborts += 1
        close()
    }

    /// Parses the head at the start of the input, and starts the request when it is whole.
    private func parseHead() {
        guard !input.isEmpty else { return }
        let progress = unsafe input.withReadable { unsafe parser.parse($0) }
        switch progress {
        case .needMore:
            guard !clientHasClosed else { return close() }
            if phase == .idle {
                phase = .head
                deadline = reactor.now + node.settings.headTimeout
            }
            updateInterest()
        case .failed(let error):
            reactor.counters.parseErrors += 1
            exchange = Exchange()
            exchange.ray = reactor.random.next()
            exchange.mustClose = true
            phase = .exchanging
            answer(.badRequest(status: error.status, reason: error.description))
        case .complete(let headByteCount):
            startRequest(headByteCount: headByteCount)
        }
    }

    // MARK: Interest and deadlines

    func updateInterest() {
        guard let rawValue = transport?.rawValue else { return }
        let canRead = canRead
        if canRead, transport?.hasUnread == true { readOnLater() }
        // No interest at all once the client has closed: its end would be reported again and again.
        var wanted = clientHasClosed ? Epoll.Interest(rawValue: 0) : canRead ? .read : .peerClosed
        if !output.isEmpty || responseBody.isApart || transport?.waitsToWrite == true { wanted.insert(.write) }
        guard wanted != interest else { return }
        interest = wanted
        reactor.change(self, rawValue, wanted)
    }

    /// Whether there is room for what the client may send.
    private var canRead: Bool {
        switch phase {
        case .handshake, .idle, .head, .gathering, .lingering: true
        case .waiting, .exchanging:
            input.readableByteCount < (requestBody.isPending ? 256 << 10 : Self.pipelinedBytesMax)
                && !(requestBody.isPending && bodyAllowance == 0 && input.readableByteCount >= 64 << 10)
        case .closed: false
        }
    }

    override func tick(_ now: Instant) {
        switch phase {
        case .handshake: tickHandshake(now)
        case .idle:
            input.releaseIfEmpty()
            output.releaseIfEmpty()
            if reactor.isDraining || now >= deadline { closeUnlessAsked() }
        case .head:
            guard now >= deadline else { return }
            exchange = Exchange()
            exchange.ray = reactor.random.next()
            exchange.mustClose = true
            phase = .exchanging
            answer(.requestTimeout)
        case .waiting:  // The dispatcher has its own deadline.
            if now >= closedDeadline { abandon() }
        case .gathering:
            guard now >= deadline || isTooSlow(now) else { return }
            phase = .exchanging
            exchange.mustClose = true
            answer(.requestTimeout)
        case .exchanging: tickExchange(now)
        case .lingering: if now >= deadline { close() }
        case .closed: break
        }
    }

    /// Ends a connection that has nothing to do. A request that has just arrived is answered first: closing on it would reset
    /// it, and its client could not tell whether it was handled.
    private func closeUnlessAsked() {
        guard let result = transport?.read(into: &input, upTo: 16 << 10), case .moved(let count) = result else {
            return close()
        }
        bytesMoved &+= count
        bytesArrived()
    }

    private func tickExchange(_ now: Instant) {
        // The time to answer, not the time that a body takes: that has limits of its own.
        if let wall = exchange.wallLimit, !exchange.isHeadSent {
            if requestBody.isPending, bodyAllowance > 0 { exchange.waitsSince = now }
            exchange.route?.worker.near(.wall, used: now - exchange.waitsSince, allowed: wall)
            if now - exchange.waitsSince >= wall { return cancelEvent(.cancelled, answering: .wallTime) }
        }
        if clientHasClosed {
            if bytesMoved != bytesSentAtTick { closedDeadline = now + Self.halfClosedTime }
            if now >= closedDeadline { return abandon() }
        }
        // Progress is any byte in either direction while one is due.
        if requestBody.isPending, bodyAllowance > 0, isTooSlow(now) {
            exchange.mustClose = true
            return exchange.isHeadSent ? close() : cancelEvent(.cancelled, answering: .requestTimeout)
        }
        let isStalled = requestBody.isPending && bodyAllowance > 0 || !output.isEmpty || responseBody.isApart
        if bytesMoved != bytesSentAtTick || !isStalled {
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
    func cancelEvent(_ reason: StreamReset, answering error: EdgeError) {
        let event = event
        self.event = nil
        event?.abandon(reason)
        answer(error)
    }

    // MARK: Writing

    func markDirty() {
        guard !isDirty else { return }
        isDirty = true
        reactor.markDirty(self)
    }

    /// Writes what has gathered; called once per turn.
    func flush() {
        isDirty = false
        guard transport != nil else { return }
        if phase == .lingering, transport?.waitsToWrite == true {
            transport?.shutdownSending()
            return updateInterest()
        }
        if output.isEmpty, let encoder = responseEncoder, encoder.holdsBack {
            // The client waits for what was said so far.
            guard unsafe encoder.flush({ unsafe appendEncoded($0) }) else { return abortResponse() }
        }
        if !output.isEmpty {
            guard let result = transport?.write(from: &output, moreFollows: responseBody.isApart) else { return }
            switch result {
            case .moved(let count): bytesMoved &+= count
            case .wouldBlock: break
            case .closed: return close()
            }
        }
        if output.isEmpty, responseBody.isApart { guard sendApart() else { return } }
        if output.isEmpty, responseEncoder?.holdsBack == true { markDirty() }
        if ungranted > 0, output.readableByteCount < Self.outputHighWater {
            let count = ungranted
            ungranted = 0
            responseProducer?.grant(count)
        }
        if output.isEmpty, !responseBody.isApart, responseBody.isComplete { finishResponse() }
        updateInterest()
    }

    /// Sends of a body that isn't in the output.
    ///
    /// - Returns: false when the connection is gone.
    private func sendApart() -> Bool {
        switch responseBody {
        case .file(let slice, let offset, let left, let behind): sendFile(slice, offset, left, behind: behind)
        case .bytes(let bytes, let left): send(bytes, left)
        case .none, .length, .chunked, .untilClose, .dropped, .complete: true
        }
    }

    private func send(_ bytes: [UInt8], _ left: Int) -> Bool {
        guard let result = transport?.send(bytes, last: left) else { return false }
        switch result {
        case .moved(let count):
            bytesMoved &+= count
            responseBody = left > count ? .bytes(bytes, left: left - count) : .complete
        case .wouldBlock: break
        case .closed:
            close()
            return false
        }
        return true
    }

    private func sendFile(_ slice: FileSlice, _ start: Int64, _ count: Int, behind: Int) -> Bool {
        var (offset, left) = (start, count)
        while left > 0 {
            guard let result = transport?.sendFile(slice.descriptor.rawValue, offset: &offset, count: left) else {
                return false
            }
            switch result {
            case .moved(let count):
                left -= count
                bytesMoved &+= count
                // One MiB a turn: a fast client must not keep the others waiting.
                if left > 0, count == 1 << 20 {
                    responseBody = .file(slice, offset: offset, left: left, behind: behind)
                    markDirty()
                    return true
                }
            case .wouldBlock:
                responseBody = .file(slice, offset: offset, left: left, behind: behind)
                return true
            case .closed:
                close()
                return false
            }
        }
        guard behind > 0, let files = responseProducer as? FilesProducer else {
            responseBody = .complete
            return true
        }
        responseBody = .length(left: behind)
        files.pull()
        return true
    }

    func took(bodyBytes count: Int) { ungranted += count }

    // MARK: The end of a request

    /// The answer is written. What comes next depends on what the client has still to send.
    private func finishResponse() {
        guard phase == .exchanging else { return }
        exchange.finish(on: self)
        responseBody = .none
        responseEncoder = nil
        responseProducer = nil
        event = nil
        if requestBody.isPending { bodyConsumer?.fail(.cancelled) }
        bodyConsumer = nil
        retainedConsumer = nil
        if exchange.mustClose || reactor.isDraining || !exchange.keepAlive || !drainRequestBody() {
            return linger()
        }
        nextRequest()
    }

    /// Swallows what is left of the request's body; false when that would be too much.
    private func drainRequestBody() -> Bool {
        guard requestBody.isPending else { return true }
        guard canDrainRequestBody, let left = requestBody.bytesLeft else { return false }
        input.consume(Int(left))
        requestBody = .none
        return true
    }

    /// Whether the rest of the request's body is small and here.
    var canDrainRequestBody: Bool {
        guard let left = requestBody.bytesLeft else { return false }
        return left <= Self.drainBytesMax && left <= input.readableByteCount - exchange.unconsumedHead
    }

    private func nextRequest() {
        if exchange.unconsumedHead > 0 { input.consume(exchange.unconsumedHead) }
        exchange.unconsumedHead = 0
        exchange.route = nil  // A connection that waits keeps no release alive.
        exchange.site = nil
        phase = .idle
        closedDeadline = Instant(nanoseconds: .max)
        if clientHasClosed, input.isEmpty { return close() }  // After `phase = .idle`: the answer is complete.
        deadline = reactor.now.advanced(byNanoseconds: node.idleNanoseconds)
        // Not from here: a client with a thousand pipelined requests would make a thousand nested calls.
        if !input.isEmpty {
            reactor.later { [self] in
                guard phase == .idle else { return }
                parseHead()
                if clientHasClosed, phase == .waiting || phase == .exchanging {
                    closedDeadline = self.reactor.now + Self.halfClosedTime
                }
            }
        }
    }

    private func linger() {
        guard !clientHasClosed else { return close(isComplete: true) }
        phase = .lingering
        deadline = reactor.now + Self.lingerTime
        transport?.shutdownSending()
        input.consume(input.readableByteCount)
        updateInterest()
    }

    /// - Parameter isComplete: the answer has been written.
    func close(isComplete: Bool = false) {
        guard let transport = transport.take() else { return }
        if phase == .waiting, let route = exchange.route { reactor.dispatcher.gaveUp(route.worker) }
        let wasExchanging = phase == .gathering || phase == .waiting || phase == .exchanging
        phase = .closed
        reactor.unwatch(self, transport.rawValue)
        transport.close(isComplete: isComplete || !wasExchanging)
        reactor.connectionCount -= 1
        node.admission.leave(client.address, isExempt: client.isTrusted)
        if wasExchanging { exchange.aborted(on: self) }
        exchange.origin = nil
        exchange.cacheFill = nil
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
