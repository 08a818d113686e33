/// A date, a time, or both, as TOML 1.0.0 knows them. Valid in the Gregorian calendar.
package struct DocumentDate: Hashable, Sendable, CustomStringConvertible {
    package struct Day: Hashable, Sendable {
        package let year: Int
        package let month: Int
        package let day: Int
    }
    package struct Time: Hashable, Sendable {
        package let hour: Int
        package let minute: Int
        package let second: Int
        /// The digits behind the decimal point, without trailing zeros.
        package let fraction: String
    }
    package let day: Day?
    package let time: Time?
    /// `nil` for a local date or time.
    package let offsetMinutes: Int?

    package var description: String {
        var text = ""
        if let day {
            text += "\(Self.padded(day.year, 4))-\(Self.padded(day.month, 2))-\(Self.padded(day.day, 2))"
        }
        if let time {
            if day != nil { text += "T" }
            text +=
                "\(Self.padded(time.hour, 2)):\(Self.padded(time.minute, 2)):\(Self.padded(time.second, 2))"
            if !time.fraction.isEmpty { text += ".\(time.fraction)" }
        }
        if let offsetMinutes {
            let absolute = abs(offsetMinutes)
            text +=
                offsetMinutes == 0
                ? "Z"
                : "\(offsetMinutes < 0 ? "-" : "+")\(Self.padded(absolute / 60, 2)):\(Self.padded(absolute % 60, 2))"
        }
        return text
    }

    private static func padded(_ number: Int, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}
