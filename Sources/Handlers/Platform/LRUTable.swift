/// A dictionary of bounded size: when it is full, the entry that was longest not used makes room. All
/// operations take constant time.
package struct LRUTable<Key: Hashable, Value> {
    private struct Node {
        var key: Key
        var value: Value
        var newer: Int
        var older: Int
    }
    private static var none: Int { -1 }

    private var nodes: [Node] = []
    private var places: [Key: Int] = [:]
    private var newest = Self.none
    private var oldest = Self.none
    package let capacity: Int

    package init(capacity: Int) {
        precondition(capacity > 0, "a table without room is no table")
        self.capacity = capacity
    }

    package var count: Int { places.count }

    /// The value of `key`, without counting as a use.
    package func peek(_ key: Key) -> Value? { places[key].map { nodes[$0].value } }

    /// Lends the value of `key` for change, `initial` when there is none yet; it is the newest afterwards.
    package mutating func update<Result>(
        _ key: Key, initial: @autoclosure () -> Value, _ body: (inout Value) -> Result
    ) -> Result {
        let place: Int
        if let known = places[key] {
            place = known
            unlink(place)
        } else if nodes.count < capacity {
            place = nodes.count
            nodes.append(Node(key: key, value: initial(), newer: Self.none, older: Self.none))
            places[key] = place
        } else {
            place = oldest
            unlink(place)
            places[nodes[place].key] = nil
            nodes[place].key = key
            nodes[place].value = initial()
            places[key] = place
        }
        linkAsNewest(place)
        return body(&nodes[place].value)
    }

    private mutating func unlink(_ place: Int) {
        let (newer, older) = (nodes[place].newer, nodes[place].older)
        if newer == Self.none { newest = older } else { nodes[newer].older = older }
        if older == Self.none { oldest = newer } else { nodes[older].newer = newer }
    }

    private mutating func linkAsNewest(_ place: Int) {
        nodes[place].newer = Self.none
        nodes[place].older = newest
        if newest != Self.none { nodes[newest].newer = place }
        newest = place
        if oldest == Self.none { oldest = place }
    }
}
