internal import HTTP
internal import Interfaces
internal import System
internal import Wire

/// A client's WebSocket whose messages a worker handles: frames on one side, records on a stream to an isolate on the other
/// (see `Interfaces/Isolate/SocketRecords.swift`). Masks, fragments, compression, texts, pings and the closing handshake are
/// its business; messages pass it piece by piece, under credit both ways. Reactor thread only.
///
/// States, each with what ends it:
/// - `open`: both sides may send; either one's close, a mistake of the client, its silence, the end of the worker or the node.
/// - `answering`: the client has closed, or broken a rule; what the worker says to earlier messages still goes out. The worker's
///   close, or a few seconds.
/// - `closing`: the Close frame of this side is out, or in the output; the client's, or a few seconds.
/// - `lingering`: both were said: the client reads what is left and ends the connection; its end, or a moment.
/// - `gone`: there is no connection; what the worker has still to hear goes to it. When it has ended its side too, or has had
///   half a minute for that, this object is forgotten.
///
/// What is held is bounded: towards the worker by its credit and `heldForWorkerMax`, beyond which the client is not read;
/// towards the client by the stream's window and the output's high water, beyond which the worker gets no more credit.
final class WorkerSocket: PollTarget, Ticker {
    private enum Phase { case open, answering, closing, lingering, gone }

    private let reactor: Reactor
    private let node: NodeContext
    private let client: Client
    private let compression: PerMessageDeflate?
    private var stream: ChannelStream?
    private var transport: Transport?
    private var input: ByteBuffer
    private var output: ByteBuffer
    private var reader: WebSocketReader
    private var phase = Phase.open
    private var interest = Epoll.Interest.read
    private var willFlush = false
    private var heardAt: Instant
    private var askedAt: Instant?
    /// When a message last went by, in either direction.
    private var usedAt: Instant
    /// Of all states but `open`.
    private var deadline = Instant(nanoseconds: .max)

    // Towards the worker.
    private var forWorker = ByteBuffer()
    private var allowance = 0
    private var isPushing = false
    /// The close record is written: nothing follows.
    private var hasToldWorker = false

    // Towards the client.
    private var records = SocketRecordReader()
    /// Of the frame that is being written, and its payload's bytes so far.
    private var frameBytesLeft = 0
    /// The worker's message goes on in the next record.
    private var isInMessage = false
    /// A message that is to be compressed, as far as it has come; `nil`: it is written as it comes.
    private var collected: [UInt8]?
    private var collectedKind = WebSocketOpcode.text
    /// Bytes that were taken and not granted again.
    private var ungranted = 0
    /// What has to wait for the end of the frame that is being written.
    private var pongs: [[UInt8]] = []
    private var lastWord: SocketClose?
    /// What the client is told in the end: the code of its own Close frame, or what it did wrong.
    private var answer: SocketClose?

    /// Of a message from the client (spec: durable-objects, section 5).
    static let messageBytesMax = 32 << 20
    private static let heldForWorkerMax = 64 << 10
    private static let outputHighWater = 128 << 10
    private static let readBytesMax = 16 << 10
    /// Messages up to here are compressed as a whole: what the stream's window holds anyway. Larger ones go as they are.
    private static let compressedBytesMax = 192 << 10
    private static let pongsMax = 64
    private static let pingInterval = Duration.seconds(30)
    private static let silenceMax = Duration.seconds(90)
    private static let closingTime = Duration.seconds(5)
    private static let lingerTime = Duration.seconds(2)
    private static let workerEndTime = Duration.seconds(30)

    /// Begins with what the client has sent behind its request.
    ///
    /// - Parameter output: What the client gets first: the switch of protocols.
    static func start(
        _ transport: consuming Transport, input: consuming ByteBuffer, output: consuming ByteBuffer,
        compression: PerMessageDeflate?, stream: EventStream, client: Client, reactor: Reactor, node: NodeContext
    ) {
        let socket = WorkerSocket(
            transport, input: input, output: output, compression: compression, stream: stream, client: client,
            reactor: reactor, node: node)
        stream.hand(to: socket)
        socket.begin(stream)
    }

    private init(
        _ transport: consuming Transport, input: consuming ByteBuffer, output: consuming ByteBuffer,
        compression: PerMessageDeflate?, stream: EventStream, client: Client, reactor: Reactor, node: NodeContext
    ) {
        self.transport = consume transport
        self.input = input
        self.output = output
        self.compression = compression
        self.stream = stream
        self.client = client
        self.reactor = reactor
        self.node = node
        reader = WebSocketReader(
            masking: .required, messageBytesMax: Self.messageBytesMax, delivery: .inPieces,
            inflater: compression == nil ? nil : MessageInflater())
        heardAt = reactor.now
        usedAt = reactor.now
    }

    private func begin(_ stream: EventStream) {
        guard let rawValue = transport?.rawValue else { return }
        do {
            try reactor.watch(self, rawValue, .read)
        } catch {
            node.logger.log(.error, "a WebSocket can't be watched: \(error)")
            return disconnect()
        }
        stream.connect(to: self, window: WireLimits.initialCredit)
        stream.replaceProducer(by: self)
        readFrames()
        flush()
    }

    // MARK: Reading

    override func becameReady(_ events: Epoll.Interest) {
        if canRead {
            if events.isReadable || transport?.waitsToWrite == true { read() }
        } else if events.isFailure {
            return disconnect()
        }
        flush()
    }

    /// Whether there is room for what the client may send.
    private var canRead: Bool {
        phase == .lingering || phase == .answering || forWorker.readableByteCount < Self.heldForWorkerMax
    }

    private func read() {
        guard let result = transport?.read(into: &input, upTo: Self.readBytesMax) else { return }
        switch result {
        case .wouldBlock: return
        case .closed: return disconnect()
        case .moved:
            heardAt = reactor.now
            askedAt = nil
            readFrames()
        }
        readMoreLater()
    }

    /// TLS may have more that epoll says nothing of.
    private func readMoreLater() {
        guard canRead, transport?.hasUnread == true else { return }
        reactor.later { [self] in
            if canRead { read() }
            flush()
        }
    }

    private func readFrames() {
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
        input.consume(phase == .open || phase == .closing ? offset : input.readableByteCount)
        input.releaseIfEmpty()
        push()
    }

    private func received(_ event: WebSocketReader.Event) {
        switch event {
        case .piece(let opcode, let bytes, let isFinal):
            usedAt = reactor.now
            forWorker.appendSocketHeader(opcode == .text ? .text : .binary, byteCount: bytes.count, isFinal: isFinal)
            forWorker.append(bytes)
            if isFinal { (stream as? EventStream)?.renewAllowance() }
        case .text, .binary: preconditionFailure("the reader was asked for pieces")
        case .ping(let payload):
            guard phase == .open else { return }
            // Of those that can't be written, the last one is enough (RFC 6455 §5.5.3).
            if pongs.count == Self.pongsMax { pongs.removeFirst() }
            pongs.append(payload)
            writePongs()
        case .pong: break
        case .close(let code, let reason):
            let wasOpen = phase == .open
            if wasOpen {
                phase = .answering
                answer = SocketClose(code: code?.rawValue)
                deadline = reactor.now + Self.closingTime
            }
            tellWorker(SocketClose(code: code?.rawValue, reason: reason))
            if !wasOpen { linger() }
        }
    }

    private func writePongs() {
        guard frameBytesLeft == 0, output.readableByteCount < Self.outputHighWater else { return }
        for payload in pongs { output.appendWebSocketFrame(.pong, payload) }
        pongs = []
    }

    /// The client broke a rule: it is told which, and the connection ends.
    private func fail(_ failure: WebSocketFailure) {
        let wasOpen = phase == .open
        if wasOpen {
            phase = .answering
            answer = SocketClose(code: failure.code.rawValue, reason: failure.reason)
            deadline = reactor.now + Self.closingTime
        }
        tellWorker(SocketClose(code: 1006, reason: failure.reason, wasClean: false))
        if !wasOpen { linger() }
    }

    // MARK: Deadlines

    override func tick(_ now: Instant) {
        switch phase {
        case .open: tickOpen(now)
        case .answering: if now >= deadline { answerClose() }
        case .closing, .lingering: if now >= deadline { disconnect() }
        case .gone:
            guard stream?.isOpen == true else { return forget() }
            if now >= deadline { stream?.reset(.cancelled) }
        }
    }

    private func tickOpen(_ now: Instant) {
        if reactor.isDraining { return say(SocketClose(code: 1001, reason: "the node is being stopped")) }
        if let most = node.settings.webSocketIdleTimeout, now - usedAt >= most {
            return say(SocketClose(code: 1001, reason: "no message for \(most.components.seconds) seconds"))
        }
        // A client that isn't read can't be heard.
        if !canRead { heardAt = now }
        if now - heardAt >= Self.silenceMax { return disconnect() }
        if askedAt == nil, now - heardAt >= Self.pingInterval, frameBytesLeft == 0 {
            askedAt = now
            if output.readableByteCount < Self.outputHighWater { output.appendWebSocketFrame(.ping, []) }
            flush()
        }
        output.releaseIfEmpty()
        forWorker.releaseIfEmpty()
    }

    // MARK: The end

    /// This side's last word, behind the frame that is being written.
    func say(_ close: SocketClose) {
        guard phase == .open else { return }
        phase = .closing
        deadline = reactor.now + Self.closingTime
        if frameBytesLeft == 0 { write(close) } else { lastWord = close }
        flush()
    }

    private func answerClose() {
        guard phase == .answering, let answer else { return }
        guard frameBytesLeft == 0 else { return disconnect() }
        write(answer)
        linger()
    }

    private func write(_ close: SocketClose) {
        writePongs()
        // Nothing that an isolate says is believed.
        let code = close.code.map { WebSocketCloseCode(rawValue: $0) }.map { $0.isAllowedInFrames ? $0 : .internalError }
        output.appendWebSocketClose(code, reason: close.reason)
    }

    private func linger() {
        phase = .lingering
        deadline = reactor.now + Self.lingerTime
        flushLater()
    }

    private func tellWorker(_ close: SocketClose) {
        guard !hasToldWorker else { return }
        hasToldWorker = true
        forWorker.appendSocketClose(close)
        push()
    }

    /// The connection is of no more use. The worker hears of it in its turn.
    private func disconnect() {
        guard let transport = transport.take() else { return }
        let isComplete = phase == .lingering && output.isEmpty
        phase = .gone
        reactor.unwatch(self, transport.rawValue)
        transport.close(isComplete: isComplete)
        reactor.connectionCount -= 1
        node.admission.leave(client.address, isExempt: client.isTrusted)
        input = ByteBuffer()
        output = ByteBuffer()
        collected = nil
        tellWorker(.disconnected)
        guard let stream, stream.isOpen else { return forget() }
        // What the worker still sends is taken and forgotten, so that it can end.
        deadline = reactor.now + Self.workerEndTime
        reactor.addTicker(self)
        grantWhatWasTaken()
    }

    /// The stream has ended.
    private func streamEnded() {
        stream = nil
        forWorker = ByteBuffer()
        hasToldWorker = true
        if phase == .gone { forget() }
    }

    private func forget() {
        stream = nil
        reactor.removeTicker(self)
    }

    // MARK: Writing

    private func flushLater() {
        guard !willFlush else { return }
        willFlush = true
        reactor.later { [self] in
            willFlush = false
            flush()
        }
    }

    private func flush() {
        guard phase != .gone else { return }
        if !pongs.isEmpty, phase == .open || phase == .answering { writePongs() }
        if !output.isEmpty, let result = transport?.write(from: &output), case .closed = result { return disconnect() }
        if output.readableByteCount < Self.outputHighWater { grantWhatWasTaken() }
        // The server ends the connection first (RFC 6455 §7.1.1): the client reads the Close frame, then the end.
        if phase == .lingering, output.isEmpty { transport?.shutdownSending() }
        updateInterest()
    }

    private func grantWhatWasTaken() {
        guard ungranted > 0 else { return }
        let count = ungranted
        ungranted = 0
        stream?.grant(count)
    }

    private func updateInterest() {
        guard let rawValue = transport?.rawValue else { return }
        var wanted: Epoll.Interest = canRead ? .read : .peerClosed
        if !output.isEmpty || transport?.waitsToWrite == true { wanted.insert(.write) }
        guard wanted != interest else { return }
        interest = wanted
        reactor.change(self, rawValue, wanted)
        readMoreLater()
    }
}

// MARK: - To the worker

extension WorkerSocket: BodyProducer {
    func grant(_ byteCount: Int) {
        allowance += byteCount
        push()
        // The client was not read while there was no room.
        guard !isPushing, phase != .gone, canRead else { return }
        guard !input.isEmpty else { return updateInterest() }
        readFrames()
        flushLater()
    }

    /// The worker takes no more. Its end is told by the other half.
    func cancel(_ reason: StreamReset) {
        allowance = 0
        forWorker = ByteBuffer()
        hasToldWorker = true
    }

    private func push() {
        guard !isPushing, let stream else { return }
        isPushing = true
        defer { isPushing = false }
        while allowance > 0, !forWorker.isEmpty, stream.isOpen {
            let count = min(allowance, forWorker.readableByteCount)
            allowance -= count
            unsafe forWorker.withReadable { unsafe stream.receive(UnsafeRawBufferPointer(rebasing: $0.prefix(count))) }
            forWorker.consume(count)
        }
        if hasToldWorker, forWorker.isEmpty { stream.finish() }
    }
}

// MARK: - From the worker

extension WorkerSocket: BodyConsumer, EventOwner {
    func receive(_ bytes: UnsafeRawBufferPointer) {
        ungranted += bytes.count
        // Behind the last word, and behind the connection, nothing is of use any more.
        guard phase == .open || phase == .answering || lastWord != nil else {
            return phase == .gone ? grantWhatWasTaken() : flushLater()
        }
        var offset = 0
        do throws(WireError) {
            while let step = try records.next(unsafe bytes.bytes, from: &offset) { unsafe take(step, bytes) }
        } catch {
            stream?.channel.broken(by: "\(error)")
        }
        flushLater()
    }

    private func take(_ step: SocketRecordReader.Step, _ bytes: UnsafeRawBufferPointer) {
        switch step {
        case .message(let kind, let byteCount, let isFinal):
            usedAt = reactor.now
            begin(kind == .text ? .text : .binary, byteCount, isFinal)
        case .payload(let range, let isLast):
            let piece = unsafe UnsafeRawBufferPointer(rebasing: bytes[range])
            if collected != nil {
                unsafe collected?.append(contentsOf: piece)
                if isLast { writeCollected() }
            } else {
                unsafe output.append(piece)
                frameBytesLeft -= piece.count
            }
            if isLast { frameEnded() }
        case .close(let close): phase == .open ? say(close) : answerClose()
        }
    }

    private func begin(_ opcode: WebSocketOpcode, _ byteCount: Int, _ isFinal: Bool) {
        let opcode = isInMessage ? WebSocketOpcode.continuation : opcode
        if compression != nil, isFinal, !isInMessage, byteCount >= PerMessageDeflate.byteCountMin,
            byteCount <= Self.compressedBytesMax
        {
            collected = []
            collected?.reserveCapacity(byteCount)
            collectedKind = opcode
        } else {
            output.appendWebSocketHeader(opcode, payloadByteCount: byteCount, isFinal: isFinal)
            frameBytesLeft = byteCount
        }
        isInMessage = !isFinal
    }

    private func writeCollected() {
        guard let message = collected else { return }
        collected = nil
        if let compressed = compression?.compress(message) {
            output.appendWebSocketFrame(collectedKind, compressed, isCompressed: true)
        } else {
            output.appendWebSocketFrame(collectedKind, message)
        }
    }

    /// What had to wait for the end of a frame is written now.
    private func frameEnded() {
        guard frameBytesLeft == 0, let close = lastWord else { return }
        lastWord = nil
        write(close)
    }

    /// The worker has ended its side: behind a close, which it owes.
    func finish() {
        answerClose()
        if phase == .open { say(SocketClose(code: 1011, reason: "the worker ended without closing the WebSocket")) }
    }

    func fail(_ reason: StreamReset) { workerFailed(reason) }

    func event(_ event: EventStream, answered message: UnsafeRawBufferPointer) throws(WireError) {
        throw .unexpectedFrame(.open, stream: event.number)
    }
    func event(_ event: EventStream, threw failure: CallFailure, passThrough: Bool) {}
    func event(_ event: EventStream, wasReset reason: StreamReset) { workerFailed(reason) }

    /// There is nobody any more who would answer the client.
    private func workerFailed(_ reason: StreamReset) {
        guard stream != nil else { return }
        streamEnded()
        switch phase {
        case .open:
            if frameBytesLeft > 0 { return disconnect() }
            say(
                reason.code == .overloaded
                    ? SocketClose(code: 1013, reason: "the client reads too slowly")
                    : SocketClose(code: 1011, reason: "the worker failed"))
        case .answering: answerClose()
        case .closing where lastWord != nil: disconnect()
        case .closing, .lingering, .gone: break
        }
    }
}
