package import Interfaces
package import LMDB
package import Observability
internal import Synchronization
package import System

/// The embedded engine: one LMDB environment for all queues of a tenant.
package final class EmbeddedQueueStore: QueueStore {
    package struct Options: Sendable {
        package var environment = LMDBEnvironment.Options()
        package var commits = GroupCommitter.Limits()
        /// How often messages older than their queue's retention are removed.
        package var sweepInterval = Duration.seconds(60)

        package init() { environment.databasesMax = 8 }
    }

    private let environment: LMDBEnvironment
    private let committer: GroupCommitter
    private let tables: QueueTables
    private let clock: any NodeClock
    private let logger: Logger
    private let observers = Mutex<[@Sendable (String) -> Void]>([])
    /// Ends with `close`, or when the store is gone.
    private let sweeper = Mutex<Task<Void, Never>?>(nil)

    /// Opens or makes the store in `directory`, whose parent must exist, and takes back what workers of an
    /// earlier node had leased. Blocks for the disk.
    package init(
        directory: String, clock: any NodeClock, logger: Logger, options: Options = Options()
    ) throws {
        environment = try LMDBEnvironment(directory: directory, options: options.environment)
        try environment.requireFormat("queues 1")
        tables = try QueueTables(environment)
        try tables.restoreAges(in: environment)
        committer = GroupCommitter(environment, threadName: "queue-commit", limits: options.commits)
        self.clock = clock
        self.logger = logger
        try takeBackLeases()
        let interval = options.sweepInterval
        let task = Task { [weak self, clock] in
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
        await committer.close()
    }

    private func takeBackLeases() throws {
        try environment.write { [tables] transaction in
            for name in try tables.names(transaction.reading) {
                guard let queue = try tables.queue(name, transaction.reading) else { continue }
                let leased = try tables.entries(
                    tables.leases, of: queue, times: MessageRow.noEnd...MessageRow.noEnd, max: .max,
                    transaction.reading)
                for entry in leased {
                    guard let old = try tables.message(entry.sequence, of: queue, transaction.reading) else {
                        continue
                    }
                    var message = old
                    message.leasedUntil = nil
                    message.lease = 0
                    try tables.update(entry.sequence, from: old, to: message, in: queue, transaction)
                }
            }
        }
    }

    // MARK: Queues

    package func openQueue(_ name: String, settings: QueueSettings?) async throws(QueueError) {
        guard Self.isQueueName(name) else {
            throw .refused(QueueLimits.failure("invalid queue name \"\(name)\"", 11003))
        }
        try await commit("open queue") { [tables] transaction in
            if var queue = try tables.queue(name, transaction.reading) {
                guard let settings, settings != queue.settings else { return }
                queue.settings = settings
                try tables.save(queue, name, transaction)
            } else {
                _ = try tables.makeQueue(name, settings ?? QueueSettings(), transaction)
            }
        }
        notify([name])
    }

    /// Letters, digits, inner hyphens; at most 63 (spec: queues, section 1).
    package static func isQueueName(_ name: String) -> Bool {
        let bytes = Array(name.utf8)
        let hyphen = UInt8(ascii: "-")
        return (1...63).contains(bytes.count) && bytes.first != hyphen && bytes.last != hyphen
            && bytes.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == hyphen }
    }

    package func deleteQueue(_ name: String) async throws(QueueError) {
        var isGone = false
        while !isGone {
            isGone = try await commit("delete queue") { [tables] transaction in
                var queue = try Self.require(name, tables, transaction.reading)
                let rest = try tables.first(of: queue, max: 1000, transaction.reading)
                for (sequence, message) in rest {
                    try tables.remove(sequence, message, from: &queue, transaction)
                }
                if rest.count < 1000 {
                    try tables.removeQueue(name, transaction)
                    return true
                }
                try tables.save(queue, name, transaction)
                return false
            }
        }
    }

    package func settings(of queue: String) throws(QueueError) -> QueueSettings {
        try read(queue) { row, _ throws(LMDBError) in row.settings }
    }

    package func metrics(of queue: String) throws(QueueError) -> QueueMetrics {
        try read(queue) { row, transaction throws(LMDBError) in try tables.metrics(row, transaction) }
    }

    package func purge(_ queue: String) async throws(QueueError) {
        var end: UInt64?
        while true {
            let bound = end
            let (isDone, next) = try await commit("purge") { [tables] transaction in
                var row = try Self.require(queue, tables, transaction.reading)
                let bound = bound ?? row.nextSequence
                let rest = try tables.first(of: row, max: 1000, transaction.reading)
                    .filter { $0.sequence < bound }
                for (sequence, message) in rest {
                    try tables.remove(sequence, message, from: &row, transaction)
                }
                try tables.save(row, queue, transaction)
                return (rest.count < 1000, bound)
            }
            if isDone { return }
            end = next
        }
    }

    package func onReady(_ notify: @escaping @Sendable (_ queue: String) -> Void) {
        observers.withLock { $0.append(notify) }
    }

    // MARK: Producers

    package func send(
        _ messages: [QueueSendMessage.Item], form: QueueLimits.Form, to queue: String
    ) async throws(QueueError) -> QueueMetrics {
        do throws(CallFailure) {
            try QueueLimits.check(bodyByteCounts: messages.map(\.body.count), form)
            for message in messages { try QueueLimits.check(delaySeconds: message.delaySeconds) }
        } catch { throw .refused(error) }
        let ids = messages.map { _ in Self.makeID() }
        let byteCount = messages.reduce(0) { $0 + $1.body.count }
        let metrics = try await commit("send", byteCount: byteCount) { [tables, clock] transaction in
            var row = try Self.require(queue, tables, transaction.reading)
            let now = clock.wallTime().milliseconds
            for (message, id) in zip(messages, ids) {
                let delay = message.delaySeconds ?? row.settings.deliveryDelaySeconds
                try tables.append(
                    MessageRow(
                        id: id, timestamp: now, arrival: now, contentType: message.contentType,
                        bodyByteCount: UInt32(message.body.count), readyAt: now + delay * 1000),
                    body: message.body, to: &row, transaction)
            }
            try tables.save(row, queue, transaction)
            return try tables.metrics(row, transaction.reading)
        }
        notify([queue])
        return metrics
    }

    private static func makeID() -> [UInt8] {
        var id: [UInt8] = []
        id.append(littleEndian: UInt64.random(in: 0 ... .max))
        id.append(littleEndian: UInt64.random(in: 0 ... .max))
        return id
    }

    // MARK: Consumers

    package func readiness(of queue: String, countMax: Int) throws(QueueError) -> QueueReadiness {
        let now = clock.wallTime().milliseconds
        return try read(queue) { row, transaction throws(LMDBError) in
            let ready = try tables.entries(
                tables.ready, of: row, times: 0...now, max: countMax, transaction)
            let lapsed = try tables.entries(
                tables.leases, of: row, times: 0...now, max: countMax, transaction)
            let nextReady = try tables.entries(
                tables.ready, of: row, times: (now + 1)...(.max), max: 1, transaction)
            let nextLapse = try tables.entries(
                tables.leases, of: row, times: (now + 1)...(MessageRow.noEnd - 1), max: 1, transaction)
            return QueueReadiness(
                isPaused: row.settings.isPaused, readyCount: min(countMax, ready.count + lapsed.count),
                oldestReady: [ready.first, lapsed.first].compactMap { $0?.time }.min()
                    .map { UnixTime(milliseconds: $0) },
                nextReady: [nextReady.first, nextLapse.first].compactMap { $0?.time }.min()
                    .map { UnixTime(milliseconds: $0) })
        }
    }

    package func lease(_ request: QueueLeaseRequest) async throws(QueueError) -> QueueLease? {
        let (lease, settlement) = try await commit("lease") { [tables, clock] transaction in
            var step = try QueueStep(request.queue, request.consumer, tables, clock, transaction.reading)
            return (try step.lease(request, transaction), step.settlement)
        }
        report(settlement, request.queue, request.consumer)
        return lease
    }

    @discardableResult
    package func settle(
        _ lease: QueueLease, _ decisions: [QueueBatchReply.Decision], consumer: QueueConsumerSettings
    ) async throws(QueueError) -> QueueSettlement {
        precondition(decisions.count == lease.messages.count, "the caller has checked the isolate's reply")
        let sequences = lease.messages.map(\.sequence)
        let (queue, number) = (lease.queue, lease.number)
        let settlement = try await commit("settle") { [tables, clock] transaction in
            var step = try QueueStep(queue, consumer, tables, clock, transaction.reading)
            for (sequence, decision) in zip(sequences, decisions) {
                try step.settle(sequence, lease: number, decision, transaction)
            }
            try step.save(transaction)
            return step.settlement
        }
        if settlement.retriedCount > 0 { notify([queue]) }
        report(settlement, queue, consumer)
        return settlement
    }

    package func release(_ lease: QueueLease) async throws(QueueError) {
        let sequences = lease.messages.map(\.sequence)
        let (queue, number) = (lease.queue, lease.number)
        try await commit("release") { [tables] transaction in
            let row = try Self.require(queue, tables, transaction.reading)
            for sequence in sequences {
                guard let old = try tables.message(sequence, of: row, transaction.reading),
                    old.lease == number,
                    old.leasedUntil != nil
                else { continue }
                var message = old
                message.leasedUntil = nil
                message.lease = 0
                message.attempts -= 1
                try tables.update(sequence, from: old, to: message, in: row, transaction)
            }
        }
        notify([queue])
    }

    // MARK: Inside

    /// Removes what is older than its queue's retention. Leases never hand it out.
    package func sweep() async {
        do {
            let names = try environment.read { transaction throws(LMDBError) in try tables.names(transaction)
            }
            for name in names { while try await sweep(name) {} }
        } catch is GroupCommitter.Failure {
            // Closing, or too busy: next time.
        } catch {
            logger.log(.error, "queue sweep failed", [("error", "\(error)")])
        }
    }

    /// Says whether there may be more.
    private func sweep(_ name: String) async throws -> Bool {
        let now = clock.wallTime().milliseconds
        let isDue = try environment.read { transaction throws(LMDBError) in
            guard let queue = try tables.queue(name, transaction) else { return false }
            return try tables.first(of: queue, max: 1, transaction).first?.message
                .isExpired(at: now, queue.settings) ?? false
        }
        guard isDue else { return false }
        return try await committer.submit { [tables] transaction in
            guard var queue = try tables.queue(name, transaction.reading) else { return false }
            let oldest = try tables.first(of: queue, max: 500, transaction.reading)
            let expired = oldest.prefix { $0.message.isExpired(at: now, queue.settings) }
            for (sequence, message) in expired {
                try tables.remove(sequence, message, from: &queue, transaction)
            }
            try tables.save(queue, name, transaction)
            return expired.count == 500
        }
    }

    private func notify(_ queues: [String]) {
        let observers = observers.withLock { $0 }
        for queue in queues { for observer in observers { observer(queue) } }
    }

    private func report(_ settlement: QueueSettlement, _ queue: String, _ consumer: QueueConsumerSettings) {
        if settlement.droppedCount > 0 {
            logger.log(
                .warning, "messages dropped after their last attempt",
                [("queue", queue), ("count", "\(settlement.droppedCount)")])
        }
        if settlement.deadLetteredCount > 0, let target = consumer.deadLetterQueue {
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

    private func read<Value>(
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

    private func commit<Value: Sendable>(
        _ operation: String, byteCount: Int = 0,
        _ body: @escaping @Sendable (borrowing LMDBWriteTransaction) throws -> Value
    ) async throws(QueueError) -> Value {
        do {
            return try await committer.submit(byteCount: byteCount, body)
        } catch let error as QueueError {
            throw error
        } catch GroupCommitter.Failure.overloaded {
            throw .overloaded
        } catch {
            throw failed(operation, error)
        }
    }

    private func failed(_ operation: String, _ error: any Error) -> QueueError {
        logger.log(.error, "queue \(operation) failed", [("error", "\(error)")])
        return .failed
    }
}
