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

        let database = try exchange.env.d1("DB")
        let found = try await UserRepository(database).find(email: EmailAddress(email)?.text ?? "")
        let isRight = await check(password, found?.passwordHash ?? settings.unknownUserHash)
        guard let user = found?.user, isRight else {
            throw APIError.unauthorized("e-mail address or password are wrong", code: "invalid_credentials")
        }
        guard user.status == .active else { throw APIError.forbidden("this account is disabled") }

        let now = exchange.context.now
        let token = RefreshToken()
        let families = RefreshFamilies(database)
        let begun = try await families.begin(user: user.id, token: token, now: now)
        let sessions = Sessions(try exchange.env.kv("SESSIONS"))
        for ended in begun.ended { try await sessions.delete(ended) }
        try await sessions.put(Session(user: user, id: begun.family, createdAt: now, seenAt: now))
        return try .json(
            settings.tokenResponse(user: user, session: begun.family, refreshToken: token, now: now))
    }

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
