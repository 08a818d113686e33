/// Small work on SQL as text: quoting, and finding statements without understanding them.
enum SQLText {
    static func quoted(identifier: String) -> String { "\"\(doubled(UInt8(ascii: "\""), in: identifier))\"" }
    static func quoted(text: String) -> String { "'\(doubled(UInt8(ascii: "'"), in: text))'" }

    /// What ends a statement of a schema that may end in a comment.
    static func end(of sql: String) -> String {
        let bytes = Array(sql.utf8)
        var index = 0
        while index < bytes.count {
            let last = skip(bytes, index)
            if last == bytes.count, bytes[index] == UInt8(ascii: "-") { return "\n;\n" }
            if last == bytes.count, bytes[index] == UInt8(ascii: "/") { return "*/;\n" }
            index = last + 1
        }
        return ";\n"
    }

    /// The module of `CREATE VIRTUAL TABLE name USING module`, in small letters; empty when that isn't one.
    static func module(of sql: String) -> String {
        let bytes = Array(sql.utf8)
        var isBehindUsing = false
        var index = 0
        while index < bytes.count {
            let start = index
            let last = skip(bytes, start)
            index = last + 1
            let isComment = last > start && (bytes[start] == UInt8(ascii: "-") || bytes[start] == UInt8(ascii: "/"))
            if isComment || bytes[start] <= 0x20 { continue }
            if last > start {
                // In quotes: a name.
                if isBehindUsing { return folded(bytes[(start + 1)..<min(last, bytes.count)]) }
                continue
            }
            while index < bytes.count, isPartOfWord(bytes[index]) { index += 1 }
            let word = folded(bytes[start..<index])
            if isBehindUsing { return word }
            isBehindUsing = word == "using"
        }
        return ""
    }

    private static func isPartOfWord(_ byte: UInt8) -> Bool {
        (0x61...0x7a).contains(byte | 0x20) || (0x30...0x39).contains(byte) || byte == UInt8(ascii: "_") || byte >= 0x80
    }

    private static func folded(_ bytes: ArraySlice<UInt8>) -> String {
        String(decoding: bytes.map { (65...90).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
    }

    /// The text without one `BEGIN TRANSACTION` and one `COMMIT` that stand as statements of their own, as
    /// dumps have them.
    static func withoutTransaction(_ text: String) -> (text: String, stripped: Bool) {
        let (kept, stripped) = partsWithoutTransaction(text)
        guard stripped else { return (text, false) }
        return (String(decoding: kept.lazy.filter { !$0.isLeftOut }.flatMap { $0.piece }, as: UTF8.self), true)
    }

    /// As `withoutTransaction`, with blanks in the place of what is left out: all else stays on its line.
    static func blankingTransaction(_ text: String) -> (text: String, stripped: Bool) {
        let (parts, stripped) = partsWithoutTransaction(text)
        guard stripped else { return (text, false) }
        var result: [UInt8] = []
        for part in parts { result += part.isLeftOut ? part.piece.map { $0 == 10 ? 10 : 0x20 } : Array(part.piece) }
        return (String(decoding: result, as: UTF8.self), true)
    }

    private static func partsWithoutTransaction(
        _ text: String
    ) -> (parts: [(piece: ArraySlice<UInt8>, isLeftOut: Bool)], stripped: Bool) {
        var hasBegin = false
        var hasCommit = false
        let parts = statements(Array(text.utf8)).map { statement in
            let words = words(statement)
            let isBegin =
                words.first == "BEGIN" && words.count <= 3
                && words.dropFirst().allSatisfy {
                    ["TRANSACTION", "DEFERRED", "IMMEDIATE", "EXCLUSIVE"].contains($0)
                }
            let isCommit = words == ["COMMIT"] || words == ["COMMIT", "TRANSACTION"]
            let isLeftOut = !hasBegin && isBegin || hasBegin && !hasCommit && isCommit
            if isLeftOut { if isBegin { hasBegin = true } else { hasCommit = true } }
            return (statement, isLeftOut)
        }
        return (parts, hasBegin)
    }

    /// By bytes: to a String, a quote with an accent behind it is another character.
    private static func doubled(_ quote: UInt8, in text: String) -> String {
        var result: [UInt8] = []
        for byte in text.utf8 {
            if byte == quote { result.append(quote) }
            result.append(byte)
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// The pieces between semicolons that stand outside of strings, names and comments, each with its
    /// semicolon. The body of a trigger falls into several pieces: put together, the pieces are the text.
    private static func statements(_ bytes: [UInt8]) -> [ArraySlice<UInt8>] {
        var pieces: [ArraySlice<UInt8>] = []
        var start = 0
        var index = 0
        while index < bytes.count {
            index = skip(bytes, index)
            if index < bytes.count, bytes[index] == UInt8(ascii: ";") {
                pieces.append(bytes[start...index])
                start = index + 1
            }
            index += 1
        }
        if start < bytes.count { pieces.append(bytes[start...]) }
        return pieces
    }

    /// The last byte of the string, name or comment that begins at `index`, or `index`.
    private static func skip(_ bytes: [UInt8], _ index: Int) -> Int {
        func end(after start: Int, _ closing: UInt8) -> Int {
            bytes[min(start, bytes.count)...].firstIndex(of: closing) ?? bytes.count
        }
        switch bytes[index] {
        case UInt8(ascii: "'"), UInt8(ascii: "\""), UInt8(ascii: "`"):
            return end(after: index + 1, bytes[index])
        case UInt8(ascii: "["): return end(after: index + 1, UInt8(ascii: "]"))
        case UInt8(ascii: "-") where index + 1 < bytes.count && bytes[index + 1] == UInt8(ascii: "-"):
            return end(after: index + 2, 10)
        case UInt8(ascii: "/") where index + 1 < bytes.count && bytes[index + 1] == UInt8(ascii: "*"):
            var place = index + 2
            while place + 1 < bytes.count {
                if bytes[place] == UInt8(ascii: "*"), bytes[place + 1] == UInt8(ascii: "/") {
                    return place + 1
                }
                place += 1
            }
            return bytes.count
        default: return index
        }
    }

    /// The first words of a piece in upper case, comments left out; more than four are not looked at.
    private static func words(_ piece: ArraySlice<UInt8>) -> [String] {
        var words: [String] = []
        var word = ""
        let bytes = Array(piece)
        var index = 0
        while index < bytes.count, words.count < 4 {
            let past = skip(bytes, index)
            let byte = bytes[index]
            let isLetter = past == index && (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7a
            if isLetter {
                word.unicodeScalars.append(Unicode.Scalar(byte & 0xdf))
            } else {
                if !word.isEmpty { words.append(word) }
                word = ""
                let isBlank =
                    byte == 0x20 || (9...13).contains(byte) || byte == UInt8(ascii: ";") || past != index
                if !isBlank { words.append(String(Unicode.Scalar(byte))) }
            }
            index = past + 1
        }
        if !word.isEmpty, words.count < 4 { words.append(word) }
        return words
    }
}
