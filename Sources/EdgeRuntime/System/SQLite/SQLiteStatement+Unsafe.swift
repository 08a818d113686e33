internal import CSQLite

/// A prepared statement. Belongs to its connection's thread.
///
/// Bind, step until it says that no row is left, reset; then it can be used again. It must be reset before
/// its transaction can end.
@safe package final class SQLiteStatement {
    package enum ColumnKind: Int32, Sendable {
        case integer = 1
        case real, text, blob, null
    }

    // SAFETY of everything below: `handle` is a prepared statement from init to deinit, and `connection`
    // outlives it.
    private let handle: OpaquePointer
    private let connection: SQLiteConnection
    /// How many values `bind` needs: the largest parameter number.
    package let parameterCount: Int
    /// Whether it can't change the database file (https://www.sqlite.org/c3ref/stmt_readonly.html).
    package let isReadOnly: Bool

    init(owning handle: OpaquePointer, of connection: SQLiteConnection) {
        unsafe self.handle = handle
        self.connection = connection
        parameterCount = unsafe Int(sqlite3_bind_parameter_count(handle))
        isReadOnly = unsafe sqlite3_stmt_readonly(handle) != 0
    }

    deinit { unsafe sqlite3_finalize(handle) }

    /// Its own text, without what followed it in its script.
    package var text: String { unsafe sqlite3_sql(handle).map { unsafe String(cString: $0) } ?? "" }

    /// Whether it is an `EXPLAIN` of either kind.
    package var isExplanation: Bool { unsafe sqlite3_stmt_isexplain(handle) != 0 }

    // MARK: Running

    /// Runs to the next row; `false` when there is none.
    ///
    /// - Throws: what went wrong; the statement is to be reset then, as after the last row.
    @inline(__always)
    package func step() throws(SQLiteError) -> Bool {
        let code = unsafe sqlite3_step(handle)
        if code == SQLITE_ROW { return true }
        guard code == SQLITE_DONE else { throw connection.lastError(code) }
        return false
    }

    /// Makes it ready to run again. Bound values stay.
    package func reset() { unsafe sqlite3_reset(handle) }

    /// Sets all parameters to NULL and frees their values.
    package func clearBindings() { unsafe sqlite3_clear_bindings(handle) }

    package func counter(_ counter: SQLiteStatementCounter, resetting: Bool = false) -> Int {
        unsafe Int(sqlite3_stmt_status(handle, counter.rawValue, resetting ? 1 : 0))
    }

    // MARK: Parameters, numbered from 1

    package func bindNull(at index: Int) throws(SQLiteError) {
        try check(unsafe sqlite3_bind_null(handle, Int32(index)))
    }

    package func bind(_ value: Int64, at index: Int) throws(SQLiteError) {
        try check(unsafe sqlite3_bind_int64(handle, Int32(index), value))
    }

    /// Not-a-number is bound as NULL: SQLite has no other place for it.
    package func bind(_ value: Double, at index: Int) throws(SQLiteError) {
        try check(unsafe sqlite3_bind_double(handle, Int32(index), value))
    }

    package func bind(_ value: String, at index: Int) throws(SQLiteError) {
        var value = value
        let code = value.withUTF8 { bytes in
            guard let base = bytes.baseAddress else {
                return unsafe edge_sqlite_bind_text(handle, Int32(index), "", 0)
            }
            return unsafe edge_sqlite_bind_text(handle, Int32(index), base, UInt64(bytes.count))
        }
        try check(code)
    }

    package func bind(_ value: [UInt8], at index: Int) throws(SQLiteError) {
        guard !value.isEmpty else { return try check(unsafe sqlite3_bind_zeroblob(handle, Int32(index), 0)) }
        let code = unsafe value.withUnsafeBytes { bytes in
            unsafe edge_sqlite_bind_blob(handle, Int32(index), bytes.baseAddress, UInt64(bytes.count))
        }
        try check(code)
    }

    // MARK: Columns of the current row, numbered from 0

    package var columnCount: Int { unsafe Int(sqlite3_column_count(handle)) }

    package func columnName(_ index: Int) -> String {
        unsafe sqlite3_column_name(handle, Int32(index)).map { unsafe String(cString: $0) } ?? ""
    }

    @inline(__always)
    package func columnKind(_ index: Int) -> ColumnKind {
        ColumnKind(rawValue: unsafe sqlite3_column_type(handle, Int32(index))) ?? .null
    }

    @inline(__always)
    package func integer(_ index: Int) -> Int64 { unsafe sqlite3_column_int64(handle, Int32(index)) }

    @inline(__always)
    package func real(_ index: Int) -> Double { unsafe sqlite3_column_double(handle, Int32(index)) }

    /// Lends the bytes of a text or blob. They die with the closure.
    @inline(__always)
    package func withBytes<Result>(_ index: Int, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        // SAFETY: the pointer is asked for before the length, as the library wants it, and lives until the
        // next step.
        let start = unsafe sqlite3_column_blob(handle, Int32(index))
        let count = unsafe Int(sqlite3_column_bytes(handle, Int32(index)))
        return unsafe body(UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : count))
    }

    /// The value as text, repaired where it isn't UTF-8; `nil` for NULL.
    package func text(_ index: Int) -> String? {
        guard let text = unsafe sqlite3_column_text(handle, Int32(index)) else { return nil }
        let count = unsafe Int(sqlite3_column_bytes(handle, Int32(index)))
        return unsafe String(decoding: UnsafeBufferPointer(start: text, count: count), as: UTF8.self)
    }

    package func blob(_ index: Int) -> [UInt8] { unsafe withBytes(index) { unsafe Array($0) } }

    private func check(_ code: Int32) throws(SQLiteError) {
        guard code == SQLITE_OK else { throw connection.lastError(code) }
    }
}
