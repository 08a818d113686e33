import Glibc
import Workers

/// WebSockets: one route per thing that a worker can do with one.
extension HelloWorker {
    /// How the last socket ended that the routes below had, or what went wrong at it.
    private final class Notes: @unchecked Sendable {  // All code of an isolate runs on one thread.
        var last = "none"
    }
    private static let notes = Notes()

    private static func note(_ socket: WebSocket) {
        let close = socket.closing.map { "\($0.code) \($0.reason) \($0.wasClean ? "clean" : "unclean")" } ?? "open"
        notes.last = "\(close) \(socket.readyState)"
    }

    private struct Failure: Error, CustomStringConvertible {
        var description: String { "this socket always fails" }
    }

    static func addSockets(_ routes: inout RouteBuilder) {
        // Each message comes back; `exit` ends the process, `throw` the conversation, `close CODE REASON` closes.
        routes.get("/ws/echo") { _ in
            .webSocket { socket in
                for try await message in socket {
                    switch message {
                    case .text("exit"): exit(3)
                    case .text("throw"): throw Failure()
                    case .text("close"): try socket.close()
                    case .text(let text) where text.hasPrefix("close "):
                        let parts = text.split(separator: " ", maxSplits: 2)
                        try socket.close(Int(parts[1]), parts.count > 2 ? String(parts[2]) : nil)
                    default:
                        try socket.send(message)
                        try await socket.drained()
                    }
                }
                note(socket)
            }
        }
        // The same with a pair, and a greeting that is sent before the answer.
        routes.get("/ws/pair") { _ in
            let pair = WebSocketPair()
            try pair.server.accept()
            try pair.server.send("hello")
            Task {
                for try await message in pair.server { try pair.server.send(message) }
                note(pair.server)
            }
            return .webSocket(pair.client)
        }
        routes.get("/ws/last") { _ in .text(notes.last) }
        // What each misuse throws.
        routes.get("/ws/errors") { _ in
            var errors: [String] = []
            func attempt(_ body: () throws -> Void) {
                do {
                    try body()
                    errors.append("nothing")
                } catch { errors.append("\(error)") }
            }
            let pair = WebSocketPair()
            attempt { try pair.server.send("early") }
            try pair.server.accept()
            try pair.server.accept()
            for code in [999, 1001, 1005, 1006, 1015, 2999, 5000] { attempt { try pair.server.close(code) } }
            attempt { try pair.server.close(nil, "a reason") }
            attempt { try pair.server.close(1000, String(repeating: "x", count: 124)) }
            attempt { try pair.server.close(3000, String(repeating: "x", count: 123)) }
            attempt { try pair.server.close(1000) }
            attempt { try pair.server.send("late") }
            return .text(errors.joined(separator: "\n"))
        }
        // Answers 101, whatever was asked.
        routes.get("/ws/always") { _ in .webSocket { _ in } }
        routes.get("/ws/without-socket") { _ in try Response(status: 101) }
        routes.get("/ws/accepted") { _ in
            let pair = WebSocketPair()
            try pair.client.accept()
            return .webSocket(pair.client)
        }
        // Nobody keeps the other end.
        routes.get("/ws/dropped") { _ in .webSocket(WebSocketPair().client) }
        // Not accepted for so long.
        routes.get("/ws/late/:milliseconds") { exchange in
            let milliseconds = try exchange.parameters.get("milliseconds", as: Int.self)
            let pair = WebSocketPair()
            Task {
                try await exchange.context.sleep(for: .milliseconds(milliseconds))
                try pair.server.accept()
                for try await message in pair.server { try pair.server.send(message) }
            }
            return .webSocket(pair.client)
        }
        // `protocol`: what it chooses; and a cookie.
        routes.get("/ws/protocol") { exchange in
            var headers = Headers()
            try headers.set("sec-websocket-protocol", exchange.request.url.searchParameters.get("protocol") ?? "chat")
            try headers.append("set-cookie", "a=1")
            return .webSocket(headers: headers) { socket in for try await message in socket { try socket.send(message) } }
        }
        // `count` numbered messages of `size` bytes, as fast as they are taken, or with `greedy` without looking.
        routes.get("/ws/push/:count/:size") { exchange in
            let count = try exchange.parameters.get("count", as: Int.self)
            let size = try exchange.parameters.get("size", as: Int.self)
            let isGreedy = exchange.request.url.searchParameters.get("greedy") != nil
            return .webSocket { socket in
                do {
                    for number in 0..<count {
                        let text = "\(number) "
                        try socket.send(text + String(repeating: "x", count: max(0, size - text.utf8.count)))
                        if !isGreedy { try await socket.drained() }
                        if socket.readyState != .open { break }
                    }
                } catch { notes.last = "\(error)" }
                if socket.readyState != .open { note(socket) }
            }
        }
        // Reads nothing.
        routes.get("/ws/deaf/:milliseconds") { exchange in
            let milliseconds = try exchange.parameters.get("milliseconds", as: Int.self)
            return .webSocket { socket in try await exchange.context.sleep(for: .milliseconds(milliseconds)) }
        }
        // The lengths of messages.
        routes.get("/ws/length") { _ in
            .webSocket { socket in
                for try await message in socket {
                    switch message {
                    case .text(let text): try socket.send("text \(text.utf8.count)")
                    case .binary(let bytes): try socket.send("binary \(bytes.count)")
                    }
                }
                note(socket)
            }
        }
        // Burns so many milliseconds of CPU time for each message.
        routes.get("/ws/burn") { _ in
            .webSocket { socket in
                for try await case .text(let text) in socket {
                    let end = clock() + (Int(text) ?? 0) * CLOCKS_PER_SEC / 1000
                    while clock() < end {}
                    try socket.send(text)
                }
            }
        }
        // Each message becomes a call of the binding KV, also the last one, behind the end of the connection.
        routes.get("/ws/kv/:key") { exchange in
            let key = exchange.parameters.get("key") ?? ""
            return .webSocket { socket in
                for try await case .text(let text) in socket {
                    try await exchange.env.kv("KV").put(key, text)
                    try socket.send("stored \(text)")
                }
                try await exchange.env.kv("KV").put(key + "-end", "\(socket.closing?.code ?? 0)")
            }
        }
        // Another worker's socket, passed on.
        routes.get("/ws/service/*path") { exchange in
            guard let url = WebURL("http://service/" + (exchange.parameters.get("path") ?? "")) else { return .empty() }
            return try await exchange.env.service("SERVICE").fetch(Request(exchange.request, url: url))
        }
        // Another worker's socket, in this worker's hands.
        routes.get("/ws/relay/*path") { exchange in
            guard let url = WebURL("http://service/" + (exchange.parameters.get("path") ?? "")) else { return .empty() }
            let answer = try await exchange.env.service("SERVICE").fetch(Request(exchange.request, url: url))
            guard let far = answer.webSocket else { return .text("no WebSocket: \(answer.status)", status: 502) }
            try far.accept()
            return relay(far)
        }
        addOutwardSockets(&routes)
    }

    private static func relay(_ far: WebSocket) -> Response {
        .webSocket { near in
            let back = Task {
                for try await message in far {
                    switch message {
                    case .text(let text): try near.send("relayed \(text)")
                    case .binary: try near.send(message)
                    }
                    try await near.drained()
                }
                if let close = far.closing { try near.close((3000...4999).contains(close.code) ? close.code : nil, nil) }
            }
            for try await message in near {
                try far.send(message)
                try await far.drained()
            }
            try far.close(3001, "the client left")
            try await back.value
            note(far)
        }
    }

    /// Those of servers outside.
    private static func addOutwardSockets(_ routes: inout RouteBuilder) {
        // A server's socket, in this worker's hands: what it says to one text.
        routes.get("/ws/outside") { exchange in
            let parameters = exchange.request.url.searchParameters
            var request = try Request(parameters.get("url") ?? "")
            try request.headers.set("upgrade", "websocket")
            let answer = try await exchange.context.fetch(request)
            if parameters.get("answer") != nil { return answer }
            guard let socket = answer.webSocket else { return .text("no WebSocket: \(answer.status)", status: 502) }
            if parameters.get("pass") != nil { return answer }
            try socket.accept()
            try socket.send(parameters.get("text") ?? "text")
            guard let reply = try await socket.next() else { return .text("closed \(socket.closing?.code ?? 0)", status: 502) }
            try socket.close(1000, "done")
            return .text("\(reply)")
        }
        // The same in the short form, message by message.
        routes.get("/ws/outside/relay") { exchange in
            let parameters = exchange.request.url.searchParameters
            let far = try await exchange.context.webSocket(
                parameters.get("url") ?? "", protocols: parameters.getAll("protocol"))
            return relay(far)
        }
        // What goes wrong, and which protocol was chosen.
        routes.get("/ws/outside/open") { exchange in
            let parameters = exchange.request.url.searchParameters
            do {
                let far = try await exchange.context.webSocket(
                    parameters.get("url") ?? "", protocols: parameters.getAll("protocol"))
                let name = far.subprotocol ?? "none"
                try far.close(1000, "seen")
                return .text("protocol \(name)")
            } catch { return .text("\(error)") }
        }
        // So many at once, each of which says a text and hears it.
        routes.get("/ws/outside/many/:count") { exchange in
            let url = exchange.request.url.searchParameters.get("url") ?? ""
            let count = try exchange.parameters.get("count", as: Int.self)
            let context = exchange.context
            let tasks = (0..<count).map { number in
                Task {
                    let far = try await context.webSocket(url)
                    try far.send("\(number)")
                    let answer = try await far.next()
                    try far.close(1000)
                    return answer == .text("\(number)")
                }
            }
            var all = true
            for task in tasks where try await !task.value { all = false }
            return .text(all ? "all" : "not all")
        }
    }
}
