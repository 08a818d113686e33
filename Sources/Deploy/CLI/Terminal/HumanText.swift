/// Quantities as people read them.
enum HumanText {
    private static let units = ["KiB", "MiB", "GiB", "TiB", "PiB"]

    /// `812 B`, `1.5 KiB`, `27 MiB`: three digits at most before the unit changes.
    static func bytes(_ count: Int64) -> String {
        guard count >= 1000 else { return "\(count) B" }
        var value = Double(count) / 1024
        var unit = 0
        while value >= 999.5, unit < units.count - 1 {
            value /= 1024
            unit += 1
        }
        return "\(oneDigit(value)) \(units[unit])"
    }

    static func rate(_ bytesPerSecond: Double) -> String {
        bytes(Int64(exactly: max(0, bytesPerSecond).rounded()) ?? .max) + "/s"
    }

    private static func oneDigit(_ value: Double) -> String {
        guard value < 99.95 else { return String(Int(value.rounded())) }
        let tenths = Int((value * 10).rounded())
        return tenths % 10 == 0 ? String(tenths / 10) : "\(tenths / 10).\(tenths % 10)"
    }

    /// `0:07`, `12:40`, `3:05:00`.
    static func clock(_ seconds: Int64) -> String {
        func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60)
        return hours > 0 ? "\(hours):\(two(minutes)):\(two(seconds % 60))" : "\(minutes):\(two(seconds % 60))"
    }

    /// `1 object`, `2 objects`.
    static func count(_ count: some BinaryInteger, _ noun: String, _ nouns: String? = nil) -> String {
        "\(count) \(count == 1 ? noun : nouns ?? noun + "s")"
    }
}
