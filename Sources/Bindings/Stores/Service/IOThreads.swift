internal import Synchronization
internal import System

/// A few threads for calls that wait for the disk or take long. Work is taken in the order it came.
package final class IOThreads: Sendable {
    private final class Core: Sendable {
        struct State {
            /// Work that waits stands from `head` on; what is before it was taken.
            var queue: [(@Sendable () -> Void)?] = []
            var head = 0
            var idle: [Int] = []
            var isClosed = false

            mutating func takeFirst() -> (@Sendable () -> Void)? {
                guard head < queue.count else { return nil }
                let work = queue[head]
                // Taken work must not be kept alive by its place, nor may places pile up while there is always
                // more to do.
                queue[head] = nil
                head += 1
                if head == queue.count {
                    queue.removeAll(keepingCapacity: queue.count < 1024)
                    head = 0
                } else if head >= 1024, head * 2 >= queue.count {
                    queue.removeFirst(head)
                    head = 0
                }
                return work
            }
        }
        let state = Mutex(State())
        let wakeups: [EventCounter]

        init(count: Int) { wakeups = (0..<count).map { _ in EventCounter() } }

        func serve(_ index: Int) {
            while true {
                let (work, ended) = state.withLock { state -> ((@Sendable () -> Void)?, Bool) in
                    if let work = state.takeFirst() { return (work, false) }
                    if !state.isClosed, !state.idle.contains(index) { state.idle.append(index) }
                    return (nil, state.isClosed)
                }
                if let work {
                    work()
                } else if ended {
                    return
                } else {
                    wakeups[index].wait(upTo: .seconds(3600))
                }
            }
        }
    }

    private let core: Core

    package init(count: Int, name: String) {
        core = Core(count: count)
        for index in 0..<count {
            SystemThread(name: "\(name)-\(index)") { [core] in core.serve(index) }.start()
        }
    }

    deinit { close() }

    /// Runs `work` on one of the threads; after `close`, on the caller's, so that whoever waits for it learns from
    /// the closed store that it came too late.
    package func submit(_ work: @escaping @Sendable () -> Void) {
        let (sleeper, isClosed) = core.state.withLock { state -> (Int?, Bool) in
            if state.isClosed { return (nil, true) }
            state.queue.append(work)
            return (state.idle.popLast(), false)
        }
        if isClosed { return work() }
        if let sleeper { core.wakeups[sleeper].signal() }
    }

    /// Runs `work` as `submit` does. Cancelling the task doesn't stop it.
    package func run<Value: Sendable, Failure: Error>(
        _ work: @escaping @Sendable () throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        let result: Result<Value, Failure> = await withCheckedContinuation { continuation in
            submit { continuation.resume(returning: Result { () throws(Failure) in try work() }) }
        }
        return try result.get()
    }

    /// How many places the queue has: those that wait, and taken ones that are not given up yet.
    package var queuePlaceCount: Int { core.state.withLock { $0.queue.count } }

    /// Finishes what waits, then ends the threads.
    package func close() {
        core.state.withLock { $0.isClosed = true }
        for wakeup in core.wakeups { wakeup.signal() }
    }
}
