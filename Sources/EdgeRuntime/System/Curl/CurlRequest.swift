/// One request, as it will stand on the wire.
package struct CurlRequest: Sendable {
    package enum Body: Sendable {
        case none
        /// Can be sent again on another connection when a kept one turns out to be dead.
        case bytes([UInt8])
        /// Sent piece by piece with `CurlTransfer.send`; without a length, in chunks.
        case streamed(length: Int64?)
    }

    package var method: String
    /// `http` or `https`, without user name and fragment.
    package var url: String
    /// Without those that the body and the connection decide. Names and values are valid.
    package var headers: [(name: String, value: String)]
    package var body: Body
    package var timeouts = CurlTimeouts()
    /// A file of certificates in PEM, by which an https server is judged; `nil` for the system's.
    package var authorities: String?
    /// Asked for each address that a connection would go to, on the engine's thread.
    package var mayConnect: @Sendable (PeerAddress) -> Bool

    package init(
        method: String, url: String, headers: [(name: String, value: String)], body: Body = .none,
        mayConnect: @escaping @Sendable (PeerAddress) -> Bool
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.mayConnect = mayConnect
    }
}

/// How long a transfer may stand still, by the node's clock.
package struct CurlTimeouts: Equatable, Sendable {
    /// Name resolution, connection and TLS together.
    package var connect: Duration = .seconds(15)
    /// From the last byte of the request that was sent to the response's head. The product waits 100 s and
    /// more.
    package var head: Duration = .seconds(100)
    /// Between two pieces of a body, when it isn't our side that waits.
    package var idle: Duration = .seconds(100)

    package init() {}
}

/// The head of a response. Names are in lower case, lines in their order.
package struct CurlHead: Sendable {
    package var status: Int
    package var headers: [(name: String, value: String)] = []

    package init(status: Int) { self.status = status }
}

/// Why a transfer ended without its whole response.
package enum CurlError: Error, Equatable, Sendable, CustomStringConvertible {
    package enum Phase: String, Sendable { case connect, head, idle }

    case cancelled
    /// No address of the host may be connected to; this was one of them.
    case refused(PeerAddress)
    case timedOut(Phase)
    /// libcurl's code and its text.
    case failed(code: Int32, String)
    case headTooLarge(limit: Int)
    /// The sender of the body gave less than it had declared, or gave up.
    case uploadIncomplete
    case closed

    package var description: String {
        switch self {
        case .cancelled: "cancelled"
        case .refused(let address): "the address \(address) may not be reached"
        case .timedOut(let phase): "timed out (\(phase.rawValue))"
        case .failed(let code, let text): "libcurl \(code): \(text)"
        case .headTooLarge(let limit): "the response's head is larger than \(limit) bytes"
        case .uploadIncomplete: "the request's body ended early"
        case .closed: "the node is stopping"
        }
    }
}
