internal import ControlPlane
internal import Releases

/// `edge releases list|view|deploy`: what was in service, and what it was made from.
enum ReleasesCommand: CommandGroup {
    static let name = "releases"
    static let summary = "Lists releases, shows one with its report, and gives versions of a worker their shares"
    static let commands: [any Command.Type] = [
        ReleasesListCommand.self, ReleasesViewCommand.self, ReleasesDeployCommand.self,
    ]

    static func number(_ word: String) throws(UsageError) -> Int64 {
        guard let number = Int64(word), number > 0 else {
            throw .invalidValue(option: "RELEASE", value: word, expected: "the number of a release")
        }
        return number
    }

    /// How a release is named in tables: by its tag, else its message.
    static func who(_ json: JSON) -> String {
        let email = json["author"]?["email"]?.text ?? ""
        return email.isEmpty ? json["author"]?["source"]?.text ?? "" : email
    }
}

enum ReleasesListCommand: Command {
    static let name = "list"
    static let summary = "Shows the newest releases, and which of them are in service"
    static let options =
        [DeployCommand.environment, .value("limit", "N", "how many (10)")] + APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let count = try arguments.integer("limit", 1...1000) ?? 10
        let node = try await NodeReleases(APIClient(arguments))
        let releases =
            try await node.client.result("GET", "\(node.account)/edge/releases", query: [("per_page", "\(count)")]).items ?? []
        return Output.list(
            releases, arguments, "RELEASE", "STATUS", "CREATED", "AUTHOR", "WORKERS", "TAG", "MESSAGE",
            orSay: "there are no releases"
        ) { release in
            [
                release["number"]?.integer.map { "\($0)" } ?? "", release["status"]?.text ?? "",
                Output.time(release["created_on"]?.text), ReleasesCommand.who(release),
                "\(release["versions"]?.members?.count ?? 0)", release["tag"]?.text ?? "", release["message"]?.text ?? "",
            ]
        }
    }
}

enum ReleasesViewCommand: Command {
    static let name = "view"
    static let summary = "Shows a release: its versions, its deployments, and what became of requests"
    static let operands: [Operand] = [.one("RELEASE")]
    static let options =
        [
            DeployCommand.environment,
            .flag("config", "prints the configuration that it was made from, each value with its origin"),
        ]
        + APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let number = try ReleasesCommand.number(arguments.required("RELEASE"))
        let node = try await NodeReleases(APIClient(arguments))
        if arguments.has("config") { return try await showConfiguration(number, node, arguments) }
        let release = try await node.client.result("GET", "\(node.account)/edge/releases/\(number)")
        var deployments: [(record: JSON, report: JSON)] = []
        for record in try await node.client.list("\(node.account)/edge/deployments") {
            guard record["release"]?.integer == number, let deployment = record["number"]?.integer else { continue }
            let report = try await node.client.result("GET", "\(node.account)/edge/deployments/\(deployment)/report")
            deployments.append((record, report))
        }
        if arguments.has("json") {
            let shown = deployments.map { record, report in
                JSON.object((record.members ?? []) + [JSON.Member(name: "report", value: report)])
            }
            Output.json(.object((release.members ?? []) + [JSON.Member(name: "deployments", value: .array(shown))]))
            return ExitCode.success
        }
        show(release, deployments)
        return ExitCode.success
    }

    private static func show(_ release: JSON, _ deployments: [(record: JSON, report: JSON)]) {
        var facts = Table("RELEASE", Table.Column(release["number"]?.integer.map { "\($0)" } ?? "", .left))
        facts.add("status", release["status"]?.text ?? "not in service")
        facts.add("created", Output.time(release["created_on"]?.text))
        facts.add("author", ReleasesCommand.who(release))
        for name in ["tag", "message", "revision"] {
            if let text = release[name]?.text, !text.isEmpty { facts.add(name, text) }
        }
        facts.add("bundle", release["bundle"]?.text ?? "none: made by changes of single workers")
        facts.print(orSay: "")
        print("")
        var versions = Table("WORKER", "VERSION")
        for worker in release["versions"]?.members ?? [] { versions.add(worker.name, worker.value.text ?? "") }
        versions.print(orSay: "it has no workers")
        print("")
        var table = Table("DEPLOYMENT", "STATE", "BY", "CREATED", "FINISHED", "REASON")
        for (record, _) in deployments {
            table.add(
                record["number"]?.integer.map { "\($0)" } ?? "", record["state"]?.text ?? "", record["trigger"]?.text ?? "",
                Output.time(record["created_on"]?.text), Output.time(record["finished_on"]?.text),
                record["pause"]?.text ?? record["reason"]?.text ?? "")
        }
        table.print(orSay: "it was never deployed")
        for (record, report) in deployments where report != .null {
            print("\nreport of deployment \(record["number"]?.integer ?? 0):")
            let text = DeploymentReport(json: String(decoding: report.bytes, as: UTF8.self))?.text
            // A node of another version may tell other things.
            let shown = text?.split(separator: "\n").map(String.init) ?? lines(of: report, below: "")
            for line in shown { print("  " + Terminal.printable(line)) }
        }
    }

    /// A report's figures, a line each.
    private static func lines(of json: JSON, below path: String) -> [String] {
        func joined(_ name: String) -> String { path.isEmpty ? name : "\(path) \(name)" }
        if let members = json.members { return members.flatMap { lines(of: $0.value, below: joined($0.name)) } }
        if let items = json.items {
            return items.enumerated().flatMap { lines(of: $1, below: joined("\($0 + 1)")) }
        }
        guard json != .null else { return [] }
        let text = json.text ?? String(decoding: json.bytes, as: UTF8.self)
        return ["\(path.replacing("_", with: " ")): \(text)"]
    }

    private static func showConfiguration(
        _ number: Int64, _ node: NodeReleases, _ arguments: CommandLineArguments
    ) async throws -> Int32 {
        let found = try await node.client.result("GET", "\(node.account)/edge/releases/\(number)/configuration")
        if arguments.has("json") {
            Output.json(found)
            return ExitCode.success
        }
        for setting in found["settings"]?.items ?? [] {
            var origin = setting["file"]?.text ?? "built-in"
            if let line = setting["line"]?.integer, let column = setting["column"]?.integer { origin += ":\(line):\(column)" }
            let value = ReleaseDifference.text(setting["value"])
            print(Terminal.printable("\(setting["path"]?.text ?? "") = \(value) (\(origin))"))
        }
        return ExitCode.success
    }
}

/// As `edge versions deploy`; which worker is meant, the versions tell.
enum ReleasesDeployCommand: Command {
    static let name = "deploy"
    static let summary = "Gives one or two versions of a worker their shares of requests"
    static let discussion = VersionsDeployCommand.discussion
    static let operands: [Operand] = [.any("VERSION[@PERCENTAGE]")]
    static let options =
        [DeployCommand.environment, .value("name", "WORKER", "which worker (the one that has the versions)", .workers)]
        + APIClient.tenantOptions + [.value("message", "TEXT", "why, for the list of deployments"), Confirmation.option]

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        try await VersionsDeployCommand.deploy(arguments) { client, ids in
            let account = try await client.account()
            if let name = arguments.value("name") { return "\(account)/workers/scripts/\(name)" }
            for script in try await client.result("GET", "\(account)/workers/scripts").items ?? [] {
                let path: APIPath = "\(account)/workers/scripts/\(script["id"]?.text ?? "")"
                let versions =
                    try await client.result("GET", "\(path)/versions", query: [("deployable", "true")])["items"]?.items ?? []
                if versions.contains(where: { $0["id"]?.text == ids.first?.lowercased() }) { return path }
            }
            throw APIFailure("no worker has the version \(ids.first ?? "")")
        }
    }
}
