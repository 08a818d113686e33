/// A value of an SQL database, in one of SQLite's five storage classes.
///
/// Literals make one: `nil`, `42`, `1.5`, `"text"`, `true` (the integer 1), `[1, 255]` (a blob).
///
/// - Note: One deliberate improvement over JavaScript, where every number is a double: `.integer` is bound as
///   INTEGER and read back exactly, over all 64 bits, and a blob is bytes, not an array of numbers.
public enum D1Value: Hashable, Sendable {
    case null
    case integer(Int64)
    /// Not-a-number and the infinities are bound as NULL, and an infinity that SQL computes is read as
    /// `null`.
    case real(Double)
    case text(String)
    case blob([UInt8])

    public var isNull: Bool { self == .null }

    /// The integer, or a real number that is one; else `nil`.
    public var integer: Int64? {
        switch self {
        case .integer(let value): value
        case .real(let value): Int64(exactly: value)
        case .null, .text, .blob: nil
        }
    }

    /// The number, rounded when it is an integer beyond 2⁵³; else `nil`.
    public var real: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .real(let value): value
        case .null, .text, .blob: nil
        }
    }

    public var text: String? {
        guard case .text(let value) = self else { return nil }
        return value
    }

    public var blob: [UInt8]? {
        guard case .blob(let value) = self else { return nil }
        return value
    }

    /// Whether a number is not zero; `nil` for what is no number. SQLite has no truth values of its own.
    public var bool: Bool? { real.map { $0 != 0 } }
}

extension D1Value: ExpressibleByNilLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
    ExpressibleByStringLiteral, ExpressibleByStringInterpolation, ExpressibleByBooleanLiteral,
    ExpressibleByArrayLiteral
{
    public init(nilLiteral: ()) { self = .null }
    public init(integerLiteral value: Int64) { self = .integer(value) }
    public init(floatLiteral value: Double) { self = .real(value) }
    public init(stringLiteral value: String) { self = .text(value) }
    public init(booleanLiteral value: Bool) { self = .integer(value ? 1 : 0) }
    public init(arrayLiteral elements: UInt8...) { self = .blob(elements) }
}

/// A Swift value that can be bound to a parameter. Conform a type of your own by naming the value it is
/// stored as.
public protocol D1Convertible {
    var d1Value: D1Value { get }
}

extension D1Value: D1Convertible {
    public var d1Value: D1Value { self }
}

extension Double: D1Convertible {
    public var d1Value: D1Value { isFinite ? .real(self) : .null }
}

extension Float: D1Convertible {
    public var d1Value: D1Value { Double(self).d1Value }
}

extension Bool: D1Convertible {
    public var d1Value: D1Value { .integer(self ? 1 : 0) }
}

extension String: D1Convertible {
    public var d1Value: D1Value { .text(self) }
}

extension Substring: D1Convertible {
    public var d1Value: D1Value { .text(String(self)) }
}

extension Array: D1Convertible where Element == UInt8 {
    public var d1Value: D1Value { .blob(self) }
}

extension Optional: D1Convertible where Wrapped: D1Convertible {
    public var d1Value: D1Value { self?.d1Value ?? .null }
}

// UInt and UInt64 are missing on purpose: half of their values have no place in an SQLite integer.
extension Int: D1Convertible { public var d1Value: D1Value { .integer(Int64(self)) } }
extension Int8: D1Convertible { public var d1Value: D1Value { .integer(Int64(self)) } }
extension Int16: D1Convertible { public var d1Value: D1Value { .integer(Int64(self)) } }
extension Int32: D1Convertible { public var d1Value: D1Value { .integer(Int64(self)) } }
extension Int64: D1Convertible { public var d1Value: D1Value { .integer(self) } }
extension UInt8: D1Convertible { public var d1Value: D1Value { .integer(Int64(self)) } }
extension UInt16: D1Convertible { public var d1Value: D1Value { .integer(Int64(self)) } }
extension UInt32: D1Convertible { public var d1Value: D1Value { .integer(Int64(self)) } }

extension D1Value {
    /// The value of something whose type is known only at run time.
    ///
    /// - Throws: `D1_TYPE_ERROR: Type 'X' not supported for value 'Y'` when it is not `D1Convertible`.
    public init(dynamic value: Any?) throws(CallFailure) {
        guard let value else {
            self = .null
            return
        }
        guard let convertible = value as? any D1Convertible else {
            throw CallFailure(
                "D1_TYPE_ERROR: Type '\(type(of: value))' not supported for value '\(value)'")
        }
        self = convertible.d1Value
    }
}
