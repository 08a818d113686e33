internal import HTTP
internal import System
internal import Wire

/// A connection that has become a WebSocket. Reactor thread only: what other threads send waits in its session.
///
/// States, each with what ends it:
/// - `open`: both sides may send; either one's Close frame, a mistake of the client, its silence, the node's end.
/// - `closing`: the Close frame of this side is out, or in the output; the client's, or a few seconds.
/// - `lingering`: both were said: the client reads what is left and ends the connection; its end, or a moment.
/// - `closed`.
final class WebSocketConnection: PollTarget, @unchecked Sendable {  // What is posted for it runs on its reactor.
    private enum Phase { case open, closing, lingering, closed }

    private let reactor: Reactor
    private let node: NodeContext
    private let client: Client
    private let session: WebSocketSession
    private let compression: PerMessageDeflate?
    private var transport: Transport?
    private var input: ByteBuffer
    private var output: ByteBuffer
    private var reader: WebSocketReader
    private var phase = Phase.open
    private var interest = Epoll.Interest.read
    private var willWork = false
    /// The last ping's payload that wasn't answered: of several one answer is enough (RFC 6455 §5.5.3).
    private var unanswered: [UInt8]?
    private var heardAt: Instant
    private var askedAt: Instant?
    /// Of `closing` and `lingering`.
    private var deadline = Instant(nanoseconds: .max)
    /// What the receiver is told in the end.
    private var outcome: (code: WebSocketCloseCode, reason: String) = (.abnormal, "the connection was lost")

    /// Output beyond which no more messages are written: they wait where they can still be dropped.
    private static let outputHighWater = 64 << 10
    private static let readBytesMax = 16 << 10
    /// Each of some 64 KiB.
    private static let writesPerTurn = 16
    private static let closingTime = Duration.seconds(5)
    private static let lingerTime = Duration.seconds(2)

    /// - Parameter output: What the client gets first: the switch of protocols.
    static func start(
        _ transport: consuming Transport, input: consuming ByteBuffer, output: consuming ByteBuffer,
        upgrade: WebSocketUpgrade, client: Client, reactor: Reactor, node: NodeContext
    ) {
        let connection = WebSocketConnection(
            transport, input: input, output: output, upgrade: upgrade, client: client, reactor: reactor, node: node)
        connection.begin()
    }

    private init(
        _ transport: consuming Transport, input: consuming ByteBuffer, output: consuming ByteBuffer,
        upgrade: WebSocketUpgrade, client: Client, reactor: Reactor, node: NodeContext
    ) {
        session = upgrade.session
        compression = upgrade.compression
        self.transport = consume transport
        self.input = input
        self.output = output
        self.client = client
        self.reactor = reactor
        self.node = node
        reader = WebSocketReader(
            masking: session.limits.needsMasking ? .required : .optional,
            messageBytesMax: session.limits.messageBytesMax,
            inflater: compression == nil ? nil : MessageInflater())
        heardAt = reactor.now
    }

    private func begin() {
        guard let rawValue = transport?.rawValue else { return }
        do {
            try reactor.watch(self, rawValue, .read)
        } catch {
            node.logger.log(.error, "a WebSocket can't be watched: \(error)")
            return close()
        }
        session.receiver.opened()
        // It lives as long as its reactor watches it, or until the call that it posts.
        session.attach { [weak self, reactor] in
            guard let connection = self else { return }
            reactor.post { connection.work() }
        }
        // The client may have sent its first frames with the request.
        readFrames()
        work()
    }

    // MARK: Reading

    override func becameReady(_ events: Epoll.Interest) {
        if events.isReadable || transport?.waitsToWrite == true { read() }
        if phase != .closed { flush() }
    }

    private func read() {
        guard let result = transport?.read(into: &input, upTo: Self.readBytesMax) else { return }
        switch result {
        case .wouldBlock: return
        case .closed: return close()
        case .moved:
            heardAt = reactor.now
            askedAt = nil
            readFrames()
        }
        // TLS may have more that epoll says nothing of.
        if transport?.hasUnread == true { reactor.later { [self] in read() } }
    }

    private func readFrames() {
        guard phase == .open || phase == .closing else { return input.consume(input.readableByteCount) }
        var offset = 0
        do {
            while phase == .open || phase == .closing,
                let event = try unsafe input.withReadable({ bytes throws(WebSocketFailure) in
                    try unsafe reader.next(bytes, from: &offset)
                })
            { received(event) }
        } catch {
            fail(error)
        }
        input.consume(phase == .lingering || phase == .closed ? input.readableByteCount : offset)
        input.releaseIfEmpty()
    }

    private func received(_ event: WebSocketReader.Event) {
        switch event {
        // Once this side has said its last word nobody listens any more.
        case .text(let text): if phase == .open { session.receiver.received(text: text) }
        case .binary(let bytes): if phase == .open { session.receiver.received(binary: bytes) }
        case .piece: preconditionFailure("the reader was asked for whole messages")
        case .ping(let payload):
            guard phase == .open else { return }
            unanswered = payload
            workLater()
        case .pong: break
        case .close(let code, let reason):
            outcome = (code ?? .noCode, reason)
            if phase == .open { output.appendWebSocketClose(code) }
            linger()
        }
    }

    /// The client broke a rule: it is told which, and the connection ends.
    private func fail(_ failure: WebSocketFailure) {
        outcome = (.abnormal, failure.reason)
        if phase == .open { output.appendWebSocketClose(failure.code, reason: failure.reason) }
        linger()
    }

    // MARK: Deadlines

    override func tick(_ now: Instant) {
        switch phase {
        case .open:
            if reactor.endsWebSockets { return say(.goingAway, "the node is being stopped") }
            if now - heardAt >= session.limits.silenceMax {
                outcome = (.abnormal, "the client is silent")
                return close()
            }
            if askedAt == nil, now - heardAt >= session.limits.pingInterval {
                askedAt = now
                if output.readableByteCount < Self.outputHighWater { output.appendWebSocketFrame(.ping, []) }
                flush()
            }
            output.releaseIfEmpty()
        case .closing, .lingering: if now >= deadline { close() }
        case .closed: break
        }
    }

    // MARK: Writing

    private func workLater() {
        guard !willWork else { return }
        willWork = true
        reactor.later { [self] in
            willWork = false
            work()
        }
    }

    /// Writes what waits in the session, as far as the client takes it; what is more than a turn's share, in the next one.
    private func work() {
        var writeCount = 0
        while phase == .open, output.readableByteCount < Self.outputHighWater {
            if let payload = unanswered {
                unanswered = nil
                output.appendWebSocketFrame(.pong, payload)
            }
            guard let step = session.nextStep() else { break }
            switch step {
            case .send(let message): append(message.text())
            case .tellOfDropped(let count): if let notice = session.receiver.notice(ofDropped: count) { append(notice) }
            case .close(let code, let reason): return say(code, reason)
            }
            guard output.readableByteCount >= Self.outputHighWater else { continue }
            write()
            writeCount += 1
            guard writeCount < Self.writesPerTurn else {
                workLater()
                break
            }
        }
        flush()
    }

    private func append(_ text: [UInt8]) {
        if let compressed = compression?.compress(text) {
            output.appendWebSocketFrame(.text, compressed, isCompressed: true)
        } else {
            output.appendWebSocketFrame(.text, text)
        }
    }

    /// This side's last word.
    private func say(_ code: WebSocketCloseCode, _ reason: String) {
        outcome = (code, reason)
        output.appendWebSocketClose(code, reason: reason)
        phase = .closing
        deadline = reactor.now + Self.closingTime
        flush()
    }

    private func linger() {
        phase = .lingering
        deadline = reactor.now + Self.lingerTime
        session.ended(outcome.code, reason: outcome.reason)
        workLater()
    }

    private func write() {
        guard !output.isEmpty, let result = transport?.write(from: &output) else { return }
        if case .closed = result { close() }
    }

    private func flush() {
        guard phase != .closed else { return }
        write()
        guard phase != .closed else { return }
        // There is room again for what waits.
        if phase == .open, output.readableByteCount < Self.outputHighWater, interest.isWritable { workLater() }
        // The server ends the connection first (RFC 6455 §7.1.1): the client reads the Close frame, then the end.
        if phase == .lingering, output.isEmpty { transport?.shutdownSending() }
        updateInterest()
    }

    private func updateInterest() {
        guard let rawValue = transport?.rawValue else { return }
        var wanted = Epoll.Interest.read
        if !output.isEmpty || transport?.waitsToWrite == true { wanted.insert(.write) }
        guard wanted != interest else { return }
        interest = wanted
        reactor.change(self, rawValue, wanted)
    }

    private func close() {
        guard let transport = transport.take() else { return }
        let isComplete = phase == .lingering && output.isEmpty
        phase = .closed
        reactor.unwatch(self, transport.rawValue)
        transport.close(isComplete: isComplete)
        reactor.connectionCount -= 1
        node.admission.leave(client.address, isExempt: client.isTrusted)
        session.ended(outcome.code, reason: outcome.reason)
    }
}
