// The worker that cutovers are proved with: each answer names the release of every worker that it passed through (the
// variable RELEASE), and whatever is not idempotent leaves a row in D1, so that what was lost or done twice shows.

import Workers

@main final class CutoverWorker: FetchHandler, ScheduledHandler, QueueHandler {
    private let router: Router

    init(env: Env) throws {
        // A release that can't start, for those who try what becomes of it.
        if env.variable("CRASHES") == "yes" { throw Broken() }
        router = try Router { routes in Self.addRoutes(&routes) }
    }

    func fetch(_ request: Request, env: Env, context: ExecutionContext) async throws -> Response {
        try await misbehave(env, context)
        return try await router.respond(to: request, env: env, context: context)
    }

    func scheduled(_ event: ScheduledEvent, env: Env, context: ExecutionContext) async throws {
        try await note("cron", "\(event.scheduledTime)", 0, env)
    }

    func queue(_ batch: MessageBatch, env: Env, context: ExecutionContext) async throws {
        for message in batch.messages { try await note("message", message.text, 0, env) }
    }

    /// As its variables say: FAILS, a percentage of requests; SLOW, milliseconds for each.
    private func misbehave(_ env: Env, _ context: ExecutionContext) async throws {
        if let percent = env.variable("FAILS").flatMap(Int.init), Int.random(in: 0..<100) < percent { throw Broken() }
        if let milliseconds = env.variable("SLOW").flatMap(Int.init) {
            try await context.sleep(for: .milliseconds(milliseconds))
        }
    }

    private struct Broken: Error, CustomStringConvertible {
        var description: String { "this release is meant to fail" }
    }

    private static func addRoutes(_ routes: inout RouteBuilder) {
        routes.get("/self") { exchange in .text(Self.release(exchange.env)) }
        // Through the service binding BACK, which must be of the same release.
        routes.get("/who") { exchange in
            let answer = try await exchange.env.service("BACK").fetch(Request("http://back/self"))
            return try .json(["front": Self.release(exchange.env), "back": try await answer.text()])
        }
        // Not idempotent: a row for each time it runs.
        routes.post("/append/:id") { exchange in
            let bytes = try await exchange.request.bytes()
            let sum = bytes.reduce(UInt64(0)) { $0 &+ UInt64($1) }
            try await Self.note("request", exchange.parameters.get("id") ?? "", bytes.count, exchange.env)
            return try .json(["release": Self.release(exchange.env), "length": "\(bytes.count)", "sum": "\(sum)"])
        }
        routes.post("/echo") { exchange in
            guard let body = exchange.request.body else { return .empty() }
            var response = Response.stream(body)
            try response.headers.set("x-release", Self.release(exchange.env))
            return response
        }
        // Server-sent events, all of one release.
        routes.get("/events/:count/:gap") { exchange in
            let count = try exchange.parameters.get("count", as: Int.self)
            let gap = try exchange.parameters.get("gap", as: Int.self)
            var sent = 0
            return .stream(
                ByteStream {
                    if sent == count { return nil }
                    if sent > 0 { try await exchange.context.sleep(for: .milliseconds(gap)) }
                    sent += 1
                    return Array("data: \(sent) \(Self.release(exchange.env))\n\n".utf8)
                }, type: "text/event-stream")
        }
        routes.get("/sleep/:milliseconds") { exchange in
            try await exchange.context.sleep(
                for: .milliseconds(exchange.parameters.get("milliseconds", as: Int.self)))
            return .text(Self.release(exchange.env))
        }
        routes.post("/send/:id") { exchange in
            try await exchange.env.queue("QUEUE").send(exchange.parameters.get("id") ?? "", contentType: .text)
            return .text(Self.release(exchange.env))
        }
        // How often each thing of a kind was done, of those that were not done just once; and how many there are.
        routes.get("/odd/:kind") { exchange in
            let rows = try await exchange.env.d1("DB").prepare(
                "SELECT id, count(*) AS times FROM notes WHERE kind = ?1 GROUP BY id HAVING count(*) <> 1"
            ).bind(exchange.parameters.get("kind") ?? "").all()
            return try .json(rows.decode(Odd.self))
        }
        routes.get("/ids/:kind") { exchange in
            let rows = try await exchange.env.d1("DB").prepare("SELECT DISTINCT id FROM notes WHERE kind = ?1")
                .bind(exchange.parameters.get("kind") ?? "").all()
            return .text(try rows.decode(Identifier.self).map(\.id).joined(separator: "\n"))
        }
    }

    private struct Odd: Codable {
        var id: String
        var times: Int
    }

    private struct Identifier: Codable {
        var id: String
    }

    private static func release(_ env: Env) -> String { env.variable("RELEASE") ?? "none" }

    private static func note(_ kind: String, _ id: String, _ length: Int, _ env: Env) async throws {
        _ = try await env.d1("DB").prepare("INSERT INTO notes (kind, id, release, length) VALUES (?1, ?2, ?3, ?4)")
            .bind(kind, id, release(env), length).run()
    }

    private func note(_ kind: String, _ id: String, _ length: Int, _ env: Env) async throws {
        try await Self.note(kind, id, length, env)
    }
}
