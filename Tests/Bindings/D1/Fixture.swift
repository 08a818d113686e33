import FoundationEssentials
import Observability
import SQLite
import Synchronization
import System

@testable import Interfaces
@testable import Stores
@testable import StoresD1

/// A store in a fresh directory, and a database of it as a handler would see it.
final class Fixture: Sendable {
    let directory: String
    let clock: VirtualClock
    let store: EmbeddedD1Store
    let database: D1Database

    init(
        directory: String? = nil, limits: D1Limits = D1Limits(), faults: D1Faults = .none,
        name: String = "main", log: any LogSink = DiscardingSink()
    ) throws {
        self.directory =
            directory ?? FileManager.default.temporaryDirectory.path + "/edge-d1-\(UUID().uuidString)"
        clock = VirtualClock()
        store = try EmbeddedD1Store(
            directory: self.directory, clock: clock,
            logger: Logger(sink: log, clock: clock, level: .warning), limits: limits,
            faults: faults)
        database = D1Database(
            transport: LoopbackTransport(D1Service(store: store, database: name)), binding: 0)
    }

    func database(_ name: String) -> D1Database {
        D1Database(transport: LoopbackTransport(D1Service(store: store, database: name)), binding: 0)
    }

    func close() async {
        await store.close()
        try? FileManager.default.removeItem(atPath: directory)
    }
}

/// Runs `body` with a fresh database and removes it afterwards.
func withDatabase(
    limits: D1Limits = D1Limits(), faults: D1Faults = .none,
    _ body: (D1Database, Fixture) async throws -> Void
) async throws {
    let fixture = try Fixture(limits: limits, faults: faults)
    do {
        try await body(fixture.database, fixture)
    } catch {
        await fixture.close()
        throw error
    }
    await fixture.close()
}

/// The message of what `body` throws; `nil` when it doesn't.
func failure(_ body: () async throws -> Void) async -> String? {
    do {
        try await body()
        return nil
    } catch let failure as CallFailure {
        return failure.message
    } catch { return "not a CallFailure: \(error)" }
}

/// Gives each call straight to a service, as if node and isolate were one.
final class LoopbackTransport: BindingTransport {
    private let service: any StoreService

    init(_ service: any StoreService) { self.service = service }

    func perform(_ call: BindingCall) async throws -> BindingReply {
        let body: BytesSource? =
            if let stream = call.body { BytesSource(try await stream.collect()) } else { nil }
        let reply = try await service.answer(StoreCall(call.kind, message: call.message, body: body))
        switch reply.body {
        case nil: return BindingReply(message: reply.message)
        case .bytes(let bytes): return BindingReply(message: reply.message, body: ByteStream(bytes))
        case .stream(let source):
            return BindingReply(message: reply.message, body: ByteStream { try await source.next() })
        case .file: throw CallFailure("unexpected body")
        }
    }
}

/// A body that arrives in pieces of 64 KiB.
final class BytesSource: BodySource {
    private let rest: Mutex<ArraySlice<UInt8>>

    init(_ bytes: [UInt8]) { rest = Mutex(bytes[...]) }

    func next() async throws -> [UInt8]? {
        rest.withLock { rest in
            guard !rest.isEmpty else { return nil }
            defer { rest = rest.dropFirst(64 << 10) }
            return Array(rest.prefix(64 << 10))
        }
    }

    func cancel() { rest.withLock { $0 = [] } }
}

/// SplitMix64: the same numbers for the same seed.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}

/// A value that several tasks share.
final class Shared<Value: Sendable>: Sendable {
    private let state: Mutex<Value>
    init(_ value: Value) { state = Mutex(value) }

    var value: Value {
        get { state.withLock { $0 } }
        set { state.withLock { $0 = newValue } }
    }

    @discardableResult
    func update<Result: Sendable>(_ change: @Sendable (inout Value) -> Result) -> Result {
        state.withLock { change(&$0) }
    }
}

/// Stops the writer before a transaction, and lets operations fail.
final class WriterGate: Sendable {
    private let isHeld = Shared(false)
    private let reached = Shared(false)
    private let opened = EventCounter()
    private let failure: @Sendable (D1Faults.Operation) -> SQLiteError?

    init(_ failure: @escaping @Sendable (D1Faults.Operation) -> SQLiteError? = { _ in nil }) {
        self.failure = failure
    }

    var faults: D1Faults {
        D1Faults { operation in
            if operation == .begin {
                while self.isHeld.value {
                    self.reached.value = true
                    self.opened.wait(upTo: .seconds(60))
                }
            }
            return self.failure(operation)
        }
    }

    /// Whether the writer stands at the gate.
    var isReached: Bool { reached.value }

    func hold() {
        reached.value = false
        isHeld.value = true
    }

    func release() {
        isHeld.value = false
        opened.signal()
    }
}
