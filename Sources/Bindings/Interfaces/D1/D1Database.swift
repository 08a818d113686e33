/// An SQL database: SQLite, reached through the node.
///
/// Every call is one transaction, durable when it returns. Calls of one database that change it run one at a
/// time in the order of their arrival; reads run beside them and see everything that was acknowledged before
/// they were made. Errors are `CallFailure`s whose messages start with `D1_ERROR: `, `D1_EXEC_ERROR: ` or
/// `D1_COLUMN_NOTFOUND: `.
public struct D1Database: Sendable {
    private let caller: D1Caller

    package init(transport: any BindingTransport, binding: UInt16) {
        caller = D1Caller(transport: transport, binding: binding, session: nil)
    }

    /// A statement ready to be bound and run. Nothing is sent, and the SQL is not looked at before it runs.
    ///
    /// - Parameter sql: Usually one statement with parameters `?` or `?1`. Several separated by semicolons
    ///   run in one transaction; only the last may have parameters, and its rows are the result.
    public func prepare(_ sql: String) -> D1PreparedStatement {
        D1PreparedStatement(caller: caller, sql: sql)
    }

    /// Runs `statements` in order in one transaction and returns their results in that order.
    ///
    /// - Throws: the first error; nothing of the batch is kept then.
    @discardableResult
    public func batch(_ statements: [D1PreparedStatement]) async throws -> [D1Result] {
        try await caller.query(statements.map(\.request))
    }

    /// Runs SQL without parameters, for schemas and maintenance. Each line is one item and may hold several
    /// statements, but a statement can't go over several lines. All lines are one transaction.
    @discardableResult
    public func exec(_ sql: String) async throws -> D1ExecResult { try await caller.exec(sql) }

    /// A service that only the oldest databases had.
    ///
    /// - Throws: always, as the product does.
    public func dump() async throws -> [UInt8] { throw CallFailure("D1_DUMP_ERROR: Status + 500") }

    /// A session: its reads are at least as new as what it has seen, whatever instance serves them.
    ///
    /// - Parameter constraint: `first-primary`, `first-unconstrained` (also when `nil` or empty), or a
    ///   bookmark of an earlier session, whose state the first read has at least.
    public func withSession(_ constraint: String? = nil) -> D1DatabaseSession {
        D1DatabaseSession(caller: caller, constraint: constraint)
    }
}
