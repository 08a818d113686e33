internal import Synchronization
internal import System

/// Durations in powers of two of a microsecond, counted by one thread until it hands them to a `LatencyHistogram`: threads
/// that counted in one place would spend more on that than on the counting.
struct LatencyTally {
    static let bucketCount = 32
    fileprivate var counts = InlineArray<32, Int>(repeating: 0)
    fileprivate var total = 0

    mutating func record(from start: Instant, to end: Instant) {
        let microseconds = UInt64(max(0, end.nanoseconds &- start.nanoseconds)) / 1000
        counts[min(Self.bucketCount - 1, UInt64.bitWidth - microseconds.leadingZeroBitCount)] += 1
        total += 1
    }
}

/// What all threads have counted. Safe on any thread.
final class LatencyHistogram: Sendable {
    private let sum = Mutex(LatencyTally())

    /// Takes over what `tally` has counted and empties it.
    func add(_ tally: inout LatencyTally) {
        guard tally.total > 0 else { return }
        sum.withLock { sum in
            for index in 0..<LatencyTally.bucketCount { sum.counts[index] += tally.counts[index] }
            sum.total += tally.total
        }
        tally = LatencyTally()
    }

    /// The upper bound of the bucket that holds the given part of all durations since the last call, and forgets them.
    /// `nil` when there are fewer than twenty.
    func takePercentile(_ part: Double) -> Duration? {
        let taken = sum.withLock { sum in
            defer { sum = LatencyTally() }
            return sum
        }
        guard taken.total >= 20 else { return nil }
        var seen = 0
        for index in 0..<LatencyTally.bucketCount {
            seen += taken.counts[index]
            if Double(seen) >= Double(taken.total) * part { return .microseconds(1 << index) }
        }
        return nil
    }
}
