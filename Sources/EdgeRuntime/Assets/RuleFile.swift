/// What is wrong in `_headers` or `_redirects`, and where.
package struct RuleFileError: Error, Equatable, Sendable, CustomStringConvertible {
    package let file: String
    /// 1 for the first.
    package let line: Int
    package let reason: String

    package var description: String { "\(file):\(line): \(reason)" }
}

/// The lines of a rule file that say something.
struct RuleLines {
    struct Line {
        let number: Int
        /// Without what surrounds it.
        let text: String
    }
    let file: String
    private(set) var lines: [Line] = []
    static let lineByteCountMax = 2000

    init(_ file: String, _ text: String) throws(RuleFileError) {
        self.file = file
        for (index, bytes) in Array(text.utf8).split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
            var line = bytes
            while let byte = line.first, byte == 0x20 || byte == 0x09 { line = line.dropFirst() }
            while let byte = line.last, byte == 0x20 || byte == 0x09 || byte == 0x0D { line = line.dropLast() }
            guard line.count <= Self.lineByteCountMax else {
                throw RuleFileError(
                    file: file, line: index + 1,
                    reason: "a line of \(line.count) bytes; at most \(Self.lineByteCountMax) are allowed")
            }
            guard let first = line.first, first != UInt8(ascii: "#") else { continue }
            guard line.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }) else {
                throw RuleFileError(file: file, line: index + 1, reason: "a control character")
            }
            lines.append(Line(number: index + 1, text: String(decoding: line, as: UTF8.self)))
        }
    }

    func flaw(_ line: Line, _ reason: String) -> RuleFileError {
        RuleFileError(file: file, line: line.number, reason: reason)
    }
}
