internal import WorkersCrypto

/// The identity of a stored thing: a UUID of version 7 (RFC 9562 §5.7), so that new rows come at the end
/// of an index.
package struct Identifier: Hashable, Sendable, CustomStringConvertible {
    /// 36 characters, lower case.
    package let text: String

    /// Takes any well-formed UUID in lower or upper case.
    package init?(_ text: String) {
        let isWellFormed =
            text.utf8.count == 36
            && text.utf8.enumerated().allSatisfy { position, byte in
                if [8, 13, 18, 23].contains(position) { return byte == UInt8(ascii: "-") }
                switch byte {
                case 0x30...0x39, 0x41...0x46, 0x61...0x66: return true
                default: return false
                }
            }
        guard isWellFormed else { return nil }
        self.text = text.lowercased()
    }

    /// - Parameters:
    ///   - now: Milliseconds since 1970.
    ///   - random: 10 bytes.
    package init(now: Int64, random: [UInt8] = SecureBytes.random(10)) {
        var bytes = (0..<6).map { UInt8(truncatingIfNeeded: now >> (40 - 8 * $0)) } + random.prefix(10)
        bytes[6] = 0x70 | bytes[6] & 0x0F
        bytes[8] = 0x80 | bytes[8] & 0x3F
        var text = ""
        for (index, byte) in bytes.enumerated() {
            if [4, 6, 8, 10].contains(index) { text += "-" }
            if byte < 16 { text += "0" }
            text += String(byte, radix: 16)
        }
        self.text = text
    }

    package var description: String { text }
}
