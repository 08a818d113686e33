internal import Configuration
internal import Host
internal import Observability
internal import System
internal import TLS

/// What a running node takes over of its changed configuration: where it listens, with which certificates, whom it trusts, what it logs. All else
/// needs a deployment; it is named in the log and left as it is.
actor HostReload {
    /// A configuration that was read again.
    struct Fresh: Sendable {
        var options: NodeOptions
        /// The paths of what changed and is of no effect on a running node.
        var pending: [String]
    }

    private let node: Node
    private let certificates: CertificateLoader
    private let logger: Logger
    private let log: LogWriter
    private var options: NodeOptions
    private var listeners: EdgeListeners
    private var s3: EdgeListeners
    private let control: Host.ListenAddress
    /// The certificates that clients get.
    private var served: [TLSContext.Summary]

    init(_ process: NodeProcess, _ endpoints: NodeProcess.Endpoints) {
        node = process.node
        logger = process.logger
        log = process.log
        options = process.options
        certificates = process.certificates
        listeners = endpoints.edge
        s3 = endpoints.s3
        control = endpoints.control
        served = endpoints.tls?.summaries ?? []
    }

    /// - Parameter fresh: `nil` when the configuration has errors, which have been printed.
    func apply(_ fresh: Fresh?) async {
        guard let fresh else {
            return logger.log(.error, "the configuration has errors: nothing of it is applied")
        }
        if fresh.options.logFormat != options.logFormat {
            log.setFormat(fresh.options.logFormat)
            logger.log(.notice, "applied", [("setting", "log.format")])
        }
        if fresh.options.logLevel != options.logLevel {
            // Said at the more talkative of the two levels.
            if fresh.options.logLevel < options.logLevel { logger.setLevel(fresh.options.logLevel) }
            logger.log(.notice, "applied", [("setting", "log.level"), ("level", "\(fresh.options.logLevel)")])
            logger.setLevel(fresh.options.logLevel)
        }
        if fresh.options.settings.trustedProxies != options.settings.trustedProxies {
            await node.setTrustedProxies(fresh.options.settings.trustedProxies)
            logger.log(.notice, "applied", [("setting", "trusted_proxies")])
        }
        options.logFormat = fresh.options.logFormat
        options.logLevel = fresh.options.logLevel
        options.settings.trustedProxies = fresh.options.settings.trustedProxies
        await listen(fresh.options)
        for path in fresh.pending {
            logger.log(.warning, "a changed setting needs deploy: `edge deploy` brings it into service", [("setting", path)])
        }
        logger.log(.notice, "the configuration was read again")
    }

    /// All stays as it was when a certificate is wrong, or an address can't be had.
    private func listen(_ fresh: NodeOptions) async {
        let context: TLSContext?
        do {
            context = try certificates.load(fresh.tls)
        } catch {
            return logger.log(.error, "it goes on with the certificates that it has: \(error)", [("setting", "tls")])
        }
        do {
            // Reloads come one after the other: nobody else changes them meanwhile.
            var listeners = listeners
            try await listeners.open(fresh.listen, EdgeListeners.Speech(context, fresh.tls))
            self.listeners = listeners
            // Where the S3 API is, a start decides; the certificates are the same.
            var s3 = s3
            try await s3.open(s3.bound.map(\.asked), EdgeListeners.Speech(context, nil))
            self.s3 = s3
        } catch {
            return logger.log(.error, "it goes on listening where it did: \(error)", [("setting", "listen")])
        }
        if options.isControlSecure, let context { await node.setSecurity(.tls(context), at: control) }
        if fresh.listen != options.listen {
            logger.log(
                .notice, "applied",
                [("setting", "listen"), ("addresses", listeners.bound.map { "\($0.got)" }.joined(separator: ", "))])
        }
        let summaries = context?.summaries ?? []
        if summaries != served || fresh.tls != options.tls {
            logger.log(
                .notice, "applied",
                [
                    ("setting", "tls"),
                    ("certificates", summaries.map { "\($0.file) until \($0.expiryDay)" }.joined(separator: ", ")),
                ])
        }
        served = summaries
        options.listen = fresh.listen
        options.tls = fresh.tls
    }
}
