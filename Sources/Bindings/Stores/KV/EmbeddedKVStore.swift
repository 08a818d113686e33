internal import Interfaces
package import LMDB
package import Observability
internal import Stores
internal import Synchronization
package import System

/// The embedded engine: one LMDB environment for a tenant, one database in it for each namespace.
///
/// Any thread may call it. Reads run in place; writes wait in the group commit's queue.
package final class EmbeddedKVStore: KVStore {
    package struct Options: Sendable {
        package var environment = LMDBEnvironment.Options()
        package var commits = GroupCommitter.Limits()
        /// How often what has expired is removed from the disk. It is invisible before.
        package var sweepInterval = Duration.seconds(60)
        /// Values on their way in, and values on their way out: what one tenant may have of each in the node's
        /// memory. Five of the largest.
        package var incomingBytesMax = 5 * KVLimits.valueByteCountMax
        package var outgoingBytesMax = 5 * KVLimits.valueByteCountMax
        package var quotas = KVQuotas()
        /// Whether a key may be written once a second only, as in the product.
        package var limitsWriteRate = false
        package var pages = Pages.full

        package init() {
            // Namespaces of an account: 1,000 (spec: kv, section 1), and the store's own.
            environment.databasesMax = KVLimits.namespacesMax + 24
        }
    }

    /// How many keys a page of a listing has, of those that it could have.
    package enum Pages: Sendable {
        case full
        /// For tests of clients: pages end early, and every other one is empty, as the product's may be. Who goes on until
        /// `list_complete` sees all keys.
        case short
    }

    private static let format = "kv 2"
    /// `kv 1` had neither catalog nor accounts.
    private static let olderFormats = ["kv 1"]

    let engine: KVEngine
    let logger: Logger
    /// Ends with `close`, or when the store is gone.
    private let sweeper = Mutex<Task<Void, Never>?>(nil)

    /// Opens or makes the store in `directory`, whose parent must exist. Blocks for the disk.
    package init(
        directory: String, clock: any NodeClock, logger: Logger, options: Options = Options()
    ) throws {
        let environment = try LMDBEnvironment(directory: directory, options: options.environment)
        let catalog = KVCatalog(database: try environment.openDatabase("catalog"))
        try Self.upgrade(environment, catalog, clock)
        let expiries = ExpiryIndex(database: try environment.openDatabase("expiry"))
        engine = try KVEngine(
            environment: environment,
            committer: GroupCommitter(environment, threadName: "kv-commit", limits: options.commits),
            tables: KVTables(catalog: catalog, expiries: expiries, quotas: options.quotas),
            memory: KVMemory(
                incoming: Budget(options.incomingBytesMax, clock: clock),
                outgoing: Budget(options.outgoingBytesMax, clock: clock)),
            threads: IOThreads(count: 2, name: "kv-read"), clock: clock, pages: options.pages,
            rate: options.limitsWriteRate ? WriteRate(clock: clock) : nil)
        self.logger = logger
        let interval = options.sweepInterval
        let task = Task { [weak self, clock] in
            while !Task.isCancelled {
                guard (try? await clock.sleep(for: interval)) != nil, let self else { return }
                await self.sweep()
            }
        }
        sweeper.withLock { $0 = task }
    }

    /// Enters namespaces of the older format into the catalog, and counts what they have.
    private static func upgrade(_ environment: LMDBEnvironment, _ catalog: KVCatalog, _ clock: any NodeClock) throws {
        var spaces: [(name: String, keys: KeySpace)] = []
        for name in try environment.databaseNames() where name.hasPrefix(KVCatalog.databasePrefix) {
            let keys = KeySpace(database: try environment.openDatabase(name))
            spaces.append((String(name.dropFirst(KVCatalog.databasePrefix.count)), keys))
        }
        let now = clock.wallTime().milliseconds
        try environment.requireFormat(format, upgradingFrom: olderFormats) { transaction in
            var total = KVUsage()
            for (name, keys) in spaces {
                let entry = KVCatalog.Entry(
                    id: KVCatalog.makeID(), title: name, firstTitle: name, space: name, createdAt: now)
                let usage = try keys.usage(transaction.reading)
                try catalog.put(entry, transaction)
                try catalog.setUsage(usage, of: entry.id, transaction)
                total = total + usage
            }
            try catalog.setUsage(total, of: nil, transaction)
        }
    }

    deinit {
        sweeper.withLock { $0 }?.cancel()
        engine.threads.close()
    }

    /// Finishes the writes that wait, and refuses everything afterwards.
    package func close() async {
        sweeper.withLock { $0 }?.cancel()
        await writeDayReads()
        await engine.committer.close()
        engine.threads.close()
    }

    package func openNamespace(_ name: String) throws -> any KVStoreNamespace {
        let catalog = engine.tables.catalog
        let found = try engine.environment.read { transaction throws(LMDBError) in try catalog.find(name, transaction) }
        return try open(found ?? create(name, orTake: true))
    }

    func open(_ entry: KVCatalog.Entry) throws(LMDBError) -> EmbeddedKVNamespace {
        EmbeddedKVNamespace(try engine.open(entry), engine, logger: logger.with("namespace", entry.title))
    }

    /// - Parameter orTake: Whether one of that name that has come meanwhile is as good. Blocks as a write does.
    func create(_ title: String, orTake: Bool) throws -> KVCatalog.Entry {
        guard KVCatalog.isTitle(title) else { throw KVAdministrationError.badTitle }
        let (catalog, id, now) = (engine.tables.catalog, KVCatalog.makeID(), engine.clock.wallTime().milliseconds)
        return try engine.environment.write { transaction in
            if let present = try catalog.entry(titled: title, transaction.reading) {
                guard orTake else { throw KVAdministrationError.titleTaken }
                return present
            }
            guard try catalog.all(transaction.reading).count < KVLimits.namespacesMax else {
                throw KVAdministrationError.tooManyNamespaces
            }
            return try catalog.insert(title: title, id: id, createdAt: now, transaction)
        }
    }

    // MARK: Sweeping

    private static let sweepMax = 500

    /// Frees the space of what has expired. Reads never see a difference.
    package func sweep() async {
        await writeDayReads()
        do {
            while true {
                let now = engine.now
                let (expiries, catalog) = (engine.tables.expiries, engine.tables.catalog)
                let (due, entries) = try engine.environment.read { transaction throws(LMDBError) in
                    let due = try expiries.due(at: now, max: Self.sweepMax, transaction)
                    var entries: [KVCatalog.Entry] = []
                    for space in Set(due.compactMap { $0.target?.space }) {
                        guard let id = try catalog.owner(ofSpace: space, transaction) else { continue }
                        if let entry = try catalog.entry(id, transaction) { entries.append(entry) }
                    }
                    return (due, entries)
                }
                if due.isEmpty { return }
                var spaces: [String: KVNamespaceState] = [:]
                for entry in entries { spaces[entry.space] = try engine.open(entry) }
                let known = spaces
                let removedCount = try await engine.committer.submit { [engine] transaction in
                    try engine.tables.sweep(at: now, max: Self.sweepMax, spaces: known, transaction)
                }
                // What is left belongs to nobody known: `verify` names it.
                if removedCount == 0 { return }
            }
        } catch is GroupCommitter.Failure {
            // Closing, or too busy: next time.
        } catch {
            logger.log(.error, "kv sweep failed", [("error", "\(error)")])
        }
    }

    private func writeDayReads() async {
        guard let counts = engine.days.takeChanged() else { return }
        let catalog = engine.tables.catalog
        do {
            try await engine.committer.submit { try catalog.setCounts(.reads, counts, $0) }
        } catch {
            logger.log(.error, "what was read today is not written", [("error", "\(error)")])
        }
    }
}
