internal import CLinux
internal import Glibc
internal import HTTP
internal import HTTP2
internal import Stores
internal import System
internal import TLS
internal import Wire

/// One request of an HTTP/2 connection, and its answer. Reactor thread only.
///
/// The head comes as fields and is written down as HTTP/1.1 has it, so everything behind it is the same for both versions; the
/// answer's head goes the other way. Bodies have no framing of their own here. Of the request's, the client may send a window,
/// which it gets back as bytes are taken; the answer's is taken by the connection as the client's windows allow.
///
/// The object serves one request after another of its connection, so that a request costs no memory of its own.
final class HTTP2Stream: HTTPStream {
    private let connection: HTTP2Connection
    private(set) var number: Int32
    private var isDirty = false
    /// The answer has a body, which the session asks for.
    private var hasBody = false
    /// The last frame of the answer is written, or stands in line.
    private var hasSentEnd = false
    /// Body bytes that were received and not given back to the client's windows.
    private(set) var heldByteCount = 0
    /// Whether another request may use the object: nobody in a line knows it.
    private(set) var isReusable = true
    var isListedAsServed = false
    /// The request asks for a WebSocket (RFC 8441): what follows its head is no body.
    var isConnect = false
    /// The WebSocket that the stream has become.
    private var link: WebSocketLink?

    /// Output beyond which the answer's producer gets no more credit.
    private static let outputHighWater = 64 << 10
    /// A request that is answered before it is complete may go on for so long (RFC 9113 §8.1): some clients take a reset for
    /// the answer's failure.
    private static let lingerTime = Duration.seconds(1)
    /// Buffers beyond this aren't kept for the next request.
    private static let keptByteCount = 16 << 10

    init(_ connection: HTTP2Connection, number: Int32) {
        self.connection = connection
        self.number = number
        super.init(
            reactor: connection.reactor, node: connection.node, role: connection.role, client: connection.client,
            redirectPort: connection.redirectPort, deadline: connection.reactor.now + connection.node.settings.headTimeout)
    }

    /// Takes the next request, whose head is to come.
    func begin(_ number: Int32) {
        self.number = number
        phase = .idle
        deadline = reactor.now + node.settings.headTimeout
        hasRequestEnded = false
        hasBody = false
        hasSentEnd = false
        isConnect = false
        heldByteCount = 0
        ungranted = 0
    }

    /// Gives back what it need not keep until the next request.
    func rest() {
        exchange = Exchange()
        input.consume(input.readableByteCount)
        output.consume(output.readableByteCount)
        if input.allocatedByteCount > Self.keptByteCount { input.releaseIfEmpty() }
        if output.allocatedByteCount > Self.keptByteCount { output.releaseIfEmpty() }
    }

    // MARK: The request

    /// Starts the request whose head is in `input`.
    func takeHead(isWholeRequest: Bool) {
        hasRequestEnded = isWholeRequest
        let progress = unsafe input.withReadable { unsafe parser.parse($0) }
        switch progress {
        case .complete(let headByteCount): startRequest(headByteCount: headByteCount)
        case .failed(let error): refuseHead(error)
        // It ends with an empty line, so there is no more of it.
        case .needMore: refuseHead(.malformedTarget)
        }
    }

    func refuseHead(_ error: HTTPParseError) {
        reactor.counters.parseErrors += 1
        isReusable = false  // A parser that has failed reads nothing more.
        input.consume(input.readableByteCount)
        refuseRequest(.badRequest(status: error.status, reason: error.description))
    }

    /// A protocol that isn't spoken here, or one that the client has ended before it began.
    func refuseProtocol() {
        isReusable = false
        refuseRequest(.badRequest(status: 501, reason: "CONNECT is taken for the protocol websocket only"))
    }

    /// Takes what came of the body.
    func receive(body bytes: UnsafeRawBufferPointer) {
        bytesMoved &+= bytes.count
        // What nobody will read is dropped, and its window isn't given back: so the client stops.
        guard phase != .closed, phase != .lingering else { return connection.giveBack(bytes.count, of: nil) }
        heldByteCount += bytes.count
        if let link { return unsafe link.receive(bytes) }
        // Of a WebSocket that isn't answered yet, the window holds the client back.
        if isConnect { return unsafe input.append(bytes) }
        if requestBody.isPending { unsafe input.append(bytes) }
        bodyArrived()
    }

    func requestEnded() {
        hasRequestEnded = true
        guard phase != .closed else { return }
        if let link { return link.tunnelEnded() }
        bodyArrived()
    }

    private func bodyArrived() {
        switch phase {
        case .gathering:
            if hasRestOfBody { submit() } else { updateInterest() }
        case .waiting, .exchanging:
            if requestBody.isPending { pumpRequestBody() }
            updateInterest()
        case .handshake, .idle, .head, .lingering, .tunnel, .closed: break
        }
    }

    /// Gives the client back the windows of what was taken of its body.
    override func updateInterest() {
        guard phase != .closed, !isConnect else { return }
        let waiting = requestBody.isPending ? input.readableByteCount - exchange.unconsumedHead : 0
        guard heldByteCount > waiting else { return }
        connection.giveBack(heldByteCount - waiting, of: requestBody.isPending && !hasRequestEnded ? self : nil)
        heldByteCount = waiting
    }

    override func makeRequestBody() -> RequestBody {
        if hasRequestEnded || isConnect { return .none }
        guard let length = parser.head.contentLength else { return .untilEnd }
        return length > 0 ? .length(left: length) : .none
    }

    override func sendContinue() { connection.sendContinue(self) }

    // MARK: The answer

    override var protocolName: String { "HTTP/2" }

    override var tlsSession: TLSSession? { connection.tlsSession }

    override func makeOpenBody() -> ResponseBody { .untilClose }

    override func endHead(hasLength: Bool) {
        hasBody =
            switch responseBody {
            case .dropped, .none, .complete: false
            case .length(let left): left > 0
            case .chunked, .untilClose, .file, .bytes: true
            }
        hasSentEnd = !hasBody
        let isTaken = connection.respond(self, status: exchange.status, &output, hasBody: hasBody)
        output.consume(output.readableByteCount)
        if !isTaken { close() }
    }

    override func markDirty() {
        guard !isDirty, phase != .closed else { return }
        isDirty = true
        connection.markDirty(self)
    }

    /// Lets the session ask for what has gathered.
    func flush() {
        isDirty = false
        if phase == .tunnel { return connection.resume(self) }
        guard phase == .exchanging, exchange.isHeadSent, flushEncoder() else { return }
        if hasBody { connection.resume(self) } else { connection.noteServed(self) }
    }

    /// What can be sent of the body, at most `most` bytes.
    func nextPiece(upTo most: Int) -> HTTP2Piece? {
        guard phase == .exchanging || phase == .tunnel else { return nil }
        if !output.isEmpty {
            let count = min(most, output.readableByteCount)
            return HTTP2Piece(byteCount: count, isLast: responseBody.isComplete && count == output.readableByteCount)
        }
        switch responseBody {
        case .bytes(_, let left): return HTTP2Piece(byteCount: min(most, left), isLast: left <= most)
        case .file(_, _, let left, let behind):
            return HTTP2Piece(byteCount: min(most, left), isLast: left <= most && behind == 0)
        case .complete: return HTTP2Piece(byteCount: 0, isLast: true)
        case .none, .length, .chunked, .untilClose, .dropped: return nil
        }
    }

    /// Writes a piece that `nextPiece` has promised.
    ///
    /// - Returns: false when it can't: a file is shorter than it was.
    func write(_ piece: HTTP2Piece, to target: inout ByteBuffer) -> Bool {
        guard phase == .exchanging || phase == .tunnel else { return false }
        let count = piece.byteCount
        if !output.isEmpty {
            unsafe output.withReadable { unsafe target.append(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
            output.consume(count)
        } else if case .bytes(let bytes, let left) = responseBody {
            let start = bytes.count - left
            unsafe bytes.withUnsafeBytes { unsafe target.append(UnsafeRawBufferPointer(rebasing: $0[start..<(start + count)])) }
            responseBody = left > count ? .bytes(bytes, left: left - count) : .complete
        } else if case .file(let slice, let offset, let left, let behind) = responseBody {
            guard Self.read(slice, at: offset, count: count, to: &target) else { return false }
            if left > count {
                responseBody = .file(slice, offset: offset + Int64(count), left: left - count, behind: behind)
            } else {
                responseBody = behind > 0 ? .length(left: behind) : .complete
                if behind > 0 { (responseProducer as? FilesProducer)?.pull() }
            }
        }
        bytesMoved &+= count
        if piece.isLast { hasSentEnd = true }
        return true
    }

    /// As `sendfile` does for HTTP/1.1, this reads where it stands: what is read was written or read before, as a rule.
    private static func read(_ slice: FileSlice, at offset: Int64, count: Int, to target: inout ByteBuffer) -> Bool {
        var done = 0
        while done < count {
            var result = 0
            let (position, wanted) = (off_t(offset) + off_t(done), count - done)
            _ = unsafe target.withWritable(atLeast: wanted) { room in
                // SAFETY: the kernel writes at most `wanted` bytes, which `withWritable` has lent.
                unsafe result = pread(slice.descriptor.rawValue, room.baseAddress, wanted, position)
                return max(0, result)
            }
            if result < 0, errno == EINTR { continue }
            guard result > 0 else {
                target.removeLast(done)
                return false
            }
            done += result
        }
        return true
    }

    /// Something of the answer was written, or all of it.
    func wasServed() {
        if phase == .tunnel, !hasSentEnd, output.readableByteCount < Self.outputHighWater { link?.tunnelHasRoom() }
        guard phase == .exchanging else { return }
        if hasSentEnd, responseBody.isComplete { return finishResponse() }
        if ungranted > 0, output.readableByteCount < Self.outputHighWater {
            let count = ungranted
            ungranted = 0
            responseProducer?.grant(count)
        }
        if output.isEmpty, responseEncoder?.holdsBack == true { markDirty() }
    }

    private func finishResponse() {
        endAnswer()
        exchange.route = nil
        exchange.site = nil
        phase = hasRequestEnded ? .closed : .lingering
        deadline = reactor.now + Self.lingerTime
    }

    // MARK: The end

    override func close(isComplete: Bool = false) {
        guard phase != .closed else { return }
        isReusable = false
        abandonExchange()
        connection.reset(self, .internalError)
    }

    /// The session is through with the stream.
    ///
    /// - Returns: whether it was in vain: the request had not been answered.
    func wasClosed() -> Bool {
        connection.giveBack(heldByteCount, of: nil)
        heldByteCount = 0
        if let link {
            self.link = nil
            phase = .closed
            link.disconnect()
        }
        guard phase != .closed, phase != .lingering, phase != .tunnel else {
            phase = .closed
            return false
        }
        if hasSentEnd, phase == .exchanging {
            hasRequestEnded = true
            finishResponse()
            return false
        }
        if isInExchange { reactor.counters.clientAborts += 1 }
        isReusable = false
        abandonExchange()
        return true
    }

    override func tick(_ now: Instant) {
        switch phase {
        case .idle: if now >= deadline { connection.headTookTooLong() }
        case .gathering: tickGathering(now)
        case .exchanging: tickExchange(now)
        case .lingering:
            guard now >= deadline else { return }
            phase = .closed
            connection.reset(self, .noError)
        // The dispatcher has its own deadline, and so has a WebSocket.
        case .waiting, .handshake, .head, .tunnel, .closed: break
        }
    }

    // MARK: WebSockets

    /// The answer is the status 200, and the stream the connection (RFC 8441 §5).
    override func switchProtocols(
        accept: String, _ lines: [UInt8], _ compression: PerMessageDeflate?
    ) -> WebSocketLink.Opening? {
        guard isConnect, phase == .exchanging, !exchange.isHeadSent else { return nil }
        output.append("HTTP/1.1 200 OK\r\n" as StaticString)
        appendSwitch(lines, compression)
        exchange.status = 200
        hasBody = true
        let isTaken = connection.respond(self, status: 200, &output, hasBody: true)
        output.consume(output.readableByteCount)
        guard isTaken else { return nil }
        noteEnd()
        leaveExchange()
        phase = .tunnel
        responseBody = .untilClose
        isReusable = false
        markDirty()
        var opening = WebSocketLink.Opening(tunnel: self, compression: compression)
        swap(&opening.input, &input)
        return opening
    }
}

extension HTTP2Stream: WebSocketTunnel {
    func carry(_ link: WebSocketLink) {
        guard phase == .tunnel else { return link.disconnect() }
        self.link = link
        if hasRequestEnded { link.tunnelEnded() }
    }

    func write(from buffer: inout ByteBuffer) -> TransferResult {
        let count = min(buffer.readableByteCount, Self.outputHighWater - output.readableByteCount)
        guard count > 0 else { return .wouldBlock }
        unsafe buffer.withReadable { unsafe output.append(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        buffer.consume(count)
        markDirty()
        return .moved(count)
    }

    func took(_ byteCount: Int) {
        let count = min(byteCount, heldByteCount)
        heldByteCount -= count
        connection.giveBack(count, of: hasRequestEnded ? nil : self)
    }

    func endSending() {
        guard phase == .tunnel else { return }
        responseBody = .complete
        markDirty()
    }

    func closeTunnel(isComplete: Bool) {
        link = nil
        guard phase == .tunnel else { return }
        if isComplete, hasSentEnd, hasRequestEnded { return }
        phase = .closed
        // What a reset is to a connection (RFC 8441 §5).
        connection.reset(self, isComplete && hasSentEnd ? .noError : .cancel)
    }
}
