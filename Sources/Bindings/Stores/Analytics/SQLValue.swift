/// The types of columns and expressions, named as results name them.
indirect enum SQLType: Equatable, Sendable {
    case string, float64, uint8, uint32, uint64, int64, dateTime, date, interval
    case array(SQLType)

    var name: String {
        switch self {
        case .string: "String"
        case .float64: "Float64"
        case .uint8: "UInt8"
        case .uint32: "UInt32"
        case .uint64: "UInt64"
        case .int64: "Int64"
        case .dateTime: "DateTime"
        case .date: "Date"
        case .interval: "Interval"
        case .array(let element): "Array(\(element.name))"
        }
    }

    var isInteger: Bool {
        switch self {
        case .uint8, .uint32, .uint64, .int64: true
        case .string, .float64, .dateTime, .date, .interval, .array: false
        }
    }

    var isNumber: Bool { isInteger || self == .float64 }
    var isTime: Bool { self == .dateTime || self == .date }

    /// The type that holds what either holds; `nil` when there is none.
    func joined(_ other: SQLType) -> SQLType? {
        if self == other { return self }
        if isNumber, other.isNumber { return self == .float64 || other == .float64 ? .float64 : .int64 }
        if isTime, other.isTime { return .dateTime }
        return nil
    }
}

/// A value. Which case it has follows from the type of its expression.
enum SQLValue: Hashable, Sendable {
    case integer(Int64)
    case double(Double)
    case string(String)
    /// Seconds since 1970.
    case time(Int64)
    /// Days since 1970.
    case date(Int64)
    case interval(SQLInterval)
    case array([SQLValue])

    /// Texts are their bytes here: an accent that is a character of its own makes another text.
    static func == (left: SQLValue, right: SQLValue) -> Bool {
        switch (left, right) {
        case (.integer(let left), .integer(let right)), (.time(let left), .time(let right)),
            (.date(let left), .date(let right)):
            left == right
        case (.double(let left), .double(let right)): left == right
        case (.string(let left), .string(let right)): left.utf8.elementsEqual(right.utf8)
        case (.interval(let left), .interval(let right)): left == right
        case (.array(let left), .array(let right)): left == right
        default: false
        }
    }

    func hash(into hasher: inout Hasher) {
        switch self {
        case .integer(let number), .time(let number), .date(let number): hasher.combine(number)
        case .double(let number): hasher.combine(number)
        // SAFETY: the bytes are lent for the call, and hashed in it.
        case .string(var text): text.withUTF8 { unsafe hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        case .interval(let interval): hasher.combine(interval)
        case .array(let elements): hasher.combine(elements)
        }
    }

    var integer: Int64 {
        switch self {
        case .integer(let number), .time(let number): number
        case .date(let days): days * 86_400
        case .double(let number): Int64(clamping: number)
        case .string, .interval, .array: 0
        }
    }

    var double: Double {
        if case .double(let number) = self { return number }
        return Double(integer)
    }

    var string: String {
        if case .string(let text) = self { return text }
        return ""
    }

    var isTrue: Bool {
        switch self {
        case .integer(let number): number != 0
        case .double(let number): number != 0
        case .string, .time, .date, .interval, .array: false
        }
    }

    static func boolean(_ value: Bool) -> SQLValue { .integer(value ? 1 : 0) }

    /// A time within ±100,000 years: what lies beyond is taken for these.
    static func seconds(_ seconds: Int64) -> SQLValue { .time(min(max(seconds, -3_155_760_000_000), 3_155_760_000_000)) }
    static func days(_ days: Int64) -> SQLValue { .date(min(max(days, -36_525_000), 36_525_000)) }

    /// For grouping: one zero, one not-a-number.
    var normalized: SQLValue {
        guard case .double(let number) = self else { return self }
        return number.isNaN ? .double(.nan) : number == 0 ? .double(0) : self
    }

    /// Orders values of types that can be joined; what is no number comes last.
    static func compare(_ left: SQLValue, _ right: SQLValue) -> Int {
        switch (left, right) {
        case (.string(let left), .string(let right)):
            if left.utf8.elementsEqual(right.utf8) { return 0 }
            return left.utf8.lexicographicallyPrecedes(right.utf8) ? -1 : 1
        case (.integer(let left), .integer(let right)), (.time(let left), .time(let right)),
            (.date(let left), .date(let right)):
            return left < right ? -1 : left == right ? 0 : 1
        case (.double, _), (_, .double):
            let (left, right) = (left.double, right.double)
            if left.isNaN || right.isNaN { return left.isNaN && right.isNaN ? 0 : left.isNaN ? 1 : -1 }
            return left < right ? -1 : left == right ? 0 : 1
        case (.array(let left), .array(let right)):
            for (left, right) in zip(left, right) {
                let order = compare(left, right)
                if order != 0 { return order }
            }
            return left.count < right.count ? -1 : left.count == right.count ? 0 : 1
        default:
            return left.integer < right.integer ? -1 : left.integer == right.integer ? 0 : 1
        }
    }

    /// What it takes in memory, estimated.
    var byteCount: Int {
        switch self {
        case .string(let text): 32 + (text.utf8.count > 15 ? text.utf8.count + 32 : 0)
        case .array(let elements): elements.reduce(64) { $0 + $1.byteCount }
        case .integer, .double, .time, .date, .interval: 32
        }
    }
}

extension Int64 {
    /// Towards zero; what is no number is 0.
    init(clamping number: Double) {
        self = number.isNaN ? 0 : number >= 0x1p63 ? .max : number <= -0x1p63 ? .min : Int64(number)
    }
}
