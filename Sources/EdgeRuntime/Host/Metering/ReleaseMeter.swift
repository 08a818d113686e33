internal import Synchronization
internal import System

/// Counts what becomes of a release's requests. Each reactor counts for itself, without locks and without writing to what
/// others write to; whoever wants to know adds that up. Safe on any thread.
package final class ReleaseMeter: Sendable {
    /// By name.
    private let workers: [String: WorkerMeter]
    /// What it answered to copies of requests.
    package let shadow = ShadowReport()

    /// - Parameter runtimes: of each worker, the versions that the release has.
    package init(_ runtimes: [WorkerRuntime]) {
        workers = Dictionary(grouping: runtimes, by: \.name).mapValues { versions in
            var pools: [IsolatePool] = []
            for version in versions where !pools.contains(where: { $0 === version.pool }) { pools.append(version.pool) }
            return WorkerMeter(pools)
        }
    }

    subscript(worker: String) -> WorkerMeter? { workers[worker] }

    /// All that was counted since the release was made, by worker; what isolates did, since their versions were started.
    package func read() -> [String: MeterReading] { workers.mapValues { $0.read() } }

    /// A worker has had messages of a queue, some of which are to come again.
    package func noteMessages(_ count: Int, retried: Int, worker: String) {
        workers[worker]?.noteMessages(count, retried: retried)
    }
}

/// One worker's part of a release.
final class WorkerMeter: Sendable {
    private let pools: [IsolatePool]
    /// One for each reactor.
    private let lanes: [MeterLane]
    private let messageCount = Atomic<Int64>(0)
    private let messageRetryCount = Atomic<Int64>(0)

    init(_ pools: [IsolatePool]) {
        self.pools = pools
        lanes = (0..<(pools.first?.reactorCount ?? 0)).map { _ in MeterLane() }
    }

    /// Where the reactor with this number counts.
    func lane(_ index: Int) -> MeterLane? { index < lanes.count ? lanes[index] : nil }

    func noteMessages(_ count: Int, retried: Int) {
        messageCount.wrappingAdd(Int64(count), ordering: .relaxed)
        messageRetryCount.wrappingAdd(Int64(retried), ordering: .relaxed)
    }

    func read() -> MeterReading {
        var reading = MeterReading()
        for lane in lanes { lane.add(to: &reading) }
        reading[.messages] = messageCount.load(ordering: .relaxed)
        reading[.messageRetries] = messageRetryCount.load(ordering: .relaxed)
        for pool in pools { reading += pool.reading() }
        return reading
    }
}

/// What one reactor has counted of one worker. Only that reactor's thread writes, so that nothing has to be locked or to be
/// added atomically; any thread reads.
final class MeterLane: Sendable {
    private let counts = InlineArray<24, Atomic<Int64>> { _ in Atomic(0) }
    /// Made with the first time that is counted: most releases of most tenants have none on most reactors.
    private let buckets = AtomicLazyReference<Buckets>()

    private final class Buckets: Sendable {
        let counts = InlineArray<704, Atomic<Int64>> { _ in Atomic(0) }
    }

    init() {
        precondition(
            counts.count == MeterCounter.allCases.count && LatencyDistribution.bucketCount == 704, "one place for each")
    }

    /// Reactor thread only.
    func count(_ counter: MeterCounter) { Self.increment(counts[counter.rawValue]) }

    /// A handler has begun to answer. Reactor thread only.
    func noteAnswer(status: Int, from start: Instant, to end: Instant) {
        count(.handled)
        if status >= 500 { count(.handlerErrors) }
        let microseconds = max(0, end.nanoseconds &- start.nanoseconds) / 1000
        let buckets = buckets.load() ?? buckets.storeIfNil(Buckets())
        Self.increment(buckets.counts[LatencyDistribution.bucket(of: microseconds)])
    }

    /// An answer has been sent. Reactor thread only.
    func noteEnd(status: Int) {
        count(.finished)
        switch status {
        case ..<200: count(.status1xx)
        case ..<300: count(.status2xx)
        case ..<400: count(.status3xx)
        case ..<500: count(.status4xx)
        default: count(.status5xx)
        }
    }

    private static func increment(_ count: borrowing Atomic<Int64>) {
        count.store(count.load(ordering: .relaxed) &+ 1, ordering: .relaxed)
    }

    func add(to reading: inout MeterReading) {
        // Backwards: what has ended was counted as started before.
        for counter in MeterCounter.allCases.reversed() {
            reading[counter] += counts[counter.rawValue].load(ordering: .acquiring)
        }
        guard let buckets = buckets.load() else { return }
        for index in 0..<LatencyDistribution.bucketCount {
            reading.latencies.add(buckets.counts[index].load(ordering: .relaxed), to: index)
        }
    }
}

extension EdgeError {
    /// What it counts as when it is given in a worker's place; `nil`: it tells nothing of the worker's code.
    var counter: MeterCounter? {
        switch self {
        case .exception: .exceptions
        case .exceededLimits: .exceededLimits
        case .noIsolate: .noIsolate
        case .wallTime: .timedOut
        case .origin: .otherErrors
        case .rateLimited, .dailyLimit, .unknownHost, .noRoute, .shuttingDown, .releaseEnded, .storesHeld, .badRequest,
            .bodyTooLarge, .requestTimeout, .loop:
            nil
        }
    }
}
