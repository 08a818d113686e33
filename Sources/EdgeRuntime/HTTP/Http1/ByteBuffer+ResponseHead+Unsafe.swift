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

    /// Appends a header of a fetch message as `HeaderBlockCursor` reads it, the name in lower case.
    package mutating func appendBlockHeader(name: RawSpan, value: RawSpan) {
        let prefix = HeaderBlockCursor.prefixByteCount
        let count = prefix + name.byteCount + value.byteCount
        _ = unsafe withWritable(atLeast: count) { target in
            // SAFETY: the parts fill exactly `count` bytes, and so many are lent.
            guard let base = target.baseAddress else { return 0 }
            unsafe base.storeBytes(
                of: UInt16(truncatingIfNeeded: name.byteCount).littleEndian, as: UInt16.self)
            unsafe base.storeBytes(
                of: UInt32(truncatingIfNeeded: value.byteCount).littleEndian, toByteOffset: 2, as: UInt32.self
            )
            unsafe name.storeLowercased(at: base + prefix)
            unsafe value.withUnsafeBytes { source in
                if let start = source.baseAddress {
                    unsafe (base + prefix + name.byteCount).copyMemory(from: start, byteCount: source.count)
                }
            }
            return count
        }
    }

    /// Appends ASCII letters in lower case and everything else as it is.
    package mutating func appendLowercased(_ bytes: RawSpan) {
        let count = bytes.byteCount
        guard count > 0 else { return }
        _ = unsafe withWritable(atLeast: count) { target in
            guard let base = target.baseAddress else { return 0 }
            // SAFETY: so many bytes are lent.
            unsafe bytes.storeLowercased(at: base)
            return count
        }
    }
}

extension RawSpan {
    /// Writes as many bytes as the span has, ASCII letters in lower case. The target must have room for them.
    @inline(__always)
    fileprivate func storeLowercased(at target: UnsafeMutableRawPointer) {
        var offset = 0
        while byteCount - offset >= 8 {
            let lowered = Word(word64(at: offset)).lowercased.littleEndian
            // SAFETY: offset + 8 <= byteCount, which the target has room for.
            unsafe target.storeBytes(of: lowered, toByteOffset: offset, as: UInt64.self)
            offset += 8
        }
        while offset < byteCount {
            // SAFETY: offset < byteCount.
            unsafe target.storeBytes(of: self[offset].asciiLowercased, toByteOffset: offset, as: UInt8.self)
            offset += 1
        }
    }
}
