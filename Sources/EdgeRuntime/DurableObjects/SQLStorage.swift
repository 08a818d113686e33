public import Interfaces
internal import SQLite
internal import TenantSQL

/// A value of an object's database; the same type that D1 has.
public typealias SQLValue = D1Value
/// A row of it.
public typealias SQLRow = D1Row

/// The SQL side of an object's storage (spec: durable-objects, section 3.3). Calls are synchronous: the file is in the object's
/// own process.
public final class SQLStorage {
    private let database: ObjectDatabase
    private let isAvailable: Bool
    /// Single statements that run again and again, ready to run.
    private var kept = SQLiteStatementCache<Prepared>(capacity: 64)

    struct Prepared {
        let statement: SQLiteStatement
        let profile: StatementProfile
    }

    static let notAvailable = DurableObjectError(
        "This Durable Object is not backed by SQLite storage, so the SQL API is not available. SQL can be enabled on a new Durable "
            + "Object class by using the `new_sqlite_classes` instead of `new_classes` under `[[migrations]]` in your wrangler.toml, "
            + "but an already-deployed class cannot be converted to SQLite (except by deleting the existing data).")

    init(_ database: ObjectDatabase, isAvailable: Bool) {
        self.database = database
        self.isAvailable = isAvailable
    }

    /// Runs one or several statements; the values and the cursor are the last one's.
    ///
    /// What it writes is part of the turn's transaction, which nobody has to begin.
    @discardableResult
    public func exec(_ query: String, _ bindings: SQLValue...) throws -> SQLCursor { try exec(query, bindings) }

    func close() { kept.removeAll() }

    @discardableResult
    public func exec(_ query: String, _ bindings: [SQLValue]) throws -> SQLCursor {
        guard isAvailable else { throw Self.notAvailable }
        try database.check()
        if let ready = kept.entry(for: query) {
            guard ready.statement.parameterCount == bindings.count else { throw Self.wrongCount }
            kept.remove(query)
            return try run(ready.statement, ready.profile, bindings, changesBefore: 0, keptAs: query)
        }
        var script = SQLiteScript(query)
        var changes: Int64 = 0
        var isFirst = true
        while true {
            let (statement, profile) = try prepare(&script)
            let isLast = script.isAtEnd
            let values = isLast ? bindings : []
            guard statement.parameterCount == values.count else { throw Self.wrongCount }
            let cursor = try run(
                statement, profile, values, changesBefore: changes, keptAs: isFirst && isLast ? query : nil)
            isFirst = false
            if isLast { return cursor }
            _ = try cursor.toArray()
            changes = cursor.rowsWritten
        }
    }

    /// Bytes that the database takes, without what deletions have left free.
    public var databaseSize: Int {
        get throws {
            guard isAvailable else { throw Self.notAvailable }
            try database.check()
            do {
                return try database.trusted {
                    func number(_ name: String) throws -> Int64 {
                        let statement = try database.sqlite.prepare("PRAGMA \(name)")
                        return try statement.step() ? statement.integer(0) : 0
                    }
                    return Int((try number("page_count") - number("freelist_count")) * (try number("page_size")))
                }
            } catch let error as SQLiteError { throw database.failed(error) }
        }
    }

    private static let wrongCount = DurableObjectError("Wrong number of parameter bindings for SQL query.")
    private static let transactionRefusal =
        "To execute a transaction, please use the state.storage.transaction() or state.storage.transactionSync() APIs instead of "
        + "the SQL BEGIN TRANSACTION or SAVEPOINT statements. The API is safer because it will automatically roll back on errors, "
        + "and because it interacts correctly with Durable Objects' automatic atomic write coalescing."

    private func prepare(_ script: inout SQLiteScript) throws -> (SQLiteStatement, StatementProfile) {
        database.authorizer.notes = SQLAuthorizer.Notes()
        do throws(SQLiteError) {
            guard let statement = try database.sqlite.prepare(&script) else {
                throw SQLiteError(.misuse, message: "SQL code did not contain a statement.")
            }
            guard !statement.isExplanation else { return (statement, StatementProfile()) }
            return (statement, database.trusted { database.sqlite.profile(statement.text) })
        } catch {
            if database.authorizer.notes.refusedTransaction { throw DurableObjectError(Self.transactionRefusal) }
            throw database.failed(error)
        }
    }

    private func run(
        _ statement: SQLiteStatement, _ profile: StatementProfile, _ values: [SQLValue], changesBefore: Int64,
        keptAs query: String?
    ) throws -> SQLCursor {
        if !statement.isReadOnly { try database.beginWriting() }
        do throws(SQLiteError) {
            for (index, value) in values.enumerated() {
                switch value {
                case .null: try statement.bindNull(at: index + 1)
                case .integer(let number): try statement.bind(number, at: index + 1)
                case .real(let number): try statement.bind(number, at: index + 1)
                case .text(let text): try statement.bind(text, at: index + 1)
                case .blob(let bytes): try statement.bind(bytes, at: index + 1)
                }
            }
        } catch { throw database.failed(error) }
        let cursor = SQLCursor(statement, profile, database, written: changesBefore)
        database.note(cursor)
        if let query, !statement.isExplanation {
            cursor.whenOver = { [weak self] statement in
                statement.clearBindings()
                self?.kept.insert(Prepared(statement: statement, profile: profile), for: query)
            }
        }
        // So that statements without rows have run when this returns.
        try cursor.advance()
        return cursor
    }
}

/// The rows of a statement, read when they are asked for. It has no snapshot: what is written meanwhile may show.
public final class SQLCursor {
    /// `nil` when the database was closed meanwhile.
    private var statement: SQLiteStatement?
    private let profile: StatementProfile
    private let database: ObjectDatabase
    private let isReadOnly: Bool
    private let columns: D1Columns
    private let isExplanation: Bool
    private var waiting: SQLRow?
    private var isOver = false
    private var scanSteps = 0
    private var rowCount = 0
    private var firstCount: Int64?
    private var changes: Int64 = 0
    private let writtenBefore: Int64
    /// Takes the statement back once all rows were read.
    var whenOver: ((SQLiteStatement) -> Void)?

    init(_ statement: SQLiteStatement, _ profile: StatementProfile, _ database: ObjectDatabase, written: Int64) {
        self.statement = statement
        self.profile = profile
        self.database = database
        writtenBefore = written
        columns = D1Columns((0..<statement.columnCount).map { statement.columnName($0) })
        isExplanation = statement.isExplanation
        isReadOnly = statement.isReadOnly
    }

    /// The database is closed: nothing more comes.
    func abandon() {
        isOver = true
        waiting = nil
        statement = nil
    }

    public var columnNames: [String] { columns.names }

    /// Rows that the statement has looked at so far; an estimate, as D1's is.
    public var rowsRead: Int {
        Int(
            profile.rowsRead(scanSteps: statement?.counter(.fullScanSteps) ?? scanSteps, rows: rowCount, firstCount: firstCount)
        )
    }

    /// Rows and index entries that it has written so far.
    public var rowsWritten: Int64 {
        writtenBefore + (isReadOnly || isExplanation ? 0 : profile.rowsWritten(changes: changes))
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
        guard !isOver, let statement else { return }
        try database.check()
        let before = database.sqlite.totalChanges
        do throws(SQLiteError) {
            if try statement.step() {
                rowCount += 1
                if rowCount == 1, statement.columnCount > 0, statement.columnKind(0) == .integer {
                    firstCount = statement.integer(0)
                }
                waiting = D1Row(columns: columns, values: (0..<statement.columnCount).map { Self.value(statement, $0) })
            } else {
                isOver = true
                scanSteps = statement.counter(.fullScanSteps, resetting: true)
                statement.reset()
                self.statement = nil
                changes += database.sqlite.totalChanges - before
                whenOver?(statement)
                whenOver = nil
                return
            }
        } catch {
            isOver = true
            statement.reset()
            throw database.failed(error)
        }
        changes += database.sqlite.totalChanges - before
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
