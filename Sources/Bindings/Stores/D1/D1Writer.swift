internal import Interfaces
internal import Observability
internal import SQLite
internal import Stores
internal import System
internal import TenantSQL

/// The one connection that changes a database: runs waiting calls as groups, commits each group once, copies
/// the log into the file. Belongs to the writer's thread.
final class D1Writer {
    let surroundings: D1Surroundings
    private let limits: D1Limits
    private(set) var connection: D1Connection
    var timeline: D1Timeline
    /// The past; `nil` when none is kept.
    private(set) var archive: HistoryArchive?
    private var log: LogFile?
    /// Frames in the log when it was last copied; the log starts over at some commit after that.
    private var framesCopied = 0
    /// What the connection's commits and the log's frames were at the last commit that changed something.
    private var lastCommit: UInt64 = 0
    private var lastFrames = 0
    var position: D1Position
    /// Frames of the log that are committed, also after the connection was opened again.
    private var committedFrames = 0
    /// Makes a new position known to the readers; called before anyone gets an answer.
    private let publish: (D1Position) -> Void

    /// Opens the database, making it when it is missing, and brings what its log holds into the file.
    init(_ surroundings: D1Surroundings, publish: @escaping (D1Position) -> Void) throws {
        self.surroundings = surroundings
        self.publish = publish
        limits = surroundings.limits
        if let fault = surroundings.faults.failure(.open) { throw fault }
        timeline = try D1Timeline(path: surroundings.timelinePath, surroundings.faults)
        let start = D1Bookmark(generation: timeline.generation, segment: timeline.segment, frame: 0)
        // Before there is a connection: what the log holds is what SQLite is about to find.
        archive = try Self.openArchive(surroundings, start)
        if archive == nil, limits.timeTravel > .zero {
            // SQLite's locks on the file go when anybody closes it: so it is copied while no connection is open.
            try Self.copyLog(surroundings)
            try HistoryArchive.begin(surroundings.history, at: start)
            archive = try HistoryArchive(surroundings.history)
        }
        connection = try Self.connect(surroundings)
        // Also the new file's name is durable before anything in it is acknowledged.
        try FileSystem.synchronizeDirectory(FileSystem.parent(of: surroundings.path), surroundings.faults)
        try connection.sqlite.checkpoint(.truncate)
        // Commits that nobody had noted are in this segment: what comes is in a later one.
        try timeline.advance()
        position = D1Position(
            bookmark: D1Bookmark(generation: timeline.generation, segment: timeline.segment, frame: 0),
            lastRowID: 0, byteCount: try connection.databaseByteCount())
        publish(position)
    }

    /// Makes the file when it is missing, and brings all of the log into it.
    private static func copyLog(_ surroundings: D1Surroundings) throws(SQLiteError) {
        try connect(surroundings).sqlite.checkpoint(.truncate)
    }

    private static func connect(_ surroundings: D1Surroundings) throws(SQLiteError) -> D1Connection {
        try D1Connection(
            path: surroundings.path, role: .writer, limits: surroundings.limits, clock: surroundings.clock,
            writes: surroundings.writes, cancellation: surroundings.cancellation, damage: surroundings.damage)
    }

    /// The past as it was left, with all that the log holds.
    private static func openArchive(_ surroundings: D1Surroundings, _ start: D1Bookmark) throws -> HistoryArchive? {
        guard surroundings.limits.timeTravel > .zero, FileSystem.exists(surroundings.path) else {
            // A past with a gap is none; that of another database of this name neither.
            try HistoryArchive.remove(surroundings.archivePath + "/", ownsDirectory: true, surroundings.faults)
            return nil
        }
        guard let archive = try HistoryArchive(surroundings.history) else { return nil }
        try archive.takeUp(upTo: nil, names: .noted(fallback: start))
        try archive.prune(most: .max)
        return archive
    }

    /// Copies what is left of the log. The connection closes with the object.
    func close() {
        guard connection.sqlite.walFrameCount > 0 else { return }
        checkpoint(.passive)
    }

    // MARK: Groups

    /// Runs and answers all `calls`, in order, with as few commits as possible.
    func run(_ calls: [D1Call]) {
        let now = surroundings.clock.now()
        var live: [D1Call] = []
        live.reserveCapacity(calls.count)
        for call in calls {
            if now - call.arrival > limits.waitingDuration {
                call.answer(.failure(.waitedTooLong))
            } else {
                live.append(call)
            }
        }
        // The last group of the list is the next to run.
        var groups: [[D1Call]] = live.reduce(into: []) { groups, call in
            if call.work.isJob || groups.last?.last?.work.isJob != false { groups.append([]) }
            groups[groups.count - 1].append(call)
        }
        groups.reverse()
        while let group = groups.popLast() {
            if !group.isEmpty { groups += runGroup(group) }
        }
    }

    /// Runs `calls` in one transaction, commits and answers.
    ///
    /// - Returns: groups of calls that still have to run, the next one last.
    private func runGroup(_ calls: [D1Call]) -> [[D1Call]] {
        if case .job(let job) = calls[0].work {
            do {
                try job.run(self)
                calls[0].answer(.success(D1Answer(bytes: [], share: nil)))
            } catch { calls[0].answer(.failure(failure(error))) }
            return []
        }
        do throws(SQLiteError) {
            if let fault = surroundings.faults.failure(.begin) { throw fault }
            try connection.fit(to: surroundings.usage.byteCountMax(of: surroundings.path))
            try connection.control(connection.begin)
        } catch {
            fail(calls, error, while: "begin")
            return []
        }
        var replies: [Result<Reply, D1Failure>] = []
        replies.reserveCapacity(calls.count)
        var replyByteCount = 0
        for (index, call) in calls.enumerated() {
            let result = run(call, isAlone: calls.count == 1)
            if connection.sqlite.isAutocommit {
                // SQLite took the whole transaction back, and the calls before with it: they run again
                // without the culprit.
                connection.knownSize = nil
                if case .failure(let failure) = result {
                    call.answer(.failure(failure))
                } else {
                    call.answer(.failure(.closed))
                }
                return [Array(calls[(index + 1)...]), Array(calls[..<index])]
            }
            if case .success(let reply) = result { replyByteCount += reply.writer.byteCount }
            replies.append(result)
            if replyByteCount > limits.replyBytesMax { break }
        }
        let rest = Array(calls[replies.count...])
        return [rest] + commit(Array(calls[..<replies.count]), replies)
    }

    /// What a call is answered with once it is committed.
    private struct Reply {
        var writer: D1ReplyWriter
        var share: Budget.Share?
    }

    /// Runs one call inside the open transaction. What a failed call did is taken back.
    ///
    /// - Parameter isAlone: Whether no other call is in the transaction, which then needs no savepoint and is
    ///   rolled back as a whole.
    private func run(_ call: D1Call, isAlone: Bool) -> Result<Reply, D1Failure> {
        if case .atLeast(let bookmark)? = call.session, isAhead(bookmark) {
            return .failure(D1Failure("Invalid bookmark: \(bookmark) is in the future", code: 7400))
        }
        let isScript = if case .script = call.work { true } else { false }
        connection.beginCall(
            until: surroundings.clock.now() + (isScript ? limits.scriptDuration : limits.queryDuration),
            hasWriteLimit: !isScript)
        defer { connection.endCall() }
        let lastRowID = connection.sqlite.lastInsertRowID
        var execution = D1Execution(connection, answers: surroundings.answers)
        do {
            if !isAlone { try connection.control(connection.savepoint) }
            let outcome = try execution.run(call.work)
            try settle(execution)
            if !isAlone { try connection.control(connection.releaseSavepoint) }
            guard case .reply(let reply) = outcome else {
                preconditionFailure("the writer's connection may run every statement")
            }
            return .success(Reply(writer: reply, share: execution.share))
        } catch {
            connection.knownSize = nil
            takeBack(isAlone: isAlone)
            connection.sqlite.lastInsertRowID = lastRowID
            if execution.setPragmas { try? connection.resetPragmas() }
            return .failure(failure(error))
        }
    }

    /// What must hold at the end of a call as if it were committed now, and what doesn't outlast it.
    private func settle(_ execution: D1Execution) throws {
        guard !connection.sqlite.hasUnresolvedForeignKeys else { throw D1Failure.foreignKey }
        if execution.alteredTables, try connection.hasReservedNames() { throw D1Failure.notAuthorized }
        if execution.setPragmas { try connection.resetPragmas() }
    }

    private func takeBack(isAlone: Bool) {
        guard !connection.sqlite.isAutocommit else { return }
        do {
            if isAlone {
                try connection.control(connection.rollback)
            } else {
                try connection.control(connection.rollbackToSavepoint)
                try connection.control(connection.releaseSavepoint)
            }
        } catch {
            surroundings.logger.log(
                .error, "d1: a failed call could not be taken back", [("error", "\(error)")])
            try? connection.control(connection.rollback)
            if !connection.sqlite.isAutocommit { reopen() }
        }
    }

    // MARK: Commit

    private func commit(_ calls: [D1Call], _ replies: [Result<Reply, D1Failure>]) -> [[D1Call]] {
        // Full text indexes write while they commit; the last call's time and space are not theirs.
        connection.beginCall(until: surroundings.clock.now() + limits.queryDuration, hasWriteLimit: false)
        do throws(SQLiteError) {
            if let fault = surroundings.faults.failure(.commit) { throw fault }
            try connection.control(connection.commit)
        } catch {
            connection.knownSize = nil
            if !connection.sqlite.isAutocommit { try? connection.control(connection.rollback) }
            if error.code == .constraint, calls.count > 1 {
                // One of them is at fault. Alone, only that one fails.
                return calls.reversed().map { [$0] }
            }
            fail(calls, error, while: "commit")
            return []
        }
        advancePosition()
        for (call, result) in zip(calls, replies) {
            switch result {
            case .failure(let failure): call.answer(.failure(failure))
            case .success(var reply):
                reply.writer.finish(
                    bookmark: call.session == nil ? nil : position.bookmark.description,
                    region: surroundings.region)
                reply.share?.shrink(to: reply.writer.byteCount)
                call.answer(.success(D1Answer(bytes: reply.writer.bytes, share: reply.share)))
            }
        }
        checkpointWhenDue()
        return []
    }

    func advancePosition() {
        position.lastRowID = connection.sqlite.lastInsertRowID
        position.byteCount = (try? connection.databaseByteCount()) ?? position.byteCount
        // A commit that changed nothing leaves the log, and time, where they were.
        if connection.sqlite.walCommitCount != lastCommit {
            lastCommit = connection.sqlite.walCommitCount
            advanceBookmark(frames: connection.sqlite.walFrameCount)
        }
        publish(position)
    }

    private func advanceBookmark(frames: Int) {
        defer { lastFrames = frames }
        do {
            // The log has started over: frames count from the beginning again, so it must be another segment's.
            if frames <= lastFrames, timeline.segment == position.bookmark.segment { try timeline.advance() }
        } catch {
            // The old bookmark stays, which is never in the future; the next commit tries again.
            surroundings.logger.log(.warning, "d1: no new segment", [("error", "\(error)")])
            return
        }
        position.bookmark.generation = timeline.generation
        position.bookmark.segment = timeline.segment
        position.bookmark.frame = UInt32(clamping: frames)
        position.bookmark.digest = digest(ofFrame: frames)
        committedFrames = frames
        archive?.note(position.bookmark)
    }

    private func digest(ofFrame frame: Int) -> [UInt8] {
        if log == nil { log = try? LogFile(surroundings.logPath) }
        return log?.digest(ofFrame: frame, pageByteCount: connection.pageByteCount) ?? D1Bookmark.zeroDigest
    }

    func isAhead(_ bookmark: D1Bookmark) -> Bool {
        !bookmark.isSamePlace(as: position.bookmark) && bookmark > position.bookmark
    }

    // MARK: Checkpoints

    /// Brings the archive up to what is committed.
    func takeUp() throws {
        try archive?.takeUp(upTo: committedFrames, names: .noted(fallback: position.bookmark))
    }

    func checkpointWhenDue() {
        let frames = connection.sqlite.walFrameCount
        if frames < framesCopied { framesCopied = 0 }  // The log has started over.
        guard frames - framesCopied >= limits.checkpointFrames else { return }
        let isCopied = checkpoint(.passive)
        framesCopied = frames
        guard isCopied, frames >= limits.logFramesMax else { return }
        // Makes the log start over now. Not worth waiting for a reader, behind whom all writers would wait: a later
        // turn tries again, and so does each commit by itself.
        connection.sqlite.setBusyTimeout(milliseconds: 0)
        defer { connection.sqlite.setBusyTimeout(milliseconds: D1Connection.busyMilliseconds) }
        do throws(SQLiteError) { try connection.sqlite.checkpoint(.restart) } catch {
            guard error.code != .busy else { return }
            surroundings.logger.log(.warning, "d1: the log could not start over", [("error", "\(error)")])
        }
    }

    /// Copies the log into the file, once the archive has it: all of it is durable, and nothing is appended meanwhile.
    ///
    /// - Returns: whether all of it is in the file now.
    @discardableResult
    private func checkpoint(_ kind: SQLiteCheckpoint) -> Bool {
        do {
            try timeline.advance()
            if let fault = surroundings.faults.failure(.checkpoint) { throw fault }
            try keepLog()
            let (frames, copied) = try connection.sqlite.checkpoint(kind)
            do { try archive?.prune(most: 2) } catch {
                surroundings.logger.log(.warning, "d1: old history was not let go", [("error", "\(error)")])
            }
            return frames == copied
        } catch {
            // Nothing is lost: the log goes on growing, and the next turn tries again.
            surroundings.logger.log(.warning, "d1: checkpoint failed", [("error", "\(error)")])
            return false
        }
    }

    /// Takes up the log. A disk that refuses that must not make the log grow without end: then the past is let go.
    private func keepLog() throws {
        do { try takeUp() } catch {
            guard connection.sqlite.walFrameCount >= 4 * limits.logFramesMax else { throw error }
            surroundings.logger.log(.error, "d1: the history can't be kept and begins anew", [("error", "\(error)")])
            try HistoryArchive.remove(surroundings.archivePath + "/", ownsDirectory: true, surroundings.faults)
            archive = nil
        }
    }

    // MARK: Errors

    private func failure(_ error: any Error) -> D1Failure {
        switch error {
        case let failure as D1Failure: failure
        case let error as SQLiteError: connection.failure(error)
        case let error as HistoryError: D1Failure(error)
        default: D1Failure("\(error)")
        }
    }

    /// Answers all calls of a transaction that could not begin or commit.
    private func fail(_ calls: [D1Call], _ error: SQLiteError, while operation: String) {
        surroundings.logger.log(
            .error, "d1: \(operation) failed", [("error", "\(error)"), ("calls", "\(calls.count)")])
        let failure = connection.failure(error)
        for call in calls { call.answer(.failure(failure)) }
        // After a failed fsync the kernel may have dropped pages that SQLite believes written: read the log
        // anew.
        if error.code == .inputOutput || !connection.sqlite.isAutocommit { reopen() }
    }

    /// Takes back a script that failed, whatever is left of its transaction.
    func takeBack() {
        connection.knownSize = nil
        if !connection.sqlite.isAutocommit { try? connection.control(connection.rollback) }
        try? connection.resetPragmas()
        if !connection.sqlite.isAutocommit { reopen() }
    }

    func reopen() {
        do {
            connection = try Self.connect(surroundings)
            log = nil
            framesCopied = 0
            lastCommit = 0
            lastFrames = 0
            try timeline.advance()
        } catch {
            surroundings.logger.log(.error, "d1: could not be opened again", [("error", "\(error)")])
        }
    }
}
