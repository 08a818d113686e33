/// HTTP dates (RFC 9110 §5.6.7) as milliseconds since 1970: the fixed form is written; that one and the two
/// obsolete forms are read.
package enum R2Date {
    private static let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// `Sun, 06 Nov 1994 08:49:37 GMT`.
    package static func format(_ milliseconds: Int64) -> String {
        let seconds = floorDivide(milliseconds, 1000)
        let day = floorDivide(seconds, 86_400)
        let inDay = seconds - day * 86_400
        let (year, month, dayOfMonth) = civil(fromDay: day)
        let weekday = Int(((day + 4) % 7 + 7) % 7)
        return "\(days[weekday]), \(pad(dayOfMonth, 2)) \(months[Int(month) - 1]) \(pad(year, 4)) "
            + "\(pad(inDay / 3600, 2)):\(pad(inDay / 60 % 60, 2)):\(pad(inDay % 60, 2)) GMT"
    }

    /// `nil` for anything that isn't a date of one of the three forms.
    package static func parse(_ text: String) -> Int64? {
        let fields = text.split(separator: " ").map(String.init)
        let (day, month, year, time): (String, String, String, String)
        switch fields.count {
        case 6 where fields[5] == "GMT":  // Sun, 06 Nov 1994 08:49:37 GMT
            (day, month, year, time) = (fields[1], fields[2], fields[3], fields[4])
        case 5:  // Sun Nov  6 08:49:37 1994
            (day, month, year, time) = (fields[2], fields[1], fields[4], fields[3])
        case 4 where fields[3] == "GMT":  // Sunday, 06-Nov-94 08:49:37 GMT
            let date = fields[1].split(separator: "-", omittingEmptySubsequences: false).map(String.init)
            guard date.count == 3 else { return nil }
            (day, month, year, time) = (date[0], date[1], date[2], fields[2])
        default: return nil
        }
        guard days.contains(where: { fields[0].hasPrefix($0) }), let month = months.firstIndex(of: month),
            let day = number(day, digits: 1...2), var year = number(year, digits: 2...4)
        else { return nil }
        if year < 70 { year += 2000 } else if year < 100 { year += 1900 }
        let clock = time.split(separator: ":", omittingEmptySubsequences: false)
            .map { number(String($0), digits: 2...2) }
        guard clock.count == 3, let hour = clock[0], let minute = clock[1], let second = clock[2],
            hour < 24, minute < 60, second <= 60, day >= 1
        else { return nil }
        let dayNumber = Self.dayNumber(year: year, month: Int64(month) + 1, day: day)
        guard civil(fromDay: dayNumber).day == day else { return nil }  // 30 Feb and the like.
        return (dayNumber * 86_400 + hour * 3600 + minute * 60 + second) * 1000
    }

    private static func number(_ text: String, digits: ClosedRange<Int>) -> Int64? {
        guard digits.contains(text.utf8.count), text.utf8.allSatisfy({ (48...57).contains($0) }) else {
            return nil
        }
        return Int64(text)
    }

    private static func pad(_ value: Int64, _ width: Int) -> String {
        let text = "\(value)"
        return String(repeating: "0", count: max(0, width - text.utf8.count)) + text
    }

    private static func floorDivide(_ value: Int64, _ divisor: Int64) -> Int64 {
        value >= 0 ? value / divisor : -((divisor - 1 - value) / divisor)
    }

    // The two functions below are Howard Hinnant's days_from_civil and civil_from_days
    // (https://howardhinnant.github.io/date_algorithms.html): the proleptic Gregorian calendar, day 0 = 1970-01-01.
    private static func dayNumber(year: Int64, month: Int64, day: Int64) -> Int64 {
        let y = month <= 2 ? year - 1 : year
        let era = floorDivide(y, 400)
        let yearOfEra = y - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    private static func civil(fromDay number: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = number + 719_468
        let era = floorDivide(shifted, 146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthIndex = (5 * dayOfYear + 2) / 153
        let month = monthIndex < 10 ? monthIndex + 3 : monthIndex - 9
        return (
            yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * monthIndex + 2) / 5 + 1
        )
    }
}
