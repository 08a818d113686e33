internal import Synchronization

/// A clock that stands still until someone advances it: a month of timers runs in milliseconds.
package final class VirtualClock: NodeClock {
    private struct State {
        var nanoseconds: Int64 = 0
        var nextTimer: UInt64 = 0
        var timers: [UInt64: (deadline: Instant, wake: @Sendable () -> Void)] = [:]
        var jumpObservers: [@Sendable () -> Void] = []
    }
    private let start: UnixTime
    private let state = Mutex(State())

    /// Starts at `start` (by default 2026-01-01T00:00:00Z).
    package init(start: UnixTime = UnixTime(milliseconds: 1_767_225_600_000)) { self.start = start }

    package func now() -> Instant { Instant(nanoseconds: state.withLock { $0.nanoseconds }) }

    package func wallTime() -> UnixTime {
        UnixTime(milliseconds: start.milliseconds + state.withLock { $0.nanoseconds } / 1_000_000)
    }

    package func schedule(at deadline: Instant, _ wake: @escaping @Sendable () -> Void) -> ClockTimer {
        let id: UInt64? = state.withLock { state in
            guard deadline.nanoseconds > state.nanoseconds else { return nil }
            state.nextTimer += 1
            state.timers[state.nextTimer] = (deadline, wake)
            return state.nextTimer
        }
        guard let id else {
            wake()
            return ClockTimer {}
        }
        return ClockTimer { [self] in state.withLock { _ = $0.timers.removeValue(forKey: id) } }
    }

    package func onJump(_ jumped: @escaping @Sendable () -> Void) {
        state.withLock { $0.jumpObservers.append(jumped) }
    }

    /// Moves time forward by `duration`, firing due timers in order of their deadlines on the calling thread.
    package func advance(by duration: Duration) {
        let target = state.withLock { $0.nanoseconds } + duration.wholeNanoseconds
        while true {
            let due: (@Sendable () -> Void)? = state.withLock { state in
                let next = state.timers.min { ($0.value.deadline, $0.key) < ($1.value.deadline, $1.key) }
                guard let next, next.value.deadline.nanoseconds <= target else {
                    state.nanoseconds = max(state.nanoseconds, target)
                    return nil
                }
                state.nanoseconds = max(state.nanoseconds, next.value.deadline.nanoseconds)
                state.timers[next.key] = nil
                return next.value.wake
            }
            guard let due else { break }
            due()
        }
        for observer in state.withLock({ $0.jumpObservers }) { observer() }
    }
}
