/// A time taken apart: proleptic Gregorian calendar, UTC.
struct CalendarTime: Equatable {
    var year: Int64
    /// 1…12
    var month: Int64
    /// 1…31
    var day: Int64
    var hour: Int64
    var minute: Int64
    var second: Int64

    static func floorDivide(_ number: Int64, _ divisor: Int64) -> Int64 {
        let (quotient, remainder) = number.quotientAndRemainder(dividingBy: divisor)
        return remainder != 0 && (remainder < 0) != (divisor < 0) ? quotient - 1 : quotient
    }

    /// - Parameter seconds: since 1970. Years outside of ±100,000 are taken for these.
    init(seconds: Int64) {
        let seconds = min(max(seconds, -3_155_760_000_000), 3_155_760_000_000)
        let days = Self.floorDivide(seconds, 86_400)
        let rest = seconds - days * 86_400
        (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60)
        // Howard Hinnant, "chrono-compatible low-level date algorithms": years begin in March.
        let era = Self.floorDivide(days + 719_468, 146_097)
        let dayOfEra = days + 719_468 - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        month = shifted < 10 ? shifted + 3 : shifted - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        day = dayOfYear - (153 * shifted + 2) / 5 + 1
    }

    static func days(year: Int64, month: Int64, day: Int64) -> Int64 {
        let year = month <= 2 ? year - 1 : year
        let era = floorDivide(year, 400)
        let yearOfEra = year - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    static func daysInMonth(_ year: Int64, _ month: Int64) -> Int64 {
        switch month {
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    /// `2026-08-01 12:00:00`, or the date alone for midnight.
    static func parse(_ text: String) -> Int64? {
        let bytes = Array(text.utf8)
        guard bytes.count == 10 || bytes.count == 19 else { return nil }
        let pattern = Array("0000-00-00 00:00:00".utf8)
        func isMatch(_ byte: UInt8, _ wanted: UInt8) -> Bool {
            wanted == 0x30 ? (0x30...0x39).contains(byte) : byte == wanted || wanted == 0x20 && byte == UInt8(ascii: "T")
        }
        guard zip(bytes, pattern).allSatisfy({ isMatch($0, $1) }) else { return nil }
        func number(_ start: Int, _ count: Int) -> Int64 {
            bytes[start..<(start + count)].reduce(0) { $0 * 10 + Int64($1 - 0x30) }
        }
        let (year, month, day) = (number(0, 4), number(5, 2), number(8, 2))
        guard (1...12).contains(month), day >= 1, day <= daysInMonth(year, month) else { return nil }
        let midnight = days(year: year, month: month, day: day) * 86_400
        guard bytes.count == 19 else { return midnight }
        let (hour, minute, second) = (number(11, 2), number(14, 2), number(17, 2))
        guard hour < 24, minute < 60, second < 60 else { return nil }
        return midnight + hour * 3600 + minute * 60 + second
    }

    static func padded(_ number: Int64, _ width: Int = 2) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, width - text.utf8.count)) + text
    }

    var dateText: String { "\(Self.padded(year, 4))-\(Self.padded(month))-\(Self.padded(day))" }
    var timeText: String { "\(Self.padded(hour)):\(Self.padded(minute)):\(Self.padded(second))" }

    /// 1 is Monday.
    static func dayOfWeek(days: Int64) -> Int64 { days + 3 - floorDivide(days + 3, 7) * 7 + 1 }

    /// `count` intervals later; the day stays in its month.
    static func add(_ interval: SQLInterval, to seconds: Int64, times count: Int64) -> Int64 {
        let amount = interval.count * count
        switch interval.unit {
        case .second: return seconds &+ amount
        case .minute: return seconds &+ amount * 60
        case .hour: return seconds &+ amount * 3600
        case .day: return seconds &+ amount * 86_400
        case .month, .year:
            let time = CalendarTime(seconds: seconds)
            let months = time.year * 12 + time.month - 1 + amount * (interval.unit == .year ? 12 : 1)
            let (year, month) = (floorDivide(months, 12), months - floorDivide(months, 12) * 12 + 1)
            let day = min(time.day, daysInMonth(year, month))
            return days(year: year, month: month, day: day) * 86_400 + time.hour * 3600 + time.minute * 60 + time.second
        }
    }

    /// The start of the interval that `seconds` is in; intervals are counted from 1970, years and months from the year 0.
    static func start(of interval: SQLInterval, _ seconds: Int64) -> Int64 {
        let count = max(1, interval.count)
        func floor(_ width: Int64) -> Int64 { floorDivide(seconds, width) * width }
        switch interval.unit {
        case .second: return floor(count)
        case .minute: return floor(count * 60)
        case .hour: return floor(count * 3600)
        case .day: return floor(count * 86_400)
        case .month:
            let time = CalendarTime(seconds: seconds)
            let months = floorDivide(time.year * 12 + time.month - 1, count) * count
            return days(year: floorDivide(months, 12), month: months - floorDivide(months, 12) * 12 + 1, day: 1) * 86_400
        case .year:
            return days(year: floorDivide(CalendarTime(seconds: seconds).year, count) * count, month: 1, day: 1) * 86_400
        }
    }
}
