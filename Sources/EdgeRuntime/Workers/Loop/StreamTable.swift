/// The open streams of a channel by number: open addressing with linear probing. Stream numbers are handed out in
/// order, so a multiplicative hash spreads them well; a dictionary costs several times as much.
struct StreamTable {
    private var keys: [UInt32]
    private var values: [StreamEndpoint?]
    private(set) var count = 0
    private var mask: Int

    init() {
        keys = Array(repeating: 0, count: 64)
        values = Array(repeating: nil, count: 64)
        mask = 63
    }

    /// Number 0 is no stream: it marks a free place.
    @inline(__always)
    private func place(of key: UInt32) -> Int { Int((key &* 0x9E37_79B1) >> 8) & mask }

    @inline(__always)
    private func index(of key: UInt32) -> Int? {
        var index = place(of: key)
        while keys[index] != 0 {
            if keys[index] == key { return index }
            index = (index + 1) & mask
        }
        return nil
    }

    subscript(_ key: UInt32) -> StreamEndpoint? {
        guard let index = index(of: key) else { return nil }
        return values[index]
    }

    mutating func insert(_ key: UInt32, _ value: StreamEndpoint) {
        if (count + 1) * 2 > keys.count { grow() }
        var index = place(of: key)
        while keys[index] != 0 { index = (index + 1) & mask }
        keys[index] = key
        values[index] = value
        count += 1
    }

    mutating func remove(_ key: UInt32) {
        guard var hole = index(of: key) else { return }
        count -= 1
        // Closes the gap: each later element of the run moves up unless it stands before its own place.
        var next = hole
        while true {
            next = (next + 1) & mask
            guard keys[next] != 0 else { break }
            let home = place(of: keys[next])
            if (next &- home) & mask >= (next &- hole) & mask {
                keys[hole] = keys[next]
                values[hole] = values[next]
                hole = next
            }
        }
        keys[hole] = 0
        values[hole] = nil
    }

    /// Everything that is open, in no order.
    var endpoints: [StreamEndpoint] { values.compactMap { $0 } }

    private mutating func grow() {
        let (oldKeys, oldValues) = (keys, values)
        keys = Array(repeating: 0, count: oldKeys.count * 2)
        values = Array(repeating: nil, count: oldKeys.count * 2)
        mask = keys.count - 1
        count = 0
        for (key, value) in zip(oldKeys, oldValues) {
            if key != 0, let value { insert(key, value) }
        }
    }
}
