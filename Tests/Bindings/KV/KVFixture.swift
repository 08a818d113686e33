import Glibc
import Interfaces
import LMDB
import Observability
import Stores
import StoresKV
import Synchronization
import System

/// A store in a fresh directory, on a clock that stands still.
final class KVFixture: Sendable {
    let clock = VirtualClock()
    let path: String
    let store: EmbeddedKVStore
    /// The seconds since 1970 that the clock shows.
    var now: Int { Int(clock.wallTime().seconds) }

    init(
        fault: (@Sendable (String) -> LMDBError?)? = nil, at path: String? = nil,
        options change: (inout EmbeddedKVStore.Options) -> Void = { _ in }
    ) throws {
        self.path = path ?? KVFixture.makeDirectory()
        store = try KVFixture.open(self.path, clock, fault, change)
    }

    static func open(
        _ path: String, _ clock: VirtualClock, _ fault: (@Sendable (String) -> LMDBError?)? = nil,
        _ change: (inout EmbeddedKVStore.Options) -> Void = { _ in }
    ) throws -> EmbeddedKVStore {
        var options = EmbeddedKVStore.Options()
        options.environment.fault = fault
        change(&options)
        return try EmbeddedKVStore(
            directory: path + "/kv", clock: clock,
            logger: Logger(sink: DiscardingSink(), clock: clock, level: .error), options: options)
    }

    static func makeDirectory() -> String {
        var template = Array("/tmp/edge-kv-XXXXXX".utf8CString)
        // SAFETY: mkdtemp replaces the Xs of the NUL-terminated array that it is lent.
        return unsafe template.withUnsafeMutableBufferPointer { buffer in
            guard let start = buffer.baseAddress, unsafe mkdtemp(start) != nil else { return "/nonexistent" }
            return unsafe String(cString: start)
        }
    }

    /// The binding as a handler has it, on `store`.
    func namespace(_ name: String = "SESSIONS", of store: EmbeddedKVStore? = nil) throws -> KVNamespace {
        let service = KVService(try (store ?? self.store).openNamespace(name))
        return KVNamespace(transport: LoopbackTransport(service), binding: 0)
    }

    deinit { Self.remove(path) }

    static func remove(_ path: String) {
        for name in ["data.mdb", "lock.mdb", "owner"] { unsafe unlink(path + "/kv/" + name) }
        unsafe rmdir(path + "/kv")
        unsafe rmdir(path)
    }
}

/// Takes a call to a service in the same process.
final class LoopbackTransport: BindingTransport {
    private let service: any StoreService

    init(_ service: any StoreService) { self.service = service }

    func perform(_ call: BindingCall) async throws -> BindingReply {
        let reply = try await service.answer(
            StoreCall(call.kind, message: call.message, body: call.body.map { PulledBody($0) }))
        switch reply.body {
        case nil: return BindingReply(message: reply.message)
        case .bytes(let bytes): return BindingReply(message: reply.message, body: ByteStream(bytes))
        case .stream(let source):
            return BindingReply(message: reply.message, body: ByteStream { try await source.next() })
        case .file: throw CallFailure("the engine has no files")
        }
    }
}

/// One reader at a time, as the protocol asks.
private final class PulledBody: BodySource, @unchecked Sendable {
    private let stream: ByteStream
    init(_ stream: ByteStream) { self.stream = stream }
    func next() async throws -> [UInt8]? { try await stream.next() }
    func cancel() { stream.cancel() }
}

/// A truth that tests flip while others look at it.
final class Switch: Sendable {
    private let value = Atomic<Bool>(false)
    var isOn: Bool {
        get { value.load(ordering: .acquiring) }
        set { value.store(newValue, ordering: .releasing) }
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
