/// A run of bytes in a source text. Line and column are computed when asked for.
package struct SourcePlace: Sendable {
    package let source: SourceText
    package let byteOffset: Int
    package let byteCount: Int

    package init(_ source: SourceText, _ range: Range<Int>) {
        self.source = source
        byteOffset = range.lowerBound
        byteCount = range.count
    }

    package var file: String { source.name }
    /// From 1.
    package var line: Int { source.line(at: byteOffset) }
    /// From 1, in characters.
    package var column: Int { source.column(at: byteOffset) }
    /// In characters.
    package var length: Int {
        let end = min(byteOffset + byteCount, source.bytes.count)
        return source.characterCount(min(byteOffset, end)..<end)
    }
    package var text: String {
        let end = min(byteOffset + byteCount, source.bytes.count)
        return String(decoding: source.bytes[min(byteOffset, end)..<end], as: UTF8.self)
    }
}

extension SourcePlace: Hashable, Comparable, CustomStringConvertible {
    package static func == (left: Self, right: Self) -> Bool {
        left.file == right.file && left.byteOffset == right.byteOffset && left.byteCount == right.byteCount
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(file)
        hasher.combine(byteOffset)
        hasher.combine(byteCount)
    }

    package static func < (left: Self, right: Self) -> Bool {
        (left.file, left.byteOffset, left.byteCount) < (right.file, right.byteOffset, right.byteCount)
    }

    /// `file:line:column`
    package var description: String { "\(file):\(line):\(column)" }
}
