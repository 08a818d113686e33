internal import Synchronization
@_spi(ExperimentalCustomExecutors) @_spi(ExperimentalScheduling) internal import _Concurrency

// The concurrency runtime of an isolate's process has no threads: its default executor and the main actor are the loop, too.
// So `Task { }` and `Task.sleep` in handler code stay on the loop's thread, and the loop sees every timer. The interface
// that replaces the runtime's executors (SE-0505) is still an SPI in Swift 6.3; this file is all that uses it,
// beside `Invocation`'s conformance to `SchedulingExecutor`.

/// Chosen once, before the first task of the process.
enum IsolateExecutors: ExecutorFactory {
    private static let loop = AtomicLazyReference<EventLoop>()
    private static let unstructured = UnstructuredExecutor()
    private static let main = LoopMainExecutor()

    static var mainExecutor: any MainExecutor { main }
    static var defaultExecutor: any TaskExecutor { unstructured }

    /// Makes `loop` the executor of everything in this process.
    static func install(_ loop: EventLoop) {
        _ = self.loop.storeIfNil(loop)
        _createExecutors(factory: IsolateExecutors.self)
    }

    static var installedLoop: EventLoop? { loop.load() }

    static func runDetached(_ job: UnownedJob) {
        unsafe job.runSynchronously(on: unstructured.asUnownedTaskExecutor())
    }

    static func runMain(_ job: UnownedJob) { unsafe job.runSynchronously(on: main.asUnownedSerialExecutor()) }

    fileprivate static func enqueue(_ job: UnownedJob, home: JobHome) {
        guard let loop = loop.load(), let queued = loop.enqueueUnstructured(job, home: home) else {
            preconditionFailure("tasks start after the loop was installed and configured")
        }
        loop.enqueue(queued)
    }

    fileprivate static func enqueue<Delay>(_ job: UnownedJob, after delay: Delay) {
        guard let loop = loop.load(), let queued = loop.enqueueUnstructured(job, home: .detached) else {
            preconditionFailure("tasks start after the loop was installed and configured")
        }
        loop.enqueue(queued, after: delay)
    }
}

private final class UnstructuredExecutor: TaskExecutor, SchedulingExecutor {
    func enqueue(_ job: consuming ExecutorJob) { IsolateExecutors.enqueue(UnownedJob(job), home: .detached) }

    func enqueue<C: Clock>(
        _ job: consuming ExecutorJob, after delay: C.Duration, tolerance: C.Duration?, clock: C
    ) {
        IsolateExecutors.enqueue(UnownedJob(job), after: delay)
    }

    func enqueue<C: Clock>(
        _ job: consuming ExecutorJob, at instant: C.Instant, tolerance: C.Duration?, clock: C
    ) {
        IsolateExecutors.enqueue(UnownedJob(job), after: clock.now.duration(to: instant))
    }
}

private final class LoopMainExecutor: MainExecutor {
    func enqueue(_ job: consuming ExecutorJob) { IsolateExecutors.enqueue(UnownedJob(job), home: .main) }
    // The loop is run by `IsolateMain`, never by the runtime.
    func run() throws {}
    func stop() {}
    var isMainExecutor: Bool { true }
    func checkIsolated() {
        precondition(IsolateExecutors.installedLoop?.isOnThread ?? true, "runs on the isolate's thread")
    }
}
