internal import ControlPlane

/// `edge cache purge|status`: what a node keeps of responses.
enum CacheCommand: CommandGroup {
    static let name = "cache"
    static let summary = "Purges the caches of zones, and shows what they have and have done"
    static let commands: [any Command.Type] = [CachePurgeCommand.self, CacheStatusCommand.self]

    static let zone = Option.value("zone", "ZONE", "one zone, by its domain or id (all of the tenant's)")

    /// The path of the zone that the command is about; a tenant's id stands for all that it has.
    static func path(_ client: APIClient, _ arguments: CommandLineArguments) async throws -> APIPath {
        if let zone = arguments.value("zone") { return "/zones/\(zone)" }
        return "/zones/\(try await client.result("GET", client.account())["id"]?.text ?? "")"
    }
}

enum CachePurgeCommand: Command {
    static let name = "purge"
    static let summary = "Removes responses from the cache, at once"
    static let discussion = """
        \(summary): everything, or what one of the options names. Options may be repeated and combined.

        example: edge cache purge --tag products --prefix shop.example.com/images --zone example.com
        """
    static let options: [Option] =
        [
            CacheCommand.zone, .flag("everything", "all responses"), .values("url", "URL", "the responses of a URL"),
            .values("tag", "TAG", "those with this tag in their Cache-Tag"),
            .values("host", "HOST", "those of a host"), .values("prefix", "HOST/PATH", "those below a path"),
            Confirmation.option,
        ] + APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        func texts(_ name: String) -> JSON? { arguments.all(name).isEmpty ? nil : .strings(arguments.all(name)) }
        let body = JSON.object([
            "purge_everything": arguments.has("everything") ? true : nil, "files": texts("url"), "tags": texts("tag"),
            "hosts": texts("host"), "prefixes": texts("prefix"),
        ])
        guard body.members?.isEmpty == false else {
            throw UsageError.missingArgument("--everything, --url, --tag, --host or --prefix")
        }
        let client = try APIClient(arguments)
        let zone = try await CacheCommand.path(client, arguments)
        if arguments.has("everything") {
            try Confirmation.ask("Purge all responses of \(arguments.value("zone") ?? "all zones")?", arguments)
        }
        let purged = try await client.result("POST", "\(zone)/purge_cache", body)
        if arguments.has("json") { Output.json(purged) } else { print("purged") }
        return ExitCode.success
    }
}

enum CacheStatusCommand: Command {
    static let name = "status"
    static let summary = "Shows what the cache of each zone has, and has done since the node started"
    static let options = [CacheCommand.zone] + APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let client = try APIClient(arguments)
        let zones = try await client.result("GET", "\(CacheCommand.path(client, arguments))/cache/statistics")
        if arguments.has("json") {
            Output.json(zones)
            return ExitCode.success
        }
        func right(_ title: String) -> Table.Column { Table.Column(title, .right) }
        var table = Table(
            "ZONE", right("RESPONSES"), right("SIZE"), right("HITS"), right("MISSES"), right("OTHERS"), right("EVICTED"))
        for zone in zones.items ?? [] {
            let answers = zone["answers"]?.members ?? []
            func count(_ names: [String], isIn: Bool) -> Int64 {
                answers.reduce(0) { $0 + (names.contains($1.name) == isIn ? $1.value.integer ?? 0 : 0) }
            }
            table.add(
                zone["zone_name"]?.text ?? "", "\(zone["entries"]?.integer ?? 0)",
                HumanText.bytes(zone["bytes"]?.integer ?? 0), "\(count(["HIT"], isIn: true))",
                "\(count(["MISS"], isIn: true))", "\(count(["HIT", "MISS"], isIn: false))",
                "\(zone["evictions"]?.integer ?? 0)")
        }
        table.print(orSay: "the cache hasn't been used")
        return ExitCode.success
    }
}
