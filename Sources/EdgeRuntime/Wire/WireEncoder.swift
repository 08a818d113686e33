/// Writes the values of one message, in order. Integers are little-endian; text and bytes carry their
/// length as a UInt32 in front. There are no tags: both sides know the message.
public struct WireEncoder: Sendable {
    public private(set) var bytes: [UInt8] = []

    public init(capacity: Int = 64) { bytes.reserveCapacity(capacity) }

    @inlinable public mutating func put(_ value: UInt8) { append(value) }
    public mutating func put(_ value: Bool) { bytes.append(value ? 1 : 0) }
    public mutating func put(_ value: UInt16) { putInteger(value) }
    public mutating func put(_ value: UInt32) { putInteger(value) }
    public mutating func put(_ value: UInt64) { putInteger(value) }
    public mutating func put(_ value: Int64) { putInteger(UInt64(bitPattern: value)) }
    public mutating func put(_ value: Double) { putInteger(value.bitPattern) }

    public mutating func put(_ value: [UInt8]) {
        putInteger(UInt32(value.count))
        bytes.append(contentsOf: value)
    }

    public mutating func put(_ value: String) {
        putInteger(UInt32(value.utf8.count))
        bytes.append(contentsOf: value.utf8)
    }

    /// A presence byte, then the value that `write` puts.
    public mutating func put<Value>(_ value: Value?, _ write: (inout WireEncoder, Value) -> Void) {
        guard let value else { return put(false) }
        put(true)
        write(&self, value)
    }

    public mutating func put(_ value: String?) { put(value) { $0.put($1) } }
    public mutating func put(_ value: [UInt8]?) { put(value) { $0.put($1) } }
    public mutating func put(_ value: Int64?) { put(value) { $0.put($1) } }
    public mutating func put(_ value: Double?) { put(value) { $0.put($1) } }

    /// A count as UInt32, then each element as `write` puts it.
    public mutating func put<Element>(list: [Element], _ write: (inout WireEncoder, Element) -> Void) {
        putInteger(UInt32(list.count))
        for element in list { write(&self, element) }
    }

    /// Bytes without a length: only as the last value of a message.
    public mutating func putRest(_ value: [UInt8]) { bytes.append(contentsOf: value) }

    @usableFromInline mutating func append(_ byte: UInt8) { bytes.append(byte) }

    private mutating func putInteger(_ value: some FixedWidthInteger & UnsignedInteger) {
        var rest = value
        for _ in 0..<(value.bitWidth / 8) {
            bytes.append(UInt8(truncatingIfNeeded: rest))
            rest >>= 8
        }
    }
}
