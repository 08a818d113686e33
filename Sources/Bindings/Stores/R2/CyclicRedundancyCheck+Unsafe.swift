/// A reflected CRC whose register starts and ends inverted, as all that S3 knows are. It is fed piece by piece, and
/// the CRCs of two neighbouring pieces can be combined without their bytes.
///
/// Sixteen bytes are taken at a time, each through a table of its own ("slicing", Kounavis and Berry 2005). That is two to
/// three times as fast as MD5, which every put pays anyway.
struct CyclicRedundancyCheck: Sendable {
    /// A polynomial with what is computed of it once.
    final class Polynomial: Sendable {
        /// Width in bits: 32 or 64.
        let width: Int
        /// With its bits in reverse: the lowest power stands in the highest bit.
        let reversed: UInt64
        /// Sixteen tables of 256 entries; table k advances a byte by k further bytes.
        fileprivate let tables: [UInt64]

        init(width: Int, reversed: UInt64) {
            self.width = width
            self.reversed = reversed
            var tables: [UInt64] = []
            tables.reserveCapacity(16 * 256)
            for byte in 0..<256 as Range<UInt64> {
                var remainder = byte
                for _ in 0..<8 { remainder = remainder & 1 == 1 ? remainder >> 1 ^ reversed : remainder >> 1 }
                tables.append(remainder)
            }
            for index in 256..<(16 * 256) {
                let before = tables[index - 256]
                tables.append(before >> 8 ^ tables[Int(before & 0xFF)])
            }
            self.tables = tables
        }

        fileprivate var mask: UInt64 { width == 64 ? .max : 1 << UInt64(width) - 1 }

        /// ITU-T V.42, as in zlib and Ethernet.
        static let crc32 = Polynomial(width: 32, reversed: 0xEDB8_8320)
        /// RFC 3720, appendix B.4.
        static let crc32c = Polynomial(width: 32, reversed: 0x82F6_3B78)
        /// NVM Express NVM Command Set Specification, "64b CRC".
        static let crc64nvme = Polynomial(width: 64, reversed: 0x9A6C_9329_AC4B_C9B5)

        /// `left` × `right` modulo the polynomial.
        private func product(_ left: UInt64, _ right: UInt64) -> UInt64 {
            var (left, right, sum) = (left, right, UInt64(0))
            let one = UInt64(1) << UInt64(width - 1)
            while left != 0 {
                if left & one != 0 { sum ^= right }
                left = left << 1 & mask
                right = right & 1 == 1 ? right >> 1 ^ reversed : right >> 1
            }
            return sum
        }

        /// What advances a CRC by `byteCount` zero bytes: x to the power of eight times as many.
        func advance(by byteCount: Int64) -> UInt64 {
            var result = UInt64(1) << UInt64(width - 1)  // x⁰
            var power = result >> 8  // x⁸: one byte.
            var count = UInt64(max(0, byteCount))
            while count > 0 {
                if count & 1 == 1 { result = product(result, power) }
                power = product(power, power)
                count >>= 1
            }
            return result
        }

        /// The CRC of two pieces, one behind the other, from those of each and `advance(by:)` of the second's length.
        func combine(_ first: UInt64, _ second: UInt64, advance: UInt64) -> UInt64 { product(first, advance) ^ second }
    }

    let polynomial: Polynomial
    private var register: UInt64

    init(_ polynomial: Polynomial) {
        self.polynomial = polynomial
        register = polynomial.mask
    }

    /// The CRC of what was fed until now.
    var value: UInt64 { register ^ polynomial.mask }

    mutating func update(_ bytes: [UInt8]) {
        unsafe bytes.withUnsafeBytes { buffer in
            unsafe polynomial.tables.withUnsafeBufferPointer { tables in
                var register = register
                var place = 0
                // SAFETY: sixteen bytes are there; each table index is a table's number × 256 and a byte.
                while place + 16 <= buffer.count {
                    var first = unsafe UInt64(
                        littleEndian: buffer.loadUnaligned(fromByteOffset: place, as: UInt64.self))
                    var second = unsafe UInt64(
                        littleEndian: buffer.loadUnaligned(fromByteOffset: place + 8, as: UInt64.self))
                    first ^= register
                    var (left, right) = (UInt64(0), UInt64(0))
                    for table in 0..<8 {
                        left ^= unsafe tables[(15 - table) << 8 | Int(first & 0xFF)]
                        right ^= unsafe tables[(7 - table) << 8 | Int(second & 0xFF)]
                        first >>= 8
                        second >>= 8
                    }
                    register = left ^ right
                    place += 16
                }
                while place < buffer.count {
                    let byte = unsafe buffer[place]
                    let entry = unsafe tables[Int(UInt8(truncatingIfNeeded: register) ^ byte)]
                    register = register >> 8 ^ entry
                    place += 1
                }
                self.register = register
            }
        }
    }

    /// The most significant byte first, as S3 writes it.
    static func bytes(_ value: UInt64, width: Int) -> [UInt8] {
        stride(from: width - 8, through: 0, by: -8).map { UInt8(truncatingIfNeeded: value >> UInt64($0)) }
    }

    static func value(_ bytes: [UInt8]) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
}
