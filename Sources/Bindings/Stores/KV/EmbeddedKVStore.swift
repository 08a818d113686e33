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

        package init() {
            environment.databasesMax = 1024  // Namespaces of an account: 1,000 (spec: kv, section 1).
        }
    }

    private let environment: LMDBEnvironment
    private let committer: GroupCommitter
    private let expiries: ExpiryIndex
    private let memory: KVMemory
    private let threads: IOThreads
    private let clock: any NodeClock
    private let logger: Logger
    /// Ends with `close`, or when the store is gone.
    private let sweeper = Mutex<Task<Void, Never>?>(nil)

    /// Opens or makes the store in `directory`, whose parent must exist. Blocks for the disk.
    package init(
        directory: String, clock: any NodeClock, logger: Logger, options: Options = Options()
    ) throws {
        environment = try LMDBEnvironment(directory: directory, options: options.environment)
        try environment.requireFormat("kv 1")
        expiries = ExpiryIndex(database: try environment.openDatabase("expiry"))
        committer = GroupCommitter(environment, threadName: "kv-commit", limits: options.commits)
        memory = KVMemory(
            incoming: Budget(options.incomingBytesMax, clock: clock),
            outgoing: Budget(options.outgoingBytesMax, clock: clock))
        threads = IOThreads(count: 2, name: "kv-read")
        self.clock = clock
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

    deinit {
        sweeper.withLock { $0 }?.cancel()
        threads.close()
    }

    /// Finishes the writes that wait, and refuses everything afterwards.
    package func close() async {
        sweeper.withLock { $0 }?.cancel()
        await committer.close()
        threads.close()
    }

    package func openNamespace(_ name: String) throws -> any KVStoreNamespace {
        EmbeddedKVNamespace(
            name: name, keys: KeySpace(database: try environment.openDatabase(Self.databaseName(name))),
            environment: environment, committer: committer, expiries: expiries,
            memory: memory, threads: threads, clock: clock, logger: logger.with("namespace", name))
    }

    private static func databaseName(_ namespace: String) -> String { "namespace/" + namespace }

    /// Frees the space of what has expired. Reads never see a difference.
    package func sweep() async {
        do {
            while true {
                let now = clock.wallTime().seconds
                let due = try environment.read { transaction throws(LMDBError) in
                    try self.expiries.due(at: now, max: 500, transaction)
                }
                if due.isEmpty { return }
                var spaces: [String: KeySpace] = [:]
                for name in Set(due.map(\.namespace)) {
                    spaces[name] = KeySpace(database: try environment.openDatabase(Self.databaseName(name)))
                }
                try await remove(due, spaces)
            }
        } catch is GroupCommitter.Failure {
            // Closing, or too busy: next time.
        } catch {
            logger.log(.error, "kv sweep failed", [("error", "\(error)")])
        }
    }

    private func remove(_ due: [ExpiryIndex.Due], _ spaces: [String: KeySpace]) async throws {
        try await committer.submit { [expiries] transaction in
            for item in due {
                guard let space = spaces[item.namespace] else { continue }
                try expiries.remove(item.entry, transaction)
                // The key may have been put anew since, or its namespace emptied.
                let isSame = try space.withRecord(of: item.key, transaction.reading) {
                    record throws(LMDBError) in
                    RecordHeader(record)?.expiry == item.entry
                }
                if isSame == true { try space.delete(item.key, transaction) }
            }
        }
    }
}
