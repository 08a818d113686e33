/// Prepared statements by their text, the least recently used one forgotten first. `Entry` is what the owner
/// keeps of a statement, usually an object that holds it. Belongs to the connection's thread.
package struct SQLiteStatementCache<Entry> {
    private struct Slot {
        var entry: Entry
        var lastUse: UInt64
    }
    private var slots: [String: Slot] = [:]
    private var uses: UInt64 = 0
    private let capacity: Int

    /// - Parameter capacity: At most so many entries. A search for the oldest visits all of them, so keep it
    ///   below some hundreds.
    package init(capacity: Int) { self.capacity = max(1, capacity) }

    package var count: Int { slots.count }

    package mutating func entry(for text: String) -> Entry? {
        guard let index = slots.index(forKey: text) else { return nil }
        uses &+= 1
        slots.values[index].lastUse = uses
        return slots.values[index].entry
    }

    package mutating func insert(_ entry: Entry, for text: String) {
        if slots.count >= capacity, slots[text] == nil,
            let oldest = slots.min(by: { $0.value.lastUse < $1.value.lastUse })
        {
            slots[oldest.key] = nil
        }
        uses &+= 1
        slots[text] = Slot(entry: entry, lastUse: uses)
    }

    package mutating func remove(_ text: String) { slots[text] = nil }
    package mutating func removeAll() { slots = [:] }
}
