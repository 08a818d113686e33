/// The state of one reading. The text is valid UTF-8.
struct TOMLParser {
    let source: SourceText
    let bytes: [UInt8]
    var offset = 0
    var depth = 0
    private let root: TOMLTableBuilder
    private var current: TOMLTableBuilder

    init(_ source: SourceText) {
        self.source = source
        bytes = source.bytes
        root = TOMLTableBuilder(.header, at: SourcePlace(source, 0..<0))
        current = root
        if bytes.starts(with: SourceText.byteOrderMark) { offset = 3 }
    }

    // MARK: The document

    mutating func parseDocument() throws(SyntaxError) -> DocumentTable {
        while true {
            skipBlanks()
            guard let byte = peek() else { break }
            switch byte {
            case UInt8(ascii: "#"), UInt8(ascii: "\n"), UInt8(ascii: "\r"): break
            case UInt8(ascii: "["): try parseHeader()
            default: try parseKeyValue(into: current)
            }
            try endLine()
        }
        return root.document
    }

    mutating func parseLoneValue() throws(SyntaxError) -> DocumentValue {
        skipBlanks()
        let value = try parseValue()
        skipBlanks()
        guard peek() == nil else { throw failure("nothing may follow the value") }
        return value
    }

    private mutating func endLine() throws(SyntaxError) {
        skipBlanks()
        try skipComment()
        if peek() == nil { return }
        guard try takeNewline() else {
            throw failure(
                "expected the end of the line, found \(describeNext())", fix: "write one entry per line")
        }
    }

    private mutating func parseHeader() throws(SyntaxError) {
        let start = offset
        offset += 1
        let isArray = peek() == UInt8(ascii: "[")
        if isArray { offset += 1 }
        skipBlanks()
        let keys = try parseKey()
        let closing = isArray ? "]]" : "]"
        guard peek() == UInt8(ascii: "]") else {
            throw failure("expected \"\(closing)\" to end the table header")
        }
        offset += 1
        if isArray {
            guard peek() == UInt8(ascii: "]") else {
                throw failure("expected \"]]\" to end the table header")
            }
            offset += 1
        }
        let location = SourcePlace(source, start..<offset)
        let last = keys[keys.count - 1]
        let parent = try descend(keys.dropLast())
        current = TOMLTableBuilder(.header, at: location)
        switch (parent.entry(last)?.content, isArray) {
        case (nil, false): parent.set(last, .table(current))
        case (nil, true): parent.set(last, .tables([current]))
        case (.tables(let tables), true): parent.set(last, .tables(tables + [current]))
        case (.table(let table), false) where table.definition == .implicit:
            table.definition = .header
            current = table
        case (.table(let table), false):
            throw SyntaxError(
                at: location, "table \(Self.path(keys)) is defined twice; first at \(table.location)",
                fix: "put the entries of both under one header")
        case (.table(let table), true):
            throw SyntaxError(
                at: location,
                "\(Self.path(keys)) is a table, not an array of tables; defined at \(table.location)")
        case (.tables, false):
            throw SyntaxError(
                at: location, "\(Self.path(keys)) is an array of tables", fix: "write [[\(Self.path(keys))]]")
        case (.value(let value), _):
            throw SyntaxError(at: location, "\(Self.path(keys)) already has a value, at \(value.location)")
        }
    }

    /// The table that the leading parts of a header name, made where it's missing.
    private func descend(_ keys: ArraySlice<TOMLKey>) throws(SyntaxError) -> TOMLTableBuilder {
        var table = root
        for (index, key) in keys.enumerated() {
            switch table.entry(key)?.content {
            case nil:
                let made = TOMLTableBuilder(.implicit, at: key.location)
                table.set(key, .table(made))
                table = made
            case .table(let found): table = found
            case .tables(let found): table = found[found.count - 1]
            case .value(let value):
                throw SyntaxError(
                    at: key.location,
                    "\(Self.path(Array(keys.prefix(index + 1)))) already has a value, at \(value.location); nothing can be added to it"
                )
            }
        }
        return table
    }

    mutating func parseKeyValue(into table: TOMLTableBuilder) throws(SyntaxError) {
        let keys = try parseKey()
        guard peek() == UInt8(ascii: "=") else {
            throw failure("expected \"=\" after the key \(Self.path(keys)), found \(describeNext())")
        }
        offset += 1
        skipBlanks()
        // Each part is a table inside the one before, as an inline table would be.
        let nested = keys.count - 1
        guard depth + nested <= TOMLReader.depthMax else {
            throw SyntaxError(at: keys[0].location, "values are nested more than \(TOMLReader.depthMax) deep")
        }
        depth += nested
        let value = try parseValue()
        depth -= nested
        var parent = table
        for (index, key) in keys.dropLast().enumerated() {
            switch parent.entry(key)?.content {
            case nil:
                let made = TOMLTableBuilder(.dotted, at: key.location)
                parent.set(key, .table(made))
                parent = made
            case .table(let found) where found.definition != .header:
                found.definition = .dotted
                parent = found
            case .table(let found):
                throw SyntaxError(
                    at: key.location,
                    "table \(Self.path(Array(keys.prefix(index + 1)))) is defined by its header at \(found.location); a dotted key can't add to it"
                )
            case .tables(let found):
                throw SyntaxError(
                    at: key.location,
                    "\(Self.path(Array(keys.prefix(index + 1)))) is an array of tables, at \(found[0].location); a dotted key can't add to it"
                )
            case .value(let found):
                throw SyntaxError(
                    at: key.location,
                    "\(Self.path(Array(keys.prefix(index + 1)))) already has a value, at \(found.location); nothing can be added to it"
                )
            }
        }
        let last = keys[keys.count - 1]
        if let existing = parent.entry(last) {
            throw SyntaxError(
                at: last.location,
                "key \(Self.path(keys)) is defined twice; first at \(existing.key.location)",
                fix: "delete one of them")
        }
        parent.set(last, .value(value))
    }

    // MARK: Keys

    private mutating func parseKey() throws(SyntaxError) -> [TOMLKey] {
        var keys: [TOMLKey] = []
        while true {
            keys.append(try parseSimpleKey())
            skipBlanks()
            guard peek() == UInt8(ascii: ".") else { return keys }
            guard keys.count < TOMLReader.depthMax else {
                throw failure("a key has at most \(TOMLReader.depthMax) parts")
            }
            offset += 1
            skipBlanks()
        }
    }

    private mutating func parseSimpleKey() throws(SyntaxError) -> TOMLKey {
        let start = offset
        let name: String
        switch peek() {
        case UInt8(ascii: "\""):
            guard !hasPrefix("\"\"\"") else { throw failure("a key can't be a multi-line string") }
            name = try parseBasicString()
        case UInt8(ascii: "'"):
            guard !hasPrefix("'''") else { throw failure("a key can't be a multi-line string") }
            name = try parseLiteralString()
        default:
            while let byte = peek(), Self.isBareKeyByte(byte) { offset += 1 }
            guard offset > start else {
                throw failure(
                    "expected a key, found \(describeNext())",
                    fix: "a key has letters, digits, \"_\" and \"-\"; put others in quotes")
            }
            name = String(decoding: bytes[start..<offset], as: UTF8.self)
        }
        return TOMLKey(name: name, location: SourcePlace(source, start..<offset))
    }

    static func isBareKeyByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }

    private static func path(_ keys: [TOMLKey]) -> String {
        keys.map { DocumentValue.tomlKey($0.name) }.joined(separator: ".")
    }

    // MARK: Values

    mutating func parseValue() throws(SyntaxError) -> DocumentValue {
        let start = offset
        let content: DocumentValue.Content
        switch peek() {
        case UInt8(ascii: "\""):
            content = .string(hasPrefix("\"\"\"") ? try parseMultilineBasicString() : try parseBasicString())
        case UInt8(ascii: "'"):
            content = .string(hasPrefix("'''") ? try parseMultilineLiteralString() : try parseLiteralString())
        case UInt8(ascii: "["):
            content = .array(try nested { (parser) throws(SyntaxError) in try parser.parseArray() })
        case UInt8(ascii: "{"):
            content = .table(try nested { (parser) throws(SyntaxError) in try parser.parseInlineTable() })
        case nil, UInt8(ascii: "\n"), UInt8(ascii: "\r"), UInt8(ascii: "#"):
            throw failure("expected a value, found \(describeNext())")
        default: content = try parseScalar()
        }
        return DocumentValue(content, at: SourcePlace(source, start..<offset))
    }

    private mutating func nested<Value>(
        _ parse: (inout TOMLParser) throws(SyntaxError) -> Value
    ) throws(SyntaxError) -> Value {
        guard depth < TOMLReader.depthMax else {
            throw failure("values are nested more than \(TOMLReader.depthMax) deep")
        }
        depth += 1
        let value = try parse(&self)
        depth -= 1
        return value
    }

    private mutating func parseArray() throws(SyntaxError) -> [DocumentValue] {
        let opening = offset
        offset += 1
        var elements: [DocumentValue] = []
        while true {
            try skipBlanksCommentsAndNewlines()
            if peek() == UInt8(ascii: "]") { break }
            guard peek() != nil else { throw unclosed("array", from: opening) }
            elements.append(try parseValue())
            try skipBlanksCommentsAndNewlines()
            if peek() == UInt8(ascii: "]") { break }
            guard peek() != nil else { throw unclosed("array", from: opening) }
            guard peek() == UInt8(ascii: ",") else {
                throw failure("expected \",\" or \"]\" in the array, found \(describeNext())")
            }
            offset += 1
        }
        offset += 1
        return elements
    }

    private mutating func parseInlineTable() throws(SyntaxError) -> DocumentTable {
        let opening = offset
        offset += 1
        let table = TOMLTableBuilder(.header, at: SourcePlace(source, opening..<offset))
        skipBlanks()
        if peek() == UInt8(ascii: "}") {
            offset += 1
            return table.document
        }
        while true {
            skipBlanks()
            if peek() == UInt8(ascii: "}") {
                throw failure("an inline table can't end with a comma", fix: "delete the comma")
            }
            try checkInlineTableLine(opening)
            try parseKeyValue(into: table)
            skipBlanks()
            if peek() == UInt8(ascii: "}") { break }
            try checkInlineTableLine(opening)
            guard peek() == UInt8(ascii: ",") else {
                throw failure("expected \",\" or \"}\" in the inline table, found \(describeNext())")
            }
            offset += 1
        }
        offset += 1
        return table.document
    }

    private func checkInlineTableLine(_ opening: Int) throws(SyntaxError) {
        switch peek() {
        case nil: throw unclosed("inline table", from: opening)
        case UInt8(ascii: "\n"), UInt8(ascii: "\r"), UInt8(ascii: "#"):
            throw failure(
                "an inline table must stand on one line",
                fix: "use a [table] header, or close it with \"}\" here")
        default: return
        }
    }

    // MARK: Bytes

    func peek(_ ahead: Int = 0) -> UInt8? {
        offset + ahead < bytes.count ? bytes[offset + ahead] : nil
    }

    func hasPrefix(_ prefix: StaticString) -> Bool {
        guard offset + prefix.utf8CodeUnitCount <= bytes.count else { return false }
        return bytes[offset..<(offset + prefix.utf8CodeUnitCount)].elementsEqual(prefix.description.utf8)
    }

    mutating func skipBlanks() {
        while let byte = peek(), byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") { offset += 1 }
    }

    private mutating func skipComment() throws(SyntaxError) {
        guard peek() == UInt8(ascii: "#") else { return }
        while let byte = peek(), byte != UInt8(ascii: "\n") {
            if byte == UInt8(ascii: "\r"), peek(1) == UInt8(ascii: "\n") { return }
            guard !Self.isControl(byte) else {
                throw failure("a comment can't contain the control character \(Self.describe(byte))")
            }
            offset += 1
        }
    }

    private mutating func skipBlanksCommentsAndNewlines() throws(SyntaxError) {
        repeat {
            skipBlanks()
            try skipComment()
        } while try takeNewline()
    }

    /// Takes LF or CRLF.
    mutating func takeNewline() throws(SyntaxError) -> Bool {
        switch peek() {
        case UInt8(ascii: "\n"):
            offset += 1
            return true
        case UInt8(ascii: "\r"):
            guard peek(1) == UInt8(ascii: "\n") else {
                throw failure("a carriage return must be followed by a line feed")
            }
            offset += 2
            return true
        default: return false
        }
    }

    /// A control character that may stand nowhere; a tab may.
    static func isControl(_ byte: UInt8) -> Bool { (byte < 0x20 && byte != 0x09) || byte == 0x7F }

    static func describe(_ byte: UInt8) -> String {
        let digits = String(byte, radix: 16, uppercase: true)
        return "U+" + String(repeating: "0", count: 4 - digits.count) + digits
    }

    /// The character at the current offset, for a message.
    func describeNext() -> String {
        guard let byte = peek() else { return "the end of the file" }
        switch byte {
        case UInt8(ascii: "\n"): return "the end of the line"
        case UInt8(ascii: "\r"):
            return peek(1) == UInt8(ascii: "\n") ? "the end of the line" : "a carriage return"
        case _ where Self.isControl(byte): return "the control character \(Self.describe(byte))"
        default:
            let character = String(decoding: bytes[offset..<min(bytes.count, offset + 16)], as: UTF8.self)
                .first
            return "\"\(character ?? "?")\""
        }
    }

    /// A mistake in the character at the current offset.
    func failure(_ message: String, fix: String? = nil) -> SyntaxError {
        var end = min(offset + 1, bytes.count)
        while end < bytes.count, bytes[end] & 0xC0 == 0x80 { end += 1 }
        return failure(offset..<end, message, fix: fix)
    }

    func failure(_ range: Range<Int>, _ message: String, fix: String? = nil) -> SyntaxError {
        SyntaxError(at: SourcePlace(source, range), message, fix: fix)
    }

    func unclosed(_ what: String, from start: Int) -> SyntaxError {
        failure(start..<(start + 1), "this \(what) is never closed")
    }
}
