internal import Interfaces
internal import Stores
internal import System

/// A body that is ready to go somewhere: to the isolate that asked for it, or straight to a client.
enum ReplyBody {
    case stored(StoreBody)
    /// What another isolate sends.
    case stream(ChannelStream)
    /// A request's body that its handler gave back unread.
    case redirected(any RedirectableProducer)
    /// A WebSocket that an object has accepted to hibernate, whose client is still to come.
    case hibernating(ObjectSocket)

    /// Starts to push the body to `consumer`, which can take `window` bytes at once. The caller keeps the producer
    /// for as long as the body flows.
    func start(on reactor: Reactor, to consumer: any BodyConsumer, window: Int) -> any BodyProducer {
        switch self {
        case .stream(let stream):
            stream.connect(to: consumer, window: window)
            return stream
        case .redirected(let producer):
            producer.redirect(to: consumer)
            producer.grant(window)
            return producer
        case .hibernating(let socket):
            if let call = consumer as? CallStream { return socket.connect(to: call) }
            let producer = RefusedSocket(socket, to: consumer)
            reactor.later { producer.refuse() }
            return producer
        case .stored(.bytes(let bytes)):
            let producer = BytesProducer(bytes, to: consumer)
            producer.grant(window)
            return producer
        case .stored(.file(let slice)):
            let producer = SourceProducer(FileReader(slice, pool: reactor.files), to: consumer, on: reactor)
            producer.grant(window)
            return producer
        case .stored(.stream(let source)):
            let producer = SourceProducer(source, to: consumer, on: reactor)
            producer.grant(window)
            return producer
        }
    }

    func cancel(_ reason: StreamReset) {
        switch self {
        case .stream(let stream): stream.cancel(reason)
        case .redirected(let producer): producer.cancel(reason)
        case .hibernating(let socket): socket.refuse()
        case .stored(.stream(let source)): source.cancel()
        case .stored: break
        }
    }
}

/// A hibernating WebSocket whose other end is taken by somebody who knows nothing of WebSockets.
final class RefusedSocket: BodyProducer {
    private let socket: ObjectSocket
    private weak var consumer: (any BodyConsumer)?

    init(_ socket: ObjectSocket, to consumer: any BodyConsumer) {
        self.socket = socket
        self.consumer = consumer
    }

    func refuse() {
        socket.refuse()
        consumer?.fail(
            StreamReset(.internal, "a WebSocket is no body"))
    }

    func grant(_ byteCount: Int) {}
    func cancel(_ reason: StreamReset) { socket.refuse() }
}

/// Pushes bytes that are in memory.
final class BytesProducer: BodyProducer {
    private let bytes: [UInt8]
    private var position = 0
    private weak var consumer: (any BodyConsumer)?
    private var isDone = false

    init(_ bytes: [UInt8], to consumer: any BodyConsumer) {
        self.bytes = bytes
        self.consumer = consumer
    }

    func grant(_ byteCount: Int) {
        guard !isDone, let consumer, byteCount > 0 || bytes.isEmpty else { return }
        let end = min(bytes.count, position + byteCount)
        let range = position..<end
        position = end
        isDone = end == bytes.count
        if !range.isEmpty {
            unsafe bytes.withUnsafeBytes { unsafe consumer.receive(UnsafeRawBufferPointer(rebasing: $0[range])) }
        }
        if isDone { consumer.finish() }
    }

    func cancel(_ reason: StreamReset) { isDone = true }
}

/// Pulls from a `BodySource`, which may have to wait, and pushes what it gets.
final class SourceProducer: BodyProducer, @unchecked Sendable {  // Owner: the reactor's thread.
    private let source: any BodySource
    private let reactor: Reactor
    private weak var consumer: (any BodyConsumer)?
    private var allowance = 0
    private var isPulling = false
    private var isDone = false
    /// What was pulled beyond the allowance: the rest of one piece.
    private var rest: ArraySlice<UInt8> = []

    init(_ source: any BodySource, to consumer: any BodyConsumer, on reactor: Reactor) {
        self.source = source
        self.consumer = consumer
        self.reactor = reactor
    }

    func grant(_ byteCount: Int) {
        allowance += byteCount
        push()
    }

    func cancel(_ reason: StreamReset) {
        guard !isDone else { return }
        isDone = true
        source.cancel()
    }

    private func push() {
        guard let consumer, !isDone else { return }
        while !rest.isEmpty, allowance > 0 {
            let piece = rest.prefix(allowance)
            rest = rest.dropFirst(piece.count)
            allowance -= piece.count
            unsafe piece.withUnsafeBytes { unsafe consumer.receive($0) }
        }
        guard rest.isEmpty, allowance > 0, !isPulling else { return }
        isPulling = true
        // The task is owned by the pull: it ends with it, or with the source's cancellation.
        Task(executorPreference: reactor) { await self.pull() }
    }

    private func pull() async {
        do {
            let piece = try await source.next()
            isPulling = false
            guard !isDone else { return }
            if let piece {
                rest = piece[...]
                push()
            } else {
                isDone = true
                consumer?.finish()
            }
        } catch {
            isPulling = false
            guard !isDone else { return }
            isDone = true
            consumer?.fail(StreamReset(.internal, "\(error)"))
        }
    }
}

/// Reads a file's range piece by piece on the pool for blocking work.
final class FileReader: BodySource, @unchecked Sendable {  // One reader at a time, by contract.
    private let slice: FileSlice
    private let pool: BlockingPool
    private var position = 0
    static let pieceByteCount = 128 << 10

    init(_ slice: FileSlice, pool: BlockingPool) {
        self.slice = slice
        self.pool = pool
    }

    func next() async throws -> [UInt8]? {
        let count = min(Self.pieceByteCount, slice.byteCount - position)
        guard count > 0 else { return nil }
        let offset = slice.offset + Int64(position)
        let slice = slice
        let piece = try await pool.run { () throws(SystemError) in
            try slice.descriptor.read(at: offset, count: count)
        }
        position += piece.count
        return piece
    }

    func cancel() {}
}
