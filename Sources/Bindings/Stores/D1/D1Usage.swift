internal import Observability
internal import Synchronization
internal import System

/// What the databases of one tenant take together, by their files' paths: how many there are, and their bytes. Histories
/// don't count: they have limits of their own. Our own databases, such as the catalog, count by their bytes alone. Safe on any
/// thread.
final class D1Usage: Sendable {
    private struct State {
        var byteCounts: [String: Int64] = [:]
        var total: Int64 = 0
        var lastWarning: Instant?
    }
    private let limits: D1Limits
    private let clock: any NodeClock
    private let logger: Logger
    private let state: Mutex<State>

    private static let warningPeriod = Duration.seconds(3600)

    /// - Parameter found: The databases that are there.
    init(_ found: [String: Int64], limits: D1Limits, clock: any NodeClock, logger: Logger) {
        self.limits = limits
        self.clock = clock
        self.logger = logger
        state = Mutex(State(byteCounts: found, total: found.values.reduce(0, +)))
    }

    var databaseCount: Int { state.withLock { Self.count($0.byteCounts.keys) } }
    var byteCount: Int64 { state.withLock { $0.total } }

    /// Takes a place for a database, if it has none.
    func register(_ path: String) throws(D1Failure) {
        let isThere = state.withLock { state -> Bool in
            if state.byteCounts[path] != nil { return true }
            guard Self.isOwn(path) || Self.count(state.byteCounts.keys) < limits.databasesMax else { return false }
            state.byteCounts[path] = 0
            return true
        }
        guard isThere else { throw .tooManyDatabases(limits.databasesMax) }
    }

    /// Whether there is room for those of `paths` that aren't there yet. Takes no place.
    func hasRoom(for paths: Set<String>) -> Bool {
        state.withLock { state in
            Self.count(state.byteCounts.keys) + paths.count { state.byteCounts[$0] == nil } <= limits.databasesMax
        }
    }

    /// The bytes of a database's file, as they were noted last.
    func byteCount(of path: String) -> Int64? { state.withLock { $0.byteCounts[path] } }

    private static func count(_ paths: some Sequence<String>) -> Int { paths.count { !isOwn($0) } }

    /// Ours have a slash in their names, and no tenant's has one.
    private static func isOwn(_ path: String) -> Bool {
        (path.split(separator: "/").last ?? "").contains("%2f")
    }

    /// Gives the place of a database that isn't there back.
    func deregister(_ path: String) {
        state.withLock { state in
            if let byteCount = state.byteCounts.removeValue(forKey: path) { state.total -= byteCount }
        }
    }

    /// How large a database may become: its own limit, or what all of them leave it. Writers ask before each transaction, so
    /// those that run at the same moment may go beyond the tenant's limit by what each had left.
    func byteCountMax(of path: String) -> Int64 {
        state.withLock { state in
            let own = state.byteCounts[path] ?? 0
            return min(limits.databaseBytesMax, own + max(0, limits.tenantBytesMax - state.total))
        }
    }

    /// Notes how large a database is.
    func update(_ path: String, _ byteCount: Int64) {
        let now = clock.now()
        let total = state.withLock { state -> Int64? in
            guard let before = state.byteCounts[path], before != byteCount else { return nil }
            state.byteCounts[path] = byteCount
            state.total += byteCount - before
            guard byteCount > before, state.total >= limits.tenantBytesMax - limits.tenantBytesMax / 5,
                state.lastWarning.map({ now - $0 >= Self.warningPeriod }) ?? true
            else { return nil }
            state.lastWarning = now
            return state.total
        }
        guard let total else { return }
        logger.log(
            .warning, "tenant's D1 databases have used \(total * 100 / max(1, limits.tenantBytesMax)) % of their limit",
            [("used", "\(total)"), ("allowed", "\(limits.tenantBytesMax)"), ("grew", path)])
    }
}
