/// One text to read, under the name that its diagnostics show. Immutable, shared by all locations in it.
package final class SourceText: Sendable {
    /// What a diagnostic puts before line and column: a path relative to the project, or `--set`.
    package let name: String
    package let bytes: [UInt8]
    /// Whether the text holds secrets: its lines never appear in a diagnostic.
    package let isConfidential: Bool
    private let lineStarts: [Int]

    package init(name: String, bytes: [UInt8], isConfidential: Bool = false) {
        self.name = name
        self.bytes = bytes
        self.isConfidential = isConfidential
        var starts = [0]
        for (offset, byte) in bytes.enumerated() where byte == UInt8(ascii: "\n") {
            starts.append(offset + 1)
        }
        lineStarts = starts
    }

    package convenience init(name: String, text: String, isConfidential: Bool = false) {
        self.init(name: name, bytes: Array(text.utf8), isConfidential: isConfidential)
    }

    /// The line (from 1) that holds the byte at `offset`. A newline belongs to the line it ends.
    package func line(at offset: Int) -> Int {
        var low = 0
        var high = lineStarts.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if lineStarts[middle] <= offset { low = middle } else { high = middle }
        }
        return low + 1
    }

    /// The column (from 1) of the byte at `offset`, counted in characters.
    package func column(at offset: Int) -> Int {
        var start = lineStarts[line(at: offset) - 1]
        if start == 0, bytes.starts(with: Self.byteOrderMark) { start = min(3, offset) }
        return characterCount(start..<min(offset, bytes.count)) + 1
    }

    /// The text of a line (from 1), without its end.
    package func text(ofLine line: Int) -> String {
        guard lineStarts.indices.contains(line - 1) else { return "" }
        var start = lineStarts[line - 1]
        if start == 0, bytes.starts(with: Self.byteOrderMark) { start = 3 }
        var end = line < lineStarts.count ? lineStarts[line] - 1 : bytes.count
        if end > start, bytes[end - 1] == UInt8(ascii: "\r") { end -= 1 }
        return String(decoding: bytes[start..<max(start, end)], as: UTF8.self)
    }

    func characterCount(_ range: Range<Int>) -> Int {
        String(decoding: bytes[range], as: UTF8.self).count
    }

    static let byteOrderMark: [UInt8] = [0xEF, 0xBB, 0xBF]
}
