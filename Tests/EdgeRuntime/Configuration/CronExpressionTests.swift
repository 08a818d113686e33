import Foundation
import System
import Testing

@testable import Configuration

@Suite struct `Cron expression` {
    private func time(_ text: String) throws -> UnixTime {
        let numbers = text.split { "- :".contains($0) }.compactMap { Int($0) }
        let date = try #require(CivilDate(year: numbers[0], month: numbers[1], day: numbers[2]))
        let minutes = date.daysSinceEpoch * 1440 + (numbers.count > 3 ? numbers[3] * 60 + numbers[4] : 0)
        return UnixTime(milliseconds: Int64(minutes) * 60_000)
    }

    private func text(_ time: UnixTime?) -> String {
        guard let time else { return "never" }
        let minutes = Int(time.milliseconds / 60_000)
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(CivilDate(daysSinceEpoch: minutes / 1440)) \(two(minutes / 60 % 24)):\(two(minutes % 60))"
    }

    @Test(
        arguments: [
            // 1 is Sunday; 2026-08-02 was one.
            ("0 17 * * 1", "2026-08-01", ["2026-08-02 17:00", "2026-08-09 17:00"]),
            ("0 0 L * *", "2027-02-01", ["2027-02-28 00:00", "2027-03-31 00:00"]),
            ("0 0 L * *", "2028-02-01", ["2028-02-29 00:00"]),
            ("0 0 L-3 * *", "2027-02-01", ["2027-02-25 00:00", "2027-03-28 00:00"]),
            ("0 0 * * 2#1", "2026-08-01", ["2026-08-03 00:00", "2026-09-07 00:00"]),
            ("0 0 * * MON#5", "2026-08-01", ["2026-08-31 00:00", "2026-11-30 00:00"]),
            // The last day of October 2026 is a Saturday, of January 2027 a Sunday.
            ("0 0 LW 10 *", "2026-10-01", ["2026-10-30 00:00"]),
            ("0 0 LW 1 *", "2027-01-01", ["2027-01-29 00:00"]),
            ("0 0 L-3W 8 *", "2026-08-01", ["2026-08-28 00:00"]),
            // 15 August 2026 is a Saturday, 15 November a Sunday.
            (
                "0 0 15W * *", "2026-08-01",
                ["2026-08-14 00:00", "2026-09-15 00:00", "2026-10-15 00:00", "2026-11-16 00:00"]
            ),
            // 1 August 2026 is a Saturday: inside the month, the nearest is the 3rd.
            ("0 0 1W 8 *", "2026-07-31", ["2026-08-03 00:00"]),
            // 28 February 2027 is a Sunday and the month's last day.
            ("0 0 28W 2 *", "2027-02-01", ["2027-02-26 00:00"]),
            (
                "0 0 * * FRI-MON", "2026-08-03 00:00",
                [
                    "2026-08-07 00:00", "2026-08-08 00:00", "2026-08-09 00:00", "2026-08-10 00:00",
                    "2026-08-14 00:00",
                ]
            ),
            ("0 0 * * 6L", "2026-08-01", ["2026-08-28 00:00", "2026-09-25 00:00"]),
            ("0 0 * * friL", "2026-08-01", ["2026-08-28 00:00"]),
            // Both day fields restricted: either. 13 August 2026 is a Thursday.
            ("0 0 13 * FRI", "2026-08-01", ["2026-08-07 00:00", "2026-08-13 00:00", "2026-08-14 00:00"]),
            // A step is a restriction too.
            ("0 0 */31 * FRI", "2026-08-01", ["2026-08-07 00:00", "2026-08-14 00:00"]),
            (
                "0 22-2 * * *", "2026-08-01 02:00",
                [
                    "2026-08-01 22:00", "2026-08-01 23:00", "2026-08-02 00:00", "2026-08-02 01:00",
                    "2026-08-02 02:00", "2026-08-02 22:00",
                ]
            ),
            (
                "*/15 * * * *", "2026-08-01 23:50",
                ["2026-08-02 00:00", "2026-08-02 00:15", "2026-08-02 00:30"]
            ),
            (
                "50-10/7 * * * *", "2026-08-01 00:11",
                ["2026-08-01 00:50", "2026-08-01 00:57", "2026-08-01 01:04", "2026-08-01 01:50"]
            ),
            (
                "5/20 * * * *", "2026-08-01",
                ["2026-08-01 00:05", "2026-08-01 00:25", "2026-08-01 00:45", "2026-08-01 01:05"]
            ),
            ("0 3 * jan,Jul *", "2026-08-01", ["2027-01-01 03:00", "2027-01-02 03:00"]),
            ("0 0 29 2 *", "2096-03-01", ["2104-02-29 00:00"]),
            ("0 3 * * *", "2026-08-01 03:00", ["2026-08-02 03:00"]),
            ("* * * * *", "1969-12-31 23:59", ["1970-01-01 00:00", "1970-01-01 00:01"]),
        ] as [(String, String, [String])])
    func `probe 16: fires at the minutes of the calendar table`(
        _ cron: String, _ start: String, _ expected: [String]
    ) throws {
        let expression = try CronExpression(cron)
        #expect(expression.text == cron)
        var now = try time(start)
        for minute in expected {
            let next = try #require(expression.next(after: now))
            #expect(text(next) == minute)
            #expect(expression.matches(next))
            #expect(expression.matches(UnixTime(milliseconds: next.milliseconds + 59_999)))
            now = next
        }
    }

    @Test(arguments: [
        ("60 * * * *", #"cron expression "60 * * * *": "60" is no minute; expected 0–59"#),
        ("* * * *", #"cron expression "* * * *" has 4 fields, not 5"#),
        ("* * * * * *", #"cron expression "* * * * * *" has 6 fields, not 5"#),
        ("* 24 * * *", #"cron expression "* 24 * * *": "24" is no hour; expected 0–23"#),
        (
            "* * 0 * *",
            #"cron expression "* * 0 * *": "0" is no day of the month; expected 1–31, L, L-3, LW, L-3W or 15W"#
        ),
        ("* * * 13 *", #"cron expression "* * * 13 *": "13" is no month; expected 1–12 or JAN–DEC"#),
        (
            "* * * * 0",
            #"cron expression "* * * * 0": "0" is no day of the week; expected 1–7 (1 is Sunday), SUN–SAT, 6L or 2#1"#
        ),
        ("*/0 * * * *", #"cron expression "*/0 * * * *": "*/0" has no valid step for the minute"#),
        ("* * 31 11 *", #"cron expression "* * 31 11 *" never fires: no such day exists"#),
        ("1, * * * *", #"cron expression "1, * * * *": "" is no minute; expected 0–59"#),
    ])
    func `refuses what is no expression, and what never fires`(_ cron: String, _ message: String) throws {
        let error = try #require(throws: CronError.self) { try CronExpression(cron) }
        #expect(error.description == message)
    }

    @Test(arguments: [
        "-1 * * * *", "1- * * * *", "1-2-3 * * * *", "1/2/3 * * * *", "a * * * *", "* * L-31 * *",
        "* * W * *", "* * 32W * *",
        "* * * * 2#6", "* * * * 2#0", "* * * * 8L", "* * * * 2#", "", "٣ * * * *", "* * L3 * *", "+1 * * * *",
    ])
    func `refuses malformed fields`(_ cron: String) {
        #expect(throws: CronError.self) { try CronExpression(cron) }
    }

    @Test func `knows which expressions fire at most hourly`() throws {
        #expect(try CronExpression("0 3 * * *").isAtMostHourly)
        #expect(try CronExpression("5 * * * *").isAtMostHourly)
        #expect(try !CronExpression("0,30 3 * * *").isAtMostHourly)
    }

    @Test func `the calendar agrees with Foundation's over eight centuries`() throws {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = try #require(TimeZone(secondsFromGMT: 0))
        for day in stride(from: -100_000, to: 200_000, by: 97) {
            let date = CivilDate(daysSinceEpoch: day)
            let parts = calendar.dateComponents(
                [.year, .month, .day, .weekday], from: Date(timeIntervalSince1970: Double(day) * 86_400))
            #expect(
                [date.year, date.month, date.day, date.weekday] == [
                    parts.year, parts.month, parts.day, parts.weekday,
                ])
            #expect(date.daysSinceEpoch == day)
        }
    }

    @Test func `next is the first match of a minute-by-minute search`() throws {
        let seed = UInt64.random(in: .min ... .max)
        var random = SeededGenerator(seed: seed)
        let fields = [
            ["*", "0", "*/7", "50-5", "3,33"], ["*", "5", "22-2/2", "*/6"],
            ["*", "1", "L", "15W", "LW", "L-2", "28-3", "*/10"],
            ["*", "2", "NOV-FEB", "*/5"], ["*", "1", "FRI-MON", "6L", "3#2", "*/2"],
        ]
        for _ in 0..<60 {
            let cron = fields.map { $0[Int.random(in: 0..<$0.count, using: &random)] }.joined(separator: " ")
            let expression = try CronExpression(cron)
            let start = Int64.random(in: 29_000_000...31_000_000, using: &random)
            let next = try #require(expression.next(after: UnixTime(milliseconds: start * 60_000)))
            var minute = start + 1
            while !expression.matches(UnixTime(milliseconds: minute * 60_000)), minute < start + 1_000_000 {
                minute += 1
            }
            if minute < start + 1_000_000 {
                #expect(next.milliseconds == minute * 60_000, "seed \(seed): \(cron)")
            }
        }
    }
}
