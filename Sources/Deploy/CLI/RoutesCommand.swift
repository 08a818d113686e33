internal import ControlPlane

/// `edge routes`: who gets which requests.
enum RoutesCommand: CommandGroup {
    static let name = "routes"
    static let summary = "Shows which worker gets which requests"
    static let commands: [any Command.Type] = [RoutesListCommand.self]
}

enum RoutesListCommand: Command {
    static let name = "list"
    static let summary = "Shows the routes and domains in service, those that win first"
    static let discussion = """
        Prints the node's effective routing table: host, path, worker, tenant, and where each comes from; of one tenant those
        that win first. Without --tenant, of all tenants that the token may use.
        """
    static let options: [Option] =
        [.value("tenant", "TENANT", "whose (all)", .tenants)] + APIClient.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let client = try APIClient(arguments)
        var accounts: [APIPath] = []
        if arguments.value("tenant") != nil {
            accounts.append(try await client.account())
        } else {
            accounts += try await client.list("/accounts").compactMap { $0["id"]?.text }.map { "/accounts/\($0)" }
        }
        var routes: [JSON] = []
        for account in accounts { routes += try await client.list("\(account)/workers/effective_routes") }
        return Output.list(
            routes, arguments, "HOST", "PATH", "WORKER", "TENANT", "KIND", "SOURCE", orSay: "no worker has a route"
        ) { route in
            ["host", "path", "worker", "tenant", "kind", "source"].map { route[$0]?.text ?? "" }
        }
    }
}
