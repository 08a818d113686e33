extension RawSpan {
    /// The byte at `offset`; the caller has checked the bounds, the span checks them again.
    @inlinable @inline(__always)
    package func byte(at offset: Int) -> UInt8 {
        // SAFETY: any bit pattern is a UInt8, and RawSpan checks the offset.
        unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self)
    }

    @inlinable @inline(__always)
    package func littleEndianUInt32(at offset: Int) -> UInt32 {
        // SAFETY: any bit pattern is a UInt32, and RawSpan checks the offset.
        UInt32(littleEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    @inlinable @inline(__always)
    package func littleEndianUInt16(at offset: Int) -> UInt16 {
        // SAFETY: any bit pattern is a UInt16, and RawSpan checks the offset.
        UInt16(littleEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }

    @inlinable @inline(__always)
    package func littleEndianUInt64(at offset: Int) -> UInt64 {
        // SAFETY: any bit pattern is a UInt64, and RawSpan checks the offset.
        UInt64(littleEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }
}
