internal import Glibc
internal import Interfaces
internal import SQLite
internal import System
internal import TenantSQL

/// The file of one object: its connection, the transaction of the present turn, and how far writes are durable.
///
/// Writes of one turn are one transaction, which is committed at the turn's end without waiting for the disk. A helper thread
/// then makes the log durable, once for all that was committed meanwhile; outputs wait for that (spec: section 2).
///
/// The connection comes and goes (`OpenDatabases`), without anybody seeing it: it may end between two turns while no cursor is read,
/// and whoever uses the storage next has a new one. What stays for the object's life is the file's lock.
final class ObjectDatabase {
    private(set) var connection: SQLiteConnection?
    let authorizer = SQLAuthorizer(isForReader: false)
    let turns: any ObjectTurns
    let path: String
    private let lock: ObjectFileLock
    /// `nil` when none is kept.
    let history: ObjectHistory?
    private let databases: OpenDatabases
    /// When it was used last, as `databases` counts.
    var lastUse: UInt64 = 0
    /// There while there is a connection, and until all commits are durable.
    private(set) var log: ObjectLog?
    /// What the tenant's code sees of the connection, from the end of one to the beginning of the next.
    private var memory: ConnectionMemory?
    /// Set once, by the storage: its statements end with the connection.
    weak var sql: SQLStorage?
    /// The tenant's code has changed a setting of the connection.
    var hasSettings = false
    private(set) var failure: DurableObjectError?
    private(set) var isInTransaction = false
    /// Set by the storage; there until the end.
    var alarms: ObjectAlarms?
    /// Our own that nobody uses now, by their text.
    private var statements: [String: SQLiteStatement] = [:]
    private static let statementsMax = 32
    /// Goes up with every change of what tables there are, and with what takes changes back.
    var schema = 0
    /// Transactions that go over several turns; the turn's end commits nothing while there is one.
    private var longTransactionCount = 0
    private var savepointCount = 0

    /// How many commits there were, and how many of them are on the disk.
    private(set) var committed: UInt64 = 0
    private(set) var durable: UInt64 = 0
    private var isFlushing = false
    private var waiters: [(sequence: UInt64, completion: ((any Error)?) -> Void)] = []
    /// The folder's list of files has to be made durable, too.
    private var isFolderSynced = false

    /// Frames in the log after which it is copied into the file.
    private let checkpointFrames: Int
    /// Frames after which that is done even though something is always on its way to the disk; and after which a history that
    /// can't be kept is let go.
    private var overdueFrames: Int { 4 * checkpointFrames }
    var framesMax: Int { 64 * checkpointFrames }
    /// Frames in the log when it was last copied.
    var framesCopied = 0

    /// Opens the file at `path`, and makes it if it isn't there. Goes back to an earlier state where that was asked for.
    ///
    init(path: String, databases: OpenDatabases, past: ObjectStorage.Past, turns: any ObjectTurns) throws {
        self.turns = turns
        self.path = path
        self.databases = databases
        lock = try ObjectFileLock(path)
        checkpointFrames = past.checkpointFrames
        if past.retention > .zero {
            history = ObjectHistory(path: path, file: lock, past, turns: turns)
        } else {
            history = nil
            do { try ObjectHistory.remove(of: path) } catch {
                turns.warn("the history of a durable object could not be removed: \(error)")
            }
        }
        try connect(.create)
        try openHistory()
    }

    /// What tells the object's own data from the tenant's.
    static let ownTables = """
        CREATE TABLE IF NOT EXISTS _cf_KV (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS _cf_METADATA (key INTEGER PRIMARY KEY, value);
        """

    private func connect(_ access: SQLiteConnection.Access) throws {
        let sqlite = try SQLiteConnection(path: path, access)
        // Before anything is read: nothing is copied from the log into the file, or let go, without our knowing.
        sqlite.takeOverCheckpoints()
        sqlite.setNoCheckpointOnClose()
        // Nobody else has the file: SQLite keeps the index of its log in memory, and needs no file for it.
        try sqlite.execute(
            """
            PRAGMA locking_mode = EXCLUSIVE; PRAGMA cache_size = -\(Self.cacheKiB); PRAGMA max_page_count = \(Self.pagesMax);
            PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;
            BEGIN; \(Self.ownTables) COMMIT;
            """)
        sqlite.setDefensive()
        for (limit, value) in Self.limits { sqlite.setLimit(limit, value) }
        try memory?.restore(sqlite)
        sqlite.setAuthorizer(authorizer)
        if log == nil { log = try ObjectLog(path + "-wal") }
        connection = sqlite
        framesCopied = 0
        if sqlite.walCommitCount > 0 { noteCommit() }
        databases.opened(self)
    }

    /// Of pages, for each object.
    private static let cacheKiB = 512
    /// 10 GB in pages of 4,096 bytes.
    private static let pagesMax = 2_441_406

    /// - Note: Only after `check`.
    var sqlite: SQLiteConnection {
        guard let connection else { preconditionFailure("nothing is read or written without a check") }
        return connection
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

    /// One of our own statements, kept for the next time.
    func prepareOwn(_ sql: String) throws(SQLiteError) -> SQLiteStatement {
        if let kept = statements.removeValue(forKey: sql) { return kept }
        return try sqlite.prepare(sql, persistent: true)
    }

    func keepOwn(_ statement: SQLiteStatement) {
        statement.reset()
        statement.clearBindings()
        guard connection != nil, statements.count < Self.statementsMax else { return }
        statements[statement.text] = statement
    }

    // MARK: Transactions

    /// Before anything is read or written.
    func check() throws(DurableObjectError) {
        if let failure { throw failure }
        databases.noteUse(of: self)
        if connection == nil { try reconnect() }
    }

    /// Before anything is written: from here to the end of the turn, all of it or nothing.
    ///
    /// - Parameter confirmed: Whether what leaves the object waits for it.
    func beginWriting(confirmed: Bool = true) throws(DurableObjectError) {
        try check()
        if confirmed { turns.holdOutput(until: committed + 1) }
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
        if let alarms, !alarms.mayCommit({ [weak self] in self?.endTurn() }) { return }
        let before = sqlite.walCommitCount
        do throws(DurableObjectError) { try run("COMMIT") } catch { return reset(error) }
        isInTransaction = false
        committed += 1
        // A turn that has changed nothing in the end has nothing to wait for, but for those before it.
        let isEmpty = sqlite.walCommitCount == before
        if !isEmpty { noteCommit() }
        if isEmpty, durable == committed - 1 { reached(committed) } else { flush() }
        databases.closeExcess()
    }

    /// A part of the transaction that can be taken back alone.
    func beginSavepoint(confirmed: Bool = true) throws(DurableObjectError) -> Int {
        try beginWriting(confirmed: confirmed)
        savepointCount += 1
        try run("SAVEPOINT edge_\(savepointCount)")
        return savepointCount
    }

    func endSavepoint(_ number: Int, keeping isKept: Bool) throws(DurableObjectError) {
        defer { savepointCount = number - 1 }
        try check()
        if !isKept {
            schema += 1
            try run("ROLLBACK TO edge_\(number)")
        }
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

    /// Takes back what the open turn has written, and writes something else in its place, which is durable on return: before a
    /// reset, which nothing comes after.
    func dropTurn(_ body: () throws -> Void) {
        guard failure == nil else { return }
        do {
            try check()
            if isInTransaction { try run("ROLLBACK") }
            try run("BEGIN IMMEDIATE")
            isInTransaction = true
            try body()
            try run("COMMIT")
            isInTransaction = false
            noteCommit()
            try log?.synchronize()
        } catch { reset(DurableObjectError("Durable Object storage could not be written: \(error)", isObjectReset: true)) }
    }

    // MARK: Durability

    /// Returns when all that was written until now is durable.
    func waitUntilDurable() async throws {
        try check()
        // What the present turn has written is committed with it.
        let sequence = committed + (isInTransaction ? 1 : 0)
        guard durable < sequence else { return }
        try await turns.locked { completion in waiters.append((sequence, completion)) }
    }

    private func flush() {
        guard !isFlushing, failure == nil, durable < committed, let log else { return }
        isFlushing = true
        let target = committed
        let stopWatch = turns.after(Self.patience) { [weak self] in self?.reset(Self.tooSlow) }
        turns.makeDurable(log.number, folder: isFolderSynced ? nil : folder) { [self] error in
            stopWatch()
            // The file stays open until now.
            withExtendedLifetime(log) { flushed(target, error) }
        }
    }

    private var folder: String { path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "." }

    /// Spec: section 2.
    private static let patience = Duration.seconds(30)
    private static let tooSlow = DurableObjectError(
        "Durable Object storage operation exceeded timeout which caused object to be reset.", isOverloaded: true,
        isObjectReset: true)

    private func flushed(_ target: UInt64, _ error: (any Error)?) {
        isFlushing = false
        guard failure == nil else { return }
        if let error {
            return reset(DurableObjectError("Durable Object storage could not be written: \(error)", isObjectReset: true))
        }
        isFolderSynced = true
        reached(target)
        if let connection, !isInTransaction {
            let frames = connection.walFrameCount
            // The log has started over.
            if frames < framesCopied { framesCopied = 0 }
            let due = durable < committed ? overdueFrames : checkpointFrames
            if frames - framesCopied >= due { checkpoint(.passive) }
        }
        if durable < committed { return flush() }
        databases.closeExcess()
    }

    private func reached(_ commit: UInt64) {
        durable = commit
        if connection == nil, durable == committed { log = nil }
        let ready = waiters.filter { $0.sequence <= commit }
        waiters.removeAll { $0.sequence <= commit }
        turns.commitIsDurable(commit)
        for waiter in ready { waiter.completion(nil) }
        alarms?.committed()
        changed()
    }

    /// Ends the connection: all that is not committed is gone, and cursors that are still held give nothing any more.
    ///
    /// - Parameter error: What later calls get.
    func close(_ error: DurableObjectError) {
        if failure == nil { failure = error }
        isInTransaction = false
        statements = [:]
        connection = nil
        log = nil
        history?.disconnect()
        alarms = nil
        databases.closed(self)
        lock.release()
        let ending = waiters
        waiters = []
        for waiter in ending { waiter.completion(error) }
        changed()
    }

    // MARK: Without a connection

    /// Whether the connection can end without anybody seeing it. What was committed is in the log, which stays open until it is
    /// durable; but a log that is due to be copied into the file waits for that first.
    var isAtRest: Bool {
        guard let connection, failure == nil, !isInTransaction, sql?.hasOpenCursors != true else { return false }
        return durable == committed || connection.walFrameCount < checkpointFrames
    }

    /// Ends the connection until the storage is used again. Only while it is at rest.
    func disconnect() {
        guard let connection else { return }
        // The next connection doesn't know how much of the log is in the file already, and would let it grow on.
        if connection.walFrameCount >= checkpointFrames { checkpoint(.truncate) }
        do throws(SQLiteError) {
            authorizer.isTrusted = true
            defer { authorizer.isTrusted = false }
            memory = try ConnectionMemory(of: connection, withSettings: hasSettings)
        } catch { return _ = failed(error) }
        sql?.close()
        statements = [:]
        self.connection = nil
        if durable == committed { log = nil }
        history?.disconnect()
        databases.closed(self)
    }

    private func reconnect() throws(DurableObjectError) {
        do { try connect(.readWrite) } catch {
            let failure = DurableObjectError(
                "Durable Object storage could not be opened again: \(error)", isObjectReset: true)
            reset(failure)
            throw failure
        }
    }

    // MARK: Quiet

    var isQuiet: Bool { !isInTransaction && durable == committed }
    private var changeWaiters: [CheckedContinuation<Void, Never>] = []

    /// Returns when something has become durable, or nothing will any more.
    func nextChange() async { await withCheckedContinuation { changeWaiters.append($0) } }

    func changed() {
        let woken = changeWaiters
        changeWaiters = []
        for waiter in woken { waiter.resume() }
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
        for waiter in ending { waiter.completion(error) }
        changed()
        turns.reset(error)
    }
}
