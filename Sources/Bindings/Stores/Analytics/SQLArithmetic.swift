/// Operators between two values.
enum SQLArithmetic {
    static func bind(
        _ kind: SQLOperator, _ left: SQLBound, _ right: SQLBound, at offset: Int, _ rightOffset: Int
    ) throws(SQLError) -> SQLBound {
        switch kind {
        case .or, .and: preconditionFailure("the binder takes these itself")
        case .equal: return try comparison(kind, left, right, offset) { $0 == 0 }
        case .notEqual: return try comparison(kind, left, right, offset) { $0 != 0 }
        case .less: return try comparison(kind, left, right, offset) { $0 < 0 }
        case .lessOrEqual: return try comparison(kind, left, right, offset) { $0 <= 0 }
        case .greater: return try comparison(kind, left, right, offset) { $0 > 0 }
        case .greaterOrEqual: return try comparison(kind, left, right, offset) { $0 >= 0 }
        case .plus, .minus, .times, .divided, .modulo:
            if left.type.isTime || right.type.isTime { return try timeArithmetic(kind, left, right, offset) }
            guard left.type.isNumber, right.type.isNumber else { throw mismatch(kind, left, right, offset) }
            return arithmetic(kind, left, right, rightOffset)
        }
    }

    private static func mismatch(_ kind: SQLOperator, _ left: SQLBound, _ right: SQLBound, _ offset: Int) -> SQLError {
        SQLError("\"\(kind.rawValue)\" can't be used between \(left.type.name) and \(right.type.name)", at: offset)
    }

    private static func comparison(
        _ kind: SQLOperator, _ left: SQLBound, _ right: SQLBound, _ offset: Int, _ holds: @escaping (Int) -> Bool
    ) throws(SQLError) -> SQLBound {
        var (left, right) = (left, right)
        // A time is compared with the text of one, and with seconds.
        if left.type.isTime, right.type == .string { right = time(of: right, at: offset) }
        if right.type.isTime, left.type == .string { left = time(of: left, at: offset) }
        let isTimeAndNumber = left.type.isTime && right.type.isNumber || right.type.isTime && left.type.isNumber
        guard isTimeAndNumber || left.type.joined(right.type) != nil, left.type != .interval else {
            throw mismatch(kind, left, right, offset)
        }
        let (first, second) = (left, right)
        let isEquality = kind == .equal || kind == .notEqual
        return SQLBound(.uint8) { row throws(SQLError) in
            let (left, right) = (try first.evaluate(row), try second.evaluate(row))
            // What is no number is unequal to all, and neither less nor greater.
            if left.double.isNaN || right.double.isNaN { return .boolean(isEquality && kind == .notEqual) }
            return .boolean(holds(SQLValue.compare(left, right)))
        }
    }

    private static func time(of text: SQLBound, at offset: Int) -> SQLBound {
        SQLBound(.dateTime) { row throws(SQLError) in
            let text = try text.evaluate(row).string
            guard let seconds = CalendarTime.parse(text) else {
                throw SQLError("\"\(text.prefix(40))\" is no time: YYYY-MM-DD hh:mm:ss is expected", at: offset)
            }
            return .time(seconds)
        }
    }

    private static func arithmetic(
        _ kind: SQLOperator, _ left: SQLBound, _ right: SQLBound, _ rightOffset: Int
    ) -> SQLBound {
        let isInteger = left.type.isInteger && right.type.isInteger
        if isInteger, kind != .divided {
            let type: SQLType =
                [left.type, right.type].contains(.int64) || kind == .minus || kind == .modulo ? .int64 : .uint64
            return SQLBound(type) { row throws(SQLError) in
                let (left, right) = (try left.evaluate(row).integer, try right.evaluate(row).integer)
                switch kind {
                case .plus: return .integer(left &+ right)
                case .minus: return .integer(left &- right)
                case .times: return .integer(left &* right)
                default:
                    guard right != 0 else { throw SQLError("division by zero", at: rightOffset) }
                    return .integer(right == -1 ? 0 : left % right)
                }
            }
        }
        return SQLBound(.float64) { row throws(SQLError) in
            let (left, right) = (try left.evaluate(row).double, try right.evaluate(row).double)
            switch kind {
            case .plus: return .double(left + right)
            case .minus: return .double(left - right)
            case .times: return .double(left * right)
            case .divided: return .double(left / right)
            default: return .double(left.truncatingRemainder(dividingBy: right))
            }
        }
    }

    /// A time and an interval or seconds make a time; two times make seconds.
    private static func timeArithmetic(
        _ kind: SQLOperator, _ left: SQLBound, _ right: SQLBound, _ offset: Int
    ) throws(SQLError) -> SQLBound {
        let sign: Int64 = kind == .minus ? -1 : 1
        switch (kind, left.type, right.type) {
        case (.minus, _, _) where left.type.isTime && right.type.isTime:
            return SQLBound(.int64) { row throws(SQLError) in
                .integer(try left.evaluate(row).integer &- (try right.evaluate(row)).integer)
            }
        case (.plus, _, .interval), (.minus, _, .interval):
            return moved(left, by: right, sign)
        case (.plus, .interval, _): return moved(right, by: left, 1)
        case (.plus, _, _) where right.type.isInteger, (.minus, _, _) where right.type.isInteger:
            return shifted(left, by: right, sign)
        case (.plus, _, _) where left.type.isInteger: return shifted(right, by: left, 1)
        default: throw mismatch(kind, left, right, offset)
        }
    }

    private static func moved(_ time: SQLBound, by interval: SQLBound, _ sign: Int64) -> SQLBound {
        SQLBound(.dateTime) { row throws(SQLError) in
            guard case .interval(let interval) = try interval.evaluate(row) else { return .time(0) }
            return .seconds(CalendarTime.add(interval, to: try time.evaluate(row).integer, times: sign))
        }
    }

    /// A date moves by days, a time by seconds.
    private static func shifted(_ time: SQLBound, by number: SQLBound, _ sign: Int64) -> SQLBound {
        SQLBound(time.type) { row throws(SQLError) in
            let amount = sign &* (try number.evaluate(row)).integer
            switch try time.evaluate(row) {
            case .date(let days): return .days(days &+ amount)
            case let value: return .seconds(value.integer &+ amount)
            }
        }
    }
}
