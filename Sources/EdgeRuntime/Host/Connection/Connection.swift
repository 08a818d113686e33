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
final class Connection: HTTPStream {
    var transport: Transport?
    private var isDirty = false
    private var interest = Epoll.Interest.read
    private var clientHasClosed = false
    private var readsOnLater = false
    /// When a client that has ended its sending counts as gone.
    private var closedDeadline = Instant(nanoseconds: .max)
    /// It has answered a request.
    private var hasServed = false
    /// Nothing was read yet that tells HTTP/2 from HTTP/1.1. With TLS, the handshake tells (RFC 9113 §3.2, §3.3).
    private var mayBecomeHTTP2 = false

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
        let rawValue = descriptor.rawValue
        var redirectPort: UInt16?
        var firstPhase = Phase.idle
        switch security {
        case .plain:
            transport = Transport(descriptor)
            mayBecomeHTTP2 = true
        case .redirecting(let port):
            redirectPort = port
            transport = Transport(descriptor)
            mayBecomeHTTP2 = true
        case .tls(let context):
            transport = Transport(descriptor, tls: try TLSSession(context, socket: rawValue))
            firstPhase = .handshake
        }
        super.init(
            reactor: reactor, node: node, role: role, client: client, redirectPort: redirectPort,
            deadline: reactor.now + node.settings.headTimeout)
        phase = firstPhase
        try reactor.watch(self, rawValue, .read)
        reactor.connectionCount += 1
        reactor.counters.connectionsAccepted += 1
    }

    override func switchProtocols(
        accept: String, _ lines: [UInt8], _ compression: PerMessageDeflate?
    ) -> WebSocketLink.Opening? {
        becomeWebSocket(accept: accept, lines, compression)
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
        case .tunnel, .closed: break
        }
    }

    private func clientClosed() {
        clientHasClosed = true
        switch phase {
        case .handshake, .head, .lingering, .tunnel, .closed: close()
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

    /// The client has gone and wants no answer.
    private func abandon() {
        reactor.counters.clientAborts += 1
        close()
    }

    /// Parses the head at the start of the input, and starts the request when it is whole.
    private func parseHead() {
        guard !input.isEmpty else { return }
        if mayBecomeHTTP2 {
            switch HTTP2Connection.preface(at: input) {
            case .whole: return becomeHTTP2()
            case .partial: return awaitRestOfHead()
            case .absent: mayBecomeHTTP2 = false
            }
        }
        let progress = unsafe input.withReadable { unsafe parser.parse($0) }
        switch progress {
        case .needMore: awaitRestOfHead()
        case .failed(let error):
            reactor.counters.parseErrors += 1
            refuseRequest(.badRequest(status: error.status, reason: error.description))
        case .complete(let headByteCount):
            startRequest(headByteCount: headByteCount)
        }
    }

    private func awaitRestOfHead() {
        guard !clientHasClosed else { return close() }
        if phase == .idle {
            phase = .head
            deadline = reactor.now + node.settings.headTimeout
        }
        updateInterest()
    }

    // MARK: HTTP/1.1's own part of messages

    override func makeRequestBody() -> RequestBody {
        if parser.head.isChunked {
            chunked.reset()
            return .chunked
        }
        if let length = parser.head.contentLength, length > 0 { return .length(left: length) }
        return .none
    }

    override func sendContinue() {
        output.append("HTTP/1.1 100 Continue\r\n\r\n" as StaticString)
        markDirty()
    }

    override func makeOpenBody() -> ResponseBody {
        if exchange.minorVersion >= 1 {
            output.append("Transfer-Encoding: chunked\r\n" as StaticString)
            return .chunked
        }
        exchange.mustClose = true
        return .untilClose
    }

    override func endHead(hasLength: Bool) {
        // An answer that is complete before the request is: what is left of the body is not waited for, and the client
        // learns here that it can't go on on this connection. Where the answer is open-ended, that is decided when it is out.
        if hasLength, requestBody.isPending, !canDrainRequestBody, !exchange.isBodyReturned { exchange.mustClose = true }
        if exchange.mustClose || !exchange.keepAlive || reactor.announcesEnd(canBeParked: transport?.tls == nil) {
            exchange.mustClose = true
            output.append("Connection: close\r\n" as StaticString)
        } else if exchange.minorVersion == 0 {
            output.append("Connection: keep-alive\r\n" as StaticString)
        }
        output.append("\r\n" as StaticString)
    }

    override var protocolName: String { "HTTP/1.\(exchange.minorVersion)" }

    override var tlsSession: TLSSession? { transport?.tls }

    /// Whether the rest of the request's body is small and here.
    private var canDrainRequestBody: Bool {
        guard let left = requestBody.bytesLeft else { return false }
        return left <= Self.drainBytesMax && left <= input.readableByteCount - exchange.unconsumedHead
    }

    // MARK: The other version

    /// Hands the socket, and what was read from it, to a connection of the other version.
    func becomeHTTP2() {
        guard let transport = transport.take() else { return }
        phase = .closed
        var read = ByteBuffer()
        swap(&read, &input)
        HTTP2Connection.takeOver(self, transport, read: read)
    }

    // MARK: Interest and deadlines

    override func updateInterest() {
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
        case .tunnel, .closed: false
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
            refuseRequest(.requestTimeout)
        case .waiting:  // The dispatcher has its own deadline.
            if now >= closedDeadline { abandon() }
        case .gathering: tickGathering(now)
        case .exchanging:
            if clientHasClosed {
                if hasMoved { closedDeadline = now + Self.halfClosedTime }
                if now >= closedDeadline { return abandon() }
            }
            tickExchange(now)
        case .lingering: if now >= deadline { close() }
        case .tunnel, .closed: break
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

    // MARK: Writing

    override func markDirty() {
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
        guard flushEncoder() else { return }
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

    // MARK: The end of a request

    /// The answer is written. What comes next depends on what the client has still to send.
    private func finishResponse() {
        guard phase == .exchanging else { return }
        endAnswer()
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

    private func nextRequest() {
        if exchange.unconsumedHead > 0 { input.consume(exchange.unconsumedHead) }
        exchange.unconsumedHead = 0
        exchange.route = nil  // A connection that waits keeps no release alive.
        exchange.site = nil
        phase = .idle
        hasServed = true
        closedDeadline = Instant(nanoseconds: .max)
        if clientHasClosed, input.isEmpty { return close() }  // After `phase = .idle`: the answer is complete.
        deadline = reactor.now.advanced(byNanoseconds: node.idleNanoseconds)
        if reactor.isHolding, reactor.park(self) { return }
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

    // MARK: Another process of the node

    /// Lets go of the socket between two requests.
    ///
    /// - Returns: `nil` when it is in the middle of one, speaks TLS, or can't be handed on for another reason. Else it does
    ///   nothing any more.
    func park() -> ParkedConnection? {
        guard phase == .idle || phase == .head, output.isEmpty, !clientHasClosed,
            input.readableByteCount <= Self.pipelinedBytesMax, transport?.tls == nil, let transport = transport.take()
        else { return nil }
        phase = .closed
        reactor.unwatch(self, transport.rawValue)
        reactor.connectionCount -= 1
        node.admission.leave(client.address, isExempt: client.isTrusted)
        let bytes = unsafe input.withReadable { unsafe Array($0) }
        input.consume(input.readableByteCount)
        return ParkedConnection(
            role: role.listener, redirectPort: redirectPort, bytes: bytes, descriptor: transport.release())
    }

    var staysHere: Bool { transport?.tls != nil }

    /// With TLS, and without a request so far: its client is about to send one.
    var isNewcomer: Bool {
        phase == .handshake || phase == .head && transport?.tls != nil || phase == .idle && !hasServed && transport?.tls != nil
    }

    /// Nothing new may begin, and nobody else can go on with it.
    func endIfServed() {
        if phase == .idle, hasServed, transport?.tls != nil { closeUnlessAsked() }
    }

    /// Its client had its time.
    func endNewcomer() { if isNewcomer { close() } }

    /// Goes on where `park` left off.
    func goOn(with bytes: [UInt8]) {
        deadline = reactor.now.advanced(byNanoseconds: node.idleNanoseconds)
        guard !bytes.isEmpty else { return }
        unsafe bytes.withUnsafeBytes { unsafe input.append($0) }
        parseHead()
    }

    override func close(isComplete: Bool = false) {
        guard let transport = transport.take() else { return }
        let wasInExchange = isInExchange
        reactor.unwatch(self, transport.rawValue)
        transport.close(isComplete: isComplete || !wasInExchange)
        reactor.connectionCount -= 1
        node.admission.leave(client.address, isExempt: client.isTrusted)
        abandonExchange()
    }
}
