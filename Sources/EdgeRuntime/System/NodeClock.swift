internal import Glibc
internal import Synchronization

/// A point on the node's monotonic timeline. Only differences mean anything.
package struct Instant: Comparable, Hashable, Sendable {
    package let nanoseconds: Int64
    package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    package static func < (left: Instant, right: Instant) -> Bool { left.nanoseconds < right.nanoseconds }

    package static func + (instant: Instant, duration: Duration) -> Instant {
        Instant(nanoseconds: instant.nanoseconds &+ duration.wholeNanoseconds)
    }

    /// `+` without the division that a `Duration` costs.
    package func advanced(byNanoseconds count: Int64) -> Instant { Instant(nanoseconds: nanoseconds &+ count) }

    package static func - (later: Instant, earlier: Instant) -> Duration {
        .nanoseconds(later.nanoseconds &- earlier.nanoseconds)
    }
}

/// A wall-clock time: milliseconds since 1970-01-01T00:00:00Z.
package struct UnixTime: Comparable, Hashable, Sendable {
    package let milliseconds: Int64
    package init(milliseconds: Int64) { self.milliseconds = milliseconds }

    /// Whole seconds, rounded down.
    package var seconds: Int64 {
        milliseconds >= 0 ? milliseconds / 1000 : (milliseconds - 999) / 1000
    }

    package static func < (left: UnixTime, right: UnixTime) -> Bool { left.milliseconds < right.milliseconds }

    package static func + (time: UnixTime, duration: Duration) -> UnixTime {
        UnixTime(milliseconds: time.milliseconds &+ duration.wholeMilliseconds)
    }
}

extension Duration {
    /// Saturating.
    package var wholeNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        return overflow ? (seconds < 0 ? .min : .max) / 2 : product &+ attoseconds / 1_000_000_000
    }

    /// Rounded towards zero, saturating.
    package var wholeMilliseconds: Int64 { wholeNanoseconds / 1_000_000 }
}

/// The node's one source of time. It is made by `main` and passed down; no other code reads the system's clock.
package protocol NodeClock: AnyObject, Sendable {
    /// Monotonic; safe on any thread, some 25 ns.
    func now() -> Instant
    /// UTC. May jump; time-outs use `now`.
    func wallTime() -> UnixTime
    /// Calls `wake` once, on some thread, at `deadline` or soon after (at once when it has passed).
    /// `wake` must not block. Cancelling a timer that has fired does nothing.
    func schedule(at deadline: Instant, _ wake: @escaping @Sendable () -> Void) -> ClockTimer
    /// Calls `jumped` whenever time moves by other means than passing (a virtual clock that is advanced).
    /// For those who sleep in the kernel, such as reactors.
    func onJump(_ jumped: @escaping @Sendable () -> Void)
}

/// A pending call of `NodeClock.schedule`.
package struct ClockTimer: Sendable {
    package let cancel: @Sendable () -> Void
    package init(cancel: @escaping @Sendable () -> Void) { self.cancel = cancel }
}

extension NodeClock {
    /// Sleeps until `deadline` on this clock; returns early, by throwing, when the task is cancelled.
    package func sleep(until deadline: Instant) async throws(CancellationError) {
        let sleeper = Sleeper()
        do {
            try await withTaskCancellationHandler {
                try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                    sleeper.start(continuation) { wake in self.schedule(at: deadline, wake) }
                }
            } onCancel: {
                sleeper.finish(.failure(CancellationError()))
            }
        } catch { throw CancellationError() }
    }

    package func sleep(for duration: Duration) async throws(CancellationError) {
        try await sleep(until: now() + duration)
    }
}

/// Resumes one sleeping task exactly once, whichever of timer and cancellation comes first.
private final class Sleeper: Sendable {
    private enum State {
        case idle
        case cancelled
        case waiting(CheckedContinuation<Void, any Error>, ClockTimer?)
        case done
    }
    private let state = Mutex<State>(.idle)

    func start(
        _ continuation: CheckedContinuation<Void, any Error>,
        schedule: (@escaping @Sendable () -> Void) -> ClockTimer
    ) {
        let cancelled = state.withLock { state -> Bool in
            if case .cancelled = state { return true }
            state = .waiting(continuation, nil)
            return false
        }
        guard !cancelled else { return continuation.resume(throwing: CancellationError()) }
        let timer = schedule { self.finish(.success(())) }
        let finished = state.withLock { state -> Bool in
            guard case .waiting(let continuation, _) = state else { return true }
            state = .waiting(continuation, timer)
            return false
        }
        if finished { timer.cancel() }
    }

    func finish(_ result: Result<Void, any Error>) {
        let waiting: (CheckedContinuation<Void, any Error>, ClockTimer?)? = state.withLock { state in
            switch state {
            case .idle:
                state = .cancelled
                return nil
            case .waiting(let continuation, let timer):
                state = .done
                return (continuation, timer)
            case .cancelled, .done: return nil
            }
        }
        waiting?.1?.cancel()
        waiting?.0.resume(with: result)
    }
}
