/// Reads the values of one message in the order `WireEncoder` wrote them. Nothing is trusted: each read
/// checks what is left, and a list can't claim more elements than the message has bytes.
public struct WireDecoder: Sendable {
    private let bytes: [UInt8]
    public private(set) var offset: Int

    public init(_ bytes: [UInt8], from offset: Int = 0) {
        self.bytes = bytes
        self.offset = min(offset, bytes.count)
    }

    public var remainingByteCount: Int { bytes.count - offset }

    public mutating func takeUInt8() throws(WireError) -> UInt8 {
        guard offset < bytes.count else { throw .truncated(offset: offset) }
        defer { offset += 1 }
        return bytes[offset]
    }

    public mutating func takeBool() throws(WireError) -> Bool {
        switch try takeUInt8() {
        case 0: return false
        case 1: return true
        default: throw .invalidValue("truth value", offset: offset - 1)
        }
    }

    public mutating func takeUInt16() throws(WireError) -> UInt16 { try takeInteger() }
    public mutating func takeUInt32() throws(WireError) -> UInt32 { try takeInteger() }
    public mutating func takeUInt64() throws(WireError) -> UInt64 { try takeInteger() }
    public mutating func takeInt64() throws(WireError) -> Int64 { Int64(bitPattern: try takeInteger()) }
    public mutating func takeDouble() throws(WireError) -> Double { Double(bitPattern: try takeInteger()) }

    public mutating func takeBytes() throws(WireError) -> [UInt8] {
        Array(bytes[try takeRange()])
    }

    public mutating func takeString() throws(WireError) -> String {
        let start = offset
        guard let text = String(validating: bytes[try takeRange()], as: UTF8.self) else {
            throw .invalidValue("UTF-8 text", offset: start)
        }
        return text
    }

    public mutating func takeOptional<Value>(
        _ take: (inout WireDecoder) throws(WireError) -> Value
    ) throws(WireError) -> Value? {
        try takeBool() ? try take(&self) : nil
    }

    public mutating func takeList<Element>(
        _ take: (inout WireDecoder) throws(WireError) -> Element
    ) throws(WireError) -> [Element] {
        let start = offset
        let count = Int(try takeUInt32())
        guard count <= remainingByteCount else { throw .invalidValue("list length", offset: start) }
        var list: [Element] = []
        list.reserveCapacity(min(count, 1024))
        for _ in 0..<count { list.append(try take(&self)) }
        return list
    }

    /// All that is left.
    public mutating func takeRest() -> [UInt8] {
        defer { offset = bytes.count }
        return Array(bytes[offset...])
    }

    /// Refuses a message that is longer than what was read of it.
    public func finish() throws(WireError) {
        guard remainingByteCount == 0 else { throw .invalidValue("trailing bytes", offset: offset) }
    }

    private mutating func takeRange() throws(WireError) -> Range<Int> {
        let count = Int(try takeUInt32())
        guard count <= remainingByteCount else { throw .truncated(offset: offset) }
        defer { offset += count }
        return offset..<(offset + count)
    }

    private mutating func takeInteger<Value: FixedWidthInteger>() throws(WireError) -> Value {
        let width = Value.bitWidth / 8
        guard width <= remainingByteCount else { throw .truncated(offset: offset) }
        var value: Value = 0
        for index in 0..<width { value |= Value(truncatingIfNeeded: bytes[offset + index]) << (8 * index) }
        offset += width
        return value
    }
}
