/// What gathers one aggregate of one group.
protocol SQLAccumulator: AnyObject {
    func add(_ row: SQLRow, _ budget: QueryBudget) throws(SQLError)
    var result: SQLValue { get }
}

/// The aggregate functions. Names are compared in any case.
enum SQLAggregates {
    static let names: Set<String> = [
        "count", "sum", "avg", "min", "max", "countIf", "sumIf", "avgIf", "quantileExactWeighted", "quantileWeighted",
        "argMax", "argMin", "first_value", "last_value", "topK", "topKWeighted",
    ]
    private static let lowerNames = Set(names.map { $0.lowercased() })

    static func isAggregate(_ name: String) -> Bool { lowerNames.contains(name.lowercased()) }

    /// - Returns: the type of the result, and what makes the accumulator of a group.
    static func bind(
        _ call: SQLCall, _ arguments: [SQLBound], at offset: Int
    ) throws(SQLError) -> (SQLType, () -> any SQLAccumulator) {
        let name = call.name.lowercased()
        func error(_ message: String) -> SQLError { SQLError("\(call.name): \(message)", at: offset) }
        func require(_ count: Int) throws(SQLError) {
            guard arguments.count == count else {
                throw error("takes \(count) argument\(count == 1 ? "" : "s"), got \(arguments.count)")
            }
        }
        func number(_ place: Int) throws(SQLError) -> SQLBound {
            guard arguments[place].type.isNumber else { throw error("expected a number, got \(arguments[place].type.name)") }
            return arguments[place]
        }
        guard call.parameters.isEmpty || ["quantileexactweighted", "topk", "topkweighted"].contains(name) else {
            throw error("takes no parameters before its arguments")
        }
        guard !call.isDistinct || ["count", "sum", "avg"].contains(name) else { throw error("takes no DISTINCT") }
        switch name {
        case "count" where call.isDistinct:
            try require(1)
            return (.uint64, { Distinct(arguments[0], then: Count(nil)) })
        case "count":
            guard arguments.isEmpty else { throw error("takes no argument but DISTINCT and a column; see countIf") }
            return (.uint64, { Count(nil) })
        case "countif":
            try require(1)
            let condition = try number(0)
            return (.uint64, { Count(condition) })
        case "sum", "sumif":
            try require(name == "sum" ? 1 : 2)
            let value = try number(0)
            let condition = name == "sum" ? nil : try number(1)
            guard value.type.isInteger else {
                return (.float64, distinct(call, value) { DoubleSum(value, if: condition) })
            }
            let type: SQLType = value.type == .int64 ? .int64 : .uint64
            return (type, distinct(call, value) { IntegerSum(value, if: condition) })
        case "avg", "avgif":
            try require(name == "avg" ? 1 : 2)
            let value = try number(0)
            let condition = name == "avg" ? nil : try number(1)
            return (.float64, distinct(call, value) { Average(value, if: condition) })
        case "min", "max":
            try require(1)
            let (value, empty) = (arguments[0], try empty(arguments[0].type, error))
            let sign = name == "min" ? -1 : 1
            return (value.type, { Extreme(value, by: value, sign, empty) })
        case "argmin", "argmax":
            try require(2)
            let (value, key, empty) = (arguments[0], arguments[1], try empty(arguments[0].type, error))
            let sign = name == "argmin" ? -1 : 1
            return (value.type, { Extreme(value, by: key, sign, empty) })
        case "first_value", "last_value":
            try require(1)
            let (value, empty) = (arguments[0], try empty(arguments[0].type, error))
            return (value.type, { Place(value, isFirst: name == "first_value", empty) })
        case "quantileexactweighted", "quantileweighted":
            // The older form has the level among its arguments.
            let isOld = name == "quantileweighted"
            try require(isOld ? 3 : 2)
            let levelExpression = isOld ? call.arguments[0] : call.parameters.count == 1 ? call.parameters[0] : nil
            guard let level = levelExpression.flatMap(constant), (0...1).contains(level) else {
                throw error(
                    "the level must be a constant from 0 to 1, as in quantileExactWeighted(0.5)(double1, _sample_interval)")
            }
            let (value, weight) = (try number(isOld ? 1 : 0), try number(isOld ? 2 : 1))
            return (value.type, { Quantile(value, weight, level) })
        default:  // topK and topKWeighted
            try require(name == "topk" ? 1 : 2)
            let count = call.parameters.isEmpty ? 10 : call.parameters.count == 1 ? constant(call.parameters[0]) ?? 0 : 0
            guard count >= 1, count <= 65_535, count == count.rounded() else {
                throw error("the count must be a whole number from 1 to 65535")
            }
            let (value, weight) = (arguments[0], name == "topk" ? nil : try number(1))
            return (.array(value.type), { Top(value, weight, Int(count)) })
        }
    }

    private static func constant(_ expression: SQLExpression) -> Double? {
        switch expression.kind {
        case .integer(let number): Double(number)
        case .double(let number): number
        default: nil
        }
    }

    private static func distinct(
        _ call: SQLCall, _ value: SQLBound, _ make: @escaping () -> any SQLAccumulator
    ) -> () -> any SQLAccumulator {
        call.isDistinct ? { Distinct(value, then: make()) } : make
    }

    /// What comes out when there were no rows.
    private static func empty(_ type: SQLType, _ error: (String) -> SQLError) throws(SQLError) -> SQLValue {
        switch type {
        case .string: .string("")
        case .float64: .double(.nan)
        case .uint8, .uint32, .uint64, .int64: .integer(0)
        case .dateTime: .time(0)
        case .date: .date(0)
        case .array: .array([])
        case .interval: throw error("takes no interval")
        }
    }
}

private final class Count: SQLAccumulator {
    private let condition: SQLBound?
    private var count: Int64 = 0

    init(_ condition: SQLBound?) { self.condition = condition }

    func add(_ row: SQLRow, _ budget: QueryBudget) throws(SQLError) {
        if let condition, try !condition.evaluate(row).isTrue { return }
        count += 1
    }

    var result: SQLValue { .integer(count) }
}

private final class IntegerSum: SQLAccumulator {
    private let value: SQLBound
    private let condition: SQLBound?
    private var sum: Int64 = 0

    init(_ value: SQLBound, if condition: SQLBound?) {
        self.value = value
        self.condition = condition
    }

    func add(_ row: SQLRow, _ budget: QueryBudget) throws(SQLError) {
        if let condition, try !condition.evaluate(row).isTrue { return }
        sum &+= try value.evaluate(row).integer
    }

    var result: SQLValue { .integer(sum) }
}

private final class DoubleSum: SQLAccumulator {
    private let value: SQLBound
    private let condition: SQLBound?
    private var sum = 0.0
    /// What rounding has taken from `sum` (Neumaier): a million small numbers add up to what they are.
    private var lost = 0.0

    init(_ value: SQLBound, if condition: SQLBound?) {
        self.value = value
        self.condition = condition
    }

    func add(_ row: SQLRow, _ budget: QueryBudget) throws(SQLError) {
        if let condition, try !condition.evaluate(row).isTrue { return }
        let number = try value.evaluate(row).double
        let total = sum + number
        lost += abs(sum) >= abs(number) ? sum - total + number : number - total + sum
        sum = total
    }

    var result: SQLValue { .double(sum.isFinite ? sum + lost : sum) }
}

private final class Average: SQLAccumulator {
    private let sum: DoubleSum
    private let count: Count

    init(_ value: SQLBound, if condition: SQLBound?) {
        sum = DoubleSum(value, if: condition)
        count = Count(condition)
    }

    func add(_ row: SQLRow, _ budget: QueryBudget) throws(SQLError) {
        try sum.add(row, budget)
        try count.add(row, budget)
    }

    /// Not a number when there was none.
    var result: SQLValue { .double(sum.result.double / count.result.double) }
}

/// The value whose key is the least or the greatest; the first of several.
private final class Extreme: SQLAccumulator {
    private let value: SQLBound
    private let key: SQLBound
    private let sign: Int
    private let empty: SQLValue
    private var best: (key: SQLValue, value: SQLValue)?

    init(_ value: SQLBound, by key: SQLBound, _ sign: Int, _ empty: SQLValue) {
        (self.value, self.key, self.sign, self.empty) = (value, key, sign, empty)
    }

    func add(_ row: SQLRow, _ budget: QueryBudget) throws(SQLError) {
        let found = try key.evaluate(row)
        // What is no number is neither the least nor the greatest.
        if found.double.isNaN { return }
        if let best, SQLValue.compare(found, best.key) * sign <= 0 { return }
        best = (found, try value.evaluate(row))
    }

    var result: SQLValue { best?.value ?? empty }
}

private final class Place: SQLAccumulator {
    private let value: SQLBound
    private let isFirst: Bool
    private let empty: SQLValue
    private var found: SQLValue?

    init(_ value: SQLBound, isFirst: Bool, _ empty: SQLValue) {
        (self.value, self.isFirst, self.empty) = (value, isFirst, empty)
    }

    func add(_ row: SQLRow, _ budget: QueryBudget) throws(SQLError) {
        if isFirst, found != nil { return }
        found = try value.evaluate(row)
    }

    var result: SQLValue { found ?? empty }
}

/// Lets each value through once.
private final class Distinct: SQLAccumulator {
    private let value: SQLBound
    private let next: any SQLAccumulator
    private var seen: Set<SQLValue> = []

    init(_ value: SQLBound, then next: any SQLAccumulator) {
        self.value = value
        self.next = next
    }

    func add(_ row: SQLRow, _ budget: QueryBudget) throws(SQLError) {
        let found = try value.evaluate(row).normalized
        guard seen.insert(found).inserted else { return }
        try budget.charge(found.byteCount + 16)
        try next.add(row, budget)
    }

    var result: SQLValue { next.result }
}

/// Sums weights by value.
private struct Weights {
    private(set) var weights: [SQLValue: Double] = [:]

    mutating func add(_ value: SQLValue, _ weight: Double, _ budget: QueryBudget) throws(SQLError) {
        if weights[value] == nil { try budget.charge(value.byteCount + 24) }
        weights[value, default: 0] += weight
    }
}

/// The least value that, with all below it, has `level` of the weight.
private final class Quantile: SQLAccumulator {
    private let value: SQLBound
    private let weight: SQLBound
    private let level: Double
    private var weights = Weights()

    init(_ value: SQLBound, _ weight: SQLBound, _ level: Double) {
        (self.value, self.weight, self.level) = (value, weight, level)
    }

    func add(_ row: SQLRow, _ budget: QueryBudget) throws(SQLError) {
        let (found, weight) = (try value.evaluate(row).normalized, try weight.evaluate(row).double)
        guard weight > 0, !found.double.isNaN else { return }
        try weights.add(found, weight, budget)
    }

    var result: SQLValue {
        let sorted = weights.weights.sorted { SQLValue.compare($0.key, $1.key) < 0 }
        let threshold = (sorted.reduce(0) { $0 + $1.value } * level).rounded(.up)
        var sum = 0.0
        for (value, weight) in sorted {
            sum += weight
            if sum >= threshold { return value }
        }
        return sorted.last?.key ?? (value.type == .float64 ? .double(.nan) : .integer(0))
    }
}

/// The values with the most weight, the heaviest first.
private final class Top: SQLAccumulator {
    private let value: SQLBound
    private let weight: SQLBound?
    private let count: Int
    private var weights = Weights()

    init(_ value: SQLBound, _ weight: SQLBound?, _ count: Int) {
        (self.value, self.weight, self.count) = (value, weight, count)
    }

    func add(_ row: SQLRow, _ budget: QueryBudget) throws(SQLError) {
        try weights.add(try value.evaluate(row).normalized, try weight?.evaluate(row).double ?? 1, budget)
    }

    var result: SQLValue {
        let sorted = weights.weights.sorted {
            $0.value != $1.value ? $0.value > $1.value : SQLValue.compare($0.key, $1.key) < 0
        }
        return .array(sorted.prefix(count).map(\.key))
    }
}
