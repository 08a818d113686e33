// ApiGateway is the platform's one door: it knows which service answers which path, who asks, and how
// often they may. It reads no body and writes no data; what it hands on streams past it.
import Platform
import Workers

@main final class Gateway: FetchHandler {
    private let tokens: AccessTokens
    private let cors: CORSPolicy
    private let upstreams: [Upstream]

    init(env: Env) throws {
        tokens = try AccessTokens(secret: env.requiredSecret("JWT_KEY"))
        cors = CORSPolicy(env.variable("CORS_ORIGINS") ?? "http://localhost:3000,http://localhost:5173")
        upstreams = [
            Upstream("/api/v1/auth", ServiceClient("auth-service", binding: "AUTH")),
            Upstream("/api/v1/users", ServiceClient("user-service", binding: "USERS")),
            Upstream("/api/v1/content", ServiceClient("content-service", binding: "CONTENT")),
            Upstream("/api/v1/analytics", ServiceClient("analytics-service", binding: "ANALYTICS")),
            Upstream("/api/v1/realtime", ServiceClient("websocket-service", binding: "REALTIME")),
        ]
    }

    func fetch(_ request: Request, env: Env, context: ExecutionContext) async throws -> Response {
        let requestID = RequestID.of(request)
        let origin = request.headers["origin"]
        var budget = RequestBudget()
        var response: Response
        if CORSPolicy.isPreflight(request), let origin {
            response = cors.preflightResponse(origin: origin)
        } else {
            response = try await answering(request, context, requestID: requestID) {
                try await self.respond(to: request, requestID: requestID, budget: &budget, env, context)
            }
        }
        response.headers = response.headers.changing { headers in
            headers.removeAll(withPrefix: Identity.reservedPrefix)
            headers[RequestID.header] = requestID
            SecurityHeaders.write(to: &headers, scheme: request.headers["x-forwarded-proto"])
            cors.write(to: &headers, origin: origin)
            budget.write(to: &headers)
        }
        return response
    }

    private func respond(
        to request: Request, requestID: String, budget: inout RequestBudget, _ env: Env,
        _ context: ExecutionContext
    ) async throws -> Response {
        let path = request.path
        let address = ClientAddress.limitKey(request.headers["cf-connecting-ip"] ?? "unknown")
        try await budget.take(.address(address), env)
        if path == "/api/health" || path == "/api/v1/health" {
            guard request.method == .get || request.method == .head else {
                throw APIError.methodNotAllowed("GET, HEAD")
            }
            return try await HealthReport.gather(upstreams.map(\.client), requestID: requestID, env, context)
        }
        guard let upstream = upstreams.first(where: { $0.serves(path) }) else {
            throw APIError.notFound("this path")
        }
        var identity: Identity?
        if PublicPaths.contains(path) {
            try await budget.take(.credentials(address), env)
        } else {
            let verified = try await verifiedIdentity(request, env, context)
            try await budget.take(.user(verified.userID), env)
            identity = verified
        }
        var forwarded = request
        forwarded.headers = request.headers.changing { headers in
            headers.removeAll(withPrefix: Identity.reservedPrefix)
            // The service gets what was verified, not what it was verified with.
            headers["authorization"] = nil
            headers["cookie"] = nil
            ProtocolToken.remove(from: &headers)
            headers[RequestID.header] = requestID
            identity?.write(to: &headers)
        }
        return try await upstream.client.send(forwarded, env: env, context: context)
    }

    /// Who asks. A token alone isn't enough: it outlives a logout, so its session is looked up each time. The
    /// user's budget comes after that, so that nobody can use it up with a token that has ended.
    private func verifiedIdentity(
        _ request: Request, _ env: Env, _ context: ExecutionContext
    ) async throws -> Identity {
        let identity = try tokens.identity(authorization: ProtocolToken.authorization(of: request), now: context.now)
        guard try await Sessions(env).isLive(identity.sessionID) else { throw APIError.sessionEnded }
        return identity
    }
}

/// A service and the paths that are its own.
struct Upstream {
    private let prefix: String
    let client: ServiceClient

    init(_ prefix: String, _ client: ServiceClient) {
        self.prefix = prefix
        self.client = client
    }

    func serves(_ path: String) -> Bool {
        path.hasPrefix(prefix)
            && (path.utf8.count == prefix.utf8.count || path.dropFirst(prefix.count).first == "/")
    }
}

/// What can be asked for without an access token.
enum PublicPaths {
    private static let paths: Set<String> = [
        "/api/v1/auth/register", "/api/v1/auth/login", "/api/v1/auth/refresh",
    ]

    static func contains(_ path: String) -> Bool { paths.contains(path) }
}
