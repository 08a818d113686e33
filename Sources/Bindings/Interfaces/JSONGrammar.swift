/// Says whether bytes are one JSON text (RFC 8259), without building anything of it. Bytes above 0x7F are taken as
/// they come: whoever decodes text replaces what isn't UTF-8.
package struct JSONGrammar {
    /// Deeper nesting than this is refused, as parsers refuse it.
    private static let depthMax = 512

    private let bytes: ArraySlice<UInt8>
    private var index: Int

    package static func accepts(_ bytes: ArraySlice<UInt8>) -> Bool {
        var grammar = JSONGrammar(bytes: bytes, index: bytes.startIndex)
        grammar.skipSpace()
        guard grammar.takeValue(depth: 0) else { return false }
        grammar.skipSpace()
        return grammar.index == bytes.endIndex
    }

    package static func accepts(_ text: String) -> Bool { accepts(Array(text.utf8)[...]) }

    private var next: UInt8? { index < bytes.endIndex ? bytes[index] : nil }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard next == byte else { return false }
        index += 1
        return true
    }

    private mutating func take(word: StaticString) -> Bool {
        word.withUTF8Buffer { word in
            guard bytes.endIndex - index >= word.count else { return false }
            for offset in 0..<word.count where unsafe bytes[index + offset] != word[offset] { return false }
            index += word.count
            return true
        }
    }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { index += 1 }
    }

    private mutating func takeValue(depth: Int) -> Bool {
        guard depth < Self.depthMax else { return false }
        switch next {
        case UInt8(ascii: "{"): return takeList(close: UInt8(ascii: "}"), depth, hasNames: true)
        case UInt8(ascii: "["): return takeList(close: UInt8(ascii: "]"), depth, hasNames: false)
        case UInt8(ascii: "\""): return takeString()
        case UInt8(ascii: "t"): return take(word: "true")
        case UInt8(ascii: "f"): return take(word: "false")
        case UInt8(ascii: "n"): return take(word: "null")
        default: return takeNumber()
        }
    }

    private mutating func takeList(close: UInt8, _ depth: Int, hasNames: Bool) -> Bool {
        index += 1
        skipSpace()
        if take(close) { return true }
        while true {
            if hasNames {
                guard takeString() else { return false }
                skipSpace()
                guard take(UInt8(ascii: ":")) else { return false }
                skipSpace()
            }
            guard takeValue(depth: depth + 1) else { return false }
            skipSpace()
            if take(close) { return true }
            guard take(UInt8(ascii: ",")) else { return false }
            skipSpace()
        }
    }

    private mutating func takeString() -> Bool {
        guard take(UInt8(ascii: "\"")) else { return false }
        while let byte = next {
            index += 1
            switch byte {
            case UInt8(ascii: "\""): return true
            case ..<0x20: return false
            case UInt8(ascii: "\\"):
                guard let escaped = next else { return false }
                index += 1
                if escaped == UInt8(ascii: "u") {
                    for _ in 0..<4 {
                        guard let digit = next, isHexDigit(digit) else { return false }
                        index += 1
                    }
                } else if !"\"\\/bfnrt".utf8.contains(escaped) {
                    return false
                }
            default: break
            }
        }
        return false
    }

    private mutating func takeNumber() -> Bool {
        _ = take(UInt8(ascii: "-"))
        guard take(UInt8(ascii: "0")) || takeDigits() else { return false }
        if take(UInt8(ascii: ".")), !takeDigits() { return false }
        if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
            if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
            return takeDigits()
        }
        return true
    }

    private mutating func takeDigits() -> Bool {
        let start = index
        while let byte = next, byte >= 0x30, byte <= 0x39 { index += 1 }
        return index > start
    }

    private func isHexDigit(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x46).contains(byte) || (0x61...0x66).contains(byte)
    }
}
