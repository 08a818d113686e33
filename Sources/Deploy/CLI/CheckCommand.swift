internal import Configuration

/// `edge check`: reads all environments and prints what is wrong.
enum CheckCommand: Command {
    static let name = "check"
    static let summary = "Checks wrangler-like.toml and the files of all environments"
    static let discussion = """
        Prints every finding with its place, the line and what to do; nothing is started or changed.
        Exit code 2 when there is an error. With -c, checks one worker in wrangler's format.

        example: edge check -c wrangler.toml --env staging
        """
    static let options: [Option] =
        Project.options + Project.wranglerOptions + [.flag("json", "prints the findings as a JSON array")]

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let project = try Project(arguments, environment: arguments.value("env"))
        try project.refuseEnvironment(arguments)
        let diagnostics = project.check(arguments)
        if arguments.has("json") {
            print(diagnostics.json)
        } else if diagnostics.isEmpty {
            print("no findings")
        } else {
            Edge.complain(diagnostics.rendered)
        }
        return diagnostics.hasErrors ? ExitCode.refused : ExitCode.success
    }
}
