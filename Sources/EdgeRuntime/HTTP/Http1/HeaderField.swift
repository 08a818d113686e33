/// One field line of a parsed head: where its name and its value are.
package struct HeaderField: Sendable {
    private let nameOffset: UInt32
    private let valueOffset: UInt32
    private let valueCount: UInt32
    private let nameCount: UInt16
    package let known: KnownHeader
    /// Whether the field ends at this node: its name is hop-by-hop, or `Connection` lists it.
    package internal(set) var isHopByHop: Bool

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
    @inline(__always)
    package var name: ByteRange { ByteRange(offset: Int(nameOffset), count: Int(nameCount)) }
    /// Without the whitespace around it.
    @inline(__always)
    package var value: ByteRange { ByteRange(offset: Int(valueOffset), count: Int(valueCount)) }
}
