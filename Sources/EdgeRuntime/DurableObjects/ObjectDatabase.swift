internal import Glibc
internal import Interfaces
internal import SQLite
internal import System
internal import TenantSQL

/// The file of one object: its connection, the transaction of the present turn, and how far writes are durable.
///
/// Writes of one turn are one transaction, which is committed at the turn's end without waiting for the disk. A helper thread
/// then makes the log durable, once for all that was committed meanwhile; outputs wait for that (spec: section 2).
final class ObjectDatabase {
    let sqlite: SQLiteConnection
    let authorizer = SQLAuthorizer(isForReader: false)
    private let turns: any ObjectTurns
    private let log: Descriptor
    private(set) var failure: DurableObjectError?
    private var isInTransaction = false
    /// Transactions that go over several turns; the turn's end commits nothing while there is one.
    private var longTransactionCount = 0
    private var savepointCount = 0

    /// How many commits there were, and how many of them are on the disk.
    private(set) var committed: UInt64 = 0
    private(set) var durable: UInt64 = 0
    private var isFlushing = false
    private var waiters: [(sequence: UInt64, continuation: CheckedContinuation<Void, any Error>)] = []

    /// Frames in the log after which it is copied into the file.
    private static let checkpointFrames = 1000

    /// Opens the file at `path`, and makes it if it isn't there.
    init(path: String, turns: any ObjectTurns) throws {
        self.turns = turns
        sqlite = try SQLiteConnection(path: path, .create)
        try sqlite.execute(
            """
            PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;
            CREATE TABLE IF NOT EXISTS _cf_KV (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
            CREATE TABLE IF NOT EXISTS _cf_METADATA (key INTEGER PRIMARY KEY, value);
            """)
        sqlite.setDefensive()
        sqlite.takeOverCheckpoints()
        for (limit, value) in Self.limits { sqlite.setLimit(limit, value) }
        sqlite.setAuthorizer(authorizer)
        log = try FileTree.openFile(path + "-wal", flags: O_RDWR | O_CREAT, mode: 0o600)
    }

    /// Spec: section 3.1.
    private static let limits: [(SQLiteLimit, Int32)] = [
        (.valueBytes, 2_000_000), (.statementBytes, 100_000), (.columns, 100), (.parameters, 100), (.functionArguments, 32),
        (.likePatternBytes, 50), (.expressionDepth, 100), (.compoundSelectTerms, 5), (.triggerDepth, 10),
        (.attachedDatabases, 0), (.instructions, 25_000), (.workerThreads, 0),
    ]

    // MARK: Statements of our own

    /// Runs `body` as ourselves, who may touch the tables that the tenant may not.
    func trusted<Result>(_ body: () throws -> Result) rethrows -> Result {
        authorizer.isTrusted = true
        defer { authorizer.isTrusted = false }
        return try body()
    }

    func run(_ sql: String) throws(DurableObjectError) {
        do throws(SQLiteError) {
            authorizer.isTrusted = true
            defer { authorizer.isTrusted = false }
            try sqlite.execute(sql)
        } catch { throw failed(error) }
    }

    // MARK: Transactions

    /// Before anything is read or written.
    func check() throws(DurableObjectError) {
        if let failure { throw failure }
    }

    /// Before anything is written: from here to the end of the turn, all of it or nothing.
    func beginWriting() throws(DurableObjectError) {
        try check()
        guard !isInTransaction else { return }
        try run("BEGIN IMMEDIATE")
        isInTransaction = true
        turns.atEndOfTurn { [weak self] in self?.endTurn() }
    }

    private func endTurn() {
        guard isInTransaction, longTransactionCount == 0, failure == nil else { return }
        if sqlite.hasUnresolvedForeignKeys {
            return reset(
                DurableObjectError(
                    "Durable Object was reset and rolled back to its last known good state because the application left the "
                        + "database in a state where constraints were violated: FOREIGN KEY constraint failed: SQLITE_CONSTRAINT",
                    isObjectReset: true))
        }
        let before = sqlite.walCommitCount
        do throws(DurableObjectError) { try run("COMMIT") } catch { return reset(error) }
        isInTransaction = false
        guard sqlite.walCommitCount != before else { return wake() }
        committed += 1
        flush()
    }

    /// A part of the transaction that can be taken back alone.
    func beginSavepoint() throws(DurableObjectError) -> Int {
        try beginWriting()
        savepointCount += 1
        try run("SAVEPOINT edge_\(savepointCount)")
        return savepointCount
    }

    func endSavepoint(_ number: Int, keeping isKept: Bool) throws(DurableObjectError) {
        defer { savepointCount = number - 1 }
        try check()
        if !isKept { try run("ROLLBACK TO edge_\(number)") }
        try run("RELEASE edge_\(number)")
    }

    func beginLongTransaction() throws(DurableObjectError) -> Int {
        let number = try beginSavepoint()
        longTransactionCount += 1
        return number
    }

    func endLongTransaction(_ number: Int, keeping isKept: Bool) throws(DurableObjectError) {
        longTransactionCount -= 1
        try endSavepoint(number, keeping: isKept)
        if longTransactionCount == 0 { turns.atEndOfTurn { [weak self] in self?.endTurn() } }
    }

    var isInLongTransaction: Bool { longTransactionCount > 0 }

    // MARK: Durability

    /// Returns when all that was written until now is durable.
    func waitUntilDurable() async throws {
        try check()
        // What the present turn has written is committed with it.
        let sequence = committed + (isInTransaction ? 1 : 0)
        guard durable < sequence else { return }
        try await withCheckedThrowingContinuation { waiters.append((sequence, $0)) }
    }

    private func flush() {
        guard !isFlushing, failure == nil, durable < committed else { return }
        isFlushing = true
        let target = committed
        // The file stays open until then.
        turns.makeDurable(log.rawValue) { [self] error in flushed(target, error) }
    }

    private func flushed(_ target: UInt64, _ error: (any Error)?) {
        isFlushing = false
        guard failure == nil else { return }
        if let error {
            return reset(DurableObjectError("Durable Object storage could not be written: \(error)", isObjectReset: true))
        }
        durable = target
        wake()
        if durable < committed { return flush() }
        if sqlite.walFrameCount >= Self.checkpointFrames, !isInTransaction { checkpoint() }
    }

    /// A turn that wrote nothing in the end made no commit: those that wait for it have nothing to wait for.
    private func wake() {
        let isIdle = durable == committed && !isInTransaction
        let ready = waiters.filter { isIdle || $0.sequence <= durable }
        guard !ready.isEmpty else { return }
        waiters.removeAll { isIdle || $0.sequence <= durable }
        for waiter in ready { waiter.continuation.resume() }
    }

    private func checkpoint() {
        // What can't be copied now is copied the next time.
        _ = try? sqlite.checkpoint(.passive)
    }

    // MARK: Failing

    /// What the library said, in the words that callers get. What took the transaction with it ends the incarnation.
    func failed(_ error: SQLiteError) -> DurableObjectError {
        let failure = DurableObjectError(error.description)
        switch error.code {
        case .full, .inputOutput, .outOfMemory, .interrupted, .corrupt, .notADatabase: reset(failure)
        default: break
        }
        return failure
    }

    /// Nothing of the open transaction stays, nothing can be done any more, and who waits for the disk gets the error.
    func reset(_ error: DurableObjectError) {
        guard failure == nil else { return }
        if isInTransaction, !sqlite.isAutocommit {
            authorizer.isTrusted = true
            // What can't be rolled back now is rolled back by whoever opens the file next.
            _ = try? sqlite.execute("ROLLBACK")
            authorizer.isTrusted = false
        }
        isInTransaction = false
        failure = error
        let ending = waiters
        waiters = []
        for waiter in ending { waiter.continuation.resume(throwing: error) }
        turns.reset(error)
    }
}
