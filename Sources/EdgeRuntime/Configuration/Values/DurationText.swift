/// Durations as a configuration writes them: a whole number and a unit, `"500ms"`, `"30s"`, `"5m"`, `"2h"`, `"7d"`.
package enum DurationText {
    private static let units: [(name: String, milliseconds: Int64)] = [
        ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000),
    ]

    /// `nil` when the text is no duration, or longer than ten thousand years.
    package static func parse(_ text: String) -> Duration? {
        let digits = text.utf8.prefix { (0x30...0x39).contains($0) }
        let unit = String(text.dropFirst(digits.count))
        guard (1...15).contains(digits.count), let number = Int64(String(text.prefix(digits.count))),
            let scale = units.first(where: { $0.name == unit })?.milliseconds
        else { return nil }
        let (milliseconds, overflow) = number.multipliedReportingOverflow(by: scale)
        guard !overflow, milliseconds <= 315_576_000_000_000 else { return nil }
        return .milliseconds(milliseconds)
    }

    /// In the largest unit that leaves a whole number.
    package static func text(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        let milliseconds = seconds * 1000 + attoseconds / 1_000_000_000_000_000
        guard milliseconds != 0 else { return "0s" }
        let unit = units.last { milliseconds % $0.milliseconds == 0 } ?? units[0]
        return "\(milliseconds / unit.milliseconds)\(unit.name)"
    }
}

/// Sizes as a configuration writes them: a whole number and a unit, `"64MiB"`, `"512KiB"`, `"100MB"`, `"0B"`.
package enum SizeText {
    private static let units: [(name: String, byteCount: Int)] = [
        ("B", 1), ("KB", 1000), ("KiB", 1 << 10), ("MB", 1_000_000), ("MiB", 1 << 20), ("GB", 1_000_000_000),
        ("GiB", 1 << 30), ("TB", 1_000_000_000_000), ("TiB", 1 << 40),
    ]

    package static func parse(_ text: String) -> Int? {
        let digits = text.utf8.prefix { (0x30...0x39).contains($0) }
        let unit = String(text.dropFirst(digits.count))
        guard (1...15).contains(digits.count), let number = Int(String(text.prefix(digits.count))),
            let scale = units.first(where: { $0.name == unit })?.byteCount
        else { return nil }
        let (byteCount, overflow) = number.multipliedReportingOverflow(by: scale)
        return overflow ? nil : byteCount
    }

    /// In the largest unit that leaves a whole number.
    package static func text(_ byteCount: Int) -> String {
        guard byteCount != 0 else { return "0B" }
        let unit = units.last { byteCount % $0.byteCount == 0 } ?? units[0]
        return "\(byteCount / unit.byteCount)\(unit.name)"
    }
}
