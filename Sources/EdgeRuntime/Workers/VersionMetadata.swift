internal import Interfaces

/// Which version of a worker runs: `env.versionMetadata("VERSION")`.
public struct VersionMetadata: Equatable, Sendable {
    /// The same for the same code, configuration and secrets; also in logs and in `edge status`.
    public let id: String
    /// What its deployer called it; empty when nothing.
    public let tag: String
    /// When the version first came to the node: `2026-08-01T12:00:00.000Z`.
    public let timestamp: String

    init(_ configuration: IsolateConfiguration) {
        id = configuration.version
        tag = configuration.versionTag
        timestamp = InternetTime.text(milliseconds: configuration.versionTime)
    }
}

/// RFC 3339 in UTC, with milliseconds.
enum InternetTime {
    static func text(milliseconds: Int64) -> String {
        let (days, inDay) = milliseconds.flooredQuotientAndRemainder(dividingBy: 86_400_000)
        let (year, month, day) = date(daysSince1970: days)
        func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
        func padded(_ number: Int64, _ width: Int) -> String {
            let text = String(number)
            return String(repeating: "0", count: max(0, width - text.utf8.count)) + text
        }
        return "\(padded(year, 4))-\(two(month))-\(two(day))T\(two(inDay / 3_600_000)):\(two(inDay / 60_000 % 60))"
            + ":\(two(inDay / 1000 % 60)).\(padded(inDay % 1000, 3))Z"
    }

    /// Howard Hinnant's `civil_from_days`: years begin in March, so that the leap day is the last.
    private static func date(daysSince1970 days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let (era, dayOfEra) = (days + 719_468).flooredQuotientAndRemainder(dividingBy: 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        let month = shifted < 10 ? shifted + 3 : shifted - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shifted + 2) / 5 + 1)
    }
}

extension Int64 {
    fileprivate func flooredQuotientAndRemainder(dividingBy divisor: Int64) -> (Int64, Int64) {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }
}
