extension TOMLParser {
    /// `"…"` on one line. The offset stands on the quote.
    mutating func parseBasicString() throws(SyntaxError) -> String {
        let start = offset
        offset += 1
        var text: [UInt8] = []
        while let byte = peek() {
            switch byte {
            case UInt8(ascii: "\""):
                offset += 1
                return String(decoding: text, as: UTF8.self)
            case UInt8(ascii: "\\"): try parseEscape(into: &text)
            default:
                try checkSingleLine(byte, from: start)
                text.append(byte)
                offset += 1
            }
        }
        throw unclosed("string", from: start)
    }

    /// `'…'` on one line.
    mutating func parseLiteralString() throws(SyntaxError) -> String {
        let start = offset
        offset += 1
        while let byte = peek() {
            if byte == UInt8(ascii: "'") {
                offset += 1
                return String(decoding: bytes[(start + 1)..<(offset - 1)], as: UTF8.self)
            }
            try checkSingleLine(byte, from: start)
            offset += 1
        }
        throw unclosed("string", from: start)
    }

    private func checkSingleLine(_ byte: UInt8, from start: Int) throws(SyntaxError) {
        if byte == UInt8(ascii: "\n") || (byte == UInt8(ascii: "\r") && peek(1) == UInt8(ascii: "\n")) {
            throw failure(start..<offset, "this string has no closing quote on its line")
        }
        try checkNoControl(byte)
    }

    private func checkNoControl(_ byte: UInt8) throws(SyntaxError) {
        guard !Self.isControl(byte) else {
            throw failure(
                "a string can't contain the control character \(Self.describe(byte))",
                fix: "in double quotes it can be written as an escape, such as \\u001F")
        }
    }

    mutating func parseMultilineBasicString() throws(SyntaxError) -> String {
        let start = offset
        offset += 3
        _ = try takeNewline()
        var text: [UInt8] = []
        while let byte = peek() {
            switch byte {
            case UInt8(ascii: "\""):
                if try takeClosingQuotes(byte, into: &text) { return String(decoding: text, as: UTF8.self) }
            case UInt8(ascii: "\\"):
                if try !skipLineContinuation() { try parseEscape(into: &text) }
            default: try takeMultilineByte(byte, into: &text)
            }
        }
        throw unclosed("string", from: start)
    }

    mutating func parseMultilineLiteralString() throws(SyntaxError) -> String {
        let start = offset
        offset += 3
        _ = try takeNewline()
        var text: [UInt8] = []
        while let byte = peek() {
            if byte == UInt8(ascii: "'") {
                if try takeClosingQuotes(byte, into: &text) { return String(decoding: text, as: UTF8.self) }
            } else {
                try takeMultilineByte(byte, into: &text)
            }
        }
        throw unclosed("string", from: start)
    }

    private mutating func takeMultilineByte(_ byte: UInt8, into text: inout [UInt8]) throws(SyntaxError) {
        let start = offset
        if try takeNewline() {
            text += bytes[start..<offset]
        } else {
            try checkNoControl(byte)
            text.append(byte)
            offset += 1
        }
    }

    /// One or two quotes are text, three close, and up to two more before the closing three are text too.
    private mutating func takeClosingQuotes(_ quote: UInt8, into text: inout [UInt8]) throws(SyntaxError)
        -> Bool
    {
        let start = offset
        while peek() == quote, offset - start < 6 { offset += 1 }
        let count = offset - start
        guard count < 6 else {
            throw failure(
                start..<offset, "six quotes in a row: a string holds at most two before its closing three")
        }
        for _ in 0..<(count >= 3 ? count - 3 : count) { text.append(quote) }
        return count >= 3
    }

    /// A backslash at the end of a line swallows white space up to the next text.
    private mutating func skipLineContinuation() throws(SyntaxError) -> Bool {
        let start = offset
        offset += 1
        skipBlanks()
        guard try takeNewline() else {
            offset = start
            return false
        }
        repeat { skipBlanks() } while try takeNewline()
        return true
    }

    private mutating func parseEscape(into text: inout [UInt8]) throws(SyntaxError) {
        let start = offset
        offset += 1
        guard let byte = peek() else { throw failure(start..<offset, "the text ends inside an escape") }
        switch byte {
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "\""): text.append(0x22)
        case UInt8(ascii: "\\"): text.append(0x5C)
        case UInt8(ascii: "u"): return try parseUnicodeEscape(digitCount: 4, from: start, into: &text)
        case UInt8(ascii: "U"): return try parseUnicodeEscape(digitCount: 8, from: start, into: &text)
        default:
            let shown = describeNext()
            throw failure(
                start..<(offset + 1), "a backslash can't be followed by \(shown)",
                fix: "write \\\\ for a backslash, or use single quotes")
        }
        offset += 1
    }

    private mutating func parseUnicodeEscape(
        digitCount: Int, from start: Int, into text: inout [UInt8]
    ) throws(SyntaxError) {
        offset += 1
        var value: UInt32 = 0
        for _ in 0..<digitCount {
            guard let byte = peek(), let digit = Self.digit(byte, radix: 16) else {
                throw failure(start..<offset, "this escape needs \(digitCount) hexadecimal digits")
            }
            value = value << 4 | UInt32(digit)
            offset += 1
        }
        guard let scalar = Unicode.Scalar(value) else {
            throw failure(start..<offset, "this escape is no Unicode character")
        }
        text += Array(String(Character(scalar)).utf8)
    }

    static func digit(_ byte: UInt8, radix: Int) -> Int? {
        let value: Int
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): value = Int(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): value = Int(byte - UInt8(ascii: "a")) + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): value = Int(byte - UInt8(ascii: "A")) + 10
        default: return nil
        }
        return value < radix ? value : nil
    }
}
