internal import HTTP
internal import Interfaces
internal import System
internal import Wire

/// Who has the messages of a `WebSocketLink`. Called on the link's reactor.
protocol WebSocketLinkOwner: AnyObject {
    /// Whether messages may come; the peer isn't read while not. Call `readOn` when that changes.
    var canReceive: Bool { get }
    /// The next bytes of a message, or all of it: see `WebSocketReader.Delivery`. A text is UTF-8 as a whole.
    func received(_ kind: WebSocketOpcode, _ bytes: [UInt8], isFinal: Bool, by link: WebSocketLink)
    /// All that was read has been given to `received`.
    func receivedAll(by link: WebSocketLink)
    /// The peer has said its last word, or broken a rule (not `wasClean`). Unless this side has said its own before, what was begun
    /// may still be sent; then `answerClose`. Comes once.
    func received(_ close: SocketClose, by link: WebSocketLink)
    /// The peer takes more: `hasRoom`. Comes with each flush that leaves room.
    func canSend(on link: WebSocketLink)
    /// Both sides have said their last word. May not come.
    func closed(_ link: WebSocketLink)
    /// The connection is gone. Comes once, as the last call.
    func ended(_ link: WebSocketLink, because reason: String)
    /// A few times a second while it is open.
    func tick(_ link: WebSocketLink, _ now: Instant)
}

/// A WebSocket on its connection, for whoever has its messages: frames, masks, fragments, compression, texts, pings and the
/// closing handshake are its business (RFC 6455, RFC 7692). It may be the server's end or the client's, and its bytes may go
/// through a socket or through a stream of HTTP/2. Reactor thread only.
///
/// States, each with what ends it:
/// - `open`: both sides may send; either one's close, a mistake of the peer, its silence.
/// - `answering`: the peer has closed, or broken a rule; what the owner still says goes out. `answerClose`, or a few seconds.
/// - `closing`: the Close frame of this side is out, or in the output; the peer's, or a few seconds.
/// - `lingering`: both were said: the peer reads what is left and ends the connection; its end, or a moment.
/// - `gone`: there is no connection.
///
/// What is held is bounded: the owner says whether it takes messages, and the output's high water whether it is to send any.
final class WebSocketLink: PollTarget, Ticker {
    enum Side { case server, client }
    enum Phase { case open, answering, closing, lingering, gone }

    struct Limits {
        /// Of a message from the peer (spec: durable-objects, section 5).
        var messageBytesMax = 32 << 20
        /// Clients that forget to mask their frames are let in.
        var needsMasking = true
        /// After so much silence the peer is asked whether it is still there.
        var pingInterval = Duration.seconds(30)
        /// A peer that says nothing for so long, though it was asked, is gone.
        var silenceMax = Duration.seconds(90)
    }

    /// What the link's bytes go through, and what was read behind the handshake.
    struct Opening: ~Copyable {
        /// `nil`: `tunnel` carries them.
        var transport: Transport?
        var tunnel: (any WebSocketTunnel)?
        var input = ByteBuffer()
        /// What the peer gets first.
        var output = ByteBuffer()
        var compression: PerMessageDeflate?
        /// This side has said its last word already, before the link was another process'.
        var isClosing = false
        /// Given back at the end.
        var place: Place?
    }

    /// The place that a client's connection has among the node's.
    struct Place {
        let client: Client
        let node: NodeContext

        fileprivate func leave(_ reactor: Reactor) {
            reactor.connectionCount -= 1
            node.admission.leave(client.address, isExempt: client.isTrusted)
        }
    }

    let reactor: Reactor
    let side: Side
    let compression: PerMessageDeflate?
    private(set) var phase = Phase.open
    private let place: Place?
    private let limits: Limits
    private var owner: (any WebSocketLinkOwner)?
    private var transport: Transport?
    private var tunnel: (any WebSocketTunnel)?
    private(set) var input: ByteBuffer
    private(set) var reader: WebSocketReader
    private var interest = Epoll.Interest.read
    private var isDirty = false
    private var isReading = false
    private var heardAt: Instant
    private var askedAt: Instant?
    /// Of all states but `open` and `gone`.
    private var deadline = Instant(nanoseconds: .max)
    private var hasHeardClose = false
    private var hasTunnelEnded = false
    /// It rests: another process may be about to have the connection.
    private(set) var isParked = false

    // What is sent: see `WebSocketLink+Sending`.
    var output: ByteBuffer
    var sending = Sending()
    /// What the peer is told in the end: the code of its own Close frame, or what it did wrong.
    private var answer: SocketClose?

    private static let readBytesMax = 16 << 10
    private static let closingTime = Duration.seconds(5)
    private static let lingerTime = Duration.seconds(2)

    init(
        _ opening: consuming Opening, side: Side, limits: Limits = Limits(), delivery: WebSocketReader.Delivery,
        reactor: Reactor
    ) {
        transport = opening.transport.take()
        tunnel = opening.tunnel
        input = opening.input
        output = opening.output
        compression = opening.compression
        place = opening.place
        let isClosing = opening.isClosing
        self.side = side
        self.limits = limits
        self.reactor = reactor
        reader = WebSocketReader(
            masking: side == .client ? .refused : limits.needsMasking ? .required : .optional,
            messageBytesMax: limits.messageBytesMax, delivery: delivery,
            inflater: compression == nil ? nil : MessageInflater())
        heardAt = reactor.now
        if isClosing {
            phase = .closing
            deadline = reactor.now + Self.closingTime
        }
    }

    /// Begins with what was read behind the handshake. The owner is kept until `ended`, which may come before this returns.
    func begin(for owner: any WebSocketLinkOwner) {
        self.owner = owner
        if let tunnel {
            reactor.addTicker(self)
            tunnel.carry(self)
        } else if let rawValue = transport?.rawValue {
            do {
                try reactor.watch(self, rawValue, .read)
            } catch {
                reactor.logger.log(.error, "a WebSocket can't be watched: \(error)")
                return disconnect()
            }
        }
        readFrames()
        flush()
    }

    /// Goes on for somebody else, with the next message.
    func pass(to owner: any WebSocketLinkOwner) { if phase != .gone { self.owner = owner } }

    // MARK: Reading

    override func becameReady(_ events: Epoll.Interest) {
        if canRead {
            if events.isReadable || transport?.waitsToWrite == true { read() }
        } else if events.isFailure {
            return disconnect()
        }
        flush()
    }

    /// Whether there is room for what the peer may send.
    private var canRead: Bool {
        phase == .lingering || phase == .answering || owner?.canReceive == true
    }

    private func read() {
        guard let result = transport?.read(into: &input, upTo: Self.readBytesMax) else { return }
        switch result {
        case .wouldBlock: return
        case .closed: return disconnect()
        case .moved: heard()
        }
        readMoreLater()
    }

    private func heard() {
        heardAt = reactor.now
        askedAt = nil
        readFrames()
    }

    /// TLS may have more that epoll says nothing of.
    private func readMoreLater() {
        guard canRead, transport?.hasUnread == true else { return }
        reactor.later { [self] in
            if canRead { read() }
            flush()
        }
    }

    /// The owner takes messages again.
    func readOn() {
        guard phase != .gone, !isReading, !isParked, canRead else { return }
        guard !input.isEmpty else { return updateInterest() }
        readFrames()
        flushLater()
    }

    private func readFrames() {
        guard !isReading else { return }
        isReading = true
        var offset = 0
        do {
            while phase == .open || phase == .closing, canRead,
                let event = try unsafe input.withReadable({ bytes throws(WebSocketFailure) in
                    try unsafe reader.next(bytes, from: &offset)
                })
            { received(event) }
        } catch {
            fail(error)
        }
        isReading = false
        let count = phase == .open || phase == .closing ? offset : input.readableByteCount
        input.consume(count)
        tunnel?.took(count)
        input.releaseIfEmpty()
        owner?.receivedAll(by: self)
        if hasTunnelEnded, input.isEmpty { disconnect() }
    }

    private func received(_ event: WebSocketReader.Event) {
        switch event {
        case .piece(let kind, let bytes, let isFinal): owner?.received(kind, bytes, isFinal: isFinal, by: self)
        case .text(let bytes): owner?.received(.text, bytes, isFinal: true, by: self)
        case .binary(let bytes): owner?.received(.binary, bytes, isFinal: true, by: self)
        case .ping(let payload): if phase == .open { pong(payload) }
        case .pong: break
        case .close(let code, let reason):
            heardLastWord(
                SocketClose(code: code?.rawValue, reason: reason), answer: SocketClose(code: code?.rawValue))
        }
    }

    /// The peer broke a rule: it is told which, and the connection ends.
    private func fail(_ failure: WebSocketFailure) {
        heardLastWord(
            SocketClose(code: 1006, reason: failure.reason, wasClean: false),
            answer: SocketClose(code: failure.code.rawValue, reason: failure.reason))
    }

    private func heardLastWord(_ close: SocketClose, answer: SocketClose) {
        let wasOpen = phase == .open
        if wasOpen {
            phase = .answering
            self.answer = answer
            deadline = reactor.now + Self.closingTime
        }
        if !hasHeardClose {
            hasHeardClose = true
            owner?.received(close, by: self)
        }
        if !wasOpen, phase == .closing { linger() }
    }

    // MARK: A tunnel's side

    /// Bytes came through the tunnel.
    func receive(_ bytes: UnsafeRawBufferPointer) {
        unsafe input.append(bytes)
        guard canRead else { return }
        heard()
        flushLater()
    }

    /// Nothing more comes through the tunnel.
    func tunnelEnded() {
        hasTunnelEnded = true
        if input.isEmpty { disconnect() }
    }

    /// The tunnel has room again.
    func tunnelHasRoom() { flush() }

    // MARK: Deadlines

    override func tick(_ now: Instant) {
        switch phase {
        case .open: tickOpen(now)
        case .answering: if now >= deadline { answerClose() }
        case .closing, .lingering: if now >= deadline { disconnect() }
        case .gone: break
        }
    }

    private func tickOpen(_ now: Instant) {
        owner?.tick(self, now)
        guard phase == .open else { return }
        // A peer that isn't read can't be heard.
        if !canRead { heardAt = now }
        if now - heardAt >= limits.silenceMax { return disconnect(because: "the client is silent") }
        if askedAt == nil, now - heardAt >= limits.pingInterval, !isInFrame {
            askedAt = now
            if hasRoom { append(.ping, []) }
            flush()
        }
        output.releaseIfEmpty()
    }

    // MARK: The end

    /// What the peer is to be told when the node ends, or this process of it; `nil` while it doesn't.
    var farewell: SocketClose? {
        guard reactor.endsWebSockets else { return nil }
        return reactor.hasSuccessor
            ? SocketClose(code: 1012, reason: "the node is being replaced: connect again")
            : SocketClose(code: 1001, reason: "the node is being stopped")
    }

    /// This side's last word, behind the frame that is being written.
    func say(_ close: SocketClose) {
        guard phase == .open else { return }
        phase = .closing
        deadline = reactor.now + Self.closingTime
        if isInFrame { sending.lastWord = close } else { write(close) }
        flush()
    }

    /// Answers the peer's last word.
    func answerClose() {
        guard phase == .answering, let answer else { return }
        guard !isInFrame else { return disconnect() }
        write(answer)
        linger()
    }

    private func linger() {
        phase = .lingering
        deadline = reactor.now + Self.lingerTime
        owner?.closed(self)
        flushLater()
    }

    /// Ends the connection as it is.
    func disconnect(because reason: String = "the connection was lost") {
        guard phase != .gone else { return }
        let isComplete = phase == .lingering && output.isEmpty
        phase = .gone
        if let transport = transport.take() {
            reactor.unwatch(self, transport.rawValue)
            transport.close(isComplete: isComplete)
        }
        if let tunnel {
            self.tunnel = nil
            reactor.removeTicker(self)
            tunnel.closeTunnel(isComplete: isComplete)
        }
        place?.leave(reactor)
        input = ByteBuffer()
        output = ByteBuffer()
        sending = Sending()
        let owner = owner
        self.owner = nil
        owner?.ended(self, because: reason)
    }

    // MARK: Another process of the node

    /// Reads and writes nothing from now on, until `goOn` or `abandon`.
    ///
    /// - Returns: false, and nothing has changed, when this process alone can have the connection.
    func park() -> Bool {
        guard phase == .open || phase == .closing, tunnel == nil, transport?.tls == nil, !isInFrame, reader.canBeReplaced,
            let rawValue = transport?.rawValue
        else { return false }
        isParked = true
        reactor.unwatch(self, rawValue)
        return true
    }

    /// Of the socket, which stays this link's.
    var descriptor: Int32? { transport?.rawValue }

    /// It stays here after all.
    func goOn() {
        guard isParked, let rawValue = transport?.rawValue else { return }
        isParked = false
        interest = .read
        do { try reactor.watch(self, rawValue, .read) } catch {
            reactor.logger.log(.error, "a WebSocket can't be watched: \(error)")
            return disconnect()
        }
        readFrames()
        flush()
    }

    /// Another process has the connection: this one lets go of it, and the owner of this.
    func abandon() {
        guard isParked, let transport = transport.take() else { return }
        phase = .gone
        transport.close()
        place?.leave(reactor)
        owner = nil
        input = ByteBuffer()
        output = ByteBuffer()
        sending = Sending()
    }

    // MARK: Writing

    /// At the end of the turn.
    func flushLater() {
        guard !isDirty, phase != .gone else { return }
        isDirty = true
        reactor.markDirty(self)
    }

    /// For the reactor, when the turn ends.
    func flushDirty() {
        isDirty = false
        flush()
    }

    func flush() {
        guard phase != .gone, !isParked else { return }
        if phase == .open || phase == .answering { writePongs() }
        if case .closed? = write() { return disconnect() }
        if hasRoom {
            let byteCount = output.readableByteCount
            owner?.canSend(on: self)
            if output.readableByteCount > byteCount, case .closed? = write() { return disconnect() }
        }
        guard phase != .gone else { return }
        // The server ends the connection first (RFC 6455 §7.1.1): the client reads the Close frame, then the end.
        if phase == .lingering, output.isEmpty {
            if let tunnel { tunnel.endSending() } else if side == .server { transport?.shutdownSending() }
        }
        updateInterest()
    }

    /// Writes what it can: the socket's room, and no more than that.
    @discardableResult
    func write() -> TransferResult? {
        guard !output.isEmpty else { return nil }
        if let tunnel { return tunnel.write(from: &output) }
        return transport?.write(from: &output)
    }

    private func updateInterest() {
        guard let rawValue = transport?.rawValue else { return }
        // That the peer has closed its side would be reported again and again while nobody reads how far it came.
        var wanted: Epoll.Interest = canRead ? .read : []
        if !output.isEmpty || transport?.waitsToWrite == true { wanted.insert(.write) }
        guard wanted != interest else { return }
        interest = wanted
        reactor.change(self, rawValue, wanted)
        readMoreLater()
    }
}

/// What carries a WebSocket's bytes where no socket of its own does: a stream of HTTP/2 (RFC 8441).
protocol WebSocketTunnel: AnyObject {
    /// From now on what comes is the link's.
    func carry(_ link: WebSocketLink)
    func write(from buffer: inout ByteBuffer) -> TransferResult
    /// So many bytes of what came were used.
    func took(_ byteCount: Int)
    func endSending()
    func closeTunnel(isComplete: Bool)
}
