import System
import Testing

@testable import Configuration

/// Days of cron expressions against a reference that knows no calendar: it counts days and weekdays one by one, and looks for
/// what a rule means among all days of a month.
@Suite struct `Cron days` {
    private struct Month {
        var year: Int
        var month: Int
        /// The weekday of each day; 1 is Sunday.
        var weekdays: [Int]
    }

    /// Months of every length that begin on every weekday, and the century that has no leap day.
    private static let months: [Month] = {
        var months: [Month] = []
        var weekday = 2  // 2024-01-01 was a Monday.
        for year in 2024...2104 {
            for month in 1...12 {
                let isLeap = year % 4 == 0 && year != 2100
                let count = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]
                var weekdays: [Int] = []
                for _ in 0..<count {
                    weekdays.append(weekday)
                    weekday = weekday % 7 + 1
                }
                guard year < 2053 && year % 2 == 0 || (2099...2101).contains(year) else { continue }
                months.append(Month(year: year, month: month, weekdays: weekdays))
            }
        }
        return months
    }()

    private static func isWorkday(_ weekday: Int) -> Bool { weekday != 1 && weekday != 7 }

    /// Days of the month that an item of the day field means.
    private static func days(_ item: String, _ month: Month) -> Set<Int> {
        let count = month.weekdays.count
        let all = Set(1...count)
        func nearest(_ day: Int) -> Set<Int> {
            guard all.contains(day) else { return [] }
            let workdays = all.filter { isWorkday(month.weekdays[$0 - 1]) }
            return Set([workdays.min { (abs($0 - day), $0) < (abs($1 - day), $1) }].compactMap { $0 })
        }
        if item == "*" { return all }
        if item == "L" { return [count] }
        if item == "LW" { return Set([all.filter { isWorkday(month.weekdays[$0 - 1]) }.max()].compactMap { $0 }) }
        if item.hasPrefix("L-"), item.hasSuffix("W") { return nearest(count - (Int(item.dropFirst(2).dropLast()) ?? 0)) }
        if item.hasPrefix("L-") { return all.intersection([count - (Int(item.dropFirst(2)) ?? 0)]) }
        if item.hasSuffix("W") { return nearest(Int(item.dropLast()) ?? 0) }
        return all.intersection(range(item, 1...31))
    }

    /// Days of the month that an item of the weekday field means.
    private static func days(ofWeek item: String, _ month: Month) -> Set<Int> {
        let names = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
        var item = item.uppercased()
        for (index, name) in names.enumerated() {
            item = item.split(separator: name, omittingEmptySubsequences: false).joined(separator: "\(index + 1)")
        }
        func those(_ weekday: Int) -> [Int] { (1...month.weekdays.count).filter { month.weekdays[$0 - 1] == weekday } }
        if item == "*" { return Set(1...month.weekdays.count) }
        if item.hasSuffix("L"), item.count > 1 { return Set(those(Int(item.dropLast()) ?? 0).suffix(1)) }
        if item.contains("#") {
            let parts = item.split(separator: "#").compactMap { Int($0) }
            return Set(those(parts[0]).dropFirst(parts[1] - 1).prefix(1))
        }
        return Set(range(item, 1...7).flatMap(those))
    }

    /// Counts from the first value to the last, going on at the field's beginning, and takes each n-th.
    private static func range(_ item: String, _ field: ClosedRange<Int>) -> Set<Int> {
        let halves = item.split(separator: "/")
        let step = halves.count > 1 ? Int(halves[1]) ?? 1 : 1
        let ends =
            halves[0] == "*" ? [field.lowerBound, field.upperBound] : halves[0].split(separator: "-").compactMap { Int($0) }
        var value = ends[0]
        let last = ends.count > 1 ? ends[1] : halves.count > 1 ? field.upperBound : value
        var found: Set<Int> = []
        var place = 0
        while true {
            if place % step == 0 { found.insert(value) }
            if value == last { return found }
            value = value == field.upperBound ? field.lowerBound : value + 1
            place += 1
        }
    }

    static let dayItems =
        [
            "*", "L", "LW", "1W", "15W", "28W", "29W", "30W", "31W", "L-1", "L-3", "L-28", "L-30", "L-1W", "L-3W", "L-27W",
            "L-29W",
        ]
        + ["1", "29", "31", "10-12", "28-3", "*/2", "*/31", "5/10", "20-4/3"]
    static let weekdayItems =
        ["*", "1", "7", "SUN", "2-6", "FRI-MON", "6-2/2", "*/2", "3/2", "1L", "6L", "satL", "2#1", "1#5", "FRI#3", "7#4"]

    @Test(arguments: dayItems)
    func `agree with a search among all days`(_ dayItem: String) throws {
        for weekdayItem in Self.weekdayItems {
            // Those that never fire are refused: no such one is here.
            let expression = try CronExpression("0 0 \(dayItem) * \(weekdayItem)")
            for month in Self.months {
                let (first, second) = (Self.days(dayItem, month), Self.days(ofWeek: weekdayItem, month))
                let expected =
                    dayItem == "*" ? second : weekdayItem == "*" ? first : first.union(second)
                var found: Set<Int> = []
                for day in 1...month.weekdays.count {
                    let date = try #require(CivilDate(year: month.year, month: month.month, day: day))
                    if expression.matches(date) { found.insert(day) }
                }
                if found != expected {
                    Issue.record(
                        "\(expression.text) in \(month.year)-\(month.month): \(found.sorted()), not \(expected.sorted())")
                }
            }
        }
    }

    /// A list of any length means few different days: looking for the next one takes no longer for it.
    @Test func `a list of a million parts is read, and is as fast as its few different ones`() throws {
        let parts = ["L", "LW", "L-2", "15W", "1"]
        let days = (0..<200_000).map { parts[$0 % 5] }.joined(separator: ",")
        let weekdays = (0..<200_000).map { ["2#1", "6L", "SUN", "7#5"][$0 % 4] }.joined(separator: ",")
        let expression = try CronExpression("0 0 \(days) 2 \(weekdays)")
        let short = try CronExpression("0 0 L,LW,L-2,15W,1 2 2#1,6L,SUN,7#5")
        var time = UnixTime(milliseconds: 0)
        for _ in 0..<50 {
            let next = try #require(short.next(after: time))
            #expect(expression.next(after: time) == next)
            time = next
        }
    }

    @Test func `any text is read or refused`() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        let pieces = [
            "*", "/", "-", ",", "#", "L", "W", "0", "1", "7", "9", "31", "59", "99999", " ", "\t", "SUN", "fri", "JAN", "?",
            "é",
            "\u{0}", "ſ", "٣", "L-3W", "2#1",
        ]
        var readCount = 0
        for _ in 0..<20_000 {
            let fields = (0..<5).map { _ in
                (0..<Int.random(in: 1...3, using: &random)).map { _ in
                    Int.random(in: 0..<3, using: &random) == 0 ? pieces.randomElement(using: &random) ?? "" : "*"
                }.joined()
            }
            let text = fields.joined(separator: " ")
            guard let expression = try? CronExpression(text) else { continue }
            readCount += 1
            let start = UnixTime(milliseconds: Int64.random(in: -4_000_000_000_000...9_000_000_000_000, using: &random))
            let next = try #require(expression.next(after: start), "\(text), seed \(seed)")
            #expect(next > start && next.milliseconds % 60_000 == 0 && expression.matches(next), "\(text), seed \(seed)")
        }
        #expect(readCount > 10, "seed \(seed)")
    }
}
