/// Times in microseconds, counted in buckets that are at most one 32nd as wide as the times in them: what is read from it is
/// right to about 3 % between 64 µs and 67 s, and to the microsecond below. Two of them differ by what came in between.
package struct LatencyDistribution: Equatable, Sendable {
    /// From the shortest up; without the empty ones at the end.
    private var counts: [Int64] = []
    package private(set) var count: Int64 = 0

    static let bucketCount = 704
    private static let longest = UInt64(1) << 26 - 1

    package init() {}

    static func bucket(of microseconds: Int64) -> Int {
        let value = min(UInt64(max(0, microseconds)), longest)
        let shift = max(0, 58 - value.leadingZeroBitCount)
        return shift * 32 + Int(value >> UInt64(shift))
    }

    /// The shortest time that is beyond the bucket.
    static func end(of bucket: Int) -> Int64 {
        let shift = max(0, bucket / 32 - 1)
        return Int64(bucket - shift * 32 + 1) << Int64(shift)
    }

    package mutating func record(microseconds: Int64, count: Int64 = 1) { add(count, to: Self.bucket(of: microseconds)) }

    mutating func add(_ count: Int64, to bucket: Int) {
        guard count != 0 else { return }
        while counts.count <= bucket { counts.append(0) }
        counts[bucket] += count
        self.count += count
    }

    /// The time within which the given part of all lie, in microseconds; `nil` when there are none.
    package func percentile(_ part: Double) -> Double? {
        guard count > 0 else { return nil }
        let wanted = max(1, (Double(count) * part).rounded(.up))
        var seen = 0.0
        for (index, inBucket) in counts.enumerated() where inBucket > 0 {
            let inBucket = Double(inBucket)
            if seen + inBucket >= wanted {
                let (first, end) = (Double(index == 0 ? 0 : Self.end(of: index - 1)), Double(Self.end(of: index)))
                // As if they were spread evenly within it.
                return first + (end - first) * (wanted - seen) / inBucket
            }
            seen += inBucket
        }
        return nil
    }

    /// How many took longer, as far as buckets tell.
    package func count(above microseconds: Double) -> Int64 {
        var seen: Int64 = 0
        for (index, inBucket) in counts.enumerated().reversed() {
            let (first, end) = (Double(index == 0 ? 0 : Self.end(of: index - 1)), Double(Self.end(of: index)))
            guard first < microseconds else {
                seen += inBucket
                continue
            }
            if end > microseconds {
                seen += Int64((Double(inBucket) * (end - microseconds) / (end - first)).rounded())
            }
            break
        }
        return seen
    }

    package static func += (a: inout LatencyDistribution, b: LatencyDistribution) {
        for (index, count) in b.counts.enumerated() { a.add(count, to: index) }
    }

    package static func - (a: LatencyDistribution, b: LatencyDistribution) -> LatencyDistribution {
        var difference = a
        for (index, count) in b.counts.enumerated() { difference.add(-count, to: index) }
        while difference.counts.last == 0 { difference.counts.removeLast() }
        return difference
    }
}
