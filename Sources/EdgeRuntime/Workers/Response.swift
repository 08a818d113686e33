internal import FoundationEssentials
internal import Interfaces

/// The answer to a request.
///
/// A response made by one of the static functions is checked when it is sent: a status outside 200...599, or a body with
/// a status that can't have one, fails the event as if the handler had thrown.
public struct Response: BodyMessage, Sendable {
    enum Content: Sendable {
        case none
        case text(String)
        case bytes([UInt8])
        case stream(ByteStream)
    }

    /// Who compresses the body for the client.
    public enum BodyEncoding: Sendable {
        /// The node, where it helps.
        case automatic
        /// The handler did, as `Content-Encoding` says.
        case manual
    }

    public private(set) var status: Int
    public var headers: Headers
    public var encoding = BodyEncoding.automatic
    var content: Content
    /// The client's end of a WebSocket, in an answer that makes one of its connection; in what `fetch` returned the end that
    /// leads to whoever answered.
    public private(set) var webSocket: WebSocket?
    /// What becomes of the other end, when the response itself says it.
    private(set) var conversation: SocketConversation?

    /// - Throws: a RangeError when `status` is outside 200...599; a TypeError when 101, 204, 205 or 304 gets a body.
    public init(
        status: Int = 200, headers: Headers = Headers(), body: ByteStream? = nil
    ) throws {
        self.init(unchecked: status, headers, body.map { .stream($0) } ?? .none)
        if let flaw { throw flaw }
    }

    /// A response with `body`, status 200.
    public init(body: ByteStream?, headers: Headers = Headers()) {
        self.init(unchecked: 200, headers, body.map { .stream($0) } ?? .none)
    }

    init(unchecked status: Int, _ headers: Headers, _ content: Content) {
        self.status = status
        self.headers = headers
        self.content = content
    }

    /// The answer to a WebSocket that another worker or server has accepted.
    init(_ headers: Headers, _ socket: WebSocket) {
        self.init(unchecked: 101, headers, .none)
        webSocket = socket
    }

    /// Makes a WebSocket of the client's connection. `socket` is one end of a pair, not accepted, whose other end the worker
    /// keeps; or what `fetch` returned, which the node then passes on without this worker.
    ///
    /// - Parameter headers: For the answer; `Sec-WebSocket-Protocol` says which of the client's protocols was chosen.
    public static func webSocket(_ socket: WebSocket, headers: Headers = Headers()) -> Response { Response(headers, socket) }

    /// Makes a WebSocket of the client's connection and hands it, accepted, to `body`, which runs as long as it likes. When it
    /// returns the WebSocket is closed with 1000, when it throws with 1011. It is cancelled when the connection must end.
    ///
    /// Each message may use what a request may: CPU time, calls, log lines.
    public static func webSocket(
        headers: Headers = Headers(), _ body: @escaping (WebSocket) async throws -> Void
    ) -> Response {
        let pair = WebSocketPair()
        var response = Response(headers, pair.client)
        response.conversation = SocketConversation(socket: pair.server, body: body)
        return response
    }

    public static func text(_ text: String, status: Int = 200) -> Response {
        Response(unchecked: status, CommonHeaders.text, .text(text))
    }

    public static func html(_ text: String, status: Int = 200) -> Response {
        Response(unchecked: status, CommonHeaders.html, .text(text))
    }

    /// - Throws: `EncodingError`.
    public static func json(_ value: some Encodable, status: Int = 200) throws -> Response {
        Response(unchecked: status, CommonHeaders.json, .bytes([UInt8](try JSONEncoder().encode(value))))
    }

    /// A response whose body is JSON already.
    public static func json(text: String, status: Int = 200) -> Response {
        Response(unchecked: status, CommonHeaders.json, .text(text))
    }

    public static func bytes(
        _ bytes: [UInt8], type: String = "application/octet-stream", status: Int = 200
    ) -> Response {
        Response(unchecked: status, CommonHeaders.contentType(type), .bytes(bytes))
    }

    /// A response whose body is produced while it is sent; sent chunked when `body.length` is unknown.
    public static func stream(
        _ body: ByteStream, type: String = "application/octet-stream", status: Int = 200
    ) -> Response {
        Response(unchecked: status, CommonHeaders.contentType(type), .stream(body))
    }

    /// A response without a body.
    public static func empty(status: Int = 204) -> Response { Response(unchecked: status, Headers(), .none) }

    /// - Parameter status: 301, 302, 303, 307 or 308.
    /// - Throws: a RangeError for another status; an error when `url` can't stand in a header.
    public static func redirect(_ url: String, status: Int = 302) throws -> Response {
        guard [301, 302, 303, 307, 308].contains(status) else { throw WorkersError.redirectStatus(status) }
        var headers = Headers()
        try headers.set("location", url)
        return Response(unchecked: status, headers, .none)
    }

    /// The body as a stream; `nil` when there is none.
    public var body: ByteStream? {
        switch content {
        case .none: nil
        case .text(let text): ByteStream(text)
        case .bytes(let bytes): ByteStream(bytes)
        case .stream(let stream): stream
        }
    }

    /// Whether the status is in 200...299.
    public var isSuccess: Bool { (200...299).contains(status) }

    /// Why this response can't be sent, or `nil`.
    var flaw: CallFailure? {
        if webSocket != nil {
            guard status == 101 else { return WorkersError.webSocketStatus }
            guard case .none = content else { return WorkersError.nullBodyStatus }
            return nil
        }
        if status == 101, case .none = content { return WorkersError.statusOutOfRange(status) }
        guard (200...599).contains(status) || status == 101 else {
            return WorkersError.statusOutOfRange(status)
        }
        switch (status, content) {
        case (_, .none): return nil
        case (101, _), (204, _), (205, _), (304, _): return WorkersError.nullBodyStatus
        default: return nil
        }
    }
}

/// What a worker does with a WebSocket. Not Sendable by itself: it is made and run on the isolate's thread.
final class SocketConversation: @unchecked Sendable {
    let socket: WebSocket
    let body: (WebSocket) async throws -> Void

    init(socket: WebSocket, body: @escaping (WebSocket) async throws -> Void) {
        self.socket = socket
        self.body = body
    }
}

/// Header lists that are made once.
enum CommonHeaders {
    static let text = contentType("text/plain; charset=utf-8")
    static let html = contentType("text/html; charset=utf-8")
    static let json = contentType("application/json")
    static let octets = contentType("application/octet-stream")

    static func contentType(_ type: String) -> Headers {
        var headers = Headers()
        // A type that can't stand in a header is left out rather than sent.
        try? headers.set("content-type", type)
        return headers
    }
}
