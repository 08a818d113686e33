internal import Configuration

/// `edge check`: reads all environments and prints what is wrong.
enum CheckCommand: Command {
    static let name = "check"
    static let summary = "Checks wrangler-like.toml and the files of all environments"
    static let usage = "[OPTION...]"
    static let discussion = """
        Prints every finding with its place, the line and what to do; nothing is started or changed.
        Exit code 2 when there is an error.
        """
    static let options: [Option] = Project.options + [.flag("json", "prints the findings as a JSON array")]

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let project = Project(arguments)
        let diagnostics = project.loader.checkAll(Project.loadOptions(arguments))
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
