internal import ControlPlane
internal import Releases

/// `edge tenant`: who has workers and stores on a node.
enum TenantCommand: CommandGroup {
    static let name = "tenant"
    static let summary = "Makes, shows, changes and deletes the tenants of a node"
    static let commands: [any Command.Type] = [
        TenantCreateCommand.self, TenantListCommand.self, TenantInfoCommand.self, TenantUpdateCommand.self,
        TenantDeleteCommand.self,
    ]

    static let limitOptions: [Option] = [
        .value("plan", "PLAN", "what it may have where no limit says otherwise", .choices(TenantSettings.plans)),
        .values("limit", "NAME=N", "a limit, as kv_bytes_max=1000000; NAME= is the plan's; may be repeated"),
    ]

    /// What `--plan` and `--limit` say.
    static func settings(_ arguments: CommandLineArguments) throws(UsageError) -> [JSON.Member] {
        var members: [JSON.Member] = []
        if let plan = arguments.value("plan") {
            guard TenantSettings.plans.contains(plan) else {
                throw .invalidValue(option: "--plan", value: plan, expected: TenantSettings.plans.joined(separator: ", "))
            }
            members.append(JSON.Member(name: "plan", value: .string(plan)))
        }
        var limits: [JSON.Member] = []
        for text in arguments.all("limit") {
            let halves = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard halves.count == 2, halves[1].isEmpty || Int64(halves[1]) != nil else {
                throw .invalidValue(option: "--limit", value: text, expected: "NAME=N, as kv_bytes_max=1000000")
            }
            limits.append(JSON.Member(name: String(halves[0]), value: Int64(halves[1]).map { .integer($0) } ?? .null))
        }
        if !limits.isEmpty { members.append(JSON.Member(name: "limits", value: .object(limits))) }
        return members
    }
}

enum TenantCreateCommand: Command {
    static let name = "create"
    static let summary = "Makes a tenant without workers; its stores are open at once"
    static let operands: [Operand] = [.one("NAME")]
    static let options = TenantCommand.limitOptions + APIClient.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let name = try arguments.required("NAME")
        let body = JSON.object([JSON.Member(name: "name", value: .string(name))] + (try TenantCommand.settings(arguments)))
        let made = try await APIClient(arguments).result("POST", "/accounts", body)
        if arguments.has("json") { Output.json(made) } else { print("made \(name): \(made["id"]?.text ?? "")") }
        return ExitCode.success
    }
}

enum TenantListCommand: Command {
    static let name = "list"
    static let summary = "Shows the tenants that the token may use"
    static let options = APIClient.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let tenants = try await APIClient(arguments).list("/accounts")
        return Output.list(tenants, arguments, "NAME", "ID", orSay: "there are no tenants") { tenant in
            [tenant["name"]?.text ?? "", tenant["id"]?.text ?? ""]
        }
    }
}

enum TenantInfoCommand: Command {
    static let name = "info"
    static let summary = "Shows where a tenant comes from, what it may have, and how much it has"
    static let operands: [Operand] = [.one("TENANT", .tenants)]
    static let options = APIClient.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let tenant = try await APIClient(arguments).result("GET", "/accounts/\(arguments.required("TENANT"))/tenant")
        if arguments.has("json") {
            Output.json(tenant)
            return ExitCode.success
        }
        var table = Table("WHAT", "IS")
        table.add("name", tenant["name"]?.text ?? "")
        table.add("id", tenant["id"]?.text ?? "")
        table.add("made by", tenant["source"]?.text ?? "")
        if let made = tenant["created_on"]?.text { table.add("made on", Output.time(made)) }
        if let plan = tenant["plan"]?.text { table.add("plan", plan) }
        for limit in tenant["limits"]?.members ?? [] { table.add(limit.name, "\(limit.value.integer ?? 0)") }
        for kind in tenant["contents"]?.members ?? [] { table.add(kind.name, "\(kind.value.integer ?? 0)") }
        table.print(orSay: "")
        return ExitCode.success
    }
}

enum TenantUpdateCommand: Command {
    static let name = "update"
    static let summary = "Changes what a tenant may have; its workers pause for a moment"
    static let operands: [Operand] = [.one("TENANT", .tenants)]
    static let options = TenantCommand.limitOptions + APIClient.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let tenant = try arguments.required("TENANT")
        let settings = try TenantCommand.settings(arguments)
        guard !settings.isEmpty else { throw UsageError.missingArgument("--plan PLAN or --limit NAME=N") }
        let changed = try await APIClient(arguments).result("PUT", "/accounts/\(tenant)", .object(settings))
        if arguments.has("json") { Output.json(changed) } else { print("changed \(tenant)") }
        return ExitCode.success
    }
}

enum TenantDeleteCommand: Command {
    static let name = "delete"
    static let summary = "Deletes a tenant that was made over the API"
    static let operands: [Operand] = [.one("TENANT", .tenants)]
    static let options =
        [.flag("force", "also one that has workers or data, with all of it"), Confirmation.option] + APIClient.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let tenant = try arguments.required("TENANT")
        try Confirmation.ask(
            arguments.has("force")
                ? "Delete the tenant \(tenant) with all its workers and data?" : "Delete the tenant \(tenant)?", arguments)
        let gone = try await APIClient(arguments).result(
            "DELETE", "/accounts/\(tenant)", query: [("force", arguments.has("force") ? "true" : nil)])
        if arguments.has("json") { Output.json(gone) } else { print("deleted \(tenant)") }
        return ExitCode.success
    }
}
