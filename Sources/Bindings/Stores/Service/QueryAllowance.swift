internal import Synchronization

/// How many D1 queries one event may still make; each statement of a batch is one. Safe on any thread.
package final class QueryAllowance: Sendable {
    package let total: Int
    private let left: Atomic<Int>

    package init(_ count: Int) {
        total = count
        left = Atomic(count)
    }

    package var used: Int { total - left.load(ordering: .relaxed) }

    /// Takes `count` queries; false, and nothing taken, when there are not so many left.
    package func take(_ count: Int) -> Bool {
        var present = left.load(ordering: .relaxed)
        while count <= present {
            let (isExchanged, found) = left.compareExchange(
                expected: present, desired: present - count, ordering: .relaxed)
            if isExchanged { return true }
            present = found
        }
        return false
    }
}
