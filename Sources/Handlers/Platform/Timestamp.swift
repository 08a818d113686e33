/// Times as the API spells them: `2026-11-21T11:30:00.000Z`, always UTC with milliseconds.
package enum Timestamp {
    package static let dayMilliseconds: Int64 = 86_400_000

    /// The midnight (UTC) that the day of `milliseconds` began with.
    package static func startOfDay(_ milliseconds: Int64) -> Int64 {
        floorDivided(milliseconds, by: dayMilliseconds) * dayMilliseconds
    }

    /// - Parameter milliseconds: Since 1970.
    package static func text(_ milliseconds: Int64) -> String {
        let days = floorDivided(milliseconds, by: dayMilliseconds)
        let rest = milliseconds - days * dayMilliseconds
        return day(days) + "T" + pad(rest / 3_600_000, 2) + ":" + pad(rest / 60_000 % 60, 2) + ":"
            + pad(rest / 1000 % 60, 2) + "." + pad(rest % 1000, 3) + "Z"
    }

    /// The UTC day of a time, `2026-11-21`.
    package static func day(of milliseconds: Int64) -> String {
        day(floorDivided(milliseconds, by: dayMilliseconds))
    }

    /// Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days.
    private static func day(_ days: Int64) -> String {
        let shifted = days + 719_468
        let era = floorDivided(shifted, by: 146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let month = (5 * dayOfYear + 2) / 153
        let civilMonth = month < 10 ? month + 3 : month - 9
        let year = yearOfEra + era * 400 + (civilMonth <= 2 ? 1 : 0)
        return pad(year, 4) + "-" + pad(civilMonth, 2) + "-" + pad(dayOfYear - (153 * month + 2) / 5 + 1, 2)
    }

    private static func floorDivided(_ value: Int64, by divisor: Int64) -> Int64 {
        value >= 0 ? value / divisor : (value + 1) / divisor - 1
    }

    private static func pad(_ value: Int64, _ count: Int) -> String {
        let text = String(value)
        return String(repeating: "0", count: max(0, count - text.utf8.count)) + text
    }
}
