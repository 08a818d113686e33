package import HTTP
package import Stores

/// A request to the outside, as a handler made it.
package struct OutboundRequest: Sendable {
    package enum Body: Sendable {
        case none
        /// Can be sent again when a redirect asks for it.
        case bytes([UInt8])
        /// Without a length it is sent in chunks. One of at most `OutboundLimits.replayBytesMax` declared
        /// bytes is read first and then treated as bytes.
        case stream(any BodySource, length: Int64?)
    }
    package enum Redirect: Sendable { case follow, manual }

    package var method: String
    package var url: String
    /// Hop-by-hop fields, `Host` and `Content-Length` are left out: the connection decides them.
    package var headers: Headers
    /// `Host` as a proxy passes it on; `nil`: the URL's.
    package var host: String?
    package var body: Body
    package var redirect: Redirect
    /// Whether a streamed body was made of bytes: a redirect that wants it again gets it, up to
    /// `OutboundLimits.bufferBytesMax`.
    package var isBodyReplayable = false

    package init(
        method: String, url: String, headers: Headers = Headers(), body: Body = .none,
        redirect: Redirect = .follow
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.redirect = redirect
    }
}

/// A response whose head has come.
package struct OutboundResponse: Sendable {
    package var status: Int
    /// Without hop-by-hop fields.
    package var headers: Headers
    /// `nil` when the response can't have one.
    package var body: (any BodySource)?
    /// `nil` when it isn't known.
    package var bodyLength: Int64?
    /// Where the response came from, after redirects.
    package var url: String
    package var redirectCount: Int
}

package enum OutboundLimits {
    /// As the fetch standard counts them.
    package static let redirectsMax = 20
    /// A body that is known to be this small is kept for a redirect that wants it again: a stream's first
    /// credit.
    package static let replayBytesMax: Int64 = 256 << 10
    /// The same for one that its sender had in memory as well.
    package static let bufferBytesMax: Int64 = 8 << 20
    /// What all kept bodies may hold beyond `replayBytesMax` each; more are sent as streams.
    package static let bufferedBytesMax = 64 << 20
}

/// Why a fetch failed. `name` and `message` are what the handler sees; the rest is for the log.
package enum OutboundError: Error, Equatable, Sendable, CustomStringConvertible {
    case invalidURL(String)
    case invalidHeader(String)
    /// The worker was not granted this host.
    case hostNotAllowed(host: String, port: UInt16)
    case addressNotAllowed(host: String, address: String)
    case tooManyRedirects
    case invalidLocation
    case oneTimeBody
    /// No connection, or one that broke; the reason isn't for the handler.
    ///
    /// - Parameter status: what a proxy answers then (520 … 530).
    case connectionLost(reason: String, status: Int = 520)
    /// The server has answered 101, and then it wasn't what was asked for.
    case badUpgrade(reason: String)
    case cancelled

    /// The class of the error.
    package var name: String {
        switch self {
        case .invalidURL, .invalidHeader, .tooManyRedirects, .invalidLocation, .oneTimeBody: "TypeError"
        case .hostNotAllowed, .addressNotAllowed, .connectionLost, .badUpgrade, .cancelled: "Error"
        }
    }

    package var message: String {
        switch self {
        case .invalidURL(let url): "Fetch API cannot load: \(url)"
        case .invalidHeader(let reason): reason
        case .hostNotAllowed(let host, let port):
            "fetch to \(host), port \(port), is not allowed: the worker's [outbound] allow list does not name it"
        case .addressNotAllowed(let host, let address):
            "fetch to \(host) is not allowed: \(address) is not a public address; "
                + "[outbound] private = true grants those"
        case .tooManyRedirects: "Too many redirects."
        case .invalidLocation: "Invalid Location header; unable to follow redirect."
        case .oneTimeBody:
            "A request with a one-time-use body (it was initialized from a stream, not a buffer) encountered a "
                + "redirect requiring the body to be retransmitted. To avoid this error in the future, construct "
                + "this request from a buffer-like body initializer."
        case .connectionLost: "Network connection lost."
        case .badUpgrade(let reason): "WebSocket handshake failed: \(reason)."
        case .cancelled: "The operation was aborted"
        }
    }

    /// What a proxy answers when its origin fails so.
    package var proxyStatus: Int {
        if case .connectionLost(_, let status) = self { return status }
        return 520
    }

    package var description: String {
        if case .connectionLost(let reason, _) = self { return "\(message) (\(reason))" }
        return "\(name): \(message)"
    }
}
