import Platform
import Workers

/// How often an address and a user may ask. Counted per isolate of the gateway, so the limits of the whole
/// are approximate when several run.
struct GatewayLimits {
    enum Subject {
        case address(String)
        /// An address at one of the paths where passwords and refresh tokens can be tried.
        case credentials(String)
        case user(String)
    }

    private var addresses = SlidingWindowLimiter()
    private var credentials = SlidingWindowLimiter()
    private var users = SlidingWindowLimiter()
    private let perAddress: Int
    private let perCredentials: Int
    private let perUser: Int

    init(_ env: Env) throws {
        let range = 1...1_000_000
        perAddress = try env.integer("RATE_LIMIT_IP_PER_MINUTE", default: 600, in: range)
        perCredentials = try env.integer("RATE_LIMIT_AUTH_PER_MINUTE", default: 60, in: range)
        perUser = try env.integer("RATE_LIMIT_USER_PER_MINUTE", default: 300, in: range)
    }

    /// Counts a request. `budget` becomes the decision that leaves the least.
    ///
    /// - Throws: 429 with the seconds to wait.
    mutating func take(
        _ subject: Subject, now: Int64, _ budget: inout SlidingWindowLimiter.Decision?
    ) throws(APIError) {
        let decision =
            switch subject {
            case .address(let key): addresses.take(key, limit: perAddress, now: now)
            case .credentials(let key): credentials.take(key, limit: perCredentials, now: now)
            case .user(let key): users.take(key, limit: perUser, now: now)
            }
        switch decision.outcome {
        case .allowed:
            if budget.map({ decision.remaining < $0.remaining }) ?? true { budget = decision }
        case .refused(let seconds):
            budget = decision
            throw .rateLimited(retryAfterSeconds: seconds)
        }
    }
}
