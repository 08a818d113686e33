internal import Glibc
internal import System

/// The isolate's end of the node's clock: the same kernel clocks, without the node's timer thread, because an isolate's
/// timers are those of its loop.
final class IsolateClock: NodeClock {
    func now() -> Instant { Instant(nanoseconds: Self.read(CLOCK_MONOTONIC)) }
    func wallTime() -> UnixTime { UnixTime(milliseconds: Self.read(CLOCK_REALTIME) / 1_000_000) }
    func onJump(_ jumped: @escaping @Sendable () -> Void) {}  // Real time never jumps here.

    func schedule(at deadline: Instant, _ wake: @escaping @Sendable () -> Void) -> ClockTimer {
        let task = Task {
            try? await Task.sleep(for: deadline - now())
            if !Task.isCancelled { wake() }
        }
        return ClockTimer { task.cancel() }
    }

    /// Nanoseconds for the accounting of run time; not the node's time, only differences of it are used.
    @inline(__always)
    static func ticks() -> UInt64 { UInt64(bitPattern: read(CLOCK_MONOTONIC)) }

    /// CPU time of the calling thread, in nanoseconds.
    static func threadCPUTime() -> UInt64 { UInt64(bitPattern: read(CLOCK_THREAD_CPUTIME_ID)) }

    @inline(__always)
    private static func read(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        // SAFETY: clock_gettime fills the struct whose address it is given.
        unsafe clock_gettime(clock, &time)
        return Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
    }
}
