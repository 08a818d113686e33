internal import HTTP
internal import Interfaces
internal import System
internal import Wire

/// A hibernating WebSocket: it belongs to the node, and stays while its object comes and goes. Messages of the client are events of the
/// object, one at a time; what the object sends comes one way, for one socket or for many. Reactor thread only.
///
/// States, each with what ends it:
/// - `pending`: the object has accepted it, and its client is still on the way through the worker that asked for it. That one's
///   answer, or its refusal.
/// - `open`: both sides may send; either one's close, a mistake of the client, its silence, the node's end.
/// - `closing`: this side's Close frame is out, or in the output; the client's, or a few seconds.
/// - `lingering`: both were said: the client reads what is left and ends the connection; its end, or a moment.
/// - `gone`: there is no connection; the object has still to hear of that. Then this is forgotten.
///
/// What is held is bounded: a client isn't read while a message of it is under way, and one that reads too slowly is closed with 1013
/// once more than `queuedBytesMax` wait for it when another message comes.
final class ObjectSocket: PollTarget {
    private enum Phase { case pending, open, closing, lingering, gone }

    let id: SocketID
    let object: ObjectID
    private let namespace: ObjectNamespace
    private let reactor: Reactor
    private var node: NodeContext?
    private var client: Client?
    private(set) var compression: PerMessageDeflate?
    private var transport: Transport?
    private var input = ByteBuffer()
    private var output = ByteBuffer()
    private var reader: WebSocketReader?
    private var phase = Phase.pending
    private var interest = Epoll.Interest.read
    private var willFlush = false
    private var heardAt: Instant
    private var askedAt: Instant?
    /// Of `pending`, `closing` and `lingering`.
    private var deadline: Instant

    // Towards the object.
    private var event: ObjectSocketEvent?
    /// What the object is to be told last.
    private var lastWord: ObjectSocketMessage.Content?
    private var hasToldEnd = false

    // Towards the client. Frames are shared by all sockets that they go to.
    private var frames: [[UInt8]] = []
    private var framesHead = 0
    private var queuedByteCount = 0
    /// A message of the object has begun and not ended.
    private(set) var isInMessage = false
    private var close: SocketClose?

    fileprivate var space: ObjectSpace { namespace.space }

    /// Of a message from the client (spec: durable-objects, section 5).
    static let messageBytesMax = 32 << 20
    /// What may wait for a client when the next message comes.
    static let queuedBytesMax = 4 << 20
    /// And with that message, however long it is.
    private static let queuedBytesHardMax = 64 << 20
    private static let outputHighWater = 64 << 10
    private static let readBytesMax = 16 << 10
    private static let pendingTime = Duration.seconds(60)
    private static let pingInterval = Duration.seconds(30)
    private static let silenceMax = Duration.seconds(90)
    private static let closingTime = Duration.seconds(5)
    private static let lingerTime = Duration.seconds(2)

    init(_ id: SocketID, of object: ObjectID, _ namespace: ObjectNamespace, on reactor: Reactor) {
        self.id = id
        self.object = object
        self.namespace = namespace
        self.reactor = reactor
        heardAt = reactor.now
        deadline = reactor.now + Self.pendingTime
    }

    /// Takes the connection of the client.
    ///
    /// - Parameters:
    ///   - input: What the client has sent behind its request.
    ///   - output: What the client gets first: the switch of protocols.
    func attach(
        _ transport: consuming Transport, input: consuming ByteBuffer, output: consuming ByteBuffer,
        compression: PerMessageDeflate?, client: Client, node: NodeContext
    ) {
        self.client = client
        self.node = node
        self.input = input
        self.output = output
        self.compression = compression
        let rawValue = transport.rawValue
        self.transport = consume transport
        reader = WebSocketReader(
            masking: .required, messageBytesMax: Self.messageBytesMax,
            inflater: compression == nil ? nil : MessageInflater())
        heardAt = reactor.now
        do {
            try reactor.watch(self, rawValue, .read)
        } catch {
            node.logger.log(.error, "a WebSocket can't be watched: \(error)")
            return disconnect()
        }
        // The object may have closed it by now.
        phase = close == nil ? .open : .closing
        deadline = close == nil ? Instant(nanoseconds: .max) : reactor.now + Self.closingTime
        readFrames()
        flush()
    }

    /// Nobody takes the other end.
    func refuse() { if phase == .pending { disconnect() } }

    // MARK: Reading

    override func becameReady(_ events: Epoll.Interest) {
        if canRead {
            if events.isReadable || transport?.waitsToWrite == true { read() }
        } else if events.isFailure {
            return disconnect()
        }
        flush()
    }

    /// Whether the client may say something: what it said before has been heard.
    private var canRead: Bool { phase == .lingering || (event == nil && (phase == .open || phase == .closing)) }

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
            while event == nil, phase == .open || phase == .closing, lastWord == nil,
                let found = try unsafe input.withReadable({ bytes throws(WebSocketFailure) in
                    try unsafe reader?.next(bytes, from: &offset)
                })
            { received(found) }
        } catch {
            fail(error)
        }
        input.consume(phase == .open || phase == .closing ? min(offset, input.readableByteCount) : input.readableByteCount)
        input.releaseIfEmpty()
        tellEnd()
    }

    private func received(_ found: WebSocketReader.Event) {
        switch found {
        case .text(let bytes):
            if let answer = space.autoResponse(to: bytes, on: id, of: object) { return write(.text, Array(answer.utf8)) }
            tell(ObjectSocketEvent(self, bytes, isText: true))
        case .binary(let bytes): tell(ObjectSocketEvent(self, bytes, isText: false))
        case .piece: preconditionFailure("the reader was asked for whole messages")
        case .ping(let payload): if phase == .open { write(.pong, payload) }
        case .pong: break
        case .close(let code, let reason):
            // The answer is the node's: the object's handler needn't give one.
            if phase == .open { writeClose(SocketClose(code: code?.rawValue)) }
            lastWord = .close(SocketClose(code: code?.rawValue, reason: reason))
            linger()
        }
    }

    /// The client broke a rule: it is told which, and the connection ends.
    private func fail(_ failure: WebSocketFailure) {
        if phase == .open { writeClose(SocketClose(code: failure.code.rawValue, reason: failure.reason)) }
        lastWord = .error(failure.reason)
        linger()
    }

    // MARK: To the object

    private func tell(_ event: ObjectSocketEvent) {
        // What all clients of the tenant have said and no object has heard is bounded.
        guard event.takeShare() else {
            return end(SocketClose(code: 1013, reason: "too much waits for durable objects: try again later"))
        }
        self.event = event
        reactor.objects.submit(event)
    }

    /// The object has heard the last message.
    func eventEnded(_ ended: ObjectSocketEvent) {
        guard event === ended else { return }
        event = nil
        ended.giveShareBack()
        if hasToldEnd { return forget() }
        // Not from within what has ended it.
        reactor.later { [self] in
            guard event == nil else { return }
            if lastWord == nil { readFrames() }
            tellEnd()
            flush()
        }
    }

    private func tellEnd() {
        guard let lastWord, event == nil, !hasToldEnd else { return }
        hasToldEnd = true
        let event = ObjectSocketEvent(self, lastWord)
        self.event = event
        reactor.objects.submit(event)
    }

    private func forget() {
        space.removeSocket(id, of: object)
        if phase == .gone || transport == nil { reactor.objects.sockets[id.rawValue] = nil }
    }

    fileprivate func eventHead(_ content: ObjectSocketMessage.Content) -> [UInt8] {
        var encoder = WireEncoder()
        ObjectSocketMessage(socket: id, content: content).encode(into: &encoder)
        return encoder.bytes
    }

    fileprivate var place: (ObjectID, ObjectNamespace, Reactor) { (object, namespace, reactor) }

    // MARK: From the object

    /// Sends a frame, which may be shared with others.
    ///
    /// - Parameter isFinal: Whether the message ends with it.
    func send(_ frame: [UInt8], isFinal: Bool) {
        guard phase == .open || phase == .pending, close == nil else { return }
        let most = isInMessage ? Self.queuedBytesHardMax : Self.queuedBytesMax
        isInMessage = !isFinal
        guard queuedByteCount <= most else {
            // What was not begun is of no use to a client that is told to go.
            let begun = min(framesHead + 1, frames.count)
            queuedByteCount -= frames[begun...].reduce(0) { $0 + $1.count }
            frames.removeSubrange(begun...)
            isInMessage = false
            return end(SocketClose(code: 1013, reason: "the client reads too slowly"))
        }
        frames.append(frame)
        queuedByteCount += frame.count
        if phase == .open { flushLater() }
    }

    /// The object, or the node, closes it.
    func end(_ close: SocketClose) {
        guard phase == .open || phase == .pending, self.close == nil else { return }
        writeClose(close)
        self.close = close
        guard phase == .open else { return }
        phase = .closing
        deadline = reactor.now + Self.closingTime
        flushLater()
    }

    // MARK: Deadlines

    override func tick(_ now: Instant) {
        switch phase {
        case .open: tickOpen(now)
        case .pending, .closing, .lingering: if now >= deadline { disconnect() }
        case .gone: break
        }
        if let event, let most = space.eventTimeout(of: object) { event.endIfOlder(than: most, now) }
    }

    private func tickOpen(_ now: Instant) {
        if reactor.isDraining { return end(SocketClose(code: 1001, reason: "the node is being stopped")) }
        // A client that isn't read can't be heard.
        if !canRead { heardAt = now }
        if now - heardAt >= Self.silenceMax { return disconnect() }
        if askedAt == nil, now - heardAt >= Self.pingInterval {
            askedAt = now
            if framesHead == frames.count, output.isEmpty { write(.ping, []) }
            flush()
        }
        output.releaseIfEmpty()
    }

    // MARK: The end

    private func linger() {
        phase = .lingering
        deadline = reactor.now + Self.lingerTime
        flushLater()
    }

    /// The connection is of no more use. The object hears of it in its turn.
    private func disconnect() {
        guard phase != .gone else { return }
        let isComplete = phase == .lingering && output.isEmpty
        phase = .gone
        if let transport = transport.take() {
            reactor.unwatch(self, transport.rawValue)
            transport.close(isComplete: isComplete)
            reactor.connectionCount -= 1
            if let client { node?.admission.leave(client.address, isExempt: client.isTrusted) }
        }
        input = ByteBuffer()
        output = ByteBuffer()
        reader = nil
        frames = []
        framesHead = 0
        queuedByteCount = 0
        if lastWord == nil { lastWord = .close(.disconnected) }
        if hasToldEnd, event == nil { return forget() }
        tellEnd()
    }

    // MARK: Writing

    private func write(_ opcode: WebSocketOpcode, _ payload: [UInt8]) {
        var buffer = ByteBuffer()
        buffer.appendWebSocketFrame(opcode, payload)
        append(buffer)
    }

    private func writeClose(_ close: SocketClose) {
        var buffer = ByteBuffer()
        // Nothing that an isolate says is believed.
        let code = close.code.map { WebSocketCloseCode(rawValue: $0) }.map { $0.isAllowedInFrames ? $0 : .internalError }
        buffer.appendWebSocketClose(code, reason: close.reason)
        append(buffer)
    }

    private func append(_ buffer: consuming ByteBuffer) {
        let bytes = unsafe buffer.withReadable { unsafe Array($0) }
        frames.append(bytes)
        queuedByteCount += bytes.count
        if phase != .pending { flushLater() }
    }

    private func flushLater() {
        guard !willFlush else { return }
        willFlush = true
        reactor.later { [self] in
            willFlush = false
            flush()
        }
    }

    private func flush() {
        guard phase != .gone, transport != nil else { return }
        while true {
            fill()
            guard !output.isEmpty else { break }
            let before = output.readableByteCount
            if let result = transport?.write(from: &output), case .closed = result { return disconnect() }
            if !output.isEmpty || before == 0 { break }
        }
        // The server ends the connection first (RFC 6455 §7.1.1): the client reads the Close frame, then the end.
        if phase == .lingering, output.isEmpty { transport?.shutdownSending() }
        if output.isEmpty { output.releaseIfEmpty() }
        updateInterest()
    }

    /// Copies no more of the frames than is about to be written.
    private func fill() {
        while framesHead < frames.count, output.readableByteCount < Self.outputHighWater {
            let frame = frames[framesHead]
            let count = min(frame.count, Self.outputHighWater)
            if count == frame.count {
                output.append(frame)
                framesHead += 1
            } else {
                output.append(Array(frame[..<count]))
                frames[framesHead] = Array(frame[count...])
            }
            queuedByteCount -= count
        }
        guard framesHead == frames.count || framesHead > 64 else { return }
        frames.removeFirst(framesHead)
        framesHead = 0
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

/// Something that an object is to hear of one of its WebSockets. Reactor thread only.
final class ObjectSocketEvent: ObjectEvent {
    private let socket: ObjectSocket
    private var head: [UInt8]
    /// A message that doesn't fit the event's own.
    private var bytes: [UInt8]?
    private var producer: BytesProducer?
    private var startedAt: Instant?
    private var share = 0

    convenience init(_ socket: ObjectSocket, _ bytes: [UInt8], isText: Bool) {
        let isInline = bytes.count <= ObjectSocketMessage.inlineByteCountMax
        let content: ObjectSocketMessage.Content =
            isText ? .text(isInline ? String(decoding: bytes, as: UTF8.self) : nil) : .binary(isInline ? bytes : nil)
        self.init(socket, content, body: isInline ? nil : bytes)
    }

    init(_ socket: ObjectSocket, _ content: ObjectSocketMessage.Content, body: [UInt8]? = nil) {
        self.socket = socket
        head = socket.eventHead(content)
        bytes = body
        let (object, namespace, reactor) = socket.place
        super.init(
            object, name: nil, of: namespace, byteCount: head.count + (body?.count ?? 0), on: reactor, waitMax: nil)
    }

    /// It waits as long as it takes: its client isn't read meanwhile.
    override var isLimited: Bool { false }

    func takeShare() -> Bool {
        let held = space.heldBytes.wrappingAdd(byteCount, ordering: .relaxed).newValue
        share = byteCount
        guard held <= ObjectLimits.heldBytesMax else {
            giveShareBack()
            return false
        }
        return true
    }

    func giveShareBack() {
        space.heldBytes.wrappingSubtract(share, ordering: .relaxed)
        share = 0
    }

    override func open(on channel: Channel, _ front: ObjectEventHead, _ server: ObjectSpace.Server) -> EventStream? {
        startedAt = reactor.now
        var encoder = WireEncoder()
        front.encode(into: &encoder)
        let (front, head) = (encoder.bytes, head)
        let stream = channel.open(
            .objectSocket, flags: bytes == nil ? .end : [],
            make: {
                EventStream(
                    number: $0, channel: channel, worker: server.worker, release: server.release, kind: .objectSocket,
                    owner: self)
            },
            {
                $0.append(front)
                $0.append(head)
            })
        if let bytes {
            let producer = BytesProducer(bytes, to: stream)
            self.producer = producer
            self.bytes = nil
            stream.producer = producer
            stream.requestBody()
        }
        return stream
    }

    override func answered(_ event: EventStream, _ message: UnsafeRawBufferPointer) throws(WireError) { over() }

    /// The message is lost with the life of the object that had it; the next ones find another.
    override func failed(_ failure: CallFailure) { over() }

    private func over() {
        producer = nil
        socket.eventEnded(self)
    }

    func endIfOlder(than most: Duration, _ now: Instant) {
        guard let startedAt, now - startedAt >= most else { return }
        abandon(.cancelled)
        over()
    }
}

// MARK: - What objects say of their WebSockets

extension ObjectLines {
    /// The object that a socket of `space` belongs to.
    func owner(of socket: SocketID, of space: ObjectSpace) -> ObjectID? {
        guard let found = sockets[socket.rawValue], found.belongs(to: space) else { return nil }
        return found.object
    }

    func send(_ message: SocketSendMessage, from isolate: Isolate, of space: ObjectSpace) {
        // Frames by how the message stands with a socket, and by what was agreed upon with its client.
        var frames: [FrameKey: [UInt8]] = [:]
        var owners: [ObjectID: Bool] = [:]
        for id in message.sockets {
            guard let socket = sockets[id.rawValue], socket.belongs(to: space) else { continue }
            let isOwn = owners[socket.object] ?? space.has(socket.object, isolate)
            owners[socket.object] = isOwn
            guard isOwn else { continue }
            let isWhole = message.isFinal && !socket.isInMessage
            let windowBits = isWhole ? socket.compression.map { Int($0.serverWindowBits) } : nil
            let key = FrameKey(isContinuation: socket.isInMessage, windowBits: windowBits)
            let frame = frames[key] ?? Self.frame(message, key, socket.compression)
            frames[key] = frame
            socket.send(frame, isFinal: message.isFinal)
        }
    }

    private struct FrameKey: Hashable {
        let isContinuation: Bool
        let windowBits: Int?
    }

    private static func frame(_ message: SocketSendMessage, _ key: FrameKey, _ compression: PerMessageDeflate?) -> [UInt8] {
        let opcode: WebSocketOpcode = key.isContinuation ? .continuation : message.isText ? .text : .binary
        var buffer = ByteBuffer()
        if key.windowBits != nil, let compressed = compression?.compress(message.payload) {
            buffer.appendWebSocketFrame(opcode, compressed, isCompressed: true)
        } else {
            buffer.appendWebSocketHeader(opcode, payloadByteCount: message.payload.count, isFinal: message.isFinal)
            buffer.append(message.payload)
        }
        return unsafe buffer.withReadable { unsafe Array($0) }
    }

    func close(_ message: SocketCloseMessage, from isolate: Isolate, of space: ObjectSpace) {
        guard let socket = sockets[message.socket.rawValue], socket.belongs(to: space), space.has(socket.object, isolate)
        else { return }
        socket.end(SocketClose(code: message.code, reason: message.reason))
    }

    /// The node ends a socket.
    func end(_ socket: SocketID, of space: ObjectSpace, _ close: SocketClose) {
        guard let socket = sockets[socket.rawValue], socket.belongs(to: space) else { return }
        socket.end(close)
    }
}

extension ObjectSocket {
    func belongs(to space: ObjectSpace) -> Bool { self.space === space }
}
