extension HTTPDate {
    /// Reads `20130524T000000Z`, the form of `x-amz-date` (ISO 8601, basic format, UTC).
    package init?(basicISO8601 text: String) { self.init(iso8601: Array(text.utf8), date: "", time: "") }

    /// Reads `2013-05-24T00:00:00Z` (RFC 3339 in UTC, without fractions).
    package init?(iso8601 text: String) { self.init(iso8601: Array(text.utf8), date: "-", time: ":") }

    private init?(iso8601 bytes: [UInt8], date: String, time: String) {
        var rest = bytes[...]
        func number(_ count: Int) -> Int? {
            guard rest.count >= count else { return nil }
            var value = 0
            for byte in rest.prefix(count) {
                guard byte.isDigit else { return nil }
                value = value * 10 + Int(byte &- 0x30)
            }
            rest = rest.dropFirst(count)
            return value
        }
        func take(_ text: String) -> Bool {
            guard rest.starts(with: text.utf8) else { return false }
            rest = rest.dropFirst(text.utf8.count)
            return true
        }
        guard let year = number(4), take(date), let month = number(2), take(date), let day = number(2), take("T"),
            let hour = number(2), take(time), let minute = number(2), take(time), let second = number(2), take("Z"),
            rest.isEmpty, (1...12).contains(month), day >= 1, day <= Self.daysInMonth(year, month), hour < 24,
            minute < 60, second <= 60
        else { return nil }
        self.init(unixSeconds: Self.days(year, month, day) * 86400 + Int64(hour * 3600 + minute * 60 + second))
    }

    /// `20130524T000000Z`
    package var basicISO8601: String { text(date: "", time: "") }

    /// `2013-05-24T00:00:00Z`
    package var iso8601: String { text(date: "-", time: ":") }

    private func text(date: String, time: String) -> String {
        let days = unixSeconds.flooredQuotient(86400)
        let second = Int(unixSeconds - days * 86400)
        let (year, month, day) = Self.civil(days)
        func digits(_ value: Int, _ count: Int) -> String {
            let text = String(value)
            return String(repeating: "0", count: max(0, count - text.utf8.count)) + text
        }
        return [digits(Int(year), 4), digits(month, 2), digits(day, 2)].joined(separator: date) + "T"
            + [digits(second / 3600, 2), digits(second / 60 % 60, 2), digits(second % 60, 2)].joined(separator: time) + "Z"
    }
}
