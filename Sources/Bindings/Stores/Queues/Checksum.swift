internal import LMDB

/// CRC-32C (Castagnoli), as in RFC 3720 §12.1: tells a torn or decayed body from the one that was sent.
enum Checksum {
    /// Eight tables of 256, one behind the other, so that eight bytes cost eight independent look-ups.
    private static let tables: [UInt32] = {
        var tables = [UInt32](repeating: 0, count: 2048)
        for index in 0..<256 {
            var value = UInt32(index)
            for _ in 0..<8 { value = value & 1 == 1 ? value >> 1 ^ 0x82F6_3B78 : value >> 1 }
            tables[index] = value
        }
        for index in 256..<2048 {
            let value = tables[index - 256]
            tables[index] = value >> 8 ^ tables[Int(value & 0xFF)]
        }
        return tables
    }()

    static func crc32c(_ bytes: [UInt8]) -> UInt32 {
        let tables = tables
        func entry(_ table: Int, _ value: UInt32) -> UInt32 { tables[table << 8 | Int(value & 0xFF)] }
        var crc: UInt32 = 0xFFFF_FFFF
        var index = 0
        while index + 8 <= bytes.count {
            let low: UInt32 = bytes.littleEndian(at: index) ^ crc
            let high: UInt32 = bytes.littleEndian(at: index + 4)
            let first = entry(7, low) ^ entry(6, low >> 8) ^ entry(5, low >> 16) ^ entry(4, low >> 24)
            let second = entry(3, high) ^ entry(2, high >> 8) ^ entry(1, high >> 16) ^ entry(0, high >> 24)
            crc = first ^ second
            index += 8
        }
        while index < bytes.count {
            crc = crc >> 8 ^ entry(0, crc ^ UInt32(bytes[index]))
            index += 1
        }
        return ~crc
    }
}
