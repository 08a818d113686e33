/// Reads the `KEY=value` files that hold a developer's secrets: `.dev.vars`, `.env`.
///
/// Values stand bare, or in single, double or back quotes, where they may run over several lines; `\n` and `\r`
/// are escapes in double quotes only. `#` begins a comment, in a bare value too. `export` before a key is
/// allowed. The last of equal keys wins.
package enum DotenvReader {
    package struct Entry: Sendable {
        package let key: String
        package let value: String
        package let place: SourcePlace
    }

    /// A line that is none of it is reported and passed over.
    package static func read(_ source: SourceText) -> (entries: [Entry], diagnostics: [Diagnostic]) {
        var parser = DotenvParser(source)
        parser.parse()
        return (parser.entries, parser.diagnostics)
    }
}

private struct DotenvParser {
    let source: SourceText
    let bytes: [UInt8]
    var offset = 0
    var entries: [DotenvReader.Entry] = []
    var diagnostics: [Diagnostic] = []

    init(_ source: SourceText) {
        self.source = source
        bytes = source.bytes
        if bytes.starts(with: SourceText.byteOrderMark) { offset = 3 }
    }

    mutating func parse() {
        while offset < bytes.count {
            skipBlanks()
            if let byte = peek(), !isNewline(byte), byte != UInt8(ascii: "#") { parseEntry() }
            skipLine()
        }
    }

    private mutating func parseEntry() {
        let start = offset
        var key = takeKey()
        if key.text == "export", let byte = peek(), byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") {
            skipBlanks()
            let next = takeKey()
            if !next.text.isEmpty { key = next }
        }
        skipBlanks()
        guard !key.text.isEmpty, let separator = peek(),
            separator == UInt8(ascii: "=") || separator == UInt8(ascii: ":")
        else {
            report(start..<max(offset, start + 1), "expected KEY=value")
            return
        }
        offset += 1
        skipBlanks()
        guard let value = takeValue() else { return }
        entries.append(.init(key: key.text, value: value, place: SourcePlace(source, key.range)))
    }

    private mutating func takeKey() -> (text: String, range: Range<Int>) {
        let start = offset
        while let byte = peek(), TOMLParser.isBareKeyByte(byte) || byte == UInt8(ascii: ".") { offset += 1 }
        return (String(decoding: bytes[start..<offset], as: UTF8.self), start..<offset)
    }

    private mutating func takeValue() -> String? {
        let start = offset
        guard let quote = peek(), [UInt8(ascii: "\""), UInt8(ascii: "'"), UInt8(ascii: "`")].contains(quote)
        else {
            while let byte = peek(), !isNewline(byte), byte != UInt8(ascii: "#") { offset += 1 }
            return trimmed(bytes[start..<offset])
        }
        offset += 1
        var value: [UInt8] = []
        while let byte = peek(), byte != quote {
            if byte == UInt8(ascii: "\\"), offset + 1 < bytes.count {
                let next = bytes[offset + 1]
                offset += 2
                switch next {
                case quote: value.append(quote)
                case UInt8(ascii: "n") where quote == UInt8(ascii: "\""): value.append(0x0A)
                case UInt8(ascii: "r") where quote == UInt8(ascii: "\""): value.append(0x0D)
                default: value += [byte, next]
                }
            } else {
                value.append(byte)
                offset += 1
            }
        }
        guard peek() == quote else {
            report(start..<(start + 1), "this quote is never closed")
            return nil
        }
        offset += 1
        skipBlanks()
        if let byte = peek(), !isNewline(byte), byte != UInt8(ascii: "#") {
            report(offset..<(offset + 1), "nothing but a comment may follow the closing quote")
            return nil
        }
        return String(decoding: value, as: UTF8.self)
    }

    private func trimmed(_ bytes: ArraySlice<UInt8>) -> String {
        var slice = bytes
        while let last = slice.last, last == UInt8(ascii: " ") || last == UInt8(ascii: "\t") {
            slice = slice.dropLast()
        }
        return String(decoding: slice, as: UTF8.self)
    }

    private func peek() -> UInt8? { offset < bytes.count ? bytes[offset] : nil }

    private func isNewline(_ byte: UInt8) -> Bool { byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") }

    private mutating func skipBlanks() {
        while let byte = peek(), byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") { offset += 1 }
    }

    private mutating func skipLine() {
        while let byte = peek(), byte != UInt8(ascii: "\n") { offset += 1 }
        offset += 1
    }

    private mutating func report(_ range: Range<Int>, _ message: String) {
        diagnostics.append(
            Diagnostic(.error, .syntax, at: SourcePlace(source, range), message, fix: "KEY=\"value\""))
    }
}
