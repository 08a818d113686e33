internal import ControlPlane

enum D1CreateCommand: Command {
    static let name = "create"
    static let summary = "Makes a database and prints its id"
    static let operands: [Operand] = [.one("NAME")]
    static let options: [Option] =
        [
            .value("location", "HINT", "where it is wanted: wnam, enam, weur, eeur, apac, oc", .choices(D1CreateCommand.hints)),
            .value("jurisdiction", "NAME", "eu or fedramp", .choices(["eu", "fedramp"])),
        ] + APIClient.storeOptions

    private static let hints = ["wnam", "enam", "weur", "eeur", "apac", "oc"]

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let api = try APIClient(arguments)
        let made = try await api.result(
            "POST", "\(try await api.account())/d1/database",
            .object([
                "name": .string(try arguments.required("NAME")),
                "primary_location_hint": arguments.value("location").map { .string($0) },
                "jurisdiction": arguments.value("jurisdiction").map { .string($0) },
            ]))
        if arguments.has("json") { Output.json(made) } else { print(made["uuid"]?.text ?? "") }
        return ExitCode.success
    }
}

enum D1ListCommand: Command {
    static let name = "list"
    static let summary = "Shows the databases: those of configurations and those made here"
    static let options = APIClient.storeOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let api = try APIClient(arguments)
        let databases = try await api.list("\(try await api.account())/d1/database")
        return Output.list(
            databases, arguments, "UUID", "NAME", "CREATED", .init("SIZE", .right), orSay: "there are no databases"
        ) { database in
            [
                database["uuid"]?.text ?? "", database["name"]?.text ?? "", Output.time(database["created_at"]?.text),
                HumanText.bytes(database["file_size"]?.integer ?? 0),
            ]
        }
    }
}

enum D1InfoCommand: Command {
    static let name = "info"
    static let summary = "Shows a database"
    static let operands = [D1Command.database]
    static let options = D1Target.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let database = try await D1Target(arguments).result("GET", "")
        if arguments.has("json") {
            Output.json(database)
            return ExitCode.success
        }
        var table = Table("PROPERTY", "VALUE")
        table.add("uuid", database["uuid"]?.text ?? "")
        table.add("name", database["name"]?.text ?? "")
        table.add("created", Output.time(database["created_at"]?.text))
        table.add("tables", "\(database["num_tables"]?.integer ?? 0)")
        table.add("size", HumanText.bytes(database["file_size"]?.integer ?? 0))
        table.add("region", database["running_in_region"]?.text ?? "")
        table.add("jurisdiction", database["jurisdiction"]?.text ?? "-")
        table.add("read replication", database["read_replication"]?["mode"]?.text ?? "")
        table.print(orSay: "")
        return ExitCode.success
    }
}

enum D1DeleteCommand: Command {
    static let name = "delete"
    static let summary = "Deletes a database with its history"
    static let discussion = "Deletes a database with its history. Workers that it is bound to get an error from then on."
    static let operands = [D1Command.database]
    static let options = [Confirmation.option] + D1Target.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let name = try arguments.required("DATABASE")
        let target = try await D1Target(arguments)
        // Before the question: nobody should agree to the loss of something that isn't there.
        let database = try await target.result("GET", "")
        let shown = "\(database["name"]?.text ?? name) (\(HumanText.bytes(database["file_size"]?.integer ?? 0)))"
        try Confirmation.ask("Delete the database \(shown) with its whole history?", arguments)
        let answer = try await target.result("DELETE", "")
        if arguments.has("json") { Output.json(answer) } else { print("deleted \(database["name"]?.text ?? name)") }
        return ExitCode.success
    }
}
