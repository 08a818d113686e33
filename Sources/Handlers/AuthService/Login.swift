import Platform
import Workers
import WorkersCrypto

/// What login and refresh answer.
struct TokenResponse: Encodable {
    var accessToken: String
    var refreshToken: String
    var tokenType = "Bearer"
    /// Seconds that the access token is valid for.
    var expiresIn: Int64
    var user: UserView
}

extension AuthSettings {
    func tokenResponse(
        user: UserRecord, session: String, refreshToken: RefreshToken, now: Int64
    ) throws -> TokenResponse {
        let identity = Identity(userID: user.id, role: user.role, sessionID: session)
        let claims = AccessClaims(
            identity, issuedAt: now, lifetimeSeconds: accessLifetimeSeconds,
            tokenID: SecureBytes.token(byteCount: 12))
        return TokenResponse(
            accessToken: try tokens.make(claims), refreshToken: refreshToken.text,
            expiresIn: accessLifetimeSeconds, user: user.view)
    }
}

/// `POST /api/v1/auth/login {email, password}` → 200 tokens; 401 for an unknown user as for a wrong
/// password, after the same work.
struct Login {
    private struct Input: Decodable {
        var email: String?
        var password: String?
    }
    private let settings: AuthSettings

    init(_ settings: AuthSettings) { self.settings = settings }

    func respond(to exchange: Exchange) async throws -> Response {
        let input: Input = try await exchange.request.decodeJSON(upTo: 8 << 10)
        var validation = Validation()
        let email = validation.required("email", input.email)
        let password = validation.required("password", input.password)
        try validation.finish()
        guard let email, let password else { throw APIError.internalError }

        let database = try exchange.database
        let found = try await UserRepository(database).find(email: EmailAddress(email)?.text ?? "")
        let isRight = await check(password, found?.passwordHash ?? settings.unknownUserHash)
        guard let user = found?.user, isRight else {
            throw APIError.unauthorized("e-mail address or password are wrong", code: "invalid_credentials")
        }
        guard user.status == .active else { throw Self.disabled }

        let now = exchange.context.now
        let token = RefreshToken()
        let family = Identifier(now: now)
        let sessions = try Sessions(exchange.env)
        try await sessions.begin(family, Session(userID: user.id, createdAt: now))
        let ended = try await RefreshFamilies(database).begin(family, user: user.id, token: token, now: now)
        guard let ended else {
            try await sessions.end(family.text)
            throw Self.disabled
        }
        for id in ended { try await sessions.end(id) }
        return try .json(
            settings.tokenResponse(user: user, session: family.text, refreshToken: token, now: now))
    }

    private static let disabled = APIError.forbidden("this account is disabled")

    /// A password that bcrypt can't take is wrong, after as much work as any other.
    private func check(_ password: String, _ hash: String) async -> Bool {
        do {
            return try await Bcrypt.verify(password, hash)
        } catch {
            _ = try? await Bcrypt.verify("never right", settings.unknownUserHash)
            return false
        }
    }
}
