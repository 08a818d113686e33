package import Interfaces

/// Results as the REST interface writes them (spec: d1, sections 2, 3 and 11): numbers as JavaScript would print them, blobs
/// as arrays of numbers.
package enum D1JSON {
    package enum Shape: Sendable {
        /// `/query`: rows are objects; of columns with one name the last value stands at the first one's place.
        case objects
        /// `/raw`: names and rows are arrays, and all columns are kept.
        case arrays
    }

    /// An array with one element for each result.
    package static func encode(_ results: [(D1Result, columns: [String])], _ shape: Shape) -> [UInt8] {
        var bytes: [UInt8] = [UInt8(ascii: "[")]
        for (index, (result, columns)) in results.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            bytes += #"{"results":"#.utf8
            switch shape {
            case .objects: putList(result.results, &bytes) { row, bytes in put(object: row, &bytes) }
            case .arrays:
                bytes += #"{"columns":"#.utf8
                putList(columns, &bytes) { put(text: $0, &$1) }
                bytes += #","rows":"#.utf8
                putList(result.results, &bytes) { row, bytes in putList(row.values, &bytes) { put($0, &$1) } }
                bytes.append(UInt8(ascii: "}"))
            }
            bytes += #","success":true,"meta":"#.utf8
            put(result.meta, &bytes)
            bytes.append(UInt8(ascii: "}"))
        }
        bytes.append(UInt8(ascii: "]"))
        return bytes
    }

    private static func putList<Elements: Collection>(
        _ elements: Elements, _ bytes: inout [UInt8], _ put: (Elements.Element, inout [UInt8]) -> Void
    ) {
        bytes.append(UInt8(ascii: "["))
        var isFirst = true
        for element in elements {
            if !isFirst { bytes.append(UInt8(ascii: ",")) }
            isFirst = false
            put(element, &bytes)
        }
        bytes.append(UInt8(ascii: "]"))
    }

    private static func put(object row: D1Row, _ bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "{"))
        for (index, (name, value)) in row.object.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            put(text: name, &bytes)
            bytes.append(UInt8(ascii: ":"))
            put(value, &bytes)
        }
        bytes.append(UInt8(ascii: "}"))
    }

    private static func put(_ value: D1Value, _ bytes: inout [UInt8]) {
        switch value {
        case .null: bytes += "null".utf8
        // A number of JavaScript: exact up to 2⁵³.
        case .integer(let number): bytes += Self.number(Double(number)).utf8
        case .real(let number): bytes += Self.number(number).utf8
        case .text(let text): put(text: text, &bytes)
        case .blob(let blob): putList(blob, &bytes) { $1 += String($0).utf8 }
        }
    }

    private static func put(_ meta: D1Meta, _ bytes: inout [UInt8]) {
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

    private static func put(text: String, _ bytes: inout [UInt8]) {
        let digits = Array("0123456789abcdef".utf8)
        bytes.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), byte]
            case 0..<0x20: bytes += Array(#"\u00"#.utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
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
