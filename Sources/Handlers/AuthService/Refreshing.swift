import Platform
import Workers

/// `POST /api/v1/auth/refresh {refreshToken}` → 200 new tokens. The old token ends; using it again ends
/// the whole session.
struct Refreshing {
    private struct Input: Decodable {
        var refreshToken: String?
    }
    private let settings: AuthSettings

    init(_ settings: AuthSettings) { self.settings = settings }

    func respond(to exchange: Exchange) async throws -> Response {
        let input: Input = try await exchange.request.decodeJSON(upTo: 8 << 10)
        var validation = Validation()
        let text = validation.required("refreshToken", input.refreshToken)
        try validation.finish()
        guard let text, let old = RefreshToken(text) else { throw Self.invalid }

        let now = exchange.context.now
        let families = RefreshFamilies(try exchange.database)
        let new = RefreshToken()
        switch try await families.rotate(old, to: new, now: now) {
        case .rotated(let family, let user):
            return try .json(
                settings.tokenResponse(user: user, session: family, refreshToken: new, now: now))
        case .unknown, .expired: throw Self.invalid
        case .reused(let family):
            exchange.context.log.warn("refresh token used twice; session revoked", ["session": family])
            try await Sessions(exchange.env).end(family)
            throw APIError.unauthorized(
                "the refresh token was used before; the session has been ended", code: "refresh_token_reused")
        }
    }

    private static let invalid = APIError.unauthorized(
        "the refresh token is not valid", code: "invalid_refresh_token")
}
