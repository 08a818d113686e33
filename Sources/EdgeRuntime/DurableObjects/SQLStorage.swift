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
    let isAvailable: Bool
    /// Single statements that run again and again, by their text; the one that ran last is at hand.
    private var kept: [String: PreparedSQL] = [:]
    private var last: (query: String, prepared: PreparedSQL)?
    /// Those of scripts, and second ones of the same text: as long as cursors have them.
    private var loose: [WeakPrepared] = []
    private struct WeakPrepared { weak var prepared: PreparedSQL? }

    private static let keptMax = 64

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

    /// Whether a cursor is somewhere between its rows.
    var hasOpenCursors: Bool {
        kept.values.contains { $0.isInUse } || loose.contains { $0.prepared?.isInUse == true }
    }

    /// The connection ends, and all statements with it.
    func close() {
        for prepared in kept.values { prepared.statement = nil }
        for item in loose { item.prepared?.statement = nil }
        kept = [:]
        loose = []
        last = nil
    }

    @discardableResult
    public func exec(_ query: String, _ bindings: [SQLValue]) throws -> SQLCursor {
        guard isAvailable else { throw Self.notAvailable }
        try database.check()
        if let ready = ready(query) { return try run(ready, bindings, changesBefore: 0) }
        var script = SQLiteScript(query)
        var changes: Int64 = 0
        var isFirst = true
        while true {
            let prepared = try prepare(&script)
            let isLast = script.isAtEnd
            if isFirst, isLast { keep(prepared, query) } else { hold(prepared) }
            isFirst = false
            let cursor = try run(prepared, isLast ? bindings : [], changesBefore: changes)
            if isLast { return cursor }
            _ = try cursor.toArray()
            changes = cursor.rowsWritten
        }
    }

    /// A statement of this text that nobody reads now.
    private func ready(_ query: String) -> PreparedSQL? {
        let found = last.flatMap { $0.query == query ? $0.prepared : nil } ?? kept[query]
        guard let found, !found.isInUse, found.schema == database.schema else { return nil }
        last = (query, found)
        return found
    }

    private func keep(_ prepared: PreparedSQL, _ query: String) {
        // What is kept no longer may still have a cursor that is over.
        if let old = kept[query] {
            if old.isInUse { return hold(prepared) }
            hold(old)
        } else if kept.count >= Self.keptMax {
            // Which ones are wanted again shows soon enough.
            for (text, item) in kept where !item.isInUse {
                kept[text] = nil
                hold(item)
            }
            guard kept.count < Self.keptMax else { return hold(prepared) }
        }
        kept[query] = prepared
        last = (query, prepared)
    }

    private func hold(_ prepared: PreparedSQL) {
        if loose.count >= 64 { loose.removeAll { $0.prepared == nil } }
        loose.append(WeakPrepared(prepared: prepared))
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

    private func prepare(_ script: inout SQLiteScript) throws -> PreparedSQL {
        database.authorizer.notes = SQLAuthorizer.Notes()
        do throws(SQLiteError) {
            guard let statement = try database.sqlite.prepare(&script) else {
                throw SQLiteError(.misuse, message: "SQL code did not contain a statement.")
            }
            if database.authorizer.notes.setsPragma { database.hasSettings = true }
            let profile =
                statement.isExplanation
                ? StatementProfile() : database.trusted { database.sqlite.profile(statement.text) }
            return PreparedSQL(statement, profile, schema: database.schema)
        } catch {
            if database.authorizer.notes.refusedTransaction { throw DurableObjectError(Self.transactionRefusal) }
            throw database.failed(error)
        }
    }

    private func run(_ prepared: PreparedSQL, _ values: [SQLValue], changesBefore: Int64) throws -> SQLCursor {
        guard let statement = prepared.statement else { throw Self.notAvailable }
        guard statement.parameterCount == values.count else { throw Self.wrongCount }
        if !prepared.isReadOnly {
            try database.beginWriting()
            if prepared.changesSchema { database.schema += 1 }
        }
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
        } catch {
            prepared.rest()
            throw database.failed(error)
        }
        prepared.isInUse = true
        let cursor = SQLCursor(prepared, database, written: changesBefore)
        // So that statements without rows have run when this returns.
        try cursor.advance()
        return cursor
    }
}

/// A statement that is ready to run, and what is known of it.
final class PreparedSQL {
    /// `nil` when the database was closed.
    var statement: SQLiteStatement?
    let profile: StatementProfile
    let columns: D1Columns
    let isReadOnly: Bool
    let isExplanation: Bool
    let changesSchema: Bool
    /// As of which state of the schema its columns are.
    let schema: Int
    /// A cursor reads it.
    var isInUse = false

    init(_ statement: SQLiteStatement, _ profile: StatementProfile, schema: Int) {
        self.statement = statement
        self.profile = profile
        self.schema = schema
        columns = D1Columns((0..<statement.columnCount).map { statement.columnName($0) })
        isReadOnly = statement.isReadOnly
        isExplanation = statement.isExplanation
        let keyword = SQLiteScript(statement.text).nextKeyword
        changesSchema = !statement.isReadOnly && !["INSERT", "REPLACE", "UPDATE", "DELETE", "WITH"].contains(keyword)
    }

    /// Its cursor is done with it.
    func rest() {
        isInUse = false
        statement?.reset()
        statement?.clearBindings()
    }
}
