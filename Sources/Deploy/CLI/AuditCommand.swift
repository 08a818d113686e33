internal import ControlPlane

/// `edge audit`: what was changed over a node's API.
enum AuditCommand: Command {
    static let name = "audit"
    static let summary = "Shows what was changed over a node's API, the newest first"
    static let discussion = """
        Prints when, who, from where, what, and how it ended, for each call of the API that changed something of the tenant or
        tried to. The log only grows.
        """
    static let options: [Option] =
        [
            .value("count", "N", "how many, at most 1000 (100)"), .value("before", "ID", "those older than the one of this id"),
        ] + APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let count = try arguments.integer("count", 1...1000) ?? 100
        let before = arguments.value("before")
        if let before, Int64(before).map({ $0 < 1 }) ?? true {
            throw UsageError.invalidValue(option: "--before", value: before, expected: "an id that this command printed")
        }
        let client = try APIClient(arguments)
        let entries = try await client.result(
            "GET", "\(client.account())/audit_logs", query: [("per_page", String(count)), ("before", before)])
        if arguments.has("json") {
            Output.json(entries)
            return ExitCode.success
        }
        var table = Table(Table.Column("ID", .right), "WHEN", "WHO", "FROM", "WHAT", "PATH", "STATUS")
        for entry in entries.items ?? [] {
            let (actor, metadata) = (entry["actor"], entry["metadata"])
            let code = metadata?["code"]?.integer.map { " (\($0))" } ?? ""
            table.add(
                entry["id"]?.text ?? "", Output.time(entry["when"]?.text), actor?["name"]?.text ?? "",
                actor?["ip"]?.text ?? "", entry["action"]?["type"]?.text ?? "", entry["resource"]?["id"]?.text ?? "",
                "\(metadata?["status"]?.integer ?? 0)\(code)")
        }
        table.print(orSay: "nothing was changed yet")
        return ExitCode.success
    }
}
