import Workers

/// Keeps short texts under names, in the KV namespace that the configuration binds as NOTES.
@main final class Notes: FetchHandler {
    private let router: Router

    init(env: Env) throws {
        router = try Router { routes in
            routes.put("/notes/:name") { exchange in
                let name = try exchange.parameters.get("name", as: String.self)
                let text = try await exchange.request.text(upTo: 64 << 10)
                try await exchange.env.kv("NOTES").put(name, text, expirationTtl: 86_400)
                exchange.context.log.info("kept", ["name": name])
                return .empty(status: 201)
            }
            routes.get("/notes/:name") { exchange in
                let name = try exchange.parameters.get("name", as: String.self)
                guard let text = try await exchange.env.kv("NOTES").get(name) else {
                    return .text("no such note\n", status: 404)
                }
                return .text(text)
            }
            routes.get("/notes") { exchange in
                let page = try await exchange.env.kv("NOTES").list(limit: 100)
                return try .json(["notes": page.keys.map(\.name)])
            }
        }
    }

    func fetch(_ request: Request, env: Env, context: ExecutionContext) async throws -> Response {
        try await router.respond(to: request, env: env, context: context)
    }
}
