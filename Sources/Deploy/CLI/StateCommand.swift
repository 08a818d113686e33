internal import ControlPlane

/// `edge state`: all that tenants have.
enum StateCommand: CommandGroup {
    static let name = "state"
    static let summary = "Exports, imports, checks and empties what tenants have"
    static let commands: [any Command.Type] = [
        StateExportCommand.self, StateImportCommand.self, StateVerifyCommand.self, StateResetCommand.self,
    ]

    static let options: [Option] = [.value("tenant", "TENANT", "whose (all tenants')", .tenants)] + APIClient.options

    /// The tenants that are meant, by name.
    static func tenants(_ client: APIClient, _ arguments: CommandLineArguments) async throws -> [String] {
        if let tenant = arguments.value("tenant") { return [tenant] }
        return try await client.list("/accounts").compactMap { $0["name"]?.text }
    }
}

enum StateExportCommand: Command {
    static let name = "export"
    static let summary = "Writes all that tenants have to an archive; nothing pauses meanwhile"
    static let discussion = """
        Writes a tape archive of KV, D1, R2, queues, analytics and secrets, each store as it is at one moment. Secrets stay sealed.
        Equal stores make equal archives; `sha256sum --check SHA256SUMS` checks an unpacked one. Caches and the histories of
        databases are not in it.
        """
    static let options =
        [.value("out", "FILE", "where to; - is standard output; required", short: "o", aliases: ["output"], .files)]
        + StateCommand.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let path = try arguments.requiredValue("out", "FILE")
        let client = try APIClient(arguments)
        let source: APIPath =
            arguments.value("tenant") == nil ? "/state/export" : "\(try await client.account())/state/export"
        try await client.download(source, to: try OutputFile(path), title: "export")
        return ExitCode.success
    }
}

enum StateImportCommand: Command {
    static let name = "import"
    static let summary = "Puts an archive into the place of what its tenants have"
    static let discussion = """
        Reads an archive of `edge state export`, checks every digest, and only then puts it into the place of all that its tenants
        have on the node, which must know them. Their workers pause for a moment. What is interrupted leaves either all of the
        old or all of the new.
        """
    static let operands: [Operand] = [.one("FILE", .files)]
    static let options =
        [.flag("keep-secrets", "leaves the tenants' secrets as they are"), Confirmation.option]
        + StateCommand.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let file = try InputFile(try arguments.required("FILE"))
        let client = try APIClient(arguments)
        let whose = arguments.value("tenant").map { "the tenant \($0)" } ?? "each tenant in \(file.name)"
        try Confirmation.ask("Replace all that \(whose) has?", arguments)
        let target: APIPath =
            arguments.value("tenant") == nil ? "/state/import" : "\(try await client.account())/state/import"
        let answer = try await client.upload(
            "POST", target, query: [("secrets", arguments.has("keep-secrets") ? "keep" : nil)],
            .file(file, contentType: "application/x-tar"), title: "import")
        let result = answer["result"] ?? .null
        if arguments.has("json") {
            Output.json(result)
        } else {
            print("imported \((result["tenants"]?.items ?? []).compactMap(\.text).joined(separator: ", "))")
        }
        return ExitCode.success
    }
}

enum StateVerifyCommand: Command {
    static let name = "verify"
    static let summary = "Looks for torn and missing pieces of every store, and says what to do"
    static let discussion = """
        Prints what was looked at, and each finding with its store, the piece, what is wrong and what to do. Exit code 1 when
        something is wrong that wasn't mended. Everything goes on meanwhile.
        """
    static let options =
        [
            .flag("checksums", "also compares the bytes of objects with their checksums: reads everything"),
            .flag("repair", "mends what loses nothing"),
        ] + StateCommand.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let client = try APIClient(arguments)
        var reports: [JSON.Member] = []
        for tenant in try await StateCommand.tenants(client, arguments) {
            let report = try await client.result(
                arguments.has("repair") ? "POST" : "GET", "/accounts/\(tenant)/state/verification",
                query: [("checksums", arguments.has("checksums") ? "true" : nil)])
            reports.append(JSON.Member(name: tenant, value: report))
        }
        if arguments.has("json") { Output.json(.object(reports)) } else { show(reports) }
        return reports.allSatisfy { $0.value["sound"] == true } ? ExitCode.success : ExitCode.failure
    }

    private static func show(_ reports: [JSON.Member]) {
        for report in reports {
            let checked = (report.value["checked"]?.items ?? []).map { "\($0["store"]?.text ?? ""): \($0["what"]?.text ?? "")" }
            let count = report.value["finding_count"]?.integer ?? 0
            print(
                "\(report.name): \(count == 0 ? "sound" : HumanText.count(count, "problem")) (\(checked.joined(separator: "; ")))"
            )
            var table = Table("STORE", "PIECE", "WHAT IS WRONG", "WHAT TO DO")
            let findings = report.value["findings"]?.items ?? []
            for finding in findings {
                table.add(["store", "piece", "problem", "advice"].map { finding[$0]?.text ?? "" })
            }
            if !findings.isEmpty { table.print(orSay: "") }
        }
    }
}

enum StateResetCommand: Command {
    static let name = "reset"
    static let summary = "Empties all stores of tenants; their workers and secrets stay"
    static let options = [Confirmation.option] + StateCommand.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let client = try APIClient(arguments)
        let tenants = try await StateCommand.tenants(client, arguments)
        try Confirmation.ask("Delete all that \(tenants.joined(separator: ", ")) has stored?", arguments)
        for tenant in tenants { _ = try await client.result("DELETE", "/accounts/\(tenant)/state") }
        if arguments.has("json") {
            Output.json(.object(["tenants": .strings(tenants)]))
        } else {
            print("emptied \(tenants.joined(separator: ", "))")
        }
        return ExitCode.success
    }
}
