internal import Interfaces
internal import SQLite
internal import Stores
internal import System

/// A connection as D1 wants it: limits, authorizer, time limit, prepared statements. Belongs to one thread, a
/// reader's or the writer's.
final class D1Connection {
    enum Role { case reader, writer }
    static let busyMilliseconds: Int32 = 5000

    let role: Role
    private let path: String
    private let cancellation: D1Cancellation
    private let damage: D1DamageReport
    private var cancellationBefore: UInt64 = 0
    private var isCancelled: Bool { cancellation.current != cancellationBefore }
    let sqlite: SQLiteConnection
    let authorizer: D1Authorizer
    let limits: D1Limits
    let clock: any NodeClock
    var statements: SQLiteStatementCache<D1Statement>
    /// When the call that runs now has had its time.
    var deadline: Instant
    /// Called now and then while a statement runs.
    var whileRunning: (() -> Void)?
    let pageByteCount: Int64
    /// What `databaseByteCount` found; `nil` once something may have changed it. For the writer only.
    var knownSize: Int64?

    // Our own statements; run through `control`, which the authorizer trusts.
    let begin: SQLiteStatement
    let commit: SQLiteStatement
    let rollback: SQLiteStatement
    let savepoint: SQLiteStatement
    let releaseSavepoint: SQLiteStatement
    let rollbackToSavepoint: SQLiteStatement
    private let pageCount: SQLiteStatement
    private let recursiveTriggers: Bool

    /// Opens the file at `path`; the writer makes it and puts it into WAL mode.
    init(
        path: String, role: Role, limits: D1Limits, clock: any NodeClock, writes: Budget,
        cancellation: D1Cancellation, damage: D1DamageReport
    ) throws(SQLiteError) {
        self.damage = damage
        self.cancellation = cancellation
        self.role = role
        self.writes = writes
        authorizer = D1Authorizer(isForReader: role == .reader)
        self.path = path
        self.limits = limits
        self.clock = clock
        statements = SQLiteStatementCache(capacity: limits.preparedStatementsMax)
        deadline = clock.now() + limits.queryDuration
        sqlite = try SQLiteConnection(path: path, role == .writer ? .create : .readOnly)
        sqlite.setNoCheckpointOnClose()
        // Locks are held by our own threads only, and briefly: by a reader while the writer restarts the log,
        // for one.
        sqlite.setBusyTimeout(milliseconds: Self.busyMilliseconds)
        if role == .writer {
            try sqlite.execute("PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL")
            sqlite.takeOverCheckpoints()
        }
        // Bounds each connection's page cache, in KiB. Sorts and temporary trees spill into files without a name: in
        // memory, one statement could take all there is.
        try sqlite.execute("PRAGMA cache_size=-4096; PRAGMA temp_store=FILE; PRAGMA foreign_keys=ON")
        // A log that starts over is cut to this, so that one long transaction doesn't keep the disk for ever.
        try sqlite.execute("PRAGMA journal_size_limit=\(Int64(limits.logFramesMax) * 4096)")
        pageByteCount = try sqlite.number("PRAGMA page_size")
        if role == .writer { try sqlite.execute("PRAGMA max_page_count=\(limits.databaseBytesMax / max(1, pageByteCount))") }
        pagesMax = limits.databaseBytesMax / max(1, pageByteCount)
        recursiveTriggers = try sqlite.number("PRAGMA recursive_triggers") != 0
        begin = try sqlite.prepare(role == .writer ? "BEGIN IMMEDIATE" : "BEGIN", persistent: true)
        commit = try sqlite.prepare("COMMIT", persistent: true)
        rollback = try sqlite.prepare("ROLLBACK", persistent: true)
        savepoint = try sqlite.prepare("SAVEPOINT call", persistent: true)
        releaseSavepoint = try sqlite.prepare("RELEASE call", persistent: true)
        rollbackToSavepoint = try sqlite.prepare("ROLLBACK TO call", persistent: true)
        pageCount = try sqlite.prepare("PRAGMA page_count", persistent: true)
        confine()
    }

    /// Sets what a tenant's SQL is confined by.
    private func confine() {
        sqlite.setDefensive()
        sqlite.setLimit(.statementBytes, Int32(limits.statementBytesMax))
        sqlite.setLimit(.parameters, Int32(limits.parametersMax))
        sqlite.setLimit(.columns, Int32(limits.columnsMax))
        sqlite.setLimit(.expressionDepth, Int32(limits.expressionDepthMax))
        sqlite.setLimit(.compoundSelectTerms, Int32(limits.compoundSelectTermsMax))
        sqlite.setLimit(.instructions, Int32(limits.instructionsMax))
        sqlite.setLimit(.functionArguments, Int32(limits.functionArgumentsMax))
        sqlite.setLimit(.likePatternBytes, Int32(limits.likePatternBytesMax))
        sqlite.setLimit(.triggerDepth, Int32(limits.triggerDepthMax))
        sqlite.setLimit(.attachedDatabases, 0)
        sqlite.setLimit(.workerThreads, 0)
        // The library's limit is for a whole row: the largest value must fit beside the row's header and its
        // key. Values are checked by themselves when they are bound.
        sqlite.setLimit(.valueBytes, Int32(limits.valueBytesMax + 1024))
        sqlite.setAuthorizer(authorizer)
        sqlite.setProgressHandler(every: 1000) { [unowned self] in
            whileRunning?()
            return clock.now() < deadline && !isCancelled && mayGoOnWriting()
        }
    }

    // MARK: What one call may put on the disk

    private var hasWriteLimit = false
    /// What this thread had written when the call had run for a moment: short ones don't pay for the question.
    private var bytesWrittenBefore: Int64?
    private static let turnsBeforeWrites = 16
    private static let turnsBetweenLooks = 256
    /// What the call has taken of what all calls of the tenant may write at a time.
    private let writes: Budget
    private var writesShare: Budget.Share?
    private static let freeWriteBytes = 64 << 20
    private var turns = 0
    /// Whether the last call was stopped because of what it wrote.
    private var hasWrittenTooMuch = false

    /// Begins the time and the space of a call.
    func beginCall(until deadline: Instant, hasWriteLimit: Bool) {
        self.deadline = deadline
        cancellationBefore = cancellation.current
        turns = 0
        hasWrittenTooMuch = false
        self.hasWriteLimit = hasWriteLimit
        bytesWrittenBefore = nil
    }

    /// Temporary files are gone by now.
    func endCall() { writesShare = nil }

    /// Temporary files have no name and no size that can be asked for: what the thread writes tells. Looked at now
    /// and then, since it costs a few system calls.
    private func mayGoOnWriting() -> Bool {
        turns &+= 1
        guard hasWriteLimit else { return true }
        if turns == Self.turnsBeforeWrites { bytesWrittenBefore = ThreadWrites.byteCount() }
        guard turns % Self.turnsBetweenLooks == 0, let before = bytesWrittenBefore else { return true }
        guard let now = ThreadWrites.byteCount() else { return true }
        if now - before <= limits.writtenBytesMax, takeWrites(Int(now - before)) { return true }
        hasWrittenTooMuch = true
        return false
    }

    private func takeWrites(_ written: Int) -> Bool {
        guard written > max(Self.freeWriteBytes, writesShare?.amount ?? 0) else { return true }
        let wanted = written + Self.freeWriteBytes
        guard wanted <= writes.total else { return false }
        if let writesShare { return writesShare.grow(to: wanted) }
        writesShare = writes.tryAcquire(wanted)
        return writesShare != nil
    }

    /// Pages that the database may have, when it was said last.
    private var pagesMax: Int64

    /// Lets the database become so large. Costs a comparison when it may already; for the writer, outside of a transaction.
    func fit(to byteCountMax: Int64) throws(SQLiteError) {
        let pages = max(1, byteCountMax / max(1, pageByteCount))
        guard pages != pagesMax else { return }
        authorizer.isTrusted = true
        defer { authorizer.isTrusted = false }
        // A database that is larger already stays as it is, and can't grow.
        try sqlite.execute("PRAGMA max_page_count=\(pages)")
        pagesMax = pages
    }

    // MARK: Our own statements

    func control(_ statement: SQLiteStatement) throws(SQLiteError) {
        authorizer.isTrusted = true
        defer { authorizer.isTrusted = false }
        defer { statement.reset() }
        while try statement.step() {}
    }

    /// Bytes of the database as this connection sees it now.
    func databaseByteCount() throws(SQLiteError) -> Int64 {
        if let knownSize { return knownSize }
        authorizer.isTrusted = true
        defer { authorizer.isTrusted = false }
        defer { pageCount.reset() }
        guard try pageCount.step() else { return 0 }
        let size = pageCount.integer(0) * pageByteCount
        knownSize = size
        return size
    }

    /// Gives all pragmas the values that a call finds.
    func resetPragmas() throws(SQLiteError) {
        authorizer.isTrusted = true
        defer { authorizer.isTrusted = false }
        try sqlite.execute(
            """
            PRAGMA defer_foreign_keys=0; PRAGMA case_sensitive_like=0; PRAGMA ignore_check_constraints=0;
            PRAGMA legacy_alter_table=0; PRAGMA reverse_unordered_selects=0;
            PRAGMA recursive_triggers=\(recursiveTriggers ? 1 : 0)
            """)
    }

    /// Whether a table, index, view or trigger has a name that belongs to the product.
    func hasReservedNames() throws(SQLiteError) -> Bool {
        authorizer.isTrusted = true
        defer { authorizer.isTrusted = false }
        return try sqlite.number(
            "SELECT count(*) FROM sqlite_schema WHERE lower(substr(name,1,4))='_cf_' OR lower(substr(tbl_name,1,4))='_cf_'"
        ) > 0
    }

    // MARK: Preparing

    /// Where in the text the last preparation failed; `nil` when it didn't, or nobody knows.
    private(set) var lastPreparationOffset: Int?

    /// Prepares the next statement of `script`; `nil` on a reader that may not even prepare it.
    ///
    /// - Throws: in D1's words.
    func prepare(_ script: inout SQLiteScript, persistent: Bool) throws(D1Failure) -> D1Statement? {
        // The library checks VACUUM only when it runs, and then says something else.
        guard script.nextKeyword != "VACUUM" else { throw .notAuthorized }
        authorizer.notes = D1Authorizer.Notes()
        lastPreparationOffset = nil
        do {
            guard let statement = try sqlite.prepare(&script, persistent: persistent) else {
                throw D1Failure("SQL code did not contain a statement.")
            }
            return D1Statement(statement, notes: authorizer.notes)
        } catch let error as SQLiteError {
            lastPreparationOffset = error.offset
            if role == .reader, authorizer.notes.setsPragma || authorizer.notes.writesByPragma { return nil }
            guard !authorizer.notes.refusedTransaction else { throw .transaction }
            throw failure(error)
        } catch let failure as D1Failure {
            throw failure
        } catch {
            throw D1Failure("\(error)")
        }
    }

    /// What a tenant is told of an error.
    func failure(_ error: SQLiteError) -> D1Failure {
        damage.note(error)
        return switch error.code {
        case .interrupted where isCancelled: .closed
        case .interrupted: hasWrittenTooMuch ? .exceededMemory : .exceededTime
        case .busy, .locked: .storageTimeout
        case .outOfMemory: .exceededMemory
        // Full disk or full database? SQLite says the same of both.
        case .full where FileSystem.freeByteCount(at: path) > 1 << 20: .exceededSize
        default: D1Failure(error)
        }
    }
}

extension SQLiteConnection {
    /// The first value of the first row of `text`, which must have one.
    func number(_ text: String) throws(SQLiteError) -> Int64 {
        let statement = try prepare(text)
        guard try statement.step() else { return 0 }
        return statement.integer(0)
    }
}

/// A prepared statement with what D1 needs to know of it.
final class D1Statement {
    let sqlite: SQLiteStatement
    let notes: D1Authorizer.Notes
    /// As `D1ReplyWriter` wants them.
    private(set) var columns: [UInt8]
    private(set) var columnCount: Int
    private(set) var profile: D1StatementProfile?
    private var preparedAgain = 0

    init(_ statement: SQLiteStatement, notes: D1Authorizer.Notes) {
        sqlite = statement
        self.notes = notes
        columnCount = statement.columnCount
        columns = Self.columns(of: statement)
    }

    /// Whether a reader may run it: it writes nothing and changes nothing in its connection.
    var isForReaders: Bool { sqlite.isReadOnly && !notes.setsPragma && !notes.writesByPragma }

    /// Brings columns and profile up to date after the library has prepared the statement again by itself.
    func refresh() {
        let count = sqlite.counter(.preparedAgain)
        guard count != preparedAgain else { return }
        preparedAgain = count
        columnCount = sqlite.columnCount
        columns = Self.columns(of: sqlite)
        profile = nil
    }

    func prepareProfile(on connection: D1Connection) { _ = profile(on: connection) }

    func profile(on connection: D1Connection) -> D1StatementProfile {
        if let profile { return profile }
        var fresh = D1StatementProfile()
        if !sqlite.isExplanation {
            connection.authorizer.isTrusted = true
            fresh = connection.sqlite.profile(sqlite.text)
            connection.authorizer.isTrusted = false
        }
        profile = fresh
        return fresh
    }

    private static func columns(of statement: SQLiteStatement) -> [UInt8] {
        D1ReplyWriter.encodeColumns((0..<statement.columnCount).map { statement.columnName($0) })
    }
}
