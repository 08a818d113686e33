internal import CLinux
internal import Glibc
internal import Synchronization

/// The real clock: CLOCK_MONOTONIC for instants, CLOCK_REALTIME for wall time, one thread for timers.
package final class SystemClock: NodeClock {
    private struct State {
        var nextTimer: UInt64 = 0
        var timers: [UInt64: (deadline: Instant, wake: @Sendable () -> Void)] = [:]
        var earliest: Instant?
    }
    private let state = Mutex(State())
    private let wakeup = EventCounter()

    package init() {
        let thread = SystemThread(name: "edge-clock") { [weak self, wakeup] in
            while let clock = self { clock.fireDue(wakeup) }
        }
        thread.start()
    }

    package func now() -> Instant { Instant(nanoseconds: Self.read(CLOCK_MONOTONIC)) }
    package func wallTime() -> UnixTime { UnixTime(milliseconds: Self.read(CLOCK_REALTIME) / 1_000_000) }
    package func onJump(_ jumped: @escaping @Sendable () -> Void) {}  // Real time never jumps here.

    package func schedule(at deadline: Instant, _ wake: @escaping @Sendable () -> Void) -> ClockTimer {
        let (id, isEarliest) = state.withLock { state -> (UInt64, Bool) in
            state.nextTimer += 1
            state.timers[state.nextTimer] = (deadline, wake)
            let isEarliest = state.earliest.map { deadline < $0 } ?? true
            if isEarliest { state.earliest = deadline }
            return (state.nextTimer, isEarliest)
        }
        if isEarliest { wakeup.signal() }
        return ClockTimer { [self] in state.withLock { _ = $0.timers.removeValue(forKey: id) } }
    }

    /// Fires what is due, then sleeps until the next deadline or a new earlier one.
    private func fireDue(_ wakeup: EventCounter) {
        let now = now()
        let (due, next) = state.withLock { state in
            let due = state.timers.filter { $0.value.deadline <= now }
                .sorted { ($0.value.deadline, $0.key) < ($1.value.deadline, $1.key) }
            for (id, _) in due { state.timers[id] = nil }
            state.earliest = state.timers.values.map(\.deadline).min()
            return (due.map(\.value.wake), state.earliest)
        }
        for wake in due { wake() }
        wakeup.wait(upTo: next.map { max(.zero, $0 - self.now()) } ?? .seconds(60))
    }

    private static func read(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        // SAFETY: clock_gettime fills the struct whose address it is given.
        unsafe clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
