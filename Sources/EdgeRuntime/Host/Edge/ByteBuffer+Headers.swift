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

    /// Sixteen digits.
    mutating func append(hex value: UInt64) {
        _ = unsafe withWritable(atLeast: 16) { room in
            for index in 0..<16 {
                let digit = UInt8(truncatingIfNeeded: value >> UInt64(60 - 4 * index)) & 15
                unsafe room[index] = digit < 10 ? 0x30 + digit : 0x57 + digit
            }
            return 16
        }
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
