/// Reads TOML 1.0.0 (https://toml.io/en/v1.0.0): all of it, and nothing beyond it.
package enum TOMLReader {
    /// A configuration is some kilobytes; a megabyte is a mistake, and time is linear in it.
    package static let byteCountMax = 4 << 20
    /// Arrays, inline tables and the parts of keys inside each other: what reads a document recurses on them.
    package static let depthMax = 100

    /// - Throws: the first mistake. A text with one has no document.
    package static func read(_ source: SourceText) throws(SyntaxError) -> DocumentTable {
        guard source.bytes.count <= byteCountMax else {
            throw SyntaxError(
                at: SourcePlace(source, 0..<0),
                "the file has \(source.bytes.count) bytes; at most \(byteCountMax) are read")
        }
        try UTF8Check.run(source)
        var parser = TOMLParser(source)
        return try parser.parseDocument()
    }

    /// Reads one value that stands alone, such as the right side of `--set key=value`.
    package static func readValue(_ source: SourceText) throws(SyntaxError) -> DocumentValue {
        try UTF8Check.run(source)
        var parser = TOMLParser(source)
        return try parser.parseLoneValue()
    }
}

/// Finds bytes that are no UTF-8, so that readers behind it need not look.
enum UTF8Check {
    static func run(_ source: SourceText) throws(SyntaxError) {
        var decoder = UTF8.ForwardParser()
        var iterator = source.bytes.makeIterator()
        var offset = 0
        while true {
            switch decoder.parseScalar(from: &iterator) {
            case .valid(let encoded): offset += encoded.count
            case .emptyInput: return
            case .error(let length):
                throw SyntaxError(
                    at: SourcePlace(source, offset..<min(offset + max(1, length), source.bytes.count)),
                    "the text is not UTF-8 here", fix: "save the file as UTF-8")
            }
        }
    }
}
