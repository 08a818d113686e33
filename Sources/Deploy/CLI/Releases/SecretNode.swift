internal import Configuration
internal import ControlPlane
internal import Releases
internal import System

/// Secrets of a node that is asked over its API, and the deployment that gives workers what was changed.
enum SecretNode {
    static let connection: [Option] = [
        .value("remote", "URL", "a node elsewhere, by its control URL (the store on this machine)", aliases: ["control"]),
        .value("token", "TOKEN", "who asks ($EDGE_API_TOKEN, else the operator's, from --state)"),
        .value("ca", "FILE", "certificates to trust for https, in PEM (the system's)", .files),
    ]
    static let options: [Option] =
        connection + [.flag("deploy", "deploys the active release with it, and follows that")]

    /// What the change commands do with `--remote`.
    static func change(
        _ values: [(name: String, value: String?)], _ arguments: CommandLineArguments, then: () -> Void
    ) async throws -> Int32 {
        let client = try APIClient(arguments)
        let secrets = values.map { JSON.Member(name: $0.name, value: $0.value.map { .string($0) } ?? .null) }
        _ = try await client.result(
            "PATCH", "\(try await client.account())/edge/secrets",
            .object(["secrets": .object(secrets), "worker": arguments.value("worker").map { .string($0) }]))
        then()
        return arguments.has("deploy") ? try await deploy(client, arguments) : ExitCode.success
    }

    static func list(_ arguments: CommandLineArguments) async throws -> [(worker: String, name: String)] {
        let client = try APIClient(arguments)
        return try await client.result("GET", "\(try await client.account())/edge/secrets").items.map { items in
            items.map { (worker: $0["worker"]?.text ?? "*", name: $0["name"]?.text ?? "") }
        } ?? []
    }

    /// What the change commands do with `--deploy`, behind a change of the store on this machine.
    static func deployIfAsked(_ target: SecretTarget, _ arguments: CommandLineArguments) async throws -> Int32 {
        guard arguments.has("deploy") else { return ExitCode.success }
        let client = try APIClient(
            source: "", url: nil, state: target.state, token: arguments.value("token"), authorities: arguments.value("ca"),
            tenant: target.tenant)
        return try await deploy(client, arguments)
    }

    private static func deploy(_ client: APIClient, _ arguments: CommandLineArguments) async throws -> Int32 {
        let node = try await NodeReleases(client)
        guard let active = node.active else { throw APIFailure("nothing is active in \(node.ownEnvironment): `edge deploy` first") }
        let release = try await client.result("GET", "\(node.account)/edge/releases/\(active)")
        guard let bundle = release["bundle"]?.text else {
            throw APIFailure(
                "release \(active) was made by changes of single workers, and can't be deployed again as a whole: `edge deploy` does "
                    + "that from the project's files")
        }
        let request = try DeploymentRequest(arguments).with("trigger", "secret").with("bundle", .string(bundle))
        return try await ReleaseFailures.explained {
            try await DeploymentStart(node: node, request: request, arguments: arguments).run {
                try await client.result("POST", "\(node.account)/edge/deployments", request.json)
            }
        }
    }
}

enum SecretBulkCommand: Command {
    static let name = "bulk"
    static let summary = "Sets and deletes many secrets, all or none"
    static let discussion = """
        Reads FILE, or standard input (`-`): a JSON object of names and texts, where null deletes, or lines NAME=TEXT as in
        .dev.vars.

        example: edge secret bulk secrets.json --env staging --deploy
        """
    static let operands: [Operand] = [.one("FILE", .files)]
    static let options = [SecretCommand.worker] + SecretCommand.shared + SecretNode.options

    private static let bytesMax = 4 << 20

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let values = try read(try arguments.required("FILE"))
        let text = "changed \(HumanText.count(values.count, "secret"))"
        guard arguments.value("remote") == nil else {
            return try await SecretNode.change(values, arguments) { print(text) }
        }
        let target = try SecretTarget(arguments)
        try FileTree.makeDirectory(target.state, mode: 0o700)
        let missing = try target.open().change(
            values, of: arguments.value("worker") ?? "*", at: SystemClock().wallTime())
        guard missing.isEmpty else {
            Edge.complain("edge secret: there is no secret \(missing.joined(separator: ", ")): nothing was changed")
            return ExitCode.failure
        }
        print(text)
        return try await SecretNode.deployIfAsked(target, arguments)
    }

    private static func read(_ path: String) throws -> [(name: String, value: String?)] {
        let bytes = try InputFile(path).readAll(bytesMax: bytesMax)
        let values: [(name: String, value: String?)]
        if let json = JSON(bytes) {
            guard let members = json.members, members.allSatisfy({ $0.value.text != nil || $0.value == .null }) else {
                throw UsageError.invalidValue(option: "FILE", value: path, expected: "a JSON object of texts and nulls")
            }
            values = members.map { ($0.name, $0.value.text) }
        } else {
            let (entries, mistakes) = DotenvReader.read(SourceText(name: path, bytes: bytes, isConfidential: true))
            if let mistake = mistakes.first { throw DeploymentFailure(mistake.description) }
            values = entries.map { ($0.key, $0.value) }
        }
        guard !values.isEmpty else {
            throw UsageError.invalidValue(option: "FILE", value: path, expected: "at least one secret")
        }
        for (name, value) in values where !SecretTarget.isName(name) || value?.isEmpty == true {
            throw UsageError.invalidValue(
                option: "FILE", value: name, expected: "names of letters, digits and _, no digit first, each with a text")
        }
        return values
    }
}
