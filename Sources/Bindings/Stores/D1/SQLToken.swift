/// A word, name, value or sign of a SQL text, and where it stands.
struct SQLToken: Equatable {
    enum Kind { case word, name, text, number, parameter, sign }

    let kind: Kind
    /// What it says: a name and a text without their quotes.
    let text: String
    /// Its bytes in the text.
    let range: Range<Int>

    /// A word in upper case; empty for all else. A name in quotes is never a keyword.
    var keyword: String { kind == .word ? text.uppercased() : "" }

    /// Whether it can name a table or a column. SQLite takes a text for a name where only a name can stand.
    var isName: Bool { kind == .word || kind == .name || kind == .text }

    /// A name as SQLite compares it.
    var folded: String { SQLScript.folded(text) }
}

/// A statement, with what stands between its first and its last token.
struct SQLStatementText {
    let tokens: [SQLToken]
    /// Without the semicolon.
    let text: String
}

/// A SQL text, cut into tokens and statements as SQLite does it (https://www.sqlite.org/lang.html), without understanding
/// it. Anything is a text: what makes no sense becomes signs.
struct SQLScript {
    let statements: [SQLStatementText]
    /// The comments of one line, with the place where each begins, and whether it stands before the first statement.
    let comments: [(text: String, start: Int, isAtTop: Bool)]
    private let bytes: [UInt8]
    /// Where lines begin.
    private let lines: [Int]

    init(_ text: String) {
        bytes = Array(text.utf8)
        var lines = [0]
        for (index, byte) in bytes.enumerated() where byte == 10 { lines.append(index + 1) }
        self.lines = lines
        var lexer = Lexer(bytes: bytes)
        var statements: [SQLStatementText] = []
        var comments: [(text: String, start: Int, isAtTop: Bool)] = []
        var tokens: [SQLToken] = []
        var end = StatementEnd()
        func finish(_ bytes: [UInt8]) {
            guard let first = tokens.first, let last = tokens.last else { return }
            statements.append(
                SQLStatementText(
                    tokens: tokens, text: String(decoding: bytes[first.range.lowerBound..<last.range.upperBound], as: UTF8.self)
                ))
            tokens = []
        }
        while let item = lexer.next() {
            switch item {
            case .comment(let text, let start):
                comments.append((text, start, statements.isEmpty && tokens.isEmpty))
            case .token(let token):
                let isEnd = end.take(token)
                if isEnd { finish(bytes) } else if !(tokens.isEmpty && token.text == ";") { tokens.append(token) }
            }
        }
        finish(bytes)
        self.statements = statements
        self.comments = comments
    }

    /// Line and column, from 1; a column is a character.
    func place(of offset: Int) -> (line: Int, column: Int) {
        let offset = min(max(0, offset), bytes.count)
        var (low, high) = (0, lines.count)
        while high - low > 1 {
            let middle = (low + high) / 2
            if lines[middle] <= offset { low = middle } else { high = middle }
        }
        return (low + 1, String(decoding: bytes[lines[low]..<offset], as: UTF8.self).count + 1)
    }

    /// Letters of ASCII alone, as SQLite does it.
    static func folded(_ name: String) -> String {
        String(decoding: name.utf8.map { (65...90).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
    }

    /// Tells which semicolon ends a statement: inside of a trigger only the one behind `END`
    /// (https://www.sqlite.org/c3ref/complete.html).
    private struct StatementEnd {
        private enum State { case start, explain, create, ordinary, trigger, semicolon, end }
        private var state = State.start

        mutating func take(_ token: SQLToken) -> Bool {
            let isSemicolon = token.kind == .sign && token.text == ";"
            switch state {
            case .start, .explain, .create:
                if isSemicolon {
                    state = .start
                    return true
                }
                switch (state, token.keyword) {
                case (.start, "EXPLAIN"), (.explain, "QUERY"), (.explain, "PLAN"): state = .explain
                case (.start, "CREATE"), (.explain, "CREATE"): state = .create
                case (.create, "TEMP"), (.create, "TEMPORARY"): break
                case (.create, "TRIGGER"): state = .trigger
                default: state = .ordinary
                }
            case .ordinary:
                guard isSemicolon else { break }
                state = .start
                return true
            case .trigger: if isSemicolon { state = .semicolon }
            case .semicolon:
                if token.keyword == "END" { state = .end } else if !isSemicolon { state = .trigger }
            case .end:
                guard isSemicolon else {
                    state = .trigger
                    break
                }
                state = .start
                return true
            }
            return false
        }
    }

    // MARK: Tokens

    private struct Lexer {
        enum Item {
            case token(SQLToken)
            case comment(String, start: Int)
        }
        let bytes: [UInt8]
        var index = 0

        mutating func next() -> Item? {
            skipBlank()
            guard index < bytes.count else { return nil }
            let start = index
            switch bytes[index] {
            case UInt8(ascii: "-") where peek(1) == UInt8(ascii: "-"):
                index = bytes[index...].firstIndex(of: 10) ?? bytes.count
                return .comment(String(decoding: bytes[(start + 2)..<index], as: UTF8.self), start: start)
            case UInt8(ascii: "'"): return quoted(.text, by: bytes[index])
            case UInt8(ascii: "\""), UInt8(ascii: "`"): return quoted(.name, by: bytes[index])
            case UInt8(ascii: "["):
                index = (bytes[index...].firstIndex(of: UInt8(ascii: "]")) ?? bytes.count - 1) + 1
                return token(.name, start, inner: (start + 1)..<max(start + 1, index - 1))
            case UInt8(ascii: "0")...UInt8(ascii: "9"): return number(start)
            case UInt8(ascii: ".") where (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(peek(1)): return number(start)
            case UInt8(ascii: "?"), UInt8(ascii: ":"), UInt8(ascii: "@"), UInt8(ascii: "$"), UInt8(ascii: "#"):
                index += 1
                while index < bytes.count, Self.isPartOfWord(bytes[index]) { index += 1 }
                return token(index == start + 1 ? .sign : .parameter, start)
            case UInt8(ascii: "x") where peek(1) == UInt8(ascii: "'"), UInt8(ascii: "X") where peek(1) == UInt8(ascii: "'"):
                index = (bytes[(index + 2)...].firstIndex(of: UInt8(ascii: "'")) ?? bytes.count - 1) + 1
                return token(.number, start)
            case let byte where Self.isPartOfWord(byte):
                while index < bytes.count, Self.isPartOfWord(bytes[index]) { index += 1 }
                return token(.word, start)
            default:
                index += 1
                return token(.sign, start)
            }
        }

        /// White space, a byte order mark, and comments of several lines.
        private mutating func skipBlank() {
            while index < bytes.count {
                switch bytes[index] {
                case 0x20, 9...13: index += 1
                case 0xEF where peek(1) == 0xBB && peek(2) == 0xBF: index += 3
                case UInt8(ascii: "/") where peek(1) == UInt8(ascii: "*"):
                    index += 2
                    while index < bytes.count, !(bytes[index] == UInt8(ascii: "*") && peek(1) == UInt8(ascii: "/")) {
                        index += 1
                    }
                    index = min(index + 2, bytes.count)
                default: return
                }
            }
        }

        private func peek(_ distance: Int) -> UInt8 {
            index + distance < bytes.count ? bytes[index + distance] : 0
        }

        private func token(_ kind: SQLToken.Kind, _ start: Int, inner: Range<Int>? = nil) -> Item {
            .token(
                SQLToken(kind: kind, text: String(decoding: bytes[inner ?? start..<index], as: UTF8.self), range: start..<index)
            )
        }

        /// A quote that is doubled stands for itself; one that is missing at the end is what SQLite complains about.
        private mutating func quoted(_ kind: SQLToken.Kind, by quote: UInt8) -> Item {
            let start = index
            var text: [UInt8] = []
            index += 1
            while index < bytes.count {
                if bytes[index] == quote {
                    guard peek(1) == quote else { break }
                    index += 1
                }
                text.append(bytes[index])
                index += 1
            }
            index = min(index + 1, bytes.count)
            return .token(SQLToken(kind: kind, text: String(decoding: text, as: UTF8.self), range: start..<index))
        }

        private mutating func number(_ start: Int) -> Item {
            while index < bytes.count {
                let isExponentSign =
                    (bytes[index] == UInt8(ascii: "+") || bytes[index] == UInt8(ascii: "-")) && bytes[index - 1] | 0x20 == 0x65
                    && !(bytes[start] == UInt8(ascii: "0") && start + 1 < bytes.count && bytes[start + 1] | 0x20 == 0x78)
                guard Self.isPartOfWord(bytes[index]) || bytes[index] == UInt8(ascii: ".") || isExponentSign else { break }
                index += 1
            }
            return token(.number, start)
        }

        private static func isPartOfWord(_ byte: UInt8) -> Bool {
            (0x61...0x7a).contains(byte | 0x20) || (0x30...0x39).contains(byte) || byte == UInt8(ascii: "_")
                || byte == UInt8(ascii: "$") || byte >= 0x80
        }
    }
}
