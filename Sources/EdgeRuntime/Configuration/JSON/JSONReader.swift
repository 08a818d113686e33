/// Reads JSON with comments (`//`, `/* */`) and trailing commas, the dialect of `wrangler.jsonc`, into the
/// same document as TOML, with the place of each key and value.
package enum JSONReader {
    package static func read(_ source: SourceText) throws(SyntaxError) -> DocumentValue {
        guard source.bytes.count <= TOMLReader.byteCountMax else {
            throw SyntaxError(
                at: SourcePlace(source, 0..<0),
                "the file has \(source.bytes.count) bytes; at most \(TOMLReader.byteCountMax) are read")
        }
        try UTF8Check.run(source)
        var parser = JSONParser(source)
        return try parser.parseDocument()
    }
}

private struct JSONParser {
    let source: SourceText
    let bytes: [UInt8]
    var offset = 0
    var depth = 0

    init(_ source: SourceText) {
        self.source = source
        bytes = source.bytes
        if bytes.starts(with: SourceText.byteOrderMark) { offset = 3 }
    }

    mutating func parseDocument() throws(SyntaxError) -> DocumentValue {
        try skipSpace()
        let value = try parseValue()
        try skipSpace()
        guard offset == bytes.count else {
            throw failure("nothing may follow the document, found \(describeNext())")
        }
        return value
    }

    private mutating func parseValue() throws(SyntaxError) -> DocumentValue {
        let start = offset
        let content: DocumentValue.Content
        switch peek() {
        case UInt8(ascii: "{"):
            content = .table(try nested { (parser) throws(SyntaxError) in try parser.parseObject() })
        case UInt8(ascii: "["):
            content = .array(try nested { (parser) throws(SyntaxError) in try parser.parseArray() })
        case UInt8(ascii: "\""): content = .string(try parseString())
        case nil: throw failure("expected a value, found the end of the file")
        default: content = try parseWord()
        }
        return DocumentValue(content, at: SourcePlace(source, start..<offset))
    }

    private mutating func nested<Value>(
        _ parse: (inout JSONParser) throws(SyntaxError) -> Value
    ) throws(SyntaxError) -> Value {
        guard depth < TOMLReader.depthMax else {
            throw failure("values are nested more than \(TOMLReader.depthMax) deep")
        }
        depth += 1
        let value = try parse(&self)
        depth -= 1
        return value
    }

    private mutating func parseObject() throws(SyntaxError) -> DocumentTable {
        let opening = offset
        offset += 1
        var table = DocumentTable()
        while true {
            try skipSpace()
            if take(UInt8(ascii: "}")) { return table }
            guard peek() != nil else { throw failure(opening..<(opening + 1), "this object is never closed") }
            guard peek() == UInt8(ascii: "\"") else {
                throw failure("expected a name in double quotes or \"}\", found \(describeNext())")
            }
            let start = offset
            let key = try parseString()
            let keyLocation = SourcePlace(source, start..<offset)
            if let first = table.entry(key) {
                throw SyntaxError(
                    at: keyLocation,
                    "\(JSONText.quoted(key)) is defined twice; first at \(first.keyLocation)",
                    fix: "delete one of them")
            }
            try skipSpace()
            guard take(UInt8(ascii: ":")) else { throw failure("expected \":\", found \(describeNext())") }
            try skipSpace()
            table.set(.init(key: key, keyLocation: keyLocation, value: try parseValue()))
            try skipSpace()
            if take(UInt8(ascii: ",")) { continue }
            guard peek() == UInt8(ascii: "}") else {
                guard peek() != nil else {
                    throw failure(opening..<(opening + 1), "this object is never closed")
                }
                throw failure("expected \",\" or \"}\", found \(describeNext())")
            }
        }
    }

    private mutating func parseArray() throws(SyntaxError) -> [DocumentValue] {
        let opening = offset
        offset += 1
        var elements: [DocumentValue] = []
        while true {
            try skipSpace()
            if take(UInt8(ascii: "]")) { return elements }
            guard peek() != nil else { throw failure(opening..<(opening + 1), "this array is never closed") }
            elements.append(try parseValue())
            try skipSpace()
            if take(UInt8(ascii: ",")) { continue }
            guard peek() == UInt8(ascii: "]") else {
                guard peek() != nil else {
                    throw failure(opening..<(opening + 1), "this array is never closed")
                }
                throw failure("expected \",\" or \"]\", found \(describeNext())")
            }
        }
    }

    private mutating func parseString() throws(SyntaxError) -> String {
        let start = offset
        offset += 1
        var text: [UInt8] = []
        while let byte = peek() {
            switch byte {
            case UInt8(ascii: "\""):
                offset += 1
                return String(decoding: text, as: UTF8.self)
            case UInt8(ascii: "\\"): try parseEscape(into: &text)
            case UInt8(ascii: "\n"), UInt8(ascii: "\r"):
                throw failure(start..<offset, "this string has no closing quote on its line")
            case 0..<0x20:
                throw failure("a string can't contain the control character \(TOMLParser.describe(byte))")
            default:
                text.append(byte)
                offset += 1
            }
        }
        throw failure(start..<(start + 1), "this string is never closed")
    }

    private mutating func parseEscape(into text: inout [UInt8]) throws(SyntaxError) {
        let start = offset
        offset += 1
        guard let byte = peek() else { throw failure(start..<offset, "the text ends inside an escape") }
        offset += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"):
            var units = [try takeUnit(from: start)]
            if UTF16.isLeadSurrogate(units[0]), peek() == UInt8(ascii: "\\"), peek(1) == UInt8(ascii: "u") {
                offset += 2
                units.append(try takeUnit(from: start))
            }
            guard let decoded = String(validating: units, as: UTF16.self) else {
                throw failure(start..<offset, "this escape is half of a surrogate pair")
            }
            text += Array(decoded.utf8)
        default:
            throw failure(
                start..<offset, "this escape does not exist in JSON", fix: "write \\\\ for a backslash")
        }
    }

    private mutating func takeUnit(from start: Int) throws(SyntaxError) -> UInt16 {
        var value: UInt16 = 0
        for _ in 0..<4 {
            guard let byte = peek(), let digit = TOMLParser.digit(byte, radix: 16) else {
                throw failure(start..<offset, "this escape needs four hexadecimal digits")
            }
            value = value << 4 | UInt16(digit)
            offset += 1
        }
        return value
    }

    private mutating func parseWord() throws(SyntaxError) -> DocumentValue.Content {
        let start = offset
        while let byte = peek(),
            TOMLParser.isBareKeyByte(byte) || byte == UInt8(ascii: "+") || byte == UInt8(ascii: ".")
        {
            offset += 1
        }
        guard offset > start else { throw failure("expected a value, found \(describeNext())") }
        let text = String(decoding: bytes[start..<offset], as: UTF8.self)
        switch text {
        case "true": return .boolean(true)
        case "false": return .boolean(false)
        case "null": return .null
        default: break
        }
        guard Self.isNumber(bytes[start..<offset]) else {
            throw failure(
                start..<offset, "\"\(text.prefix(40))\" is no value", fix: "put text in double quotes")
        }
        if let integer = Int64(text) { return .integer(integer) }
        guard let number = Double(text), number.isFinite else {
            throw failure(start..<offset, "this number is too large")
        }
        return .float(number)
    }

    /// RFC 8259 §6.
    private static func isNumber(_ token: ArraySlice<UInt8>) -> Bool {
        var rest = token
        func takeDigits() -> Int {
            let digits = rest.prefix { TOMLParser.digit($0, radix: 10) != nil }
            rest = rest.dropFirst(digits.count)
            return digits.count
        }
        if rest.first == UInt8(ascii: "-") { rest = rest.dropFirst() }
        let startsWithZero = rest.first == UInt8(ascii: "0")
        let wholeCount = takeDigits()
        guard wholeCount > 0, !(startsWithZero && wholeCount > 1) else { return false }
        if rest.first == UInt8(ascii: ".") {
            rest = rest.dropFirst()
            guard takeDigits() > 0 else { return false }
        }
        if rest.first == UInt8(ascii: "e") || rest.first == UInt8(ascii: "E") {
            rest = rest.dropFirst()
            if rest.first == UInt8(ascii: "-") || rest.first == UInt8(ascii: "+") { rest = rest.dropFirst() }
            guard takeDigits() > 0 else { return false }
        }
        return rest.isEmpty
    }

    private mutating func skipSpace() throws(SyntaxError) {
        while let byte = peek() {
            switch byte {
            case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\n"), UInt8(ascii: "\r"): offset += 1
            case UInt8(ascii: "/") where peek(1) == UInt8(ascii: "/"):
                while let byte = peek(), byte != UInt8(ascii: "\n") { offset += 1 }
            case UInt8(ascii: "/") where peek(1) == UInt8(ascii: "*"):
                let start = offset
                offset += 2
                while peek() != nil, !(peek() == UInt8(ascii: "*") && peek(1) == UInt8(ascii: "/")) {
                    offset += 1
                }
                guard peek() != nil else {
                    throw failure(start..<(start + 2), "this comment is never closed")
                }
                offset += 2
            default: return
            }
        }
    }

    private func peek(_ ahead: Int = 0) -> UInt8? {
        offset + ahead < bytes.count ? bytes[offset + ahead] : nil
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard peek() == byte else { return false }
        offset += 1
        return true
    }

    private func describeNext() -> String {
        guard offset < bytes.count else { return "the end of the file" }
        let character = String(decoding: bytes[offset..<min(bytes.count, offset + 16)], as: UTF8.self).first
        return JSONText.quoted(String(character ?? "?"))
    }

    private func failure(_ message: String, fix: String? = nil) -> SyntaxError {
        var end = min(offset + 1, bytes.count)
        while end < bytes.count, bytes[end] & 0xC0 == 0x80 { end += 1 }
        return failure(offset..<end, message, fix: fix)
    }

    private func failure(_ range: Range<Int>, _ message: String, fix: String? = nil) -> SyntaxError {
        SyntaxError(at: SourcePlace(source, range), message, fix: fix)
    }
}
