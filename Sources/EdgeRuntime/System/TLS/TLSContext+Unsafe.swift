internal import CTLS
package import System

/// What a server's handshakes need: its certificates, by name, and the keys of its tickets. Immutable, safe on any thread;
/// certificates are replaced by a new context, and sessions that are open keep theirs.
@safe package final class TLSContext: @unchecked Sendable {
    // `@unchecked`: the SSL_CTX's are not changed after init, and such ones may be shared (openssl-threads(7)).

    /// The first one is for clients that name no host, or one that nobody has.
    private let certificates: [TLSCertificate]
    /// Which certificate is for which host, whole names.
    private var exact: [String: Int] = [:]
    /// The same for names that start with `*.`, by what stands behind the star, dot included.
    private var wildcard: [String: Int] = [:]
    private let ticketKeys: TLSTicketKeys

    /// AEAD ciphers with forward secrecy; those of TLS 1.3 are the library's own, which are all of this kind.
    private static let ciphers = "ECDHE+AESGCM:ECDHE+CHACHA20"

    /// Reads and checks the certificates; blocks.
    ///
    /// - Parameters:
    ///   - files: At least one; the first is the default. Where several have a name, the first of them stands for it.
    ///   - now: What validity is compared with.
    package init(_ files: [TLSFiles], ticketKeys: TLSTicketKeys, now: UnixTime) throws(TLSError) {
        precondition(!files.isEmpty, "a server has a certificate")
        var certificates: [TLSCertificate] = []
        for file in files { certificates.append(try TLSCertificate(file, now: now)) }
        self.certificates = certificates
        self.ticketKeys = ticketKeys
        for (index, certificate) in certificates.enumerated() {
            guard index == 0 || !certificate.names.isEmpty else { throw .namesNoHost(certificate.files.certificate) }
            for name in certificate.names {
                if name.hasPrefix("*.") {
                    if wildcard[String(name.dropFirst())] == nil { wildcard[String(name.dropFirst())] = index }
                } else if exact[name] == nil {
                    exact[name] = index
                }
            }
        }
        for certificate in certificates { try configure(certificate) }
    }

    private func configure(_ certificate: TLSCertificate) throws(TLSError) {
        let context = unsafe certificate.pointer
        unsafe edge_tls_set_modes(context)
        unsafe SSL_CTX_set_options(context, EDGE_TLS_OPTIONS)
        // The same everywhere: a ticket is good whichever certificate its session began with.
        let name = Array("edge".utf8)
        guard unsafe edge_tls_set_minimum(context) == 1, unsafe SSL_CTX_set_cipher_list(context, Self.ciphers) == 1,
            unsafe SSL_CTX_set_session_id_context(context, name, UInt32(name.count)) == 1,
            // SAFETY: each session keeps this object, so it lives whenever a callback runs.
            unsafe SSL_CTX_set_ex_data(context, 0, Unmanaged.passUnretained(self).toOpaque()) == 1
        else { throw .take(certificate.files.certificate) }
        unsafe SSL_CTX_set_timeout(context, TLSTicketKeys.lifetimeSeconds)
        unsafe edge_tls_on_server_name(context) { session, _, _ in unsafe TLSContext.chooseCertificate(session) }
        unsafe SSL_CTX_set_alpn_select_cb(
            context,
            { _, chosen, chosenCount, offered, offeredCount, _ in
                unsafe TLSContext.chooseProtocol(chosen, chosenCount, offered, offeredCount)
            }, nil)
        _ = unsafe SSL_CTX_set_tlsext_ticket_key_evp_cb(context) { session, name, iv, cipher, authentication, isSealing in
            guard let context = unsafe TLSContext.of(session), let name = unsafe name, let iv = unsafe iv,
                let cipher = unsafe cipher, let authentication = unsafe authentication
            else { return -1 }
            return unsafe context.ticketKeys.prepare(
                name: name, iv: iv, cipher: cipher, authentication: authentication, isSealing: isSealing == 1)
        }
    }

    var pointer: OpaquePointer { unsafe certificates[0].pointer }

    // MARK: What is served

    /// One certificate, for logs and comparisons.
    package struct Summary: Equatable, Sendable {
        package let file: String
        package let names: [String]
        package let expires: UnixTime
        package let fingerprint: [UInt8]
        package var expiryDay: String { TLSError.day(expires) }
    }

    package var summaries: [Summary] {
        certificates.map {
            Summary(file: $0.files.certificate, names: $0.names, expires: $0.expires, fingerprint: $0.fingerprint)
        }
    }

    /// The place among the files of the certificate for `host`: its own name, else one with a star, else the default.
    package func certificateIndex(for host: String) -> Int {
        let host = host.lowercased()
        if let index = exact[host] { return index }
        // A star stands for one whole label, the first (RFC 6125 §6.4.3).
        guard let dot = host.firstIndex(of: "."), dot > host.startIndex else { return 0 }
        return wildcard[String(host[dot...])] ?? 0
    }

    // MARK: Callbacks, on the thread of the handshake

    private static func of(_ session: OpaquePointer?) -> TLSContext? {
        guard let data = unsafe SSL_CTX_get_ex_data(SSL_get_SSL_CTX(session), 0) else { return nil }
        // SAFETY: set in `configure`; the session keeps the object.
        return unsafe Unmanaged<TLSContext>.fromOpaque(data).takeUnretainedValue()
    }

    private static func chooseCertificate(_ session: OpaquePointer?) -> Int32 {
        guard let context = unsafe of(session), let name = unsafe SSL_get_servername(session, TLSEXT_NAMETYPE_host_name) else {
            return SSL_TLSEXT_ERR_NOACK
        }
        // SAFETY: the name is a NUL-terminated string of the session; the library has refused any with a NUL inside.
        let index = context.certificateIndex(for: unsafe String(cString: name))
        if index > 0 { _ = unsafe SSL_set_SSL_CTX(session, context.certificates[index].pointer) }
        return SSL_TLSEXT_ERR_OK
    }

    /// Who offers protocols and none of ours is refused (RFC 7301 §3.2): it would misread every answer.
    private static func chooseProtocol(
        _ chosen: UnsafeMutablePointer<UnsafePointer<UInt8>?>?, _ chosenCount: UnsafeMutablePointer<UInt8>?,
        _ offered: UnsafePointer<UInt8>?, _ offeredCount: UInt32
    ) -> Int32 {
        // SAFETY: the library gives a list of `offeredCount` bytes that it has checked: lengths, each with its name.
        let list = unsafe UnsafeBufferPointer(start: offered, count: Int(offeredCount))
        for wanted in ApplicationProtocol.allCases {
            var index = 0
            while index < list.count {
                let start = index + 1
                let end = start + Int(unsafe list[index])
                guard end <= list.count else { return SSL_TLSEXT_ERR_ALERT_FATAL }
                if unsafe wanted.rawValue.utf8.elementsEqual(list[start..<end]), let base = list.baseAddress {
                    unsafe chosen?.pointee = base + start
                    unsafe chosenCount?.pointee = UInt8(end - start)
                    return SSL_TLSEXT_ERR_OK
                }
                index = end
            }
        }
        return SSL_TLSEXT_ERR_ALERT_FATAL
    }
}
