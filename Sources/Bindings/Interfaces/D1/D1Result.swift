/// What one statement gave.
public struct D1Result: Sendable, Hashable {
    /// The rows; empty for writes without RETURNING.
    public var results: [D1Row]
    public var meta: D1Meta
    /// Always true: a statement that fails throws.
    public var success: Bool { true }

    /// Reads all rows into `type`.
    public func decode<Value: Decodable>(_ type: Value.Type = Value.self) throws -> [Value] {
        try results.map { try $0.decode(type) }
    }
}

/// How a statement went.
public struct D1Meta: Sendable, Hashable {
    /// Milliseconds that the SQL took.
    public var duration: Double = 0
    /// Rows inserted, updated or deleted, by triggers and foreign key actions too; 0 for reads and DDL.
    public var changes: Int64 = 0
    /// The row id of the last insert into the database, also after reads.
    public var lastRowID: Int64 = 0
    public var changedDB = false
    /// Bytes of the database after the statement, a multiple of the page size.
    public var sizeAfter: Int64 = 0
    /// Rows that the statement visited. An estimate: exact for scans, look-ups by key, LIMIT and COUNT(*)
    /// over one table; joins, sub-queries and ranges of an index are counted by the rows they gave.
    public var rowsRead: Int64 = 0
    /// Rows and index entries that the statement wrote. An estimate: exact where every row changes the same
    /// indexes; partial indexes and virtual tables are approximated.
    public var rowsWritten: Int64 = 0
    public var servedBy: String { "edge.db" }
    public var servedByRegion = ""
    public var servedByColo: String { "LOCAL" }
    public var servedByPrimary: Bool { true }
    public var sqlDurationMilliseconds: Double { duration }
    public var totalAttempts: Int { 1 }

    package init() {}
}

/// Rows as arrays, for results in which several columns have one name.
public struct D1RawResult: Sendable, Hashable {
    /// The names of all columns, also when there is no row.
    public var columnNames: [String]
    public var rows: [[D1Value]]
}

/// What `exec` did.
public struct D1ExecResult: Sendable, Hashable {
    /// Lines that were not empty or comments.
    public var count: Int
    /// Milliseconds that the SQL took.
    public var duration: Double
}
