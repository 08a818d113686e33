import Glibc
import Interfaces
import System
import Wire

@testable import Workers

/// The node's end of an isolate's channels, in the test's process: the loop under test runs on a thread of its own, another
/// one reads what it sends.
final class FakeHost: Sendable {
    struct Frame: Equatable, CustomStringConvertible {
        let kind: FrameKind
        let flags: FrameFlags
        let stream: UInt32
        let payload: [UInt8]
        var isEnd: Bool { flags.contains(.end) }
        var description: String { "\(kind) \(stream) flags \(flags.rawValue), \(payload.count) bytes" }
    }
    struct Ended: Error {}

    /// The node's end of a channel. The reading thread holds it too: its number must not pass to another test's file while
    /// that thread still reads.
    private final class Socket: Sendable {
        let number: Int32
        init(_ number: Int32) { self.number = number }
        deinit { _ = Glibc.close(number) }
        func shutDown() { _ = shutdown(number, Int32(SHUT_RDWR)) }
    }

    private let sockets: [Socket]
    private let frames: [AsyncStream<Frame>]
    private let outcomes: AsyncStream<EventLoop.Outcome>
    let statusDescriptor: Int32

    /// - Parameter make: Called on the loop's thread when the configuration arrives.
    init(
        channelCount: Int = 1, clock: any NodeClock = IsolateClock(),
        objects: @escaping @Sendable () -> (any ObjectHosting)? = { nil },
        make: @escaping @Sendable (Env) throws -> any Worker
    ) throws {
        var sockets: [Socket] = []
        var far: [Int32] = []
        var frames: [AsyncStream<Frame>] = []
        for _ in 0..<channelCount {
            var pair: [Int32] = [0, 0]
            guard unsafe socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair) == 0 else {
                throw SystemError("socketpair", errno: errno)
            }
            _ = fcntl(pair[1], F_SETFL, O_NONBLOCK)
            let socket = Socket(pair[0])
            sockets.append(socket)
            far.append(pair[1])
            let (stream, continuation) = AsyncStream.makeStream(of: Frame.self)
            frames.append(stream)
            SystemThread(name: "fake-host") { Self.read(socket, continuation) }.start()
        }
        self.sockets = sockets
        self.frames = frames
        let path = "/tmp/edge-status-\(getpid())-\(UInt64.random(in: 0 ... .max))"
        statusDescriptor = unsafe open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        unsafe unlink(path)
        ftruncate(statusDescriptor, StatusPage.byteCount)
        let (outcomes, outcome) = AsyncStream.makeStream(of: EventLoop.Outcome.self)
        self.outcomes = outcomes
        let descriptors = far
        let page = statusDescriptor
        SystemThread(name: "loop-under-test") {
            guard let mapped = StatusPage(mapping: page),
                let loop = try? EventLoop(
                    channels: descriptors, page: mapped, clock: clock, objects: objects(), makeWorker: make)
            else { return outcome.finish() }
            outcome.yield(loop.run())
            outcome.finish()
        }.start()
    }

    convenience init(
        channelCount: Int = 1, clock: any NodeClock = IsolateClock(),
        configuration: IsolateConfiguration = .test(),
        fetch: @escaping @Sendable (Request, Env, ExecutionContext) async throws -> Response
    ) async throws {
        try self.init(channelCount: channelCount, clock: clock) { _ in FetchWorker(fetch) }
        _ = try await configure(configuration)
    }

    deinit {
        for socket in sockets { socket.shutDown() }
        _ = Glibc.close(statusDescriptor)
    }

    // MARK: Sending

    func send(
        _ kind: FrameKind, _ stream: UInt32, _ payload: [UInt8] = [], flags: FrameFlags = [], channel: Int = 0
    ) {
        var buffer = ByteBuffer()
        buffer.append(FrameHeader(kind, stream: stream, flags: flags, payloadByteCount: payload.count))
        buffer.append(payload)
        sendRaw(unsafe buffer.withReadable { unsafe Array($0) }, channel: channel)
    }

    func sendRaw(_ bytes: [UInt8], channel: Int = 0) {
        var offset = 0
        while offset < bytes.count {
            let count = unsafe bytes[offset...].withUnsafeBytes {
                unsafe Glibc.send(sockets[channel].number, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return }
            offset += count
        }
    }

    func event(
        _ kind: CallKind, _ stream: UInt32, _ message: [UInt8] = [], body: Bool = false, channel: Int = 0
    ) {
        var encoder = WireEncoder()
        encoder.put(kind.rawValue)
        encoder.putRest(message)
        send(.open, stream, encoder.bytes, flags: body ? [] : .end, channel: channel)
    }

    func fetch(
        _ stream: UInt32, _ path: String = "/", method: UInt8 = 1, headers: [(String, String)] = [],
        bodyLength: Int64? = nil, channel: Int = 0
    ) {
        event(
            .fetch, stream,
            Self.fetchMessage(path, method: method, headers: headers, bodyLength: bodyLength),
            body: bodyLength != nil, channel: channel)
    }

    static func fetchMessage(
        _ path: String = "/", method: UInt8 = 1, headers: [(String, String)] = [], bodyLength: Int64? = nil
    ) -> [UInt8] {
        var message = WireEncoder()
        message.put(bodyLength == nil ? 0 : 1 as UInt8)
        message.put(method)
        message.put(bodyLength ?? 0)
        message.put("http://example.com\(path)")
        message.put("gzip")
        message.put(UInt16(headers.count))
        for (name, value) in headers {
            message.put(UInt16(name.utf8.count))
            message.put(UInt32(value.utf8.count))
            message.putRest(Array(name.utf8))
            message.putRest(Array(value.utf8))
        }
        return message.bytes
    }

    func credit(_ byteCount: UInt32, _ stream: UInt32) {
        send(.credit, stream, (0..<4).map { UInt8(truncatingIfNeeded: byteCount >> (8 * $0)) })
    }

    func reset(_ stream: UInt32, code: UInt16 = 0, _ message: String = "") {
        send(.reset, stream, [UInt8(truncatingIfNeeded: code), UInt8(code >> 8)] + Array(message.utf8))
    }

    func close(channel: Int = 0) { sockets[channel].shutDown() }

    // MARK: Receiving

    /// The next frame of a channel. One reader at a time.
    func next(channel: Int = 0) async throws -> Frame {
        for await frame in frames[channel] { return frame }
        throw Ended()
    }

    /// Frames up to one that `matches`, which is the last of them.
    func next(where matches: (Frame) -> Bool) async throws -> Frame {
        while true {
            let frame = try await next()
            if matches(frame) { return frame }
        }
    }

    /// A whole answer to a fetch event; frames of other streams are skipped.
    func answer(_ stream: UInt32, channel: Int = 0) async throws -> Answer {
        var answer: Answer?
        while true {
            let frame = try await next(channel: channel)
            guard frame.stream == stream else { continue }
            switch frame.kind {
            case .open: answer = try Answer(frame.payload)
            case .data: answer?.body += frame.payload
            case .end: break
            case .credit: continue
            case .reset: answer = Answer(reset: frame.payload)
            }
            if frame.isEnd || frame.kind == .end || frame.kind == .reset {
                return answer ?? Answer(reset: [])
            }
        }
    }

    func configure(_ configuration: IsolateConfiguration) async throws -> Frame {
        event(.configure, 1, configuration.encoded())
        return try await next()
    }

    /// How the loop ended.
    func outcome() async -> EventLoop.Outcome? {
        for await outcome in outcomes { return outcome }
        return nil
    }

    private static func header(_ bytes: [UInt8], from offset: Int) -> FrameHeader? {
        try? FrameHeader.read(unsafe bytes.span.bytes.extracting(droppingFirst: offset))
    }

    private static func read(_ socket: Socket, _ frames: AsyncStream<Frame>.Continuation) {
        var pending: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = unsafe buffer.withUnsafeMutableBytes {
                unsafe Glibc.read(socket.number, $0.baseAddress, $0.count)
            }
            guard count > 0 else { return frames.finish() }
            pending += buffer[..<count]
            var offset = 0
            while let header = header(pending, from: offset),
                pending.count - offset >= FrameHeader.byteCount + header.payloadByteCount
            {
                let start = offset + FrameHeader.byteCount
                frames.yield(
                    Frame(
                        kind: header.kind, flags: header.flags, stream: header.stream,
                        payload: Array(pending[start..<(start + header.payloadByteCount)])))
                offset = start + header.payloadByteCount
            }
            pending.removeFirst(offset)
        }
    }
}

/// What a fetch event was answered with.
struct Answer {
    var status = 0
    var headers: [String: String] = [:]
    var flags: UInt8 = 0
    var bodyLength: Int64 = 0
    var spliceStream: UInt32 = 0
    var body: [UInt8] = []
    /// Set when the event failed.
    var failure: CallFailure?
    var resetCode: UInt16?
    var resetMessage = ""

    var text: String { String(decoding: body, as: UTF8.self) }

    init(_ payload: [UInt8]) throws {
        var decoder = WireDecoder(payload)
        guard try decoder.takeUInt8() == 0 else {
            failure = try CallFailure(decoding: &decoder)
            return
        }
        status = Int(try decoder.takeUInt16())
        flags = try decoder.takeUInt8()
        bodyLength = try decoder.takeInt64()
        spliceStream = try decoder.takeUInt32()
        let count = Int(try decoder.takeUInt16())
        var offset = decoder.offset
        for (name, value) in try Headers(message: payload, count: count, from: &offset) {
            headers[name] = value
        }
    }

    init(reset payload: [UInt8]) {
        guard payload.count >= 2 else { return }
        resetCode = UInt16(payload[0]) | UInt16(payload[1]) << 8
        resetMessage = String(decoding: payload[2...], as: UTF8.self)
    }
}

/// A call that the isolate made.
struct Call {
    let kind: CallKind?
    let binding: UInt16
    let parent: UInt32
    let message: [UInt8]

    init(_ frame: FakeHost.Frame) throws {
        var decoder = WireDecoder(frame.payload)
        kind = CallKind(rawValue: try decoder.takeUInt16())
        binding = try decoder.takeUInt16()
        parent = try decoder.takeUInt32()
        message = decoder.takeRest()
    }

    var log: LogMessage? {
        var decoder = WireDecoder(message)
        return kind == .log ? try? LogMessage(decoding: &decoder) : nil
    }
}

final class FetchWorker: FetchHandler {
    private let body: @Sendable (Request, Env, ExecutionContext) async throws -> Response

    init(env: Env) throws { body = { _, _, _ in .text("") } }
    init(_ body: @escaping @Sendable (Request, Env, ExecutionContext) async throws -> Response) {
        self.body = body
    }

    func fetch(_ request: Request, env: Env, context: ExecutionContext) async throws -> Response {
        try await body(request, env, context)
    }
}

extension IsolateConfiguration {
    static func test(
        bindings: [Binding] = [.init("SERVICE", .service)], subrequestsMax: UInt32 = 1000,
        cpuLimitNanoseconds: UInt64 = 30_000_000_000, objectClasses: [ObjectClass] = []
    )
        -> Self
    {
        IsolateConfiguration(
            tenant: "tenant", worker: "worker", version: "v1", environment: "dev", bindings: bindings,
            variables: [("GREETING", .text("hi")), ("LIMITS", .json("{\"max\":3}"))],
            secrets: [("TOKEN", "s3cret")], cpuLimitNanoseconds: cpuLimitNanoseconds, subrequestsMax: subrequestsMax,
            objectClasses: objectClasses)
    }
}

extension Env {
    /// A call on binding 0, as the bindings of Interfaces make it.
    func call(_ kind: CallKind, _ message: [UInt8] = [], body: ByteStream? = nil) async throws -> BindingReply {
        try await invocation.perform(BindingCall(kind, binding: 0, message: message, body: body))
    }
}
