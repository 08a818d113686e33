package import Interfaces
internal import Synchronization
package import System

/// The counters of one tenant on this node. Safe on any thread; a call takes some hundred nanoseconds under a lock.
package final class RateLimiter: Sendable {
    private struct Key: Hashable {
        var namespace: String
        var name: String
        var periodSeconds: Int

        // By bytes: equal strings may differ in them, and are two keys.
        static func == (left: Key, right: Key) -> Bool {
            left.name.utf8.elementsEqual(right.name.utf8) && left.namespace.utf8.elementsEqual(right.namespace.utf8)
                && left.periodSeconds == right.periodSeconds
        }

        func hash(into hasher: inout Hasher) {
            var key = self
            // SAFETY: the bytes are lent for each call, and hashed in it.
            key.name.withUTF8 { unsafe hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
            key.namespace.withUTF8 { unsafe hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
            hasher.combine(periodSeconds)
        }
    }
    private struct State {
        var windows = LRUTable<Key, SlidingWindow>()
        var byteCount = 0
    }
    private let clock: any NodeClock
    private let bytesMax: Int
    private let state = Mutex(State())

    /// What a key takes beside its text and its moments: table, links and strings, estimated.
    private static let keyBytes = 192

    /// - Parameter bytesMax: What the counters may take. 16 MiB hold some 65,000 keys with few calls each.
    package init(clock: any NodeClock, bytesMax: Int = 16 << 20) {
        self.clock = clock
        self.bytesMax = bytesMax
    }

    /// Counts a call of `key` in `namespace`, if fewer than `limit` were allowed in the last `periodSeconds`.
    package func take(
        _ key: String, in namespace: String, limit: Int, periodSeconds: Int
    ) -> RateLimitOutcome {
        let now = clock.now().nanoseconds
        let key = Key(namespace: namespace, name: key, periodSeconds: periodSeconds)
        return state.withLock { state in
            // Two for each one that may come: what is over leaves the table without anybody looking for it.
            for _ in 0..<2 {
                guard let (oldest, window) = state.windows.oldest,
                    window.isOver(period: Self.nanoseconds(oldest.periodSeconds), now: now)
                else { break }
                Self.forgetOldest(&state)
            }
            let (outcome, growth) = state.windows.update(key, initial: SlidingWindow()) { window, isNew in
                let before = isNew ? 0 : Self.cost(key, window)
                let outcome = window.take(limit: limit, period: Self.nanoseconds(periodSeconds), now: now)
                return (outcome, Self.cost(key, window) - before)
            }
            state.byteCount += growth
            while state.byteCount > bytesMax, state.windows.count > 1 { Self.forgetOldest(&state) }
            return outcome
        }
    }

    package var keyCount: Int { state.withLock { $0.windows.count } }
    /// What the counters take now, estimated.
    package var byteCount: Int { state.withLock { $0.byteCount } }

    private static func forgetOldest(_ state: inout State) {
        guard let (key, window) = state.windows.removeOldest() else { return }
        state.byteCount -= cost(key, window)
    }

    private static func cost(_ key: Key, _ window: SlidingWindow) -> Int {
        keyBytes + key.name.utf8.count + window.byteCount
    }

    private static func nanoseconds(_ seconds: Int) -> Int64 { Int64(seconds) * 1_000_000_000 }
}
