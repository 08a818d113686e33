extension TOMLParser {
    /// A number, a truth value, a date or a time: what runs up to the next delimiter.
    mutating func parseScalar() throws(SyntaxError) -> DocumentValue.Content {
        let start = offset
        while let byte = peek(), !Self.endsScalar(byte) { offset += 1 }
        // A date and its time may have one space between them.
        if offset - start == 10, Self.isDate(bytes[start..<offset]), peek() == UInt8(ascii: " "),
            let next = peek(1), Self.digit(next, radix: 10) != nil
        {
            offset += 1
            while let byte = peek(), !Self.endsScalar(byte) { offset += 1 }
        }
        guard offset > start else { throw failure("expected a value, found \(describeNext())") }
        let token = Array(bytes[start..<offset])
        let text = String(decoding: token, as: UTF8.self)
        switch text {
        case "true": return .boolean(true)
        case "false": return .boolean(false)
        case "inf", "+inf": return .float(.infinity)
        case "-inf": return .float(-.infinity)
        case "nan", "+nan", "-nan": return .float(.nan)
        default: break
        }
        if Self.looksLikeDateOrTime(token) {
            guard let date = DocumentDate(token) else {
                throw failure(start..<offset, "\"\(Self.shown(text))\" is no date or time of RFC 3339")
            }
            return .date(date)
        }
        guard let first = token.first,
            first == UInt8(ascii: "+") || first == UInt8(ascii: "-") || Self.digit(first, radix: 10) != nil
        else {
            throw failure(
                start..<offset, "\"\(Self.shown(text))\" is no value",
                fix: "put text in quotes: \"\(Self.shown(text))\"")
        }
        return try parseNumber(token, start..<offset)
    }

    private static func shown(_ text: String) -> String {
        text.count <= 40 ? text : text.prefix(40) + "…"
    }

    private static func endsScalar(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\n"), UInt8(ascii: "\r"), UInt8(ascii: ","),
            UInt8(ascii: "]"), UInt8(ascii: "}"), UInt8(ascii: "#"), UInt8(ascii: "="), UInt8(ascii: "["),
            UInt8(ascii: "{"), UInt8(ascii: "\""), UInt8(ascii: "'"):
            true
        default: isControl(byte)
        }
    }

    private static func isDate(_ token: ArraySlice<UInt8>) -> Bool {
        let bytes = Array(token)
        return bytes.count == 10 && bytes[4] == UInt8(ascii: "-") && bytes[7] == UInt8(ascii: "-")
    }

    private static func looksLikeDateOrTime(_ token: [UInt8]) -> Bool {
        func digits(_ count: Int) -> Bool {
            token.count > count && token[..<count].allSatisfy { digit($0, radix: 10) != nil }
        }
        return (digits(4) && token[4] == UInt8(ascii: "-")) || (digits(2) && token[2] == UInt8(ascii: ":"))
            || (digits(1) && token.contains(UInt8(ascii: ":")))
    }

    // MARK: Numbers

    private func parseNumber(_ token: [UInt8], _ range: Range<Int>) throws(SyntaxError)
        -> DocumentValue.Content
    {
        let text = String(decoding: token, as: UTF8.self)
        if token.count > 1, token[0] == UInt8(ascii: "0"), let radix = Self.radix(token[1]) {
            guard let digits = Self.withoutUnderscores(token[2...], radix: radix) else {
                throw failure(range, "\"\(Self.shown(text))\" is no integer of base \(radix)")
            }
            guard let value = Int64(digits, radix: radix) else { throw overflow(text, range) }
            return .integer(value)
        }
        var digits = token[...]
        let sign = digits.first == UInt8(ascii: "-") ? "-" : ""
        if let first = digits.first, first == UInt8(ascii: "-") || first == UInt8(ascii: "+") {
            digits = digits.dropFirst()
        }
        let whole = digits.prefix { $0 == UInt8(ascii: "_") || Self.digit($0, radix: 10) != nil }
        var rest = digits.dropFirst(whole.count)
        guard let wholeText = Self.withoutUnderscores(whole, radix: 10) else {
            throw failure(range, "\"\(Self.shown(text))\" is no number", fix: "put text in quotes")
        }
        guard wholeText.utf8.count == 1 || wholeText.utf8.first != UInt8(ascii: "0") else {
            throw failure(
                range, "a number can't begin with a zero", fix: "delete it, or put the text in quotes")
        }
        if rest.isEmpty {
            guard let value = Int64(sign + wholeText) else { throw overflow(text, range) }
            return .integer(value)
        }
        var normal = sign + wholeText
        if rest.first == UInt8(ascii: ".") {
            let fraction = rest.dropFirst().prefix {
                $0 == UInt8(ascii: "_") || Self.digit($0, radix: 10) != nil
            }
            guard let fractionText = Self.withoutUnderscores(fraction, radix: 10) else {
                throw failure(range, "a decimal point needs a digit on both sides")
            }
            normal += "." + fractionText
            rest = rest.dropFirst(1 + fraction.count)
        }
        if rest.first == UInt8(ascii: "e") || rest.first == UInt8(ascii: "E") {
            rest = rest.dropFirst()
            normal += "e"
            if let first = rest.first, first == UInt8(ascii: "-") || first == UInt8(ascii: "+") {
                normal += first == UInt8(ascii: "-") ? "-" : ""
                rest = rest.dropFirst()
            }
            guard let exponent = Self.withoutUnderscores(rest, radix: 10) else {
                throw failure(range, "\"\(Self.shown(text))\" has no valid exponent")
            }
            normal += exponent
            rest = []
        }
        guard rest.isEmpty, let value = Double(normal) else {
            throw failure(range, "\"\(Self.shown(text))\" is no number", fix: "put text in quotes")
        }
        return .float(value)
    }

    private func overflow(_ text: String, _ range: Range<Int>) -> SyntaxError {
        failure(range, "\"\(Self.shown(text))\" is outside the 64-bit integers")
    }

    private static func radix(_ byte: UInt8) -> Int? {
        switch byte {
        case UInt8(ascii: "x"): 16
        case UInt8(ascii: "o"): 8
        case UInt8(ascii: "b"): 2
        default: nil
        }
    }

    /// The digits, when there is at least one and each underscore stands between two.
    private static func withoutUnderscores(_ bytes: ArraySlice<UInt8>, radix: Int) -> String? {
        var digits: [UInt8] = []
        var wasDigit = false
        for byte in bytes {
            if digit(byte, radix: radix) != nil {
                digits.append(byte)
                wasDigit = true
            } else {
                guard byte == UInt8(ascii: "_"), wasDigit else { return nil }
                wasDigit = false
            }
        }
        return wasDigit ? String(decoding: digits, as: UTF8.self) : nil
    }
}

extension DocumentDate {
    /// RFC 3339 §5.6, with the parts that TOML leaves out: `date`, `time`, `date time`, `date time offset`.
    init?(_ token: [UInt8]) {
        var rest = token[...]
        func number(_ count: Int) -> Int? {
            guard rest.count >= count else { return nil }
            var value = 0
            for byte in rest.prefix(count) {
                guard let digit = TOMLParser.digit(byte, radix: 10) else { return nil }
                value = value * 10 + digit
            }
            rest = rest.dropFirst(count)
            return value
        }
        func take(_ character: Unicode.Scalar) -> Bool {
            guard rest.first == UInt8(ascii: character) else { return false }
            rest = rest.dropFirst()
            return true
        }
        var day: Day?
        if token.count > 4, token[4] == UInt8(ascii: "-") {
            guard let year = number(4), take("-"), let month = number(2), take("-"), let number = number(2),
                (1...12).contains(month), (1...CivilDate.dayCount(year: year, month: month)).contains(number)
            else { return nil }
            day = Day(year: year, month: month, day: number)
            if rest.isEmpty {
                self.init(day: day, time: nil, offsetMinutes: nil)
                return
            }
            guard take("T") || take("t") || take(" ") else { return nil }
        }
        guard let hour = number(2), take(":"), let minute = number(2), take(":"), let second = number(2),
            hour <= 23, minute <= 59, second <= 60
        else { return nil }
        var fraction = ""
        if take(".") {
            let digits = rest.prefix { TOMLParser.digit($0, radix: 10) != nil }
            guard !digits.isEmpty else { return nil }
            fraction = String(decoding: digits, as: UTF8.self)
            while fraction.last == "0" { fraction.removeLast() }
            rest = rest.dropFirst(digits.count)
        }
        let time = Time(hour: hour, minute: minute, second: second, fraction: fraction)
        if rest.isEmpty {
            self.init(day: day, time: time, offsetMinutes: nil)
            return
        }
        guard day != nil else { return nil }
        if take("Z") || take("z") {
            guard rest.isEmpty else { return nil }
            self.init(day: day, time: time, offsetMinutes: 0)
            return
        }
        let isNegative = rest.first == UInt8(ascii: "-")
        guard take("+") || take("-"), let offsetHour = number(2), take(":"), let offsetMinute = number(2),
            rest.isEmpty, offsetHour <= 23, offsetMinute <= 59
        else { return nil }
        let offset = offsetHour * 60 + offsetMinute
        self.init(day: day, time: time, offsetMinutes: isNegative ? -offset : offset)
    }
}
