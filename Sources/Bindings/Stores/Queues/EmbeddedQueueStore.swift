internal import Interfaces
package import LMDB
package import Observability
internal import Synchronization
package import System

/// The embedded engine: one LMDB environment for all queues of a tenant.
package final class EmbeddedQueueStore: QueueStore {
    package struct Options: Sendable {
        package var environment = LMDBEnvironment.Options()
        package var commits = GroupCommitter.Limits()
        package var quota = QueueQuota()
        /// How often messages older than their queue's retention are removed.
        package var sweepInterval = Duration.seconds(60)

        package init() { environment.databasesMax = 16 }
    }

    let environment: LMDBEnvironment
    let committer: GroupCommitter
    let tables: QueueTables
    let clock: any NodeClock
    let logger: Logger
    let quota: QueueQuota
    let rates: SendRates
    let lapses: LapseTimers
    /// Queues whose senders were told that the product may refuse their delays.
    let warned = Mutex<Set<String>>([])
    private let observers = Mutex<[@Sendable (String) -> Void]>([])
    private let consumerObservers = Mutex<[@Sendable () -> Void]>([])
    /// Ends with `close`, or when the store is gone.
    private let sweeper = Mutex<Task<Void, Never>?>(nil)

    /// Opens or makes the store in `directory`, whose parent must exist, and takes back what workers of an
    /// earlier node had leased. Blocks for the disk.
    package init(
        directory: String, clock: any NodeClock, logger: Logger, options: Options = Options()
    ) throws {
        environment = try LMDBEnvironment(directory: directory, options: options.environment)
        let tables: QueueTables
        do {
            let now = clock.wallTime().milliseconds
            let (format, older) = ("queues 2", "queues 1")
            try environment.checkFormat([format, older])
            let opened = try QueueTables(environment)
            try environment.requireFormat(format, upgradingFrom: [older]) { transaction in
                try opened.upgrade(at: now, transaction)
            }
            tables = opened
            try tables.restoreAges(in: environment)
        } catch {
            environment.close()
            throw error
        }
        self.tables = tables
        committer = GroupCommitter(environment, threadName: "queue-commit", limits: options.commits)
        self.clock = clock
        self.logger = logger
        quota = options.quota
        rates = SendRates(clock)
        lapses = LapseTimers(clock)
        let unfinished = try takeUp()
        lapses.start { [weak self] queue in
            // Owned by nobody: it ends with one transaction, or finds the store closed.
            Task { [weak self] in await self?.endLapsedLeases(of: queue) }
        }
        let interval = options.sweepInterval
        let task = Task { [weak self, clock] in
            for queue in unfinished { await self?.takeUpPurge(of: queue) }
            while !Task.isCancelled {
                guard (try? await clock.sleep(for: interval)) != nil, let self else { return }
                await self.sweep()
            }
        }
        sweeper.withLock { $0 = task }
    }

    deinit { sweeper.withLock { $0 }?.cancel() }

    /// Finishes the changes that wait, and refuses everything afterwards.
    package func close() async {
        sweeper.withLock { $0 }?.cancel()
        lapses.stop()
        await committer.close()
    }

    /// Takes back the leases of workers, and takes up what else the queues had going on.
    ///
    /// - Returns: queues whose purge was interrupted.
    private func takeUp() throws -> [String] {
        let names = try environment.read { transaction throws(LMDBError) in try tables.names(transaction) }
        var unfinished: [String] = []
        for name in names {
            var isDone = false
            while !isDone {
                // Some at a time: a transaction has a limit.
                isDone = try environment.write { [tables, logger] transaction in
                    guard let queue = try tables.queue(name, transaction.reading) else { return true }
                    let leased = try tables.entries(
                        tables.leases, of: queue, times: MessageRow.noEnd...MessageRow.noEnd, max: 1000,
                        transaction.reading)
                    for entry in leased {
                        guard let old = try tables.readableMessage(entry.sequence, of: queue, transaction.reading),
                            old.leasedUntil == MessageRow.noEnd
                        else {
                            logger.log(
                                .error, "a lease is damaged and given up: message number \(entry.sequence) doesn't have it",
                                [("queue", name)])
                            try transaction.delete(
                                QueueTables.key(queue, entry.time, entry.sequence), in: tables.leases)
                            continue
                        }
                        var message = old
                        message.leasedUntil = nil
                        message.lease = 0
                        try tables.update(entry.sequence, from: old, to: message, in: queue, transaction)
                    }
                    return leased.count < 1000
                }
            }
            let (row, lapse) = try environment.read { transaction throws(LMDBError) in
                let row = try tables.queue(name, transaction)
                return (
                    row,
                    try row.flatMap { row throws(LMDBError) in
                        try tables.nextLapse(of: row, after: 0, transaction)
                    }
                )
            }
            guard let row else { continue }
            rates.setLimit(row.settings.messagesPerSecondMax, of: name)
            if let lapse { lapses.arm(name, at: lapse) }
            if row.purgeEnd != nil { unfinished.append(name) }
        }
        return unfinished
    }

    package func onReady(_ notify: @escaping @Sendable (_ queue: String) -> Void) {
        observers.withLock { $0.append(notify) }
    }

    package func onConsumerChange(_ notify: @escaping @Sendable () -> Void) {
        consumerObservers.withLock { $0.append(notify) }
    }

    // MARK: Inside

    func notifyOfConsumers() {
        let observers = consumerObservers.withLock { $0 }
        for observer in observers { observer() }
    }

    func notify(_ queues: [String]) {
        let observers = observers.withLock { $0 }
        for queue in queues { for observer in observers { observer(queue) } }
    }

    /// Says what a step ended that nobody asked for.
    func report(_ step: QueueStep, _ queue: String) {
        for fault in step.faults {
            logger.log(.error, "a message is damaged and set aside: \(fault)", [("queue", queue)])
        }
        let settlement = step.settlement
        if settlement.droppedCount > 0 {
            logger.log(
                .warning, "messages dropped after their last attempt",
                [("queue", queue), ("count", "\(settlement.droppedCount)")])
        }
        if settlement.deadLetteredCount > 0, let target = step.deadLetterQueue {
            logger.log(
                .warning, "messages moved to the dead letter queue",
                [
                    ("queue", queue), ("dead_letter_queue", target),
                    ("count", "\(settlement.deadLetteredCount)"),
                ])
            notify([target])
        }
    }

    static func require(
        _ name: String, _ tables: QueueTables, _ transaction: borrowing LMDBReadTransaction
    ) throws -> QueueRow {
        guard let queue = try tables.queue(name, transaction) else { throw QueueError.noSuchQueue(name) }
        return queue
    }

    func read<Value>(
        _ queue: String,
        _ body: (QueueRow, borrowing LMDBReadTransaction) throws(LMDBError) -> Value
    ) throws(QueueError) -> Value {
        let value: Value?
        do throws(LMDBError) {
            value = try environment.read { transaction throws(LMDBError) -> Value? in
                guard let row = try tables.queue(queue, transaction) else { return nil }
                return try body(row, transaction)
            }
        } catch { throw failed("read", error) }
        guard let value else { throw .noSuchQueue(queue) }
        return value
    }

    func commit<Value: Sendable>(
        _ operation: String, byteCount: Int = 0,
        _ body: @escaping @Sendable (borrowing LMDBWriteTransaction) throws -> Value
    ) async throws(QueueError) -> Value {
        do {
            return try await committer.submit(byteCount: byteCount, body)
        } catch let error as QueueError {
            throw error
        } catch let failure as CallFailure {
            throw .refused(failure)
        } catch GroupCommitter.Failure.overloaded {
            throw .overloaded
        } catch {
            throw failed(operation, error)
        }
    }

    func failed(_ operation: String, _ error: any Error) -> QueueError {
        logger.log(.error, "queue \(operation) failed", [("error", "\(error)")])
        return .failed
    }
}
