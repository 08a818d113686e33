internal import ControlPlane
internal import HTTP

/// `edge audit`: what was changed over a node's API.
enum AuditCommand: Command {
    static let name = "audit"
    static let summary = "Shows what was changed over a node's API, the newest first"
    static let usage = "TENANT --control URL [OPTION...]"
    static let discussion = """
        Prints when, who, from where, what, and how it ended, for each call of the API that changed something of the tenant or
        tried to. The log only grows.
        """
    static let options: [Option] =
        APIClient.options + [
            .value("count", "N", "how many, at most 1000 (100)"), .value("before", "ID", "those older than the one of this id"),
        ]

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        guard let tenant = arguments.positional.first else { throw UsageError.missingArgument("TENANT") }
        if arguments.positional.count > 1 { throw UsageError.unexpectedArgument(arguments.positional[1]) }
        var query = "?per_page=100"
        if let text = arguments.value("count") {
            guard let count = Int(text), (1...1000).contains(count) else {
                throw UsageError.invalidValue(option: "--count", value: text, expected: "a number from 1 to 1000")
            }
            query = "?per_page=\(count)"
        }
        if let text = arguments.value("before") {
            guard let id = Int64(text), id > 0 else {
                throw UsageError.invalidValue(option: "--before", value: text, expected: "an id that this command printed")
            }
            query += "&before=\(id)"
        }
        let client = try APIClient(arguments)
        let json = try client.call("GET", "/accounts/\(PercentEncoding.encodeComponent(tenant))/audit_logs\(query)")
        if arguments.has("json") {
            print(String(decoding: json.bytes, as: UTF8.self))
            return ExitCode.success
        }
        for entry in json["result"]?.items ?? [] {
            let (actor, metadata) = (entry["actor"], entry["metadata"])
            let code = metadata?["code"]?.integer.map { " (\($0))" } ?? ""
            print(
                "\(entry["id"]?.text ?? "")  \(entry["when"]?.text ?? "")  \(actor?["name"]?.text ?? "")  "
                    + "\(actor?["ip"]?.text ?? "")  \(entry["action"]?["type"]?.text ?? "")  "
                    + "\(entry["resource"]?["id"]?.text ?? "")  \(metadata?["status"]?.integer ?? 0)\(code)")
        }
        return ExitCode.success
    }
}
