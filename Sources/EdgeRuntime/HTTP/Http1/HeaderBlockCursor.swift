package import Wire

/// Walks over the headers of a fetch message between node and isolate:
/// `(nameLength: UInt16, valueLength: UInt32, name, value)*`, little-endian. Checks the lengths, not the
/// contents.
package struct HeaderBlockCursor: Sendable {
    package struct Entry: Equatable, Sendable {
        package let name: ByteRange
        package let value: ByteRange
    }

    /// Where the next header starts; behind the last one, where the block ends.
    package private(set) var offset: Int
    /// Headers still to come.
    package private(set) var remaining: Int

    @inline(__always)
    package init(count: Int, from offset: Int = 0) {
        self.offset = offset
        remaining = count
    }

    /// The next header; `nil` behind the last one.
    ///
    /// - Parameter bytes: the same ones in each call.
    @inline(__always)
    package mutating func next(_ bytes: RawSpan) throws(WireError) -> Entry? {
        guard remaining > 0 else { return nil }
        guard bytes.byteCount - offset >= Self.prefixByteCount else { throw .truncated(offset: offset) }
        let nameCount = Int(bytes[offset]) | Int(bytes[offset + 1]) << 8
        let valueCount = Int(bytes.word32(at: offset + 2))
        let name = offset + Self.prefixByteCount
        guard nameCount + valueCount <= bytes.byteCount - name else { throw .truncated(offset: offset) }
        remaining -= 1
        offset = name + nameCount + valueCount
        return Entry(
            name: ByteRange(offset: name, count: nameCount),
            value: ByteRange(offset: name + nameCount, count: valueCount))
    }

    /// The form of `next` for a message in an array.
    @inline(__always)
    package mutating func next(_ bytes: [UInt8]) throws(WireError) -> Entry? {
        // SAFETY: the bytes of an array of plain bytes are initialised, and the span lives for this call.
        try unsafe next(bytes.span.bytes)
    }

    /// Walks over all that is left.
    ///
    /// - Returns: where the block ends.
    package mutating func end(of bytes: RawSpan) throws(WireError) -> Int {
        while try next(bytes) != nil {}
        return offset
    }

    package static let prefixByteCount = 6
}
