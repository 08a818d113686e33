/// The answer to a query, in the form that it asked for.
package struct SQLAnswer: Sendable {
    package let contentType: String
    package let body: [UInt8]

    init(_ table: SQLTable, _ format: SQLStatement.Format, bytesMax: Int) throws(SQLError) {
        var body: [UInt8] = []
        func check() throws(SQLError) {
            guard body.count <= bytesMax else {
                throw SQLError("the answer is larger than \(bytesMax >> 20) MiB: ask for fewer rows")
            }
        }
        switch format {
        case .json:
            contentType = "application/json"
            body += #"{"meta":["#.utf8
            for (index, column) in table.columns.enumerated() {
                if index > 0 { body.append(UInt8(ascii: ",")) }
                body += #"{"name":"#.utf8
                SQLText.append(quoted: column.name, to: &body)
                body += #","type":"#.utf8
                SQLText.append(quoted: column.type.name, to: &body)
                body.append(UInt8(ascii: "}"))
            }
            body += #"],"data":["#.utf8
            for (index, row) in table.rows.enumerated() {
                if index > 0 { body.append(UInt8(ascii: ",")) }
                SQLText.append(row, table.columns, to: &body)
                try check()
            }
            body += "],\"rows\":\(table.rows.count)}\n".utf8
        case .jsonEachRow:
            contentType = "application/x-ndjson"
            for row in table.rows {
                SQLText.append(row, table.columns, to: &body)
                body.append(0x0A)
                try check()
            }
        case .tabSeparated:
            contentType = "text/tab-separated-values; charset=utf-8"
            for row in table.rows {
                for (index, value) in row.enumerated() {
                    if index > 0 { body.append(0x09) }
                    SQLText.append(escaped: SQLText.plain(value), to: &body)
                }
                body.append(0x0A)
                try check()
            }
        }
        self.body = body
    }
}

/// Values as text.
enum SQLText {
    static func append(_ row: [SQLValue], _ columns: [SQLBinder.Column], to body: inout [UInt8]) {
        body.append(UInt8(ascii: "{"))
        for (index, (value, column)) in zip(row, columns).enumerated() {
            if index > 0 { body.append(UInt8(ascii: ",")) }
            append(quoted: column.name, to: &body)
            body.append(UInt8(ascii: ":"))
            append(json: value, column.type, to: &body)
        }
        body.append(UInt8(ascii: "}"))
    }

    /// Integers of 64 bits are texts, since JavaScript's numbers don't hold them; what is no number is null.
    private static func append(json value: SQLValue, _ type: SQLType, to body: inout [UInt8]) {
        switch value {
        case .integer(let number) where type == .int64 || type == .uint64: append(quoted: String(number), to: &body)
        case .integer(let number): body += String(number).utf8
        case .double(let number): body += (number.isFinite ? plain(number) : "null").utf8
        case .string, .time, .date, .interval: append(quoted: plain(value), to: &body)
        case .array(let elements):
            var elementType = type
            if case .array(let found) = type { elementType = found }
            body.append(UInt8(ascii: "["))
            for (index, element) in elements.enumerated() {
                if index > 0 { body.append(UInt8(ascii: ",")) }
                append(json: element, elementType, to: &body)
            }
            body.append(UInt8(ascii: "]"))
        }
    }

    static func append(quoted text: String, to body: inout [UInt8]) {
        body.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): body += [UInt8(ascii: "\\"), byte]
            case 0x0A: body += #"\n"#.utf8
            case 0x0D: body += #"\r"#.utf8
            case 0x09: body += #"\t"#.utf8
            case 0..<0x20:
                let digits = String(byte, radix: 16)
                body += (#"\u00"# + (byte < 16 ? "0" : "") + digits).utf8
            default: body.append(byte)
            }
        }
        body.append(UInt8(ascii: "\""))
    }

    /// For `TabSeparated`.
    static func append(escaped text: String, to body: inout [UInt8]) {
        for byte in text.utf8 {
            switch byte {
            case 0x09: body += #"\t"#.utf8
            case 0x0A: body += #"\n"#.utf8
            case 0x0D: body += #"\r"#.utf8
            case 0: body += #"\0"#.utf8
            case UInt8(ascii: "\\"): body += #"\\"#.utf8
            default: body.append(byte)
            }
        }
    }

    static func plain(_ value: SQLValue) -> String {
        switch value {
        case .integer(let number): return String(number)
        case .double(let number): return plain(number)
        case .string(let text): return text
        case .time(let seconds):
            let time = CalendarTime(seconds: seconds)
            return "\(time.dateText) \(time.timeText)"
        case .date(let days): return CalendarTime(seconds: days * 86_400).dateText
        case .interval(let interval): return "\(interval.count) \(interval.unit.rawValue)"
        case .array(let elements):
            let texts = elements.map { element in
                if case .string(let text) = element { return "'\(text)'" }
                return plain(element)
            }
            return "[\(texts.joined(separator: ","))]"
        }
    }

    /// Whole numbers have no point.
    private static func plain(_ number: Double) -> String {
        if number.isNaN { return "nan" }
        if number.isInfinite { return number < 0 ? "-inf" : "inf" }
        if number == number.rounded(), abs(number) < 1e15 { return String(Int64(number)) }
        return "\(number)"
    }
}
