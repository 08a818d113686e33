package import Interfaces
package import Stores
internal import Wire

/// A rate limit as one binding sees it.
package struct RateLimitService: StoreService {
    private let limiter: RateLimiter
    private let namespace: String
    private let limit: Int
    private let periodSeconds: Int

    /// - Throws: `unsupported period: N` unless the period is 10 or 60 seconds.
    package init(_ limiter: RateLimiter, namespace: String, limit: Int, periodSeconds: Int) throws(CallFailure) {
        guard periodSeconds == 10 || periodSeconds == 60 else {
            throw CallFailure("unsupported period: \(periodSeconds)")
        }
        self.limiter = limiter
        self.namespace = namespace
        self.limit = limit
        self.periodSeconds = periodSeconds
    }

    package func answer(_ call: StoreCall) async throws(CallFailure) -> StoreReply { try reply(to: call) }

    package func answerInPlace(_ call: StoreCall) throws(CallFailure) -> StoreReply? { try reply(to: call) }

    private func reply(to call: StoreCall) throws(CallFailure) -> StoreReply {
        guard call.kind == .rateLimit else {
            throw CallFailure("a rate limit has no call of kind \(call.kind.rawValue)", name: "TypeError")
        }
        let message: RateLimitMessage
        do throws(WireError) { message = try RateLimitMessage(decoding: call.message) } catch { throw .malformedCall(error) }
        try RateLimitMessage.check(message.key)
        return StoreReply(message: take(message.key).encoded())
    }

    /// For who limits without being a worker: the node itself.
    package func take(_ key: String) -> RateLimitOutcome {
        limiter.take(key, in: namespace, limit: limit, periodSeconds: periodSeconds)
    }
}
