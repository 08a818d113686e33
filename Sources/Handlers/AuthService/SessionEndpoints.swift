import Platform
import Workers

/// What a signed-in user can do with their session.
enum SessionEndpoints {
    /// `POST /api/v1/auth/logout` → 204. The session's tokens end with it, the access token too.
    static func logout(_ exchange: Exchange) async throws -> Response {
        let identity = try exchange.identity
        try await RefreshFamilies(try exchange.database)
            .revoke(identity.sessionID, reason: .logout, now: exchange.context.now)
        try await Sessions(exchange.env).end(identity.sessionID)
        return .empty(status: 204)
    }

    /// `GET /api/v1/auth/session` → 200 `{user, session}`; 401 when it has ended.
    static func current(_ exchange: Exchange) async throws -> Response {
        let identity = try exchange.identity
        let details = try await RefreshFamilies(try exchange.database)
            .details(identity.sessionID, user: identity.userID, now: exchange.context.now)
        guard let details else { throw APIError.sessionEnded }
        return try .json(
            SessionEnvelope(user: details.user.view, session: .init(identity.sessionID, details)))
    }

    private struct SessionEnvelope: Encodable {
        struct View: Encodable {
            var id: String
            var createdAt: String
            /// When its tokens were made.
            var lastSeenAt: String
            /// When it ends unless it is refreshed.
            var expiresAt: String

            init(_ id: String, _ details: RefreshFamilies.Details) {
                self.id = id
                createdAt = Timestamp.text(details.createdAt)
                lastSeenAt = Timestamp.text(details.refreshedAt)
                expiresAt = Timestamp.text(details.expiresAt)
            }
        }
        var user: UserView
        var session: View
    }
}
