import Platform
import Workers
import WorkersCrypto

/// `POST /api/v1/auth/register {email, username, password}` → 201 `{user}`; 409 when e-mail or username
/// are taken.
struct Registration {
    private struct Input: Decodable {
        var email: String?
        var username: String?
        var password: String?
    }
    private let settings: AuthSettings

    init(_ settings: AuthSettings) { self.settings = settings }

    func respond(to exchange: Exchange) async throws -> Response {
        let input: Input = try await exchange.request.decodeJSON(upTo: 8 << 10)
        var validation = Validation()
        let checkedEmail = validation.email("email", input.email)
        let checkedUsername = validation.username("username", input.username)
        let checkedPassword = validation.password("password", input.password)
        if let password = checkedPassword?.lowercased(),
            password == checkedEmail || password == checkedUsername?.lowercased()
        {
            validation.refuse("password", "must differ from e-mail address and username")
        }
        try validation.finish()
        guard let email = checkedEmail, let username = checkedUsername, let password = checkedPassword else {
            throw APIError.internalError
        }

        let users = UserRepository(try exchange.database)
        // Asked first, because hashing is the expensive part; the unique indexes decide a race.
        try await users.refuseTaken(email: email, username: username)
        let hash = try await Bcrypt.hash(password, cost: settings.bcryptCost)
        let now = exchange.context.now
        let user = try await users.insert(
            id: Identifier(now: now).text, email: email, username: username, passwordHash: hash, now: now)
        guard let user else {
            try await users.refuseTaken(email: email, username: username)
            throw APIError.conflict("e-mail address or username are taken")
        }
        return try .json(UserEnvelope(user), status: 201)
    }
}
