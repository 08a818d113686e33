/// Numbers in the order in which they were last used. All operations take constant time.
package struct RecencyList {
    private var links: [UInt64: (newer: UInt64, older: UInt64)] = [:]
    private var newest = Self.none
    package private(set) var oldest: UInt64?
    private static var none: UInt64 { .max }

    package init() {}

    package mutating func use(_ id: UInt64) {
        guard newest != id else { return }
        remove(id)
        links[id] = (Self.none, newest)
        if newest == Self.none { oldest = id } else { links[newest]?.newer = id }
        newest = id
    }

    package mutating func remove(_ id: UInt64) {
        guard let link = links.removeValue(forKey: id) else { return }
        if link.newer == Self.none { newest = link.older } else { links[link.newer]?.older = link.older }
        if link.older == Self.none {
            oldest = link.newer == Self.none ? nil : link.newer
        } else {
            links[link.older]?.newer = link.newer
        }
    }
}
