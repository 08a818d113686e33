extension ChunkedDecoder {
    /// The form of `next` for bytes lent by a `ByteBuffer`.
    @inline(__always)
    package mutating func next(_ bytes: UnsafeRawBufferPointer) -> Step {
        // SAFETY: the span lives only for this call, in which the lender keeps the bytes in place.
        unsafe next(bytes.bytes)
    }
}
