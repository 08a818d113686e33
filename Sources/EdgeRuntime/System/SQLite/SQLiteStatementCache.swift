/// Prepared statements by the bytes of their text, the least recently used one forgotten first. (Equal strings may
/// differ in bytes, and SQL means bytes.) `Entry` is what the owner keeps of a statement, usually an object that holds
/// it. Belongs to the connection's thread.
package struct SQLiteStatementCache<Entry> {
    private struct Slot {
        var entry: Entry
        var lastUse: UInt64
    }
    private var slots: [[UInt8]: Slot] = [:]
    private var uses: UInt64 = 0
    private let capacity: Int

    /// - Parameter capacity: At most so many entries. A search for the oldest visits all of them, so keep it
    ///   below some hundreds.
    package init(capacity: Int) { self.capacity = max(1, capacity) }

    package var count: Int { slots.count }

    package mutating func entry(for text: String) -> Entry? {
        guard let index = slots.index(forKey: Array(text.utf8)) else { return nil }
        uses &+= 1
        slots.values[index].lastUse = uses
        return slots.values[index].entry
    }

    package mutating func insert(_ entry: Entry, for text: String) {
        let key = Array(text.utf8)
        if slots.count >= capacity, slots[key] == nil,
            let oldest = slots.min(by: { $0.value.lastUse < $1.value.lastUse })
        {
            slots[oldest.key] = nil
        }
        uses &+= 1
        slots[key] = Slot(entry: entry, lastUse: uses)
    }

    package mutating func remove(_ text: String) { slots[Array(text.utf8)] = nil }
    package mutating func removeAll() { slots = [:] }
}
