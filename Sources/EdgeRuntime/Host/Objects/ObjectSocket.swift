internal import HTTP
internal import Interfaces
internal import System
internal import Wire

/// A hibernating WebSocket: it belongs to the node, and stays while its object comes and goes. Messages of the client are events of the
/// object, one at a time; what the object sends comes one way, for one socket or for many. Reactor thread only.
///
/// It begins without a client, who is still on the way through the worker that asked for it, gets the client's link or is refused, and is
/// forgotten when the link has ended and the object has heard of that.
///
/// What is held is bounded: a client isn't read while a message of it is under way, and one that reads too slowly is closed with 1013
/// once more than `queuedBytesMax` wait for it when another message comes.
final class ObjectSocket: WebSocketLinkOwner {
    let id: SocketID
    let object: ObjectID
    let namespace: ObjectNamespace
    let reactor: Reactor
    private(set) var link: WebSocketLink?
    private(set) var isGone = false
    /// Another process of the node has it: what is left of it here says goodbye to the client.
    private var isHandedOver = false

    // Towards the object.
    private(set) var event: ObjectSocketEvent? {
        didSet { reactor.objects.openSocketEventCount += (event == nil ? 0 : 1) - (oldValue == nil ? 0 : 1) }
    }
    /// What the object is to be told last.
    private(set) var lastWord: ObjectSocketMessage.Content?
    private(set) var hasToldEnd = false

    // Towards the client. Frames are shared by all sockets that they go to.
    private var frames: [[UInt8]] = []
    private var framesHead = 0
    private var queuedByteCount = 0
    private var isWriting = false
    /// A message of the object has begun and not ended.
    private(set) var isInMessage = false
    /// Behind all that waits.
    private(set) var close: SocketClose?

    var space: ObjectSpace { namespace.space }
    var compression: PerMessageDeflate? { link?.compression }

    /// What may wait for a client when the next message comes.
    static let queuedBytesMax = 4 << 20
    /// And with that message, however long it is.
    private static let queuedBytesHardMax = 64 << 20

    init(_ id: SocketID, of object: ObjectID, _ namespace: ObjectNamespace, on reactor: Reactor) {
        self.id = id
        self.object = object
        self.namespace = namespace
        self.reactor = reactor
    }

    /// Takes the connection of the client.
    func attach(_ link: WebSocketLink) {
        guard !isGone else { return link.disconnect() }
        self.link = link
        link.begin(for: self)
        self.link?.flush()
    }

    /// Nobody takes the other end.
    func refuse() { if link == nil { gone() } }

    // MARK: What the client says

    /// What it said before has been heard, and no other process is about to go on with it.
    var canReceive: Bool { isHandedOver || event == nil && lastWord == nil && !reactor.isHolding }

    func received(_ kind: WebSocketOpcode, _ bytes: [UInt8], isFinal: Bool, by link: WebSocketLink) {
        guard !isHandedOver else { return }
        if kind == .text, let answer = space.autoResponse(to: bytes, on: id, of: object) {
            var buffer = ByteBuffer()
            buffer.appendWebSocketFrame(.text, Array(answer.utf8))
            return send(unsafe buffer.withReadable { unsafe Array($0) }, isFinal: true)
        }
        let event = ObjectSocketEvent(self, bytes, isText: kind == .text)
        // What all clients of the tenant have said and no object has heard is bounded.
        guard event.takeShare() else {
            return end(SocketClose(code: 1013, reason: "too much waits for durable objects: try again later"))
        }
        self.event = event
        reactor.objects.submit(event)
    }

    func receivedAll(by link: WebSocketLink) { tellEnd() }

    /// The answer is the node's: the object's handler needn't give one.
    func received(_ close: SocketClose, by link: WebSocketLink) {
        lastWord = close.wasClean ? .close(close) : .error(close.reason)
        link.answerClose()
    }

    // MARK: To the object

    /// The object has heard the last message.
    func eventEnded(_ ended: ObjectSocketEvent) {
        guard event === ended else { return }
        event = nil
        ended.giveShareBack()
        if hasToldEnd { return forget() }
        // Not from within what has ended it.
        reactor.later { [self] in
            guard event == nil else { return }
            link?.readOn()
            tellEnd()
        }
    }

    private func tellEnd() {
        guard let lastWord, event == nil, !hasToldEnd, !reactor.isHolding, !isHandedOver else { return }
        hasToldEnd = true
        let event = ObjectSocketEvent(self, lastWord)
        self.event = event
        reactor.objects.submit(event)
    }

    private func forget() {
        space.removeSocket(id, of: object)
        if isGone { reactor.objects.sockets[id.rawValue] = nil }
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
        guard !isGone, close == nil, lastWord == nil else { return }
        let most = isInMessage ? Self.queuedBytesHardMax : Self.queuedBytesMax
        isInMessage = !isFinal
        guard queuedByteCount <= most else {
            // None of it is of use to a client that is told to go.
            frames = []
            framesHead = 0
            queuedByteCount = 0
            isInMessage = false
            return end(SocketClose(code: 1013, reason: "the client reads too slowly"))
        }
        frames.append(frame)
        queuedByteCount += frame.count
        link?.flushLater()
    }

    /// The object, or the node, closes it.
    func end(_ close: SocketClose) {
        guard !isGone, self.close == nil else { return }
        self.close = close
        link?.flushLater()
    }

    /// Gives the link as much as it has room for; whole frames, so that what the protocol says for itself can stand between them.
    func canSend(on link: WebSocketLink) {
        guard !isWriting else { return }
        isWriting = true
        defer { isWriting = false }
        while framesHead < frames.count, link.hasRoom, link.phase == .open {
            let frame = frames[framesHead]
            framesHead += 1
            queuedByteCount -= frame.count
            link.output.append(frame)
            if !link.hasRoom { link.write() }
        }
        if framesHead == frames.count || framesHead > 64 {
            frames.removeFirst(framesHead)
            framesHead = 0
        }
        if frames.isEmpty, let close, link.phase == .open { link.say(close) }
    }

    func tick(_ link: WebSocketLink, _ now: Instant) {
        if let farewell = link.farewell { end(farewell) }
        if let event, let most = space.eventTimeout(of: object) { event.endIfOlder(than: most, now) }
    }

    // MARK: The end

    func closed(_ link: WebSocketLink) {}

    func ended(_ link: WebSocketLink, because reason: String) { gone() }

    /// There is no connection any more. The object hears of that in its turn.
    private func gone() {
        guard !isGone else { return }
        isGone = true
        link = nil
        frames = []
        framesHead = 0
        queuedByteCount = 0
        if lastWord == nil { lastWord = .close(.disconnected) }
        if hasToldEnd, event == nil { return forget() }
        tellEnd()
    }

    // MARK: Another process of the node

    /// Goes on where a socket of another process has stopped. `attach` brings its connection, if it has one still.
    convenience init(_ id: SocketID, continuing parked: ParkedObjectSocket, _ namespace: ObjectNamespace, on reactor: Reactor) {
        self.init(id, of: parked.object, namespace, on: reactor)
        isGone = parked.connection == nil
        lastWord = parked.lastWord
        close = parked.close
        isInMessage = parked.isInMessage
        if !parked.frames.isEmpty { frames = [parked.frames] }
        queuedByteCount = parked.frames.count
    }

    /// Frames that the link has had no room for.
    var waitingFrames: [UInt8] { Array(frames[framesHead...].joined()) }

    /// Nobody else goes on with it.
    func goOn() {
        link?.goOn()
        link?.readOn()
        tellEnd()
    }

    /// Another process goes on with it.
    func abandon() {
        isHandedOver = true
        event = nil
        guard let link, link.isParked else { return }
        link.abandon()
        self.link = nil
        isGone = true
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
        beginAccount(stream, server) {
            $0.append(front)
            $0.append(head)
        }
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
        stream?.failed(CallFailure("the handler of the WebSocket's event exceeded its allowed execution time"))
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
            let key = FrameKey(isContinuation: socket.isInMessage, agreement: isWhole ? socket.compression?.windowBits : nil)
            let frame = frames[key] ?? Self.frame(message, key, socket.compression)
            frames[key] = frame
            socket.send(frame, isFinal: message.isFinal)
        }
    }

    private struct FrameKey: Hashable {
        let isContinuation: Bool
        let agreement: Int?
    }

    private static func frame(_ message: SocketSendMessage, _ key: FrameKey, _ compression: PerMessageDeflate?) -> [UInt8] {
        let opcode: WebSocketOpcode = key.isContinuation ? .continuation : message.isText ? .text : .binary
        var buffer = ByteBuffer()
        if key.agreement != nil, let compressed = compression?.compress(message.payload) {
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
