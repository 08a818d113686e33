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

/// `ratelimit_global`: how many requests per second one client may send to the node, whichever tenant they are for.
package struct ClientRequestLimit: RequestLimit {
    private let limiter: RateLimiter
    private let perSecond: Int

    package init(perSecond: Int, clock: any NodeClock) {
        limiter = RateLimiter(clock: clock)
        self.perSecond = perSecond
    }

    package func refuse(_ client: String) -> Duration? {
        let outcome = limiter.take(client, in: "", limit: perSecond, periodSeconds: 1)
        return outcome.success ? nil : outcome.retryAfter
    }
}
