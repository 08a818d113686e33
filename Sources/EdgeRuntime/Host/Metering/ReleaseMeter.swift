internal import Synchronization
internal import System

/// Counts what becomes of a release's requests. Each reactor counts for itself, without locks and without writing to what
/// others write to; whoever wants to know adds that up. Safe on any thread.
package final class ReleaseMeter: Sendable {
    /// By name.
    private let workers: [String: WorkerMeter]
    /// By name: the isolates that have a worker's durable objects. They are known once objects are served by the release.
    private let objects = Mutex<[String: WorkerMeter]>([:])
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

    /// Counts what the durable objects of one of its workers do.
    func objects(of worker: WorkerRuntime) -> WorkerMeter {
        let meter = objects.withLock { objects in
            let meter = objects[worker.name] ?? WorkerMeter(reactorCount: worker.pool.reactorCount)
            objects[worker.name] = meter
            return meter
        }
        meter.add(worker.pool)
        return meter
    }

    /// All that was counted since the release was made, by worker; what isolates did, since their versions were started. The durable
    /// objects of a worker stand beside it, as `NAME (objects)`: they have isolates of their own, of which is counted what they did
    /// since they served the release.
    package func read() -> [String: MeterReading] {
        var readings = workers.mapValues { $0.read() }
        for (name, meter) in objects.withLock({ $0 }) { readings["\(name) (objects)"] = meter.read() }
        return readings
    }

    /// A worker has had messages of a queue, some of which are to come again.
    package func noteMessages(_ count: Int, retried: Int, worker: String) {
        workers[worker]?.noteMessages(count, retried: retried)
    }
}

/// One worker's part of a release.
final class WorkerMeter: Sendable {
    private struct Source {
        let pool: IsolatePool
        /// What its isolates had done before.
        var before = MeterReading()
    }
    private let sources: Mutex<[Source]>
    /// One for each reactor.
    private let lanes: [MeterLane]
    private let messageCount = Atomic<Int64>(0)
    private let messageRetryCount = Atomic<Int64>(0)

    init(_ pools: [IsolatePool]) {
        sources = Mutex(pools.map { Source(pool: $0) })
        lanes = (0..<(pools.first?.reactorCount ?? 0)).map { _ in MeterLane() }
    }

    init(reactorCount: Int) {
        sources = Mutex([])
        lanes = (0..<reactorCount).map { _ in MeterLane() }
    }

    /// Counts what the pool's isolates do from now on, unless it does so already.
    func add(_ pool: IsolatePool) {
        guard !sources.withLock({ $0.contains { $0.pool === pool } }) else { return }
        let source = Source(pool: pool, before: pool.reading())
        sources.withLock { sources in
            if !sources.contains(where: { $0.pool === pool }) { sources.append(source) }
        }
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
        for source in sources.withLock({ $0 }) { reading += source.pool.reading() - source.before }
        return reading
    }
}

/// What one reactor has counted of one worker. Only that reactor's thread writes, so that nothing has to be locked or to be
/// added atomically; any thread reads.
final class MeterLane: Sendable {
    /// With a cache line's room at both ends: what other reactors count lies beside it.
    private let counts = InlineArray<42, Atomic<Int64>> { _ in Atomic(0) }
    private static let room = 8
    /// Made with the first time that is counted: most releases of most tenants have none on most reactors.
    private let buckets = AtomicLazyReference<Buckets>()
    private let callBuckets = AtomicLazyReference<Buckets>()

    private final class Buckets: Sendable {
        let counts = InlineArray<704, Atomic<Int64>> { _ in Atomic(0) }

        /// Reactor thread only.
        func record(from start: Instant, to end: Instant) {
            let microseconds = max(0, end.nanoseconds &- start.nanoseconds) / 1000
            MeterLane.increment(counts[LatencyDistribution.bucket(of: microseconds)])
        }

        func add(to latencies: inout LatencyDistribution) {
            for index in 0..<LatencyDistribution.bucketCount {
                latencies.add(counts[index].load(ordering: .relaxed), to: index)
            }
        }
    }

    init() {
        precondition(
            counts.count == MeterCounter.allCases.count + 2 * Self.room && LatencyDistribution.bucketCount == 704,
            "one place for each")
    }

    /// Reactor thread only.
    func count(_ counter: MeterCounter) { Self.increment(counts[Self.room + counter.rawValue]) }

    /// A handler has begun to answer. Reactor thread only.
    func noteAnswer(status: Int, from start: Instant, to end: Instant) {
        count(.handled)
        if status >= 500 { count(.handlerErrors) }
        (buckets.load() ?? buckets.storeIfNil(Buckets())).record(from: start, to: end)
    }

    /// A call has come to its end. Reactor thread only.
    ///
    /// - Parameter start: `nil`: how long it took tells nothing.
    func noteCall(isError: Bool, from start: Instant?, to end: Instant) {
        count(.calls)
        if isError { count(.callErrors) }
        guard let start else { return }
        (callBuckets.load() ?? callBuckets.storeIfNil(Buckets())).record(from: start, to: end)
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
            reading[counter] += counts[Self.room + counter.rawValue].load(ordering: .acquiring)
        }
        buckets.load()?.add(to: &reading.latencies)
        callBuckets.load()?.add(to: &reading.callLatencies)
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
