internal import Interfaces
internal import Stores
internal import StoresD1
internal import Synchronization
internal import System

/// Databases with a replica each that lags: it answers what a session reads unless the session asks for the primary or has
/// seen more than the replica. Without a session, everything is the primary's.
final class SimulatedD1Store: D1Store {
    private let inner: any D1Store
    private let replicas: any D1ReplicaSource
    private let schedule: SimulationSchedule
    private let lagMax: Duration
    private let clock: any NodeClock
    private let state = Mutex<[String: Replica]>([:])

    private struct Replica {
        let reader: any D1Replica
        /// When it follows the primary next.
        var next: Instant?
    }

    init(
        _ inner: any D1Store, replicas: any D1ReplicaSource, _ schedule: SimulationSchedule,
        _ settings: SimulationSettings, clock: any NodeClock
    ) {
        self.inner = inner
        self.replicas = replicas
        self.schedule = schedule
        lagMax = settings.d1Lag
        self.clock = clock
    }

    var incoming: Budget { inner.incoming }

    func run(_ request: D1Request, on database: String) async throws(D1Failure) -> D1Answer {
        var call = schedule.next(.d1Query)
        do throws(CancellationError) { try await schedule.delay(&call) } catch { throw .closed }
        guard lagMax > .zero, let session = request.session, session != "first-primary" else {
            return try await inner.run(request, on: database)
        }
        let (replica, isDue) = replica(of: database)
        if let answer = try await replica.run(request, following: isDue) {
            schedule.note(call, "is answered by a replica", [("database", database)])
            return answer
        }
        return try await inner.run(request, on: database)
    }

    /// The database's replica, and whether it is to follow the primary before it answers.
    private func replica(of database: String) -> (any D1Replica, isDue: Bool) {
        let now = clock.now()
        let known = state.withLock { $0[database]?.reader } ?? replicas.replica(of: database)
        // A call of the schedule only where one is due: how often a replica is asked must not matter.
        return state.withLock { state in
            var replica = state[database] ?? Replica(reader: known, next: nil)
            let isDue = replica.next.map { now >= $0 } ?? true
            if isDue {
                var lag = schedule.next(.d1Lag)
                let milliseconds = 1 + lag.chance.below(max(1, Int(lagMax.wholeMilliseconds)))
                replica.next = now + .milliseconds(milliseconds)
                schedule.note(lag, "of a replica", [("database", database), ("milliseconds", "\(milliseconds)")])
            }
            state[database] = replica
            return (replica.reader, isDue)
        }
    }

    // MARK: What only the primary does

    func runEach(_ statements: [D1Request.Statement], on database: String) async throws(D1Failure) -> D1Answer {
        try await inner.runEach(statements, on: database)
    }
    var importBytesMax: Int { inner.importBytesMax }
    func runScript(_ texts: [String], on database: String) async throws(D1Failure) {
        try await inner.runScript(texts, on: database)
    }
    func bookmark(of database: String) async throws(D1Failure) -> String { try await inner.bookmark(of: database) }
    func timeTravelInfo(
        of database: String, at point: D1PointInTime?
    ) async throws(D1Failure) -> D1TimeTravelInfo {
        try await inner.timeTravelInfo(of: database, at: point)
    }
    func restore(_ database: String, to point: D1PointInTime) async throws(D1Failure) -> D1Restored {
        try await inner.restore(database, to: point)
    }
    func branch(_ database: String, at point: D1PointInTime?, to target: String) async throws(D1Failure) {
        try await inner.branch(database, at: point, to: target)
    }
    func export(
        _ database: String, _ options: D1DumpOptions, to path: String
    ) async throws(D1Failure) -> D1Exported {
        try await inner.export(database, options, to: path)
    }
    func importFile(_ path: String, into database: String) async throws(D1Failure) -> D1Imported {
        try await inner.importFile(path, into: database)
    }
    func verify(_ database: String) async throws(D1Failure) -> [String] { try await inner.verify(database) }
    func delete(_ database: String) async throws(D1Failure) { try await inner.delete(database) }
    func close() async { await inner.close() }
}
