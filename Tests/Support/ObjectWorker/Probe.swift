import DurableObjects
import Glibc

enum ProbeMethods {
    static let note = RPCMethod<Int, Int>("note")
    static let notes = RPCMethod<RPCNothing, [Int]>("notes")
    static let abort = RPCMethod<String, RPCNothing>("abort")
    static let echo = RPCMethod<[UInt8], Int>("echo")
}

/// A route for each thing that the acceptance probes of durable objects ask for.
final class Probe: DurableObject, DurableObjectFetchHandler, DurableObjectAlarmHandler, DurableObjectWebSocketHandler, RPCTarget
{
    private let state: DurableObjectState
    private var noted: [Int] = []
    private var socketEvents: [String] = []
    /// How often an instance of this object was made.
    private let constructed: Int

    init(state: DurableObjectState, env: Env) throws {
        self.state = state
        constructed = (try state.storage.kv.get("constructed", as: Int.self) ?? 0) + 1
        try state.storage.kv.put("constructed", constructed)
        if try state.storage.kv.get("throws", as: Bool.self) == true {
            try state.storage.kv.delete("throws")
            throw Oops("the constructor failed")
        }
    }

    struct Oops: Error, CustomStringConvertible {
        let description: String
        init(_ text: String) { description = text }
    }

    static var methods: [RPCHandler<Probe>] {
        [
            RPCHandler(ProbeMethods.note) { probe, number in
                probe.noted.append(number)
                return number
            },
            RPCHandler(ProbeMethods.notes) { probe, _ in probe.noted },
            RPCHandler(ProbeMethods.abort) { probe, reason in try probe.state.abort(reason) },
            RPCHandler(ProbeMethods.echo) { _, bytes in bytes.count },
        ]
    }

    func fetch(_ request: Request) async throws -> Response {
        let query = request.url.searchParameters
        let storage = state.storage
        switch request.path {
        case "/constructed": return .text("\(constructed)")
        case "/name": return .text(state.id.name ?? "nil")
        case "/id": return .text("\(state.id)")
        case "/pid": return .text("\(getpid())")
        case "/life": return .text("\(constructed) \(getpid())")
        case "/exit": exit(3)
        case "/increment":
            let value = try await storage.get("n", as: Int.self) ?? 0
            if query.get("sync") != nil { try await storage.sync() }
            try await storage.put("n", value + 1)
            return .text("\(value + 1)")
        case "/value": return .text("\(try await storage.get("n", as: Int.self) ?? 0)")
        case "/delay":
            DurabilityFaults.shared.delay(milliseconds: UInt32(query.get("ms") ?? "0") ?? 0)
            return .text("ok")
        case "/fail-sync":
            DurabilityFaults.shared.fail(1)
            try await storage.put("failed", 1)
            return .text("never")
        case "/put":
            let isUnconfirmed = query.get("unconfirmed") != nil
            try await storage.put("a", query.get("v") ?? "", allowUnconfirmed: isUnconfirmed)
            return .text("put")
        case "/get": return .text(try await storage.get("a", as: String.self) ?? "nil")
        case "/pair":
            try await storage.put("left", query.get("v") ?? "")
            try await storage.put("right", query.get("v") ?? "")
            return .text("put")
        case "/read-pair":
            let left = try await storage.get("left", as: String.self) ?? "nil"
            return .text("\(left) \(try await storage.get("right", as: String.self) ?? "nil")")
        case "/sql": return try sql(query.get("q") ?? "", query.get("bind").flatMap { Int64($0) })
        case "/one": return .text("\(try storage.sql.exec(query.get("q") ?? "").one().values)")
        case "/large":
            try await storage.put("large", [UInt8](repeating: 1, count: Int(query.get("n") ?? "0") ?? 0))
            return .text("put")
        case "/many": return .text("\(try await storage.get((0..<129).map { "k\($0)" }, as: Int.self).count)")
        case "/delete-all":
            try await storage.deleteAll()
            return .text("ok")
        default: return try await more(request, query)
        }
    }

    private func more(_ request: Request, _ query: URLSearchParameters) async throws -> Response {
        switch request.path {
        case "/throw": throw Oops("as asked")
        case "/throw-in-constructor":
            try state.storage.kv.put("throws", true)
            try await state.storage.sync()
            try state.abort("again")
        case "/block":
            let milliseconds = Int(query.get("ms") ?? "0") ?? 0
            let fails = query.get("throw") != nil
            try await state.blockConcurrencyWhile { [state] in
                if milliseconds > 0 { try await state.context.sleep(for: .milliseconds(milliseconds)) }
                if fails { throw Oops("in the section") }
            }
            return .text("ok")
        case "/transaction":
            try await state.storage.transaction { [state] _ in
                try await state.storage.put("t", 1)
                try await state.context.sleep(for: .milliseconds(1))
                throw Oops("in the transaction")
            }
            return .text("never")
        case "/transaction-value": return .text("\(try await state.storage.get("t", as: Int.self) ?? 0)")
        case "/abort": try state.abort(query.get("reason"))
        case "/sleep":
            try await state.context.sleep(for: .milliseconds(Int(query.get("ms") ?? "0") ?? 0))
            try await state.storage.put("slept", query.get("v") ?? "yes")
            return .text("slept")
        case "/slept": return .text(try await state.storage.get("slept", as: String.self) ?? "nil")
        case "/burn":
            let end = clock() + (Int(query.get("ms") ?? "0") ?? 0) * CLOCKS_PER_SEC / 1000
            while clock() < end {}
            return .text("burnt")
        case "/set-alarm":
            let time = query.get("at").flatMap { Int64($0) } ?? state.now + (Int64(query.get("in") ?? "0") ?? 0)
            try state.storage.kv.put("alarm-plan", query.get("plan") ?? "")
            try await state.storage.setAlarm(time)
            return .text("\(time)")
        case "/alarm": return .text("\(try await state.storage.getAlarm().map { "\($0)" } ?? "nil")")
        case "/delete-alarm":
            try await state.storage.deleteAlarm()
            return .text("ok")
        case "/alarm-in-failing-transaction":
            do {
                try await state.storage.transaction { [state] _ in
                    try await state.storage.setAlarm(state.now + 1_000_000)
                    throw Oops("on purpose")
                }
            } catch {}
            return .text("\(try await state.storage.getAlarm().map { "\($0)" } ?? "nil")")
        case "/alarms": return try .json(try state.storage.kv.get("alarms", as: [String].self) ?? [])
        default: return try await sockets(request, query)
        }
    }

    func alarm(_ info: AlarmInfo) async throws {
        var runs = try state.storage.kv.get("alarms", as: [String].self) ?? []
        let inside = try await state.storage.getAlarm().map { "\($0)" } ?? "nil"
        runs.append("\(info.retryCount) \(info.isRetry) \(info.scheduledTime) \(state.now) \(inside)")
        let plan = try state.storage.kv.get("alarm-plan", as: String.self) ?? ""
        try state.storage.kv.put("alarms", runs)
        // What failing runs note stays: it is not part of what is taken back.
        try await state.storage.sync()
        switch plan {
        case "throw": throw Oops("the alarm fails")
        case "throw-once" where runs.count == 1: throw Oops("the alarm fails once")
        case "sleep" where runs.count == 1: try await state.context.sleep(for: .seconds(30))
        case "again" where runs.count == 1: try await state.storage.setAlarm(state.now + 50)
        case "abandon": try state.abort("no more", retryAlarm: false)
        default: break
        }
    }

    private func sql(_ query: String, _ value: Int64?) throws -> Response {
        let cursor = try state.storage.sql.exec(query, value.map { [.integer($0)] } ?? [])
        return .text("\(try cursor.raw())")
    }

    // MARK: WebSockets

    private func sockets(_ request: Request, _ query: URLSearchParameters) async throws -> Response {
        switch request.path {
        case "/socket":
            let pair = WebSocketPair()
            try state.acceptWebSocket(pair.server, tags: query.getAll("tag"))
            if let text = query.get("attachment") { try pair.server.serializeAttachment(text) }
            if let text = query.get("hello") { try pair.server.send(text) }
            return .webSocket(pair.client)
        case "/standard":
            return .webSocket { socket in for try await message in socket { try socket.send(message) } }
        case "/sockets":
            let lines = try state.getWebSockets(query.get("tag")).map { socket in
                let tags = try state.getTags(socket).joined(separator: ",")
                return "\(tags):\(try socket.deserializeAttachment(as: String.self) ?? "nil")"
            }
            return try .json(lines)
        case "/broadcast":
            state.broadcast(.text(query.get("text") ?? ""), tag: query.get("tag"))
            return .text("ok")
        case "/auto":
            try state.setWebSocketAutoResponse(
                query.get("request").map { WebSocketAutoResponse(request: $0, response: query.get("response") ?? "") })
            return .text("ok")
        case "/events": return try .json(try state.storage.kv.get("events", as: [String].self) ?? [])
        case "/limits": return try .json(limits())
        default: return try await Self.history(request.path, query, state) ?? .empty(status: 404)
        }
    }

    /// What each excess throws.
    private func limits() -> [String] {
        var errors: [String] = []
        func attempt(_ body: () throws -> Void) {
            do {
                try body()
                errors.append("nothing")
            } catch { errors.append("\(error)") }
        }
        attempt { try state.acceptWebSocket(WebSocketPair().server, tags: (0..<11).map { "t\($0)" }) }
        attempt { try state.acceptWebSocket(WebSocketPair().server, tags: [String(repeating: "x", count: 257)]) }
        let pair = WebSocketPair()
        attempt { try state.acceptWebSocket(pair.server) }
        attempt { try pair.server.serializeAttachment([UInt8](repeating: 0, count: 16_384)) }
        let text = String(repeating: "x", count: 2049)
        attempt { try state.setWebSocketAutoResponse(WebSocketAutoResponse(request: text, response: "")) }
        attempt { try state.setWebSocketAutoResponse(WebSocketAutoResponse(request: "", response: text)) }
        let accepted = WebSocketPair()
        attempt {
            try accepted.server.accept()
            try state.acceptWebSocket(accepted.server)
        }
        return errors
    }

    func webSocketMessage(_ socket: WebSocket, _ message: WebSocketMessage) async throws {
        switch message {
        case .text("constructed"): try socket.send("\(constructed)")
        case .text("pid"): try socket.send("\(getpid())")
        case .text("attachment"): try socket.send(try socket.deserializeAttachment(as: String.self) ?? "nil")
        case .text("exit"): exit(3)
        case .text("throw"): throw Oops("in webSocketMessage")
        case .text("close"): try socket.close(3001, "as asked")
        case .text(let text) where text.hasPrefix("keep "): try socket.serializeAttachment(String(text.dropFirst(5)))
        case .text(let text) where text.hasPrefix("store "):
            try state.storage.kv.put("a", String(text.dropFirst(6)))
            try socket.send("stored")
        default: try socket.send(message)
        }
    }

    func webSocketClose(_ socket: WebSocket, _ close: WebSocketClose) async throws {
        try note("close \(close.code) \(close.reason) \(close.wasClean)")
    }

    func webSocketError(_ socket: WebSocket, _ error: any Error) async throws { try note("error \(error)") }

    private func note(_ event: String) throws {
        try state.storage.kv.put("events", (try state.storage.kv.get("events", as: [String].self) ?? []) + [event])
    }
}
