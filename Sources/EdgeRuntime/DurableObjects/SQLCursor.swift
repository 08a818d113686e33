internal import Interfaces
internal import SQLite
internal import TenantSQL

/// The rows of a statement, read when they are asked for. It has no snapshot: what is written meanwhile may show.
public final class SQLCursor {
    private let prepared: PreparedSQL
    private let database: ObjectDatabase
    private var waiting: SQLRow?
    private var isOver = false
    private var scanSteps = 0
    private var rowCount = 0
    private var firstCount: Int64?
    private var changes: Int64 = 0
    private let writtenBefore: Int64

    init(_ prepared: PreparedSQL, _ database: ObjectDatabase, written: Int64) {
        self.prepared = prepared
        self.database = database
        writtenBefore = written
    }

    /// One that wasn't read to its end leaves its statement to others, too.
    deinit { if !isOver { prepared.rest() } }

    public var columnNames: [String] { prepared.columns.names }

    /// Rows that the statement has looked at so far; an estimate, as D1's is.
    public var rowsRead: Int {
        let steps = isOver ? scanSteps : prepared.statement?.counter(.fullScanSteps) ?? 0
        return Int(prepared.profile.rowsRead(scanSteps: steps, rows: rowCount, firstCount: firstCount))
    }

    /// Rows and index entries that it has written so far.
    public var rowsWritten: Int64 {
        writtenBefore + (prepared.isReadOnly || prepared.isExplanation ? 0 : prepared.profile.rowsWritten(changes: changes))
    }

    /// The next row; `nil` when there is none.
    public func next() throws -> SQLRow? {
        try database.check()
        guard let row = waiting else { return nil }
        try advance()
        return row
    }

    /// All rows that are left.
    public func toArray() throws -> [SQLRow] {
        var rows: [SQLRow] = []
        while let row = try next() { rows.append(row) }
        return rows
    }

    /// The row, of which there must be just one.
    public func one() throws -> SQLRow {
        guard let row = try next() else {
            throw DurableObjectError("Expected exactly one result from SQL query, but got no results.")
        }
        guard try next() == nil else {
            throw DurableObjectError("Expected exactly one result from SQL query, but got multiple results.")
        }
        return row
    }

    /// The values of the rows that are left, without names. Shares its place with the cursor.
    public func raw() throws -> [[SQLValue]] { try toArray().map(\.values) }

    /// Reads ahead by one row.
    func advance() throws(DurableObjectError) {
        waiting = nil
        guard !isOver, let statement = prepared.statement else { return }
        try database.check()
        let before = database.sqlite.totalChanges
        do throws(SQLiteError) {
            if try statement.step() {
                rowCount += 1
                if rowCount == 1, statement.columnCount > 0, statement.columnKind(0) == .integer {
                    firstCount = statement.integer(0)
                }
                waiting = D1Row(
                    columns: prepared.columns, values: (0..<statement.columnCount).map { Self.value(statement, $0) })
                changes += database.sqlite.totalChanges - before
            } else {
                changes += database.sqlite.totalChanges - before
                finish(statement)
            }
        } catch {
            finish(statement)
            throw database.failed(error)
        }
    }

    private func finish(_ statement: SQLiteStatement) {
        isOver = true
        scanSteps = statement.counter(.fullScanSteps, resetting: true)
        prepared.rest()
    }

    private static func value(_ statement: SQLiteStatement, _ index: Int) -> SQLValue {
        switch statement.columnKind(index) {
        case .null: .null
        case .integer: .integer(statement.integer(index))
        case .real: .real(statement.real(index))
        case .text: .text(statement.text(index) ?? "")
        case .blob: .blob(statement.blob(index))
        }
    }
}
