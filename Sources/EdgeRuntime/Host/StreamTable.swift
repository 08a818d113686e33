/// The open streams of one channel by number. Numbers rise by two on each side, so a ring finds almost all of them with
/// one index, odd and even ones side by side; a stream that outlives a whole round moves to the dictionary.
struct StreamTable<Stream: AnyObject> {
    private var ring: [(number: UInt32, stream: Stream?)]
    private var long: [UInt32: Stream] = [:]
    private(set) var count = 0

    init(ringSize: Int = 512) {
        precondition(ringSize & (ringSize - 1) == 0, "a power of two")
        ring = Array(repeating: (0, nil), count: ringSize)
    }

    @inline(__always)
    private func slot(_ number: UInt32) -> Int { Int(number) & (ring.count - 1) }

    subscript(number: UInt32) -> Stream? {
        let entry = ring[slot(number)]
        if entry.number == number { return entry.stream }
        return long.isEmpty ? nil : long[number]
    }

    /// `number` must not be in the table.
    mutating func insert(_ stream: Stream, _ number: UInt32) {
        let slot = slot(number)
        if let resident = ring[slot].stream { long[ring[slot].number] = resident }
        ring[slot] = (number, stream)
        count += 1
    }

    @discardableResult
    mutating func remove(_ number: UInt32) -> Stream? {
        let slot = slot(number)
        let removed: Stream?
        if ring[slot].number == number {
            removed = ring[slot].stream
            ring[slot] = (0, nil)
        } else {
            removed = long.removeValue(forKey: number)
        }
        if removed != nil { count -= 1 }
        return removed
    }

    /// All streams, in no order.
    var all: [Stream] { ring.compactMap(\.stream) + long.values }
}
