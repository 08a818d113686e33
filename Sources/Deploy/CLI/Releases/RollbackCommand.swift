internal import ControlPlane

/// `edge rollback`: back to a release that served before; with `--name`, back to a version of that worker.
enum RollbackCommand: Command {
    static let name = "rollback"
    static let summary = "Goes back to the release that was active before, or one that is named; with --name, one worker"
    static let discussion = """
        Makes a new deployment. A release that is still warm serves at once; another one is started and tried first. Data
        stay as they are, unless --restore-data takes databases back to what they were at the switch: what has been written
        since is lost then, so it says how much, and asks. It also asks where secrets were changed since.

        With --name WORKER it deploys a version of that worker alone: the last one that had all requests, or VERSION. Where
        secrets were changed since, it asks before it takes them back too.
        """
    static let operands: [Operand] = [.optional("RELEASE")]
    static let options =
        [
            DeployCommand.environment, .value("name", "WORKER", "a version of this worker, not a release", .workers),
            .value("message", "TEXT", "why, for the list of deployments", short: "m"),
            .flag("restore-data", "takes databases back, too"),
            .flag("dry-run", "says which release it would be, and what would be lost"),
            .flag("wait", "waits for a deployment that is in progress"),
            .flag("force", "also when what serves now isn't healthy"), .flag("detach", "returns when it has begun"),
            Confirmation.option,
        ] + APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        guard arguments.value("name") == nil else {
            for option in ["restore-data", "dry-run", "detach", "wait", "force"] where arguments.has(option) {
                throw UsageError.unexpectedArgument("--\(option) beside --name")
            }
            return try await WorkerRollback.run(arguments)
        }
        let release = try arguments.operand("RELEASE").map(ReleasesCommand.number)
        let request = try DeploymentRequest(arguments)
        let node = try await NodeReleases(APIClient(arguments))
        _ = try node.environment(arguments)
        return try await ReleaseFailures.explained {
            if arguments.has("dry-run") || arguments.has("restore-data") {
                let preview = try await node.client.result(
                    "GET", "\(node.account)/edge/rollback", query: [("release", release.map { "\($0)" })])
                if arguments.has("dry-run") { return show(preview, arguments) }
                if preview["restorable"] != true {
                    throw APIFailure("the data can't be restored: \(preview["reason"]?.text ?? "")")
                }
                try Confirmation.ask(
                    "Roll back to release \(preview["release"]?.integer ?? 0), and lose \(loss(preview))?", arguments)
            }
            let body = release.map { request.with("release", .integer($0)) } ?? request
            return try await DeploymentStart(node: node, request: request, arguments: arguments).run {
                do { return try await node.client.result("POST", "\(node.account)/edge/rollback", body.json) } catch let failure
                    as APIFailure where failure.has(code: secretsChanged)
                {
                    let reason = failure.reasons.first?.message ?? ""
                    try Confirmation.ask(
                        "\(reason.prefix(1).uppercased() + reason.dropFirst()). Take them back, too?", arguments)
                    return try await node.client.result(
                        "POST", "\(node.account)/edge/rollback", body.with("accept_secrets", true).json)
                }
            }
        }
    }

    private static let secretsChanged: Int64 = 10220

    private static func show(_ preview: JSON, _ arguments: CommandLineArguments) -> Int32 {
        if arguments.has("json") {
            Output.json(preview)
            return ExitCode.success
        }
        print("would roll back to release \(preview["release"]?.integer ?? 0)")
        if preview["restorable"] != true {
            print("--restore-data would be refused: \(Terminal.printable(preview["reason"]?.text ?? ""))")
        }
        for line in losses(preview) { print("with --restore-data, \(Terminal.printable(line)) would be lost") }
        return ExitCode.success
    }

    private static func losses(_ preview: JSON) -> [String] {
        (preview["lost_commits"]?.items ?? []).map { lost in
            "\(HumanText.count(lost["commits"]?.integer ?? 0, "commit")) of \(lost["database"]?.text ?? "")"
        }
    }

    private static func loss(_ preview: JSON) -> String {
        let losses = losses(preview)
        return losses.isEmpty ? "no commit" : losses.joined(separator: ", ")
    }
}
