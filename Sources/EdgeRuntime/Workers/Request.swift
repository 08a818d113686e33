public import Caching
internal import Interfaces

/// An HTTP request: one that came in, or one to be sent with `context.fetch` or a service binding.
public struct Request: BodyMessage, Sendable {
    let storage: RequestStorage
    public var headers: Headers
    /// `nil` when the request has no body. It can be read once.
    public let body: ByteStream?
    /// What the node does with a redirect when this request is sent. The incoming request has `manual`, so that
    /// proxying it hands 3xx responses on.
    public var redirect: RedirectMode
    /// How the node's cache treats this request when it is sent to the outside, and what it is looked up by in `Cache`.
    public var cache = CacheOptions()

    /// - Throws: when the URL can't be parsed, or a GET or HEAD request is given a body.
    public init(
        _ url: WebURL, method: Method = .get, headers: Headers = Headers(), body: ByteStream? = nil,
        redirect: RedirectMode = .follow
    ) throws {
        guard body == nil || (method != .get && method != .head) else { throw WorkersError.bodyOnGet }
        storage = RequestStorage(method: method, url: url)
        self.headers = headers
        self.body = body
        self.redirect = redirect
    }

    public init(
        _ url: String, method: Method = .get, headers: Headers = Headers(), body: ByteStream? = nil,
        redirect: RedirectMode = .follow
    ) throws {
        guard let parsed = WebURL(url) else { throw WorkersError.invalidURL(url) }
        try self.init(parsed, method: method, headers: headers, body: body, redirect: redirect)
    }

    /// A copy of `request` with another URL, method or body; the body moves along unless one is given.
    public init(
        _ request: Request, url: WebURL? = nil, method: Method? = nil, body: ByteStream? = nil
    ) throws {
        let method = method ?? request.method
        let body = body ?? request.body
        guard body == nil || (method != .get && method != .head) else { throw WorkersError.bodyOnGet }
        storage = RequestStorage(method: method, url: url ?? request.url)
        headers = request.headers
        self.body = body
        redirect = request.redirect
        cache = request.cache
    }

    init(_ storage: RequestStorage, headers: Headers, body: ByteStream?) {
        self.storage = storage
        self.headers = headers
        self.body = body
        redirect = .manual
    }

    public var method: Method { storage.method }

    /// The complete URL, normalised by the node.
    public var url: WebURL { storage.url }

    /// The path of the URL, percent-encoded as it came; cheaper than `url.path`.
    public var path: String { storage.path }

    /// Whether it asks for a WebSocket.
    var asksForWebSocket: Bool { method == .get && headers.get("upgrade")?.lowercased() == "websocket" }

    /// What the node knows about the client beyond the headers.
    public var cf: RequestProperties {
        RequestProperties(
            colo: headers.get("cf-ray")?.split(separator: "-").last.map(String.init), country: headers.get("cf-ipcountry"),
            clientAcceptEncoding: storage.clientAcceptEncoding)
    }
}

/// Properties of an incoming request. All are optional.
public struct RequestProperties: Sendable {
    public let colo: String?
    /// ISO code; `XX` when unknown.
    public let country: String?
    /// The client's own `Accept-Encoding`, which the node replaced.
    public let clientAcceptEncoding: String?
}

public enum RedirectMode: UInt8, Sendable {
    /// The node follows up to 20 redirects.
    case follow = 0
    /// A 3xx response is returned as it is.
    case manual = 1
}
