/// Times as RFC 3339 writes them; in numbers, milliseconds since 1970-01-01T00:00:00Z.
package enum InternetTimestamp {
    /// In UTC, with milliseconds: `2026-01-31T08:49:37.025Z`. For the years 0...9999.
    package static func text(milliseconds: Int64) -> String {
        let clamped = min(max(milliseconds, -62_167_219_200_000), 253_402_300_799_999)
        let day = clamped >= 0 ? clamped / 86_400_000 : (clamped - 86_399_999) / 86_400_000
        let inDay = clamped - day * 86_400_000
        let (year, month, dayOfMonth) = HTTPDate.civil(day)
        return "\(padded(year, 4))-\(padded(Int64(month), 2))-\(padded(Int64(dayOfMonth), 2))T"
            + "\(padded(inDay / 3_600_000, 2)):\(padded(inDay / 60_000 % 60, 2)):\(padded(inDay / 1000 % 60, 2))"
            + ".\(padded(inDay % 1000, 3))Z"
    }

    private static func padded(_ number: Int64, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }

    /// Reads a date, which is its first moment in UTC, or a date and time with its offset (RFC 3339 §5.6). Digits of a
    /// second behind the third are dropped.
    package static func milliseconds(_ text: String) -> Int64? {
        var reader = Reader(bytes: Array(text.utf8))
        return reader.read()
    }

    private struct Reader {
        let bytes: [UInt8]
        var offset = 0

        mutating func read() -> Int64? {
            guard let year = takeNumber(4), take("-"), let month = takeNumber(2), take("-"), let day = takeNumber(2),
                (1...12).contains(month), (1...HTTPDate.daysInMonth(year, month)).contains(day)
            else { return nil }
            let date = HTTPDate.days(year, month, day) * 86_400_000
            if offset == bytes.count { return date }
            guard take("T") || take("t"), let time = takeTime(), let zone = takeOffset(), offset == bytes.count else {
                return nil
            }
            return date + time - zone
        }

        private mutating func takeTime() -> Int64? {
            guard let hour = takeNumber(2), hour < 24, take(":"), let minute = takeNumber(2), minute < 60, take(":"),
                let second = takeNumber(2), second <= 60
            else { return nil }
            var milliseconds = Int64(hour * 3600 + minute * 60 + second) * 1000
            guard take(".") else { return milliseconds }
            var weight: Int64 = 100
            guard let first = takeNumber(1) else { return nil }
            milliseconds += Int64(first) * weight
            while let digit = takeNumber(1) {
                weight /= 10
                milliseconds += Int64(digit) * weight
            }
            return milliseconds
        }

        private mutating func takeOffset() -> Int64? {
            if take("Z") || take("z") { return 0 }
            let sign: Int64 = take("+") ? 1 : -1
            guard sign == 1 || take("-"), let hours = takeNumber(2), hours < 24, take(":"), let minutes = takeNumber(2),
                minutes < 60
            else { return nil }
            return sign * Int64(hours * 60 + minutes) * 60_000
        }

        private mutating func take(_ character: Character) -> Bool {
            guard offset < bytes.count, bytes[offset] == character.asciiValue else { return false }
            offset += 1
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
    }
}
