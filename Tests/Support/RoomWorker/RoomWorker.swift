// The worker that cutovers of durable objects are proved with: each answer names the release whose code gave it (the variable
// RELEASE), and what was lost, done twice or out of order shows in numbers.

import DurableObjects
import Workers

@main final class RoomWorker: FetchHandler, DurableObjectWorker {
    static var durableObjects: [any DurableObject.Type] { [Room.self, Hall.self, Plain.self] }

    init(env: Env) throws {}

    /// `/BINDING/NAME/…`: the rest is the object's.
    func fetch(_ request: Request, env: Env, context: ExecutionContext) async throws -> Response {
        let parts = request.url.path.split(separator: "/", maxSplits: 2, omittingEmptySubsequences: true).map(String.init)
        guard parts.count >= 2 else { return .text(env.variable("RELEASE") ?? "") }
        let namespace = try env.durableObjects(parts[0])
        if parts.count > 2, parts[2] == "id" { return .text(namespace.idFromName(parts[1]).description) }
        return try await namespace.getByName(parts[1]).fetch(request)
    }
}

/// What all classes here do.
class Counting {
    let state: DurableObjectState
    let release: String

    init(state: DurableObjectState, env: Env) throws {
        self.state = state
        release = env.variable("RELEASE") ?? ""
        // How often it has been made.
        let lives = try state.storage.kv.get("lives", as: Int.self) ?? 0
        try state.storage.kv.put("lives", lives + 1)
    }

    func number(_ key: String) throws -> Int { try state.storage.kv.get(key, as: Int.self) ?? 0 }

    func fetch(_ request: Request) async throws -> Response {
        let path = request.url.path.split(separator: "/").dropFirst(2)
        switch path.first {
        case "add":
            let count = try number("count") + 1
            try state.storage.kv.put("count", count)
            return .text("\(count) \(release)")
        case "alarm":
            try await state.storage.setAlarm(state.now + (path.last.flatMap { Int64(String($0)) } ?? 0))
            return .text(release)
        // Sleeps and then writes.
        case "slow":
            try await state.context.sleep(for: .milliseconds(path.last.flatMap { Int(String($0)) } ?? 0))
            try state.storage.kv.put("slow", try number("slow") + 1)
            return .text(release)
        case "socket":
            let pair = WebSocketPair()
            try state.acceptWebSocket(pair.server, tags: path.dropFirst().map(String.init))
            try pair.server.serializeAttachment(0)
            return .webSocket(pair.client)
        // How many sockets have the tag.
        case "tagged": return .text("\(state.getWebSockets(path.last.map(String.init)).count)")
        // Says something to all sockets.
        case "tell":
            state.broadcast(.text(path.last.map(String.init) ?? ""))
            return .text(release)
        default:
            let numbers = try ["count", "lives", "alarms", "slow"].map { "\($0)=\(try number($0))" }
            return .text("\(numbers.joined(separator: " ")) release=\(release) sockets=\(state.getWebSockets().count)")
        }
    }

    func alarm(_ info: AlarmInfo) async throws { try state.storage.kv.put("alarms", try number("alarms") + 1) }

    /// Answers a number with it, the number of messages that this socket has sent, and the release.
    func webSocketMessage(_ socket: WebSocket, _ message: WebSocketMessage) async throws {
        guard case .text(let text) = message else { return }
        let count = (try socket.deserializeAttachment(as: Int.self) ?? 0) + 1
        try socket.serializeAttachment(count)
        try socket.send("\(text) \(count) \(release)")
    }
}

final class Room: Counting, DurableObject, DurableObjectFetchHandler, DurableObjectAlarmHandler, DurableObjectWebSocketHandler {
    required override init(state: DurableObjectState, env: Env) throws { try super.init(state: state, env: env) }
}

/// What rooms are called later.
final class Hall: Counting, DurableObject, DurableObjectFetchHandler, DurableObjectAlarmHandler, DurableObjectWebSocketHandler {
    required override init(state: DurableObjectState, env: Env) throws { try super.init(state: state, env: env) }
}

/// With keys and values alone.
final class Plain: Counting, DurableObject, DurableObjectFetchHandler {
    required override init(state: DurableObjectState, env: Env) throws { try super.init(state: state, env: env) }
}
