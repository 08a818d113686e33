internal import Interfaces
internal import SQLite
internal import System

/// A connection that only reads, and the calls it has in hand. Belongs to one reader's thread.
final class D1Reader {
    private let surroundings: D1Surroundings
    private let engine: D1Engine
    private let connection: D1Connection

    /// Whether a read transaction is open, which calls taken from the queue in a row share.
    private var isInSnapshot = false
    /// The number of commits that a snapshot, and the position beside it, has seen at least.
    private var sequence: UInt64 = .max
    private var position: D1Position

    /// Answers that wait to be given together: each wakes another thread.
    private var answers: [(D1Call, D1Call.Answer)] = []
    private var firstAnswer = Instant(nanoseconds: 0)
    private var callStart = Instant(nanoseconds: 0)
    /// How often the running statement let us look around: about once per 1000 instructions, 20 to 50 µs.
    private var turns = 0

    private static let answersMax = 32
    private static let answerDelayMax = Duration.microseconds(250)
    private static let turnsBeforeAnswers = 5
    private static let turnsBeforeHelp = 25

    init(_ surroundings: D1Surroundings, engine: D1Engine) throws {
        self.surroundings = surroundings
        self.engine = engine
        connection = try D1Connection(
            path: surroundings.path, role: .reader, limits: surroundings.limits, clock: surroundings.clock,
            writes: surroundings.writes, cancellation: surroundings.cancellation, damage: surroundings.damage)
        position = engine.position
        connection.whileRunning = { [unowned self] in lookAround() }
    }

    /// Runs one call; its answer may wait for `finish`.
    ///
    /// - Parameter hasMore: Whether other calls wait, with which a snapshot can be shared.
    func serve(_ call: D1Call, hasMore: Bool) {
        let now = surroundings.clock.now()
        callStart = now
        turns = 0
        guard now - call.arrival <= surroundings.limits.waitingDuration else {
            return keep(.failure(.waitedTooLong), for: call)
        }
        connection.beginCall(until: now + surroundings.limits.queryDuration, hasWriteLimit: true)
        defer { connection.endCall() }
        do {
            try refreshSnapshot(opening: hasMore || call.work.hasSeveralStatements)
            if case .atLeast(let bookmark)? = call.session,
                !bookmark.isSamePlace(as: position.bookmark), bookmark > position.bookmark
            {
                return keep(.failure(D1Failure("Invalid bookmark: \(bookmark) is in the future", code: 7400)), for: call)
            }
            var execution = D1Execution(
                connection, answers: surroundings.answers, size: position.byteCount, lastRowID: position.lastRowID)
            switch try execution.run(call.work) {
            case .needsWriter: engine.handOver(call)
            case .reply(var reply):
                reply.finish(
                    bookmark: call.session == nil ? nil : position.bookmark.description,
                    region: surroundings.region)
                execution.share?.shrink(to: reply.byteCount)
                keep(.success(D1Answer(bytes: reply.bytes, share: execution.share)), for: call)
            }
        } catch let failure as D1Failure {
            keep(.failure(failure), for: call)
        } catch let error as SQLiteError {
            keep(.failure(connection.failure(error)), for: call)
        } catch {
            keep(.failure(D1Failure("\(error)")), for: call)
        }
        isInSnapshot = !connection.sqlite.isAutocommit
    }

    /// Gives all answers and lets the snapshot go: nothing waits any more.
    func finish() {
        giveAnswers()
        endSnapshot()
    }

    // MARK: Snapshots

    /// Makes sure that what is read next is at least as new as everything acknowledged until now.
    private func refreshSnapshot(opening: Bool) throws(SQLiteError) {
        let newest = engine.commitCount
        if newest != sequence {
            endSnapshot()
            sequence = newest
            // Read before the snapshot begins, which is with its first statement: so it is never newer than
            // the snapshot.
            position = engine.position
            connection.sqlite.lastInsertRowID = position.lastRowID
        }
        guard opening, !isInSnapshot else { return }
        try connection.control(connection.begin)
        isInSnapshot = true
    }

    private func endSnapshot() {
        guard isInSnapshot else { return }
        // Ending a read transaction has nothing to write and nothing to fail at.
        try? connection.control(connection.commit)
        isInSnapshot = !connection.sqlite.isAutocommit
    }

    // MARK: Answers

    private func keep(_ answer: D1Call.Answer, for call: D1Call) {
        if answers.isEmpty { firstAnswer = callStart }
        answers.append((call, answer))
        if case .success(let answer) = answer, answer.bytes.count > 16 << 10 { return giveAnswers() }
        if answers.count >= Self.answersMax || callStart - firstAnswer > Self.answerDelayMax { giveAnswers() }
    }

    private func giveAnswers() {
        guard !answers.isEmpty else { return }
        for (call, answer) in answers { call.answer(answer) }
        answers.removeAll(keepingCapacity: true)
    }

    /// A statement runs for some time already: nobody should wait behind it.
    private func lookAround() {
        turns += 1
        if turns == Self.turnsBeforeAnswers { giveAnswers() }
        if turns % Self.turnsBeforeHelp == 0 { engine.callForHelp() }
    }
}

extension D1Work {
    /// Whether its statements have to see one state.
    var hasSeveralStatements: Bool {
        if case .each = self { return true }
        guard case .query(let statements, _) = self else { return false }
        return statements.count != 1 || statements[0].sql.utf8.contains(UInt8(ascii: ";"))
    }
}
