internal import Wire

extension ByteBuffer {
    @inline(__always)
    mutating func append(headerName name: StaticString, value: UnsafeRawBufferPointer) {
        append(headerName: name, valueByteCount: value.count)
        unsafe append(value)
    }

    mutating func append(headerName name: StaticString, value: String) {
        append(headerName: name, valueByteCount: value.utf8.count)
        append(value)
    }

    @inline(__always)
    mutating func append(headerName name: StaticString, value: StaticString) {
        append(headerName: name, valueByteCount: value.utf8CodeUnitCount)
        append(value)
    }

    /// The header without its value, which must follow.
    @inline(__always)
    mutating func append(headerName name: StaticString, valueByteCount: Int) {
        appendLittleEndian(UInt16(name.utf8CodeUnitCount))
        appendLittleEndian(UInt32(truncatingIfNeeded: valueByteCount))
        append(name)
    }

    @inline(__always)
    mutating func append(_ digits: HexDigits) {
        appendLittleEndian(digits.first)
        appendLittleEndian(digits.last)
    }
}

/// The sixteen hexadecimal digits of a number, the first in the lowest byte.
struct HexDigits {
    let first: UInt64
    let last: UInt64

    init(_ value: UInt64) {
        first = Self.digits(UInt32(truncatingIfNeeded: value >> 32))
        last = Self.digits(UInt32(truncatingIfNeeded: value))
    }

    /// Eight digits at once: a nibble to each byte, then a digit for each nibble.
    private static func digits(_ value: UInt32) -> UInt64 {
        var nibbles = UInt64(value.byteSwapped)
        nibbles = (nibbles | nibbles << 16) & 0x0000_FFFF_0000_FFFF
        nibbles = (nibbles | nibbles << 8) & 0x00FF_00FF_00FF_00FF
        nibbles = (nibbles >> 4 | nibbles << 8) & 0x0F0F_0F0F_0F0F_0F0F
        let letters = (nibbles &+ 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101
        return nibbles &+ 0x3030_3030_3030_3030 &+ letters &* 0x27
    }
}

extension FixedWidthInteger {
    var decimalDigitCount: Int {
        var count = 1
        var rest = self / 10
        while rest > 0 {
            count += 1
            rest /= 10
        }
        return count
    }
}
