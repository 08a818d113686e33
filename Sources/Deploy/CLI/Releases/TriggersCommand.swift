internal import ControlPlane

/// `edge triggers deploy`: what brings events to workers, without new versions of them.
enum TriggersCommand: CommandGroup {
    static let name = "triggers"
    static let summary = "Deploys the project's routes, domains and crons alone"
    static let commands: [any Command.Type] = [TriggersDeployCommand.self]
}

enum TriggersDeployCommand: Command {
    static let name = "deploy"
    static let summary = "Gives the workers that serve the routes, domains and crons of the project's files; at once"
    static let options: [Option] =
        [
            DeployCommand.environment,
            .value(
                "project", "DIRECTORY", "the folder with wrangler-like.toml (this one, or the next above that has one)",
                .directories), .flag("lenient", "takes unknown keys for warnings, not for errors"),
        ] + APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let project = try Project(arguments)
        try project.requirePlatform()
        let node = try await NodeReleases(APIClient(arguments))
        guard let configuration = project.load(try node.environment(arguments), arguments) else { return ExitCode.refused }
        let workers = configuration.workers.filter { $0.isEnabled && !$0.product.isEmpty }.map { worker in
            JSON.Member(
                name: worker.name,
                value: .object([
                    "routes": .strings(configuration.routes.filter { $0.worker == worker.name }.map(\.pattern.text)),
                    "domains": .strings(
                        configuration.customDomains.filter { $0.worker == worker.name }.map(\.domain.host)),
                    "crons": .strings(worker.crons.map(\.text)),
                ]))
        }
        let changed = try await node.client.result(
            "PUT", "\(node.account)/edge/triggers", .object([JSON.Member(name: "workers", value: .object(workers))]))
        if arguments.has("json") {
            Output.json(changed)
            return ExitCode.success
        }
        let lines = (changed["changes"]?.items ?? []).compactMap(\.text)
        for line in lines { print(Terminal.printable(line)) }
        if lines.isEmpty { print("no changes") }
        return ExitCode.success
    }
}
