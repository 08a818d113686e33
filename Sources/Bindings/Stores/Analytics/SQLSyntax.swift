/// An expression as it was written. Two are equal when they say the same, wherever they stand.
struct SQLExpression: Equatable, Sendable {
    indirect enum Kind: Equatable, Sendable {
        case integer(Int64)
        case double(Double)
        case string(String)
        case boolean(Bool)
        case interval(SQLInterval)
        case name(String)
        case call(SQLCall)
        case negated(SQLExpression)
        case not(SQLExpression)
        case binary(SQLOperator, SQLExpression, SQLExpression)
        case between(SQLExpression, SQLExpression, SQLExpression)
        case inList(SQLExpression, [SQLExpression])
        case like(SQLExpression, SQLExpression, ignoresCase: Bool)
    }
    var kind: Kind
    /// Bytes of the text.
    var range: Range<Int>
    /// Of the tree below.
    var depth: Int

    init(_ kind: Kind, _ range: Range<Int>, depth: Int = 1) {
        self.kind = kind
        self.range = range
        self.depth = depth
    }

    static func == (left: Self, right: Self) -> Bool { left.kind == right.kind }
}

struct SQLCall: Equatable, Sendable {
    /// As written.
    var name: String
    /// `q` of `quantileExactWeighted(q)(…)`.
    var parameters: [SQLExpression]
    var arguments: [SQLExpression]
    var isDistinct: Bool

    static func == (left: Self, right: Self) -> Bool {
        left.name.lowercased() == right.name.lowercased() && left.parameters == right.parameters
            && left.arguments == right.arguments && left.isDistinct == right.isDistinct
    }
}

enum SQLOperator: String, Sendable {
    case or, and
    case equal = "="
    case notEqual = "!="
    case less = "<"
    case lessOrEqual = "<="
    case greater = ">"
    case greaterOrEqual = ">="
    case plus = "+"
    case minus = "-"
    case times = "*"
    case divided = "/"
    case modulo = "%"

    /// With the sides exchanged.
    var mirrored: SQLOperator {
        switch self {
        case .less: .greater
        case .lessOrEqual: .greaterOrEqual
        case .greater: .less
        case .greaterOrEqual: .lessOrEqual
        default: self
        }
    }
}

struct SQLInterval: Hashable, Sendable {
    enum Unit: String, Sendable { case second, minute, hour, day, month, year }
    var count: Int64
    var unit: Unit
}

struct SQLSelect: Equatable, Sendable {
    struct Item: Equatable, Sendable {
        /// `nil`: all columns.
        var expression: SQLExpression?
        /// The alias, else the text.
        var name: String
        var isAlias: Bool
    }
    indirect enum Source: Equatable, Sendable {
        case none
        case table(String, at: Int)
        case subquery(SQLSelect)
    }
    struct Order: Equatable, Sendable {
        var expression: SQLExpression
        var isDescending: Bool
    }
    var isDistinct = false
    var items: [Item] = []
    var source = Source.none
    var filter: SQLExpression?
    var groups: [SQLExpression] = []
    var having: SQLExpression?
    var order: [Order] = []
    /// `nil`: all rows.
    var limit: Int?
    var offset = 0
}

struct SQLStatement: Equatable, Sendable {
    enum Kind: Equatable, Sendable {
        case select(SQLSelect)
        case showTables
        case showTimezones
        case showTimezone
    }
    enum Format: String, CaseIterable, Sendable {
        case json = "JSON", jsonEachRow = "JSONEachRow", tabSeparated = "TabSeparated"
    }
    var kind: Kind
    var format = Format.json
    /// For the places of errors.
    var text = ""
}
