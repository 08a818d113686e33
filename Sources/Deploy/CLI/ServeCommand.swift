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
        let environment = try arguments.requiredValue("environment", "ENVIRONMENT")
        let folders = arguments.all("project")
        let projects = folders.isEmpty ? [try Project(arguments)] : folders.map { Project(directory: $0) }
        var loaded: [Loaded] = []
        for project in projects {
            try project.requirePlatform()
            guard let configuration = project.load(environment, arguments) else { return ExitCode.refused }
            loaded.append(Loaded(project: project, configuration: configuration))
        }
        let options = try NodeOptions(
            arguments, environment: environment, configuration: loaded.first?.configuration,
            base: loaded.first?.project.base ?? "")
        let products = arguments.value("products") ?? OwnExecutable.directory
        // First: a node that follows another one must not keep its clients waiting for this.
        let descriptions = try loaded.map { item in
            try item.project.describe(item.configuration, name: "\(environment)-1", products: products)
        }
        let process = try await NodeProcess(options, canBeReplaced: true)
        let tenancies = try zip(loaded, descriptions).map { item, description in
            NodeProcess.Tenancy(
                description: description, stores: item.configuration.stores,
                secrets: item.configuration.kind == .dev
                    ? LocalValues(item.project, item.configuration)
                    : try SecretStore(
                        database: process.state.controlDatabase,
                        key: SecretCommand.key(environment, arguments), tenant: item.configuration.tenant))
        }
        process.reportSandbox(tenantCount: tenancies.count)
        let started = loaded
        let (database, key) = (process.state.controlDatabase, SecretCommand.key(environment, arguments))
        let isDev = loaded.first?.configuration.kind == .dev
        return await process.serve(
            tenancies,
            secrets: { tenant in
                isDev ? NoSecrets() as any SecretSource : try SecretStore(database: database, key: key, tenant: tenant)
            }, reload: { reload(started, environment, arguments) })
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
