internal import Synchronization

/// Ends what runs on the connections of one database, once per call of `cancel`. Safe on any thread.
final class D1Cancellation: Sendable {
    private let count = Atomic<UInt64>(0)

    /// Changes when what runs now is to end.
    var current: UInt64 { count.load(ordering: .relaxed) }

    func cancel() { count.add(1, ordering: .relaxed) }
}
