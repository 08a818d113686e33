internal import Configuration
internal import Releases

/// `edge serve`: a node of one environment.
enum ServeCommand: Command {
    static let name = "serve"
    static let summary = "Runs a node of one environment, with workers that were built before"
    static let usage = "--environment ENVIRONMENT [OPTION...]"
    static let discussion = """
        Serves the platform of wrangler-like.toml with the values of environments/ENVIRONMENT.toml and the executables that
        were built before. Prints `ready <public URL> control <control URL>` when it serves. SIGTERM drains;
        SIGHUP takes over changes of listen, tls, log and trusted_proxies, and certificates that were renewed; it names
        changes that need a start.
        What `edge deploy` has brought into service since is what serves again at the next start: from then on the files
        count for it alone, but for where the node listens and what it logs.
        With several --project, each is a tenant of its own on this node; the first one's file decides where it listens.
        """
    static let options: [Option] =
        [.value("environment", "ENVIRONMENT", "the name of a file in environments/; required", .environments)]
        + NodeOptions.options
        + Project.manyOptions + [
            .value("products", "DIRECTORY", "where the workers' executables are (where edge is)", .directories),
            .value("key-file", "FILE", "the key of the secrets (~/.config/edge/ENVIRONMENT.key)", .files),
        ]

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        try await run(arguments, .service)
    }

    enum Purpose { case service, rehearsal }

    static func run(_ arguments: CommandLineArguments, _ purpose: Purpose) async throws -> Int32 {
        let environment = try arguments.requiredValue("environment", "ENVIRONMENT")
        let folders = arguments.all("project")
        let projects = folders.isEmpty ? [try Project(arguments)] : folders.map { Project(directory: $0) }
        var loaded: [Loaded] = []
        for project in projects {
            try project.requirePlatform()
            guard let configuration = project.load(environment, arguments) else { return ExitCode.refused }
            loaded.append(Loaded(project: project, configuration: configuration))
        }
        var options = try NodeOptions(
            arguments, environment: environment, configuration: loaded.first?.configuration,
            base: loaded.first?.project.base ?? "")
        if purpose == .rehearsal { options.rehearse() }
        let products = arguments.value("products") ?? OwnExecutable.directory
        let process = try await NodeProcess(options, canBeReplaced: purpose == .service)
        var tenancies: [NodeProcess.Tenancy] = []
        for item in loaded { tenancies.append(try await tenancy(item, process, products, arguments)) }
        if purpose == .service { process.reportSandbox(tenantCount: tenancies.count) }
        let started = loaded
        let (database, key) = (process.state.controlDatabase, SecretCommand.key(environment, arguments))
        let isDev = loaded.first?.configuration.kind == .dev
        return await process.serve(
            tenancies,
            secrets: { tenant in
                isDev ? NoSecrets() as any SecretSource : try SecretStore(database: database, key: key, tenant: tenant)
            }, reload: { reload(started, environment, arguments) })
    }

    /// What a tenant starts from: the release that was deployed to this node last, else the project's files.
    private static func tenancy(
        _ item: Loaded, _ process: NodeProcess, _ products: String, _ arguments: CommandLineArguments
    ) async throws -> NodeProcess.Tenancy {
        let (configuration, environment) = (item.configuration, item.configuration.environment)
        guard configuration.kind != .dev else {
            return NodeProcess.Tenancy(
                description: try item.project.describe(configuration, name: "\(environment)-1", products: products),
                stores: configuration.stores, secrets: LocalValues(item.project, configuration))
        }
        let secrets = try SecretStore(
            database: process.state.controlDatabase, key: SecretCommand.key(environment, arguments),
            tenant: configuration.tenant)
        if let start = try process.startingPoint(tenant: configuration.tenant, secrets) {
            return NodeProcess.Tenancy(
                description: start.input.description, stores: start.configuration.stores, secrets: secrets,
                bundle: start.bundle, isRecorded: true)
        }
        let description = try item.project.describe(configuration, name: "\(environment)-1", products: products)
        let bundle = try await process.keep(item.project, configuration, products: products, arguments)
        return NodeProcess.Tenancy(
            description: description, stores: configuration.stores, secrets: secrets, bundle: bundle)
    }

    private struct Loaded: Sendable {
        var project: Project
        var configuration: EffectiveConfiguration
    }

    /// Reads all configurations again; `nil` when one has errors.
    private static func reload(
        _ started: [Loaded], _ environment: String, _ arguments: CommandLineArguments
    ) -> HostReload.Fresh? {
        var first: EffectiveConfiguration?
        var pending: [String] = []
        for item in started {
            guard let fresh = item.project.load(environment, arguments) else { return nil }
            // The first one's file decides where the node listens and what it logs.
            let isFirst = first == nil
            first = first ?? fresh
            pending += item.configuration.changes(to: fresh).filter { !isFirst || $0.effect == .byDeploy }.map {
                started.count > 1 ? "\(fresh.tenant): \($0.path)" : $0.path
            }
        }
        guard let first, let options = try? NodeOptions(arguments, environment: environment, configuration: first) else {
            return nil
        }
        return HostReload.Fresh(options: options, pending: pending)
    }
}
