package import Stores

/// A request that the node answers itself: its control listener, and what belongs to the host on a public one.
package struct LocalRequest: Sendable {
    package enum Listener: Sendable { case edge, control, s3 }

    package struct TLS: Equatable, Sendable {
        /// 2 for TLS 1.2.
        package var minorVersion: Int
        /// As OpenSSL names it.
        package var cipher: String

        package init(minorVersion: Int, cipher: String) {
            self.minorVersion = minorVersion
            self.cipher = cipher
        }
    }

    package var listener: Listener
    package var method: String
    /// Path and query as sent; on a public listener as a URL has them.
    package var target: String
    package var host: String
    /// In the order sent, names in lower case.
    package var headers: [(name: String, value: String)]
    package var body: (any BodySource)?
    /// The address of the connection's other end.
    package var client: String
    /// Whether it came by https.
    package var isSecure = false
    /// What client and node agreed on, on a public listener; `nil` without TLS, and behind a worker.
    package var tls: TLS?
    /// `HTTP/1.1` or `HTTP/2`.
    package var protocolName: String

    package init(
        listener: Listener, method: String, target: String, host: String,
        headers: [(name: String, value: String)], body: (any BodySource)?, client: String = "",
        protocolName: String = "HTTP/1.1"
    ) {
        self.listener = listener
        self.method = method
        self.target = target
        self.host = host
        self.headers = headers
        self.body = body
        self.client = client
        self.protocolName = protocolName
    }

    /// The target without its query, still percent-encoded.
    package var path: String { String(target.prefix { $0 != "?" }) }
    /// What stands behind the first `?`.
    package var query: String { target.contains("?") ? String(target.drop { $0 != "?" }.dropFirst()) : "" }

    package func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
}

package struct LocalResponse: Sendable {
    package var status: Int
    package var headers: [(name: String, value: String)]
    package var body: StoreBody
    /// How long the body is: a stream must come to exactly that, and what HEAD leaves out isn't `body`. `nil`: its end tells.
    package var bodyByteCount: Int?
    /// The request becomes a WebSocket: status and headers are the connection's business then, and there is no body.
    package var webSocket: WebSocketUpgrade?

    package init(
        status: Int, headers: [(name: String, value: String)] = [], body: StoreBody = .bytes([]), bodyByteCount: Int? = nil
    ) {
        self.status = status
        self.headers = headers
        self.body = body
        self.bodyByteCount = bodyByteCount ?? body.length
    }

    package static func json(_ text: String, status: Int = 200) -> LocalResponse {
        LocalResponse(
            status: status, headers: [("content-type", "application/json")], body: .bytes(Array(text.utf8)))
    }

    package static func text(_ text: String, status: Int = 200) -> LocalResponse {
        LocalResponse(
            status: status, headers: [("content-type", "text/plain; charset=utf-8")], body: .bytes(Array(text.utf8)))
    }
}

/// Answers local requests. Runs on the reactor that has the connection, so it must not block.
package protocol LocalHandler: Sendable {
    func answer(_ request: LocalRequest) async -> LocalResponse
}
