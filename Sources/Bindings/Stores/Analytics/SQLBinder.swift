/// What an expression is evaluated on: a row of the source, or a group.
final class SQLRow {
    /// The columns that the query uses, by slot.
    var columns: [SQLValue] = []
    /// Of a group: the values it is grouped by, and what its aggregates came to.
    var keys: [SQLValue] = []
    var aggregates: [SQLValue] = []
}

/// An expression whose names and types are known.
struct SQLBound {
    typealias Evaluator = (SQLRow) throws(SQLError) -> SQLValue
    var type: SQLType
    /// Whether it looks at no row.
    var isConstant: Bool
    var evaluate: Evaluator

    init(_ type: SQLType, isConstant: Bool = false, _ evaluate: @escaping Evaluator) {
        self.type = type
        self.isConstant = isConstant
        self.evaluate = evaluate
    }
}

/// Gives the names of one SELECT their meaning.
///
/// An alias stands for its expression wherever the statement uses it, and wins over a column of the same name except inside
/// of its own expression.
final class SQLBinder {
    struct Column: Sendable {
        var name: String
        var type: SQLType
    }
    enum Stage {
        /// Each row on its own.
        case rows
        /// Each group: columns only inside of aggregates, or when they are what is grouped by.
        case groups
    }

    private let columns: [Column]
    private let aliases: [String: SQLExpression]
    private let now: Int64
    private(set) var groups: [(expression: SQLExpression, value: SQLBound)] = []
    private(set) var aggregates: [(call: SQLCall, make: () -> any SQLAccumulator)] = []
    /// The columns that are used, in the order of their slots.
    private(set) var slots: [Int] = []
    private var slotsByColumn: [Int: Int] = [:]
    /// What aliases may grow to.
    private var expressionsLeft = 20_000

    init(columns: [Column], items: [SQLSelect.Item], now: Int64) {
        self.columns = columns
        self.now = now
        var aliases: [String: SQLExpression] = [:]
        for item in items where item.isAlias && aliases[item.name] == nil { aliases[item.name] = item.expression }
        self.aliases = aliases
    }

    // MARK: Aliases

    func expand(_ expression: SQLExpression, inside: Set<String> = [], filters: Bool = false) throws(SQLError) -> SQLExpression
    {
        expressionsLeft -= 1
        guard expressionsLeft > 0 else {
            throw SQLError("the query's aliases make it too large", at: expression.range.lowerBound)
        }
        func expanded(_ part: SQLExpression) throws(SQLError) -> SQLExpression {
            try expand(part, inside: inside, filters: filters)
        }
        func all(_ parts: [SQLExpression]) throws(SQLError) -> [SQLExpression] {
            var result: [SQLExpression] = []
            for part in parts { result.append(try expanded(part)) }
            return result
        }
        var result = expression
        switch expression.kind {
        case .integer, .double, .string, .boolean, .interval: return expression
        case .name(let name):
            guard let target = aliases[name], !inside.contains(name) else { return expression }
            let found = try expand(target, inside: inside.union([name]), filters: filters)
            // A filter looks at rows, which have the column and not yet the aggregate.
            if filters, Self.hasAggregate(found), columns.contains(where: { $0.name == name }) { return expression }
            result.kind = found.kind
            result.depth = found.depth
            return result
        case .call(var call):
            call.arguments = try all(call.arguments)
            call.parameters = try all(call.parameters)
            result.kind = .call(call)
            result.depth = 1 + (call.arguments + call.parameters).reduce(0) { max($0, $1.depth) }
        case .negated(let part): result.kind = .negated(try expanded(part))
        case .not(let part): result.kind = .not(try expanded(part))
        case .binary(let kind, let left, let right): result.kind = .binary(kind, try expanded(left), try expanded(right))
        case .between(let value, let low, let high):
            result.kind = .between(try expanded(value), try expanded(low), try expanded(high))
        case .inList(let value, let list): result.kind = .inList(try expanded(value), try all(list))
        case .like(let value, let pattern, let ignoresCase):
            result.kind = .like(try expanded(value), try expanded(pattern), ignoresCase: ignoresCase)
        }
        result.depth = 1 + Self.parts(result).reduce(0) { max($0, $1.depth) }
        guard result.depth <= SQLParser.depthMax else {
            throw SQLError("the query's aliases nest too deeply", at: expression.range.lowerBound)
        }
        return result
    }

    static func parts(_ expression: SQLExpression) -> [SQLExpression] {
        switch expression.kind {
        case .integer, .double, .string, .boolean, .interval, .name: []
        case .call(let call): call.arguments + call.parameters
        case .negated(let part), .not(let part): [part]
        case .binary(_, let left, let right): [left, right]
        case .between(let value, let low, let high): [value, low, high]
        case .inList(let value, let list): [value] + list
        case .like(let value, let pattern, _): [value, pattern]
        }
    }

    static func hasAggregate(_ expression: SQLExpression) -> Bool {
        if case .call(let call) = expression.kind, SQLAggregates.isAggregate(call.name) { return true }
        return parts(expression).contains(where: hasAggregate)
    }

    static func hasColumn(_ expression: SQLExpression) -> Bool {
        if case .name = expression.kind { return true }
        return parts(expression).contains(where: hasColumn)
    }

    // MARK: Binding

    func addGroup(_ expression: SQLExpression) throws(SQLError) {
        guard !Self.hasAggregate(expression) else {
            throw SQLError("GROUP BY can't have an aggregate function", at: expression.range.lowerBound)
        }
        groups.append((expression, try bind(expression, .rows)))
    }

    /// - Parameter expression: with its aliases expanded.
    func bind(_ expression: SQLExpression, _ stage: Stage) throws(SQLError) -> SQLBound {
        if stage == .groups, let place = groups.firstIndex(where: { $0.expression == expression }) {
            return SQLBound(groups[place].value.type) { row in row.keys[place] }
        }
        switch expression.kind {
        case .integer(let number): return SQLBound(.int64, isConstant: true) { _ in .integer(number) }
        case .double(let number): return SQLBound(.float64, isConstant: true) { _ in .double(number) }
        case .string(let text): return SQLBound(.string, isConstant: true) { _ in .string(text) }
        case .boolean(let isTrue): return SQLBound(.uint8, isConstant: true) { _ in .boolean(isTrue) }
        case .interval(let interval): return SQLBound(.interval, isConstant: true) { _ in .interval(interval) }
        case .name(let name): return try column(name, expression, stage)
        case .call(let call): return try bind(call, expression, stage)
        case .negated(let part): return try negated(try bind(part, stage), expression)
        case .not(let part):
            let operand = try condition(part, stage)
            return SQLBound(.uint8) { row throws(SQLError) in .boolean(!(try operand.evaluate(row)).isTrue) }
        case .binary(.and, let left, let right):
            let (left, right) = (try condition(left, stage), try condition(right, stage))
            return SQLBound(.uint8) { row throws(SQLError) in
                guard try left.evaluate(row).isTrue else { return .boolean(false) }
                return .boolean(try right.evaluate(row).isTrue)
            }
        case .binary(.or, let left, let right):
            let (left, right) = (try condition(left, stage), try condition(right, stage))
            return SQLBound(.uint8) { row throws(SQLError) in
                if try left.evaluate(row).isTrue { return .boolean(true) }
                return .boolean(try right.evaluate(row).isTrue)
            }
        case .binary(let kind, let left, let right):
            let (bound, other) = (try bind(left, stage), try bind(right, stage))
            return try SQLArithmetic.bind(kind, bound, other, at: expression.range.lowerBound, right.range.lowerBound)
        case .between(let value, let low, let high):
            let value = SQLExpression(value.kind, value.range)
            let from = SQLExpression(.binary(.greaterOrEqual, value, low), expression.range)
            let to = SQLExpression(.binary(.lessOrEqual, value, high), expression.range)
            return try bind(SQLExpression(.binary(.and, from, to), expression.range), stage)
        case .inList(let value, let list):
            let value = try bind(value, stage)
            var tests: [SQLBound] = []
            for element in list {
                tests.append(
                    try SQLArithmetic.bind(
                        .equal, value, try bind(element, stage), at: expression.range.lowerBound, element.range.lowerBound))
            }
            let all = tests
            return SQLBound(.uint8) { row throws(SQLError) in
                for test in all where try test.evaluate(row).isTrue { return .boolean(true) }
                return .boolean(false)
            }
        case .like(let value, let pattern, let ignoresCase):
            return try like(value, pattern, ignoresCase, stage)
        }
    }

    /// An expression that is true or false: numbers are, 0 being false.
    func condition(_ expression: SQLExpression, _ stage: Stage) throws(SQLError) -> SQLBound {
        let bound = try bind(expression, stage)
        guard bound.type.isNumber else {
            throw SQLError("expected a condition, found \(bound.type.name)", at: expression.range.lowerBound)
        }
        return bound
    }

    private func negated(_ operand: SQLBound, _ expression: SQLExpression) throws(SQLError) -> SQLBound {
        guard operand.type.isNumber else {
            throw SQLError("\"-\" needs a number, got \(operand.type.name)", at: expression.range.lowerBound)
        }
        if operand.type == .float64 {
            return SQLBound(.float64) { row throws(SQLError) in .double(-(try operand.evaluate(row)).double) }
        }
        return SQLBound(.int64) { row throws(SQLError) in .integer(0 &- (try operand.evaluate(row)).integer) }
    }

    private func column(_ name: String, _ expression: SQLExpression, _ stage: Stage) throws(SQLError) -> SQLBound {
        guard let place = columns.firstIndex(where: { $0.name == name }) else {
            let near = SQLNames.nearest(to: name, among: columns.map(\.name) + aliases.keys.sorted())
            throw SQLError(
                columns.isEmpty
                    ? "unknown column \"\(name)\": there is no FROM"
                    : "unknown column \"\(name)\"" + (near.map { "; did you mean \"\($0)\"?" } ?? ""),
                at: expression.range.lowerBound)
        }
        guard stage == .rows else {
            throw SQLError(
                "column \"\(name)\" must stand in GROUP BY or inside of an aggregate function", at: expression.range.lowerBound)
        }
        let slot = slotsByColumn[place] ?? slots.count
        if slot == slots.count {
            slots.append(place)
            slotsByColumn[place] = slot
        }
        return SQLBound(columns[place].type) { row in row.columns[slot] }
    }

    private func bind(_ call: SQLCall, _ expression: SQLExpression, _ stage: Stage) throws(SQLError) -> SQLBound {
        if SQLAggregates.isAggregate(call.name) { return try aggregate(call, expression, stage) }
        guard call.parameters.isEmpty, !call.isDistinct else {
            throw SQLError("\"\(call.name)\" is no aggregate function", at: expression.range.lowerBound)
        }
        var arguments: [SQLBound] = []
        for argument in call.arguments { arguments.append(try bind(argument, stage)) }
        return try SQLFunctions.bind(
            SQLFunctions.Use(
                name: call.name, arguments: arguments, offset: expression.range.lowerBound,
                argumentOffsets: call.arguments.map(\.range.lowerBound), now: now))
    }

    private func aggregate(_ call: SQLCall, _ expression: SQLExpression, _ stage: Stage) throws(SQLError) -> SQLBound {
        guard stage == .groups else {
            throw SQLError(
                "aggregate function \"\(call.name)\" can't stand here: it can in SELECT, HAVING and ORDER BY",
                at: expression.range.lowerBound)
        }
        var arguments: [SQLBound] = []
        for argument in call.arguments {
            guard !Self.hasAggregate(argument) else {
                throw SQLError("an aggregate function can't be inside of another", at: argument.range.lowerBound)
            }
            arguments.append(try bind(argument, .rows))
        }
        let (type, make) = try SQLAggregates.bind(call, arguments, at: expression.range.lowerBound)
        if let place = aggregates.firstIndex(where: { $0.call == call }) {
            return SQLBound(type) { row in row.aggregates[place] }
        }
        let place = aggregates.count
        aggregates.append((call, make))
        return SQLBound(type) { row in row.aggregates[place] }
    }

    private func like(
        _ value: SQLExpression, _ pattern: SQLExpression, _ ignoresCase: Bool, _ stage: Stage
    ) throws(SQLError) -> SQLBound {
        let (text, mask) = (try bind(value, stage), try bind(pattern, stage))
        for (bound, part) in [(text, value), (mask, pattern)] where bound.type != .string {
            throw SQLError("LIKE needs texts, got \(bound.type.name)", at: part.range.lowerBound)
        }
        return SQLBound(.uint8) { row throws(SQLError) in
            let (text, mask) = (try text.evaluate(row).string, try mask.evaluate(row).string)
            return .boolean(LikePattern.matches(text, mask, ignoresCase: ignoresCase))
        }
    }
}

/// `%` is any text, `_` any character; a backslash takes their meaning away.
enum LikePattern {
    static func matches(_ text: String, _ pattern: String, ignoresCase: Bool) -> Bool {
        let text = Array((ignoresCase ? text.lowercased() : text).unicodeScalars)
        let source = Array((ignoresCase ? pattern.lowercased() : pattern).unicodeScalars)
        var pattern: [Unicode.Scalar?] = []  // `nil` is any character.
        var isAny: [Bool] = []
        var index = 0
        while index < source.count {
            if source[index] == "\\", index + 1 < source.count {
                index += 1
                pattern.append(source[index])
                isAny.append(false)
            } else {
                pattern.append(source[index] == "_" || source[index] == "%" ? nil : source[index])
                isAny.append(source[index] == "%")
            }
            index += 1
        }
        // The last `%` takes one more character whenever what follows doesn't match: quadratic at worst.
        var (place, mask) = (0, 0)
        var (retryPlace, retryMask) = (0, -1)
        while place < text.count {
            if mask < pattern.count, isAny[mask] {
                (retryPlace, retryMask) = (place, mask + 1)
                mask += 1
            } else if mask < pattern.count, pattern[mask].map({ $0 == text[place] }) ?? true {
                place += 1
                mask += 1
            } else if retryMask >= 0 {
                retryPlace += 1
                (place, mask) = (retryPlace, retryMask)
            } else {
                return false
            }
        }
        return isAny[mask...].allSatisfy { $0 }
    }
}

/// Finds what somebody may have meant.
enum SQLNames {
    /// - Returns: the nearest name at most two changes away.
    static func nearest(to name: String, among names: [String]) -> String? {
        let wanted = Array(name.lowercased().utf8.prefix(100))
        let found = names.map { (name: $0, distance: distance(wanted, Array($0.lowercased().utf8))) }
        return found.filter { $0.distance <= 2 }.min { $0.distance < $1.distance }?.name
    }

    private static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var row = Array(0...right.count)
        for (index, byte) in left.enumerated() {
            var diagonal = row[0]
            row[0] = index + 1
            for column in right.indices {
                let replaced = diagonal + (byte == right[column] ? 0 : 1)
                diagonal = row[column + 1]
                row[column + 1] = min(replaced, row[column + 1] + 1, row[column] + 1)
            }
        }
        return row[right.count]
    }
}
