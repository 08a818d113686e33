/// What a linter knows of a schema: what statements made, renamed and dropped, in their order. Names as SQLite compares them.
struct D1MigrationSchema {
    struct Table {
        /// Made by what is pending: the code that serves doesn't know it.
        var isNew: Bool
        /// `nil`: it was made from a query, or wasn't seen.
        var columns: Set<String>?
        /// Columns of a table that isn't new, made by what is pending.
        var newColumns: Set<String> = []
    }
    struct Index {
        var isNew: Bool
        var table: String
        var isUnique: Bool
        /// Its columns or expressions, and what narrows it.
        var terms: [String]
    }

    var tables: [String: Table] = [:]
    var indexes: [String: Index] = [:]
    /// Those that the code in service knows and that what is pending has dropped: they may come back under another name.
    var droppedIndexes: [Index] = []
    /// Views and triggers, and whether they are new.
    var views: [String: Bool] = [:]
    var triggers: [String: Bool] = [:]

    /// All that is pending has been deployed.
    mutating func settle() {
        for name in tables.keys {
            tables[name]?.isNew = false
            tables[name]?.newColumns = []
        }
        for name in indexes.keys { indexes[name]?.isNew = false }
        droppedIndexes = []
        for name in views.keys { views[name] = false }
        for name in triggers.keys { triggers[name] = false }
    }

    func isNew(table: String) -> Bool { tables[table]?.isNew ?? false }

    func isNew(column: String, of table: String) -> Bool {
        tables[table].map { $0.isNew || $0.newColumns.contains(column) } ?? false
    }

    mutating func apply(_ change: SQLSchemaChange) {
        switch change {
        case .createTable(let name, let columns, _):
            // IF NOT EXISTS leaves one that is there as it is.
            if tables[name] == nil { tables[name] = Table(isNew: true, columns: columns) }
        case .createIndex(let name, let table, let isUnique, let terms):
            if indexes[name] == nil {
                indexes[name] = Index(isNew: true, table: table, isUnique: isUnique, terms: terms)
            }
        case .createView(let name): if views[name] == nil { views[name] = true }
        case .createTrigger(let name, _, _): if triggers[name] == nil { triggers[name] = true }
        case .dropTable(let name):
            tables[name] = nil
            indexes = indexes.filter { $0.value.table != name }
        case .dropIndex(let name):
            if let index = indexes.removeValue(forKey: name), !index.isNew { droppedIndexes.append(index) }
        case .dropView(let name): views[name] = nil
        case .dropTrigger(let name): triggers[name] = nil
        case .renameTable(let name, let target):
            tables[target] = tables.removeValue(forKey: name) ?? Table(isNew: false, columns: nil)
            for key in indexes.keys where indexes[key]?.table == name { indexes[key]?.table = target }
        case .renameColumn(let table, let column, let target):
            let isNew = isNew(column: column, of: table)
            tables[table]?.columns?.remove(column)
            tables[table]?.columns?.insert(target)
            if tables[table]?.newColumns.remove(column) != nil || isNew { tables[table]?.newColumns.insert(target) }
        case .dropColumn(let table, let column):
            tables[table]?.columns?.remove(column)
            tables[table]?.newColumns.remove(column)
        case .addColumn(let table, let column):
            tables[table, default: Table(isNew: false, columns: nil)].newColumns.insert(column.name)
            tables[table]?.columns?.insert(column.name)
        }
    }
}

/// A column as `ADD COLUMN` describes it.
struct SQLColumn: Equatable {
    let name: String
    var isNotNull = false
    /// Also a default of NULL is none.
    var hasDefault = false
    var isUnique = false
    var isGenerated = false
    /// The names in its CHECK constraints.
    var checkedNames: Set<String> = []
    var hasCheck = false
}

/// What one statement does to a schema. Names as SQLite compares them.
enum SQLSchemaChange: Equatable {
    case createTable(String, columns: Set<String>?, isVirtual: Bool)
    case createIndex(String, table: String, isUnique: Bool, terms: [String])
    case createView(String)
    case createTrigger(String, table: String, raises: Bool)
    case dropTable(String)
    case dropIndex(String)
    case dropView(String)
    case dropTrigger(String)
    case renameTable(String, to: String)
    case renameColumn(table: String, String, to: String)
    case dropColumn(table: String, String)
    case addColumn(table: String, SQLColumn)

    /// `nil` for a statement that changes no schema, or that SQLite will refuse.
    init?(_ statement: SQLStatementText) {
        var cursor = SQLCursor(statement.tokens)
        if cursor.take("CREATE") {
            guard let change = Self.create(&cursor) else { return nil }
            self = change
        } else if cursor.take("DROP") {
            guard let change = Self.drop(&cursor) else { return nil }
            self = change
        } else if cursor.take("ALTER"), cursor.take("TABLE") {
            guard let table = cursor.takeName(), let change = Self.alter(table, &cursor) else { return nil }
            self = change
        } else {
            return nil
        }
    }

    private static func create(_ cursor: inout SQLCursor) -> SQLSchemaChange? {
        if cursor.take("TEMP") || cursor.take("TEMPORARY") { return nil }
        let isVirtual = cursor.take("VIRTUAL")
        let isUnique = cursor.take("UNIQUE")
        if cursor.take("TABLE") {
            cursor.skip("IF", "NOT", "EXISTS")
            guard let name = cursor.takeName() else { return nil }
            return .createTable(name, columns: isVirtual ? nil : columns(&cursor), isVirtual: isVirtual)
        }
        if cursor.take("INDEX") {
            cursor.skip("IF", "NOT", "EXISTS")
            guard let name = cursor.takeName(), cursor.take("ON"), let table = cursor.takeName() else { return nil }
            let inner = cursor.takeParentheses()
            var terms = split(inner).map { $0.map(\.folded).joined(separator: " ") }
            if cursor.take("WHERE") { terms.append("where " + cursor.rest.map(\.folded).joined(separator: " ")) }
            return .createIndex(name, table: table, isUnique: isUnique, terms: terms)
        }
        if cursor.take("VIEW") {
            cursor.skip("IF", "NOT", "EXISTS")
            return cursor.takeName().map { .createView($0) }
        }
        guard cursor.take("TRIGGER") else { return nil }
        cursor.skip("IF", "NOT", "EXISTS")
        guard let name = cursor.takeName() else { return nil }
        while let token = cursor.next, token.keyword != "ON" { cursor.advance() }
        guard cursor.take("ON"), let table = cursor.takeName() else { return nil }
        return .createTrigger(name, table: table, raises: cursor.rest.contains { $0.keyword == "RAISE" })
    }

    /// The columns' names between the parentheses; `nil` without them.
    private static func columns(_ cursor: inout SQLCursor) -> Set<String>? {
        guard cursor.next?.text == "(" else { return nil }
        let constraints: Set<String> = ["CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"]
        return Set(
            split(cursor.takeParentheses()).compactMap { part in
                guard let first = part.first, first.isName, !constraints.contains(first.keyword) else { return nil }
                return first.folded
            })
    }

    private static func drop(_ cursor: inout SQLCursor) -> SQLSchemaChange? {
        guard let what = cursor.next?.keyword else { return nil }
        cursor.advance()
        cursor.skip("IF", "EXISTS")
        guard let name = cursor.takeName() else { return nil }
        return switch what {
        case "TABLE": .dropTable(name)
        case "INDEX": .dropIndex(name)
        case "VIEW": .dropView(name)
        case "TRIGGER": .dropTrigger(name)
        default: nil
        }
    }

    private static func alter(_ table: String, _ cursor: inout SQLCursor) -> SQLSchemaChange? {
        if cursor.take("RENAME") {
            if cursor.take("TO") { return cursor.takeWord().map { .renameTable(table, to: $0) } }
            cursor.skip("COLUMN")
            guard let column = cursor.takeWord(), cursor.take("TO"), let target = cursor.takeWord() else { return nil }
            return .renameColumn(table: table, column, to: target)
        }
        if cursor.take("DROP") {
            cursor.skip("COLUMN")
            return cursor.takeWord().map { .dropColumn(table: table, $0) }
        }
        guard cursor.take("ADD") else { return nil }
        cursor.skip("COLUMN")
        return cursor.takeWord().map { .addColumn(table: table, column($0, cursor)) }
    }

    private static func column(_ name: String, _ start: SQLCursor) -> SQLColumn {
        var cursor = start
        var column = SQLColumn(name: name)
        while let token = cursor.next {
            switch token.keyword {
            case "NOT":
                cursor.advance()
                if cursor.take("NULL") { column.isNotNull = true }
            case "DEFAULT":
                cursor.advance()
                column.hasDefault = cursor.next?.keyword != "NULL"
                if cursor.next?.text == "(" {
                    let inner = cursor.takeParentheses()
                    column.hasDefault = !(inner.count == 1 && inner[0].keyword == "NULL")
                } else {
                    cursor.advance()
                }
            case "UNIQUE", "PRIMARY":
                column.isUnique = true
                cursor.advance()
            case "AS":
                column.isGenerated = true
                cursor.advance()
                _ = cursor.takeParentheses()
            case "CHECK":
                cursor.advance()
                column.hasCheck = true
                column.checkedNames.formUnion(names(in: cursor.takeParentheses()))
            default:
                // Of a type, or of a foreign key's columns.
                if token.text == "(" { _ = cursor.takeParentheses() } else { cursor.advance() }
            }
        }
        return column
    }

    /// What may be a column in an expression: neither a function nor a keyword can be told from one without fail, so the caller
    /// compares with the columns that it knows.
    private static func names(in tokens: [SQLToken]) -> Set<String> {
        var names: Set<String> = []
        for (index, token) in tokens.enumerated() where token.kind == .word || token.kind == .name {
            if index + 1 < tokens.count, tokens[index + 1].text == "(" { continue }
            names.insert(token.folded)
        }
        return names
    }

    /// The parts between commas that stand in no parentheses.
    private static func split(_ tokens: [SQLToken]) -> [[SQLToken]] {
        var parts: [[SQLToken]] = [[]]
        var depth = 0
        for token in tokens {
            if token.kind == .sign {
                if token.text == "(" { depth += 1 }
                if token.text == ")" { depth -= 1 }
                if token.text == ",", depth == 0 {
                    parts.append([])
                    continue
                }
            }
            parts[parts.count - 1].append(token)
        }
        return parts.filter { !$0.isEmpty }
    }
}

/// Goes over the tokens of one statement.
struct SQLCursor {
    private let tokens: [SQLToken]
    private var index = 0

    init(_ tokens: [SQLToken]) { self.tokens = tokens }

    var next: SQLToken? { index < tokens.count ? tokens[index] : nil }
    var rest: ArraySlice<SQLToken> { tokens[min(index, tokens.count)...] }

    mutating func advance() { index += 1 }

    mutating func take(_ keyword: String) -> Bool {
        guard next?.keyword == keyword else { return false }
        index += 1
        return true
    }

    /// Takes all of the words, or none.
    mutating func skip(_ keywords: String...) {
        guard zip(keywords, rest).allSatisfy({ $0 == $1.keyword }), rest.count >= keywords.count else { return }
        index += keywords.count
    }

    mutating func takeWord() -> String? {
        guard let token = next, token.isName else { return nil }
        index += 1
        return token.folded
    }

    /// A name, with or without that of a schema before it.
    mutating func takeName() -> String? {
        guard let first = takeWord() else { return nil }
        guard next?.text == ".", next?.kind == .sign else { return first }
        index += 1
        return takeWord()
    }

    /// What stands between the parenthesis that comes next and its counterpart.
    mutating func takeParentheses() -> [SQLToken] {
        guard let open = next, open.kind == .sign, open.text == "(" else { return [] }
        var depth = 0
        var inner: [SQLToken] = []
        while let token = next {
            index += 1
            if token.kind == .sign, token.text == "(" { depth += 1 }
            if token.kind == .sign, token.text == ")" { depth -= 1 }
            if depth == 0 { return inner }
            if depth > 1 || !(token.kind == .sign && token.text == "(") { inner.append(token) }
        }
        return inner
    }
}
