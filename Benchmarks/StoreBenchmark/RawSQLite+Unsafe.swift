internal import CSQLite

/// libsqlite3 with one connection and one prepared statement, WAL and synchronous=FULL; nothing of ours around it.
@safe final class RawSQLite {
    private let connection: OpaquePointer
    private var statement: OpaquePointer?

    init(_ path: String) throws {
        var made: OpaquePointer?
        let code = unsafe sqlite3_open(path, &made)
        guard code == SQLITE_OK, let made = unsafe made else {
            throw PeerError(description: "sqlite3_open: \(code)")
        }
        unsafe connection = made
        unsafe statement = nil
        try execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL")
    }

    deinit {
        unsafe sqlite3_finalize(statement)
        unsafe sqlite3_close(connection)
    }

    func execute(_ sql: String) throws { try check(unsafe sqlite3_exec(connection, sql, nil, nil, nil)) }

    func prepare(_ sql: String) throws {
        try check(unsafe sqlite3_prepare_v2(connection, sql, -1, &statement, nil))
    }

    /// Binds a number and runs the statement; the text of the first column, when there is a row.
    func run(_ number: Int) throws -> String? {
        unsafe sqlite3_bind_int64(statement, 1, Int64(number))
        var text: String?
        let code = unsafe sqlite3_step(statement)
        if code == SQLITE_ROW {
            // SAFETY: the column's bytes stay until the statement is stepped or reset.
            text = unsafe sqlite3_column_text(statement, 0).map { unsafe String(cString: $0) }
        } else {
            guard code == SQLITE_DONE else { throw PeerError(description: "sqlite3_step: \(code)") }
        }
        try check(unsafe sqlite3_reset(statement))
        return text
    }

    private func check(_ code: Int32) throws {
        guard code == SQLITE_OK else {
            throw unsafe PeerError(description: "libsqlite3: \(String(cString: sqlite3_errmsg(connection)))")
        }
    }
}
