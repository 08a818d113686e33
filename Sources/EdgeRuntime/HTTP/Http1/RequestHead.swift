/// What a request's head says. Everything is a place in the bytes that were parsed, or a fact derived from
/// them; nothing is copied. It is valid until the parser starts on the next request or some of the bytes are
/// consumed.
package struct RequestHead: ~Copyable {
    /// The methods with a number of their own on the wire to an isolate.
    package enum KnownMethod: UInt8, Sendable {
        case other = 0
        case get, head, post, put, delete, options, patch
    }
    /// RFC 9112 §3.2. The fourth form belongs to CONNECT, which is refused.
    package enum TargetForm: Sendable { case origin, absolute, asterisk }

    package internal(set) var method: ByteRange = .empty
    package internal(set) var knownMethod: KnownMethod = .other
    /// As it came.
    package internal(set) var target: ByteRange = .empty
    package internal(set) var targetForm: TargetForm = .origin
    /// The target without scheme and authority: empty or starting with `/` or `?`; `*` in asterisk form.
    package internal(set) var pathAndQuery: ByteRange = .empty
    /// Whether the path is not yet as the URL standard would write it: dot segments, backslashes, characters
    /// to encode, or no path at all.
    package internal(set) var pathNeedsNormalizing = false
    /// HTTP/1.0 or HTTP/1.1; a higher minor version counts as 1 (RFC 9110 §2.5).
    package internal(set) var minorVersion: UInt8 = 1

    package internal(set) var fields = FieldSection()

    /// The host that the request is for: the authority of an absolute target, else `Host`; `nil` only in
    /// HTTP/1.0.
    package internal(set) var host: HostAndPort?
    /// `nil` when the head has no `Content-Length`.
    package internal(set) var contentLength: Int64?
    package internal(set) var isChunked = false
    /// Whether the client wants to send another request on this connection.
    package internal(set) var keepAlive = true
    /// Whether the client waits for `100 Continue` before it sends the body.
    package internal(set) var expectsContinue = false
    /// A GET of HTTP/1.1 with `Upgrade: websocket` and `Connection: upgrade`. Its keys are not checked.
    package internal(set) var isWebSocketUpgrade = false

    init() {}

    /// Whether bytes of a body follow the head.
    package var hasBody: Bool { isChunked || (contentLength ?? 0) > 0 }

    mutating func reset() {
        knownMethod = .other
        targetForm = .origin
        pathNeedsNormalizing = false
        fields.reset(at: 0)
        host = nil
        contentLength = nil
        isChunked = false
        keepAlive = true
        expectsContinue = false
        isWebSocketUpgrade = false
    }
}
