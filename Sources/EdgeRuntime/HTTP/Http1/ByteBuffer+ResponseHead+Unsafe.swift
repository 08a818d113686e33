package import Wire

extension ByteBuffer {
    @inline(__always)
    package mutating func append(_ bytes: RawSpan) {
        // SAFETY: the pointer stays in the closure.
        unsafe bytes.withUnsafeBytes { unsafe append($0) }
    }

    /// Appends a field line. One reservation, whatever the lengths.
    @inline(__always)
    package mutating func appendHeader(name: RawSpan, value: RawSpan) {
        let count = name.byteCount + value.byteCount + 4
        _ = unsafe withWritable(atLeast: count) { target in
            // SAFETY: the four parts fill exactly `count` bytes, and so many are lent.
            guard let base = target.baseAddress else { return 0 }
            unsafe name.withUnsafeBytes { source in
                if let start = source.baseAddress {
                    unsafe base.copyMemory(from: start, byteCount: source.count)
                }
            }
            let colon = name.byteCount
            unsafe base.storeBytes(of: UInt16(0x203A).littleEndian, toByteOffset: colon, as: UInt16.self)
            unsafe value.withUnsafeBytes { source in
                if let start = source.baseAddress {
                    unsafe base.advanced(by: colon + 2).copyMemory(from: start, byteCount: source.count)
                }
            }
            unsafe base.storeBytes(of: UInt16(0x0A0D).littleEndian, toByteOffset: count - 2, as: UInt16.self)
            return count
        }
    }

    /// Appends ASCII letters in lower case and everything else as it is.
    @inline(__always)
    package mutating func appendLowercased(_ bytes: RawSpan) {
        let count = bytes.byteCount
        guard count > 0 else { return }
        _ = unsafe withWritable(atLeast: count) { target in
            guard let base = target.baseAddress else { return 0 }
            var offset = 0
            while count - offset >= 16 {
                let vector = bytes.vector(at: offset)
                let upper = (vector &- 0x41) .< 26
                let lowered = vector | SIMD16<UInt8>(repeating: 0).replacing(with: 0x20, where: upper)
                // SAFETY: offset + 16 <= count, and so many bytes are lent.
                unsafe base.storeBytes(of: lowered, toByteOffset: offset, as: SIMD16<UInt8>.self)
                offset += 16
            }
            while offset < count {
                // SAFETY: offset < count.
                unsafe base.storeBytes(of: bytes[offset].asciiLowercased, toByteOffset: offset, as: UInt8.self)
                offset += 1
            }
            return count
        }
    }
}
