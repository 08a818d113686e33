internal import Synchronization

/// Calls that belong together: each sees at least what the ones before it saw.
public final class D1DatabaseSession: Sendable {
    private let caller: D1Caller

    init(caller: D1Caller, constraint: String?) {
        let trimmed = constraint.map { D1SessionState.trim($0) } ?? ""
        var caller = caller
        caller.session = D1SessionState(trimmed.isEmpty ? "first-unconstrained" : trimmed)
        self.caller = caller
    }

    public func prepare(_ sql: String) -> D1PreparedStatement {
        D1PreparedStatement(caller: caller, sql: sql)
    }

    @discardableResult
    public func batch(_ statements: [D1PreparedStatement]) async throws -> [D1Result] {
        try await caller.query(statements.map(\.request))
    }

    /// The newest state that the session has seen; `nil` before the first call of a session that began
    /// without a bookmark. Bookmarks of one database are ordered as texts.
    public func getBookmark() -> String? { caller.session?.bookmark }
}

/// What a session has seen. Statements that were prepared on a session share it.
final class D1SessionState: Sendable {
    private let constraint: String
    private let seen: Mutex<String?>

    init(_ constraint: String) {
        self.constraint = constraint
        let isBookmark = constraint != "first-primary" && constraint != "first-unconstrained"
        seen = Mutex(isBookmark ? constraint : nil)
    }

    var bookmark: String? { seen.withLock { $0 } }
    /// What the next call asks for.
    var demand: String { bookmark ?? constraint }

    func advance(to bookmark: String) {
        seen.withLock { seen in
            if seen.map({ $0 < bookmark }) ?? true { seen = bookmark }
        }
    }

    static func trim(_ text: String) -> String {
        let start = text.drop(while: \.isWhitespace)
        guard let end = start.lastIndex(where: { !$0.isWhitespace }) else { return "" }
        return String(start[...end])
    }
}
