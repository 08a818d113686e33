import Collaboration
import DurableObjects
import Platform
import Workers

/// A room as a durable object: the sockets, the timer and the storage around `Room`, which decides everything.
///
/// It sleeps when nobody says anything, and its sockets stay with the node; each keeps its member. A storage that fails resets the
/// object, since the room in memory would know more than its file.
final class CollaborationRoom: DurableObject, DurableObjectFetchHandler, DurableObjectWebSocketHandler,
    DurableObjectAlarmHandler, RPCTarget
{
    private let state: DurableObjectState
    private let env: Env
    private let storage: SQLRoomStorage
    private let outbox: NotificationOutbox
    private let logins = LoginCheck()
    /// `nil` until somebody has made the room.
    private var room: Room<SQLRoomStorage>?
    private var sockets: [String: WebSocket] = [:]
    /// When the timer that counts rings.
    private var ringsAt: Int64?

    init(state: DurableObjectState, env: Env) throws {
        self.state = state
        self.env = env
        storage = SQLRoomStorage(state.storage.sql)
        outbox = NotificationOutbox(state, env)
        guard try storage.isPrepared else { return }
        try open()
    }

    private func open() throws {
        var members: [Member] = []
        for socket in state.getWebSockets() {
            guard let member = try? socket.deserializeAttachment(as: Member.self) else {
                // Kept by a version that wrote it otherwise.
                try socket.close(RoomClosing.unknown.rawValue, RoomClosing.unknown.reason)
                continue
            }
            sockets[member.id] = socket
            members.append(member)
        }
        room = try Room(storage, members: members)
        if state.getWebSocketAutoResponse() == nil {
            try state.setWebSocketAutoResponse(.init(request: Upgrade.pingText, response: Upgrade.pongText))
        }
        arm()
    }

    // MARK: Calls

    static var methods: [RPCHandler<CollaborationRoom>] {
        [
            RPCHandler(RoomCalls.create) { object, settings in try object.create(settings) },
            RPCHandler(RoomCalls.show) { object, visitor in
                try RoomReply { try object.view(for: visitor) }
            },
            RPCHandler(RoomCalls.messages) { object, request in try object.messages(request) },
            RPCHandler(RoomCalls.publish) { object, publication in try object.publish(publication) },
        ]
    }

    private func create(_ settings: RoomSettings) throws -> RoomReply<RoomView> {
        if room == nil {
            try storage.prepare()
            _ = try Room.create(settings, in: storage)
            try open()
        }
        return try RoomReply { try view(for: RoomVisitor(user: settings.createdBy)) }
    }

    private func view(for visitor: RoomVisitor) throws -> RoomView {
        guard let room else { throw RoomMissing() }
        let role = try room.admit(user: visitor.user, isAdmin: visitor.isAdmin, now: state.now)
        return RoomView(
            id: room.settings.id, name: room.settings.name, access: room.settings.access, role: role,
            memberCount: room.members.count, createdAt: Timestamp.text(room.settings.createdAt))
    }

    private func messages(_ request: MessagesRequest) throws -> RoomReply<MessagesPage> {
        try RoomReply {
            _ = try view(for: request.visitor)
            let page = try storage.messages(before: request.before, limit: request.limit + 1)
            return MessagesPage(messages: Array(page.suffix(request.limit)), hasMore: page.count > request.limit)
        }
    }

    private func publish(_ publication: Publication) throws -> RoomReply<RoomView> {
        try RoomReply {
            let view = try view(for: publication.visitor)
            guard view.role >= .editor else {
                throw RoomFailure("forbidden", "your role here is \"\(view.role.rawValue)\"; editors publish")
            }
            try perform { try $0.publish(publication.data, topic: publication.topic, now: state.now) }
            return view
        }
    }

    // MARK: Sockets

    /// An upgrade, whose headers the worker has checked.
    func fetch(_ request: Request) async throws -> Response {
        let requestID = RequestID.of(request)
        do {
            let identity = try Identity(of: request)
            let name = request.headers[Upgrade.nameHeader] ?? identity.userID
            return try connect(identity, name: name)
        } catch let error as APIError {
            return error.response(requestID: requestID)
        } catch let failure as RoomFailure {
            return failure.apiError.response(requestID: requestID)
        } catch is RoomMissing {
            return APIError.notFound("this room").response(requestID: requestID)
        }
    }

    private func connect(_ identity: Identity, name: String) throws -> Response {
        let id = Identifier(now: state.now).text
        let pair = WebSocketPair()
        try perform { room in
            let outputs = try room.connect(
                id, user: identity.userID, name: name, session: identity.sessionID, isAdmin: identity.role == .admin,
                now: state.now)
            try state.acceptWebSocket(pair.server, tags: [id])
            sockets[id] = pair.server
            return outputs
        }
        return try Upgrade.response(pair.client)
    }

    func webSocketMessage(_ socket: WebSocket, _ message: WebSocketMessage) async throws {
        guard let id = try state.getTags(socket).first else { return }
        try perform { room in
            switch message {
            case .text(let text): try room.receive(text, from: id, now: state.now)
            case .binary: room.receiveBytes(from: id, now: state.now)
            }
        }
        try await outbox.send()
        checkLogins()
    }

    /// Where something is said, those whose login has ended since they came don't hear of it for long.
    private func checkLogins() {
        guard let room, logins.isDue(state.now) else { return }
        let sessions = Set(room.members.values.map(\.session))
        state.waitUntil { [weak self] in
            guard let self else { return }
            let ended = try await logins.ended(among: sessions, env)
            guard !ended.isEmpty, self.room != nil else { return }
            try perform { $0.expel(sessions: ended, now: state.now) }
        }
    }

    func webSocketClose(_ socket: WebSocket, _ close: WebSocketClose) async throws { try disconnect(socket) }
    func webSocketError(_ socket: WebSocket, _ error: any Error) async throws { try disconnect(socket) }

    private func disconnect(_ socket: WebSocket) throws {
        guard let id = try state.getTags(socket).first else { return }
        sockets[id] = nil
        guard room != nil else { return }
        try perform { $0.disconnect(id, now: state.now) }
    }

    // MARK: What the room wants

    private func perform(_ body: (Room<SQLRoomStorage>) throws -> [RoomOutput]) throws {
        guard let room else { throw RoomMissing() }
        do {
            for output in try body(room) { try apply(output) }
        } catch let failure as RoomFailure {
            throw failure
        } catch {
            state.log.error("room reset", ["room": room.settings.id, "error": "\(error)"])
            try state.abort("the room's storage failed")
        }
        arm()
    }

    private func apply(_ output: RoomOutput) throws {
        switch output {
        case .send(let text, .one(let id)): send(text, to: [id])
        case .send(let text, .some(let ids)): send(text, to: ids)
        case .send(let text, .all(let except)):
            // Those that haven't joined yet get it as well, and don't look at it.
            state.broadcast(.text(text), except: except.flatMap { sockets[$0] })
        case .close(let id, let code): try sockets.removeValue(forKey: id)?.close(code.rawValue, code.reason)
        case .keep(let member): try sockets[member.id]?.serializeAttachment(member)
        case .notify(let notification): try outbox.add(notification)
        }
    }

    private func send(_ text: String, to ids: [String]) {
        state.broadcast(.text(text), to: ids.compactMap { sockets[$0] })
    }

    // MARK: Time

    /// Sees to it that the room is asked when it wants to be. While a timer runs the object stays in memory.
    private func arm() {
        guard let next = room?.nextTick, ringsAt.map({ next < $0 }) ?? true else { return }
        ringsAt = next
        state.waitUntil { [weak self] in try await self?.ring(at: next) }
    }

    private func ring(at time: Int64) async throws {
        try await state.context.sleep(for: .milliseconds(max(1, time - state.now)))
        // An earlier one may have been set meanwhile.
        guard ringsAt == time else { return }
        ringsAt = nil
        try perform { try $0.tick(now: max(time, state.now)) }
    }

    func alarm(_ info: AlarmInfo) async throws { try await outbox.drain() }
}

extension RoomVisitor {
    init(user: String) {
        self.user = user
        isAdmin = false
    }
}
