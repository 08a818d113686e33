internal import ControlPlane

/// `edge deploy status`: what is in service, and how far the newest deployment is.
enum DeployStatusCommand: Command {
    static let name = "status"
    static let summary = "Shows the releases in service and the newest deployment; --watch follows it"
    static let options =
        [DeployCommand.environment, .flag("watch", "shows what it does until it has ended"), NodeList.option]
        + APIClient.tenantOptions
    static let discussion = """
        With --nodes, what each node serves. Exit codes then: 0 all serve the same, 1 they don't, or one can't be asked, 3 a deployment is
        in progress.
        """

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        if arguments.has("nodes") {
            if arguments.has("watch") { throw UsageError.unexpectedArgument("--watch beside --nodes") }
            let environment = arguments.value("environment") ?? "dev"
            let nodes = Project.isHere ? try Project(arguments).loadWithoutWarnings(environment, arguments)?.nodes : nil
            guard let list = try NodeList(arguments, nodes: nodes ?? [:], environment: environment) else {
                return ExitCode.usage
            }
            return await NodesStatus.run(list, arguments)
        }
        let client = try APIClient(arguments)
        let node = try await NodeReleases(client)
        let slots = try await client.result("GET", "\(node.account)/edge/slots")
        let deployment = slots["deployment"] ?? .null
        if arguments.has("watch"), let number = deployment["number"]?.integer {
            return try await DeploymentFollower(node, number, json: arguments.has("json"), until: .monitored).run()
        }
        if arguments.has("json") {
            Output.json(slots)
            return ExitCode.success
        }
        var table = Table("WHAT", "IS")
        table.add("environment", slots["environment"]?.text ?? "")
        table.add("active", release(slots["active"]))
        if let candidate = slots["candidate"], candidate != .null {
            table.add("candidate", "\(release(candidate)), \(slots["percent"]?.integer ?? 0) % of requests")
        }
        let warm = slots["warm"]?.items ?? []
        if !warm.isEmpty { table.add("warm", warm.map(release).joined(separator: ", ")) }
        if let number = deployment["number"]?.integer {
            table.add("deployment", "\(number), \(deployment["state"]?.text ?? "")")
            for name in ["pause", "reason"] { if let text = deployment[name]?.text { table.add(name, text) } }
        }
        table.print(orSay: "")
        return ExitCode.success
    }

    private static func release(_ json: JSON?) -> String { json?.integer.map { "release \($0)" } ?? "none" }
}

/// `edge deploy attach`: shows a deployment that somebody has begun.
enum DeployAttachCommand: Command {
    static let name = "attach"
    static let summary = "Shows a deployment from its beginning until it has ended; the newest, or DEPLOYMENT"
    static let operands: [Operand] = [.optional("DEPLOYMENT")]
    static let options = [DeployCommand.environment] + APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let node = try await NodeReleases(APIClient(arguments))
        let number = try await node.number(arguments, "DEPLOYMENT")
        return try await DeploymentFollower(node, number, json: arguments.has("json"), until: .monitored).run()
    }
}

/// What `abort`, `resume` and `promote` share.
private enum DeploymentChange {
    static let operands: [Operand] = [.optional("DEPLOYMENT")]
    static let options = [DeployCommand.environment] + APIClient.tenantOptions

    static func run(_ verb: String, _ arguments: CommandLineArguments, follows: Bool) async throws -> Int32 {
        let node = try await NodeReleases(APIClient(arguments))
        let number = try await node.number(arguments, "DEPLOYMENT")
        return try await ReleaseFailures.explained {
            let seen = try await node.events(of: number, after: 0, wait: false).last?["sequence"]?.integer ?? 0
            let record = try await node.client.result("POST", "\(node.account)/edge/deployments/\(number)/\(verb)")
            guard follows else {
                if arguments.has("json") { Output.json(record) } else { print("deployment \(number): \(verb)") }
                return ExitCode.success
            }
            return try await DeploymentFollower(
                node, number, json: arguments.has("json"), until: .active, after: seen
            ).run()
        }
    }
}

enum DeployAbortCommand: Command {
    static let name = "abort"
    static let summary = "Stops a deployment: the release that served before goes on"
    static let operands = DeploymentChange.operands
    static let options = DeploymentChange.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let code = try await DeploymentChange.run("abort", arguments, follows: true)
        // Rolled back is what was asked for.
        return code == ExitCode.failure ? ExitCode.success : code
    }
}

enum DeployResumeCommand: Command {
    static let name = "resume"
    static let summary = "Lets a deployment go on that waits, and follows it"
    static let operands = DeploymentChange.operands
    static let options = DeploymentChange.options + [.flag("detach", "returns at once")]

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        try await DeploymentChange.run("resume", arguments, follows: !arguments.has("detach"))
    }
}

enum DeployPromoteCommand: Command {
    static let name = "promote"
    static let summary = "Takes a deployment to its end without further checks, and follows it"
    static let operands = DeploymentChange.operands
    static let options = DeploymentChange.options + [.flag("detach", "returns at once")]

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        try await DeploymentChange.run("promote", arguments, follows: !arguments.has("detach"))
    }
}
