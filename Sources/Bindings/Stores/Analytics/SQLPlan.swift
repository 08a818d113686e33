/// A SELECT whose names and types are known.
final class SQLPlan {
    struct Output {
        var column: SQLBinder.Column
        var bound: SQLBound
    }
    let outputs: [Output]
    let filter: SQLBound?
    let having: SQLBound?
    let order: [(bound: SQLBound, isDescending: Bool)]
    let groups: [SQLBound]
    let makeAggregates: [() -> any SQLAccumulator]
    let isGrouped: Bool
    /// Whether `order` is that in which the aggregates see the rows, not that of the result.
    let ordersInput: Bool
    let isDistinct: Bool
    let limit: Int?
    let offset: Int
    /// The columns of the source that are used, by slot.
    let slots: [Int]
    /// The seconds outside of which the filter is false.
    let times: ClosedRange<Int64>

    init(_ select: SQLSelect, columns: [SQLBinder.Column], now: Int64) throws(SQLError) {
        var items: [SQLSelect.Item] = []
        for item in select.items {
            guard item.expression == nil else {
                items.append(item)
                continue
            }
            guard !columns.isEmpty else { throw SQLError("\"*\" needs a FROM") }
            items += columns.map { column in
                .init(expression: SQLExpression(.name(column.name), 0..<0), name: column.name, isAlias: false)
            }
        }
        let binder = SQLBinder(columns: columns, items: items, now: now)
        var expressions: [(expression: SQLExpression, name: String)] = []
        for item in items {
            guard let expression = item.expression else { continue }
            // A column is itself inside of the alias of its name.
            let inside: Set<String> = item.isAlias ? [item.name] : []
            expressions.append((try binder.expand(expression, inside: inside), item.name))
        }
        /// `GROUP BY 1` and `ORDER BY 1` mean the first of the list.
        func placed(_ expression: SQLExpression) throws(SQLError) -> SQLExpression {
            guard case .integer(let number) = expression.kind else { return try binder.expand(expression) }
            guard (1...Int64(max(1, expressions.count))).contains(number) else {
                throw SQLError("position \(number) is not in the SELECT list", at: expression.range.lowerBound)
            }
            return expressions[Int(number - 1)].expression
        }
        var times = Int64.min...Int64.max
        if let filter = select.filter {
            let expanded = try binder.expand(filter, filters: true)
            self.filter = try binder.condition(expanded, .rows)
            times = try Self.times(of: expanded, binder)
        } else {
            filter = nil
        }
        self.times = times
        for group in select.groups { try binder.addGroup(try placed(group)) }
        var order: [(expression: SQLExpression, isDescending: Bool)] = []
        for element in select.order { order.append((try placed(element.expression), element.isDescending)) }
        let having: SQLExpression? = if let having = select.having { try binder.expand(having) } else { nil }
        isGrouped =
            !select.groups.isEmpty || having != nil
            || (expressions.map(\.expression) + order.map(\.expression)).contains(where: SQLBinder.hasAggregate)
        let stage: SQLBinder.Stage = isGrouped ? .groups : .rows
        var outputs: [Output] = []
        for (expression, name) in expressions {
            let bound = try binder.bind(expression, stage)
            guard bound.type != .interval else {
                throw SQLError("an interval is no result: add it to a time", at: expression.range.lowerBound)
            }
            outputs.append(Output(column: .init(name: name, type: bound.type), bound: bound))
        }
        self.outputs = outputs
        self.having = if let having { try binder.condition(having, .groups) } else { nil }
        // `SELECT first_value(blob1) FROM t ORDER BY timestamp`: a single group has no order, but its rows have one.
        ordersInput = isGrouped && select.groups.isEmpty && !order.map(\.expression).contains(where: SQLBinder.hasAggregate)
        var bounds: [(bound: SQLBound, isDescending: Bool)] = []
        for (expression, isDescending) in order {
            bounds.append((try binder.bind(expression, ordersInput ? .rows : stage), isDescending))
        }
        self.order = bounds
        groups = binder.groups.map(\.value)
        makeAggregates = binder.aggregates.map(\.make)
        isDistinct = select.isDistinct
        limit = select.limit
        offset = select.offset
        slots = binder.slots
    }

    /// What `timestamp` must be for the filter to be true, as far as its AND-ed parts say it of constants.
    private static func times(of filter: SQLExpression, _ binder: SQLBinder) throws(SQLError) -> ClosedRange<Int64> {
        guard case .binary(let kind, let left, let right) = filter.kind else { return .min ... .max }
        if kind == .and {
            let (first, second) = (try times(of: left, binder), try times(of: right, binder))
            let (lower, upper) = (max(first.lowerBound, second.lowerBound), min(first.upperBound, second.upperBound))
            return lower <= upper ? lower...upper : Int64.max...Int64.max
        }
        for (name, value, kind) in [(left, right, kind), (right, left, kind.mirrored)] {
            guard name.kind == .name("timestamp"), !SQLBinder.hasColumn(value), !SQLBinder.hasAggregate(value) else { continue }
            let bound = try binder.bind(value, .rows)
            let result = try bound.evaluate(SQLRow())
            let seconds: Int64
            if case .string(let text) = result {
                guard let time = CalendarTime.parse(text) else { return .min ... .max }
                seconds = time
            } else {
                seconds = result.integer
            }
            switch kind {
            case .equal: return seconds...seconds
            case .less, .lessOrEqual: return .min...seconds
            case .greater, .greaterOrEqual: return seconds ... .max
            default: return .min ... .max
            }
        }
        return .min ... .max
    }
}

/// Takes the rows of a source and makes those of the result, within the budget.
final class SQLCollector {
    private final class Group {
        let keys: [SQLValue]
        let accumulators: [any SQLAccumulator]

        init(_ keys: [SQLValue], _ accumulators: [any SQLAccumulator]) {
            self.keys = keys
            self.accumulators = accumulators
        }
    }
    private struct Ranked {
        var values: [SQLValue]
        var order: [SQLValue]
        /// When it came: equal ones stay in that order.
        var place: Int
        var byteCount: Int
    }
    private let plan: SQLPlan
    private let budget: QueryBudget
    private var groups: [[SQLValue]: Group] = [:]
    /// In the order in which they came.
    private var groupList: [Group] = []
    private var rows: [Ranked] = []
    private var seen: Set<[SQLValue]> = []
    private var placeNext = 0
    /// Why the source stopped.
    var failure: SQLError?

    init(_ plan: SQLPlan, _ budget: QueryBudget) {
        self.plan = plan
        self.budget = budget
    }

    /// - Returns: whether more rows could change the result.
    func add(_ row: SQLRow) throws(SQLError) -> Bool {
        if let filter = plan.filter, try !filter.evaluate(row).isTrue { return true }
        guard plan.isGrouped else { return try emit(row) }
        if plan.ordersInput, !plan.order.isEmpty {
            try keep(row.columns, try orderKeys(row))
        } else {
            try aggregate(row)
        }
        return true
    }

    private func orderKeys(_ row: SQLRow) throws(SQLError) -> [SQLValue] {
        var keys: [SQLValue] = []
        for element in plan.order { keys.append(try element.bound.evaluate(row)) }
        return keys
    }

    private func keep(_ values: [SQLValue], _ order: [SQLValue]) throws(SQLError) {
        let byteCount = (values + order).reduce(96) { $0 + $1.byteCount }
        try budget.charge(byteCount)
        rows.append(Ranked(values: values, order: order, place: placeNext, byteCount: byteCount))
        placeNext += 1
    }

    private func aggregate(_ row: SQLRow) throws(SQLError) {
        var keys: [SQLValue] = []
        for group in plan.groups { keys.append(try group.evaluate(row).normalized) }
        let group = if let known = groups[keys] { known } else { try makeGroup(keys) }
        for accumulator in group.accumulators { try accumulator.add(row, budget) }
    }

    private func makeGroup(_ keys: [SQLValue]) throws(SQLError) -> Group {
        try budget.charge(keys.reduce(160) { $0 + 2 * $1.byteCount } + plan.makeAggregates.count * 128)
        let group = Group(keys, plan.makeAggregates.map { $0() })
        groups[keys] = group
        groupList.append(group)
        return group
    }

    /// Takes a row of the result.
    private func emit(_ row: SQLRow) throws(SQLError) -> Bool {
        var values: [SQLValue] = []
        for output in plan.outputs { values.append(try output.bound.evaluate(row)) }
        if plan.isDistinct {
            guard seen.insert(values.map(\.normalized)).inserted else { return true }
            try budget.charge(values.reduce(64) { $0 + $1.byteCount })
        }
        try keep(values, plan.ordersInput ? [] : try orderKeys(row))
        guard let limit = plan.limit else { return true }
        let wanted = plan.offset + limit
        if plan.order.isEmpty || plan.ordersInput { return rows.count < wanted }
        // Only the first ones will be asked for.
        if rows.count >= 2 * wanted + 1024 {
            sort()
            for dropped in rows[wanted...] { budget.release(dropped.byteCount) }
            rows.removeSubrange(wanted...)
        }
        return true
    }

    private func sort() {
        guard !plan.order.isEmpty else { return }
        rows.sort { left, right in
            for (index, element) in plan.order.enumerated() {
                let order = SQLValue.compare(left.order[index], right.order[index])
                if order != 0 { return (order < 0) != element.isDescending }
            }
            return left.place < right.place
        }
    }

    func finish() throws(SQLError) -> SQLTable {
        if let failure { throw failure }
        if plan.isGrouped {
            let row = SQLRow()
            if plan.ordersInput, !plan.order.isEmpty {
                sort()
                for kept in rows {
                    row.columns = kept.values
                    try aggregate(row)
                }
                rows = []
            }
            // Without GROUP BY there is one group, even of nothing.
            if groupList.isEmpty, plan.groups.isEmpty { _ = try makeGroup([]) }
            for group in groupList {
                row.keys = group.keys
                row.aggregates = group.accumulators.map(\.result)
                if let having = plan.having, try !having.evaluate(row).isTrue { continue }
                guard try emit(row) else { break }
            }
        }
        if !plan.ordersInput { sort() }
        let rest = rows.dropFirst(plan.offset)
        let chosen = plan.limit.map { rest.prefix($0) } ?? rest
        return SQLTable(columns: plan.outputs.map(\.column), rows: chosen.map(\.values))
    }
}
