import Workers

final class Chat: FetchHandler {
    private var members: [ObjectIdentifier: WebSocket] = [:]

    init(env: Env) throws {}

    func fetch(_ request: Request, env: Env, context: ExecutionContext) async throws -> Response {
        .webSocket { socket in
            let id = ObjectIdentifier(socket)
            self.members[id] = socket
            defer { self.members[id] = nil }
            for try await message in socket {
                for member in self.members.values { try? member.send(message) }
            }
        }
    }
}

final class Ticker: FetchHandler {
    init(env: Env) throws {}

    func fetch(_ request: Request, env: Env, context: ExecutionContext) async throws -> Response {
        let pair = WebSocketPair()
        try pair.server.accept()
        try pair.server.send("welcome")
        Task {
            while pair.server.readyState == .open {
                try pair.server.send("\(context.now)")
                try await pair.server.drained()
                try await context.sleep(for: .seconds(1))
            }
        }
        return .webSocket(pair.client)
    }
}

final class Translator: FetchHandler {
    init(env: Env) throws {}

    func fetch(_ request: Request, env: Env, context: ExecutionContext) async throws -> Response {
        let answer = try await env.service("CHAT").fetch(request)
        guard request.path == "/loud", let chat = answer.webSocket else { return answer }
        return .webSocket { socket in
            try chat.accept()
            let back = Task {
                for try await case .text(let text) in chat { try socket.send(text.uppercased()) }
                try socket.close(1000)
            }
            for try await message in socket { try chat.send(message) }
            try chat.close(1000)
            try await back.value
        }
    }
}

final class Prices: ScheduledHandler {
    init(env: Env) throws {}

    func scheduled(_ event: ScheduledEvent, env: Env, context: ExecutionContext) async throws {
        let feed = try await context.webSocket("wss://feed.example/prices", protocols: ["v2"])
        for try await case .text(let price) in feed { context.log.info("a new price", ["price": price]) }
    }
}
