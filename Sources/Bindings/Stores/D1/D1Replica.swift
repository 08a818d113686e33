package import Interfaces
internal import SQLite
internal import Synchronization
internal import System

/// A store whose databases can be read as they were some moments ago.
package protocol D1ReplicaSource: Sendable {
    /// Opens nothing before the first call; afterwards a thread and a snapshot, until a minute without one.
    func replica(of database: String) -> any D1Replica
}

/// A second look at a database that sees what is committed only when it is told to. Safe on any thread.
package protocol D1Replica: Sendable {
    /// Answers a call of a session from the state that it has, or from the newest when the session has seen more.
    ///
    /// - Parameter following: Whether it takes over what was committed before it answers.
    /// - Returns: `nil` for a call that writes: that is the primary's.
    func run(_ request: D1Request, following: Bool) async throws(D1Failure) -> D1Answer?
}

/// A replica of an embedded database: a connection that holds its snapshot. While it does, the log can't start over, so
/// whoever holds one long makes the log grow.
final class EmbeddedD1Replica: D1Replica {
    private struct Question: Sendable {
        let work: D1Work
        let session: D1SessionDemand
        let following: Bool
        let continuation: CheckedContinuation<Result<D1Answer?, D1Failure>, Never>
    }
    private struct State {
        var questions: [Question] = []
        var isRunning = false
    }
    private let engine: @Sendable () throws(D1Failure) -> D1Engine
    private let wakeup = EventCounter()
    private let state = Mutex(State())

    private static let questionsMax = 1024
    private static let idleMax = Duration.seconds(60)

    init(_ engine: @escaping @Sendable () throws(D1Failure) -> D1Engine) { self.engine = engine }

    func run(_ request: D1Request, following: Bool) async throws(D1Failure) -> D1Answer? {
        guard case .query(let statements, let take) = request.work, let demand = request.session else { return nil }
        let work = D1Work.query(statements, take)
        guard work.looksReadOnly else { return nil }
        let session = try D1SessionDemand(demand)
        let engine = try engine()
        try await engine.open()
        let result = await withCheckedContinuation { (continuation: CheckedContinuation<Result<D1Answer?, D1Failure>, Never>) in
            let question = Question(work: work, session: session, following: following, continuation: continuation)
            let (isTaken, mustStart) = state.withLock { state -> (Bool, Bool) in
                guard state.questions.count < Self.questionsMax else { return (false, false) }
                state.questions.append(question)
                defer { state.isRunning = true }
                return (true, !state.isRunning)
            }
            guard isTaken else { return continuation.resume(returning: .failure(.overloadedQueue)) }
            guard mustStart else { return wakeup.signal() }
            let isStarted = engine.startReading(waking: wakeup) { mayContinue in
                self.serve(engine, mayContinue)
                return {}
            }
            if !isStarted { end(.closed) }
        }
        return try result.get()
    }

    // MARK: The thread

    private func serve(_ engine: D1Engine, _ mayContinue: () -> Bool) {
        do {
            var snapshot = try D1ReplicaSnapshot(engine)
            while let question = next(mayContinue) {
                question.continuation.resume(
                    returning: snapshot.answer(question.work, question.session, following: question.following))
            }
        } catch {
            end((error as? D1Failure) ?? D1Failure("\(error)"))
        }
    }

    /// Waits for a question; `nil` when the thread is to end.
    private func next(_ mayContinue: () -> Bool) -> Question? {
        var hasWaited = false
        while true {
            guard mayContinue() else {
                end(.closed)
                return nil
            }
            let (question, isOver) = state.withLock { state -> (Question?, Bool) in
                guard state.questions.isEmpty else { return (state.questions.removeFirst(), false) }
                if hasWaited { state.isRunning = false }
                return (nil, hasWaited)
            }
            if let question { return question }
            if isOver { return nil }
            wakeup.wait(upTo: Self.idleMax)
            hasWaited = true
        }
    }

    /// No thread serves any more.
    private func end(_ failure: D1Failure) {
        let questions = state.withLock { state in
            defer { state = State() }
            return state.questions
        }
        for question in questions { question.continuation.resume(returning: .failure(failure)) }
    }
}

/// A connection with the state that it shows. Belongs to the replica's thread.
private struct D1ReplicaSnapshot {
    private let engine: D1Engine
    private let connection: D1Connection
    private var position: D1Position

    init(_ engine: D1Engine) throws {
        self.engine = engine
        connection = try engine.makeReadingConnection()
        position = try Self.begin(engine, connection)
    }

    private static func begin(_ engine: D1Engine, _ connection: D1Connection) throws -> D1Position {
        connection.authorizer.isTrusted = true
        defer { connection.authorizer.isTrusted = false }
        if !connection.sqlite.isAutocommit { try connection.sqlite.execute("ROLLBACK") }
        let position = try engine.beginSnapshot(on: connection.sqlite)
        connection.sqlite.lastInsertRowID = position.lastRowID
        return position
    }

    mutating func answer(
        _ work: D1Work, _ session: D1SessionDemand, following: Bool
    ) -> Result<D1Answer?, D1Failure> {
        let surroundings = engine.surroundings
        do {
            if following || connection.sqlite.isAutocommit || isBehind(session) {
                position = try Self.begin(engine, connection)
            }
            guard !isBehind(session) else {
                guard case .atLeast(let bookmark) = session else { return .failure(.closed) }
                return .failure(D1Failure("Invalid bookmark: \(bookmark) is in the future"))
            }
            connection.beginCall(until: surroundings.clock.now() + surroundings.limits.queryDuration, hasWriteLimit: true)
            defer { connection.endCall() }
            var execution = D1Execution(
                connection, answers: surroundings.answers, size: position.byteCount, lastRowID: position.lastRowID)
            switch try execution.run(work) {
            case .needsWriter: return .success(nil)
            case .reply(var reply):
                reply.finish(bookmark: position.bookmark.description, region: surroundings.region)
                execution.share?.shrink(to: reply.byteCount)
                return .success(D1Answer(bytes: reply.bytes, share: execution.share))
            }
        } catch let failure as D1Failure {
            return .failure(failure)
        } catch let error as SQLiteError {
            return .failure(connection.failure(error))
        } catch {
            return .failure(D1Failure("\(error)"))
        }
    }

    /// Whether the session has seen more than this snapshot shows.
    private func isBehind(_ session: D1SessionDemand) -> Bool {
        guard case .atLeast(let bookmark) = session else { return false }
        return !bookmark.isSamePlace(as: position.bookmark) && bookmark > position.bookmark
    }
}

extension EmbeddedD1Store: D1ReplicaSource {
    package func replica(of database: String) -> any D1Replica {
        EmbeddedD1Replica { [self] () throws(D1Failure) in try engine(for: database) }
    }
}
