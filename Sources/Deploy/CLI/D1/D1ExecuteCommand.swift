internal import ControlPlane

enum D1ExecuteCommand: Command {
    static let name = "execute"
    static let summary = "Runs SQL: a command, or a file of any length"
    static let discussion = """
        Runs SQL: a command, or a file of any length. Either is one transaction: all of it is done, or nothing.

        Rows are shown as tables, with --json as the API gives them. A file is sent as an import: it shows no rows.

        example: edge d1 execute app --command "SELECT id, name FROM users LIMIT 5"
        """
    static let operands = [D1Command.database]
    static let options: [Option] =
        [
            .value("command", "SQL", "the statements, with semicolons between"),
            .value("file", "FILE", "a file of SQL, or - for standard input", .files),
            .flag("yes", "as wrangler has it: nothing is asked in any case", short: "y"),
            D1Target.previewOption,
        ] + D1Target.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        switch (arguments.value("command"), arguments.value("file")) {
        case (nil, nil): throw UsageError.missingArgument("--command SQL or --file FILE")
        case (_?, _?): throw UsageError.unexpectedArgument("--file beside --command")
        case (nil, let file?): return try await D1ImportCommand.load(file, arguments)
        case (let sql?, nil):
            let (target, body) = (try await D1Target(arguments), JSON.object(["sql": .string(sql)]))
            if arguments.has("json") {
                Output.json(try await target.result("POST", "/query", body))
                return ExitCode.success
            }
            for result in try await target.result("POST", "/raw", body).items ?? [] { show(result) }
            return ExitCode.success
        }
    }

    private static func show(_ result: JSON) {
        let columns = (result["results"]?["columns"]?.items ?? []).map { $0.text ?? "" }
        let rows = result["results"]?["rows"]?.items ?? []
        if !columns.isEmpty {
            var table = Table(columns.map { Table.Column($0, .left) })
            for row in rows { table.add((row.items ?? []).map(text)) }
            table.print(orSay: columns.joined(separator: "  "))
        }
        let meta = result["meta"]
        var facts = [HumanText.count(rows.count, "row")]
        if let changes = meta?["changes"]?.integer, changes > 0 { facts.append(HumanText.count(changes, "change")) }
        facts.append("read \(meta?["rows_read"]?.integer ?? 0)")
        facts.append("wrote \(meta?["rows_written"]?.integer ?? 0)")
        Edge.complain(facts.joined(separator: ", "))
    }

    private static func text(_ value: JSON) -> String {
        switch value {
        case .string(let text): text
        case .null: "NULL"
        case .bool, .integer, .number, .array, .object, .verbatim: String(decoding: value.bytes, as: UTF8.self)
        }
    }
}
