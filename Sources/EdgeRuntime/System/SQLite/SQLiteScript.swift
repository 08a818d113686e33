/// SQL text of any number of statements, prepared one after the other: a later one may need the tables that
/// an earlier one made.
package struct SQLiteScript: Sendable {
    /// UTF-8 with a NUL at the end, so that SQLite parses it in place and limits each statement, not the
    /// whole.
    let bytes: [UInt8]
    var offset = 0

    package init(_ text: String) { self.init(bytes: text.utf8) }

    /// Of text that may not be UTF-8: literals are taken as they are.
    package init(bytes text: some Collection<UInt8>) {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count + 1)
        bytes.append(contentsOf: text)
        bytes.append(0)
        self.bytes = bytes
    }

    /// Whether nothing but space, comments and semicolons is left. What stands behind a NUL is something: SQLite doesn't
    /// read it, and finds no statement.
    package var isAtEnd: Bool { Self.skipBlank(bytes, from: offset) >= bytes.count - 1 }

    /// Where what comes next begins, and what of the text has been taken: errors count their offsets from there.
    package var nextOffset: Int { Self.skipBlank(bytes, from: offset) }
    package var takenByteCount: Int { offset }

    /// The first word of what comes next, in upper case; empty when no word does.
    package var nextKeyword: String {
        let start = Self.skipBlank(bytes, from: offset)
        var word = ""
        for byte in bytes[start...] {
            guard byte | 0x20 >= 0x61, byte | 0x20 <= 0x7a, word.utf8.count < 16 else { break }
            word.unicodeScalars.append(Unicode.Scalar(byte & 0xdf))
        }
        return word
    }

    /// The place of the first byte from `start` on that is no space, no comment and no semicolon, or of the
    /// final NUL.
    static func skipBlank(_ bytes: [UInt8], from start: Int) -> Int {
        var index = start
        while index < bytes.count - 1 {
            switch bytes[index] {
            case UInt8(ascii: " "), 9, 10, 12, 13, UInt8(ascii: ";"): index += 1
            case UInt8(ascii: "-") where bytes[index + 1] == UInt8(ascii: "-"):
                while index < bytes.count - 1, bytes[index] != 10 { index += 1 }
            case UInt8(ascii: "/") where bytes[index + 1] == UInt8(ascii: "*"):
                index += 2
                // A comment that never ends is one to SQLite as well.
                while index < bytes.count - 1 {
                    if bytes[index] == UInt8(ascii: "*"), bytes[index + 1] == UInt8(ascii: "/") {
                        index += 2
                        break
                    }
                    index += 1
                }
            default: return index
            }
        }
        return index
    }
}
