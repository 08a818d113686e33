import Glibc
import Interfaces
import LMDB
import Observability
import Stores
import StoresQueues
import Synchronization
import System

/// A store in a fresh directory, on a clock that stands still.
final class QueueFixture: @unchecked Sendable {  // Each test has its own; `store` changes only in `reopen`.
    let clock = VirtualClock()
    let path: String
    private(set) var store: EmbeddedQueueStore
    private let options: EmbeddedQueueStore.Options
    /// Of the store's files, below `path`.
    private(set) var directory = "queues"
    private var directories = ["queues"]
    let log = MemorySink()
    var now: Int64 { clock.wallTime().milliseconds }

    init(
        fault: (@Sendable (String) -> LMDBError?)? = nil, quota: QueueQuota = QueueQuota()
    ) throws {
        var template = Array("/tmp/edge-queues-XXXXXX".utf8CString)
        // SAFETY: mkdtemp replaces the Xs of the NUL-terminated array that it is lent.
        path = unsafe template.withUnsafeMutableBufferPointer { buffer in
            guard let start = buffer.baseAddress, unsafe mkdtemp(start) != nil else { return "/nonexistent" }
            return unsafe String(cString: start)
        }
        var options = EmbeddedQueueStore.Options()
        options.environment.fault = fault
        options.quota = quota
        self.options = options
        store = try QueueFixture.open(path + "/queues", clock, log, options)
    }

    private static func open(
        _ path: String, _ clock: VirtualClock, _ log: MemorySink, _ options: EmbeddedQueueStore.Options
    ) throws -> EmbeddedQueueStore {
        try EmbeddedQueueStore(
            directory: path, clock: clock, logger: Logger(sink: log, clock: clock, level: .warning),
            options: options)
    }

    /// As after a restart of the node: what was acknowledged is all that it finds.
    func reopen() async throws {
        await store.close()
        store = try QueueFixture.open(path + "/" + directory, clock, log, options)
    }

    /// As after kill -9 and a new start: what the files hold at this moment is all that the next node finds. Nothing may be
    /// on its way to them.
    func crash() async throws {
        let copy = "queues-\(directories.count)"
        directories.append(copy)
        guard unsafe mkdir(path + "/" + copy, 0o700) == 0 else { throw FixtureError.notCopied(errno) }
        try Self.copy(path + "/" + directory + "/data.mdb", to: path + "/" + copy + "/data.mdb")
        await store.close()
        directory = copy
        store = try QueueFixture.open(path + "/" + copy, clock, log, options)
    }

    private enum FixtureError: Error { case notCopied(Int32) }

    private static func copy(_ source: String, to target: String) throws {
        let input = unsafe Glibc.open(source, O_RDONLY)
        let output = unsafe Glibc.open(target, O_WRONLY | O_CREAT | O_EXCL, 0o600)
        defer {
            close(input)
            close(output)
        }
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            // SAFETY: both calls get the array's own length, or less.
            let count = unsafe read(input, &buffer, buffer.count)
            guard count >= 0 else { throw FixtureError.notCopied(errno) }
            if count == 0 { return }
            guard unsafe write(output, buffer, count) == count else { throw FixtureError.notCopied(errno) }
        }
    }

    /// What the closed store's files hold, for tests that damage them.
    func environment() throws -> LMDBEnvironment {
        var options = LMDBEnvironment.Options()
        options.databasesMax = 16
        return try LMDBEnvironment(directory: path + "/" + directory, options: options)
    }

    /// The binding as a handler has it.
    func queue(_ name: String = "events", deliveryDelay: Int64? = nil) async throws -> Queue {
        try await store.openQueue(name, settings: nil)
        let service = QueueService(store, queue: name, deliveryDelaySeconds: deliveryDelay)
        return Queue(transport: LoopbackTransport(service), binding: 0)
    }

    func lease(
        _ name: String = "events", _ consumer: QueueConsumerSettings = QueueConsumerSettings()
    ) async throws -> QueueLease? {
        try await store.lease(QueueLeaseRequest(name, consumer: consumer))
    }

    /// A queue that clients pull from.
    func pullQueue(
        _ name: String = "events", _ settings: QueueConsumerSettings? = nil
    ) async throws -> Queue {
        let queue = try await queue(name)
        _ = try await store.addConsumer(QueueConsumerDraft(.pull, settings), to: name)
        return queue
    }

    func pull(
        _ name: String = "events", _ count: Int? = nil, for timeout: Duration? = nil
    ) async throws -> [QueuePulledMessage] {
        try await store.pull(from: name, batchSize: count, visibilityTimeout: timeout).messages
    }

    func count(_ name: String = "events") throws -> Int64 { try store.metrics(of: name).backlogCount }

    deinit {
        for directory in directories {
            for name in ["data.mdb", "lock.mdb", "owner"] { unsafe unlink("\(path)/\(directory)/\(name)") }
            unsafe rmdir("\(path)/\(directory)")
        }
        unsafe rmdir(path)
    }
}

/// Takes a call to a service in the same process.
final class LoopbackTransport: BindingTransport {
    private let service: any StoreService

    init(_ service: any StoreService) { self.service = service }

    func perform(_ call: BindingCall) async throws -> BindingReply {
        BindingReply(message: try await service.answer(StoreCall(call.kind, message: call.message)).message)
    }
}

/// A deterministic source of randomness (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

func failure(_ body: () async throws -> Void) async -> CallFailure? {
    do {
        try await body()
        return nil
    } catch { return error as? CallFailure }
}

/// Keeps what was logged.
final class MemorySink: LogSink {
    private let records = Mutex<[LogRecord]>([])
    var messages: [String] { records.withLock { $0.map(\.message) } }
    func write(_ record: LogRecord) { records.withLock { $0.append(record) } }
}
