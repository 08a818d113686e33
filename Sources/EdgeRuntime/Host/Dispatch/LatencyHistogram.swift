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
    private struct State {
        var sum = LatencyTally()
        var since: Instant?
        var last: (value: Duration, at: Instant)?
    }
    private let state = Mutex(State())
    /// Fewer say little about a 95th percentile; but slow events are few.
    private static let countMin = 20
    private static let collectingMax = Duration.seconds(10)

    /// Takes over what `tally` has counted and empties it.
    func add(_ tally: inout LatencyTally) {
        guard tally.total > 0 else { return }
        state.withLock { state in
            for index in 0..<LatencyTally.bucketCount { state.sum.counts[index] += tally.counts[index] }
            state.sum.total += tally.total
        }
        tally = LatencyTally()
    }

    /// About how long the given part of all events took at most: of the last twenty or more, or of ten seconds if they were
    /// fewer. `nil` when there were none.
    func percentile(_ part: Double, at now: Instant) -> Duration? {
        state.withLock { state in
            let since = state.since ?? now
            state.since = since
            let isDue = now - since >= Self.collectingMax
            if state.sum.total >= Self.countMin || (isDue && state.sum.total > 0) {
                state.last = (state.sum.percentile(part), now)
            } else if isDue {
                state.last = nil
            } else {
                return state.last?.value
            }
            state.sum = LatencyTally()
            state.since = now
            return state.last?.value
        }
    }
}

extension LatencyTally {
    /// Inside a bucket, as if its durations were spread evenly.
    fileprivate func percentile(_ part: Double) -> Duration {
        let wanted = Double(total) * part
        var seen = 0.0
        for index in 0..<Self.bucketCount where counts[index] > 0 {
            let count = Double(counts[index])
            if seen + count >= wanted {
                let upper = Double(UInt64(1) << UInt64(index))
                let lower = index == 0 ? 0 : upper / 2
                return .microseconds(Int64(lower + (upper - lower) * (wanted - seen) / count))
            }
            seen += count
        }
        return .microseconds(1 << Int64(Self.bucketCount))
    }
}
