// AuthService keeps accounts and sessions: it registers, signs in and out, and gives out access and
// refresh tokens. It checks no access token: the gateway does, and hands on who asks.
import Platform
import Workers

@main final class Auth: ServiceWorker, ScheduledHandler {
    let service: Service

    init(env: Env) throws {
        let settings = try AuthSettings(env)
        service = try Service { routes in
            routes.group("/api/v1/auth") { routes in
                routes.post("/register") { try await Registration(settings).respond(to: $0) }
                routes.post("/login") { try await Login(settings).respond(to: $0) }
                routes.post("/refresh") { try await Refreshing(settings).respond(to: $0) }
                routes.post("/logout") { try await SessionEndpoints.logout($0) }
                routes.get("/session") { try await SessionEndpoints.current($0) }
            }
        }
    }

    /// Each minute the sessions that ended without us are closed; any other cron is the nightly cleaning.
    func scheduled(_ event: ScheduledEvent, env: Env, context: ExecutionContext) async throws {
        let families = RefreshFamilies(try env.database)
        if event.cron != "* * * * *" {
            let removed = try await families.removeOver(now: context.now)
            context.log.info("removed sessions that are over", ["sessions": "\(removed)"])
        }
        let sessions = try Sessions(env)
        try await families.closeEnded { try await sessions.end($0) }
    }
}

/// What the configuration says, read once.
struct AuthSettings: Sendable {
    let tokens: AccessTokens
    /// bcrypt's; tests lower it.
    let bcryptCost: Int
    let accessLifetimeSeconds: Int64

    init(_ env: Env) throws {
        tokens = try AccessTokens(secret: env.requiredSecret("JWT_KEY"))
        bcryptCost = try env.integer("BCRYPT_COST", default: 12, in: 4...16)
        accessLifetimeSeconds = Int64(
            try env.integer("ACCESS_TOKEN_SECONDS", default: 86_400, in: 60...604_800))
    }

    /// A hash of no password, as slow to check as a real one: an unknown user must take as long as a wrong
    /// password.
    var unknownUserHash: String {
        "$2b$" + (bcryptCost < 10 ? "0" : "") + "\(bcryptCost)$" + String(repeating: ".", count: 53)
    }
}
