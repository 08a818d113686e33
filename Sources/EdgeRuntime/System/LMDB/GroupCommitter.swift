internal import Glibc
internal import Synchronization
internal import System

/// The writer thread of an environment. Writers hand it closures and wait; all that wait at the moment share one
/// ordinary transaction, and with it the two waits for the disk that a commit costs.
///
/// Nothing is answered before the commit: a result that a caller sees is durable.
package final class GroupCommitter: Sendable {
    package struct Limits: Sendable {
        /// More writers than this are refused.
        package var waitingMax = 16_384
        /// What waiting closures may hold in memory, by their own account.
        package var waitingBytesMax = 256 << 20
        /// One transaction's share: bounds how long the first of a batch waits for the last.
        package var batchMax = 2048
        package var batchBytesMax = 64 << 20

        package init() {}
    }

    package enum Failure: Error, Equatable, Sendable {
        /// Too much waits already; nothing was written.
        case overloaded
        /// The environment is closing; nothing was written.
        case closed
    }

    package let environment: LMDBEnvironment
    private let queue: CommitQueue

    /// Starts the thread; its name is cut to 15 bytes.
    package init(_ environment: LMDBEnvironment, threadName: String, limits: Limits = Limits()) {
        self.environment = environment
        let queue = CommitQueue(limits)
        self.queue = queue
        SystemThread(name: threadName) { queue.serve(environment) }.start()
    }

    deinit { queue.close(nil) }

    /// Runs `body` in a transaction that others share, and returns once it is durable.
    ///
    /// `body` runs on the writer thread, must not block, and may run several times: only the changes of its last
    /// run count, so it must not depend on what an earlier run did outside of the transaction. It is cheapest
    /// to throw before the first write. Cancelling the waiting task changes nothing.
    ///
    /// - Parameter byteCount: What the closure holds in memory, for the queue's limit.
    /// - Throws: what `body` threw, and then its changes are undone and nobody else's; `Failure`; or the `LMDBError`
    ///   that the commit failed with, and then nothing of the whole batch was written.
    package func submit<Value: Sendable>(
        byteCount: Int = 0, _ body: @escaping @Sendable (borrowing LMDBWriteTransaction) throws -> Value
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            let write = PendingWrite(byteCount, continuation, body)
            if let failure = queue.append(write) { continuation.resume(throwing: failure) }
        }
    }

    /// How many writes wait for the thread to take them.
    package var waitingCount: Int { queue.waitingCount }

    /// Refuses new writes, finishes those that wait, ends the thread and closes the environment.
    package func close() async {
        await withCheckedContinuation { queue.close($0) }
        environment.close()
    }
}

/// The writes that wait, and the thread that takes them.
private final class CommitQueue: Sendable {
    private struct State {
        var waiting: [any QueuedWrite] = []
        var waitingByteCount = 0
        var isClosed = false
        var hasEnded = false
        var closers: [CheckedContinuation<Void, Never>] = []
    }
    private let limits: GroupCommitter.Limits
    private let state = Mutex(State())
    private let wakeup = EventCounter()

    init(_ limits: GroupCommitter.Limits) { self.limits = limits }

    var waitingCount: Int { state.withLock { $0.waiting.count } }

    func append(_ write: any QueuedWrite) -> GroupCommitter.Failure? {
        let (failure, isFirst) = state.withLock { state -> (GroupCommitter.Failure?, Bool) in
            if state.isClosed { return (.closed, false) }
            let isEmpty = state.waiting.isEmpty
            let fits =
                state.waiting.count < limits.waitingMax
                && (isEmpty || state.waitingByteCount + write.byteCount <= limits.waitingBytesMax)
            guard fits else { return (.overloaded, false) }
            state.waiting.append(write)
            state.waitingByteCount += write.byteCount
            return (nil, isEmpty)
        }
        if isFirst { wakeup.signal() }  // The thread takes all that wait, so one signal is enough.
        return failure
    }

    func close(_ closer: CheckedContinuation<Void, Never>?) {
        let hasEnded = state.withLock { state in
            state.isClosed = true
            if !state.hasEnded, let closer { state.closers.append(closer) }
            return state.hasEnded
        }
        if hasEnded { closer?.resume() } else { wakeup.signal() }
    }

    func serve(_ environment: LMDBEnvironment) {
        var lastCount = 1
        while let batch = takeBatch() {
            if batch.isEmpty {
                wakeup.wait(upTo: .seconds(3600))
                if lastCount > 1 { gather(lastCount) }
                continue
            }
            do throws(LMDBError) {
                try environment.write(batch)
            } catch {
                for write in batch { write.fail(error) }
            }
            for write in batch { write.finish() }
            lastCount = batch.count
            let count = waitingCount
            if count > 0 { gather(count + lastCount) }
        }
        let closers = state.withLock { state in
            state.hasEnded = true
            defer { state.closers = [] }
            return state.closers
        }
        for closer in closers { closer.resume() }
    }

    /// Waits a moment, far shorter than a commit, while writes still come in.
    ///
    /// Writers who got their answer together come back together, one after the other: to begin with the first would
    /// make two commits for them all. A lone writer never waits here.
    private func gather(_ expectedCount: Int) {
        var count = waitingCount
        for _ in 0..<8 where count < expectedCount {
            usleep(30)
            let before = count
            count = waitingCount
            if count == before { return }
        }
    }

    /// As much of what waits as one transaction may hold; `nil` once nothing will come.
    private func takeBatch() -> [any QueuedWrite]? {
        state.withLock { state in
            if state.waiting.isEmpty { return state.isClosed ? nil : [] }
            var count = 0
            var byteCount = 0
            for write in state.waiting.prefix(limits.batchMax) {
                guard count == 0 || byteCount + write.byteCount <= limits.batchBytesMax else { break }
                count += 1
                byteCount += write.byteCount
            }
            let batch = Array(state.waiting.prefix(count))
            state.waiting.removeFirst(count)
            state.waitingByteCount -= byteCount
            return batch
        }
    }
}

private protocol QueuedWrite: BatchOperation {
    var byteCount: Int { get }
    /// Gives the caller the outcome, once.
    func finish()
}

private final class PendingWrite<Value: Sendable>: QueuedWrite, @unchecked Sendable {
    // `outcome` belongs to the writer thread.
    let byteCount: Int
    private let continuation: CheckedContinuation<Value, any Error>
    private let body: @Sendable (borrowing LMDBWriteTransaction) throws -> Value
    private var outcome: Result<Value, any Error>?

    init(
        _ byteCount: Int, _ continuation: CheckedContinuation<Value, any Error>,
        _ body: @escaping @Sendable (borrowing LMDBWriteTransaction) throws -> Value
    ) {
        self.byteCount = byteCount
        self.continuation = continuation
        self.body = body
    }

    func run(_ transaction: borrowing LMDBWriteTransaction, _ isolation: BatchIsolation) -> (any Error)? {
        do {
            switch isolation {
            case .none: outcome = .success(try body(transaction))
            case .nested: outcome = .success(try transaction.isolated(body))
            }
            return nil
        } catch {
            outcome = .failure(error)
            return error
        }
    }

    func fail(_ error: LMDBError) {
        if case .failure = outcome { return }
        outcome = .failure(error)
    }

    func finish() {
        guard let outcome else { preconditionFailure("a batch runs or fails before it finishes") }
        continuation.resume(with: outcome)
    }
}
