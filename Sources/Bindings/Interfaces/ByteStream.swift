/// A body: bytes that arrive in order and are read once, piece by piece, with back-pressure all the way
/// to their source. Handler code of one isolate runs on one thread, which alone touches a stream.
public final class ByteStream: AsyncSequence, @unchecked Sendable {  // Owner: the isolate's thread.
    public typealias Element = [UInt8]

    /// The number of bytes in all, when it is known before they are read.
    public let length: Int?

    private enum State {
        case bytes([UInt8])
        case source(any ByteStreamSource)
        case finished
        case failed(any Error)
    }
    private var state: State
    /// Whether anything was read: a body can be used once.
    public private(set) var isUsed = false

    /// A body that is in memory.
    public init(_ bytes: [UInt8]) {
        length = bytes.count
        state = .bytes(bytes)
    }

    public convenience init(_ text: String) { self.init(Array(text.utf8)) }

    /// A body that `produce` makes piece by piece; `nil` ends it. Called again only when the last piece was taken.
    public convenience init(length: Int? = nil, produce: @escaping () async throws -> [UInt8]?) {
        self.init(source: ProducedBytes(produce), length: length)
    }

    package init(source: any ByteStreamSource, length: Int?) {
        self.length = length
        state = .source(source)
    }

    private init(taking state: State, length: Int) {
        self.length = length
        self.state = state
    }

    /// The same unread body as one whose length is known; this stream is empty from now on. The source stays the very
    /// same object, so that its bytes can still be forwarded without being read.
    package func withLength(_ length: Int) -> ByteStream {
        precondition(!isUsed, "only an unread body has its whole length before it")
        let sized = ByteStream(taking: state, length: length)
        state = .finished
        isUsed = true
        return sized
    }

    /// The next piece, never empty; `nil` at the end.
    public func next() async throws -> [UInt8]? {
        isUsed = true
        switch state {
        case .bytes(let bytes):
            state = .finished
            return bytes.isEmpty ? nil : bytes
        case .source(let source):
            do {
                while let piece = try await source.next() {
                    if !piece.isEmpty { return piece }
                }
                state = .finished
                return nil
            } catch {
                state = .failed(error)
                throw error
            }
        case .finished: return nil
        case .failed(let error): throw error
        }
    }

    /// Everything that is left.
    ///
    /// - Throws: `BodyTooLarge` as soon as more than `limit` bytes arrive; the rest is cancelled.
    public func collect(upTo limit: Int = 64 << 20) async throws -> [UInt8] {
        var all: [UInt8] = []
        if let length { all.reserveCapacity(Swift.min(length, limit)) }
        while let piece = try await next() {
            guard all.count + piece.count <= limit else {
                cancel()
                throw BodyTooLarge(limit: limit)
            }
            if all.isEmpty { all = piece } else { all.append(contentsOf: piece) }
        }
        return all
    }

    /// Gives up the rest: its source is told to stop.
    public func cancel() {
        if case .source(let source) = state { source.cancel() }
        state = .finished
    }

    /// The bytes when they are all in memory already and unread.
    package var bytesInMemory: [UInt8]? {
        guard case .bytes(let bytes) = state else { return nil }
        return bytes
    }

    /// The source when nothing was read of it yet: its bytes can then be forwarded without being read.
    package var unreadSource: (any ByteStreamSource)? {
        guard !isUsed, case .source(let source) = state else { return nil }
        return source
    }

    /// Somebody else sends the bytes on; this stream has none any more.
    package func markPassedOn() {
        isUsed = true
        state = .finished
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(stream: self) }

    public struct AsyncIterator: AsyncIteratorProtocol {
        let stream: ByteStream
        public mutating func next() async throws -> [UInt8]? { try await stream.next() }
    }

    deinit {
        if case .source(let source) = state { source.cancel() }
    }
}

/// A body was larger than its reader allows.
public struct BodyTooLarge: Error, Sendable, CustomStringConvertible {
    public let limit: Int
    public init(limit: Int) { self.limit = limit }
    public var description: String { "body is larger than \(limit) bytes" }
}

/// Where a stream's bytes come from.
package protocol ByteStreamSource: AnyObject {
    /// The next piece; `nil` at the end. Not called again before it returned.
    func next() async throws -> [UInt8]?
    /// No more will be read. May be called at any time, also after the end.
    func cancel()
}

private final class ProducedBytes: ByteStreamSource {
    private var produce: (() async throws -> [UInt8]?)?

    init(_ produce: @escaping () async throws -> [UInt8]?) { self.produce = produce }

    func next() async throws -> [UInt8]? { try await produce?() }
    func cancel() { produce = nil }
}
