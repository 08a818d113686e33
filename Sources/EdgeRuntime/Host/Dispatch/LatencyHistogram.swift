internal import Synchronization

/// Counts durations in powers of two of a microsecond, from any thread, without a lock.
final class LatencyHistogram: Sendable {
    private let buckets: [Bucket] = (0..<32).map { _ in Bucket() }

    private final class Bucket: Sendable {
        let count = Atomic<Int>(0)
    }

    func record(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        let microseconds = UInt64(max(0, seconds)) &* 1_000_000 &+ UInt64(max(0, attoseconds) / 1_000_000_000_000)
        let index = min(31, UInt64.bitWidth - microseconds.leadingZeroBitCount)
        buckets[index].count.wrappingAdd(1, ordering: .relaxed)
    }

    /// The upper bound of the bucket that holds the given part of all durations since the last call, and forgets them.
    /// `nil` when there are fewer than twenty.
    func takePercentile(_ part: Double) -> Duration? {
        let counts = buckets.map { $0.count.exchange(0, ordering: .relaxed) }
        let total = counts.reduce(0, +)
        guard total >= 20 else { return nil }
        var seen = 0
        for (index, count) in counts.enumerated() {
            seen += count
            if Double(seen) >= Double(total) * part { return .microseconds(1 << index) }
        }
        return nil
    }
}
