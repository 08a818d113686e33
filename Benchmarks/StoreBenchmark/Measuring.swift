internal import Glibc
internal import System

/// What one round did.
struct Sample: Sendable {
    var count: Int
    var duration: Duration
    /// What the whole process used meanwhile.
    var cpu: Duration
    /// Nanoseconds of each operation; empty when they are too short to be timed one by one.
    var nanoseconds: [Int64] = []

    var perSecond: Double { Double(count) * 1e9 / Double(max(1, duration.wholeNanoseconds)) }
    var cpuMicroseconds: Double { Double(cpu.wholeNanoseconds) / 1000 / Double(max(1, count)) }
}

/// The spread of latencies over all rounds.
struct Latencies {
    private let sorted: [Int64]

    init?(_ nanoseconds: [Int64]) {
        guard !nanoseconds.isEmpty else { return nil }
        sorted = nanoseconds.sorted()
    }

    func text(_ percent: Int) -> String {
        let microseconds = Double(sorted[min(sorted.count - 1, sorted.count * percent / 100)]) / 1000
        return microseconds < 100 ? "\(decimal(microseconds)) us" : "\(Int(microseconds)) us"
    }
}

/// One side of a comparison.
struct Side {
    /// The median round's.
    var perSecond: Double
    /// Of one operation, in all threads.
    var cpuMicroseconds: Double
    var latencies: Latencies?

    init(_ samples: [Sample]) {
        perSecond = median(samples.map(\.perSecond))
        cpuMicroseconds = median(samples.map(\.cpuMicroseconds))
        latencies = Latencies(samples.flatMap(\.nanoseconds))
    }
}

struct Comparison {
    let ours: Side
    let theirs: Side
    /// The median of the rounds' ratios, not the ratio of the medians: the machine's speed drifts.
    let ratio: Double

    /// Runs both sides by turns; the first round warms up and doesn't count.
    init(rounds: Int = 5, ours: () async throws -> Sample, theirs: () async throws -> Sample) async throws {
        var pairs: [(Sample, Sample)] = []
        for round in 0...rounds {
            var pair: (Sample?, Sample?) = (nil, nil)
            if round % 2 == 0 { pair.0 = try await ours() }
            pair.1 = try await theirs()
            if round % 2 == 1 { pair.0 = try await ours() }
            if round > 0, let first = pair.0, let second = pair.1 { pairs.append((first, second)) }
        }
        self.ours = Side(pairs.map(\.0))
        self.theirs = Side(pairs.map(\.1))
        ratio = median(pairs.map { $0.0.perSecond / $0.1.perSecond })
    }
}

func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    return sorted.isEmpty ? 0 : sorted[sorted.count / 2]
}

/// Loads of one round.
struct Load {
    let clock: SystemClock
    var duration = Duration.milliseconds(800)

    /// One operation after the other. The clock is read after every `stride` of them, and with more than one
    /// of them there are no latencies.
    func serially(stride: Int = 1, _ operation: (Int) async throws -> Void) async rethrows -> Sample {
        let (start, cpu) = (clock.now(), processCPU())
        var (number, last, nanoseconds) = (0, start, [Int64]())
        while last - start < duration {
            for _ in 0..<stride {
                try await operation(number)
                number += 1
            }
            let now = clock.now()
            if stride == 1 { nanoseconds.append((now - last).wholeNanoseconds) }
            last = now
        }
        return Sample(
            count: number, duration: last - start, cpu: processCPU() - cpu, nanoseconds: nanoseconds)
    }

    /// The same for a peer, whose calls block. No concurrency, no closures that could suspend.
    func blocking(stride: Int = 1, _ operation: (Int) throws -> Void) rethrows -> Sample {
        let (start, cpu) = (clock.now(), processCPU())
        var (number, last, nanoseconds) = (0, start, [Int64]())
        while last - start < duration {
            for _ in 0..<stride {
                try operation(number)
                number += 1
            }
            let now = clock.now()
            if stride == 1 { nanoseconds.append((now - last).wholeNanoseconds) }
            last = now
        }
        return Sample(
            count: number, duration: last - start, cpu: processCPU() - cpu, nanoseconds: nanoseconds)
    }

    /// `lanes` operations in flight, each followed by the next of its lane.
    func concurrently(
        lanes: Int, _ operation: @escaping @Sendable (Int) async throws -> Void
    ) async throws -> Sample {
        let (clock, duration) = (clock, duration)
        let (start, cpu) = (clock.now(), processCPU())
        let nanoseconds = try await withThrowingTaskGroup(of: [Int64].self) { group in
            for lane in 0..<lanes {
                group.addTask {
                    var (number, last, nanoseconds) = (lane, clock.now(), [Int64]())
                    while last - start < duration {
                        try await operation(number)
                        number += lanes
                        let now = clock.now()
                        nanoseconds.append((now - last).wholeNanoseconds)
                        last = now
                    }
                    return nanoseconds
                }
            }
            var all: [Int64] = []
            for try await part in group { all += part }
            return all
        }
        return Sample(
            count: nanoseconds.count, duration: clock.now() - start, cpu: processCPU() - cpu,
            nanoseconds: nanoseconds)
    }
}

/// CPU time of all threads until now.
func processCPU() -> Duration {
    var time = timespec()
    // SAFETY: clock_gettime fills the struct whose address it is given.
    unsafe clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
}

/// Numbers that jump about, the same for both sides.
func scattered(_ number: Int, below limit: Int) -> Int {
    Int(truncatingIfNeeded: (UInt64(number) &* 0x9E37_79B9_7F4A_7C15) >> 33) % limit
}

/// A failure of a peer's library.
struct PeerError: Error, CustomStringConvertible {
    let description: String
}
