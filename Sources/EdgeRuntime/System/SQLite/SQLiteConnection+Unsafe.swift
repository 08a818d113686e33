internal import CSQLite

/// One connection to one database file. Belongs to the thread that uses it; see `SQLite.swift`.
@safe package final class SQLiteConnection {
    package enum Access: Sendable { case readOnly, readWrite, create }

    // SAFETY of everything below: `handle` is an open connection from init to deinit, and hooks get this
    // object unretained, which lives longer than the connection that calls them.
    let handle: OpaquePointer
    private var authorizer: (any SQLiteAuthorizer)?
    private var mayContinue: (() -> Bool)?
    private var updateHook: ((SQLiteChange) -> Void)?
    private var preupdateHook: ((SQLiteChange) -> Void)?
    /// Frames in the write-ahead log after the last commit of this connection; 0 before one.
    package private(set) var walFrameCount = 0
    /// Commits of this connection that appended to the log: those that changed something.
    package private(set) var walCommitCount: UInt64 = 0

    /// Opens `path`. SQLite reads nothing of the file before the first statement.
    package init(path: String, _ access: Access) throws(SQLiteError) {
        let flags =
            switch access {
            case .readOnly: SQLITE_OPEN_READONLY
            case .readWrite: SQLITE_OPEN_READWRITE
            case .create: SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
            }
        var opened: OpaquePointer?
        let code = unsafe sqlite3_open_v2(
            path, &opened, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nil)
        guard code == SQLITE_OK, let opened = unsafe opened else {
            let error = unsafe SQLiteError(extendedCode: code, message: String(cString: sqlite3_errstr(code)))
            // A handle that failed to open must be closed too (https://www.sqlite.org/c3ref/open.html).
            unsafe sqlite3_close_v2(opened)
            throw error
        }
        unsafe handle = opened
    }

    deinit { unsafe sqlite3_close_v2(handle) }

    // MARK: Statements

    /// Prepares the next statement of `script`; `nil` when only space and comments are left.
    ///
    /// - Parameter persistent: Whether it will be kept and used many times.
    package func prepare(
        _ script: inout SQLiteScript, persistent: Bool = false
    ) throws(SQLiteError) -> SQLiteStatement? {
        var statement: OpaquePointer?
        var consumed = 0
        let offset = script.offset
        let code = unsafe script.bytes.withUnsafeBufferPointer { bytes -> Int32 in
            guard let base = bytes.baseAddress else { return SQLITE_MISUSE }
            // SAFETY: the text ends with NUL, and `offset` never passes it.
            return unsafe base.withMemoryRebound(to: CChar.self, capacity: bytes.count) { text in
                var tail: UnsafePointer<CChar>?
                let code = unsafe sqlite3_prepare_v3(
                    handle, text + offset, -1, persistent ? UInt32(SQLITE_PREPARE_PERSISTENT) : 0,
                    &statement, &tail)
                unsafe consumed = tail.map { unsafe $0 - (text + offset) } ?? 0
                return code
            }
        }
        guard code == SQLITE_OK else { throw lastError(code) }
        script.offset += consumed
        guard let statement = unsafe statement else { return nil }
        return unsafe SQLiteStatement(owning: statement, of: self)
    }

    /// Prepares a text of one statement; what follows it is ignored.
    package func prepare(_ text: String, persistent: Bool = false) throws(SQLiteError) -> SQLiteStatement {
        var script = SQLiteScript(text)
        guard let statement = try prepare(&script, persistent: persistent) else {
            throw SQLiteError(.misuse, message: "SQL code did not contain a statement.")
        }
        return statement
    }

    /// Runs all statements of `text`, ignoring rows. Stops at the first error; starts no transaction.
    package func execute(_ text: String) throws(SQLiteError) {
        var script = SQLiteScript(text)
        while let statement = try prepare(&script) {
            while try statement.step() {}
        }
    }

    // MARK: State

    /// Whether no transaction is open.
    package var isAutocommit: Bool { unsafe sqlite3_get_autocommit(handle) != 0 }
    /// Rows changed since the connection was opened, those of triggers and foreign key actions included.
    package var totalChanges: Int64 { unsafe sqlite3_total_changes64(handle) }

    package var lastInsertRowID: Int64 {
        get { unsafe sqlite3_last_insert_rowid(handle) }
        set { unsafe sqlite3_set_last_insert_rowid(handle, newValue) }
    }

    /// Whether a commit would fail now because of deferred foreign key constraints.
    package var hasUnresolvedForeignKeys: Bool {
        var current: Int32 = 0
        var highest: Int32 = 0
        let code = unsafe sqlite3_db_status(handle, SQLITE_DBSTATUS_DEFERRED_FKS, &current, &highest, 0)
        return code == SQLITE_OK && current != 0
    }

    /// The error of the call that just returned `code`.
    func lastError(_ code: Int32) -> SQLiteError {
        let extended = unsafe sqlite3_extended_errcode(handle)
        let offset = unsafe sqlite3_error_offset(handle)
        // A call may return an error that it doesn't leave in the connection (misuse, for one).
        guard extended & 0xff == code & 0xff else {
            return unsafe SQLiteError(extendedCode: code, message: String(cString: sqlite3_errstr(code)))
        }
        return unsafe SQLiteError(
            extendedCode: extended, message: String(cString: sqlite3_errmsg(handle)),
            offset: offset >= 0 ? Int(offset) : nil)
    }

    // MARK: Configuration

    /// Sets a limit and returns the one that was in force.
    @discardableResult
    package func setLimit(_ limit: SQLiteLimit, _ value: Int32) -> Int32 {
        unsafe sqlite3_limit(handle, limit.rawValue, value)
    }

    /// Refuses SQL that can corrupt the file: writes to shadow tables, to `sqlite_schema`, odd pragmas
    /// (https://www.sqlite.org/c3ref/c_dbconfig_defensive.html).
    package func setDefensive() {
        unsafe edge_sqlite_configure(handle, SQLITE_DBCONFIG_DEFENSIVE, 1)
    }

    /// Leaves the write-ahead log alone when the last connection of the file is closed.
    package func setNoCheckpointOnClose() {
        unsafe edge_sqlite_configure(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    }

    /// How long to wait for a lock that another connection holds; none by default.
    package func setBusyTimeout(milliseconds: Int32) { unsafe sqlite3_busy_timeout(handle, milliseconds) }

    package func setAuthorizer(_ authorizer: (any SQLiteAuthorizer)?) {
        self.authorizer = authorizer
        guard authorizer != nil else {
            unsafe sqlite3_set_authorizer(handle, nil, nil)
            return
        }
        unsafe sqlite3_set_authorizer(
            handle,
            { context, code, first, second, database, _ in
                guard let context = unsafe context, let action = SQLiteAction(rawValue: code) else {
                    return SQLITE_DENY
                }
                let connection = unsafe Unmanaged<SQLiteConnection>.fromOpaque(context).takeUnretainedValue()
                let request = unsafe SQLiteAuthorization(
                    action: action, first: first.map { unsafe String(cString: $0) },
                    second: second.map { unsafe String(cString: $0) },
                    database: database.map { unsafe String(cString: $0) })
                return connection.authorizer?.allows(request) == false ? SQLITE_DENY : SQLITE_OK
            }, Unmanaged.passUnretained(self).toOpaque())
    }

    /// Calls `mayContinue` about every `instructions` virtual machine steps; `false` interrupts the
    /// statement, which then throws `.interrupted` (and, if it writes, takes the whole transaction with it).
    package func setProgressHandler(every instructions: Int32, _ mayContinue: (() -> Bool)?) {
        self.mayContinue = mayContinue
        guard mayContinue != nil else {
            unsafe sqlite3_progress_handler(handle, 0, nil, nil)
            return
        }
        unsafe sqlite3_progress_handler(
            handle, instructions,
            { context in
                guard let context = unsafe context else { return 0 }
                let connection = unsafe Unmanaged<SQLiteConnection>.fromOpaque(context).takeUnretainedValue()
                return connection.mayContinue?() == false ? 1 : 0
            }, Unmanaged.passUnretained(self).toOpaque())
    }

    /// Turns automatic checkpoints off and keeps `walFrameCount` up to date instead
    /// (https://www.sqlite.org/c3ref/wal_hook.html).
    package func takeOverCheckpoints() {
        unsafe sqlite3_wal_hook(
            handle,
            { context, _, _, frames in
                guard let context = unsafe context else { return SQLITE_OK }
                let connection = unsafe Unmanaged<SQLiteConnection>.fromOpaque(context).takeUnretainedValue()
                connection.walFrameCount = Int(frames)
                connection.walCommitCount &+= 1
                return SQLITE_OK
            }, Unmanaged.passUnretained(self).toOpaque())
    }

    /// Copies frames of the write-ahead log into the database file.
    ///
    /// - Returns: the frames in the log, and how many of them are in the file now.
    /// - Throws: `.busy` when readers or writers are in the way of anything but `passive`.
    @discardableResult
    package func checkpoint(_ kind: SQLiteCheckpoint) throws(SQLiteError) -> (frames: Int, copied: Int) {
        var frames: Int32 = 0
        var copied: Int32 = 0
        let code = unsafe sqlite3_wal_checkpoint_v2(handle, nil, kind.rawValue, &frames, &copied)
        guard code == SQLITE_OK else { throw lastError(code) }
        if kind == .truncate { walFrameCount = 0 }
        return (Int(frames), Int(copied))
    }

    // MARK: Hooks

    /// Tells of each row changed in a rowid table, after the fact
    /// (https://www.sqlite.org/c3ref/update_hook.html). The closure must not use the connection.
    package func setUpdateHook(_ hook: ((SQLiteChange) -> Void)?) {
        updateHook = hook
        guard hook != nil else {
            unsafe sqlite3_update_hook(handle, nil, nil)
            return
        }
        unsafe sqlite3_update_hook(
            handle,
            { context, operation, _, table, rowID in
                guard let context = unsafe context, let table = unsafe table else { return }
                let connection = unsafe Unmanaged<SQLiteConnection>.fromOpaque(context).takeUnretainedValue()
                connection.updateHook?(
                    SQLiteChange(
                        operation: SQLiteConnection.operation(operation),
                        table: unsafe String(cString: table), rowID: rowID))
            }, Unmanaged.passUnretained(self).toOpaque())
    }

    /// Tells of each row about to change in any table but system and virtual ones
    /// (https://www.sqlite.org/c3ref/preupdate_blobwrite.html). While set, `DELETE` without `WHERE` visits
    /// each row.
    package func setPreupdateHook(_ hook: ((SQLiteChange) -> Void)?) {
        preupdateHook = hook
        guard hook != nil else {
            unsafe sqlite3_preupdate_hook(handle, nil, nil)
            return
        }
        unsafe sqlite3_preupdate_hook(
            handle,
            { context, _, operation, _, table, rowID, _ in
                guard let context = unsafe context, let table = unsafe table else { return }
                let connection = unsafe Unmanaged<SQLiteConnection>.fromOpaque(context).takeUnretainedValue()
                connection.preupdateHook?(
                    SQLiteChange(
                        operation: SQLiteConnection.operation(operation),
                        table: unsafe String(cString: table), rowID: rowID))
            }, Unmanaged.passUnretained(self).toOpaque())
    }

    private static func operation(_ code: Int32) -> SQLiteChange.Operation {
        switch code {
        case SQLITE_INSERT: .insert
        case SQLITE_DELETE: .delete
        default: .update
        }
    }
}
