internal import Interfaces
internal import Observability
internal import SQLite
internal import Synchronization
internal import System

/// One database: its queues and its threads. Threads start with the first call and end when the engine
/// retires; it can start again at any time. Safe on any thread.
///
///     idle ──first call──▶ starting ──file is open──▶ ready ──retire, last thread ended──▶ idle
///            (a start that fails answers all that waits and ends in idle)
final class D1Engine: Sendable {
    private enum Phase { case idle, starting, ready }

    private struct ReaderSlot {
        let wakeup: EventCounter
        var isAsleep = false
        /// Its thread could not open the file; the slot may be used again.
        var hasFailed = false
    }

    private struct State {
        var phase = Phase.idle
        var writes = D1CallQueue()
        var reads = D1CallQueue()
        var waitingByteCount = 0
        /// `nil` while idle: a database that nobody uses costs no descriptor.
        var writerWakeup: EventCounter?
        var isWriterAsleep = false
        var readers: [ReaderSlot] = []
        /// Readers that run, or are about to.
        var awakeReaderCount = 0
        /// Threads that have not ended.
        var threadCount = 0
        var isRetiring = false
        /// Exports and such, each on a thread of its own.
        var longReadCount = 0
        /// What such threads sleep on that wait for something.
        var longReadWakeups: [EventCounter] = []
        /// No new calls.
        var isClosed = false
        /// No new writes but jobs, which the store itself asks for.
        var isFrozen = false
        var waitingForEnd: [CheckedContinuation<Void, Never>] = []
        var lastUse = Instant(nanoseconds: 0)
    }

    /// What is to be done after the lock is released.
    private enum Wakeup {
        case nobody
        case sleeper(EventCounter)
        case newWriter
        case newReader(Int)
    }

    let surroundings: D1Surroundings
    private let state = Mutex(State())
    /// Raised after each commit, before its calls are answered.
    private let commits = Atomic<UInt64>(0)
    private let durablePosition: Mutex<D1Position>

    init(_ surroundings: D1Surroundings) {
        self.surroundings = surroundings
        durablePosition = Mutex(
            D1Position(
                bookmark: D1Bookmark(generation: 0, segment: 0, frame: 0), lastRowID: 0, byteCount: 0))
    }

    // MARK: For callers

    /// Runs `work` as one transaction.
    func run(_ work: D1Work, session: D1SessionDemand?) async throws(D1Failure) -> D1Answer {
        let now = surroundings.clock.now()
        let byteCount = work.byteCount
        let answer = await withCheckedContinuation { continuation in
            enqueue(
                D1Call(work, session: session, arrival: now, byteCount: byteCount, continuation: continuation)
            )
        }
        return try answer.get()
    }

    /// Runs `job` on the writer's thread between two transactions, in its turn.
    func perform<Outcome: Sendable>(
        _ job: @escaping @Sendable (D1Writer) throws -> Outcome
    ) async throws(D1Failure) -> Outcome {
        let outcome = Mutex<Outcome?>(nil)
        _ = try await run(
            .job(
                D1Job { writer in
                    let result = try job(writer)
                    outcome.withLock { $0 = result }
                }), session: nil)
        guard let result = outcome.withLock({ $0 }) else { throw .closed }
        return result
    }

    /// Runs `body` with a connection that sees one snapshot, on a thread of its own: nobody waits for it. `body` is given
    /// the state that it sees, and a question to ask now and then: whether it may go on.
    func read<Outcome: Sendable>(
        _ body: @escaping @Sendable (SQLiteConnection, D1Bookmark, @escaping () -> Bool) throws -> Outcome
    ) async throws(D1Failure) -> Outcome {
        try await open()
        let result = await withCheckedContinuation { (continuation: CheckedContinuation<Result<Outcome, D1Failure>, Never>) in
            let isStarted = startReading { mayContinue in
                let result = self.runRead(body, mayContinue)
                return { continuation.resume(returning: result) }
            }
            if !isStarted { continuation.resume(returning: .failure(.closed)) }
        }
        return try result.get()
    }

    /// Opens the database, and makes the file of one that nobody has used yet.
    func open() async throws(D1Failure) { try await perform { _ in } }

    /// Runs `body` on a thread of its own, which the engine's end waits for.
    ///
    /// - Parameters:
    ///   - wakeup: Signalled when the engine is about to end.
    ///   - body: Given a question to ask now and then, whether it may go on. What it returns is run last.
    /// - Returns: false when no thread may start any more.
    func startReading(
        waking wakeup: EventCounter? = nil,
        _ body: @escaping @Sendable (_ mayContinue: @escaping () -> Bool) -> @Sendable () -> Void
    ) -> Bool {
        let mayRun = state.withLock { state -> Bool in
            guard state.phase == .ready, !state.isRetiring else { return false }
            state.longReadCount += 1
            state.threadCount += 1
            if let wakeup { state.longReadWakeups.append(wakeup) }
            return true
        }
        guard mayRun else { return false }
        SystemThread(name: "edge-d1-export") {
            let completion = body { !self.state.withLock { $0.isRetiring } }
            self.state.withLock { state in
                state.longReadCount -= 1
                state.longReadWakeups.removeAll { $0 === wakeup }
            }
            self.threadEnded()
            completion()
        }.start()
        return true
    }

    private func runRead<Outcome>(
        _ body: (SQLiteConnection, D1Bookmark, @escaping () -> Bool) throws -> Outcome, _ mayContinue: @escaping () -> Bool
    ) -> Result<Outcome, D1Failure> {
        do {
            let connection = try makeReadingConnection()
            connection.beginCall(
                until: surroundings.clock.now() + surroundings.limits.importDuration, hasWriteLimit: false)
            connection.authorizer.isTrusted = true
            do {
                let bookmark = try beginSnapshot(on: connection.sqlite).bookmark
                return .success(try body(connection.sqlite, bookmark, mayContinue))
            } catch let error as SQLiteError { return .failure(connection.failure(error)) }
        } catch { return .failure(error as? D1Failure ?? D1Failure("\(error)")) }
    }

    func makeReadingConnection() throws(SQLiteError) -> D1Connection {
        try D1Connection(
            path: surroundings.path, role: .reader, limits: surroundings.limits, clock: surroundings.clock,
            writes: surroundings.writes, cancellation: surroundings.cancellation, damage: surroundings.damage)
    }

    /// Begins a snapshot and finds out which state it shows: the one that was the newest before and after.
    func beginSnapshot(on connection: SQLiteConnection) throws -> D1Position {
        while true {
            let before = position
            try connection.execute("BEGIN; SELECT count(*) FROM sqlite_schema")
            if position.bookmark == before.bookmark { return before }
            try connection.execute("ROLLBACK")
        }
    }

    // MARK: Holding writes

    var isFrozen: Bool { state.withLock { $0.isFrozen } }

    /// Refuses writes from now on.
    ///
    /// - Returns: whether it didn't before.
    func freeze() -> Bool {
        state.withLock { state in
            defer { state.isFrozen = true }
            return !state.isFrozen
        }
    }

    func unfreeze() { state.withLock { $0.isFrozen = false } }

    /// Answers the writes that have waited since `arrival` or longer; jobs go on waiting.
    func refuseWrites(waitingSince arrival: Instant, _ failure: D1Failure) {
        let refused = state.withLock { state in
            let due = state.writes.remove { !$0.work.isJob && $0.arrival <= arrival }
            for call in due { state.waitingByteCount -= call.byteCount }
            return due
        }
        for call in refused { call.answer(.failure(failure)) }
    }

    /// When the last call arrived; `nil` when no thread runs or something waits.
    var idleSince: Instant? {
        state.withLock { state in
            state.phase == .ready && !state.isRetiring && state.longReadCount == 0 && state.reads.isEmpty
                && state.writes.isEmpty
                ? state.lastUse : nil
        }
    }

    /// Calls that no thread has taken yet.
    var waitingCallCount: Int { state.withLock { $0.reads.count + $0.writes.count } }

    var isOpen: Bool { state.withLock { $0.phase != .idle } }

    /// Ends all threads and closes the files once nothing waits. A later call starts them again.
    func retire() {
        let sleepers: [EventCounter] = state.withLock { state in
            guard state.phase != .idle else { return [] }
            state.isRetiring = true
            return state.readers.map(\.wakeup) + [state.writerWakeup].compactMap { $0 } + state.longReadWakeups
        }
        for sleeper in sleepers { sleeper.signal() }
    }

    /// Refuses new calls, finishes what waits, closes the files.
    func close() async {
        state.withLock { $0.isClosed = true }
        retire()
        await withCheckedContinuation { continuation in
            let isIdle = state.withLock { state -> Bool in
                guard state.phase != .idle else { return true }
                state.waitingForEnd.append(continuation)
                return false
            }
            if isIdle { continuation.resume() }
        }
    }

    // MARK: For readers

    /// How often the writer has committed: a snapshot that began before the number was read may be older than
    /// the last commit.
    var commitCount: UInt64 { commits.load(ordering: .acquiring) }
    var position: D1Position { durablePosition.withLock { $0 } }

    /// Takes a call that turned out to write.
    func handOver(_ call: D1Call) {
        let wakeup = state.withLock { state -> Wakeup? in
            guard !state.isFrozen else { return nil }
            state.waitingByteCount += call.byteCount
            state.writes.append(call)
            return wakeWriter(&state)
        }
        if let wakeup { perform(wakeup) } else { call.answer(.failure(.frozen)) }
    }

    /// A reader is busy with a long statement: another one takes what waits behind it.
    func callForHelp() {
        perform(state.withLock { state in state.reads.isEmpty ? .nobody : wakeAnotherReader(&state) })
    }

    // MARK: Queues

    private func enqueue(_ call: D1Call) {
        let goesToReader = call.work.looksReadOnly
        let limits = surroundings.limits
        let decision = state.withLock { state -> Result<Wakeup, D1Failure> in
            guard !state.isClosed else { return .failure(.closed) }
            guard !state.isFrozen || goesToReader || call.work.isJob else { return .failure(.frozen) }
            let count = state.reads.count + state.writes.count
            guard count < limits.waitingCallsMax,
                state.waitingByteCount + call.byteCount <= limits.waitingBytesMax || count == 0
            else { return .failure(.overloadedQueue) }
            state.waitingByteCount += call.byteCount
            state.lastUse = call.arrival
            if goesToReader { state.reads.append(call) } else { state.writes.append(call) }
            switch state.phase {
            case .idle: return .success(start(&state))
            case .starting: return .success(.nobody)
            case .ready: return .success(goesToReader ? wakeReader(&state) : wakeWriter(&state))
            }
        }
        switch decision {
        case .success(let wakeup): perform(wakeup)
        case .failure(let failure): call.answer(.failure(failure))
        }
    }

    private func start(_ state: inout State) -> Wakeup {
        state.phase = .starting
        state.threadCount = 1
        state.writerWakeup = EventCounter()
        return .newWriter
    }

    private func wakeWriter(_ state: inout State) -> Wakeup {
        guard state.isWriterAsleep, let wakeup = state.writerWakeup else { return .nobody }
        state.isWriterAsleep = false
        return .sleeper(wakeup)
    }

    /// One reader keeps up with many short calls, and each further one costs wake-ups: so wake another only
    /// for a backlog.
    private func wakeReader(_ state: inout State) -> Wakeup {
        guard state.awakeReaderCount == 0 || state.reads.count > 16 * state.awakeReaderCount else {
            return .nobody
        }
        return wakeAnotherReader(&state)
    }

    private func wakeAnotherReader(_ state: inout State) -> Wakeup {
        if let index = state.readers.firstIndex(where: \.isAsleep) {
            state.readers[index].isAsleep = false
            state.awakeReaderCount += 1
            return .sleeper(state.readers[index].wakeup)
        }
        let index = state.readers.firstIndex(where: \.hasFailed) ?? state.readers.count
        if index == state.readers.count {
            guard index < surroundings.limits.readersMax else { return .nobody }
            state.readers.append(ReaderSlot(wakeup: EventCounter()))
        }
        state.readers[index].hasFailed = false
        state.awakeReaderCount += 1
        state.threadCount += 1
        return .newReader(index)
    }

    private func perform(_ wakeup: Wakeup) {
        switch wakeup {
        case .nobody: break
        case .sleeper(let counter): counter.signal()
        case .newWriter: SystemThread(name: "edge-d1-writer") { self.runWriter() }.start()
        case .newReader(let index): SystemThread(name: "edge-d1-reader") { self.runReader(index) }.start()
        }
    }

    // MARK: The writer's thread

    private func runWriter() {
        do {
            let writer = try D1Writer(surroundings) { position in
                self.durablePosition.withLock { $0 = position }
                self.surroundings.usage.update(self.surroundings.path, position.byteCount)
                self.commits.add(1, ordering: .acquiringAndReleasing)
            }
            let wakeup = state.withLock { state -> Wakeup in
                state.phase = .ready
                return state.reads.isEmpty ? .nobody : wakeReader(&state)
            }
            perform(wakeup)
            while let calls = takeWrites() { writer.run(calls) }
            writer.close()
        } catch {
            failStart(error)
        }
        threadEnded()
    }

    /// Waits for calls; `nil` when the thread is to end.
    private func takeWrites() -> [D1Call]? {
        while true {
            enum Next {
                case calls([D1Call])
                case end
                case sleep(EventCounter)
            }
            let next = state.withLock { state -> Next in
                if !state.writes.isEmpty {
                    let calls = state.writes.take(upTo: surroundings.limits.groupCallsMax)
                    for call in calls { state.waitingByteCount -= call.byteCount }
                    return .calls(calls)
                }
                guard !state.isRetiring, let wakeup = state.writerWakeup else { return .end }
                state.isWriterAsleep = true
                return .sleep(wakeup)
            }
            switch next {
            case .calls(let calls): return calls
            case .end: return nil
            case .sleep(let wakeup):
                wakeup.wait(upTo: .seconds(60))
                state.withLock { $0.isWriterAsleep = false }
            }
        }
    }

    private func failStart(_ error: any Error) {
        surroundings.logger.log(
            .error, "d1: cannot open database", [("path", surroundings.path), ("error", "\(error)")])
        let failure = D1Failure("Internal error while starting up D1 DB storage caused object to be reset.")
        let calls = state.withLock { state -> [D1Call] in
            state.waitingByteCount = 0
            return state.reads.remove { _ in true } + state.writes.remove { _ in true }
        }
        for call in calls { call.answer(.failure(failure)) }
    }

    private func threadEnded() {
        let (wakeup, ended) = state.withLock { state -> (Wakeup, [CheckedContinuation<Void, Never>]) in
            state.threadCount -= 1
            guard state.threadCount == 0 else { return (.nobody, []) }
            state.readers = []
            state.awakeReaderCount = 0
            state.isWriterAsleep = false
            guard state.reads.isEmpty, state.writes.isEmpty else {
                // Calls arrived while the last threads were on their way out.
                state.isRetiring = !state.waitingForEnd.isEmpty
                return (start(&state), [])
            }
            state.phase = .idle
            state.isRetiring = false
            state.writerWakeup = nil
            defer { state.waitingForEnd = [] }
            return (.nobody, state.waitingForEnd)
        }
        perform(wakeup)
        for waiter in ended { waiter.resume() }
    }

    // MARK: The readers' threads

    private func runReader(_ index: Int) {
        do {
            let reader = try D1Reader(surroundings, engine: self)
            while true {
                if let (call, hasMore) = takeRead() {
                    reader.serve(call, hasMore: hasMore)
                } else {
                    reader.finish()
                    guard sleepReader(index) else { break }
                }
            }
        } catch {
            surroundings.logger.log(
                .error, "d1: a reader cannot open the database",
                [("path", surroundings.path), ("error", "\(error)")])
            // The writer can do what a reader can.
            while let (call, _) = takeRead() { handOver(call) }
            state.withLock { state in
                state.awakeReaderCount -= 1
                state.readers[index].hasFailed = true
            }
        }
        threadEnded()
    }

    private func takeRead() -> (D1Call, hasMore: Bool)? {
        state.withLock { state in
            guard let call = state.reads.removeFirst() else { return nil }
            state.waitingByteCount -= call.byteCount
            return (call, !state.reads.isEmpty)
        }
    }

    /// Waits for calls; `false` when the thread is to end.
    private func sleepReader(_ index: Int) -> Bool {
        let wakeup = state.withLock { state -> EventCounter? in
            guard state.reads.isEmpty, !state.isRetiring else { return nil }
            state.readers[index].isAsleep = true
            state.awakeReaderCount -= 1
            return state.readers[index].wakeup
        }
        guard let wakeup else {
            return state.withLock { state in
                guard state.reads.isEmpty, state.isRetiring else { return true }
                state.awakeReaderCount -= 1
                return false
            }
        }
        wakeup.wait(upTo: .seconds(60))
        state.withLock { state in
            // Who wakes a reader counts it; nobody did when the time was over.
            guard state.readers[index].isAsleep else { return }
            state.readers[index].isAsleep = false
            state.awakeReaderCount += 1
        }
        return true
    }
}
