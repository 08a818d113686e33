/// The place behind a key, as callers carry it between pages: hex digits that mean nothing to them.
///
/// Behind a version byte and a checksum over prefix and key stands the key. The checksum is no protection: a
/// made-up cursor could only show its maker a page of his own namespace. It finds the cursor of another
/// listing.
enum KVCursor {
    struct Place {
        /// The key that the page begins behind.
        var key: [UInt8]
        /// Where pages are short, every other one is empty: this tells which.
        var followsEmptyPage: Bool
    }

    private static let version: UInt8 = 1
    private static let versionBehindEmptyPage: UInt8 = 2

    static func encode(after key: [UInt8], prefix: [UInt8], followsEmptyPage: Bool = false) -> String {
        let bytes = [followsEmptyPage ? versionBehindEmptyPage : version] + checksum(prefix, key) + key
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        text.reserveCapacity(bytes.count * 2)
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }

    static func decode(_ cursor: String, prefix: [UInt8]) throws(KVError) -> Place {
        let invalid = KVError.refused(status: 400, text: "cursor is invalid")
        let text = Array(cursor.utf8)
        guard text.count.isMultiple(of: 2), text.count <= 2 * (5 + 512) else { throw invalid }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: text.count, by: 2) {
            guard let high = value(ofDigit: text[index]), let low = value(ofDigit: text[index + 1]) else {
                throw invalid
            }
            bytes.append(high << 4 | low)
        }
        guard bytes.count > 5, bytes[0] == version || bytes[0] == versionBehindEmptyPage else { throw invalid }
        let key = Array(bytes[5...])
        guard key.starts(with: prefix), Array(bytes[1..<5]) == checksum(prefix, key) else { throw invalid }
        return Place(key: key, followsEmptyPage: bytes[0] == versionBehindEmptyPage)
    }

    private static func value(ofDigit digit: UInt8) -> UInt8? {
        switch digit {
        case 0x30...0x39: digit - 0x30
        case 0x61...0x66: digit - 0x61 + 10
        default: nil
        }
    }

    /// FNV-1a, 32 bits.
    private static func checksum(_ prefix: [UInt8], _ key: [UInt8]) -> [UInt8] {
        var hash: UInt32 = 2_166_136_261
        for byte in prefix { hash = (hash ^ UInt32(byte)) &* 16_777_619 }
        hash = (hash ^ 0xFF) &* 16_777_619  // Never a byte of UTF-8: it parts prefix and key.
        for byte in key { hash = (hash ^ UInt32(byte)) &* 16_777_619 }
        return (0..<4).map { UInt8(truncatingIfNeeded: hash >> (8 * UInt32($0))) }
    }
}
