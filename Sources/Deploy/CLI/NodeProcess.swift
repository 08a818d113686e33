internal import struct Configuration.StoreSettings
internal import ControlPlane
internal import Glibc
internal import Host
internal import Isolates
internal import Observability
internal import OpenSSL
internal import Releases
internal import S3
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
    let routing: RoutingDirectory
    private let tenants: TenantRegistry
    let artifacts: ArtifactStore
    private let assets: AssetStore
    let bundles: BundleStore
    let log: LogWriter
    let certificates: CertificateLoader
    let drain: NodeDrain
    private let signals: Signals
    /// The process that was the node before this one; `nil`: this is the first.
    private let predecessor: Predecessor?
    /// `nil`: no other process can follow this one.
    private let succession: Succession?

    /// Starts reactors and opens the state directory, once the process before lets go of it; nothing is served yet.
    ///
    /// - Parameter canBeReplaced: whether another process that is started in the same way can follow this one.
    init(_ options: NodeOptions, canBeReplaced: Bool = false) async throws {
        self.options = options
        predecessor = Predecessor.find()
        succession = canBeReplaced ? Succession(after: predecessor) : nil
        // Before the node's threads, so that they leave signals to others.
        signals = Signals()
        clock = SystemClock()
        log = LogWriter(descriptor: 2, format: options.logFormat)
        logger = Logger(sink: log, clock: clock, level: options.logLevel)
        certificates = CertificateLoader(stateDirectory: options.stateDirectory, clock: clock, logger: logger)
        control = ControlPlane.Handler(
            environment: options.environment, accounts: accounts, clock: clock,
            isExposed: !options.control.isLoopback, metricsDetail: options.monitoring == .full ? .full : .totals)
        node = try await Node(
            settings: options.settings, clock: clock, logger: logger, reactorCount: options.reactorCount,
            local: control,
            clientLimit: ClientRequestLimit(
                perSecond: options.clientRateLimit,
                overTime: options.clientRateLimitOverTime.map { ($0.limit, Int($0.period.components.seconds)) }, clock: clock),
            isSealed: options.isRehearsal)
        node.holdClients()
        drain = NodeDrain(node: node, clock: clock, logger: logger, delay: options.drain.delay)
        control.report(drain, nil)
        routing = RoutingDirectory(node: node, domain: options.domain) { [logger] domain, store in
            PublicBucket(domain, in: store, logger: logger)
        }
        try await predecessor?.awaitRelease(to: node)
        state = try StateDirectory(path: options.stateDirectory)
        // What a node left that was killed.
        try ControlFile.remove(in: options.stateDirectory)
        try state.recover()
        tenants = try TenantRegistry(state: state)
        artifacts = try ArtifactStore(directory: state.artifacts)
        assets = try AssetStore(directory: state.assets)
        bundles = try BundleStore(directory: state.bundles)
    }

    /// Opens the tenant's stores and makes the runner of its releases.
    func makeRunner(
        tenant: String, stores settings: StoreSettings, secrets: any SecretSource
    ) throws -> ReleaseRunner {
        let stores = try TenantStores(state: state, tenant: tenant, settings, clock: clock, logger: logger)
        let store = try ReleaseStore(database: state.controlDatabase, tenant: tenant, environment: options.environment)
        // In dev, where secrets come in plain files, those of versions are sealed all the same.
        let sealed =
            try secrets as? SecretStore
            ?? SecretStore(database: state.controlDatabase, key: options.keySource, tenant: tenant)
        let identity = geteuid() == 0 ? TenantIdentity(ordinal: try tenants.ordinal(of: tenant)) : nil
        let objects = try ObjectSpace(
            directory: state.directory(of: .objects, tenant: tenant), tenant: tenant, identity: identity, node: node,
            openIndex: { [state] in try state.openAlarms(tenant: tenant) })
        try predecessor?.leaveSockets(to: objects, of: tenant)
        return ReleaseRunner(
            node: node, stores: stores, objects: objects, artifacts: artifacts, assets: assets, store: store, routing: routing,
            secrets: secrets, versionSecrets: VersionSecrets(sealed),
            identity: identity,
            logger: logger.with("tenant", tenant), deployment: deploymentEnvironment(tenant: tenant, secrets, store))
    }

    /// No tenant is called so: what stands there is the node's.
    private static let ownSecrets = ""

    /// Opens the API for these tenants, with the operator's token in the state directory.
    ///
    /// - Parameters:
    ///   - hosts: names besides addresses that the control listener is asked under.
    ///   - secrets: Where those of a tenant are that was made over the API.
    /// - Returns: what opens the tenants that were made over the API.
    func serveAPI(
        _ tenants: [String], hosts: [String] = [],
        secrets: @escaping @Sendable (String) throws -> any SecretSource = { _ in NoSecrets() }
    ) throws -> TenantHost {
        let vault = try SecretStore(database: state.controlDatabase, key: options.keySource, tenant: Self.ownSecrets)
        let tokens = try TokenStore(database: state.controlDatabase, vault: vault) { [logger] name, error in
            logger.log(
                .warning, "a token can't be used with the S3 API: its secret is neither sealed nor opened",
                [("token", name), ("reason", "\(error)")])
        }
        try OperatorToken.establish(in: state.path, tokens, at: clock.wallTime())
        let audit = try AuditLog(database: state.controlDatabase)
        accounts.add(tenants)
        let host = try TenantHost(
            state: state, environment: options.environment, clock: clock, logger: logger
        ) { [self] tenant, settings in try makeRunner(tenant: tenant, stores: settings, secrets: secrets(tenant)) }
        control.serve(
            s3: S3Handler(
                S3AccessKeys(accounts: accounts, tokens: tokens),
                S3Handler.Options(domains: options.s3?.domains ?? [], isStrict: options.s3?.isStrict ?? false), clock: clock,
                logger: logger))
        control.serve(
            API.make(
                APIServices(
                    accounts: accounts, tokens: tokens, audit: audit, tenants: host, drain: drain, node: node,
                    upgrade: succession,
                    releases: ReleaseServices(
                        environment: options.environment, bundles: bundles, keys: try DeployKeys(files: options.deployKeyFiles),
                        clock: clock
                    ) { tenant in try secrets(tenant) as? SecretStore }, version: Edge.version, clock: clock, logger: logger),
                hosts: Set(hosts)))
        return host
    }

    /// Opens the tenants that were made over the API.
    func open(_ host: TenantHost, beside configured: [String]) async throws {
        for runner in try await host.start(except: Set(configured)) { await control.attach(node: node, runner: runner) }
    }

    /// Releases serve: load balancers may send requests as long as the disk and the stores are well.
    func becomeReady(_ host: TenantHost, _ endpoints: Endpoints) async throws {
        let health = NodeHealth(host: host, accounts: accounts, clock: clock, logger: logger)
        await health.start()
        control.report(drain, health)
        drain.becomeReady()
        if let predecessor { try await predecessor.takeOver(node, logger) } else { try await node.letClientsIn() }
        followTheFollower()
        announce(endpoints)
        await succession?.begin(
            with: Succession.Parts(
                node: node, state: state, accounts: accounts, drain: drain, health: health, clock: clock, logger: logger,
                holdMax: options.switchHold, announce: { [self] in writeControlFile(endpoints) },
                end: { [signals] in signals.end() }))
    }

    /// Whoever started the node waits for another process than this one, and may end that.
    private func followTheFollower() {
        // SAFETY: getenv's result is copied at once.
        let text = unsafe getenv(HandOver.followerVariable).map { unsafe String(cString: $0) }
        guard let process = text.flatMap({ Int32($0) }) else { return }
        ProcessTree.onEnd(of: process) { [signals, logger] in
            logger.log(.notice, "the process that waited for this one has ended")
            signals.arrived(SIGTERM)
        }
    }

    /// A tenant's release, and where its secrets come from.
    struct Tenancy {
        var description: ReleaseDescription
        var stores = StoreSettings()
        var secrets: any SecretSource
        /// What the description was read from, kept until the release is recorded; `nil`: files that nobody keeps.
        var bundle: BundleStore.Hold?
        /// Whether that is the release that serves already.
        var isRecorded = false
    }

    /// Serves one release of each tenant until a signal ends the process.
    ///
    /// - Parameter reload: Reads the configuration again, on SIGHUP; `nil` when there is none to read.
    /// - Returns: the exit code.
    func serve(
        _ tenancies: [Tenancy], secrets: @escaping @Sendable (String) throws -> any SecretSource = { _ in NoSecrets() },
        reload: (@Sendable () -> HostReload.Fresh?)? = nil
    ) async -> Int32 {
        do {
            let endpoints = try await listen()
            let host = try serveAPI(
                tenancies.map(\.description.tenant), hosts: controlHosts(endpoints), secrets: secrets)
            for tenancy in tenancies {
                let runner = try makeRunner(
                    tenant: tenancy.description.tenant, stores: tenancy.stores, secrets: tenancy.secrets)
                await control.attach(node: node, runner: runner)
                do {
                    _ = try await runner.apply(
                        tenancy.description, bundle: tenancy.bundle?.bundle.hash ?? "", tenancy.isRecorded ? .recorded : .follow
                    )
                } catch {
                    _ = await node.drain(until: clock.now())
                    log.flush()
                    Edge.complain("edge: \(error)")
                    return ExitCode.refused
                }
            }
            try await open(host, beside: tenancies.map(\.description.tenant))
            try await becomeReady(host, endpoints)
            let reloading = HostReload(self, endpoints)
            guard let reload else { return await waitForTheEnd() }
            return await waitForTheEnd { @Sendable () async -> Void in await reloading.apply(reload()) }
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
        var s3: EdgeListeners
        var tls: TLSContext?
        var control: ListenAddress

        /// The first address of the S3 API.
        var s3Address: String? {
            s3.bound.first.map { "\($0.asked.isSecure ? "https" : "http")://\($0.got.urlHost):\($0.got.port)" }
        }
    }

    func listen() async throws -> Endpoints {
        let context = try certificates.load(options.tls)
        var edge = EdgeListeners(node: node)
        try await edge.open(options.listen, EdgeListeners.Speech(context, options.tls))
        let s3 = try await listenForS3(EdgeListeners.Speech(context, nil))
        let security = options.isControlSecure ? context.map(ListenerSecurity.tls) : nil
        return Endpoints(
            edge: edge, s3: s3, tls: context,
            control: try await node.listen(options.control, for: .control, security ?? .plain))
    }

    private func listenForS3(_ speech: EdgeListeners.Speech) async throws(SystemError) -> EdgeListeners {
        var listeners = EdgeListeners(node: node, for: .s3)
        guard let wanted = options.s3 else { return listeners }
        do throws(SystemError) {
            try await listeners.open(wanted.listen, speech)
        } catch {
            guard wanted.takesFreePort, error.errno == EADDRINUSE else { throw error }
            let free = wanted.listen.map {
                EdgeAddress(address: Host.ListenAddress(host: $0.address.host, port: 0), isSecure: $0.isSecure)
            }
            try await listeners.open(free, speech)
        }
        return listeners
    }

    /// The names that certificates have: who answers to one of them with TLS is no page that was made to mean this address.
    func controlHosts(_ endpoints: Endpoints) -> [String] {
        guard options.isControlSecure else { return [] }
        return (endpoints.tls?.summaries ?? []).flatMap(\.names).filter { !$0.hasPrefix("*") }
    }

    /// The line that scripts wait for; commands on this machine find the node from now on.
    func announce(_ endpoints: Endpoints) {
        for bound in endpoints.edge.bound {
            logger.log(
                .info, "listening", [("address", "\(bound.got)"), ("scheme", bound.asked.isSecure ? "https" : "http")])
        }
        for bound in endpoints.s3.bound { logger.log(.info, "listening for S3", [("address", "\(bound.got)")]) }
        if let context = endpoints.tls, let advice = certificates.adviceOnTrust(context) { Edge.complain(advice) }
        let url = endpoints.edge.bound.first.map { $0.got.url($0.asked.isSecure ? "https" : "http") } ?? "-"
        let control = writeControlFile(endpoints)
        if options.isRehearsal {
            // Who has started it looks there; nobody else is to read of it.
            try? FileTree.replaceFile(RehearsalNode.addressFile(in: state.path), with: Array(url.utf8), mode: 0o600)
            return
        }
        let s3 = endpoints.s3Address.map { " s3 \($0)" } ?? ""
        Edge.announce("ready \(url) control \(control)\(s3)")
        ServiceManager.tell("READY=1\nMAINPID=\(getpid())\nSTATUS=serving \(url)")
    }

    /// - Returns: where the control listener is.
    @discardableResult
    private func writeControlFile(_ endpoints: Endpoints) -> String {
        let control = "http\(options.isControlSecure ? "s" : "")://\(endpoints.control.urlHost):\(endpoints.control.port)"
        let authorities = options.isControlSecure ? endpoints.tls.flatMap(certificates.ownAuthority) : nil
        do throws(SystemError) { try ControlFile.write(control, authorities: authorities, in: state.path) } catch {
            logger.log(.error, "commands don't find this node, and need --remote \(control): \(error)")
        }
        return control
    }

    /// Returns when the node has drained after SIGTERM or SIGINT. A second signal ends the process at once.
    ///
    /// - Parameter reload: What SIGHUP asks for; `nil` makes it one of the signals that end the node.
    func waitForTheEnd(reload: (@Sendable () async -> Void)? = nil) async -> Int32 {
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
        // What has begun comes to its end first, one way or the other.
        while await succession?.isRunning == true { try? await clock.sleep(for: .milliseconds(20)) }
        if let succession, let successor = await succession.successor { return await leave(to: successor, succession) }
        signals.exitAtNext()
        ServiceManager.tell("STOPPING=1")
        await drain.end()
        logger.log(.notice, "draining: open requests are finished, new ones are not taken")
        let runners = accounts.runners
        let isDelivering = Flag(true)
        // Awaited below: the end of the isolates ends batches that take too long.
        let stop = Task {
            for runner in runners { await runner.stop() }
            isDelivering.clear()
        }
        let cut = await node.drain(until: clock.now() + options.drain.timeout) { isDelivering.isSet }
        if cut > 0 { logger.log(.warning, "requests were cut off by the end of the drain", [("count", "\(cut)")]) }
        await stop.value
        for runner in runners { await runner.close() }
        do throws(SystemError) { try ControlFile.remove(in: state.path) } catch { logger.log(.warning, "\(error)") }
        log.flush()
        return ExitCode.success
    }
}

extension NodeProcess {
    /// Another process is the node.
    private func leave(to successor: Int32, _ succession: Succession) async -> Int32 {
        signals.pass(to: successor)
        await succession.finish(within: Self.streamsMax)
        log.flush()
        // SAFETY: getenv's result is only compared.
        let isFollowed = unsafe getenv(HandOver.followerVariable) != nil
        guard !isFollowed, !ServiceManager.isThere else { return ExitCode.success }
        let failure = FollowCommand.become(waitingFor: successor)
        Edge.complain("edge: nobody waits for process \(successor), which goes on: \(failure)")
        return ExitCode.success
    }

    /// What answers may take that had begun when another process became the node.
    private static let streamsMax = Duration.seconds(300)
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
