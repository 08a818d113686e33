internal import Interfaces
internal import System
internal import Wire

/// An event for an object, from its coming to its end. Reactor thread only.
class ObjectEvent: EventOwner {
    final let space: ObjectSpace
    final let namespace: ObjectNamespace
    final let id: ObjectID
    final let name: String?
    final let reactor: Reactor
    /// What it holds in memory while it waits.
    final let byteCount: Int
    /// Waits no longer than that.
    final let deadline: Instant
    /// The life of the object that has got it.
    final private(set) var delivery: ObjectRegistry.Delivery?
    final private(set) weak var stream: EventStream?
    final private(set) var isOver = false

    init(
        _ id: ObjectID, name: String?, of namespace: ObjectNamespace, byteCount: Int, on reactor: Reactor, waitMax: Duration?
    ) {
        self.id = id
        self.name = name
        self.namespace = namespace
        self.byteCount = byteCount
        self.reactor = reactor
        space = namespace.space
        deadline = waitMax.map { reactor.now + $0 } ?? Instant(nanoseconds: .max)
    }

    // MARK: What kinds of events add

    /// Whether it may be refused because too much waits for the object.
    var isLimited: Bool { true }
    /// Nobody waits for it any more.
    var isAbandoned: Bool { isOver }
    /// Opens the stream that brings the event to the object.
    func open(on channel: Channel, _ head: ObjectEventHead, _ server: ObjectSpace.Server) -> EventStream? { nil }
    func answered(_ event: EventStream, _ message: UnsafeRawBufferPointer) throws(WireError) {}
    /// Called once at most, and not after `answered`.
    func failed(_ failure: CallFailure) {}
    /// Of a fetch that asks for a WebSocket.
    var socketNumber: SocketID { SocketID(0) }

    // MARK: Its way

    final func dispatch(on channel: Channel, _ delivery: ObjectRegistry.Delivery, _ server: ObjectSpace.Server) {
        self.delivery = delivery
        let reference = ObjectReference(id: id.bytes, name: name ?? space.name(of: id))
        guard let stream = open(on: channel, ObjectEventHead(object: reference, socket: socketNumber), server) else {
            isOver = true
            return reactor.later { [self] in reactor.objects.ended(self, nil) }
        }
        self.stream = stream
        stream.whenOver = { [self, unowned stream] in reactor.objects.ended(self, stream) }
    }

    /// Has the event's stream counted for the release that has its object.
    final func beginAccount(
        _ stream: EventStream, _ server: ObjectSpace.Server, caller: EventStream? = nil,
        timing: EventAccount.Timing = .counted, _ write: (inout ByteBuffer) -> Void
    ) {
        stream.beginAccount(
            for: .object(id, class: server.classNames[namespace.id] ?? namespace.className), caller: caller,
            meter: server.meter, timing: delivery?.opens ?? false ? .ignored : timing, write)
    }

    final func refuse(_ failure: CallFailure) { finish(failure) }

    /// The object's life is over.
    final func cutOff(_ failure: CallFailure) {
        stream?.failed(failure)
        stream?.abandon(.cancelled)
        finish(failure)
    }

    final func finish(_ failure: CallFailure) {
        guard !isOver else { return }
        isOver = true
        failed(failure)
    }

    /// Nobody waits for the answer any more.
    final func abandon(_ reason: StreamReset) {
        guard !isOver else { return }
        isOver = true
        stream?.abandon(reason)
    }

    // MARK: EventOwner

    final func event(_ event: EventStream, answered message: UnsafeRawBufferPointer) throws(WireError) {
        guard !isOver else { return }
        // First: the call ends with its answer, and must not take that for its caller's leaving.
        isOver = true
        do throws(WireError) { try unsafe answered(event, message) } catch {
            isOver = false
            throw error
        }
    }

    final func event(_ event: EventStream, threw failure: CallFailure, passThrough: Bool) { finish(failure) }

    final func event(_ event: EventStream, wasReset reason: StreamReset) { finish(ObjectFailure.reset(reason)) }
}

/// Brings an object to an isolate, in front of its first event: the constructor runs. Keeps itself until that is answered.
final class ObjectOpening: EventOwner {
    private let space: ObjectSpace
    private let namespace: ObjectNamespace
    private let id: ObjectID
    private let incarnation: UInt64

    /// Of what is said about WebSockets in one message.
    private static let messageBytesMax = 256 << 10

    static func start(
        _ event: ObjectEvent, _ delivery: ObjectRegistry.Delivery, _ server: ObjectSpace.Server, on channel: Channel
    ) {
        let opening = ObjectOpening(event, delivery)
        let known = event.space.socketStates(of: event.id)
        var message = ObjectOpenMessage(
            className: server.classNames[event.namespace.id] ?? event.namespace.className,
            object: ObjectReference(id: event.id.bytes, name: event.name ?? event.space.name(of: event.id)),
            autoResponse: known.autoResponse, socketEventTimeout: known.timeout)
        var byteCount = 0
        for socket in known.sockets {
            message.sockets.append(socket)
            byteCount += 64 + (socket.attachment?.count ?? 0) + socket.tags.reduce(0) { $0 + 4 + $1.utf8.count }
            guard byteCount >= messageBytesMax else { continue }
            message.hasMoreSockets = true
            channel.openControl(.objectOpen, message.encoded) { _ in }
            message.sockets = []
            message.hasMoreSockets = false
            byteCount = 0
        }
        let bytes = message.encoded
        _ = channel.open(
            .objectOpen, flags: .end,
            make: {
                EventStream(
                    number: $0, channel: channel, worker: server.worker, release: server.release, kind: .objectOpen,
                    owner: opening)
            },
            { $0.append(bytes) })
    }

    private init(_ event: ObjectEvent, _ delivery: ObjectRegistry.Delivery) {
        space = event.space
        namespace = event.namespace
        id = event.id
        incarnation = delivery.incarnation
    }

    func event(_ event: EventStream, answered message: UnsafeRawBufferPointer) throws(WireError) {
        var decoder = unsafe WireDecoder(Array(message))
        space.opened(id, incarnation, try ObjectOpenReply(decoding: &decoder), in: namespace)
    }

    func event(_ event: EventStream, threw failure: CallFailure, passThrough: Bool) {
        space.openFailed(id, incarnation, failure.marked(.stubBroken))
    }

    func event(_ event: EventStream, wasReset reason: StreamReset) {
        space.openBroke(id, incarnation, ObjectFailure.reset(reason))
    }
}

extension ObjectOpenMessage {
    fileprivate var encoded: [UInt8] {
        var encoder = WireEncoder()
        encode(into: &encoder)
        return encoder.bytes
    }
}
