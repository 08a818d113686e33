internal import Glibc
internal import Synchronization

/// What tests let go wrong at the disk, in their own isolates: no product sets any of it.
package final class DurabilityFaults: Sendable {
    package static let shared = DurabilityFaults()

    private struct State {
        var delayMilliseconds: UInt32 = 0
        var isHeld = false
        var failures = 0
        var skips = false
    }
    private let state = Mutex(State())

    /// Each round at the disk takes so much longer.
    package func delay(milliseconds: UInt32) { state.withLock { $0.delayMilliseconds = milliseconds } }
    /// No round ends as long as it is held.
    package func hold(_ isHeld: Bool) { state.withLock { $0.isHeld = isHeld } }
    /// So many calls fail.
    package func fail(_ count: Int) { state.withLock { $0.failures = count } }
    /// Nothing is made durable, and all is said to be.
    package func skip(_ skips: Bool) { state.withLock { $0.skips = skips } }

    var skips: Bool { state.withLock { $0.skips } }

    func wait() {
        let delay = state.withLock { $0.delayMilliseconds }
        if delay > 0 { usleep(delay * 1000) }
        while state.withLock({ $0.isHeld }) { usleep(1000) }
    }

    func takeFailure() -> Bool {
        state.withLock { state in
            guard state.failures > 0 else { return false }
            state.failures -= 1
            return true
        }
    }
}
