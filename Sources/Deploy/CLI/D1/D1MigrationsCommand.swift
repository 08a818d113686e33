internal import ControlPlane
internal import HTTP
internal import System

/// `edge d1 migrations`: the files are here, what was applied is known there.
enum D1MigrationsCommand: CommandGroup {
    static let name = "migrations"
    static let summary = "Writes, lists, applies and judges migrations"
    static let commands: [any Command.Type] = [
        D1MigrationsCreateCommand.self, D1MigrationsListCommand.self, D1MigrationsApplyCommand.self,
        D1MigrationsLintCommand.self,
    ]

    static let about = """
        The files are those of the folder that the configuration names for the database, else of migrations/. DATABASE is
        the database's name or id, or the name of a binding that has it.
        """
    static let fileOptions: [Option] = [
        .value("dir", "DIRECTORY", "the folder of the files (that of the configuration, else migrations)", .directories),
        .value(
            "project", "DIRECTORY", "the folder with the configuration (this one, or the next above that has one)", .directories
        ),
        .value("config", "FILE", "a wrangler.toml, wrangler.json or wrangler.jsonc in its place", short: "c", .files),
        .value(
            "environment", "NAME", "whose configuration, in wrangler's format too (dev, or its top level)", short: "e",
            aliases: ["env"], .environments),
    ]
    static let tableOption = Option.value(
        "table", "TABLE", "where the names of applied files are kept (that of the configuration, else d1_migrations)")
}

enum D1MigrationsCreateCommand: Command {
    static let name = "create"
    static let summary = "Writes an empty migration with the next number"
    static let discussion = "\(summary).\n\n\(D1MigrationsCommand.about)"
    static let operands: [Operand] = [D1Command.database, .one("MESSAGE")]
    static let options = D1MigrationsCommand.fileOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let message = try arguments.required("MESSAGE")
        guard !message.isEmpty, !message.contains("/") else {
            throw UsageError.invalidValue(option: "MESSAGE", value: message, expected: "some words, without \"/\"")
        }
        let folder = try MigrationFolder(arguments)
        let digits = String(try folder.nextNumber)
        let number = String(repeating: "0", count: max(0, 4 - digits.utf8.count)) + digits
        let name = "\(number)_\(message.split(separator: " ").joined(separator: "_")).sql"
        let time = HTTPDate(unixSeconds: SystemClock().wallTime().seconds).iso8601
        let path = "\(folder.path)/\(name)"
        try FileTree.makeDirectory(folder.path, mode: 0o755)
        try FileTree.replaceFile(path, with: Array("-- Migration number: \(number) \t \(time)\n".utf8), mode: 0o644)
        print(path)
        return ExitCode.success
    }
}

enum D1MigrationsListCommand: Command {
    static let name = "list"
    static let summary = "Shows which files haven't been applied yet"
    static let discussion = "\(summary).\n\n\(D1MigrationsCommand.about)"
    static let operands = [D1Command.database]
    static let options =
        [D1MigrationsCommand.tableOption, D1Target.previewOption] + D1MigrationsCommand.fileOptions + APIClient.storeOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let folder = try MigrationFolder(arguments)
        let target = try await D1Target(arguments, folder.database)
        let rows = try await target.result("GET", "/migrations", query: [("table", folder.table)]).items ?? []
        let applied = Set(rows.compactMap { $0["name"]?.text })
        let pending = try folder.names.filter { !applied.contains($0) }
        if arguments.has("json") {
            Output.json(.array(pending.map { .object(["name": .string($0)]) }))
            return ExitCode.success
        }
        guard !pending.isEmpty else {
            print("✅ No migrations to apply!")
            return ExitCode.success
        }
        var table = Table("PENDING")
        for name in pending { table.add(name) }
        table.print(orSay: "")
        return ExitCode.success
    }
}

enum D1MigrationsApplyCommand: Command {
    static let name = "apply"
    static let summary = "Applies the files that haven't been applied yet"
    static let discussion = """
        \(summary), each in a transaction of its own: the first one that fails is rolled back, those before it stay, those
        behind it aren't tried. With --atomic all are one transaction, as with `edge dev` and releases.

        \(D1MigrationsCommand.about)
        """
    static let operands = [D1Command.database]
    static let options =
        [
            Option.flag("atomic", "all of them or none"),
            .flag("dry-run", "applies them to a copy of the database, which is gone afterwards"),
            D1MigrationsCommand.tableOption, D1Target.previewOption,
        ] + D1MigrationsCommand.fileOptions
        + APIClient.storeOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let folder = try MigrationFolder(arguments)
        let files = try folder.names.map { name in
            JSON.object(["name": .string(name), "sql": .string(try folder.text(of: name))])
        }
        let target = try await D1Target(arguments, folder.database)
        let report = try await target.result(
            "POST", "/migrations",
            .object([
                "files": .array(files), "table": .string(folder.table),
                "scope": arguments.has("atomic") ? "all" : "each", "dry_run": .bool(arguments.has("dry-run")),
            ]))
        let hasSucceeded = report["succeeded"]?.bool ?? false
        if arguments.has("json") { Output.json(report) } else { show(report, isDryRun: arguments.has("dry-run")) }
        return hasSucceeded ? ExitCode.success : ExitCode.failure
    }

    private static func show(_ report: JSON, isDryRun: Bool) {
        for warning in report["warnings"]?.items ?? [] { Edge.complain("⚠️ \(Terminal.printable(warning.text ?? ""))") }
        let items = report["migrations"]?.items ?? []
        guard !items.isEmpty else { return print("✅ No migrations to apply!") }
        var table = Table("NAME", "STATUS")
        let marks = ["applied": "✅", "failed": "❌", "skipped": "🕒️"]
        for item in items {
            table.add(item["name"]?.text ?? "", marks[item["status"]?.text ?? ""] ?? "")
        }
        table.print(orSay: "")
        for item in items {
            guard let error = item["error"]?.text else { continue }
            Edge.complain("❌ \(Terminal.printable(item["name"]?.text ?? "")): \(Terminal.printable(error))")
        }
        if isDryRun { return Edge.complain("a copy of the database was used; nothing was changed") }
        if let bookmark = report["bookmark"]?.text, items.contains(where: { $0["status"]?.text == "applied" }) {
            Edge.complain("the state before: \(bookmark)")
        }
    }
}
