/// One field line of a parsed head: where its name and its value are.
@usableFromInline
package struct HeaderField: Sendable {
    @usableFromInline let nameOffset: UInt32
    @usableFromInline let valueOffset: UInt32
    @usableFromInline let valueCount: UInt32
    @usableFromInline let nameCount: UInt16
    @usableFromInline package let known: KnownHeader
    /// Whether the field ends at this node: its name is hop-by-hop, or `Connection` lists it.
    @usableFromInline package internal(set) var isHopByHop: Bool

    @inline(__always)
    init(
        nameOffset: Int, nameCount: Int, valueOffset: Int, valueCount: Int, known: KnownHeader
    ) {
        self.nameOffset = UInt32(truncatingIfNeeded: nameOffset)
        self.nameCount = UInt16(truncatingIfNeeded: nameCount)
        self.valueOffset = UInt32(truncatingIfNeeded: valueOffset)
        self.valueCount = UInt32(truncatingIfNeeded: valueCount)
        self.known = known
        isHopByHop = known.isHopByHop
    }

    /// As the peer wrote it, in any case.
    @inlinable @inline(__always)
    package var name: ByteRange { ByteRange(offset: Int(nameOffset), count: Int(nameCount)) }
    /// Without the whitespace around it.
    @inlinable @inline(__always)
    package var value: ByteRange { ByteRange(offset: Int(valueOffset), count: Int(valueCount)) }
}
