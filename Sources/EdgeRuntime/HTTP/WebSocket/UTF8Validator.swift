internal import Wire

/// Finds out whether bytes that come in pieces are UTF-8 (RFC 3629), at the first byte that can't be: neither overlong forms nor
/// surrogates nor anything beyond U+10FFFF pass.
package struct UTF8Validator: Sendable {
    /// Bytes that the present character still needs.
    private var left: UInt8 = 0
    /// What the next of them may be.
    private var lowest: UInt8 = 0x80
    private var highest: UInt8 = 0xBF

    package init() {}

    /// Whether no character is unfinished.
    package var isComplete: Bool { left == 0 }

    /// - Returns: false when `bytes` can't follow what came before; nothing more is to be asked then.
    package mutating func accepts(_ bytes: RawSpan) -> Bool {
        var index = 0
        while index < bytes.byteCount {
            if left == 0 {
                // Eight letters of ASCII at a time.
                while index + 8 <= bytes.byteCount, bytes.littleEndianUInt64(at: index) & 0x8080_8080_8080_8080 == 0 {
                    index += 8
                }
                guard index < bytes.byteCount else { return true }
            }
            guard accepts(bytes.byte(at: index)) else { return false }
            index += 1
        }
        return true
    }

    private mutating func accepts(_ byte: UInt8) -> Bool {
        guard left == 0 else {
            guard byte >= lowest, byte <= highest else { return false }
            (left, lowest, highest) = (left - 1, 0x80, 0xBF)
            return true
        }
        switch byte {
        case 0x00...0x7F: break
        case 0xC2...0xDF: left = 1
        case 0xE0: (left, lowest) = (2, 0xA0)
        case 0xED: (left, highest) = (2, 0x9F)
        case 0xE1...0xEF: left = 2
        case 0xF0: (left, lowest) = (3, 0x90)
        case 0xF1...0xF3: left = 3
        case 0xF4: (left, highest) = (3, 0x8F)
        default: return false
        }
        return true
    }
}
