internal import Synchronization

/// What an isolate used when the watchdog last looked. Any thread reads it: the autoscaler, metrics,
/// `edge status`.
package final class IsolateUsage: Sendable {
    private let cpu = Atomic<UInt64>(0)
    private let resident = Atomic<UInt64>(0)
    private let threads = Atomic<Int>(0)

    package init() {}

    /// CPU time of the process since its start.
    package var cpuTime: Duration { .nanoseconds(Int64(clamping: cpu.load(ordering: .relaxed))) }
    package var residentBytes: UInt64 { resident.load(ordering: .relaxed) }
    package var threadCount: Int { threads.load(ordering: .relaxed) }

    func update(_ sample: Watchdog.Sample) {
        cpu.store(sample.cpuNanoseconds, ordering: .relaxed)
        resident.store(sample.residentBytes, ordering: .relaxed)
        threads.store(sample.threadCount, ordering: .relaxed)
    }
}
