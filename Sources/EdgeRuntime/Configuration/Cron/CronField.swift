/// The grammar of one field: `*`, a value, `a-b` (which may wrap), each with `/step`, and lists of them.
struct CronField {
    let name: String
    let range: ClosedRange<Int>
    let names: [String]
    let hint: String

    static let minute = CronField(name: "minute", range: 0...59, names: [], hint: "0–59")
    static let hour = CronField(name: "hour", range: 0...23, names: [], hint: "0–23")
    static let dayOfMonth = CronField(
        name: "day of the month", range: 1...31, names: [], hint: "1–31, L, L-3, LW, L-3W or 15W")
    static let month = CronField(
        name: "month", range: 1...12,
        names: ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
        hint: "1–12 or JAN–DEC")
    static let dayOfWeek = CronField(
        name: "day of the week", range: 1...7, names: ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
        hint: "1–7 (1 is Sunday), SUN–SAT, 6L or 2#1")

    /// Bit n of the result: the value n.
    func values(_ text: String) throws(CronError.Problem) -> UInt64 {
        var values: UInt64 = 0
        for part in Self.parts(text) { values |= try self.part(part) }
        return values
    }

    static func parts(_ text: String) -> [String] {
        text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    }

    func part(_ text: String) throws(CronError.Problem) -> UInt64 {
        let halves = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard halves.count <= 2 else { throw failure(text) }
        var step = 1
        if halves.count == 2 {
            guard let number = Self.number(halves[1]), (1...range.upperBound).contains(number) else {
                throw .step(name: name, text: text)
            }
            step = number
        }
        let base = halves[0]
        if base == "*" { return bits(from: range.lowerBound, to: range.upperBound, by: step) }
        let ends = base.split(separator: "-", omittingEmptySubsequences: false).map(String.init)
        switch ends.count {
        case 1:
            let start = try value(ends[0], in: text)
            return bits(from: start, to: halves.count == 2 ? range.upperBound : start, by: step)
        case 2: return bits(from: try value(ends[0], in: text), to: try value(ends[1], in: text), by: step)
        default: throw failure(text)
        }
    }

    func value(_ text: String, in part: String) throws(CronError.Problem) -> Int {
        if let index = names.firstIndex(of: text.uppercased()) { return range.lowerBound + index }
        guard let number = Self.number(text), range.contains(number) else { throw failure(part) }
        return number
    }

    func failure(_ part: String) -> CronError.Problem { .field(name: name, text: part, range: hint) }

    static func number(_ text: String) -> Int? {
        guard (1...4).contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
            return nil
        }
        return Int(text)
    }

    private func bits(from start: Int, to end: Int, by step: Int) -> UInt64 {
        // A range whose end lies before its start goes on from the field's first value.
        let last = end < start ? end + range.count : end
        var bits: UInt64 = 0
        for value in stride(from: start, through: last, by: step) {
            bits |= 1 << UInt64(value > range.upperBound ? value - range.count : value)
        }
        return bits
    }
}

extension CronExpression.DaysOfMonth {
    init(_ text: String) throws(CronError.Problem) {
        isAny = text == "*"
        for part in CronField.parts(text) {
            let upper = part.uppercased()
            if upper.hasPrefix("L") {
                add(try Self.last(upper, part))
            } else if upper.hasSuffix("W") {
                add(.nearestWeekday(try CronField.dayOfMonth.value(String(upper.dropLast()), in: part)))
            } else {
                days |= try CronField.dayOfMonth.part(part)
            }
        }
    }

    /// Each once: a list may be long, but there aren't many different ones.
    private mutating func add(_ special: Special) {
        if !specials.contains(special) { specials.append(special) }
    }

    /// `L`, `L-3`, `LW`, `L-3W`
    private static func last(_ upper: String, _ part: String) throws(CronError.Problem) -> Special {
        var rest = upper.dropFirst()
        let isWeekday = rest.hasSuffix("W")
        if isWeekday { rest = rest.dropLast() }
        var before = 0
        if !rest.isEmpty {
            guard rest.hasPrefix("-"), let number = CronField.number(String(rest.dropFirst())),
                (1...30).contains(number)
            else { throw CronField.dayOfMonth.failure(part) }
            before = number
        }
        return isWeekday ? .lastWeekday(before: before) : .last(before: before)
    }
}

extension CronExpression.DaysOfWeek {
    init(_ text: String) throws(CronError.Problem) {
        isAny = text == "*"
        let field = CronField.dayOfWeek
        for part in CronField.parts(text) {
            let upper = part.uppercased()
            let halves = upper.split(separator: "#", omittingEmptySubsequences: false).map(String.init)
            if upper == "L" {
                days |= 1 << 7  // As in Quartz: the last day of the week.
            } else if upper.hasSuffix("L") {
                lasts |= 1 << UInt64(try field.value(String(upper.dropLast()), in: part))
            } else if halves.count == 2 {
                let day = try field.value(halves[0], in: part)
                guard let ordinal = CronField.number(halves[1]), (1...5).contains(ordinal) else {
                    throw field.failure(part)
                }
                let found = Ordinal(day: day, ordinal: ordinal)
                if !ordinals.contains(found) { ordinals.append(found) }
            } else {
                days |= try field.part(part)
            }
        }
    }
}
