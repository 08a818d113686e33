/// A point in time as headers carry it, to the second (RFC 9110 §5.6.7).
public struct HTTPDate: Comparable, Hashable, Sendable {
    /// Since 1970-01-01T00:00:00Z, within the years 0...9999.
    public let unixSeconds: Int64

    /// Clamped to the years that the format can write.
    public init(unixSeconds: Int64) {
        self.unixSeconds = min(max(unixSeconds, -62_167_219_200), 253_402_300_799)
    }

    public static func < (left: HTTPDate, right: HTTPDate) -> Bool { left.unixSeconds < right.unixSeconds }

    static let weekdays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    static let longWeekdays = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
    static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    // MARK: Writing

    /// `Sun, 06 Nov 1994 08:49:37 GMT`
    public var text: String { String(decoding: bytes, as: UTF8.self) }

    /// The 29 bytes of `text`.
    package var bytes: [UInt8] {
        let days = unixSeconds.flooredQuotient(86400)
        let second = Int(unixSeconds - days * 86400)
        let (year, month, day) = Self.civil(days)
        let weekday = Int((days + 4).flooredRemainder(7))
        var text: [UInt8] = []
        text.reserveCapacity(29)
        func put(_ number: Int, digits: Int) {
            var divisor = digits == 4 ? 1000 : 10
            while divisor > 0 {
                text.append(UInt8(number / divisor % 10) + 0x30)
                divisor /= 10
            }
        }
        text += Self.weekdays[weekday].utf8
        text += ", ".utf8
        put(day, digits: 2)
        text.append(0x20)
        text += Self.months[month - 1].utf8
        text.append(0x20)
        put(Int(year), digits: 4)
        text.append(0x20)
        put(second / 3600, digits: 2)
        text.append(0x3A)
        put(second / 60 % 60, digits: 2)
        text.append(0x3A)
        put(second % 60, digits: 2)
        text += " GMT".utf8
        return text
    }

    // MARK: Reading

    /// Reads any of the three forms: IMF-fixdate, RFC 850 and asctime. Exactly those, letters in their case.
    ///
    /// - Parameter now: what a two-digit year counts from: one that would be more than 50 years ahead of it
    ///   belongs to the century before.
    public init?(_ text: String, now: HTTPDate = HTTPDate(unixSeconds: 0)) {
        var reader = Reader(bytes: Array(text.utf8))
        guard let date = reader.read(now: now) else { return nil }
        self = date
    }

    private struct Reader {
        let bytes: [UInt8]
        var offset = 0

        mutating func read(now: HTTPDate) -> HTTPDate? {
            if longWeekdays.contains(where: { name in takeText(name + ", ") }) { return readRFC850(now) }
            guard weekdays.contains(where: { name in takeText(name) }) else { return nil }
            return takeText(", ") ? readFixed() : takeText(" ") ? readAsctime() : nil
        }

        private mutating func readFixed() -> HTTPDate? {
            guard let day = takeNumber(2), takeText(" "), let month = takeMonth(), takeText(" "),
                let year = takeNumber(4), takeText(" "), let second = takeTime(), takeText(" GMT")
            else { return nil }
            return finish(year, month, day, second)
        }

        private mutating func readRFC850(_ now: HTTPDate) -> HTTPDate? {
            guard let day = takeNumber(2), takeText("-"), let month = takeMonth(), takeText("-"),
                let shortYear = takeNumber(2), takeText(" "), let second = takeTime(), takeText(" GMT")
            else { return nil }
            let thisYear = Int(civil(now.unixSeconds.flooredQuotient(86400)).year)
            var year = thisYear - thisYear % 100 + shortYear
            if year > thisYear + 50 { year -= 100 } else if year <= thisYear - 50 { year += 100 }
            return finish(year, month, day, second)
        }

        private mutating func readAsctime() -> HTTPDate? {
            guard let month = takeMonth(), takeText(" "),
                let day = takeText(" ") ? takeNumber(1) : takeNumber(2), takeText(" "),
                let second = takeTime(), takeText(" "), let year = takeNumber(4)
            else { return nil }
            return finish(year, month, day, second)
        }

        private func finish(_ year: Int, _ month: Int, _ day: Int, _ second: Int) -> HTTPDate? {
            guard offset == bytes.count, day >= 1, day <= daysInMonth(year, month) else { return nil }
            return HTTPDate(unixSeconds: HTTPDate.days(year, month, day) * 86400 + Int64(second))
        }

        private mutating func takeText(_ text: String) -> Bool {
            guard bytes[offset...].starts(with: text.utf8) else { return false }
            offset += text.utf8.count
            return true
        }

        private mutating func takeNumber(_ digits: Int) -> Int? {
            guard bytes.count - offset >= digits else { return nil }
            var number = 0
            for byte in bytes[offset..<(offset + digits)] {
                guard byte.isDigit else { return nil }
                number = number * 10 + Int(byte &- 0x30)
            }
            offset += digits
            return number
        }

        private mutating func takeMonth() -> Int? {
            for (index, name) in months.enumerated() where takeText(name) { return index + 1 }
            return nil
        }

        /// `hh:mm:ss` as a second of the day; a leap second counts as the first of the next minute.
        private mutating func takeTime() -> Int? {
            guard let hour = takeNumber(2), hour < 24, takeText(":"), let minute = takeNumber(2), minute < 60,
                takeText(":"), let second = takeNumber(2), second <= 60
            else { return nil }
            return hour * 3600 + minute * 60 + second
        }
    }

    // MARK: The calendar (https://howardhinnant.github.io/date_algorithms.html)

    /// The day in the Gregorian calendar, `days` after 1970-01-01.
    static func civil(_ days: Int64) -> (year: Int64, month: Int, day: Int) {
        let shifted = days + 719_468
        let era = shifted.flooredQuotient(146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let month = (5 * dayOfYear + 2) / 153
        let day = Int(dayOfYear - (153 * month + 2) / 5) + 1
        let civilMonth = Int(month < 10 ? month + 3 : month - 9)
        return (yearOfEra + era * 400 + (civilMonth <= 2 ? 1 : 0), civilMonth, day)
    }

    static func days(_ year: Int, _ month: Int, _ day: Int) -> Int64 {
        let shifted = Int64(month <= 2 ? year - 1 : year)
        let era = shifted.flooredQuotient(400)
        let yearOfEra = shifted - era * 400
        let dayOfYear = Int64((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1)
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    static func daysInMonth(_ year: Int, _ month: Int) -> Int {
        switch month {
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }
}

extension Int64 {
    func flooredQuotient(_ divisor: Int64) -> Int64 {
        self >= 0 ? self / divisor : (self - divisor + 1) / divisor
    }

    func flooredRemainder(_ divisor: Int64) -> Int64 { self - flooredQuotient(divisor) * divisor }
}
