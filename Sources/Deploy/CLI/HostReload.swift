internal import Configuration
internal import Host
internal import Observability
internal import System

/// What a running node takes over of its changed configuration: where it listens, whom it trusts, what it logs. All else
/// needs a node that is started anew; it is named in the log and left as it is.
actor HostReload {
    /// A configuration that was read again.
    struct Fresh: Sendable {
        var options: NodeOptions
        /// The paths of what changed and is of no effect on a running node.
        var pending: [String]
    }

    private let node: Node
    private let logger: Logger
    private let log: LogWriter
    private var options: NodeOptions
    /// What is configured, and the address that came of it: port 0 becomes one that is free.
    private var bound: [(asked: Host.ListenAddress, got: Host.ListenAddress)]

    init(_ process: NodeProcess, _ edge: [Host.ListenAddress]) {
        node = process.node
        logger = process.logger
        log = process.log
        options = process.options
        bound = Array(zip(process.options.listen, edge)).map { ($0, $1) }
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
        await listen(fresh.options.listen)
        for path in fresh.pending {
            logger.log(.warning, "a changed setting waits for the next start of the node", [("setting", path)])
        }
        logger.log(.notice, "the configuration was read again")
    }

    /// New addresses first: the old ones stay when one of those can't be had.
    private func listen(_ addresses: [Host.ListenAddress]) async {
        guard addresses != bound.map(\.asked) else { return }
        var next: [(asked: Host.ListenAddress, got: Host.ListenAddress)] = []
        var opened: [Host.ListenAddress] = []
        for address in addresses {
            if let present = bound.first(where: { $0.asked == address }) {
                next.append(present)
                continue
            }
            do {
                let got = try await node.listen(address, for: .edge)
                opened.append(got)
                next.append((address, got))
            } catch {
                for address in opened { await node.stopListening(at: address) }
                return logger.log(.error, "it goes on listening where it did: \(error)", [("setting", "listen")])
            }
        }
        for old in bound where !next.contains(where: { $0.asked == old.asked }) {
            await node.stopListening(at: old.got)
        }
        bound = next
        logger.log(
            .notice, "applied", [("setting", "listen"), ("addresses", next.map { "\($0.got)" }.joined(separator: ", "))])
    }
}
