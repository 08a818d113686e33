internal import Synchronization
internal import System

/// What each queue may take per second, for those that have a limit: a token bucket that holds one second's worth.
final class SendRates: Sendable {
    private struct Bucket {
        let limit: Int64
        /// In millionths of a message, so that no fraction is lost between two calls.
        var tokens: Int64
        var filledAt: Instant
    }
    private let clock: any NodeClock
    private let buckets = Mutex<[String: Bucket]>([:])

    init(_ clock: any NodeClock) { self.clock = clock }

    /// - Parameter limit: `nil` takes what comes.
    func setLimit(_ limit: Int64?, of queue: String) {
        let now = clock.now()
        buckets.withLock { buckets in
            guard let limit else {
                buckets[queue] = nil
                return
            }
            if buckets[queue]?.limit == limit { return }
            let bounded = min(limit, 1_000_000_000)
            buckets[queue] = Bucket(limit: bounded, tokens: bounded * 1_000_000, filledAt: now)
        }
    }

    /// Takes `count` messages, all or none.
    func take(_ count: Int, of queue: String) -> Bool {
        let now = clock.now()
        return buckets.withLock { buckets in
            guard var bucket = buckets[queue] else { return true }
            let elapsed = min(max(0, now.nanoseconds - bucket.filledAt.nanoseconds) / 1000, 1_000_000)
            if elapsed > 0 {
                bucket.tokens = min(bucket.limit * 1_000_000, bucket.tokens + elapsed * bucket.limit)
                bucket.filledAt = now
            }
            defer { buckets[queue] = bucket }
            guard bucket.tokens >= Int64(count) * 1_000_000 else { return false }
            bucket.tokens -= Int64(count) * 1_000_000
            return true
        }
    }
}
