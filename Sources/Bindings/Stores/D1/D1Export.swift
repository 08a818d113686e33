internal import Interfaces
internal import SQLite
internal import System
internal import TenantSQL

/// What of a database a dump holds.
package struct D1DumpOptions: Sendable, Equatable {
    package enum Part: Sendable { case all, schema, data }
    package var part: Part
    /// Only these, with their indexes and triggers; empty means all.
    package var tables: [String]

    package init(_ part: Part = .all, tables: [String] = []) {
        self.part = part
        self.tables = tables
    }
}

/// A dump that was written.
package struct D1Exported: Sendable, Equatable {
    /// The state that it shows.
    package let bookmark: String
    package let byteCount: Int
}

/// Writes a database as SQL (spec: d1, section 10), from one snapshot and in pieces: memory holds one row.
///
/// Virtual tables, which the product can't export, are made again by their own statement and filled through it; the
/// tables in which they keep their inside are left out.
struct D1Export: ~Copyable {
    fileprivate struct Table {
        let name: String
        let sql: String
        let isVirtual: Bool
    }

    private let connection: SQLiteConnection
    private let file: PositionedFile
    private let options: D1DumpOptions
    /// Asked now and then.
    private let mayContinue: () -> Bool
    private var piece: [UInt8] = []
    private(set) var byteCount = 0
    /// What makes the indexes of full text whose content is another table's.
    private var rebuilds: [String] = []
    private let numbers: D1ExportNumbers
    private static let pieceBytes = 256 << 10

    /// - Parameter connection: In a snapshot, and trusted.
    init(
        _ connection: SQLiteConnection, to file: consuming PositionedFile, _ options: D1DumpOptions,
        mayContinue: @escaping () -> Bool
    ) throws {
        self.connection = connection
        numbers = try D1ExportNumbers(connection)
        self.file = file
        self.options = options
        self.mayContinue = mayContinue
    }

    mutating func run() throws {
        try put("PRAGMA defer_foreign_keys=TRUE;\n")
        let tables = try tables()
        for name in options.tables where !tables.contains(where: { $0.name == name }) {
            throw D1Failure("no such table: \(D1Failure.shortened(name))")
        }
        var order = D1ExportOrder(connection, tables: tables.map(\.name))
        for table in tables {
            if options.part != .data {
                try put(table.createStatement + SQLText.end(of: table.sql))
                for index in try order.keyIndexes(of: table.name) { try put(index + SQLText.end(of: index)) }
            }
            guard options.part != .schema else { continue }
            for name in try order.tablesToFill(after: table.name) {
                if let table = tables.first(where: { $0.name == name }) { try putContent(of: table) }
            }
        }
        if options.part != .schema { try putSequences() }
        for text in rebuilds { try put(text) }
        if options.part != .data { try putRest(without: order.writtenIndexes) }
        try file.write(piece[...], at: byteCount)
        byteCount += piece.count
        try file.synchronize()
    }

    private mutating func putContent(of table: Table) throws {
        let name = SQLText.quoted(identifier: table.name)
        switch table.isVirtual ? try content(of: table) : .rows {
        case .rows: try putRows(of: name, columns: try columns(of: table.name))
        case .rowsWithID: try putRows(of: name, columns: ["rowid"] + (try columns(of: table.name)))
        case .elsewhere: rebuilds.append("INSERT INTO \(name) (\(name)) VALUES('rebuild');\n")
        case .none: break
        }
    }

    // MARK: Tables

    private func tables() throws -> [Table] {
        let statement = try connection.prepare(
            """
            SELECT s.name, s.sql, l.type = 'virtual' FROM sqlite_schema s JOIN pragma_table_list l
            ON l.schema = 'main' AND l.name = s.name
            WHERE s.type = 'table' AND l.type <> 'shadow' AND substr(s.name, 1, 7) <> 'sqlite_' ORDER BY s.rowid
            """)
        var tables: [Table] = []
        while try statement.step() {
            guard let name = statement.text(0), let sql = statement.text(1), isWanted(name) else { continue }
            tables.append(Table(name: name, sql: sql, isVirtual: statement.integer(2) != 0))
        }
        return tables
    }

    private func isWanted(_ table: String) -> Bool { options.tables.isEmpty || options.tables.contains(table) }

    /// Those that hold data of their own: no generated and no hidden ones.
    private func columns(of table: String) throws -> [String] {
        let statement = try connection.prepare("SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0 ORDER BY cid")
        try statement.bind(table, at: 1)
        var names: [String] = []
        while try statement.step() {
            if let name = statement.text(0) { names.append(SQLText.quoted(identifier: name)) }
        }
        return names
    }

    private enum Content { case rows, rowsWithID, elsewhere, none }

    private func content(of table: Table) throws -> Content {
        switch table.module {
        case "fts5":
            let statement = try connection.prepare(
                "SELECT count(*) FROM pragma_table_list WHERE schema='main' AND type='shadow' AND name = ? || '_content'")
            try statement.bind(table.name, at: 1)
            if try statement.step(), statement.integer(0) > 0 { return .rowsWithID }
            // Its rows are another table's, or nobody has them.
            let probe = try connection.prepare("SELECT 1 FROM \(SQLText.quoted(identifier: table.name)) LIMIT 1")
            do { while try probe.step() {} } catch {
                throw D1Failure("D1 Export error: cannot export \(table.name): \(error)")
            }
            guard !table.isContentless else {
                throw D1Failure("D1 Export error: cannot export \(table.name): its content was never stored")
            }
            return .elsewhere
        case "fts5vocab": return .none
        default: return .rows
        }
    }

    // MARK: Rows

    private mutating func putRows(of table: String, columns: [String]) throws {
        guard !columns.isEmpty else { return }
        let list = columns.joined(separator: ",")
        let statement = try connection.prepare("SELECT \(list) FROM \(table)")
        let start = Array("INSERT INTO \(table) (\(list)) VALUES(".utf8)
        while try statement.step() {
            piece += start
            for column in columns.indices {
                if column > 0 { piece.append(UInt8(ascii: ",")) }
                try putValue(statement, column)
            }
            try put(");\n")
        }
    }

    private mutating func putValue(_ statement: SQLiteStatement, _ column: Int) throws {
        switch statement.columnKind(column) {
        case .null: piece += Array("NULL".utf8)
        case .integer: piece += Array(String(statement.integer(column)).utf8)
        case .real: piece += Array(try numbers.text(of: statement.real(column)).utf8)
        case .text: putText(statement.blob(column))
        case .blob: putBlob(statement.blob(column))
        }
    }

    /// Text as SQL can say it: newlines by their number, and what is no text to SQL's parser by its bytes.
    private mutating func putText(_ bytes: [UInt8]) {
        let hasNewline = bytes.contains(10)
        let isPlain = !bytes.contains(0) && String(validating: bytes, as: UTF8.self) != nil
        guard isPlain, !hasNewline || !Self.containsEscape(bytes) else {
            piece += Array("CAST(".utf8)
            putBlob(bytes)
            piece += Array(" AS TEXT)".utf8)
            return
        }
        if hasNewline { piece += Array("replace(".utf8) }
        piece.append(UInt8(ascii: "'"))
        for byte in bytes {
            switch byte {
            case UInt8(ascii: "'"): piece += [byte, byte]
            case 10: piece += [UInt8(ascii: "\\"), UInt8(ascii: "n")]
            default: piece.append(byte)
            }
        }
        piece.append(UInt8(ascii: "'"))
        if hasNewline { piece += Array(",'\\n',char(10))".utf8) }
    }

    /// Whether the text has a backslash and an n of its own.
    private static func containsEscape(_ bytes: [UInt8]) -> Bool {
        zip(bytes, bytes.dropFirst()).contains { $0 == UInt8(ascii: "\\") && $1 == UInt8(ascii: "n") }
    }

    private mutating func putBlob(_ bytes: [UInt8]) {
        let digits = Array("0123456789abcdef".utf8)
        piece += [UInt8(ascii: "X"), UInt8(ascii: "'")]
        for byte in bytes {
            piece.append(digits[Int(byte >> 4)])
            piece.append(digits[Int(byte & 15)])
        }
        piece.append(UInt8(ascii: "'"))
    }

    /// Where automatic keys go on, for the tables that have them.
    private mutating func putSequences() throws {
        guard try connection.number("SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_sequence'") > 0 else {
            return
        }
        if options.tables.isEmpty { try put("DELETE FROM sqlite_sequence;\n") }
        let statement = try connection.prepare("SELECT name, seq FROM sqlite_sequence ORDER BY rowid")
        while try statement.step() {
            guard let name = statement.text(0), isWanted(name) else { continue }
            let text = SQLText.quoted(text: name)
            if !options.tables.isEmpty { try put("DELETE FROM sqlite_sequence WHERE name = \(text);\n") }
            piece += Array("INSERT INTO \"sqlite_sequence\" (\"name\",\"seq\") VALUES(\(text),".utf8)
            try putValue(statement, 1)
            try put(");\n")
        }
    }

    /// Indexes, triggers, views; at last the triggers that stand on a view, which must be there before.
    private mutating func putRest(without written: Set<String>) throws {
        let isOnView = "tbl_name COLLATE NOCASE IN (SELECT name FROM sqlite_schema WHERE type = 'view')"
        for condition in [
            "type = 'index'", "type = 'trigger' AND NOT \(isOnView)", "type = 'view'", "type = 'trigger' AND \(isOnView)",
        ] {
            let statement = try connection.prepare(
                "SELECT sql, tbl_name, name FROM sqlite_schema WHERE \(condition) AND sql IS NOT NULL ORDER BY rowid")
            while try statement.step() {
                guard let sql = statement.text(0), let table = statement.text(1), isWanted(table),
                    statement.text(2).map({ !written.contains($0) }) ?? true
                else { continue }
                try put(sql + SQLText.end(of: sql))
            }
        }
    }

    private mutating func put(_ text: String) throws {
        piece += Array(text.utf8)
        guard piece.count >= Self.pieceBytes else { return }
        guard mayContinue() else { throw D1Failure.closed }
        try file.write(piece[...], at: byteCount)
        byteCount += piece.count
        piece.removeAll(keepingCapacity: true)
    }
}

extension D1Export.Table {
    /// Quoted names are those that tools wrote: such a table may be there already.
    fileprivate var createStatement: String {
        let start = Array("CREATE TABLE ".utf8)
        let bytes = Array(sql.utf8)
        guard bytes.count > start.count, bytes.starts(with: start),
            [UInt8(ascii: "'"), UInt8(ascii: "\"")].contains(bytes[start.count])
        else { return sql }
        return "CREATE TABLE IF NOT EXISTS " + String(decoding: bytes[start.count...], as: UTF8.self)
    }

    private var compact: String {
        String(decoding: sql.utf8.filter { $0 > 0x20 }.map { (65...90).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
    }

    /// What makes it: `fts5`.
    fileprivate var module: String { SQLText.module(of: sql) }

    fileprivate var isContentless: Bool {
        [",content=''", ",content=\"\"", "(content=''", "(content=\"\""].contains { compact.contains($0) }
    }
}
