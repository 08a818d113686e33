internal import Synchronization
internal import System

/// A few threads for calls that wait for the disk. Work is taken in the order it came.
final class IOThreads: Sendable {
    private final class Core: Sendable {
        struct State {
            var queue: [@Sendable () -> Void] = []
            var head = 0
            var idle: [Int] = []
            var isClosed = false
        }
        let state = Mutex(State())
        let wakeups: [EventCounter]

        init(count: Int) { wakeups = (0..<count).map { _ in EventCounter() } }

        func serve(_ index: Int) {
            while true {
                let (work, ended) = state.withLock { state -> ((@Sendable () -> Void)?, Bool) in
                    if state.head < state.queue.count {
                        let work = state.queue[state.head]
                        state.head += 1
                        if state.head == state.queue.count {
                            state.queue.removeAll(keepingCapacity: state.queue.count < 1024)
                            state.head = 0
                        }
                        return (work, false)
                    }
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

    init(count: Int, name: String) {
        core = Core(count: count)
        for index in 0..<count {
            SystemThread(name: "\(name)-\(index)") { [core] in core.serve(index) }.start()
        }
    }

    deinit { close() }

    func submit(_ work: @escaping @Sendable () -> Void) {
        let sleeper = core.state.withLock { state -> Int? in
            state.queue.append(work)
            return state.idle.popLast()
        }
        if let sleeper { core.wakeups[sleeper].signal() }
    }

    /// Runs `work` on one of the threads. Cancelling the task doesn't stop it.
    func run<Value: Sendable, Failure: Error>(
        _ work: @escaping @Sendable () throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        let result: Result<Value, Failure> = await withCheckedContinuation { continuation in
            submit { continuation.resume(returning: Result { () throws(Failure) in try work() }) }
        }
        return try result.get()
    }

    /// Finishes what waits, then ends the threads. Work that comes later is never run: nobody may come.
    func close() {
        core.state.withLock { $0.isClosed = true }
        for wakeup in core.wakeups { wakeup.signal() }
    }
}
