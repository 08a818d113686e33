/// A statement with its parameters. Immutable: `bind` gives a new one, and each may run any number of times.
public struct D1PreparedStatement: Sendable {
    private let caller: D1Caller
    public let sql: String
    public private(set) var parameters: [D1Value] = []

    init(caller: D1Caller, sql: String) {
        self.caller = caller
        self.sql = sql
    }

    var request: D1Request.Statement { D1Request.Statement(sql: sql, parameters: parameters) }

    /// The statement with `values` in the place of all earlier ones: the first is `?1`.
    public func bind(_ values: (any D1Convertible)?...) -> D1PreparedStatement {
        bind(values: values.map { $0?.d1Value ?? .null })
    }

    public func bind(values: [D1Value]) -> D1PreparedStatement {
        var copy = self
        copy.parameters = values
        return copy
    }

    /// Binds values whose types are known only at run time.
    ///
    /// - Throws: `D1_TYPE_ERROR: Type 'X' not supported for value 'Y'`.
    public func bind(dynamic values: [Any?]) throws -> D1PreparedStatement {
        bind(values: try values.map { value throws(CallFailure) in try D1Value(dynamic: value) })
    }

    /// Runs the statement and returns all rows.
    public func all() async throws -> D1Result {
        guard let result = try await caller.query([request]).first else { throw D1Caller.noResult }
        return result
    }

    /// The same as `all`: for statements that are run for their effect.
    @discardableResult
    public func run() async throws -> D1Result { try await all() }

    /// The first row; `nil` when there is none. The SQL runs as it is: no LIMIT is added.
    public func first() async throws -> D1Row? {
        try await caller.query([request], take: .firstRow).first?.results.first
    }

    /// The first row read into `type`; `nil` when there is none.
    public func first<Value: Decodable>(as type: Value.Type) async throws -> Value? {
        try await first()?.decode(type)
    }

    /// The value of `column` in the first row; `nil` when there is no row, `.null` when the value is NULL.
    ///
    /// - Throws: `D1_COLUMN_NOTFOUND: Column not found (column)`.
    public func first(_ column: String) async throws -> D1Value? {
        guard let row = try await first() else { return nil }
        guard let value = row[column] else {
            throw CallFailure("D1_COLUMN_NOTFOUND: Column not found (\(column))")
        }
        return value
    }

    /// All rows as arrays, with the names of the columns.
    public func raw() async throws -> D1RawResult {
        guard let (result, columns) = try await caller.queryWithColumns([request]).first else {
            throw D1Caller.noResult
        }
        return D1RawResult(columnNames: columns, rows: result.results.map(\.values))
    }
}
