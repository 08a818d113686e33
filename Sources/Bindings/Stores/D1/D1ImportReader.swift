internal import System
internal import TenantSQL

/// Cuts a file of SQL into statements, reading it piece by piece: a semicolon ends a statement where `sqlite3_complete`
/// says so (https://www.sqlite.org/c3ref/complete.html), that is, not inside of texts, comments and triggers.
struct D1ImportReader: ~Copyable {
    private enum Token: Int { case semicolon, blank, other, explain, create, temporary, trigger, end }

    private let file: PositionedFile
    private let statementBytesMax: Int
    private var offset = 0
    private var buffer: [UInt8] = []
    /// What of `buffer` has been taken.
    private var start = 0
    private var isAtEnd = false
    private static let pieceBytes = 256 << 10

    init(_ file: consuming PositionedFile, statementBytesMax: Int) {
        self.file = file
        self.statementBytesMax = statementBytesMax
    }

    /// The library's table: rows are states (invalid, start, normal, explain, create, trigger, semicolon in a trigger, end
    /// of a trigger), columns are tokens.
    private static let transitions: [[UInt8]] = [
        [1, 0, 2, 3, 4, 2, 2, 2], [1, 1, 2, 3, 4, 2, 2, 2], [1, 2, 2, 2, 2, 2, 2, 2], [1, 3, 3, 2, 4, 2, 2, 2],
        [1, 4, 2, 2, 2, 4, 5, 2], [6, 5, 5, 5, 5, 5, 5, 5], [6, 6, 5, 5, 5, 5, 5, 7], [1, 7, 5, 5, 5, 5, 5, 5],
    ]

    /// The next statement with its semicolon, or what is left without one; `nil` at the end.
    mutating func next() throws -> [UInt8]? {
        var state = 0
        var length = 0
        while true {
            if start + length >= buffer.count {
                if try readMore() { continue }
                guard start < buffer.count else { return nil }
                return take(buffer.count - start)
            }
            guard let (token, end) = token(at: start + length) else {
                // It may go on in what wasn't read yet.
                _ = try readMore()
                continue
            }
            length = end - start
            state = Int(Self.transitions[state][token.rawValue])
            if state == 1, token == .semicolon { return take(length) }
            guard length <= statementBytesMax else { throw D1Failure.statementTooLong }
        }
    }

    private mutating func take(_ count: Int) -> [UInt8] {
        defer { start += count }
        return Array(buffer[start..<(start + count)])
    }

    /// Twice as much each time, so that a long token isn't looked at over and over.
    private mutating func readMore() throws -> Bool {
        guard !isAtEnd else { return false }
        // What was taken goes now, not with each statement: that would move all that is behind each.
        buffer.removeFirst(start)
        start = 0
        guard buffer.count <= 2 * statementBytesMax else { throw D1Failure.statementTooLong }
        var piece: [UInt8] = []
        try file.read(&piece, count: max(Self.pieceBytes, buffer.count), at: offset)
        offset += piece.count
        buffer += piece
        isAtEnd = piece.isEmpty
        return !isAtEnd
    }

    /// The token at `place` and where it ends; `nil` when that can't be told without more of the file.
    private func token(at place: Int) -> (Token, Int)? {
        let byte = buffer[place]
        switch byte {
        case UInt8(ascii: ";"): return (.semicolon, place + 1)
        case 0x20, 9, 10, 12, 13: return (.blank, place + 1)
        case UInt8(ascii: "'"), UInt8(ascii: "\""), UInt8(ascii: "`"): return closed(by: byte, from: place, as: .other)
        case UInt8(ascii: "["): return closed(by: UInt8(ascii: "]"), from: place, as: .other)
        case UInt8(ascii: "-"), UInt8(ascii: "/"):
            guard place + 1 < buffer.count else { return isAtEnd ? (.other, place + 1) : nil }
            if byte == UInt8(ascii: "-"), buffer[place + 1] == byte { return closed(by: 10, from: place, as: .blank) }
            if byte == UInt8(ascii: "/"), buffer[place + 1] == UInt8(ascii: "*") { return comment(place) }
            return (.other, place + 1)
        default:
            guard Self.isPartOfName(byte) else { return (.other, place + 1) }
            var end = place + 1
            while end < buffer.count, Self.isPartOfName(buffer[end]) { end += 1 }
            guard end < buffer.count || isAtEnd else { return nil }
            return (word(buffer[place..<end]), end)
        }
    }

    private func closed(by closing: UInt8, from place: Int, as token: Token) -> (Token, Int)? {
        if let end = buffer[(place + 1)...].firstIndex(of: closing) { return (token, end + 1) }
        return isAtEnd ? (token, buffer.count) : nil
    }

    private func comment(_ place: Int) -> (Token, Int)? {
        var end = place + 3
        while end < buffer.count {
            if buffer[end] == UInt8(ascii: "/"), buffer[end - 1] == UInt8(ascii: "*") { return (.blank, end + 1) }
            end += 1
        }
        return isAtEnd ? (.blank, buffer.count) : nil
    }

    private func word(_ bytes: ArraySlice<UInt8>) -> Token {
        guard bytes.count <= 9 else { return .other }
        switch String(decoding: bytes, as: UTF8.self).lowercased() {
        case "create": return .create
        case "trigger": return .trigger
        case "temp", "temporary": return .temporary
        case "end": return .end
        case "explain": return .explain
        default: return .other
        }
    }

    private static func isPartOfName(_ byte: UInt8) -> Bool {
        byte >= 0x80 || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "$") || (48...57).contains(byte)
            || (97...122).contains(byte | 0x20)
    }
}
