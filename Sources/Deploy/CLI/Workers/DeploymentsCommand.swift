internal import ControlPlane

/// `edge deployments list|status`: which versions of a worker got requests, and which do.
enum DeploymentsCommand: CommandGroup {
    static let name = "deployments"
    static let summary = "Lists a worker's deployments, and shows the one that serves"
    static let commands: [any Command.Type] = [DeploymentsListCommand.self, DeploymentsStatusCommand.self]

    /// The newest first.
    static func newest(_ client: APIClient, _ worker: APIPath, count: Int) async throws -> [JSON] {
        let answer = try await client.result("GET", "\(worker)/deployments", query: [("per_page", "\(count)")])
        return answer["deployments"]?.items ?? []
    }

    static func versions(_ deployment: JSON) -> String {
        (deployment["versions"]?.items ?? []).map { share in
            let points = Int(((share["percentage"]?.number ?? 0) * 100).rounded())
            return "\(share["version_id"]?.text ?? "")@\(VersionsDeployCommand.percentage(points))"
        }.joined(separator: " ")
    }
}

enum DeploymentsListCommand: Command {
    static let name = "list"
    static let summary = "Shows the ten newest deployments"
    static let options = WorkerOption.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let client = try APIClient(arguments)
        let deployments = try await DeploymentsCommand.newest(client, WorkerOption.path(client, arguments), count: 10)
        return Output.list(
            deployments, arguments, "CREATED", "SOURCE", "AUTHOR", "BY", "VERSIONS", "MESSAGE",
            orSay: "there are no deployments"
        ) { deployment in
            [
                Output.time(deployment["created_on"]?.text), deployment["source"]?.text ?? "",
                deployment["author_email"]?.text ?? "", deployment["annotations"]?["workers/triggered_by"]?.text ?? "",
                DeploymentsCommand.versions(deployment), deployment["annotations"]?["workers/message"]?.text ?? "",
            ]
        }
    }
}

enum DeploymentsStatusCommand: Command {
    static let name = "status"
    static let summary = "Shows which versions serve, and their shares"
    static let options = WorkerOption.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let client = try APIClient(arguments)
        let worker = try await WorkerOption.path(client, arguments)
        guard let deployment = try await DeploymentsCommand.newest(client, worker, count: 1).first else {
            throw APIFailure("the worker has no deployment")
        }
        if arguments.has("json") {
            Output.json(deployment)
            return ExitCode.success
        }
        var table = Table("SHARE", "VERSION", "NUMBER", "CREATED", "TAG", "MESSAGE")
        for share in deployment["versions"]?.items ?? [] {
            let id = share["version_id"]?.text ?? ""
            let version = try await client.result("GET", "\(worker)/versions/\(id)")
            let points = Int(((share["percentage"]?.number ?? 0) * 100).rounded())
            table.add(
                "\(VersionsDeployCommand.percentage(points)) %", id, version["number"]?.integer.map { "\($0)" } ?? "",
                Output.time(version["metadata"]?["created_on"]?.text), version["annotations"]?["workers/tag"]?.text ?? "",
                version["annotations"]?["workers/message"]?.text ?? "")
        }
        table.print(orSay: "")
        return ExitCode.success
    }
}

/// `edge rollback --name WORKER`: back to a version that served before.
enum WorkerRollback {
    private static let secretsChanged: Int64 = 10220

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let client = try APIClient(arguments)
        let worker = try await WorkerOption.path(client, arguments)
        let target: String
        if let named = arguments.positional.first { target = named } else { target = try await previous(client, worker) }
        try Confirmation.ask("Roll back to version \(target)? It gets all requests at once.", arguments)
        let path: APIPath = "\(worker)/deployments"
        let body = DeploymentBody.json([(target, 10_000)], message: arguments.value("message"))
        let deployment: JSON
        do {
            deployment = try await client.result("POST", path, body)
        } catch let failure as APIFailure where failure.has(code: secretsChanged) {
            try Confirmation.ask("Secrets were changed since that version was deployed. Take the changes back?", arguments)
            deployment = try await client.result("POST", path, query: [("force", "true")], body)
        }
        if arguments.has("json") { Output.json(deployment) } else { print("version \(target) serves all requests") }
        return ExitCode.success
    }

    /// The newest version before the present deployment that had all requests.
    private static func previous(_ client: APIClient, _ worker: APIPath) async throws -> String {
        let deployments = try await DeploymentsCommand.newest(client, worker, count: 100)
        let present = Set((deployments.first?["versions"]?.items ?? []).compactMap { $0["version_id"]?.text })
        for deployment in deployments.dropFirst() {
            guard let shares = deployment["versions"]?.items, shares.count == 1, let id = shares.first?["version_id"]?.text,
                present.count > 1 || !present.contains(id)
            else { continue }
            return id
        }
        throw APIFailure("Could not find stable Worker Version to rollback to. Please try again with a version id.")
    }
}
