internal import Glibc

/// The functions of one row. Names are compared in any case.
enum SQLFunctions {
    /// A function that a query calls.
    struct Use {
        var name: String
        var arguments: [SQLBound]
        var offset: Int
        var argumentOffsets: [Int]
        /// The query's time, in seconds.
        var now: Int64

        func error(_ message: String, argument: Int? = nil) -> SQLError {
            SQLError("\(name): \(message)", at: argument.map { argumentOffsets[$0] } ?? offset)
        }
    }

    private enum Argument {
        case number, integer, string, time, any, interval

        func accepts(_ type: SQLType) -> Bool {
            switch self {
            case .number: type.isNumber
            case .integer: type.isInteger
            case .string: type == .string
            case .time: type.isTime
            case .interval: type == .interval
            case .any: true
            }
        }

        var text: String {
            switch self {
            case .number: "a number"
            case .integer: "an integer"
            case .string: "a text"
            case .time: "a DateTime"
            case .interval: "an interval, such as INTERVAL '15' MINUTE"
            case .any: "a value"
            }
        }
    }

    private struct Function {
        var arguments: [Argument]
        /// How many of the last ones may be left out.
        var optionalCount = 0
        var bind: @Sendable (Use) throws(SQLError) -> SQLBound
    }

    static func bind(_ use: Use) throws(SQLError) -> SQLBound {
        guard let function = table[use.name.lowercased()] else {
            let near = SQLNames.nearest(to: use.name, among: table.keys.sorted() + SQLAggregates.names.sorted())
            throw SQLError(
                "unknown function \"\(use.name)\"" + (near.map { "; did you mean \"\($0)\"?" } ?? ""), at: use.offset)
        }
        // `format` takes as many as its text asks for.
        let isVariadic = use.name.lowercased() == "format"
        let range = (function.arguments.count - function.optionalCount)...function.arguments.count
        guard range.contains(use.arguments.count) || isVariadic && use.arguments.count >= 1 else {
            let wanted =
                range.lowerBound == range.upperBound ? "\(range.lowerBound)" : "\(range.lowerBound) to \(range.upperBound)"
            throw use.error("takes \(wanted) argument\(wanted == "1" ? "" : "s"), got \(use.arguments.count)")
        }
        for (index, (argument, wanted)) in zip(use.arguments, function.arguments).enumerated()
        where !wanted.accepts(argument.type) {
            throw use.error("expected \(wanted.text), got \(argument.type.name)", argument: index)
        }
        return try function.bind(use)
    }

    private static let table: [String: Function] = {
        var table: [String: Function] = [:]
        addNumbers(&table)
        addTimes(&table)
        addTexts(&table)
        addBits(&table)
        return table
    }()

    // MARK: Numbers

    private static func addNumbers(_ table: inout [String: Function]) {
        table["if"] = Function(arguments: [.number, .any, .any]) { use throws(SQLError) in
            let (condition, first, second) = (use.arguments[0], use.arguments[1], use.arguments[2])
            guard let type = first.type.joined(second.type) else {
                throw use.error("\(first.type.name) and \(second.type.name) have no type in common", argument: 2)
            }
            return SQLBound(type) { row throws(SQLError) in
                let value = try condition.evaluate(row).isTrue ? first.evaluate(row) : second.evaluate(row)
                switch type {
                case .float64: return .double(value.double)
                case .dateTime: return .time(value.integer)
                default: return value
                }
            }
        }
        table["intdiv"] = Function(arguments: [.number, .number]) { use in
            let (left, right) = (use.arguments[0], use.arguments[1])
            return SQLBound(.int64) { row throws(SQLError) in
                let (left, right) = (try left.evaluate(row), try right.evaluate(row))
                guard right.double != 0 else { throw use.error("division by zero", argument: 1) }
                if case .integer(let number) = left, case .integer(let divisor) = right {
                    // The smallest number has no opposite.
                    return .integer(divisor == -1 ? 0 &- number : CalendarTime.floorDivide(number, divisor))
                }
                return .integer(Int64(clamping: (left.double / right.double).rounded(.down)))
            }
        }
        for (name, type, most) in [("touint8", SQLType.uint8, Int64(UInt8.max)), ("touint32", .uint32, Int64(UInt32.max))] {
            table[name] = Function(arguments: [.any]) { use throws(SQLError) in
                let argument = use.arguments[0]
                guard argument.type.isNumber || argument.type == .string || argument.type.isTime else {
                    throw use.error("expected a number or a text, got \(argument.type.name)", argument: 0)
                }
                return SQLBound(type) { row throws(SQLError) in
                    let value = try argument.evaluate(row)
                    guard case .string(let text) = value else { return .integer(value.integer & most) }
                    guard let number = Double(text) else {
                        throw use.error("\"\(text.prefix(40))\" is no number", argument: 0)
                    }
                    return .integer(Int64(clamping: number) & most)
                }
            }
        }
        for name in ["log", "ln"] {
            table[name] = Function(arguments: [.number]) { use in
                let argument = use.arguments[0]
                return SQLBound(.float64) { row throws(SQLError) in .double(log(try argument.evaluate(row).double)) }
            }
        }
        table["pow"] = Function(arguments: [.number, .number]) { use in
            let (base, exponent) = (use.arguments[0], use.arguments[1])
            return SQLBound(.float64) { row throws(SQLError) in
                .double(pow(try base.evaluate(row).double, try exponent.evaluate(row).double))
            }
        }
        for (name, rule) in [("round", FloatingPointRoundingRule.toNearestOrEven), ("floor", .down), ("ceil", .up)] {
            table[name] = Function(arguments: [.number, .integer], optionalCount: 1) { use in
                let number = use.arguments[0]
                let digits = use.arguments.count > 1 ? use.arguments[1] : SQLBound(.int64) { _ in .integer(0) }
                return SQLBound(.float64) { row throws(SQLError) in
                    let scale = pow(10, Double(min(max(try digits.evaluate(row).integer, -300), 300)))
                    let value = try number.evaluate(row).double
                    let scaled = value * scale
                    // Beyond the digits that a number has, there is nothing to round.
                    guard scaled.isFinite else { return .double(value) }
                    // Half to even is for what is exactly half: 5.5 is 6, and so is 6.5.
                    return .double(scaled.rounded(rule) / scale)
                }
            }
        }
    }

    // MARK: Times

    /// Those that this node knows: it keeps no table of time zones.
    static let timezones = [
        "Etc/GMT", "Etc/Greenwich", "Etc/UCT", "Etc/UTC", "Etc/Universal", "Etc/Zulu", "GMT", "Greenwich", "UCT", "UTC",
        "Universal", "Zulu",
    ]

    private static func checkTimezone(_ use: Use, _ index: Int) throws(SQLError) {
        guard use.arguments.count > index else { return }
        guard use.arguments[index].isConstant else { throw use.error("the timezone must be a constant", argument: index) }
        let name = try use.arguments[index].evaluate(SQLRow()).string
        guard timezones.contains(name) else {
            throw use.error("unsupported timezone \"\(name)\": times are in Etc/UTC here, see SHOW TIMEZONES", argument: index)
        }
    }

    private static func addTimes(_ table: inout [String: Function]) {
        table["now"] = Function(arguments: []) { use in
            let now = use.now
            return SQLBound(.dateTime) { _ in .time(now) }
        }
        table["today"] = Function(arguments: []) { use in
            let today = CalendarTime.floorDivide(use.now, 86_400)
            return SQLBound(.date) { _ in .date(today) }
        }
        table["todatetime"] = Function(arguments: [.any, .string], optionalCount: 1) { use throws(SQLError) in
            try checkTimezone(use, 1)
            let argument = use.arguments[0]
            guard argument.type.isNumber || argument.type == .string || argument.type.isTime else {
                throw use.error("expected a number or a text, got \(argument.type.name)", argument: 0)
            }
            return SQLBound(.dateTime) { row throws(SQLError) in
                let value = try argument.evaluate(row)
                guard case .string(let text) = value else { return .seconds(value.integer) }
                guard let seconds = CalendarTime.parse(text) ?? Int64(text) else {
                    throw use.error(
                        "\"\(text.prefix(40))\" is no time: YYYY-MM-DD hh:mm:ss or seconds are expected", argument: 0)
                }
                return .seconds(seconds)
            }
        }
        table["tounixtimestamp"] = Function(arguments: [.time]) { use in
            let time = use.arguments[0]
            return SQLBound(.uint32) { row throws(SQLError) in .integer(try time.evaluate(row).integer) }
        }
        func part(_ name: String, _ type: SQLType, _ part: @escaping @Sendable (CalendarTime, Int64) -> Int64) {
            table[name] = Function(arguments: [.time]) { use in
                let time = use.arguments[0]
                return SQLBound(type) { row throws(SQLError) in
                    let seconds = try time.evaluate(row).integer
                    return .integer(part(CalendarTime(seconds: seconds), seconds))
                }
            }
        }
        part("toyear", .uint32) { time, _ in time.year }
        part("tomonth", .uint8) { time, _ in time.month }
        part("todayofmonth", .uint8) { time, _ in time.day }
        part("todayofweek", .uint8) { _, seconds in CalendarTime.dayOfWeek(days: CalendarTime.floorDivide(seconds, 86_400)) }
        part("tohour", .uint8) { time, _ in time.hour }
        part("tominute", .uint8) { time, _ in time.minute }
        part("tosecond", .uint8) { time, _ in time.second }
        part("toyyyymm", .uint32) { time, _ in time.year * 100 + time.month }
        func start(_ name: String, _ count: Int64, _ unit: SQLInterval.Unit) {
            table[name] = Function(arguments: [.time]) { use in
                let time = use.arguments[0]
                let interval = SQLInterval(count: count, unit: unit)
                return SQLBound(.dateTime) { row throws(SQLError) in
                    .time(CalendarTime.start(of: interval, try time.evaluate(row).integer))
                }
            }
        }
        start("tostartofyear", 1, .year)
        start("tostartofmonth", 1, .month)
        start("tostartofday", 1, .day)
        start("tostartofhour", 1, .hour)
        start("tostartoffifteenminutes", 15, .minute)
        start("tostartoftenminutes", 10, .minute)
        start("tostartoffiveminutes", 5, .minute)
        start("tostartofminute", 1, .minute)
        table["tostartofweek"] = Function(arguments: [.time]) { use in
            let time = use.arguments[0]
            return SQLBound(.dateTime) { row throws(SQLError) in
                let days = CalendarTime.floorDivide(try time.evaluate(row).integer, 86_400)
                return .time((days - CalendarTime.dayOfWeek(days: days) + 1) * 86_400)
            }
        }
        table["tostartofinterval"] = Function(arguments: [.time, .interval, .string], optionalCount: 1) {
            use throws(SQLError) in
            try checkTimezone(use, 2)
            let time = use.arguments[0]
            guard use.arguments[1].isConstant, case .interval(let interval) = try use.arguments[1].evaluate(SQLRow()),
                interval.count > 0
            else {
                throw use.error("the interval must be a constant longer than nothing", argument: 1)
            }
            return SQLBound(.dateTime) { row throws(SQLError) in
                .time(CalendarTime.start(of: interval, try time.evaluate(row).integer))
            }
        }
        table["formatdatetime"] = Function(arguments: [.time, .string, .string], optionalCount: 1) { use throws(SQLError) in
            try checkTimezone(use, 2)
            let (time, format) = (use.arguments[0], use.arguments[1])
            return SQLBound(.string) { row throws(SQLError) in
                let (seconds, format) = (try time.evaluate(row).integer, try format.evaluate(row).string)
                guard let text = TimeFormat.text(seconds, format) else {
                    throw use.error("\"\(format.prefix(40))\" has a conversion that is not known", argument: 1)
                }
                return .string(text)
            }
        }
    }

    // MARK: Texts

    private static func addTexts(_ table: inout [String: Function]) {
        table["length"] = Function(arguments: [.string]) { use in
            let text = use.arguments[0]
            return SQLBound(.uint64) { row throws(SQLError) in
                .integer(Int64(try text.evaluate(row).string.unicodeScalars.count))
            }
        }
        table["empty"] = Function(arguments: [.string]) { use in
            let text = use.arguments[0]
            return SQLBound(.uint8) { row throws(SQLError) in .boolean(try text.evaluate(row).string.isEmpty) }
        }
        func change(_ names: [String], _ change: @escaping @Sendable (String) -> String) {
            for name in names {
                table[name] = Function(arguments: [.string]) { use in
                    let text = use.arguments[0]
                    return SQLBound(.string) { row throws(SQLError) in .string(change(try text.evaluate(row).string)) }
                }
            }
        }
        @Sendable func ascii(_ text: String, _ letters: ClosedRange<UInt8>) -> String {
            String(decoding: text.utf8.map { letters.contains($0) ? $0 ^ 0x20 : $0 }, as: UTF8.self)
        }
        change(["lower"]) { ascii($0, 0x41...0x5A) }
        change(["upper"]) { ascii($0, 0x61...0x7A) }
        change(["lowerutf8", "tolower"]) { $0.lowercased() }
        change(["upperutf8", "toupper"]) { $0.uppercased() }
        func test(_ name: String, _ test: @escaping @Sendable (String.UTF8View, String.UTF8View) -> Bool) {
            table[name] = Function(arguments: [.string, .string]) { use in
                let (first, second) = (use.arguments[0], use.arguments[1])
                return SQLBound(.uint8) { row throws(SQLError) in
                    .boolean(test(try first.evaluate(row).string.utf8, try second.evaluate(row).string.utf8))
                }
            }
        }
        test("startswith") { $0.starts(with: $1) }
        test("endswith") { $0.reversed().starts(with: $1.reversed()) }
        table["position"] = Function(arguments: [.string, .string]) { use in
            let (needle, haystack) = (use.arguments[0], use.arguments[1])
            return SQLBound(.uint64) { row throws(SQLError) in
                let needle = Array(try needle.evaluate(row).string.unicodeScalars)
                let haystack = Array(try haystack.evaluate(row).string.unicodeScalars)
                guard needle.count <= haystack.count else { return .integer(0) }
                for start in 0...(haystack.count - needle.count) where haystack[start...].starts(with: needle) {
                    return .integer(Int64(start + 1))
                }
                return .integer(0)
            }
        }
        table["substring"] = Function(arguments: [.string, .integer, .integer], optionalCount: 1) { use in
            let (text, offset) = (use.arguments[0], use.arguments[1])
            let length = use.arguments.count > 2 ? use.arguments[2] : SQLBound(.int64) { _ in .integer(.max) }
            return SQLBound(.string) { row throws(SQLError) in
                let scalars = try text.evaluate(row).string.unicodeScalars
                let start = try offset.evaluate(row).integer
                // Before the first character there are none; behind the end, counted from it.
                let skipped = start > 0 ? start - 1 : start < 0 ? max(0, Int64(scalars.count) + max(start, -1 << 40)) : 0
                let rest = scalars.dropFirst(Int(clamping: skipped))
                return .string(
                    String(String.UnicodeScalarView(rest.prefix(Int(clamping: max(0, try length.evaluate(row).integer))))))
            }
        }
        table["format"] = Function(arguments: [.string]) { use throws(SQLError) in
            let (pattern, values) = (use.arguments[0], use.arguments.dropFirst())
            return SQLBound(.string) { row throws(SQLError) in
                var result = ""
                var rest = try pattern.evaluate(row).string[...]
                for value in values {
                    guard let brace = rest.firstIndex(of: "{"), rest[brace...].hasPrefix("{}") else {
                        throw use.error("the text has fewer {} than there are values")
                    }
                    result += rest[..<brace] + SQLText.plain(try value.evaluate(row))
                    rest = rest[rest.index(brace, offsetBy: 2)...]
                }
                guard !rest.contains("{"), !rest.contains("}") else {
                    throw use.error("the text has more {} than there are values, or other braces")
                }
                return .string(result + rest)
            }
        }
    }

    // MARK: Bits

    private static func addBits(_ table: inout [String: Function]) {
        func pair(_ name: String, _ type: SQLType, _ operation: @escaping @Sendable (Int64, Int64) -> Int64) {
            table[name] = Function(arguments: [.integer, .integer]) { use in
                let (left, right) = (use.arguments[0], use.arguments[1])
                return SQLBound(type) { row throws(SQLError) in
                    .integer(operation(try left.evaluate(row).integer, try right.evaluate(row).integer))
                }
            }
        }
        pair("bitand", .int64) { $0 & $1 }
        pair("bitor", .int64) { $0 | $1 }
        pair("bitxor", .int64) { $0 ^ $1 }
        pair("bitshiftleft", .int64) { $0 << $1 }
        pair("bitshiftright", .int64) { $0 >> $1 }
        pair("bittest", .uint8) { (0..<64).contains($1) ? $0 >> $1 & 1 : 0 }
        pair("bithammingdistance", .uint8) { Int64(($0 ^ $1).nonzeroBitCount) }
        func single(_ name: String, _ type: SQLType, _ operation: @escaping @Sendable (Int64) -> Int64) {
            table[name] = Function(arguments: [.integer]) { use in
                let number = use.arguments[0]
                return SQLBound(type) { row throws(SQLError) in .integer(operation(try number.evaluate(row).integer)) }
            }
        }
        single("bitnot", .int64) { ~$0 }
        single("bitcount", .uint8) { Int64($0.nonzeroBitCount) }
        func digits(_ name: String, _ radix: Int, _ width: Int) {
            table[name] = Function(arguments: [.any]) { use throws(SQLError) in
                let argument = use.arguments[0]
                guard argument.type.isInteger || argument.type == .string else {
                    throw use.error("expected an integer or a text, got \(argument.type.name)", argument: 0)
                }
                return SQLBound(.string) { row throws(SQLError) in
                    var bytes: [UInt8]
                    switch try argument.evaluate(row) {
                    case .string(let text): bytes = Array(text.utf8)
                    case let value:
                        let number = UInt64(bitPattern: value.integer)
                        bytes = (0..<8).map { UInt8(truncatingIfNeeded: number >> (56 - 8 * UInt64($0))) }
                        bytes = Array(bytes.drop { $0 == 0 })
                        if bytes.isEmpty { bytes = [0] }
                    }
                    var text = ""
                    for byte in bytes {
                        let digits = String(byte, radix: radix, uppercase: true)
                        text += String(repeating: "0", count: width - digits.utf8.count) + digits
                    }
                    return .string(text)
                }
            }
        }
        digits("hex", 16, 2)
        digits("bin", 2, 8)
    }
}

/// `formatDateTime`'s conversions.
enum TimeFormat {
    private static let months = [
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
        "December",
    ]
    private static let days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]

    /// - Returns: `nil` when `format` has a conversion that isn't known.
    static func text(_ seconds: Int64, _ format: String) -> String? {
        let time = CalendarTime(seconds: seconds)
        let dayNumber = CalendarTime.floorDivide(seconds, 86_400)
        let weekday = CalendarTime.dayOfWeek(days: dayNumber)
        func two(_ number: Int64) -> String { CalendarTime.padded(number) }
        var result = ""
        var rest = format.unicodeScalars[...]
        while let scalar = rest.popFirst() {
            guard scalar == "%" else {
                result.unicodeScalars.append(scalar)
                continue
            }
            switch rest.popFirst() {
            case "Y": result += CalendarTime.padded(time.year, 4)
            case "y": result += two(time.year - CalendarTime.floorDivide(time.year, 100) * 100)
            case "C": result += two(CalendarTime.floorDivide(time.year, 100))
            case "m": result += two(time.month)
            case "c": result += "\(time.month)"
            case "d": result += two(time.day)
            case "e": result += time.day < 10 ? " \(time.day)" : "\(time.day)"
            case "H", "k": result += two(time.hour)
            case "I", "h", "l": result += two(time.hour % 12 == 0 ? 12 : time.hour % 12)
            case "i": result += two(time.minute)
            case "S", "s": result += two(time.second)
            case "p": result += time.hour < 12 ? "AM" : "PM"
            case "F": result += time.dateText
            case "T": result += time.timeText
            case "R": result += "\(two(time.hour)):\(two(time.minute))"
            case "D": result += "\(two(time.month))/\(two(time.day))/\(two(time.year % 100))"
            case "j":
                result += CalendarTime.padded(dayNumber - CalendarTime.days(year: time.year, month: 1, day: 1) + 1, 3)
            case "u": result += "\(weekday)"
            case "w": result += "\(weekday % 7)"
            case "W": result += days[Int(weekday - 1)]
            case "a": result += days[Int(weekday - 1)].prefix(3)
            case "M": result += months[Int(time.month - 1)]
            case "b": result += months[Int(time.month - 1)].prefix(3)
            case "Q": result += "\((time.month + 2) / 3)"
            case "n": result += "\n"
            case "t": result += "\t"
            case "%": result += "%"
            default: return nil
            }
        }
        return result
    }
}
