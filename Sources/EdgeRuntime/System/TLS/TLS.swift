// TLS is the owner of libssl: certificates and keys from files, what a server's handshakes need of them, and the sessions of
// single connections. It knows sockets and bytes, nothing of HTTP, and opens no connection itself.
//
// Rules of the library that hold here (openssl-threads(7), SSL_CTX_new(3), SSL_get_error(3), SSL_write(3)):
// - An SSL_CTX that is no longer changed may be used by several threads; an SSL by one at a time. Each SSL holds a reference to
//   its SSL_CTX, so a context can be replaced while sessions of the old one go on.
// - SSL_get_error looks at the thread's error queue, which therefore is emptied before each call.
// - A write that the socket didn't take is tried again with the same bytes in front. They may lie elsewhere by then
//   (SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER).
// - After a fatal error a session is neither read nor written, nor is its end announced.

/// What one step of a session came to.
package enum TLSStep: Equatable, Sendable {
    /// That many bytes were read or written; a handshake moves none.
    case moved(Int)
    /// The socket has nothing to read now.
    case wantsRead
    /// The socket takes nothing now.
    case wantsWrite
    /// The peer has said that it sends nothing more, or has closed.
    case ended
    /// The session is over. The reason is the library's own; `nil`: the socket failed.
    case failed(String?)
}

/// The files of one certificate. Both are PEM; behind the certificate stand those that lead to a trusted one.
package struct TLSFiles: Hashable, Sendable {
    package let certificate: String
    package let key: String

    package init(certificate: String, key: String) {
        self.certificate = certificate
        self.key = key
    }
}

/// A protocol that is chosen during the handshake (ALPN, RFC 7301), best first.
package enum ApplicationProtocol: String, CaseIterable, Sendable {
    case http2 = "h2"
    case http11 = "http/1.1"
    /// Our parser reads it, and some old clients name nothing newer.
    case http10 = "http/1.0"
}
