internal import ControlPlane

/// `edge versions list|view|upload|deploy`: what has been uploaded of a worker, and which of it gets requests.
enum VersionsCommand: CommandGroup {
    static let name = "versions"
    static let summary = "Lists a worker's versions, shows one, uploads one, and deploys some"
    static let commands: [any Command.Type] = [
        VersionsListCommand.self, VersionsViewCommand.self, VersionsUploadCommand.self, VersionsDeployCommand.self,
    ]
}

/// A worker by its name on the command line.
enum WorkerOption {
    static let options: [Option] =
        [.value("name", "WORKER", "which worker; required", .workers)] + APIClient.tenantOptions

    /// The path of the worker.
    static func path(_ client: APIClient, _ arguments: CommandLineArguments) async throws -> APIPath {
        guard let name = arguments.value("name") else { throw UsageError.missingArgument("--name WORKER") }
        return "\(try await client.account())/workers/scripts/\(name)"
    }
}

enum VersionsListCommand: Command {
    static let name = "list"
    static let summary = "Shows the ten newest versions"
    static let options = WorkerOption.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let client = try APIClient(arguments)
        let path: APIPath = "\(try await WorkerOption.path(client, arguments))/versions"
        let items = try await client.result("GET", path, query: [("per_page", "10")])["items"] ?? .array([])
        if arguments.has("json") {
            Output.json(items)
            return ExitCode.success
        }
        var table = Table("VERSION", "NUMBER", "CREATED", "SOURCE", "TAG", "MESSAGE")
        for version in items.items ?? [] {
            table.add(
                version["id"]?.text ?? "", version["number"]?.integer.map { "\($0)" } ?? "",
                Output.time(version["metadata"]?["created_on"]?.text), version["metadata"]?["source"]?.text ?? "",
                version["annotations"]?["workers/tag"]?.text ?? "", version["annotations"]?["workers/message"]?.text ?? "")
        }
        table.print(orSay: "there are no versions")
        return ExitCode.success
    }
}

enum VersionsViewCommand: Command {
    static let name = "view"
    static let summary = "Shows a version and its bindings; never a secret's text"
    static let operands: [Operand] = [.one("VERSION")]
    static let options = WorkerOption.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let client = try APIClient(arguments)
        let id = try arguments.required("VERSION")
        let version = try await client.result("GET", "\(try await WorkerOption.path(client, arguments))/versions/\(id)")
        if arguments.has("json") {
            Output.json(version)
            return ExitCode.success
        }
        var facts = Table("VERSION", Table.Column(version["id"]?.text ?? "", .left))
        facts.add("number", version["number"]?.integer.map { "\($0)" } ?? "")
        facts.add("created", Output.time(version["metadata"]?["created_on"]?.text))
        facts.add("author", version["metadata"]?["author_email"]?.text ?? "")
        facts.add("source", version["metadata"]?["source"]?.text ?? "")
        facts.add("tag", version["annotations"]?["workers/tag"]?.text ?? "-")
        facts.add("message", version["annotations"]?["workers/message"]?.text ?? "-")
        facts.add(
            "handlers", (version["resources"]?["script"]?["handlers"]?.items ?? []).compactMap(\.text).joined(separator: ", "))
        facts.add("compatibility date", version["resources"]?["script_runtime"]?["compatibility_date"]?.text ?? "-")
        facts.add("start-up", version["startup_time_ms"]?.integer.map { "\($0) ms" } ?? "-")
        facts.print(orSay: "")
        var table = Table("BINDING", "TYPE", "RESOURCE")
        for binding in version["resources"]?["bindings"]?.items ?? [] {
            table.add(binding["name"]?.text ?? "", binding["type"]?.text ?? "", resource(binding))
        }
        table.print(orSay: "it has no bindings")
        return ExitCode.success
    }

    private static func resource(_ binding: JSON) -> String {
        for name in ["namespace_id", "id", "bucket_name", "queue_name", "service", "dataset", "text"] {
            if let text = binding[name]?.text { return text }
        }
        return binding["json"].map { String(decoding: $0.bytes, as: UTF8.self) } ?? ""
    }
}

enum VersionsDeployCommand: Command {
    static let name = "deploy"
    static let summary = "Gives versions their shares of requests"
    static let discussion = """
        Each version is written as ID@PERCENTAGE. Those without a percentage share what is left equally.

        example: edge versions deploy --name api 5f1e…@90 0b2c…@10
        """
    static let operands: [Operand] = [.any("VERSION[@PERCENTAGE]")]
    static let options =
        WorkerOption.options + [.value("message", "TEXT", "why, for the list of deployments"), Confirmation.option]

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        try await deploy(arguments) { client, _ in try await WorkerOption.path(client, arguments) }
    }

    /// - Parameter worker: The path of the worker that has these versions.
    static func deploy(
        _ arguments: CommandLineArguments, of worker: (APIClient, [String]) async throws -> APIPath
    ) async throws -> Int32 {
        let shares = try shares(arguments.positional)
        let client = try APIClient(arguments)
        let worker = try await worker(client, shares.map(\.id))
        let text = shares.map { "\($0.id) \(percentage($0.points)) %" }.joined(separator: ", ")
        try Confirmation.ask("Deploy \(text)?", arguments)
        let deployment = try await client.result(
            "POST", "\(worker)/deployments", DeploymentBody.json(shares, message: arguments.value("message")))
        if arguments.has("json") { Output.json(deployment) } else { print("deployed \(text)") }
        return ExitCode.success
    }

    private static func isVersionID(_ text: String) -> Bool {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        return parts.map(\.utf8.count) == [8, 4, 4, 4, 12] && parts.allSatisfy { $0.allSatisfy(\.isHexDigit) }
    }

    /// In hundredths of a percent.
    private static func shares(_ words: [String]) throws -> [(id: String, points: Int)] {
        guard !words.isEmpty else { throw UsageError.missingArgument("VERSION[@PERCENTAGE]") }
        var shares: [(id: String, points: Int?)] = []
        for word in words {
            let halves = word.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard halves.count == 2 else {
                shares.append((word, nil))
                continue
            }
            guard let percentage = Double(halves[1]), (0...100).contains(percentage) else {
                throw UsageError.invalidValue(option: "VERSION@PERCENTAGE", value: word, expected: "a percentage from 0 to 100")
            }
            shares.append((halves[0], Int((percentage * 100).rounded())))
        }
        if let bad = shares.first(where: { !isVersionID($0.id) }) {
            throw APIFailure("\(bad.id) is not a valid Version ID. Version IDs must be UUIDs.")
        }
        guard shares.count <= 2 else {
            throw APIFailure(
                "Too many versions selected. You can deploy at most 2 version(s) at a time. Please remove some versions and try "
                    + "again.")
        }
        let open = shares.count { $0.points == nil }
        let left = 10_000 - shares.reduce(0) { $0 + ($1.points ?? 0) }
        guard left >= 0, open > 0 || left == 0 else {
            throw UsageError.invalidValue(
                option: "VERSION@PERCENTAGE", value: words.joined(separator: " "),
                expected: "percentages that add up to 100, not to \(percentage(10_000 - left))")
        }
        var rest = left
        var count = open
        return shares.map { share in
            if let points = share.points { return (share.id, points) }
            // What can't be divided goes to the last.
            let points = count == 1 ? rest : left / open
            rest -= points
            count -= 1
            return (share.id, points)
        }
    }

    static func percentage(_ points: Int) -> String { points % 100 == 0 ? "\(points / 100)" : "\(Double(points) / 100)" }
}

/// What makes a deployment.
enum DeploymentBody {
    /// - Parameter shares: in hundredths of a percent.
    static func json(_ shares: [(id: String, points: Int)], message: String?) -> JSON {
        let versions = shares.map { share in
            JSON.object(["version_id": .string(share.id), "percentage": .number(Double(share.points) / 100)])
        }
        return .object([
            "strategy": "percentage", "versions": .array(versions),
            "annotations": message.map { .object([JSON.Member(name: "workers/message", value: .string($0))]) },
        ])
    }
}
