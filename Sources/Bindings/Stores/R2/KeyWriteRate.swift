internal import Synchronization
internal import System

/// The product's limit of one write per second and key (spec: r2, section 1), which is off unless it is asked for.
///
/// Keys are told apart by a hash with a random seed, so memory is some bytes per key, whatever its length. When more
/// keys are written in one interval than are remembered, the earliest are forgotten: the limit is then too mild, never
/// too strict.
final class KeyWriteRate: Sendable {
    private struct State {
        /// When each key was written last.
        var last: [Int: Instant] = [:]
        /// In order of time. What is before `head` was dropped.
        var order: [(time: Instant, key: Int)] = []
        var head = 0
    }
    private let interval: Duration
    private let keysMax: Int
    private let state = Mutex(State())

    init(interval: Duration, keysMax: Int = 65_536) {
        self.interval = interval
        self.keysMax = keysMax
    }

    /// Whether the key may be written now; if so, that is noted.
    func admit(_ key: String, in bucket: String, at now: Instant) -> Bool {
        var hasher = Hasher()
        hasher.combine(bucket)
        for byte in key.utf8 { hasher.combine(byte) }  // As bytes: `String` hashes equal spellings alike.
        let hash = hasher.finalize()
        return state.withLock { state in
            while state.head < state.order.count {
                let first = state.order[state.head]
                guard first.time + interval <= now || state.order.count - state.head > keysMax else { break }
                if state.last[first.key] == first.time { state.last[first.key] = nil }
                state.head += 1
            }
            if state.head >= 1024, state.head * 2 >= state.order.count {
                state.order.removeFirst(state.head)
                state.head = 0
            }
            guard state.last[hash] == nil else { return false }
            state.last[hash] = now
            state.order.append((now, hash))
            return true
        }
    }
}
