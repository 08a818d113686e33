public import HTTP

extension ExecutionContext {
    /// Opens a WebSocket to a server outside, through the node, and accepts it: the short form of a `fetch` with
    /// `Upgrade: websocket`, whose answer has it in `Response.webSocket`.
    ///
    /// - Parameters:
    ///   - url: `ws` or `wss`; `http` and `https` mean the same. Without a fragment.
    ///   - protocols: Subprotocols, the one liked best first. `WebSocket.subprotocol` says which one the server chose.
    ///   - headers: For the request besides those of the handshake.
    /// - Throws: a SyntaxError for a URL or protocols that can't be; an Error when the server answers otherwise; what `fetch` throws.
    ///   Redirects are not followed.
    public func webSocket(
        _ url: String, protocols: [String] = [], headers: Headers = Headers()
    ) async throws -> WebSocket {
        guard let parsed = WebURL(url), let target = Self.httpURL(parsed) else { throw WorkersError.webSocketURL(url) }
        guard parsed.fragment == nil else { throw WorkersError.webSocketFragment(url) }
        guard Set(protocols.map { $0.lowercased() }).count == protocols.count, protocols.allSatisfy(Self.isToken) else {
            throw WorkersError.webSocketProtocols(protocols)
        }
        var request = try Request(target, headers: headers, redirect: .manual)
        try request.headers.set("upgrade", "websocket")
        if !protocols.isEmpty { try request.headers.set("sec-websocket-protocol", protocols.joined(separator: ", ")) }
        let response = try await fetch(request)
        guard let socket = response.webSocket else {
            response.body?.cancel()
            throw WorkersError.webSocketAnswer(response.status)
        }
        socket.subprotocol = response.headers.get("sec-websocket-protocol")
        try socket.accept()
        return socket
    }

    private static func httpURL(_ url: WebURL) -> WebURL? {
        switch url.scheme {
        case "http", "https": url
        case "ws", "wss": WebURL("http" + url.href.dropFirst(2))
        default: nil
        }
    }

    /// RFC 9110 §5.6.2.
    private static func isToken(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"):
                    true
                default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
                }
            }
    }
}
