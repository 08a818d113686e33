/// Reads the SQL of the Analytics Engine
/// (https://developers.cloudflare.com/analytics/analytics-engine/sql-reference/).
struct SQLParser {
    private let text: [UInt8]
    private let tokens: [SQLToken]
    private var place = 0
    private var nesting = 0

    /// Of an expression, and of subqueries: each level takes some stack.
    static let depthMax = 200

    static func parse(_ text: String, limits: QueryLimits = QueryLimits()) throws(SQLError) -> SQLStatement {
        guard text.utf8.count <= limits.textBytesMax else {
            throw SQLError("the query has \(text.utf8.count) bytes, at most \(limits.textBytesMax) are allowed")
        }
        do throws(SQLError) {
            var parser = SQLParser(text: Array(text.utf8), tokens: try SQLLexer.tokens(text))
            var statement = try parser.statement()
            statement.text = text
            return statement
        } catch { throw error.located(in: text) }
    }

    private init(text: [UInt8], tokens: [SQLToken]) {
        self.text = text
        self.tokens = tokens
    }

    // MARK: Tokens

    private var token: SQLToken { tokens[min(place, tokens.count - 1)] }

    private func isKeyword(_ word: String, _ ahead: Int = 0) -> Bool {
        guard place + ahead < tokens.count, case .name(let name) = tokens[place + ahead].kind else { return false }
        return name.uppercased() == word
    }

    private mutating func take(_ word: String) -> Bool {
        guard isKeyword(word) else { return false }
        place += 1
        return true
    }

    private func isSymbol(_ text: String) -> Bool { token.kind == .symbol(text) }

    private mutating func takeSymbol(_ text: String) -> Bool {
        guard isSymbol(text) else { return false }
        place += 1
        return true
    }

    private mutating func require(_ word: String) throws(SQLError) {
        guard take(word) else { throw unexpected(word) }
    }

    private mutating func requireSymbol(_ symbol: String) throws(SQLError) {
        guard takeSymbol(symbol) else { throw unexpected("\"\(symbol)\"") }
    }

    private func unexpected(_ wanted: String) -> SQLError {
        let found =
            token.kind == .end
            ? "the end of the query" : "\"\(String(decoding: text[token.range].prefix(40), as: UTF8.self))\""
        return SQLError("expected \(wanted), found \(found)", at: token.range.lowerBound)
    }

    /// What can't be a name without quotes.
    private static let reserved: Set<String> = [
        "SELECT", "DISTINCT", "FROM", "WHERE", "GROUP", "BY", "HAVING", "ORDER", "LIMIT", "OFFSET", "FORMAT", "AS", "AND",
        "OR", "NOT", "IN", "BETWEEN", "LIKE", "ILIKE", "ASC", "DESC", "INTERVAL", "UNION", "JOIN",
    ]

    /// The one word that is both: `format('{}', x)`, and `FORMAT JSON`.
    private var isFormatFunction: Bool {
        isKeyword("FORMAT") && place + 1 < tokens.count && tokens[place + 1].kind == .symbol("(")
    }

    private mutating func name(_ wanted: String) throws(SQLError) -> String {
        switch token.kind {
        case .quotedName(let name):
            place += 1
            return name
        case .name(let name) where !Self.reserved.contains(name.uppercased()) || isFormatFunction:
            place += 1
            return name
        default: throw unexpected(wanted)
        }
    }

    // MARK: Statements

    private mutating func statement() throws(SQLError) -> SQLStatement {
        var statement: SQLStatement
        if take("SHOW") {
            if take("TABLES") {
                statement = SQLStatement(kind: .showTables)
            } else if take("TIMEZONES") {
                statement = SQLStatement(kind: .showTimezones)
            } else if take("TIMEZONE") {
                statement = SQLStatement(kind: .showTimezone)
            } else {
                throw unexpected("TABLES, TIMEZONES or TIMEZONE")
            }
        } else if isKeyword("SELECT") {
            statement = SQLStatement(kind: .select(try select()))
        } else {
            throw unexpected("SELECT or SHOW")
        }
        if take("FORMAT") {
            let offset = token.range.lowerBound
            let found = try name("a format")
            guard let format = SQLStatement.Format.allCases.first(where: { $0.rawValue.lowercased() == found.lowercased() })
            else {
                throw SQLError("unknown format \"\(found)\": JSON, JSONEachRow and TabSeparated are known", at: offset)
            }
            statement.format = format
        }
        _ = takeSymbol(";")
        for word in ["UNION", "JOIN", "INNER", "LEFT", "RIGHT", "FULL", "CROSS"] where isKeyword(word) {
            throw SQLError("\(word) is not supported: a query reads one table or one subquery", at: token.range.lowerBound)
        }
        guard token.kind == .end else { throw unexpected("the end of the query") }
        return statement
    }

    private mutating func select() throws(SQLError) -> SQLSelect {
        try require("SELECT")
        try descend()
        defer { nesting -= 1 }
        var select = SQLSelect()
        select.isDistinct = take("DISTINCT")
        repeat { select.items.append(try item()) } while takeSymbol(",")
        if take("FROM") {
            if takeSymbol("(") {
                select.source = .subquery(try self.select())
                try requireSymbol(")")
                if take("AS") { _ = try name("an alias") }
            } else {
                let offset = token.range.lowerBound
                select.source = .table(try name("a table or a subquery"), at: offset)
            }
        }
        if take("WHERE") { select.filter = try expression() }
        if take("GROUP") {
            try require("BY")
            repeat { select.groups.append(try expression()) } while takeSymbol(",")
        }
        if take("HAVING") { select.having = try expression() }
        if take("ORDER") {
            try require("BY")
            repeat {
                let expression = try expression()
                let isDescending = take("DESC")
                if !isDescending { _ = take("ASC") }
                select.order.append(.init(expression: expression, isDescending: isDescending))
            } while takeSymbol(",")
        }
        if take("LIMIT"), !take("ALL") { select.limit = try count("a number of rows or ALL") }
        if take("OFFSET") { select.offset = try count("a number of rows") }
        return select
    }

    private mutating func count(_ wanted: String) throws(SQLError) -> Int {
        guard case .integer(let number) = token.kind, let count = Int(exactly: number), count <= 1 << 40 else {
            throw unexpected(wanted)
        }
        place += 1
        return count
    }

    private mutating func item() throws(SQLError) -> SQLSelect.Item {
        if takeSymbol("*") { return .init(expression: nil, name: "*", isAlias: false) }
        let expression = try expression()
        if take("AS") { return .init(expression: expression, name: try name("an alias"), isAlias: true) }
        // As it was written, blanks aside.
        let words = text[expression.range].split { $0 == 0x20 || (0x09...0x0D).contains($0) }
        let name = words.map { String(decoding: $0, as: UTF8.self) }.joined(separator: " ")
        if case .name(let column) = expression.kind { return .init(expression: expression, name: column, isAlias: false) }
        return .init(expression: expression, name: name, isAlias: false)
    }

    private mutating func descend() throws(SQLError) {
        nesting += 1
        guard nesting <= Self.depthMax else {
            throw SQLError("the query is nested more than \(Self.depthMax) levels deep", at: token.range.lowerBound)
        }
    }

    // MARK: Expressions, loosest first

    private func make(
        _ kind: SQLExpression.Kind, from start: Int, over parts: [SQLExpression]
    ) throws(SQLError) -> SQLExpression {
        let depth = 1 + parts.reduce(0) { max($0, $1.depth) }
        guard depth <= Self.depthMax else {
            throw SQLError("the expression is nested more than \(Self.depthMax) levels deep", at: start)
        }
        return SQLExpression(kind, start..<tokens[max(0, place - 1)].range.upperBound, depth: depth)
    }

    private mutating func expression() throws(SQLError) -> SQLExpression {
        try descend()
        defer { nesting -= 1 }
        let start = token.range.lowerBound
        var parts = [try conjunction()]
        while take("OR") { parts.append(try conjunction()) }
        return try balanced(.or, parts[...], start)
    }

    private mutating func conjunction() throws(SQLError) -> SQLExpression {
        let start = token.range.lowerBound
        var parts = [try negation()]
        while take("AND") { parts.append(try negation()) }
        return try balanced(.and, parts[...], start)
    }

    /// A long list of alternatives is no deep expression.
    private func balanced(
        _ kind: SQLOperator, _ parts: ArraySlice<SQLExpression>, _ start: Int
    ) throws(SQLError) -> SQLExpression {
        guard parts.count > 1, let first = parts.first else { return parts[parts.startIndex] }
        let middle = parts.startIndex + parts.count / 2
        let left = try balanced(kind, parts[..<middle], first.range.lowerBound)
        let right = try balanced(kind, parts[middle...], parts[middle].range.lowerBound)
        return try make(.binary(kind, left, right), from: start, over: [left, right])
    }

    private mutating func negation() throws(SQLError) -> SQLExpression {
        let start = token.range.lowerBound
        guard take("NOT") else { return try comparison() }
        try descend()
        defer { nesting -= 1 }
        let operand = try negation()
        return try make(.not(operand), from: start, over: [operand])
    }

    private mutating func comparison() throws(SQLError) -> SQLExpression {
        let start = token.range.lowerBound
        var left = try sum()
        while true {
            if case .symbol(let symbol) = token.kind, let kind = Self.comparisons[symbol] {
                place += 1
                let right = try sum()
                left = try make(.binary(kind, left, right), from: start, over: [left, right])
                continue
            }
            let isNegated = isKeyword("NOT") && ["IN", "BETWEEN", "LIKE", "ILIKE"].contains { isKeyword($0, 1) }
            if isNegated { place += 1 }
            if take("IN") {
                left = try list(left, start)
            } else if take("BETWEEN") {
                let low = try sum()
                try require("AND")
                let high = try sum()
                left = try make(.between(left, low, high), from: start, over: [left, low, high])
            } else if isKeyword("LIKE") || isKeyword("ILIKE") {
                let ignoresCase = isKeyword("ILIKE")
                place += 1
                let pattern = try sum()
                left = try make(.like(left, pattern, ignoresCase: ignoresCase), from: start, over: [left, pattern])
            } else {
                return left
            }
            if isNegated { left = try make(.not(left), from: start, over: [left]) }
        }
    }

    private static let comparisons: [String: SQLOperator] = [
        "=": .equal, "==": .equal, "!=": .notEqual, "<>": .notEqual, "<": .less, "<=": .lessOrEqual, ">": .greater,
        ">=": .greaterOrEqual,
    ]

    private mutating func list(_ left: SQLExpression, _ start: Int) throws(SQLError) -> SQLExpression {
        try requireSymbol("(")
        if isKeyword("SELECT") {
            throw SQLError("IN takes a list of values, not a subquery", at: token.range.lowerBound)
        }
        var elements: [SQLExpression] = []
        repeat { elements.append(try expression()) } while takeSymbol(",")
        try requireSymbol(")")
        return try make(.inList(left, elements), from: start, over: [left] + elements)
    }

    private mutating func sum() throws(SQLError) -> SQLExpression {
        let start = token.range.lowerBound
        var left = try product()
        while case .symbol(let symbol) = token.kind, symbol == "+" || symbol == "-" {
            place += 1
            let right = try product()
            left = try make(.binary(symbol == "+" ? .plus : .minus, left, right), from: start, over: [left, right])
        }
        return left
    }

    private mutating func product() throws(SQLError) -> SQLExpression {
        let start = token.range.lowerBound
        var left = try factor()
        while case .symbol(let symbol) = token.kind, symbol == "*" || symbol == "/" || symbol == "%" {
            place += 1
            let right = try factor()
            let kind = symbol == "*" ? SQLOperator.times : symbol == "/" ? .divided : .modulo
            left = try make(.binary(kind, left, right), from: start, over: [left, right])
        }
        return left
    }

    private mutating func factor() throws(SQLError) -> SQLExpression {
        let start = token.range.lowerBound
        if takeSymbol("-") {
            try descend()
            defer { nesting -= 1 }
            let operand = try factor()
            switch operand.kind {
            case .integer(let number): return try make(.integer(-number), from: start, over: [])
            case .double(let number): return try make(.double(-number), from: start, over: [])
            default: return try make(.negated(operand), from: start, over: [operand])
            }
        }
        if takeSymbol("(") {
            var inner = try expression()
            try requireSymbol(")")
            inner.range = start..<tokens[place - 1].range.upperBound
            return inner
        }
        let kind = token.kind
        switch kind {
        case .integer(let number):
            place += 1
            return try make(.integer(number), from: start, over: [])
        case .double(let number):
            place += 1
            return try make(.double(number), from: start, over: [])
        case .string(let text):
            place += 1
            return try make(.string(text), from: start, over: [])
        case .name, .quotedName: return try nameOrCall(start)
        case .symbol, .end: throw unexpected("an expression")
        }
    }

    private mutating func nameOrCall(_ start: Int) throws(SQLError) -> SQLExpression {
        if isKeyword("INTERVAL") { return try interval(start) }
        let isQuoted =
            switch token.kind {
            case .quotedName: true
            default: false
            }
        let name = try name("an expression")
        guard !isQuoted, isSymbol("(") else {
            if !isQuoted, ["TRUE", "FALSE"].contains(name.uppercased()) {
                return try make(.boolean(name.uppercased() == "TRUE"), from: start, over: [])
            }
            return try make(.name(name), from: start, over: [])
        }
        place += 1
        if name.uppercased() == "EXTRACT" { return try extract(start) }
        if name.uppercased() == "POSITION" { return try position(name, start) }
        var call = SQLCall(name: name, parameters: [], arguments: [], isDistinct: take("DISTINCT"))
        call.arguments = try arguments()
        if takeSymbol("(") {
            call.parameters = call.arguments
            call.isDistinct = take("DISTINCT")
            call.arguments = try arguments()
        }
        return try make(.call(call), from: start, over: call.arguments + call.parameters)
    }

    private mutating func arguments() throws(SQLError) -> [SQLExpression] {
        var arguments: [SQLExpression] = []
        if takeSymbol(")") { return [] }
        // `count(*)` is `count()`.
        if takeSymbol("*") {
            try requireSymbol(")")
            return []
        }
        repeat { arguments.append(try expression()) } while takeSymbol(",")
        try requireSymbol(")")
        return arguments
    }

    private mutating func unit() throws(SQLError) -> SQLInterval.Unit {
        guard case .name(let word) = token.kind else { throw unexpected("a unit of time") }
        let singular = word.lowercased().hasSuffix("s") ? String(word.lowercased().dropLast()) : word.lowercased()
        guard let unit = SQLInterval.Unit(rawValue: singular) else {
            throw unexpected("YEAR, MONTH, DAY, HOUR, MINUTE or SECOND")
        }
        place += 1
        return unit
    }

    private mutating func interval(_ start: Int) throws(SQLError) -> SQLExpression {
        try require("INTERVAL")
        let number: Int64? =
            switch token.kind {
            case .string(let text): Int64(text)
            case .integer(let number): number
            default: nil
            }
        guard let number, (-1_000_000_000...1_000_000_000).contains(number) else {
            throw unexpected("a whole number such as '15'")
        }
        place += 1
        return try make(.interval(SQLInterval(count: number, unit: try unit())), from: start, over: [])
    }

    /// `extract(SECOND FROM timestamp)`
    private mutating func extract(_ start: Int) throws(SQLError) -> SQLExpression {
        let function =
            switch try unit() {
            case .second: "toSecond"
            case .minute: "toMinute"
            case .hour: "toHour"
            case .day: "toDayOfMonth"
            case .month: "toMonth"
            case .year: "toYear"
            }
        try require("FROM")
        let time = try expression()
        try requireSymbol(")")
        let call = SQLCall(name: function, parameters: [], arguments: [time], isDistinct: false)
        return try make(.call(call), from: start, over: [time])
    }

    /// `position(needle IN haystack)`
    private mutating func position(_ name: String, _ start: Int) throws(SQLError) -> SQLExpression {
        let needle = try sum()
        try require("IN")
        let haystack = try expression()
        try requireSymbol(")")
        let call = SQLCall(name: name, parameters: [], arguments: [needle, haystack], isDistinct: false)
        return try make(.call(call), from: start, over: [needle, haystack])
    }
}
