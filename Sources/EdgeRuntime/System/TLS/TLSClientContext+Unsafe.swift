internal import CTLS
internal import Glibc
package import System

/// What the client's side of TLS needs: the authorities that servers are judged by. Immutable, safe on any thread.
@safe package final class TLSClientContext: @unchecked Sendable {
    // `@unchecked`: the SSL_CTX is not changed after init, and such ones may be shared (openssl-threads(7)).
    let pointer: OpaquePointer

    /// Takes the system's authorities, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name
    /// (SSL_CTX_set_default_verify_paths(3)); blocks.
    package init() throws(SystemError) {
        ERR_clear_error()
        guard let pointer = unsafe SSL_CTX_new(TLS_client_method()) else { throw SystemError("SSL_CTX_new", errno: ENOMEM) }
        unsafe self.pointer = pointer
        unsafe edge_tls_set_modes(pointer)
        unsafe SSL_CTX_set_options(pointer, EDGE_TLS_CLIENT_OPTIONS)
        unsafe SSL_CTX_set_verify(pointer, SSL_VERIFY_PEER, nil)
        // A length and a name: other versions know no upgrade (RFC 7301 §3.1).
        let protocols = [UInt8(8)] + Array("http/1.1".utf8)
        guard unsafe edge_tls_set_minimum(pointer) == 1, unsafe SSL_CTX_set_default_verify_paths(pointer) == 1,
            unsafe SSL_CTX_set_alpn_protos(pointer, protocols, UInt32(protocols.count)) == 0
        else {
            unsafe SSL_CTX_free(pointer)
            throw SystemError("SSL_CTX_set_default_verify_paths", errno: ENOMEM)
        }
    }

    deinit { unsafe SSL_CTX_free(pointer) }
}
