internal import Interfaces

/// One end of a WebSocket, in a worker's hands: that of a client which the worker has answered with `Response.webSocket`, or
/// that of another worker or server, in `Response.webSocket` of what `fetch` returned.
///
/// ```swift
/// for try await message in socket { try socket.send(message) }
/// ```
///
/// The node speaks the protocol: it puts fragments together, checks texts, compresses, and answers pings and Close frames. A
/// message comes here as a whole. One that is larger than 32 MiB ends the connection with 1009.
///
/// The loop ends with the conversation; `closing` says then how it ended. An end that nobody holds any more is closed with 1001.
public final class WebSocket: AsyncSequence, @unchecked Sendable {  // Owner: the isolate's thread.
    public typealias Element = WebSocketMessage

    public enum ReadyState: Int, Sendable {
        case connecting = 0
        case open = 1
        /// One side has said that it closes.
        case closing = 2
        case closed = 3
    }

    let end: SocketEnd

    init(_ end: SocketEnd) { self.end = end }

    deinit { end.letGo() }

    public var readyState: ReadyState { end.readyState }

    /// How the conversation ended; `nil` while it goes on.
    public var closing: WebSocketClose? { end.closing.map { WebSocketClose($0) } }

    /// What `ExecutionContext.webSocket` agreed on with the server; `nil` for sockets that were made otherwise.
    public internal(set) var subprotocol: String?

    /// Bytes of messages that wait to be taken by the node.
    public var bufferedByteCount: Int { end.queuedByteCount }

    /// What may wait to be sent. When it is exceeded the other side is too slow, and the connection is closed with 1013. One
    /// message may be larger.
    public var bufferedByteCountMax = 8 << 20

    /// Begins the conversation at this end. Nothing is delivered before; what comes meanwhile waits.
    ///
    /// - Throws: a TypeError when this end was returned in a response.
    public func accept() throws { try end.accept() }

    /// Sends a text. Does not wait; see `drained`.
    ///
    /// - Throws: a TypeError before `accept` and after `close`, and an Error when too much waits already. On a connection that
    ///   was lost nothing is sent, and nothing thrown.
    public func send(_ text: String) throws { try send(.text, Array(text.utf8)) }

    /// Sends bytes, as above.
    public func send(_ bytes: [UInt8]) throws { try send(.binary, bytes) }

    /// Sends a message, as above.
    public func send(_ message: WebSocketMessage) throws {
        switch message {
        case .text(let text): try send(text)
        case .binary(let bytes): try send(bytes)
        }
    }

    private func send(_ kind: SocketRecord.Kind, _ bytes: [UInt8]) throws {
        try end.send(kind, bytes, queuedByteCountMax: bufferedByteCountMax)
    }

    /// Waits until the node has taken what was sent: a handler that sends more than its client reads waits here.
    ///
    /// - Throws: `CancellationError`.
    public func drained() async throws { try await end.drained() }

    /// Ends the conversation, behind what was sent. Messages that are on their way still come. The second call does nothing.
    ///
    /// - Parameters:
    ///   - code: 1000, or 3000...4999.
    ///   - reason: At most 123 bytes of UTF-8; it needs a code.
    /// - Throws: a TypeError for anything else, and before `accept`.
    public func close(_ code: Int? = nil, _ reason: String? = nil) throws {
        if let code, code != 1000, !(3000...4999).contains(code) { throw WorkersError.webSocketCode(code) }
        if let reason {
            guard code != nil else { throw WorkersError.webSocketReasonAlone }
            guard reason.utf8.count <= 123 else { throw WorkersError.webSocketReason(reason.utf8.count) }
        }
        try end.close(SocketClose(code: code.map { UInt16($0) }, reason: reason ?? ""))
    }

    /// The next message; `nil` when the conversation has ended.
    ///
    /// - Throws: a TypeError before `accept`; `CancellationError`.
    public func next() async throws -> WebSocketMessage? { try await end.next() }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(socket: self) }

    public struct AsyncIterator: AsyncIteratorProtocol {
        let socket: WebSocket
        public mutating func next() async throws -> WebSocketMessage? { try await socket.next() }
    }
}

public enum WebSocketMessage: Equatable, Sendable {
    case text(String)
    case binary([UInt8])
}

/// How a WebSocket was closed.
public struct WebSocketClose: Equatable, Sendable {
    /// 1005: the other side gave none; 1006: it went without a Close frame.
    public let code: Int
    public let reason: String
    /// Whether both sides have closed.
    public let wasClean: Bool

    init(_ close: SocketClose) {
        code = close.code.map { Int($0) } ?? 1005
        reason = close.reason
        wasClean = close.wasClean
    }
}

/// Two ends of one WebSocket: `client` goes into a response, `server` stays with the worker.
public struct WebSocketPair: Sendable {
    public let client: WebSocket
    public let server: WebSocket

    public init() {
        let (first, second) = SocketEnd.pair()
        client = WebSocket(first)
        server = WebSocket(second)
    }
}
