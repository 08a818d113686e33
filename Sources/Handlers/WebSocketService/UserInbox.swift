import Collaboration
import DurableObjects
import Platform
import Workers

/// What the worker asks of an inbox besides connecting to it.
enum InboxCalls {
    static let deliver = RPCMethod<RoomNotification, Bool>("deliver")
    static let page = RPCMethod<InboxPageRequest, RoomReply<InboxPage>>("page")
    static let read = RPCMethod<Int64, Int>("read")
}

struct InboxPageRequest: Codable, Sendable {
    var before: Int64?
    var limit: Int
}

/// One user's notifications, as a durable object: `Inbox` with its sockets and its storage.
final class UserInbox: DurableObject, DurableObjectFetchHandler, DurableObjectWebSocketHandler, RPCTarget {
    private let state: DurableObjectState
    private let storage: SQLInboxStorage
    private let inbox: Inbox<SQLInboxStorage>
    private let env: Env
    private let logins = LoginCheck()

    init(state: DurableObjectState, env: Env) throws {
        self.state = state
        self.env = env
        storage = SQLInboxStorage(state.storage.sql)
        inbox = Inbox(storage)
        if state.getWebSocketAutoResponse() == nil {
            try state.setWebSocketAutoResponse(.init(request: Upgrade.pingText, response: Upgrade.pongText))
        }
    }

    static var methods: [RPCHandler<UserInbox>] {
        [
            RPCHandler(InboxCalls.deliver) { object, notification in try await object.deliver(notification) },
            RPCHandler(InboxCalls.page) { object, request in
                try RoomReply { try object.inbox.page(before: request.before, limit: request.limit) }
            },
            RPCHandler(InboxCalls.read) { object, number in try object.read(upTo: number) },
        ]
    }

    private func deliver(_ notification: RoomNotification) async throws -> Bool {
        try await checkLogins()
        guard let text = try inbox.deliver(notification) else { return false }
        state.broadcast(.text(text))
        return true
    }

    /// Ends connections whose login has ended since they were made.
    private func checkLogins() async throws {
        guard logins.isDue(state.now) else { return }
        let sockets = state.getWebSockets()
        let sessions = try sockets.map { try $0.deserializeAttachment(as: String.self) ?? "" }
        let ended = try await logins.ended(among: Set(sessions), env)
        for (socket, session) in zip(sockets, sessions) where ended.contains(session) {
            try socket.close(RoomClosing.sessionEnded.rawValue, RoomClosing.sessionEnded.reason)
        }
    }

    /// - Returns: how many are unread then.
    private func read(upTo number: Int64) throws -> Int {
        state.broadcast(.text(try inbox.read(upTo: number)))
        return try storage.unreadCount()
    }

    func fetch(_ request: Request) async throws -> Response {
        do {
            let greeting = try inbox.greeting(connections: state.getWebSockets().count)
            let pair = WebSocketPair()
            try state.acceptWebSocket(pair.server, tags: [Identifier(now: state.now).text])
            try pair.server.serializeAttachment(try Identity(of: request).sessionID)
            try pair.server.send(greeting)
            return try Upgrade.response(pair.client)
        } catch let failure as RoomFailure {
            return failure.apiError.response(requestID: RequestID.of(request))
        }
    }

    func webSocketMessage(_ socket: WebSocket, _ message: WebSocketMessage) async throws {
        guard case .text(let text) = message else {
            return try socket.close(RoomClosing.unsupported.rawValue, RoomClosing.unsupported.reason)
        }
        let id = try state.getTags(socket).first ?? ""
        switch try inbox.receive(text, from: id, now: state.now) {
        case .toSender(let answer): try socket.send(answer)
        case .toAll(let answer): state.broadcast(.text(answer))
        case .close(let code): try socket.close(code.rawValue, code.reason)
        }
    }

    func webSocketClose(_ socket: WebSocket, _ close: WebSocketClose) async throws {
        inbox.disconnect(try state.getTags(socket).first ?? "")
    }
}
