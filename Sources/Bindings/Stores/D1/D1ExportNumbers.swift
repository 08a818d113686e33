internal import SQLite

/// Numbers as texts that SQLite reads as the same numbers, to the last bit.
///
/// The library rounds twice when it reads texts of very small and very large numbers (sqlite3AtoF in util.c of 3.40), so that
/// neither the shortest text nor that of its own `quote()` is always read as what it was made from.
struct D1ExportNumbers {
    private let reading: SQLiteStatement

    init(_ connection: SQLiteConnection) throws(SQLiteError) {
        reading = try connection.prepare("SELECT CAST(? AS REAL)", persistent: true)
    }

    func text(of value: Double) throws(SQLiteError) -> String {
        guard value.isFinite else { return value < 0 ? "-9e999" : "9e999" }
        let shortest = "\(value)"
        defer { reading.reset() }
        try reading.bind(shortest, at: 1)
        if try reading.step(), reading.real(0) == value { return shortest }
        return Self.exactText(of: value)
    }

    /// The number as what it is, a whole number times a power of two: each step of it is exact.
    static func exactText(of value: Double) -> String {
        var (whole, exponent) = (value.significand * 0x1p52, Int(value.exponent) - 52)
        // A number of fewer bits has a shorter text.
        while exponent < 0, whole / 2 == (whole / 2).rounded(.down) {
            whole /= 2
            exponent += 1
        }
        var text = (value.sign == .minus ? "-" : "") + "\(Int64(whole)).0"
        let step = 50
        while exponent != 0 {
            let part = min(abs(exponent), step)
            text += "\(exponent < 0 ? "/" : "*")\(Int64(1) << Int64(part)).0"
            exponent += exponent < 0 ? part : -part
        }
        return text
    }
}
