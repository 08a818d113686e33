package import System

/// When a worker's `scheduled` handler runs: five fields, UTC, with the numbering and the day rules of Quartz
/// (days of the week are 1...7 from Sunday).
///
/// A moment matches when minute, hour and month match and the day does. When neither day field is literally
/// `*`, either of them may match; else the other one decides.
package struct CronExpression: Sendable, Hashable, CustomStringConvertible {
    /// Exactly as configured: a handler sees it as `event.cron`.
    package let text: String
    private let minutes: UInt64
    private let hours: UInt64
    private let months: UInt64
    private let daysOfMonth: DaysOfMonth
    private let daysOfWeek: DaysOfWeek

    package var description: String { text }

    struct DaysOfMonth: Hashable, Sendable {
        var isAny = false
        /// Bit n: day n.
        var days: UInt64 = 0
        var specials: [Special] = []

        enum Special: Hashable, Sendable {
            /// That many days before the last one.
            case last(before: Int)
            /// The Monday–Friday nearest to the day that lies that many before the last one.
            case lastWeekday(before: Int)
            /// The Monday–Friday nearest to a day, inside its month.
            case nearestWeekday(Int)
        }
    }

    struct DaysOfWeek: Hashable, Sendable {
        var isAny = false
        /// Bit n: day n, 1 is Sunday.
        var days: UInt64 = 0
        /// Bit n: the last such day of the month.
        var lasts: UInt64 = 0
        /// The n-th such day of the month.
        var ordinals: [Ordinal] = []

        struct Ordinal: Hashable, Sendable {
            let day: Int
            let ordinal: Int
        }
    }

    package init(_ text: String) throws(CronError) {
        let fields = text.split(whereSeparator: { $0 == " " || $0 == "\t" }).map(String.init)
        guard fields.count == 5 else { throw CronError(text: text, problem: .fieldCount(fields.count)) }
        do {
            minutes = try CronField.minute.values(fields[0])
            hours = try CronField.hour.values(fields[1])
            daysOfMonth = try DaysOfMonth(fields[2])
            months = try CronField.month.values(fields[3])
            daysOfWeek = try DaysOfWeek(fields[4])
        } catch {
            throw CronError(text: text, problem: error)
        }
        self.text = text
        guard next(after: UnixTime(milliseconds: 0)) != nil else {
            throw CronError(text: text, problem: .never)
        }
    }

    /// Whether it never fires twice within an hour: such events may use more CPU time.
    package var isAtMostHourly: Bool { minutes.nonzeroBitCount == 1 }

    /// Whether it fires in the minute that holds `time`.
    package func matches(_ time: UnixTime) -> Bool {
        let minute = time.minuteOfEpoch
        let (day, minuteOfDay) = minute.quotientAndRemainder(floor: 1440)
        return minutes >> UInt64(minuteOfDay % 60) & 1 != 0 && hours >> UInt64(minuteOfDay / 60) & 1 != 0
            && matches(CivilDate(daysSinceEpoch: day))
    }

    /// The start of the first matching minute behind the one that holds `time`; `nil` when there is none. The
    /// calendar repeats after 400 years, so none within them is none ever.
    package func next(after time: UnixTime) -> UnixTime? {
        let (firstDay, firstMinute) = (time.minuteOfEpoch + 1).quotientAndRemainder(floor: 1440)
        for day in firstDay...(firstDay + 146_097) where matches(CivilDate(daysSinceEpoch: day)) {
            let start = day == firstDay ? firstMinute : 0
            guard let minute = firstMinuteOfDay(from: start) else { continue }
            return UnixTime(milliseconds: Int64(day * 1440 + minute) * 60_000)
        }
        return nil
    }

    private func firstMinuteOfDay(from start: Int) -> Int? {
        var hour = start / 60
        var minute = start % 60
        while hour < 24 {
            if hours >> UInt64(hour) & 1 != 0 {
                let left = minutes >> UInt64(minute)
                if left != 0 { return hour * 60 + minute + left.trailingZeroBitCount }
            }
            hour += 1
            minute = 0
        }
        return nil
    }

    func matches(_ date: CivilDate) -> Bool {
        guard months >> UInt64(date.month) & 1 != 0 else { return false }
        switch (daysOfMonth.isAny, daysOfWeek.isAny) {
        case (true, true): return true
        case (true, false): return daysOfWeek.matches(date)
        case (false, true): return daysOfMonth.matches(date)
        case (false, false): return daysOfMonth.matches(date) || daysOfWeek.matches(date)
        }
    }
}

extension CronExpression.DaysOfMonth {
    func matches(_ date: CivilDate) -> Bool {
        if days >> UInt64(date.day) & 1 != 0 { return true }
        return specials.contains { special in
            switch special {
            case .last(let before): date.day == date.lastDayOfMonth - before
            case .lastWeekday(let before): date.isNearestWeekday(to: date.lastDayOfMonth - before)
            case .nearestWeekday(let day): date.isNearestWeekday(to: day)
            }
        }
    }
}

extension CronExpression.DaysOfWeek {
    func matches(_ date: CivilDate) -> Bool {
        let weekday = date.weekday
        if days >> UInt64(weekday) & 1 != 0 { return true }
        if lasts >> UInt64(weekday) & 1 != 0, date.day + 7 > date.lastDayOfMonth { return true }
        return ordinals.contains { $0.day == weekday && $0.ordinal == (date.day + 6) / 7 }
    }
}

extension CivilDate {
    /// Whether this is the Monday–Friday nearest to `target` of the same month: a Saturday moves to the Friday
    /// before, a Sunday to the Monday after, unless that would leave the month.
    fileprivate func isNearestWeekday(to target: Int) -> Bool {
        guard let date = CivilDate(year: year, month: month, day: target) else { return false }
        let nearest: Int
        switch date.weekday {
        case 7: nearest = target == 1 ? 3 : target - 1
        case 1: nearest = target == date.lastDayOfMonth ? target - 2 : target + 1
        default: nearest = target
        }
        return day == nearest
    }
}

extension UnixTime {
    fileprivate var minuteOfEpoch: Int { Int(seconds).quotientAndRemainder(floor: 60).quotient }
}

extension Int {
    /// Division that rounds down, so that times before 1970 fall into the right day.
    fileprivate func quotientAndRemainder(floor divisor: Int) -> (quotient: Int, remainder: Int) {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }
}

/// Why a text is no cron expression.
package struct CronError: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Problem: Error, Hashable, Sendable {
        case fieldCount(Int)
        case field(name: String, text: String, range: String)
        case step(name: String, text: String)
        case never
    }
    package let text: String
    package let problem: Problem

    package var description: String {
        switch problem {
        case .fieldCount(let count): "cron expression \"\(text)\" has \(count) fields, not 5"
        case .field(let name, let part, let range):
            "cron expression \"\(text)\": \"\(part)\" is no \(name); expected \(range)"
        case .step(let name, let part):
            "cron expression \"\(text)\": \"\(part)\" has no valid step for the \(name)"
        case .never: "cron expression \"\(text)\" never fires: no such day exists"
        }
    }
}
