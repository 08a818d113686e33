internal import SQLite

/// What an object's code can see of a connection, and the file doesn't have: it goes from one connection to the next. (Only what
/// `changes()` and `total_changes()` say has no way there; they begin at 0.)
struct ConnectionMemory {
    /// The settings that a tenant may change and that last: each with its value.
    private var settings: [(name: String, value: Int64)] = []
    private let lastInsertRowID: Int64

    private static let names = [
        "foreign_keys", "ignore_check_constraints", "legacy_alter_table", "recursive_triggers", "reverse_unordered_selects",
    ]

    /// - Parameter hasSettings: Whether one was changed; else they are what every new connection has.
    init(of sqlite: SQLiteConnection, withSettings hasSettings: Bool) throws(SQLiteError) {
        lastInsertRowID = sqlite.lastInsertRowID
        guard hasSettings else { return }
        for name in Self.names { settings.append((name, try Self.number(sqlite, "PRAGMA \(name)"))) }
        // This one can't be asked for.
        settings.append(("case_sensitive_like", 1 - (try Self.number(sqlite, "SELECT 'a' LIKE 'A'"))))
    }

    func restore(_ sqlite: SQLiteConnection) throws(SQLiteError) {
        for (name, value) in settings { try sqlite.execute("PRAGMA \(name) = \(value)") }
        sqlite.lastInsertRowID = lastInsertRowID
    }

    private static func number(_ sqlite: SQLiteConnection, _ query: String) throws(SQLiteError) -> Int64 {
        let statement = try sqlite.prepare(query)
        return try statement.step() ? statement.integer(0) : 0
    }
}
