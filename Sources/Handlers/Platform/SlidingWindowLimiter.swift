/// Allows each key a number of requests in any window of time, in bounded memory.
///
/// Two buckets per key stand for the sliding window: the count of the current fixed window, and that of
/// the one before weighted by how much of it the sliding window still covers. Against an even stream the
/// estimate is exact; against bursts it errs by less than the burst. A refused request doesn't count. When
/// the table is full the key that was quiet for longest is forgotten, so memory stays bounded under a
/// flood of addresses.
package struct SlidingWindowLimiter {
    package struct Decision: Equatable, Sendable {
        package enum Outcome: Equatable, Sendable {
            case allowed
            /// Whole seconds until the next request would be allowed, at least 1.
            case refused(retryAfterSeconds: Int)
        }
        package var outcome: Outcome
        package var limit: Int
        package var remaining: Int
        /// Whole seconds until the whole limit is free again if no request follows.
        package var resetSeconds: Int
    }

    private struct Buckets {
        var window: Int64
        var current = 0
        var previous = 0
    }

    private var table: LRUTable<String, Buckets>
    private let windowMilliseconds: Int64

    package init(windowMilliseconds: Int64 = 60_000, keysMax: Int = 16_384) {
        precondition(windowMilliseconds > 0, "a window has a length")
        table = LRUTable(capacity: keysMax)
        self.windowMilliseconds = windowMilliseconds
    }

    package var keyCount: Int { table.count }

    /// Counts a request of `key` if it is allowed.
    ///
    /// - Parameter now: Milliseconds since 1970. A clock that went back counts into the newest window seen.
    package mutating func take(_ key: String, limit: Int, now: Int64) -> Decision {
        let length = windowMilliseconds
        let window = now / length
        return table.update(key, initial: Buckets(window: window)) { buckets in
            if window == buckets.window + 1 {
                buckets = Buckets(window: window, current: 0, previous: buckets.current)
            } else if window > buckets.window {
                buckets = Buckets(window: window)
            }
            let elapsed = window < buckets.window ? 0 : now - window * length
            let carried = Double(buckets.previous) * Double(length - elapsed) / Double(length)
            let used = Double(buckets.current) + carried
            // A tiny slack keeps rounding from refusing what the arithmetic allows.
            let isAllowed = used + 1 <= Double(limit) + 1e-9
            if isAllowed { buckets.current += 1 }
            let left = Double(limit) - used - (isAllowed ? 1 : 0)
            let reset = Self.resetMilliseconds(buckets.current, buckets.previous, elapsed, length)
            return Decision(
                outcome: isAllowed
                    ? .allowed
                    : .refused(
                        retryAfterSeconds: Self.seconds(
                            Self.wait(limit, buckets.current, buckets.previous, elapsed, length))),
                limit: limit, remaining: max(0, Int(left + 1e-9)), resetSeconds: Self.seconds(reset))
        }
    }

    /// Milliseconds until one more request fits.
    private static func wait(
        _ limit: Int, _ current: Int, _ previous: Int, _ elapsed: Int64, _ length: Int64
    ) -> Double {
        guard limit > 0 else { return Double(length) }
        let (limit, length, elapsed) = (Double(limit), Double(length), Double(elapsed))
        let room = limit - Double(current) - 1
        if room >= 0 {
            // Later in this window the share of the previous one has shrunk enough.
            return length * (1 - room / Double(previous)) - elapsed
        }
        // In the next window the current count is the previous one, and shrinks.
        return length - elapsed + length * (1 - (limit - 1) / Double(current))
    }

    private static func resetMilliseconds(
        _ current: Int, _ previous: Int, _ elapsed: Int64, _ length: Int64
    ) -> Double {
        if current > 0 { return Double(2 * length - elapsed) }
        return previous > 0 ? Double(length - elapsed) : 0
    }

    private static func seconds(_ milliseconds: Double) -> Int {
        max(1, Int((milliseconds / 1000).rounded(.up)))
    }
}
