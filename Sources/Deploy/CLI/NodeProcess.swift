internal import struct Configuration.StoreSettings
internal import ControlPlane
internal import Glibc
internal import Host
internal import Isolates
internal import Observability
internal import OpenSSL
internal import Releases
internal import Synchronization
internal import System
internal import TLS

/// A node as a process: opens its state, listens, serves until a signal, drains.
struct NodeProcess {
    let options: NodeOptions
    let clock: any NodeClock
    let logger: Logger
    let node: Node
    let state: StateDirectory
    let control: ControlPlane.Handler
    private let accounts = Accounts()
    private let routing: RoutingDirectory
    private let tenants: TenantRegistry
    private let artifacts: ArtifactStore
    private let assets: AssetStore
    let log: LogWriter
    let certificates: CertificateLoader
    private let signals: Signals

    /// Opens the state directory and starts reactors; nothing is served yet.
    init(_ options: NodeOptions) async throws {
        self.options = options
        // Before the node's threads, so that they leave signals to others.
        signals = Signals()
        clock = SystemClock()
        log = LogWriter(descriptor: 2, format: options.logFormat)
        logger = Logger(sink: log, clock: clock, level: options.logLevel)
        state = try StateDirectory(path: options.stateDirectory)
        // What a node left that was killed.
        try ControlFile.remove(in: options.stateDirectory)
        certificates = CertificateLoader(stateDirectory: options.stateDirectory, clock: clock, logger: logger)
        control = ControlPlane.Handler(environment: options.environment, accounts: accounts, clock: clock)
        node = try await Node(
            settings: options.settings, clock: clock, logger: logger, reactorCount: options.reactorCount,
            local: control,
            clientLimit: options.clientRateLimit > 0
                ? ClientRequestLimit(perSecond: options.clientRateLimit, clock: clock) : nil)
        routing = RoutingDirectory(node: node)
        tenants = try TenantRegistry(state: state)
        artifacts = try ArtifactStore(directory: state.artifacts)
        assets = try AssetStore(directory: state.assets)
    }

    /// Opens the tenant's stores and makes the runner of its releases.
    func makeRunner(
        tenant: String, stores settings: StoreSettings, secrets: any SecretSource
    ) throws -> ReleaseRunner {
        let stores = try TenantStores(state: state, tenant: tenant, settings, clock: clock, logger: logger)
        let store = try ReleaseStore(database: state.controlDatabase, tenant: tenant, environment: options.environment)
        // In dev, where secrets come in plain files, their key lies with the state.
        let sealed =
            try secrets as? SecretStore
            ?? SecretStore(database: state.controlDatabase, keyFile: "\(state.path)/secrets.key", tenant: tenant)
        return ReleaseRunner(
            node: node, stores: stores, artifacts: artifacts, assets: assets, store: store, routing: routing,
            secrets: secrets, versionSecrets: VersionSecrets(sealed),
            identity: geteuid() == 0 ? TenantIdentity(ordinal: try tenants.ordinal(of: tenant)) : nil,
            logger: logger.with("tenant", tenant))
    }

    /// Opens the API for these tenants, with the operator's token in the state directory.
    func serveAPI(_ tenants: [String]) throws {
        let tokens = try TokenStore(database: state.controlDatabase)
        try OperatorToken.establish(in: state.path, tokens, at: clock.wallTime())
        let audit = try AuditLog(database: state.controlDatabase)
        accounts.add(tenants)
        control.serve(
            API.make(
                APIServices(
                    accounts: accounts, tokens: tokens, audit: audit, version: Edge.version, clock: clock, logger: logger)))
    }

    /// A tenant's release, and where its secrets come from.
    struct Tenancy {
        var description: ReleaseDescription
        var stores = StoreSettings()
        var secrets: any SecretSource
    }

    /// Serves one release of each tenant until a signal ends the process.
    ///
    /// - Parameter reload: Reads the configuration again, on SIGHUP; `nil` when there is none to read.
    /// - Returns: the exit code.
    func serve(_ tenancies: [Tenancy], reload: (@Sendable () -> HostReload.Fresh?)? = nil) async -> Int32 {
        do {
            let endpoints = try await listen()
            try serveAPI(tenancies.map(\.description.tenant))
            var runners: [ReleaseRunner] = []
            for tenancy in tenancies {
                let runner = try makeRunner(
                    tenant: tenancy.description.tenant, stores: tenancy.stores, secrets: tenancy.secrets)
                await control.attach(node: node, runner: runner)
                runners.append(runner)
                do {
                    _ = try await runner.apply(tenancy.description)
                } catch {
                    _ = await node.drain(until: clock.now())
                    log.flush()
                    Edge.complain("edge: \(error)")
                    return ExitCode.refused
                }
            }
            await control.becomeReady()
            announce(endpoints)
            let host = HostReload(self, endpoints)
            guard let reload else { return await waitForTheEnd(runners) }
            return await waitForTheEnd(runners) { @Sendable () async -> Void in await host.apply(reload()) }
        } catch {
            log.flush()
            Edge.complain("edge: \(error)")
            return ExitCode.of(error)
        }
    }

    /// Says which walls around isolates this machine lacks: nobody should have to ask for that first.
    func reportSandbox(tenantCount: Int) {
        let report = Doctor.examine()
        guard !report.isSafeForTenants else { return }
        for finding in report.findings where finding.state == .missing && finding.isWall {
            logger.log(
                tenantCount > 1 ? .error : .warning, "a layer of the sandbox is missing: \(finding.detail)",
                [("layer", finding.layer), ("consequence", finding.consequence)])
        }
    }

    func flushLog() { log.flush() }

    struct Endpoints {
        var edge: EdgeListeners
        var tls: TLSContext?
        var control: ListenAddress
    }

    func listen() async throws -> Endpoints {
        let context = try certificates.load(options.tls)
        var edge = EdgeListeners(node: node)
        try await edge.open(options.listen, EdgeListeners.Speech(context, options.tls))
        return Endpoints(edge: edge, tls: context, control: try await node.listen(options.control, for: .control))
    }

    /// The line that scripts wait for; commands on this machine find the node from now on.
    func announce(_ endpoints: Endpoints) {
        for bound in endpoints.edge.bound {
            logger.log(
                .info, "listening", [("address", "\(bound.got)"), ("scheme", bound.asked.isSecure ? "https" : "http")])
        }
        if let context = endpoints.tls, let advice = certificates.adviceOnTrust(context) { Edge.complain(advice) }
        let url = endpoints.edge.bound.first.map { $0.got.url($0.asked.isSecure ? "https" : "http") } ?? "-"
        let control = "http://\(endpoints.control.urlHost):\(endpoints.control.port)"
        do throws(SystemError) { try ControlFile.write(control, in: state.path) } catch {
            logger.log(.error, "commands don't find this node, and need --remote \(control): \(error)")
        }
        Edge.announce("ready \(url) control \(control)")
    }

    /// What a request, a batch and background work may take at most once the node is asked to end.
    private static let drainMax = Duration.seconds(30)

    /// Returns when the node has drained after SIGTERM or SIGINT. A second signal ends the process at once.
    ///
    /// - Parameter reload: What SIGHUP asks for; `nil` makes it one of the signals that end the node.
    func waitForTheEnd(_ runners: [ReleaseRunner], reload: (@Sendable () async -> Void)? = nil) async -> Int32 {
        let (hangups, hangup) = AsyncStream.makeStream(of: Bool.self, bufferingPolicy: .bufferingNewest(1))
        // One after the other; ended below.
        let reloads = Task {
            guard let reload else { return }
            for await _ in hangups { await reload() }
        }
        if reload == nil {
            signals.followHangups(nil)
        } else {
            signals.followHangups { _ = hangup.yield(true) }
        }
        await signals.first()
        reloads.cancel()
        signals.exitAtNext()
        logger.log(.notice, "draining: open requests are finished, new ones are not taken")
        await control.startDraining()
        let isDelivering = Flag(true)
        // Awaited below: the end of the isolates ends batches that take too long.
        let stop = Task {
            for runner in runners { await runner.stop() }
            isDelivering.clear()
        }
        let cut = await node.drain(until: clock.now() + Self.drainMax) { isDelivering.isSet }
        if cut > 0 { logger.log(.warning, "requests were cut off by the end of the drain", [("count", "\(cut)")]) }
        await stop.value
        for runner in runners { await runner.close() }
        do throws(SystemError) { try ControlFile.remove(in: state.path) } catch { logger.log(.warning, "\(error)") }
        log.flush()
        return ExitCode.success
    }
}

/// A truth that one side sets or takes back and the other looks at.
final class Flag: Sendable {
    private let value: Atomic<Bool>

    init(_ value: Bool) { self.value = Atomic(value) }

    var isSet: Bool { value.load(ordering: .acquiring) }
    func set() { value.store(true, ordering: .releasing) }
    func clear() { value.store(false, ordering: .releasing) }
}

extension ListenAddress {
    func url(_ scheme: String) -> String { "\(scheme)://\(host == "127.0.0.1" ? "localhost" : urlHost):\(port)" }

    /// As a URL writes it.
    var urlHost: String { host.contains(":") ? "[\(host)]" : host }
}

enum ProcessorCount {
    /// Cores that this process may use.
    static var online: Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }
}
