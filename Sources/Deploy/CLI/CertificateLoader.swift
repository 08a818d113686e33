internal import Glibc
internal import Host
internal import Observability
internal import System
internal import TLS

/// Makes what handshakes need out of a node's options. One per node: what it makes shares the keys of session tickets, so a
/// client's session outlives a change of certificates.
struct CertificateLoader: Sendable {
    private let clock: any NodeClock
    private let logger: Logger
    private let stateDirectory: String
    private let ticketKeys: TLSTicketKeys

    /// From when on each start and each reload reminds of a certificate's end.
    private static let reminder = Duration.seconds(14 * 86_400)

    init(stateDirectory: String, clock: any NodeClock, logger: Logger) {
        self.clock = clock
        self.logger = logger
        self.stateDirectory = stateDirectory
        ticketKeys = TLSTicketKeys(clock: clock)
    }

    /// Reads the files; blocks.
    ///
    /// - Returns: `nil` for a node that speaks no TLS.
    func load(_ options: TLSOptions?) throws(TLSError) -> TLSContext? {
        guard let options else { return nil }
        let now = clock.wallTime()
        let files =
            switch options.source {
            case .files(let files): files
            case .selfSigned: [try localCertificate(now)]
            }
        let context = try TLSContext(files, ticketKeys: ticketKeys, now: now)
        for certificate in context.summaries where certificate.expires < now + Self.reminder {
            guard options.source != .selfSigned else { continue }
            logger.log(
                .warning, "a certificate expires soon", [("file", certificate.file), ("until", certificate.expiryDay)])
        }
        return context
    }

    // MARK: A certificate for this machine

    /// The one that is there, or a new one when it is missing or at its end.
    private func localCertificate(_ now: UnixTime) throws(TLSError) -> TLSFiles {
        let files = TLSFiles(certificate: stateDirectory + "/localhost.pem", key: stateDirectory + "/localhost.key")
        do throws(TLSError) {
            // One that ends tomorrow would end while it is used.
            _ = try TLSContext([files], ticketKeys: ticketKeys, now: now + .seconds(86_400))
            return files
        } catch {
            switch error {
            case .expired, .notYetValid, .keyMismatch: break
            case .system where !FileTree.exists(files.certificate) || !FileTree.exists(files.key): break
            default: throw error
            }
        }
        let made = try SelfSignedCertificate.make(
            names: ["localhost", "*.localhost", "*.r2.localhost", "*.s3.localhost", "*.preview.localhost"],
            addresses: ["127.0.0.1", "::1"], now: now)
        do throws(SystemError) {
            try FileTree.replaceFile(files.key, with: made.key, mode: 0o600)
            try FileTree.replaceFile(files.certificate, with: made.certificate, mode: 0o644)
        } catch { throw .system(error) }
        return files
    }

    /// The certificate that the node has made itself, for those on this machine who are to trust it.
    func ownAuthority(_ context: TLSContext) -> String? {
        let own = stateDirectory + "/localhost.pem"
        guard context.summaries.first?.file == own else { return nil }
        // Commands read it in other folders, too.
        guard let path = unsafe realpath(own, nil) else { return nil }
        defer { unsafe free(path) }
        // SAFETY: realpath has made a NUL-terminated string, which is ours until it is freed.
        return unsafe String(cString: path)
    }

    /// How to make clients believe the certificate that the node has made itself.
    func adviceOnTrust(_ context: TLSContext) -> String? {
        guard let certificate = context.summaries.first, certificate.file == stateDirectory + "/localhost.pem" else {
            return nil
        }
        return """
            https: a certificate for localhost that nobody else has signed, until \(certificate.expiryDay)
                curl --cacert \(certificate.file) …         trusts it
                certutil -d sql:$HOME/.pki/nssdb -A -t P,, -n edge-localhost -i \(certificate.file)
                                                    makes Chromium trust it; other browsers ask once
            """
    }
}
