internal import Interfaces
internal import LMDB
internal import Observability
internal import Stores
internal import Synchronization
internal import System

/// What all namespaces of one tenant share.
final class KVEngine: Sendable {
    let environment: LMDBEnvironment
    let committer: GroupCommitter
    let tables: KVTables
    let memory: KVMemory
    let threads: IOThreads
    let clock: any NodeClock
    let pages: EmbeddedKVStore.Pages
    /// `nil`: keys may be written as often as one likes.
    let rate: WriteRate?
    let days: DayReads
    /// The namespaces that are open, by their space.
    private let spaces = Mutex<[String: KVNamespaceState]>([:])

    init(
        environment: LMDBEnvironment, committer: GroupCommitter, tables: KVTables, memory: KVMemory, threads: IOThreads,
        clock: any NodeClock, pages: EmbeddedKVStore.Pages, rate: WriteRate?
    ) throws(LMDBError) {
        self.environment = environment
        self.committer = committer
        self.tables = tables
        self.memory = memory
        self.threads = threads
        self.clock = clock
        self.pages = pages
        self.rate = rate
        let second = clock.wallTime().seconds
        let counts = try environment.read { transaction throws(LMDBError) in
            try tables.catalog.counts(.reads, at: second, transaction)
        }
        days = DayReads(counts, quotas: tables.quotas, clock: clock)
    }

    /// Seconds since 1970.
    var now: Int64 { clock.wallTime().seconds }

    var openSpaces: [String: KVNamespaceState] { spaces.withLock { $0 } }

    /// The state of a namespace that the catalog has. Blocks when it is opened for the first time.
    func open(_ entry: KVCatalog.Entry) throws(LMDBError) -> KVNamespaceState {
        func known() -> KVNamespaceState? {
            spaces.withLock { spaces in spaces[entry.space].flatMap { $0.entry.id == entry.id ? $0 : nil } }
        }
        if let state = known() { return state }
        let database = try environment.openDatabase(KVCatalog.databaseName(entry.space))
        return spaces.withLock { spaces in
            // Another may have been faster: all must share one state.
            if let state = spaces[entry.space], state.entry.id == entry.id { return state }
            let state = KVNamespaceState(entry, KeySpace(database: database))
            spaces[entry.space] = state
            return state
        }
    }

    func forget(_ state: KVNamespaceState) {
        spaces.withLock { spaces in
            if spaces[state.entry.space] === state { spaces[state.entry.space] = nil }
        }
    }
}

/// What was read on the present day, for quotas that count reads; in memory, so that a read needs no write.
final class DayReads: Sendable {
    private let quotas: KVQuotas
    private let clock: any NodeClock
    private let state: Mutex<(counts: DayCounts, isChanged: Bool)>

    init(_ counts: DayCounts, quotas: KVQuotas, clock: any NodeClock) {
        self.quotas = quotas
        self.clock = clock
        state = Mutex((counts, false))
    }

    func count(_ operation: DayCounts.Operation, _ count: Int) throws(KVError) {
        guard let max = quotas.max(operation) else { return }
        let second = clock.wallTime().seconds
        let isTaken = state.withLock { state in
            if state.counts.day != DayCounts.day(second) { state.counts = DayCounts(second: second) }
            guard state.counts[operation] + count <= max else { return false }
            state.counts[operation] += count
            state.isChanged = true
            return true
        }
        guard isTaken else { throw .dayFull }
    }

    /// What has to be written, if anything.
    func takeChanged() -> DayCounts? {
        state.withLock { state in
            defer { state.isChanged = false }
            return state.isChanged ? state.counts : nil
        }
    }
}
