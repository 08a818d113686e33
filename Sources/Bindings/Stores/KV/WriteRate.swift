internal import Synchronization
internal import System

/// At most one write per second and key, whoever writes (spec: kv, section 1). Off unless the environment asks for it.
///
/// It remembers the keys that were written within the last second, and no more than so many: who writes more of them is too
/// fast as well.
final class WriteRate: Sendable {
    private struct Key: Hashable {
        var space: String
        var key: [UInt8]
    }
    private struct State {
        var held: Set<Key> = []
        /// In the order of their ends; what is before `head` is over.
        var queue: [(key: Key, end: Instant)] = []
        var head = 0

        mutating func dropEnded(at now: Instant) {
            while head < queue.count, queue[head].end <= now {
                held.remove(queue[head].key)
                head += 1
            }
            if head == queue.count || head >= 4096 {
                queue.removeFirst(head)
                head = 0
            }
        }
    }
    static let interval = Duration.seconds(1)

    private let keysMax: Int
    private let clock: any NodeClock
    private let state = Mutex(State())

    init(keysMax: Int = 65_536, clock: any NodeClock) {
        self.keysMax = keysMax
        self.clock = clock
    }

    /// Whether `key` may be written now; its next second begins then.
    func claim(_ key: [UInt8], in space: String) -> Bool {
        let now = clock.now()
        return state.withLock { state in
            state.dropEnded(at: now)
            let key = Key(space: space, key: key)
            guard state.held.count < keysMax, state.held.insert(key).inserted else { return false }
            state.queue.append((key, now + Self.interval))
            return true
        }
    }
}
