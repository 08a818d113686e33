extension RequestHeadParser {
    /// The form of `parse` for bytes lent by a `ByteBuffer`.
    @inline(__always)
    package mutating func parse(_ bytes: UnsafeRawBufferPointer) -> Progress {
        // SAFETY: the span lives only for this call, in which the lender keeps the bytes in place.
        unsafe parse(bytes.bytes)
    }
}
