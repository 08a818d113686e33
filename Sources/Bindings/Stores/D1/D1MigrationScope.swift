/// What of a database a migration's statements have to go over, for those who say how long it may take.
package enum D1MigrationScope {
    /// Tables whose rows a text reads or writes all of, or may: those that it makes itself left out. Each once, as SQLite
    /// compares names.
    package static func tablesGoneOver(by text: String) -> [String] {
        var made: Set<String> = []
        var seen: Set<String> = []
        var tables: [String] = []
        func add(_ table: String) { if !made.contains(table), seen.insert(table).inserted { tables.append(table) } }
        for statement in SQLScript(text).statements {
            switch SQLSchemaChange(statement) {
            case .createTable(let name, _, _): made.insert(name)
            case .createIndex(_, let table, _, _), .dropColumn(let table, _), .dropTable(let table): add(table)
            // NOT NULL and CHECK are held against what is there.
            case .addColumn(let table, let column) where column.hasCheck || column.isNotNull: add(table)
            case .some: break
            case nil:
                switch SQLDataChange(statement) {
                case .delete(let table, _), .update(let table, _): add(table)
                case .other: sources(of: statement).forEach(add)
                }
            }
        }
        return tables
    }

    /// The tables that a statement such as `INSERT … SELECT` reads.
    private static func sources(of statement: SQLStatementText) -> [String] {
        guard ["INSERT", "REPLACE", "WITH"].contains(statement.tokens[0].keyword) else { return [] }
        var sources: [String] = []
        for (index, token) in statement.tokens.enumerated() where token.keyword == "FROM" || token.keyword == "JOIN" {
            var cursor = SQLCursor(Array(statement.tokens[(index + 1)...].prefix(3)))
            if let name = cursor.takeName() { sources.append(name) }
        }
        return sources
    }
}
