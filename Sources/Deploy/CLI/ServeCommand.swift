internal import Configuration
internal import Releases

/// `edge serve`: a node of one environment.
enum ServeCommand: Command {
    static let name = "serve"
    static let summary = "Runs a node of one environment, with workers that were built before"
    static let usage = "--environment ENVIRONMENT [OPTION...]"
    static let discussion = """
        Serves the platform of wrangler-like.toml with the values of environments/ENVIRONMENT.toml and the executables that
        were built before. Prints `ready <public URL> control <control URL>` when it serves. SIGTERM drains.
        With several --project, each is a tenant of its own on this node; the first one's file decides where it listens.
        """
    static let options: [Option] =
        [.value("environment", "ENVIRONMENT", "the name of a file in environments/; required")] + NodeOptions.options
        + Project.manyOptions + [
            .value("products", "DIRECTORY", "where the workers' executables are (where edge is)"),
            .value("key-file", "FILE", "the key of the secrets (~/.config/edge/ENVIRONMENT.key)"),
        ]

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        if let word = arguments.positional.first { throw UsageError.unexpectedArgument(word) }
        guard let environment = arguments.value("environment") else {
            throw UsageError.missingArgument("--environment ENVIRONMENT")
        }
        let projects = arguments.all("project").isEmpty ? ["."] : arguments.all("project")
        var loaded: [(project: Project, configuration: EffectiveConfiguration)] = []
        for directory in projects {
            let project = Project(directory: directory)
            guard let configuration = project.load(environment, arguments) else { return ExitCode.refused }
            loaded.append((project, configuration))
        }
        let options = try NodeOptions(arguments, environment: environment, configuration: loaded.first?.configuration)
        let process = try await NodeProcess(options)
        let products = arguments.value("products") ?? OwnExecutable.directory
        let tenancies = try loaded.map { project, configuration in
            NodeProcess.Tenancy(
                description: try project.describe(configuration, name: "\(environment)-1", products: products),
                secrets: environment == "dev"
                    ? LocalValues(project, configuration)
                    : try SecretStore(
                        database: process.state.controlDatabase,
                        keyFile: SecretCommand.keyFile(environment, arguments)))
        }
        return await process.serve(tenancies)
    }
}
