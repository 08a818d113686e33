package import Workers

/// The common frame of a service: its routes, `GET /health`, and the API's error form around them.
package struct Service {
    private let router: Router

    /// - Throws: `RouteError` for a bad pattern, or two routes that match the same requests.
    package init(_ build: (inout RouteBuilder) -> Void) throws {
        router = try Router { routes in
            build(&routes)
            routes.get("/health") { exchange in
                _ = try await exchange.env.database.prepare("SELECT 1 AS one").first()
                return .json(text: #"{"status":"ok"}"#)
            }
            routes.notFound { _ in throw APIError.notFound("this path") }
        }
    }

    package func fetch(_ request: Request, env: Env, context: ExecutionContext) async throws -> Response {
        try await answering(request, context, requestID: RequestID.of(request)) {
            try await router.respond(to: request, env: env, context: context)
        }
    }
}

/// A worker whose requests are all its service's.
package protocol ServiceWorker: FetchHandler {
    var service: Service { get }
}

extension ServiceWorker {
    package func fetch(_ request: Request, env: Env, context: ExecutionContext) async throws -> Response {
        try await service.fetch(request, env: env, context: context)
    }
}

extension Env {
    /// The platform's database, which all services bind under one name.
    package var database: D1Database { get throws { try d1("DB") } }
}

extension Exchange {
    package var database: D1Database { get throws { try env.database } }

    /// Who asks.
    ///
    /// - Throws: 401 when the request carries no identity.
    package var identity: Identity { get throws { try Identity(of: request) } }
}
