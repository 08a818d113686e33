internal import Host
internal import StoresRateLimits
package import System

/// `ratelimits` with `key = "ip"`: the node asks it before the worker sees the request. The worker may ask it too, under the
/// binding's name; a client's key is the same for both.
struct WorkerRequestLimit: RequestLimit {
    let service: RateLimitService

    func refuse(_ client: String) -> Duration? {
        let outcome = service.take(client)
        return outcome.success ? nil : outcome.retryAfter
    }
}

/// `ratelimit_global` and `ratelimit_client`: how many requests one client may send to the node in a second, and in a longer
/// stretch of time, whichever tenant they are for.
package struct ClientRequestLimit: RequestLimit {
    private let limiter: RateLimiter
    /// Shortest first: what one of them refuses doesn't count for those behind it.
    private let windows: [(limit: Int, periodSeconds: Int)]

    /// `nil` where nothing is limited.
    ///
    /// - Parameters:
    ///   - perSecond: 0 is off.
    ///   - overTime: A number of requests and a period of whole seconds.
    package init?(perSecond: Int, overTime: (limit: Int, periodSeconds: Int)? = nil, clock: any NodeClock) {
        let second = perSecond > 0 ? (limit: perSecond, periodSeconds: 1) : nil
        windows = [second, overTime].compactMap { $0 }
        guard !windows.isEmpty else { return nil }
        limiter = RateLimiter(clock: clock)
    }

    package func refuse(_ client: String) -> Duration? {
        for window in windows {
            let outcome = limiter.take(client, in: "", limit: window.limit, periodSeconds: window.periodSeconds)
            if !outcome.success { return outcome.retryAfter }
        }
        return nil
    }
}

/// The profile's requests per day.
struct DailyRequestLimit: RequestLimit {
    let requests: DailyRequests
    let most: Int

    func refuse(_ client: String) -> Duration? { requests.take(of: most) }
    var refusal: EdgeError { .dailyLimit }
}
