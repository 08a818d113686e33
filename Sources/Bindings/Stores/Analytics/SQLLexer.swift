/// A word of a query.
struct SQLToken: Equatable {
    enum Kind: Equatable {
        case name(String)
        /// In double quotes or backticks: a name, never a keyword.
        case quotedName(String)
        case integer(Int64)
        case double(Double)
        case string(String)
        case symbol(String)
        case end
    }
    var kind: Kind
    /// Bytes of the text.
    var range: Range<Int>
}

/// Cuts a query into tokens: ASCII outside of texts and quoted names, `--` and `/* */` comments.
struct SQLLexer {
    private let bytes: [UInt8]
    private var offset = 0

    init(_ text: String) { bytes = Array(text.utf8) }

    static func tokens(_ text: String) throws(SQLError) -> [SQLToken] {
        var lexer = SQLLexer(text)
        var tokens: [SQLToken] = []
        repeat { tokens.append(try lexer.next()) } while tokens.last?.kind != .end
        return tokens
    }

    private func peek(_ ahead: Int = 0) -> UInt8? { offset + ahead < bytes.count ? bytes[offset + ahead] : nil }

    private static func isDigit(_ byte: UInt8?) -> Bool { byte.map { (0x30...0x39).contains($0) } ?? false }
    private static func isNameByte(_ byte: UInt8?) -> Bool {
        guard let byte else { return false }
        return isDigit(byte) || byte == UInt8(ascii: "_") || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
    }

    private mutating func next() throws(SQLError) -> SQLToken {
        try skipBlanks()
        let start = offset
        guard let byte = peek() else { return SQLToken(kind: .end, range: start..<start) }
        let kind: SQLToken.Kind
        switch byte {
        case UInt8(ascii: "'"): kind = .string(try quoted(by: byte, "text"))
        case UInt8(ascii: "\""), UInt8(ascii: "`"): kind = .quotedName(try quoted(by: byte, "name"))
        case _ where Self.isDigit(byte) || byte == UInt8(ascii: ".") && Self.isDigit(peek(1)): kind = try number()
        case _ where Self.isNameByte(byte):
            while Self.isNameByte(peek()) { offset += 1 }
            kind = .name(String(decoding: bytes[start..<offset], as: UTF8.self))
        default: kind = .symbol(try symbol())
        }
        return SQLToken(kind: kind, range: start..<offset)
    }

    private mutating func skipBlanks() throws(SQLError) {
        while let byte = peek() {
            if byte == 0x20 || (0x09...0x0D).contains(byte) {
                offset += 1
            } else if byte == UInt8(ascii: "-"), peek(1) == UInt8(ascii: "-") {
                while let next = peek(), next != 0x0A { offset += 1 }
            } else if byte == UInt8(ascii: "/"), peek(1) == UInt8(ascii: "*") {
                let start = offset
                offset += 2
                while peek() != UInt8(ascii: "*") || peek(1) != UInt8(ascii: "/") {
                    guard peek() != nil else { throw SQLError("the comment has no end", at: start) }
                    offset += 1
                }
                offset += 2
            } else {
                return
            }
        }
    }

    /// A quote inside is doubled or behind a backslash.
    private mutating func quoted(by quote: UInt8, _ what: String) throws(SQLError) -> String {
        let start = offset
        offset += 1
        var content: [UInt8] = []
        while let byte = peek() {
            offset += 1
            if byte == quote {
                guard peek() == quote else {
                    guard let text = String(validating: content, as: UTF8.self) else {
                        throw SQLError("the \(what) is not UTF-8", at: start)
                    }
                    return text
                }
                offset += 1
                content.append(quote)
            } else if byte == UInt8(ascii: "\\"), let escaped = peek() {
                offset += 1
                switch escaped {
                case UInt8(ascii: "n"): content.append(0x0A)
                case UInt8(ascii: "t"): content.append(0x09)
                case UInt8(ascii: "r"): content.append(0x0D)
                case UInt8(ascii: "0"): content.append(0)
                case UInt8(ascii: "%"), UInt8(ascii: "_"): content += [byte, escaped]  // For LIKE.
                default: content.append(escaped)
                }
            } else {
                content.append(byte)
            }
        }
        throw SQLError("the \(what) has no end", at: start)
    }

    private mutating func number() throws(SQLError) -> SQLToken.Kind {
        let start = offset
        var isDouble = false
        while Self.isDigit(peek()) { offset += 1 }
        if peek() == UInt8(ascii: ".") {
            isDouble = true
            offset += 1
            while Self.isDigit(peek()) { offset += 1 }
        }
        if peek().map({ $0 | 0x20 }) == UInt8(ascii: "e") {
            let sign = peek(1) == UInt8(ascii: "+") || peek(1) == UInt8(ascii: "-")
            if Self.isDigit(peek(sign ? 2 : 1)) {
                isDouble = true
                offset += sign ? 2 : 1
                while Self.isDigit(peek()) { offset += 1 }
            }
        }
        let text = String(decoding: bytes[start..<offset], as: UTF8.self)
        guard !Self.isNameByte(peek()) else { throw SQLError("\"\(text)\" is followed by a letter", at: start) }
        if !isDouble, let integer = Int64(text) { return .integer(integer) }
        guard let double = Double(text), double.isFinite else { throw SQLError("the number is too large", at: start) }
        return .double(double)
    }

    private mutating func symbol() throws(SQLError) -> String {
        for length in [2, 1] where offset + length <= bytes.count {
            let text = String(decoding: bytes[offset..<(offset + length)], as: UTF8.self)
            guard Self.symbols.contains(text) else { continue }
            offset += length
            return text
        }
        let rest = String(decoding: bytes[offset...].prefix(4), as: UTF8.self)
        throw SQLError("unexpected character \"\(rest.unicodeScalars.first.map(String.init) ?? "")\"", at: offset)
    }

    private static let symbols: Set<String> = [
        "(", ")", ",", "*", "+", "-", "/", "%", "=", "<", ">", "<=", ">=", "<>", "!=", "==", ";", ".",
    ]
}
