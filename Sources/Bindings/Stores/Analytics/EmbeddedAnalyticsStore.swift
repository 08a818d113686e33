package import Interfaces
package import Observability
internal import Synchronization
package import System

/// The datasets of one tenant.
///
/// Points gather in memory, bounded; one thread writes them. Another one answers queries, one after the other, so that a long
/// one holds up no points. Both start when there is something to do.
package final class EmbeddedAnalyticsStore: Sendable {
    package struct Options: Sendable {
        /// How long a point may be in memory alone.
        package var flushInterval = Duration.milliseconds(500)
        /// What may wait to be written: beyond, points are dropped and counted.
        package var pendingBytesMax = 4 << 20
        package var retention = Duration.seconds(90 * 86_400)
        package var queries = QueryLimits()
        /// Makes operations fail, by name; for tests.
        package var fault: (@Sendable (String) -> Int32?)?

        package init() {}
    }

    private struct State {
        var pending: [SegmentFiles.Name: [UInt8]] = [:]
        var pendingBytes = 0
        var droppedCount = 0
        var isFlushDue = false
        var isClosed = false
        var retention: Duration
        var queryCount = 0
        var writer: BlockingPool?
        var reader: BlockingPool?
    }
    private let clock: any NodeClock
    private let logger: Logger
    private let options: Options
    private let state: Mutex<State>
    /// Used on the writing thread.
    private let files: Mutex<SegmentFiles>

    private static let hourMilliseconds: Int64 = 3_600_000

    /// Opens the store and removes what is too old; blocks.
    package init(
        directory: String, clock: any NodeClock, logger: Logger, options: Options = Options()
    ) throws(SystemError) {
        self.clock = clock
        self.logger = logger
        self.options = options
        try FileTree.makeDirectory(directory, mode: 0o700)
        state = Mutex(State(retention: options.retention))
        files = Mutex(SegmentFiles(directory, fault: options.fault))
        scheduleSweep()
    }

    // MARK: Points

    /// Takes a point of at most the documented size. Returns at once, on any thread.
    package func write(_ point: AnalyticsPoint, to dataset: String) {
        let time = clock.wallTime().milliseconds
        var record: [UInt8] = []
        PointRecord.append(point, milliseconds: time, to: &record)
        let name = SegmentFiles.Name(dataset: dataset, hour: time / Self.hourMilliseconds)
        let mustSchedule = state.withLock { state in
            guard !state.isClosed, state.pendingBytes + record.count <= options.pendingBytesMax else {
                state.droppedCount += 1
                return false
            }
            state.pending[name, default: []] += record
            state.pendingBytes += record.count
            defer { state.isFlushDue = true }
            return !state.isFlushDue
        }
        if mustSchedule { scheduleFlush() }
    }

    private func scheduleFlush() {
        _ = clock.schedule(at: clock.now() + options.flushInterval) { [weak self] in
            guard let self else { return }
            writer.submit { self.flushNow() }
        }
    }

    /// Writes what was taken so far. Durable when it returns, except for what the log says could not be written.
    package func flush() async {
        await writer.run { self.flushNow() }
    }

    private func flushNow() {
        let (batches, droppedCount) = state.withLock { state in
            defer {
                state.pending = [:]
                state.pendingBytes = 0
                state.droppedCount = 0
                state.isFlushDue = false
            }
            return (state.pending, state.droppedCount)
        }
        if droppedCount > 0 {
            logger.log(
                .warning, "data points were dropped: they came faster than the disk takes them",
                [("count", "\(droppedCount)")])
        }
        for (name, records) in batches.sorted(by: { $0.key < $1.key }) {
            let appended: Result<String?, SystemError> = files.withLock { files in
                do throws(SystemError) { return .success(try files.append(records, to: name)) } catch { return .failure(error) }
            }
            switch appended {
            case .success(nil): continue
            case .success(let path?):
                logger.log(
                    .error, "a file of data points is damaged, and was set aside: what is whole of it still answers queries",
                    [("dataset", name.dataset), ("path", path)])
            case .failure(let failure):
                logger.log(.error, "data points can't be written, and wait: \(failure)", [("dataset", name.dataset)])
                keep(records, for: name)
            }
        }
    }

    /// Puts back what could not be written: a full disk may have room later.
    private func keep(_ records: [UInt8], for name: SegmentFiles.Name) {
        let mustSchedule = state.withLock { state in
            state.pending[name] = records + (state.pending[name] ?? [])
            state.pendingBytes += records.count
            defer { state.isFlushDue = true }
            return !state.isFlushDue && !state.isClosed
        }
        if mustSchedule { scheduleFlush() }
    }

    /// Writes what is left. Points that come later are dropped.
    package func close() async {
        state.withLock { $0.isClosed = true }
        if state.withLock({ !$0.pending.isEmpty }) { await flush() }
    }

    /// Forgets what is in memory alone and takes no more, as the end of the process does. For tests.
    func crash() {
        state.withLock { state in
            state.isClosed = true
            state.pending = [:]
            state.pendingBytes = 0
        }
    }

    // MARK: Age

    /// How long points are kept, from now on.
    package func keepPoints(for retention: Duration) { state.withLock { $0.retention = retention } }

    private func scheduleSweep() {
        sweep()
        _ = clock.schedule(at: clock.now() + .seconds(3600)) { [weak self] in
            guard let self else { return }
            writer.submit { self.scheduleSweep() }
        }
    }

    private func sweep() {
        let oldest = clock.wallTime().milliseconds - state.withLock { $0.retention }.wholeMilliseconds
        let failure: SystemError? = files.withLock { files in
            do throws(SystemError) {
                try files.removeSegments(before: oldest / Self.hourMilliseconds)
                return nil
            } catch { return error }
        }
        if let failure { logger.log(.warning, "old data points stay: \(failure)") }
    }

    // MARK: Queries

    /// Answers a query about all points that were written before it.
    ///
    /// - Throws: `SQLError`, with the place in the text.
    package func query(_ text: String) async throws(SQLError) -> SQLAnswer {
        let statement = try SQLParser.parse(text)
        let isFree = state.withLock { state in
            guard state.queryCount < options.queries.waitingMax else { return false }
            state.queryCount += 1
            return true
        }
        guard isFree else { throw SQLError("too many queries are waiting; try again later") }
        defer { state.withLock { $0.queryCount -= 1 } }
        await flush()
        return try await reader.run { () throws(SQLError) in
            let answer: Result<SQLAnswer, SQLError>
            do throws(SQLError) {
                answer = .success(try SQLExecution(self, self.clock, self.options.queries).run(statement))
            } catch { answer = .failure(error) }
            return try answer.get()
        }
    }

    private var writer: BlockingPool {
        state.withLock { state in
            let pool = state.writer ?? BlockingPool(name: "edge-points", threadCount: 1)
            state.writer = pool
            return pool
        }
    }

    var reader: BlockingPool {
        state.withLock { state in
            let pool = state.reader ?? BlockingPool(name: "edge-points-sql", threadCount: 1)
            state.reader = pool
            return pool
        }
    }
}

extension EmbeddedAnalyticsStore: PointSource {
    func datasets() -> [String] { files.withLock { $0.datasets() } }

    func segments(of dataset: String) throws(SystemError) -> [Segment] {
        let result: Result<[Segment], SystemError> = files.withLock { files in
            do throws(SystemError) {
                var segments: [Segment] = []
                for name in files.segments(of: dataset) {
                    let (path, byteCount) = try files.readable(name)
                    segments.append(
                        Segment(path: path, byteCount: byteCount, hour: name.hour, isSetAside: name.isSetAside))
                }
                return .success(segments)
            } catch { return .failure(error) }
        }
        return try result.get()
    }
}

/// A file that a query reads, as far as it went when the query began.
struct Segment {
    var path: String
    var byteCount: Int64
    /// Since 1970.
    var hour: Int64
    /// For its damage.
    var isSetAside = false
}

/// Where a query finds points.
protocol PointSource: Sendable {
    func datasets() -> [String]
    /// Oldest first; empty when there is no such dataset.
    func segments(of dataset: String) throws(SystemError) -> [Segment]
}
