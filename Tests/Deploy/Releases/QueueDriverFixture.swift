import Glibc
import Interfaces
import LMDB
import Observability
import StoresQueues
import Synchronization
import System

@testable import Releases

/// A driver over a real store on a clock that stands still, and workers that answer when a test says so.
final class QueueDriverFixture: Sendable {
    let clock = VirtualClock()
    let log = MemoryLog()
    let store: EmbeddedQueueStore
    let driver: QueueDriver
    private let path: String

    init(fault: (@Sendable (String) -> LMDBError?)? = nil) throws {
        var template = Array("/tmp/edge-driver-XXXXXX".utf8CString)
        // SAFETY: mkdtemp replaces the Xs of the NUL-terminated array that it is lent.
        path = unsafe template.withUnsafeMutableBufferPointer { buffer in
            guard let start = buffer.baseAddress, unsafe mkdtemp(start) != nil else { return "/nonexistent" }
            return unsafe String(cString: start)
        }
        let logger = Logger(sink: log, clock: clock, level: .warning)
        var options = EmbeddedQueueStore.Options()
        options.environment.fault = fault
        store = try EmbeddedQueueStore(directory: path + "/queues", clock: clock, logger: logger, options: options)
        driver = QueueDriver(store: store, clock: clock, logger: logger)
    }

    func queue(_ name: String, _ settings: QueueConsumerSettings, worker: String = "w") async throws {
        try await store.openQueue(name, settings: nil)
        _ = try await store.addConsumer(QueueConsumerDraft(.worker(script: worker), settings), to: name)
    }

    func send(_ texts: [String], to queue: String) async throws {
        _ = try await store.send(
            texts.map { .init(contentType: .text, body: Array($0.utf8)) }, form: .batch, to: queue)
    }

    func backlog(_ queue: String) throws -> Int64 { try store.metrics(of: queue).backlogCount }

    func close() async {
        await driver.stop()
        await store.close()
        for name in ["data.mdb", "lock.mdb", "owner"] { unsafe unlink(path + "/queues/" + name) }
        unsafe rmdir(path + "/queues")
        unsafe rmdir(path)
    }
}

/// Takes batches and keeps each until `answer`, or answers at once.
final class WorkerStandIn: Sendable {
    struct Batch {
        let texts: [String]
        let attempts: [UInt32]
        fileprivate let continuation: CheckedContinuation<QueueBatchReply, any Error>?
    }
    private struct State {
        var waiting: [Batch] = []
        var all: [Batch] = []
        var outcome: (@Sendable (QueueBatchMessage) throws -> QueueBatchReply)?
    }
    private let state = Mutex(State())

    /// - Parameter outcome: `nil`: batches wait for `answer`.
    init(_ outcome: (@Sendable (QueueBatchMessage) throws -> QueueBatchReply)? = nil) {
        state.withLock { $0.outcome = outcome }
    }

    /// All that came, answered or not.
    var batches: [Batch] { state.withLock { $0.all } }
    var waitingCount: Int { state.withLock { $0.waiting.count } }

    var deliver: QueueDriver.Deliver {
        { batch in
            let texts = batch.items.map { String(decoding: $0.body, as: UTF8.self) }
            let attempts = batch.items.map(\.attempts)
            if let outcome = self.state.withLock({ $0.outcome }) {
                self.state.withLock { $0.all.append(Batch(texts: texts, attempts: attempts, continuation: nil)) }
                return try outcome(batch)
            }
            return try await withCheckedThrowingContinuation { continuation in
                let batch = Batch(texts: texts, attempts: attempts, continuation: continuation)
                self.state.withLock { state in
                    state.all.append(batch)
                    state.waiting.append(batch)
                }
            }
        }
    }

    /// Ends the batch that has waited longest.
    func answer(_ decision: QueueBatchReply.Decision = .acknowledge, succeeded: Bool = true) {
        guard let batch = state.withLock({ $0.waiting.isEmpty ? nil : $0.waiting.removeFirst() }) else { return }
        batch.continuation?.resume(
            returning: QueueBatchReply(succeeded: succeeded, decisions: batch.texts.map { _ in decision }))
    }

    static func acknowledging(_ batch: QueueBatchMessage) -> QueueBatchReply {
        QueueBatchReply(succeeded: true, decisions: batch.items.map { _ in .acknowledge })
    }
}

/// Keeps what was logged.
final class MemoryLog: LogSink {
    private let records = Mutex<[String]>([])
    var messages: [String] { records.withLock { $0 } }
    func write(_ record: LogRecord) { note(record.message) }
    func note(_ message: String) { records.withLock { $0.append(message) } }
}
