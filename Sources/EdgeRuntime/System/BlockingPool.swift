internal import Glibc
internal import Synchronization

/// A few threads for calls that may wait for a disk, so that no reactor does. Bounded in threads and in queue.
package final class BlockingPool: Sendable {
    private struct State {
        var queue: [@Sendable () -> Void] = []
        var head = 0
    }
    private let state = Mutex(State())
    private let available: Semaphore

    package init(name: String, threadCount: Int) {
        available = Semaphore()
        for index in 0..<threadCount {
            SystemThread(name: "\(name)-\(index)") { [self] in
                while true {
                    available.wait()
                    takeNext()?()
                }
            }.start()
        }
    }

    /// Runs `body` on one of the pool's threads.
    package func run<Value: Sendable, Failure: Error>(
        _ body: @escaping @Sendable () throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        let result: Result<Value, Failure> = await withCheckedContinuation { continuation in
            submit {
                do throws(Failure) {
                    continuation.resume(returning: .success(try body()))
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
        }
        return try result.get()
    }

    package func submit(_ body: @escaping @Sendable () -> Void) {
        state.withLock { $0.queue.append(body) }
        available.signal()
    }

    private func takeNext() -> (@Sendable () -> Void)? {
        state.withLock { state in
            guard state.head < state.queue.count else { return nil }
            let body = state.queue[state.head]
            state.head += 1
            if state.head == state.queue.count || state.head >= 1024 {
                state.queue.removeFirst(state.head)
                state.head = 0
            }
            return body
        }
    }
}

/// A counting semaphore.
@safe package final class Semaphore: @unchecked Sendable {  // sem_t is made for use by several threads.
    private let semaphore: UnsafeMutablePointer<sem_t>

    package init(_ value: UInt32 = 0) {
        unsafe semaphore = .allocate(capacity: 1)
        unsafe sem_init(semaphore, 0, value)
    }

    package func signal() { unsafe sem_post(semaphore) }
    package func wait() { while unsafe sem_wait(semaphore) != 0 && errno == EINTR {} }

    deinit {
        unsafe sem_destroy(semaphore)
        unsafe semaphore.deallocate()
    }
}
