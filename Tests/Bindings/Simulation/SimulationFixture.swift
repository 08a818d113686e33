import FoundationEssentials
import Observability
import Stores
import StoresD1
import StoresKV
import StoresQueues
import StoresR2
import StoresSimulation
import Synchronization
import System

@testable import Interfaces

/// All stores in a fresh directory, on a clock that stands still but for those who wait for a simulated delay.
final class SimulationFixture: Sendable {
    let clock = VirtualClock()
    let directory = FileManager.default.temporaryDirectory.path + "/edge-simulation-\(UUID().uuidString)"
    let trace = Trace()
    let kv: EmbeddedKVStore
    let d1: EmbeddedD1Store
    let r2: EmbeddedR2Store
    let queues: EmbeddedQueueStore

    init() throws {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let logger = Logger(sink: DiscardingSink(), clock: clock, level: .error)
        kv = try EmbeddedKVStore(directory: directory + "/kv", clock: clock, logger: logger)
        d1 = try EmbeddedD1Store(directory: directory + "/d1", clock: clock, logger: logger)
        r2 = try EmbeddedR2Store(directory: directory + "/r2", clock: clock, logger: logger)
        queues = try EmbeddedQueueStore(directory: directory + "/queues", clock: clock, logger: logger)
    }

    /// What `change` says, with nothing else simulated.
    func simulation(seed: UInt64 = 1, _ change: (inout SimulationSettings) -> Void) -> StoreSimulation {
        var settings = SimulationSettings(seed: seed)
        settings.kvStaleness = .zero
        settings.d1Lag = .zero
        settings.failurePercentage = 0
        settings.latency = .zero
        settings.queueDuplicatePercentage = 0
        settings.reordersQueues = false
        change(&settings)
        return StoreSimulation(
            settings, clock: HurryingClock(clock), logger: Logger(sink: trace, clock: clock, level: .debug))
    }

    /// A binding as a handler has it.
    func kvBinding(_ simulation: StoreSimulation, _ binding: String, namespace: String = "n") throws -> KVNamespace {
        KVNamespace(
            transport: Loopback(KVService(simulation.wrap(try kv.openNamespace(namespace), binding: binding))), binding: 0)
    }

    func d1Binding(_ simulation: StoreSimulation, _ binding: String = "w/DB") -> D1Database {
        let store = simulation.wrap(d1, replicas: d1, binding: binding)
        return D1Database(transport: Loopback(D1Service(store: store, database: "main")), binding: 0)
    }

    func queueBinding(_ simulation: StoreSimulation, _ binding: String = "w/Q") async throws -> Queue {
        try await queues.openQueue("events", settings: nil)
        return Queue(
            transport: Loopback(QueueService(simulation.wrapProducer(queues, binding: binding), queue: "events")), binding: 0)
    }

    func close() async {
        await queues.close()
        await d1.close()
        await kv.close()
        await r2.close()
        try? FileManager.default.removeItem(atPath: directory)
    }
}

/// Runs `body` with fresh stores and removes them afterwards.
func withStores(_ body: (SimulationFixture) async throws -> Void) async throws {
    let fixture = try SimulationFixture()
    do {
        try await body(fixture)
    } catch {
        await fixture.close()
        throw error
    }
    await fixture.close()
}

/// Keeps what was simulated, with the virtual time.
final class Trace: LogSink {
    private let kept = Mutex<[String]>([])
    var lines: [String] { kept.withLock { $0 } }

    func write(_ record: LogRecord) {
        let fields = record.fields.map { "\($0.name)=\($0.value)" }.joined(separator: " ")
        kept.withLock { $0.append("\(record.time.milliseconds) \(record.message) \(fields)") }
    }
}

/// A virtual clock that jumps to the time that somebody waits for: calls made one after the other wait for nobody.
final class HurryingClock: NodeClock {
    private let clock: VirtualClock
    init(_ clock: VirtualClock) { self.clock = clock }

    func now() -> Instant { clock.now() }
    func wallTime() -> UnixTime { clock.wallTime() }
    func onJump(_ jumped: @escaping @Sendable () -> Void) { clock.onJump(jumped) }
    func schedule(at deadline: Instant, _ wake: @escaping @Sendable () -> Void) -> ClockTimer {
        let wait = deadline - clock.now()
        if wait > .zero { clock.advance(by: wait) }
        wake()
        return ClockTimer {}
    }
}

/// Takes a call to a service in the same process.
final class Loopback: BindingTransport {
    private let service: any StoreService
    init(_ service: any StoreService) { self.service = service }

    func perform(_ call: BindingCall) async throws -> BindingReply {
        let reply = try await service.answer(StoreCall(call.kind, message: call.message))
        guard let body = reply.body else { return BindingReply(message: reply.message) }
        guard case .stream(let source) = body else { throw CallFailure("unexpected body") }
        return BindingReply(message: reply.message, body: ByteStream { try await source.next() })
    }
}

func failure(_ body: () async throws -> Void) async -> String? {
    do {
        try await body()
        return nil
    } catch { return (error as? CallFailure)?.message ?? "\(error)" }
}
