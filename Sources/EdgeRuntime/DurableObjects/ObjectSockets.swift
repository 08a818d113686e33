internal import Interfaces
internal import Workers

/// One hibernating WebSocket as its object sees it. The node has the connection; what is said here goes there when the writes
/// before it are durable.
final class ObjectSocket: HibernatingSocket {
    private let owner: ObjectSockets
    private(set) var id: SocketID?
    let tags: [String]
    private(set) var attachment: [UInt8]?
    var autoResponseTime: Int64?
    private(set) var readyState = WebSocket.ReadyState.open
    /// What was said before the answer that makes the connection.
    private var waiting: [(SocketID) -> Void] = []
    private var waitingByteCount = 0
    private weak var facade: WebSocket?

    static let attachmentByteCountMax = 16_384

    init(_ owner: ObjectSockets, tags: [String]) {
        self.owner = owner
        self.tags = tags
    }

    init(_ owner: ObjectSockets, _ state: ObjectSocketState) {
        self.owner = owner
        id = state.id
        tags = state.tags
        attachment = state.attachment
        autoResponseTime = state.autoResponseTime
    }

    static func of(_ socket: WebSocket) throws -> ObjectSocket {
        guard let socket = socket.hibernating as? ObjectSocket else {
            throw DurableObjectError("The WebSocket was not accepted by acceptWebSocket() of this Durable Object.")
        }
        return socket
    }

    /// What handlers get; the same one as long as somebody has it.
    var webSocket: WebSocket {
        if let facade { return facade }
        let made = WebSocket(self)
        facade = made
        return made
    }

    func adopt(_ socket: WebSocket) { facade = socket }
    func isOwned(by sockets: ObjectSockets) -> Bool { owner === sockets }

    // MARK: HibernatingSocket

    var hibernation: HibernationMessage { HibernationMessage(tags: tags, attachment: attachment) }

    func opened(_ id: SocketID) {
        self.id = id
        owner.opened(self, id)
        let ready = waiting
        waiting = []
        waitingByteCount = 0
        for body in ready { body(id) }
    }

    func send(_ kind: SocketRecord.Kind, _ bytes: [UInt8]) throws {
        switch readyState {
        case .closing: throw CallFailure("Can't call WebSocket send() after close().", name: "TypeError")
        case .closed: return
        case .connecting, .open: break
        }
        guard id == nil else { return owner.send(kind, bytes, to: [self]) }
        waitingByteCount += bytes.count
        guard waitingByteCount <= 8 << 20 else {
            throw CallFailure("Too much was sent on a WebSocket before the response that makes it.")
        }
        waiting.append { [weak self] _ in if let self { owner.send(kind, bytes, to: [self]) } }
    }

    func close(_ close: SocketClose) {
        guard readyState == .open else { return }
        readyState = .closing
        whenOpen { [owner] id in
            owner.say(.socketClose, id) { SocketCloseMessage(socket: id, code: close.code, reason: close.reason).bytes }
        }
    }

    func setAttachment(_ bytes: [UInt8]?) throws {
        if let bytes, bytes.count > Self.attachmentByteCountMax {
            throw DurableObjectError(
                "A WebSocket 'attachment' cannot be larger than \(Self.attachmentByteCountMax) bytes. "
                    + "'attachment' was \(bytes.count) bytes.")
        }
        attachment = bytes
        // Before the answer it goes with the answer.
        guard let id, readyState != .closed else { return }
        owner.say(.socketAttachment, id) { SocketAttachmentMessage(socket: id, attachment: bytes).bytes }
    }

    private func whenOpen(_ body: @escaping (SocketID) -> Void) {
        if let id { body(id) } else { waiting.append(body) }
    }

    /// The client has closed, or is gone.
    func disconnected() { readyState = .closed }
}

/// The hibernating WebSockets of one object.
final class ObjectSockets {
    private let scope: ObjectScope
    private let object: ObjectReference
    /// By number. Those that wait for their answer are not in it.
    private var open: [UInt64: ObjectSocket] = [:]
    /// The numbers in the order in which they came, the oldest first; those that are gone stay until most are.
    private var order: [UInt64] = []
    /// Those whose answer has not gone out yet.
    private var pending: [Weak] = []
    private struct Weak { weak var socket: ObjectSocket? }
    private(set) var autoResponse: WebSocketAutoResponse?
    private(set) var eventTimeout: Int?

    static let countMax = 32_768
    private static let tagsMax = 10
    private static let tagCharactersMax = 256
    private static let autoResponseByteCountMax = 2048
    private static let eventTimeoutMax = 604_800_000

    init(_ scope: ObjectScope, _ object: ObjectReference) {
        self.scope = scope
        self.object = object
    }

    /// What the node says is there. It comes in pieces, the newest first.
    func add(_ message: ObjectOpenMessage) {
        for state in message.sockets { open[state.id.rawValue] = ObjectSocket(self, state) }
        order.insert(contentsOf: message.sockets.reversed().map(\.id.rawValue), at: 0)
        autoResponse = message.autoResponse.map { WebSocketAutoResponse(request: $0.request, response: $0.response) }
        eventTimeout = message.socketEventTimeout.map(Int.init)
    }

    func accept(_ socket: WebSocket, tags: [String]) throws {
        guard socket.hibernating == nil else { throw DurableObjectError("Tried to acceptWebSocket() twice.") }
        guard !socket.isAccepted else {
            throw DurableObjectError(
                "Cannot call `acceptWebSocket()` if the WebSocket was already accepted via `accept()`")
        }
        var distinct: [String] = []
        for tag in tags where !distinct.contains(tag) {
            guard tag.count <= Self.tagCharactersMax else {
                throw DurableObjectError(
                    "\"\(tag)\" is longer than the max tag length (\(Self.tagCharactersMax) characters).")
            }
            distinct.append(tag)
            guard distinct.count <= Self.tagsMax else {
                throw DurableObjectError("a Hibernatable WebSocket cannot have more than \(Self.tagsMax) tags")
            }
        }
        guard open.count < Self.countMax else {
            throw DurableObjectError(
                "only \(Self.countMax) websockets can be accepted on a single Durable Object instance")
        }
        let accepted = ObjectSocket(self, tags: distinct)
        try socket.accept(hibernating: accepted)
        accepted.adopt(socket)
        pending.removeAll { $0.socket == nil }
        pending.append(Weak(socket: accepted))
    }

    func opened(_ socket: ObjectSocket, _ id: SocketID) {
        pending.removeAll { $0.socket == nil || $0.socket === socket }
        open[id.rawValue] = socket
        order.append(id.rawValue)
    }

    /// The object is gone.
    func forget() {
        open = [:]
        order = []
    }

    func socket(_ id: SocketID) -> ObjectSocket? { open[id.rawValue] }

    func remove(_ id: SocketID) {
        open[id.rawValue] = nil
        if order.count > 64, order.count > 2 * open.count { order = order.filter { open[$0] != nil } }
    }

    private func sockets(_ tag: String?) -> [ObjectSocket] {
        (pending.reversed().compactMap(\.socket) + order.reversed().compactMap { open[$0] }).filter { socket in
            socket.readyState != .closed && (tag.map { socket.tags.contains($0) } ?? true)
        }
    }

    func list(_ tag: String?) -> [WebSocket] { sockets(tag).map(\.webSocket) }

    func tags(of socket: WebSocket) throws -> [String] { try own(socket).tags }
    func autoResponseTime(of socket: WebSocket) throws -> Int64? { try own(socket).autoResponseTime }

    private func own(_ socket: WebSocket) throws -> ObjectSocket {
        let own = try ObjectSocket.of(socket)
        guard own.isOwned(by: self) else {
            throw DurableObjectError("The WebSocket was not accepted by acceptWebSocket() of this Durable Object.")
        }
        return own
    }

    // MARK: What holds for all of them

    func setAutoResponse(_ pair: WebSocketAutoResponse?) throws {
        if let pair {
            for (what, text) in [("Request", pair.request), ("Response", pair.response)]
            where text.utf8.count > Self.autoResponseByteCountMax {
                throw DurableObjectError(
                    "\(what) cannot be larger than \(Self.autoResponseByteCountMax) bytes. "
                        + "A \(what.lowercased()) of size \(text.utf8.count) was provided.")
            }
        }
        autoResponse = pair
        sayWhatHolds()
    }

    func setEventTimeout(_ milliseconds: Int?) throws {
        if let milliseconds, !(0...Self.eventTimeoutMax).contains(milliseconds) {
            throw DurableObjectError("The event timeout is 0...\(Self.eventTimeoutMax) milliseconds, not \(milliseconds).")
        }
        eventTimeout = milliseconds
        sayWhatHolds()
    }

    private func sayWhatHolds() {
        let message = SocketAutoResponseMessage(
            object: object, autoResponse: autoResponse.map { SocketAutoResponse(request: $0.request, response: $0.response) },
            eventTimeout: eventTimeout.map(Int64.init))
        scope.say(.socketAutoResponse, channel: 0) { message.bytes }
    }

    // MARK: Sending

    func broadcast(_ message: WebSocketMessage, tag: String?, except: WebSocket?) {
        let left = except.flatMap { try? ObjectSocket.of($0) }
        send(message, to: sockets(tag).filter { $0 !== left })
    }

    func broadcast(_ message: WebSocketMessage, to receivers: [WebSocket]) {
        send(message, to: receivers.compactMap { try? own($0) })
    }

    private func send(_ message: WebSocketMessage, to receivers: [ObjectSocket]) {
        switch message {
        case .text(let text): send(.text, Array(text.utf8), to: receivers)
        case .binary(let bytes): send(.binary, bytes, to: receivers)
        }
    }

    func send(_ kind: SocketRecord.Kind, _ bytes: [UInt8], to receivers: [ObjectSocket]) {
        var byReactor: [Int: [SocketID]] = [:]
        for socket in receivers where socket.readyState == .open {
            if let id = socket.id { byReactor[id.reactor, default: []].append(id) } else { try? socket.send(kind, bytes) }
        }
        for (reactor, ids) in byReactor.sorted(by: { $0.key < $1.key }) {
            for start in stride(from: 0, to: ids.count, by: SocketSendMessage.socketCountMax) {
                let some = Array(ids[start..<min(ids.count, start + SocketSendMessage.socketCountMax)])
                sendPieces(kind, bytes, to: some, reactor)
            }
        }
    }

    private func sendPieces(_ kind: SocketRecord.Kind, _ bytes: [UInt8], to ids: [SocketID], _ reactor: Int) {
        let most = SocketSendMessage.payloadByteCountMax
        scope.output.emit { [scope] in
            var offset = 0
            repeat {
                let end = min(bytes.count, offset + most)
                let piece = SocketSendMessage(
                    sockets: ids, isText: kind == .text, isFinal: end == bytes.count, payload: Array(bytes[offset..<end]))
                scope.sayNow(.socketSend, channel: reactor, piece.bytes)
                offset = end
            } while offset < bytes.count
        }
    }

    func say(_ kind: CallKind, _ id: SocketID, _ message: @escaping () -> [UInt8]) {
        scope.say(kind, channel: id.reactor, message)
    }
}
