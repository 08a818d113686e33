internal import SQLite

/// In which order a dump makes tables and fills them.
///
/// Tables come as they were made, each with its rows, but that SQLite takes a row with a foreign key only when the key's
/// table and its unique index are there: rows wait for these.
struct D1ExportOrder {
    private let connection: SQLiteConnection
    /// As SQLite compares them.
    private var missing: Set<String>
    private var waiting: [(table: String, parents: Set<String>)] = []
    private var made = 0
    private let tableCount: Int
    /// The indexes that stand before the others.
    private(set) var writtenIndexes: Set<String> = []

    init(_ connection: SQLiteConnection, tables: [String]) {
        self.connection = connection
        missing = Set(tables.map(Self.folded))
        tableCount = tables.count
    }

    /// The tables whose rows may come now that `table` is there: mostly itself.
    mutating func tablesToFill(after table: String) throws -> [String] {
        missing.remove(Self.folded(table))
        made += 1
        waiting.append((table, try parents(of: table)))
        let isLast = made == tableCount
        let ready = waiting.filter { isLast || $0.parents.isDisjoint(with: missing) }
        waiting.removeAll { isLast || $0.parents.isDisjoint(with: missing) }
        return ready.map(\.table)
    }

    /// What makes the indexes of `table` that foreign keys refer to.
    mutating func keyIndexes(of table: String) throws -> [String] {
        let references = try connection.prepare(
            """
            SELECT count(*) FROM sqlite_schema s, pragma_foreign_key_list(s.name) f
            WHERE s.type = 'table' AND f."table" = ? COLLATE NOCASE
            """)
        try references.bind(table, at: 1)
        guard try references.step(), references.integer(0) > 0 else { return [] }
        let statement = try connection.prepare(
            """
            SELECT s.sql, s.name FROM pragma_index_list(?) l JOIN sqlite_schema s ON s.type = 'index' AND s.name = l.name
            WHERE l."unique" AND NOT l.partial AND s.sql IS NOT NULL ORDER BY s.rowid
            """)
        try statement.bind(table, at: 1)
        var texts: [String] = []
        while try statement.step() {
            guard let sql = statement.text(0), let name = statement.text(1) else { continue }
            texts.append(sql)
            writtenIndexes.insert(name)
        }
        return texts
    }

    private func parents(of table: String) throws -> Set<String> {
        let statement = try connection.prepare("SELECT DISTINCT \"table\" FROM pragma_foreign_key_list(?)")
        try statement.bind(table, at: 1)
        var parents: Set<String> = []
        while try statement.step() { if let name = statement.text(0) { parents.insert(Self.folded(name)) } }
        return parents
    }

    /// SQLite compares names without regard to the case of ASCII letters.
    private static func folded(_ name: String) -> String {
        String(decoding: name.utf8.map { (65...90).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
    }
}
