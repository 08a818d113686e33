/// Why a query has no answer.
package struct SQLError: Error, Equatable, Sendable, CustomStringConvertible {
    package let message: String
    /// Where in the text, both from 1; `nil` when no place is to blame.
    package private(set) var line: Int?
    package private(set) var column: Int?
    /// Bytes from the text's start, until `located(in:)` has made line and column of it.
    private let offset: Int?

    init(_ message: String, at offset: Int? = nil) {
        self.message = message
        self.offset = offset
    }

    func located(in text: String) -> SQLError {
        guard let offset else { return self }
        let before = Array(text.utf8.prefix(offset))
        var located = self
        located.line = 1 + before.reduce(0) { $0 + ($1 == 0x0A ? 1 : 0) }
        let lineStart = before.lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
        located.column = 1 + String(decoding: before[lineStart...], as: UTF8.self).unicodeScalars.count
        return located
    }

    package var description: String {
        guard let line, let column else { return message }
        return "line \(line), column \(column): \(message)"
    }
}

/// What one query may take.
package struct QueryLimits: Sendable {
    package var textBytesMax = 64 << 10
    /// Rows, groups and sets that it holds, estimated; the text of its answer.
    package var bytesMax = 64 << 20
    package var time = Duration.seconds(30)
    /// Queries that wait for the one that runs, it included.
    package var waitingMax = 8

    package init() {}
}
