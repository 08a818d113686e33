internal import Interfaces

/// The documented texts of the errors that the SDK itself throws, once each.
enum WorkersError {
    static let globalScope = CallFailure(
        "Disallowed operation called within global scope. Asynchronous I/O (ex: fetch() or connect()), "
            + "setting a timeout, and generating random values are not allowed within global scope. "
            + "To fix this error, perform this operation within a handler.")
    static let otherEvent = CallFailure(
        "Cannot perform I/O on behalf of a different request. I/O objects (such as streams, request/response "
            + "bodies, and others) created in the context of one request handler cannot be accessed from a "
            + "different request's handler.")
    static let bodyUsed = CallFailure(
        "Body has already been used. It can only be used once. Use tee() first if you need to read it twice.",
        name: "TypeError")
    static let bodyOnGet = CallFailure(
        "Request with a GET or HEAD method cannot have a body.", name: "TypeError")
    static let nullBodyStatus = CallFailure(
        "Response with null body status (101, 204, 205, or 304) cannot have a body.", name: "TypeError")
    static let tooManySubrequests = CallFailure("Too many subrequests.")
    static let connectionLost = CallFailure("Network connection lost.")
    static let webSocketNotAccepted = CallFailure(
        "You must call one of accept() or state.acceptWebSocket() on this WebSocket before sending messages.", name: "TypeError"
    )
    static let webSocketClosed = CallFailure("Can't call WebSocket send() after close().", name: "TypeError")
    static let webSocketReleased = CallFailure(
        "Can't accept() WebSocket that was already used in a response.", name: "TypeError")
    static let webSocketReturnedTwice = CallFailure(
        "Can't return WebSocket that was already used in a response.", name: "TypeError")
    static let webSocketReturnedAccepted = CallFailure(
        "Can't return WebSocket in a Response after calling accept().", name: "TypeError")
    static let webSocketPeerGone = CallFailure("Can't return a WebSocket whose other end is closed.", name: "TypeError")
    static let webSocketStatus = CallFailure("Responses with a WebSocket must have status code 101.", name: "RangeError")
    static let webSocketNotAskedFor = CallFailure(
        "Worker tried to return a WebSocket in a response to a request which did not contain the header \"Upgrade: websocket\".",
        name: "TypeError")
    static let webSocketCannotHibernate = CallFailure(
        "acceptWebSocket() is for the WebSocket of a request to a Durable Object's fetch().", name: "TypeError")
    static let webSocketHibernates = CallFailure(
        "The messages of a WebSocket that was accepted by acceptWebSocket() go to webSocketMessage().", name: "TypeError")
    static let webSocketReasonAlone = CallFailure(
        "If you specify a WebSocket close reason, you must also specify a code.", name: "TypeError")
    static func webSocketReason(_ byteCount: Int) -> CallFailure {
        CallFailure("A WebSocket close reason has at most 123 bytes of UTF-8, not \(byteCount).", name: "TypeError")
    }
    static func webSocketURL(_ url: String) -> CallFailure {
        CallFailure("WebSocket: the URL \"\(url)\" is not a ws or wss URL.", name: "SyntaxError")
    }
    static func webSocketFragment(_ url: String) -> CallFailure {
        CallFailure("WebSocket: the URL \"\(url)\" must not have a fragment.", name: "SyntaxError")
    }
    static func webSocketProtocols(_ protocols: [String]) -> CallFailure {
        CallFailure("WebSocket: the protocols \(protocols) must be different tokens.", name: "SyntaxError")
    }
    static func webSocketAnswer(_ status: Int) -> CallFailure {
        CallFailure(
            "Failed to establish the WebSocket connection: expected server to reply with HTTP status code 101 "
                + "(switching protocols), but received \(status) instead.")
    }
    static func webSocketCode(_ code: Int) -> CallFailure {
        CallFailure("Invalid WebSocket close code: \(code).", name: "TypeError")
    }
    static func webSocketTooSlow(_ byteCount: Int, max: Int) -> CallFailure {
        CallFailure(
            "The WebSocket's other side reads too slowly: \(byteCount) bytes wait, \(max) may; the connection was closed with 1013."
        )
    }
    static let hung =
        "The Workers runtime canceled this request because it detected that your Worker's code had hung and would "
        + "never generate a response. Refer to: https://developers.cloudflare.com/workers/observability/errors/"
    static let exceededCPU = "Worker exceeded CPU time limit."
    static let waitUntilCancelled =
        "waitUntil() tasks did not complete within the allowed time after invocation end and have been cancelled. "
        + "See: https://developers.cloudflare.com/workers/runtime-apis/context/#waituntil"

    static func statusOutOfRange(_ status: Int) -> CallFailure {
        CallFailure(
            "Responses may only be constructed with status codes in the range 200 to 599, inclusive. (got \(status))",
            name: "RangeError")
    }
    static func redirectStatus(_ status: Int) -> CallFailure {
        CallFailure(
            "Invalid redirect status code: \(status). It must be one of 301, 302, 303, 307, 308.",
            name: "RangeError")
    }
    static func invalidURL(_ text: String) -> CallFailure {
        CallFailure("Invalid URL: \(text.prefix(200))", name: "TypeError")
    }
    static func noMethod(_ name: String) -> CallFailure {
        CallFailure("The RPC receiver does not implement the method \"\(name.prefix(256))\".", name: "TypeError")
    }
    static func noEntrypoint(_ name: String) -> CallFailure {
        CallFailure(
            name.isEmpty
                ? "The worker has no entrypoint for typed calls." : "The worker has no entrypoint \"\(name.prefix(256))\".",
            name: "TypeError")
    }
    static func tooLargeBesideStream(_ byteCount: Int) -> CallFailure {
        CallFailure(
            "Beside a stream, arguments and results of a call have at most \(RPCMessage.inlineByteCountMax) bytes, not \(byteCount)."
        )
    }
    static func tooLargeForRPC(_ byteCount: Int) -> CallFailure {
        CallFailure(
            "Serialized RPC arguments or return values are limited to 32MiB, but the size of this value was: "
                + "\(byteCount) bytes.")
    }
    static func noHandler(_ name: String) -> CallFailure {
        CallFailure("Handler does not export a \(name)() function.", name: "TypeError")
    }
}
