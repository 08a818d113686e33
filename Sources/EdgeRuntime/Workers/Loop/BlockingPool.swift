internal import Synchronization
internal import System

/// The isolate's helper threads: started when they are first needed, at most two, because more parallelism is more
/// isolates. The one pool of a process; it holds no state of any event.
final class BlockingPool: Sendable {
    static let shared = BlockingPool(threadsMax: 2)

    private struct State {
        var work: [@Sendable () -> Void] = []
        var threadCount = 0
        var idleCount = 0
    }
    private let state = Mutex(State())
    private let wakeup = EventCounter()
    private let threadsMax: Int

    init(threadsMax: Int) { self.threadsMax = threadsMax }

    static func run<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws -> Value {
        let loop = EventLoop.current
        let event = loop?.current
        let section = loop?.currentSection
        loop?.blockingCount += 1
        event?.addPending(1)
        section?.pendingCount += 1
        defer {
            loop?.blockingCount -= 1
            event?.addPending(-1)
            section?.pendingCount -= 1
        }
        return try await withCheckedThrowingContinuation { continuation in
            shared.submit {
                let result = Result { try work() }
                guard let loop else { return continuation.resume(with: result) }
                loop.onLoop { loop.acting(for: event, section) { continuation.resume(with: result) } }
            }
        }
    }

    private func submit(_ work: @escaping @Sendable () -> Void) {
        let startsThread = state.withLock { state in
            state.work.append(work)
            guard state.idleCount == 0, state.threadCount < threadsMax else { return false }
            state.threadCount += 1
            return true
        }
        if startsThread {
            SystemThread(name: "edge-blocking") { self.serve() }.start()
        } else {
            wakeup.signal()
        }
    }

    private func serve() {
        while true {
            let work = state.withLock { state -> (@Sendable () -> Void)? in
                guard !state.work.isEmpty else {
                    state.idleCount += 1
                    return nil
                }
                if state.work.count > 1, state.idleCount > 0 { wakeup.signal() }
                return state.work.removeFirst()
            }
            if let work {
                work()
            } else {
                wakeup.wait(upTo: .seconds(60))
                state.withLock { $0.idleCount -= 1 }
            }
        }
    }
}
