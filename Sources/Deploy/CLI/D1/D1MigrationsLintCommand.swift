internal import Configuration
internal import ControlPlane
internal import Releases
internal import System

/// `edge d1 migrations lint`: needs no node.
enum D1MigrationsLintCommand: Command {
    static let name = "lint"
    static let summary = "Finds what the code in service couldn't live with"
    static let discussion = """
        \(summary): a deployment runs migrations while the old code serves, so they may only add. What takes something away
        belongs into a file that begins with `-- edge: contract`, which runs when the old code is gone. Each file is judged as if
        all before it had been deployed. Without DIRECTORY, all folders that the configuration names.

        Exit code 1 when there is an error; warnings alone are none. docs/migrations.md has the rules.

        example: edge d1 migrations lint migrations/platform
        """
    static let operands: [Operand] = [.optional("DIRECTORY", .directories)]
    static let options: [Option] =
        [.flag("json", "prints the findings as a JSON array")]
        + D1MigrationsCommand.fileOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        var findings: [(folder: String, finding: MigrationLint.Finding)] = []
        var count = 0
        for folder in try MigrationFolder.all(arguments) {
            let files = try folder.allNames.map { (name: $0, text: try folder.text(of: $0)) }
            count += files.count { !$0.name.hasSuffix(".down.sql") }
            findings += MigrationLint.check(files).map { (folder.path, $0) }
        }
        let errorCount = findings.count { $0.finding.isError }
        if arguments.has("json") {
            Output.json(.array(findings.map { json($0.finding, in: $0.folder) }))
        } else {
            for (folder, finding) in findings { print(Terminal.printable(finding.description(in: folder))) }
            Edge.complain("\(count) files: \(errorCount) errors, \(findings.count - errorCount) warnings")
        }
        return errorCount == 0 ? ExitCode.success : ExitCode.failure
    }

    private static func json(_ finding: MigrationLint.Finding, in folder: String) -> JSON {
        .object([
            "severity": .string(finding.isError ? "error" : "warning"), "rule": .string(finding.rule),
            "file": .string(finding.place.map { "\(folder)/\($0.file)" } ?? folder),
            "line": finding.place.map { .integer(Int64($0.line)) } ?? .null,
            "column": finding.place.map { .integer(Int64($0.column)) } ?? .null,
            "statement": .string(finding.statement), "reason": .string(finding.reason), "advice": .string(finding.advice),
        ])
    }
}
