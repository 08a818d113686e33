import Platform
import Workers

/// A login as long as it lives: the refresh tokens' family, and what is known of it.
struct Session: Codable, Sendable {
    var id: String
    var userId: String
    var role: Identity.Role
    /// Milliseconds since 1970.
    var createdAt: Int64
    var seenAt: Int64

    init(user: UserRecord, id: String, createdAt: Int64, seenAt: Int64) {
        self.id = id
        userId = user.id
        role = user.role
        self.createdAt = createdAt
        self.seenAt = seenAt
    }
}

/// The live sessions in KV. D1 decides about refresh tokens; a session that is missing here has ended.
struct Sessions {
    /// As long as a refresh token: a session that isn't refreshed ends by itself.
    static let lifetimeSeconds = 30 * 86_400

    private let namespace: KVNamespace

    init(_ namespace: KVNamespace) { self.namespace = namespace }

    func put(_ session: Session) async throws {
        try await namespace.put(
            Self.key(session.id), try JSONText.of(session), expirationTtl: Self.lifetimeSeconds)
    }

    func get(_ id: String) async throws -> Session? {
        try await namespace.get(Self.key(id), .json(Session.self))
    }

    func delete(_ id: String) async throws { try await namespace.delete(Self.key(id)) }

    private static func key(_ id: String) -> String { "session:" + id }
}

/// What a signed-in user can do with their session.
enum SessionEndpoints {
    /// `POST /api/v1/auth/logout` → 204. The session's refresh token ends with it.
    static func logout(_ exchange: Exchange) async throws -> Response {
        let identity = try Identity(of: exchange.request)
        try await RefreshFamilies(try exchange.env.d1("DB"))
            .revoke(identity.sessionID, reason: "logout", now: exchange.context.now)
        try await Sessions(try exchange.env.kv("SESSIONS")).delete(identity.sessionID)
        return .empty(status: 204)
    }

    /// `GET /api/v1/auth/session` → 200 `{user, session}`; 401 when it has ended.
    static func current(_ exchange: Exchange) async throws -> Response {
        let identity = try Identity(of: exchange.request)
        guard let session = try await Sessions(try exchange.env.kv("SESSIONS")).get(identity.sessionID),
            session.userId == identity.userID,
            let user = try await UserRepository(try exchange.env.d1("DB")).find(id: identity.userID),
            user.status == .active
        else { throw APIError.unauthorized("the session has ended", code: "session_ended") }
        return try .json(SessionEnvelope(user: user.view, session: .init(session)))
    }

    private struct SessionEnvelope: Encodable {
        struct View: Encodable {
            var id: String
            var createdAt: String
            var lastSeenAt: String
            var expiresAt: String

            init(_ session: Session) {
                id = session.id
                createdAt = Timestamp.text(session.createdAt)
                lastSeenAt = Timestamp.text(session.seenAt)
                expiresAt = Timestamp.text(session.seenAt + Int64(Sessions.lifetimeSeconds) * 1000)
            }
        }
        var user: UserView
        var session: View
    }
}
