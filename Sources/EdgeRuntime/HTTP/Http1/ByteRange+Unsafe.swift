extension ByteRange {
    /// The bytes at this place of what was parsed. The pointer lives as long as `bytes`.
    @inlinable @inline(__always)
    package func of(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        // SAFETY: the slice checks its bounds against `bytes`.
        unsafe UnsafeRawBufferPointer(rebasing: bytes[range])
    }
}
