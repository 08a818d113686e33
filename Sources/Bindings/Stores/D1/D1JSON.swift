internal import Interfaces

/// Results as the REST interface writes them (spec: d1, sections 2, 3 and 11): numbers as JavaScript would print them, blobs
/// as arrays of numbers.
package enum D1JSON {
    package enum Shape: Sendable {
        /// `/query`: rows are objects; of columns with one name the last value stands at the first one's place.
        case objects
        /// `/raw`: names and rows are arrays, and all columns are kept.
        case arrays
    }

    static func put(_ meta: D1Meta, _ bytes: inout [UInt8]) {
        bytes += #"{"served_by":"#.utf8
        put(text: meta.servedBy, &bytes)
        bytes += #","served_by_region":"#.utf8
        put(text: meta.servedByRegion, &bytes)
        bytes += #","served_by_colo":"#.utf8
        put(text: meta.servedByColo, &bytes)
        let duration = number(meta.sqlDurationMilliseconds)
        bytes +=
            """
            ,"served_by_primary":\(meta.servedByPrimary),"timings":{"sql_duration_ms":\(duration)},\
            "duration":\(number(meta.duration)),"changes":\(meta.changes),"last_row_id":\(meta.lastRowID),\
            "changed_db":\(meta.changedDB),"size_after":\(meta.sizeAfter),"rows_read":\(meta.rowsRead),\
            "rows_written":\(meta.rowsWritten),"total_attempts":\(meta.totalAttempts)}
            """.utf8
    }

    static func put(text: String, _ bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "\""))
        putUnquoted(Array(text.utf8)[...], &bytes)
        bytes.append(UInt8(ascii: "\""))
    }

    /// The inside of a string. SQL's text may hold any bytes: what is not UTF-8 is repaired.
    static func putUnquoted(_ text: ArraySlice<UInt8>, _ bytes: inout [UInt8]) {
        let isSound = text.allSatisfy { $0 < 0x80 } || String(validating: text, as: UTF8.self) != nil
        let text = isSound ? text : Array(String(decoding: text, as: UTF8.self).utf8)[...]
        let digits: [UInt8] = Array("0123456789abcdef".utf8)
        for byte in text {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case 0..<0x20: bytes += Array(#"\u00"#.utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            default: bytes.append(byte)
            }
        }
    }

    /// As `Number::toString` of ECMAScript writes it: `1`, `0.000001`, `1e-7`, `1e+21`; `null` for what is no finite number.
    package static func number(_ value: Double) -> String {
        guard value.isFinite else { return "null" }
        guard value != 0 else { return "0" }
        // Swift's own text has the same digits, the fewest that mean this number.
        let text = Array("\(value.magnitude)".utf8)
        let mark = text.firstIndex(of: UInt8(ascii: "e")) ?? text.endIndex
        let point = text[..<mark].firstIndex(of: UInt8(ascii: ".")) ?? mark
        var exponent = point
        if mark < text.endIndex { exponent += Int(String(decoding: text[(mark + 1)...], as: UTF8.self)) ?? 0 }
        var digits = text[..<mark].filter { $0 != UInt8(ascii: ".") }[...]
        while digits.first == UInt8(ascii: "0") {
            digits = digits.dropFirst()
            exponent -= 1
        }
        while digits.last == UInt8(ascii: "0") { digits = digits.dropLast() }
        return (value < 0 ? "-" : "") + Self.placed(String(decoding: Array(digits), as: UTF8.self), exponent)
    }

    /// - Parameter exponent: How many digits stand before the point.
    private static func placed(_ digits: String, _ exponent: Int) -> String {
        let count = digits.utf8.count
        switch exponent {
        case count...max(count, 21): return digits + String(repeating: "0", count: exponent - count)
        case 1...21: return digits.prefix(exponent) + "." + digits.dropFirst(exponent)
        case -5...0: return "0." + String(repeating: "0", count: -exponent) + digits
        default:
            let mantissa = count == 1 ? digits : digits.prefix(1) + "." + digits.dropFirst()
            return mantissa + "e" + (exponent > 0 ? "+" : "-") + "\(abs(exponent - 1))"
        }
    }
}
