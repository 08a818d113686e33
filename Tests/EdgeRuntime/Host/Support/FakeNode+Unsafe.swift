import Glibc
import HTTP
import Interfaces
import Isolates
import Observability
import Stores
import Synchronization
import System
import Testing
import Wire

@testable import Host

/// A reactor with a listener and pools whose isolates are ends of socket pairs in the hands of the test. Time stands still
/// until `clock` is advanced.
final class FakeNode: Sendable {
    let clock = VirtualClock()
    let reactor: Reactor
    let context: NodeContext
    let port: UInt16
    private let logger: Logger
    private let nextSlot = Atomic<Int>(0)
    private let isolateIDs = IsolateIDSource()

    init(
        settings: EdgeSettings = EdgeSettings(), local: any LocalHandler = NoLocalHandler(),
        log sink: any LogSink = DiscardingSink()
    ) throws {
        logger = Logger(sink: sink, clock: clock, level: sink is DiscardingSink ? .error : .warning)
        let reactor = try Reactor(
            index: 0, clock: clock, logger: logger, files: BlockingPool(name: "test-files", threadCount: 1),
            outbound: OutboundClient(clock: clock))
        self.reactor = reactor
        let context = NodeContext(settings: settings, logger: logger, clock: clock, local: local)
        self.context = context
        let socket = try Listener.listen(ListenAddress(host: "127.0.0.1", port: 0))
        port = Listener.port(of: socket.rawValue)
        let number = socket.release()
        reactor.start()
        reactor.post {
            do {
                reactor.listeners.append(
                    try Listener(
                        Descriptor(owning: number), address: ListenAddress(host: "127.0.0.1", port: 0), role: .edge,
                        security: .plain,
                        reactor: reactor, node: context))
            } catch { Issue.record(error) }
        }
    }

    /// A worker of its own, to which all requests go from now on.
    func addWorker(
        limits: WorkerLimits = WorkerLimits(), bindings: [BindingTarget] = [], size: PoolSize? = nil,
        services: [WorkerRuntime] = [], cache: WorkerCache? = nil, bindingNames: [String] = [], version: String = "1",
        objects: (any ObjectHosting)? = nil
    ) throws -> FakeWorker {
        let directory = IsolateDirectory()
        let spawner = FakeSpawner(directory, isolateIDs)
        let pool = IsolatePool(
            slot: nextSlot.wrappingAdd(1, ordering: .relaxed).oldValue,
            configuration: IsolateConfiguration(
                tenant: "t", worker: "worker", version: version, environment: "dev",
                bindings: bindingNames.map { .init($0, .kv) }),
            specification: IsolateSpecification(
                image: try IsolateImage(path: "/bin/true"), workerName: "worker", channelCount: 1),
            size: size ?? PoolSize(min: 0, max: 1, idleTimeout: .seconds(60)),
            environment: PoolEnvironment(
                reactors: [reactor], spawner: spawner, directory: directory, clock: clock, logger: logger),
            objects: objects)
        let worker = WorkerRuntime(
            configuration: pool.configuration, bindings: bindings, limits: limits, pool: pool, cache: cache)
        let release = ReleaseRuntime(name: "r", tenant: "t", workers: [worker] + services)
        let reactor = reactor
        onReactor { reactor.install(.everything(to: worker, of: release)) }
        return FakeWorker(runtime: worker, spawner: spawner)
    }

    /// The objects of tenant `t`.
    func makeObjectSpace(
        _ settings: ObjectSettings, directory: String = "/nonexistent",
        index: @escaping @Sendable () throws -> any ObjectAlarmIndex
    ) throws -> ObjectSpace {
        try ObjectSpace(
            directory: directory, tenant: "t", settings: settings, identity: nil, reactors: [reactor], clock: clock,
            logger: logger, openIndex: index)
    }

    /// Runs `body` on the reactor and waits for it.
    func onReactor<Value: Sendable>(_ body: @escaping @Sendable () -> Value) -> Value {
        let result = Mutex<Value?>(nil)
        let done = Semaphore()
        reactor.post {
            let value = body()
            result.withLock { $0 = value }
            done.signal()
        }
        done.wait()
        guard let value = result.withLock({ $0 }) else { preconditionFailure("it was stored before the signal") }
        return value
    }

    /// Lets virtual time pass, with a look at the deadlines after each quarter of a second.
    func pass(_ duration: Duration) {
        var left = duration
        while left > .zero {
            clock.advance(by: .milliseconds(250))
            onReactor {}
            onReactor {}
            left -= .milliseconds(250)
        }
    }

    func connect() throws -> Client { try Client(port) }
    func stop() { reactor.stop() }
}

extension RoutingTable {
    static func everything(to worker: WorkerRuntime, of release: ReleaseRuntime) -> RoutingTable {
        do throws(RoutePatternError) {
            return RoutingTable(
                RouteTable(routes: [
                    (try RoutePattern("h/*", for: "worker"), .worker(RouteTarget(release: release, worker: worker)))
                ]))
        } catch { preconditionFailure("the pattern is a constant: \(error)") }
    }
}

/// Runs a test that blocks on a thread of its own: the pools of a node need Swift's.
func onThread(_ body: @escaping @Sendable () throws -> Void) async throws {
    let result: Result<Void, any Error> = await withCheckedContinuation { continuation in
        SystemThread(name: "test") { continuation.resume(returning: Result { try body() }) }.start()
    }
    try result.get()
}

struct NoLocalHandler: LocalHandler {
    func answer(_ request: LocalRequest) async -> LocalResponse { .text("local") }
}

struct FakeWorker: Sendable {
    let runtime: WorkerRuntime
    let spawner: FakeSpawner

    /// The next isolate that the pool starts; its first frame, `configure`, is not answered yet.
    func nextIsolate() throws -> FakeIsolate { try spawner.next() }

    /// The next one, which says that it handles `fetch`.
    func nextReadyIsolate() throws -> FakeIsolate {
        let isolate = try nextIsolate()
        try isolate.becomeReady()
        return isolate
    }
}

/// Numbers for isolates. All workers of a node have theirs from one source: a reactor knows isolates by their numbers alone.
final class IsolateIDSource: Sendable {
    private let last = Atomic<UInt64>(0)
    func next() -> IsolateID { IsolateID(last.wrappingAdd(1, ordering: .relaxed).newValue) }
}

/// Stands for the supervisor: what it starts is one end of a socket pair.
final class FakeSpawner: IsolateSpawner {
    private struct State {
        var waiting: [FakeIsolate] = []
        var running: [IsolateID: FakeIsolate] = [:]
        var kills: [IsolateID: KillReason] = [:]
    }
    private let state = Mutex(State())
    private let spawned = EventCounter()
    private let directory: IsolateDirectory
    private let isolateIDs: IsolateIDSource

    init(_ directory: IsolateDirectory, _ isolateIDs: IsolateIDSource) {
        self.directory = directory
        self.isolateIDs = isolateIDs
    }

    func reserveID() -> IsolateID { isolateIDs.next() }

    func spawn(
        _ specification: IsolateSpecification, as id: IsolateID?
    ) async throws(SpawnError) -> SpawnedIsolate {
        let id = id ?? reserveID()
        var pair: [Int32] = [0, 0]
        // SAFETY: socketpair fills the two integers.
        guard unsafe socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair) == 0 else {
            throw .system(SystemError("socketpair", errno: errno))
        }
        _ = fcntl(pair[0], F_SETFL, O_NONBLOCK)
        let isolate = FakeIsolate(id, Descriptor(owning: pair[1]))
        let statusPage: StatusPage
        do throws(SystemError) { statusPage = try StatusPage() } catch { throw .system(error) }
        state.withLock { state in
            state.waiting.append(isolate)
            state.running[id] = isolate
        }
        spawned.signal()
        return SpawnedIsolate(
            id: id, processID: 1, channels: [pair[0]], statusPage: statusPage, ledgers: [EventLedger()], usage: IsolateUsage())
    }

    func kill(_ id: IsolateID, reason: KillReason) {
        state.withLock { $0.kills[id] = $0.kills[id] ?? reason }
        end(id, .killed(reason))
    }

    /// The isolate's process has ended.
    func end(_ id: IsolateID, _ reason: IsolateExit.Reason) {
        guard let isolate = state.withLock({ $0.running.removeValue(forKey: id) }) else { return }
        isolate.shutDown()
        directory.exited(id, IsolateExit(reason: reason))
    }

    func reasonOfKill(_ isolate: FakeIsolate) -> KillReason? { state.withLock { $0.kills[isolate.id] } }
    func isRunning(_ isolate: FakeIsolate) -> Bool { state.withLock { $0.running[isolate.id] != nil } }

    /// Waits for an isolate to be started; the time bounds a broken program.
    func next() throws -> FakeIsolate {
        for _ in 0..<600 {
            let isolate = state.withLock { state -> FakeIsolate? in
                state.waiting.isEmpty ? nil : state.waiting.removeFirst()
            }
            if let isolate { return isolate }
            spawned.wait(upTo: .milliseconds(100))
        }
        throw TestFailure("no isolate was started")
    }

    func waitForKill(_ isolate: FakeIsolate) throws -> KillReason {
        for _ in 0..<5000 {
            if let reason = reasonOfKill(isolate) { return reason }
            usleep(2000)
        }
        throw TestFailure("the isolate was not ended")
    }
}

struct TestFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// The isolate's end of a channel. Blocking, with a bound.
final class FakeIsolate: Sendable {
    struct Frame: Equatable {
        var header: FrameHeader
        var payload: [UInt8]
    }
    let id: IsolateID
    private let socket: Socket

    init(_ id: IsolateID, _ descriptor: consuming Descriptor) {
        self.id = id
        socket = Socket(descriptor)
    }

    func shutDown() { socket.shutDown() }

    /// Reads the next frame; `nil` when the node has closed the channel.
    func receive() throws -> Frame? {
        guard let head = try socket.read(exactly: FrameHeader.byteCount) else { return nil }
        guard let header = try unsafe FrameHeader.read(head.span.bytes) else { return nil }
        guard let payload = try socket.read(exactly: header.payloadByteCount) else { return nil }
        return Frame(header: header, payload: payload)
    }

    /// Reads frames up to one of `kind`.
    func receive(_ kind: FrameKind) throws -> Frame {
        while let frame = try receive() {
            if frame.header.kind == kind { return frame }
        }
        throw TestFailure("the channel ended before a frame of kind \(kind)")
    }

    func send(_ bytes: [UInt8]) { socket.write(bytes) }

    func send(
        _ kind: FrameKind, _ stream: UInt32, flags: FrameFlags = [], _ payload: [UInt8] = []
    ) { send(Self.frame(kind, stream, flags: flags, payload)) }

    static func frame(
        _ kind: FrameKind, _ stream: UInt32, flags: FrameFlags = [], _ payload: [UInt8] = []
    ) -> [UInt8] {
        var buffer = ByteBuffer()
        buffer.append(FrameHeader(kind, stream: stream, flags: flags, payloadByteCount: payload.count))
        buffer.append(payload)
        return unsafe buffer.withReadable { unsafe Array($0) }
    }

    func becomeReady() throws {
        let configure = try receive(.open)
        send(
            .open, configure.header.stream, flags: .end,
            [0] + IsolateDescription(handlers: ["fetch"]).encoded())
    }

    /// The answer to a `fetch`.
    static func answer(
        _ status: UInt16, hasBody: Bool = false, length: Int64 = 0, splice: UInt32 = 0,
        headers: [(String, String)] = []
    ) -> [UInt8] {
        var buffer = ByteBuffer()
        buffer.append(0 as UInt8)
        buffer.appendLittleEndian(status)
        buffer.append((hasBody ? 1 : 0) as UInt8)
        buffer.appendLittleEndian(length)
        buffer.appendLittleEndian(splice)
        buffer.appendLittleEndian(UInt16(headers.count))
        for (name, value) in headers {
            buffer.appendLittleEndian(UInt16(name.utf8.count))
            buffer.appendLittleEndian(UInt32(value.utf8.count))
            buffer.append(name)
            buffer.append(value)
        }
        return unsafe buffer.withReadable { unsafe Array($0) }
    }

    /// What stands in front of a call's message.
    static func call(_ kind: CallKind, binding: UInt16, parent: UInt32, _ message: [UInt8] = []) -> [UInt8] {
        var encoder = WireEncoder()
        encoder.put(kind.rawValue)
        encoder.put(binding)
        encoder.put(parent)
        encoder.putRest(message)
        return encoder.bytes
    }

    static func credit(_ byteCount: UInt32) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: byteCount >> (8 * UInt32($0))) }
    }
}

/// A client of the node.
final class Client: Sendable {
    private let socket: Socket

    init(_ port: UInt16) throws { socket = Socket(try ListenAddress(host: "127.0.0.1", port: port).connect()) }

    func send(_ text: String) { socket.write(Array(text.utf8)) }
    func send(_ bytes: [UInt8]) { socket.write(bytes) }
    func endSending() { socket.endSending() }
    func close() { socket.shutDown() }

    /// Everything up to the end of the connection.
    func readToEnd() throws -> String { String(decoding: try socket.readToEnd(), as: UTF8.self) }

    /// Up to and with `text`.
    func read(count: Int) throws -> [UInt8] {
        guard let bytes = try socket.read(exactly: count) else { throw TestFailure("ended too early") }
        return bytes
    }

    func read(to text: String) throws -> String {
        var received: [UInt8] = []
        while !String(decoding: received, as: UTF8.self).hasSuffix(text) {
            guard let byte = try socket.read(exactly: 1) else { throw TestFailure("ended after \(received)") }
            received += byte
        }
        return String(decoding: received, as: UTF8.self)
    }
}

/// A blocking socket whose reads end after a while: the bound is for a broken program, never a measure of a working one.
private final class Socket: Sendable {
    private let descriptor: Descriptor

    init(_ descriptor: consuming Descriptor) {
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        // SAFETY: the option's value is the struct whose address and size are given.
        unsafe setsockopt(
            descriptor.rawValue, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        unsafe setsockopt(
            descriptor.rawValue, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        self.descriptor = descriptor
    }

    func shutDown() { _ = shutdown(descriptor.rawValue, Int32(SHUT_RDWR)) }
    func endSending() { _ = shutdown(descriptor.rawValue, Int32(SHUT_WR)) }

    /// What the peer does not take because it is gone is of no interest.
    func write(_ bytes: [UInt8]) {
        var offset = 0
        while offset < bytes.count {
            let sent = unsafe bytes.withUnsafeBytes { buffer in
                // SAFETY: send reads the bytes behind the offset, which are lent.
                unsafe Glibc.send(
                    descriptor.rawValue, buffer.baseAddress?.advanced(by: offset), bytes.count - offset,
                    Int32(MSG_NOSIGNAL))
            }
            guard sent > 0 else { return }
            offset += sent
        }
    }

    private func read(upTo count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let received = unsafe bytes.withUnsafeMutableBytes { buffer in
            // SAFETY: recv writes at most `count` bytes, which are lent.
            unsafe recv(descriptor.rawValue, buffer.baseAddress, count, 0)
        }
        if received < 0, errno == EAGAIN || errno == EWOULDBLOCK { throw TestFailure("nothing came") }
        return Array(bytes.prefix(max(0, received)))
    }

    func read(exactly count: Int) throws -> [UInt8]? {
        var bytes: [UInt8] = []
        while bytes.count < count {
            let piece = try read(upTo: count - bytes.count)
            guard !piece.isEmpty else { return nil }
            bytes += piece
        }
        return bytes
    }

    func readToEnd() throws -> [UInt8] {
        var bytes: [UInt8] = []
        while true {
            let piece = try read(upTo: 64 << 10)
            if piece.isEmpty { return bytes }
            bytes += piece
        }
    }
}
