internal import Configuration
internal import Glibc
internal import Observability
internal import Releases
internal import System

/// What deployments on this node are made with.
extension NodeProcess {
    /// - Parameter store: Of the tenant.
    func deploymentEnvironment(
        tenant: String, _ secrets: any SecretSource, _ store: ReleaseStore
    ) -> @Sendable (TenantStores) -> DeploymentEnvironment {
        let (bundles, artifacts, logger) = (bundles, artifacts, logger)
        let (name, options) = (options.environment, loadOptions)
        let smokeTests = SmokeRunner(node: node, routing: routing, tenant: tenant)
        let hooks: any DeploymentHooks =
            self.options.isRehearsal
            ? NoHooks() : HookCaller(node: node, environment: name, tenant: tenant, logger: logger.with("tenant", tenant))
        let peers = PeerCaller(node: node, tenant: tenant)
        let isRehearsal = self.options.isRehearsal
        let clock = clock
        return { stores in
            var environment = DeploymentEnvironment()
            environment.smokeTests = smokeTests
            environment.hooks = hooks
            environment.migrations = DatabaseMigrations(stores.databases, clock: clock, logger: logger.with("tenant", tenant))
            environment.askPeer = { await peers.ask($0, $1) }
            environment.query = { text async throws(DeploymentFailure) -> Double? in
                try await stores.firstValue(of: text)
            }
            environment.read = { bundle async throws(DeploymentFailure) -> DeploymentInput in
                try await artifacts.disk.run { () throws(DeploymentFailure) -> DeploymentInput in
                    var input = try bundle.input(
                        environment: name, tenant: tenant, secrets: secrets, artifact: { artifacts.path($0) }, options)
                    // Nobody goes back on a copy: what comes once the release before is gone comes at once.
                    if isRehearsal { input.keepWarm = .zero }
                    return input
                }
            }
            environment.findBundle = { bundles.find($0)?.bundle }
            environment.collectBundles = {
                do { try await bundles.prune { try store.bundlesInUse() } } catch {
                    logger.log(.warning, "bundles that no release has stay: \(error)")
                }
            }
            return environment
        }
    }

    private var loadOptions: ProjectConfiguration.Options {
        ProjectConfiguration.Options(
            today: CivilDate(daysSinceEpoch: Int(clock.wallTime().seconds / 86_400)),
            nodeMemoryByteCount: sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE)))
    }

    /// The release that was deployed to this node last, if that is what serves; blocks.
    func startingPoint(
        tenant: String, _ secrets: any SecretSource
    ) throws -> (input: DeploymentInput, configuration: EffectiveConfiguration, bundle: BundleStore.Hold?)? {
        // A rehearsal is against what serves, wherever that came from: the project's files are what it tries.
        let source: StartingPoint.Source = options.isRehearsal ? .whateverServes : .deployments
        guard
            let start = try StartingPoint.find(
                state: state, environment: options.environment, tenant: tenant, source)
        else { return nil }
        logger.log(
            .info, "starts with the release that was deployed: files count for `edge deploy` alone",
            [("tenant", tenant), ("release", "\(start.release.number)")])
        // Versions have the secrets that they were made with: what is stored now is the next deployment's.
        let input = try start.bundle.input(
            environment: options.environment, tenant: tenant, secrets: nil, artifact: { artifacts.path($0) }, loadOptions)
        return (input, try start.bundle.configuration(of: options.environment, loadOptions), bundles.find(start.bundle.hash))
    }

    /// Keeps what the first release is made from, so that it can be looked at, promoted and gone back to as any other.
    func keep(
        _ project: Project, _ configuration: EffectiveConfiguration, products: String, _ arguments: CommandLineArguments
    ) async throws -> BundleStore.Hold {
        let bundle = try ProjectBundle(project, configuration, products: products, arguments)
        defer { bundle.remove() }
        return try await bundles.receive(archive: bundle.path)
    }
}
