extension HTTPDate {
    /// Reads `20130524T000000Z`, the form of `x-amz-date` (ISO 8601, basic format, UTC).
    package init?(basicISO8601 text: String) {
        let bytes = Array(text.utf8)
        guard bytes.count == 16, bytes[8] == UInt8(ascii: "T"), bytes[15] == UInt8(ascii: "Z") else { return nil }
        func number(_ range: Range<Int>) -> Int? {
            var value = 0
            for byte in bytes[range] {
                guard byte.isDigit else { return nil }
                value = value * 10 + Int(byte &- 0x30)
            }
            return value
        }
        guard let year = number(0..<4), let month = number(4..<6), let day = number(6..<8), let hour = number(9..<11),
            let minute = number(11..<13), let second = number(13..<15), (1...12).contains(month), day >= 1,
            day <= Self.daysInMonth(year, month), hour < 24, minute < 60, second <= 60
        else { return nil }
        self.init(unixSeconds: Self.days(year, month, day) * 86400 + Int64(hour * 3600 + minute * 60 + second))
    }

    /// `20130524T000000Z`
    package var basicISO8601: String {
        let days = unixSeconds.flooredQuotient(86400)
        let second = Int(unixSeconds - days * 86400)
        let (year, month, day) = Self.civil(days)
        func digits(_ value: Int, _ count: Int) -> String {
            let text = String(value)
            return String(repeating: "0", count: max(0, count - text.utf8.count)) + text
        }
        return digits(Int(year), 4) + digits(month, 2) + digits(day, 2) + "T" + digits(second / 3600, 2)
            + digits(second / 60 % 60, 2) + digits(second % 60, 2) + "Z"
    }
}
