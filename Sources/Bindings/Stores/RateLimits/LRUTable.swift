/// A dictionary that knows which of its entries was longest not used. All operations take constant time.
struct LRUTable<Key: Hashable, Value> {
    private struct Node {
        /// `nil`: the place is free.
        var entry: (key: Key, value: Value)?
        var newer: Int
        var older: Int
    }
    private static var none: Int { -1 }

    private var nodes: [Node] = []
    private var free: [Int] = []
    private var places: [Key: Int] = [:]
    private var newest = Self.none
    private var oldestPlace = Self.none

    var count: Int { places.count }

    /// The value of `key`, without counting as a use.
    func peek(_ key: Key) -> Value? { places[key].flatMap { nodes[$0].entry?.value } }

    /// The entry that was longest not used.
    var oldest: (key: Key, value: Value)? { oldestPlace == Self.none ? nil : nodes[oldestPlace].entry }

    mutating func removeOldest() -> (key: Key, value: Value)? {
        guard let entry = oldest else { return nil }
        let place = oldestPlace
        unlink(place)
        nodes[place].entry = nil
        places[entry.key] = nil
        free.append(place)
        return entry
    }

    /// Lends the value of `key` for change, `initial` when there is none yet; it is the newest afterwards.
    mutating func update<Result>(
        _ key: Key, initial: @autoclosure () -> Value, _ body: (inout Value, _ isNew: Bool) -> Result
    ) -> Result {
        let known = places[key]
        let place: Int
        if let known {
            place = known
            unlink(place)
        } else if let unused = free.popLast() {
            place = unused
        } else {
            place = nodes.count
            nodes.append(Node(entry: nil, newer: Self.none, older: Self.none))
        }
        places[key] = place
        linkAsNewest(place)
        // Taken out for the time of the change: a value that is held twice would be copied.
        var value = nodes[place].entry?.value ?? initial()
        nodes[place].entry = nil
        defer { nodes[place].entry = (key, value) }
        return body(&value, known == nil)
    }

    private mutating func unlink(_ place: Int) {
        let (newer, older) = (nodes[place].newer, nodes[place].older)
        if newer == Self.none { newest = older } else { nodes[newer].older = older }
        if older == Self.none { oldestPlace = newer } else { nodes[older].newer = newer }
    }

    private mutating func linkAsNewest(_ place: Int) {
        nodes[place].newer = Self.none
        nodes[place].older = newest
        if newest != Self.none { nodes[newest].newer = place }
        newest = place
        if oldestPlace == Self.none { oldestPlace = place }
    }
}
