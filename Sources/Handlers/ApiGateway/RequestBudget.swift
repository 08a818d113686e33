import Interfaces
import Platform
import Workers

/// What one request has taken of the limits that it falls under. The node counts, so the limits hold for all isolates of the
/// gateway together.
struct RequestBudget {
    enum Subject {
        case address(String)
        /// An address at one of the paths where passwords and refresh tokens can be tried.
        case credentials(String)
        case user(String)
    }

    /// Of the limits that were asked, the one that leaves the least.
    private var tightest: RateLimitOutcome?

    /// Counts the request.
    ///
    /// - Throws: 429 with the seconds to wait.
    mutating func take(_ subject: Subject, _ env: Env) async throws {
        let (binding, key) =
            switch subject {
            case .address(let address): ("PER_ADDRESS", address)
            case .credentials(let address): ("PER_ADDRESS_CREDENTIALS", address)
            case .user(let user): ("PER_USER", user)
            }
        let outcome = try await env.rateLimit(binding).limit(key: key)
        guard outcome.success else {
            tightest = outcome
            throw APIError.rateLimited(retryAfterSeconds: Self.seconds(outcome.retryAfter))
        }
        if tightest.map({ outcome.remaining < $0.remaining }) ?? true { tightest = outcome }
    }

    func write(to headers: inout HeaderChanges) {
        guard let tightest else { return }
        headers["ratelimit-limit"] = String(tightest.limit)
        headers["ratelimit-remaining"] = String(tightest.remaining)
        headers["ratelimit-reset"] = String(Self.seconds(tightest.reset))
    }

    /// Whole seconds, rounded up, at least one.
    private static func seconds(_ duration: Duration) -> Int {
        max(1, Int(duration.components.seconds) + (duration.components.attoseconds > 0 ? 1 : 0))
    }
}
