internal import Configuration

/// `edge config show|diff|check`.
enum ConfigCommand: Command {
    static let name = "config"
    static let summary = "Shows the configuration of an environment, or compares two"
    static let usage = "show [ENVIRONMENT] [--origin] | diff A B | check"
    static let discussion = """
        show    prints every value of an environment after all files are merged; with --origin also where it is from
        diff    prints the values in which two environments differ
        check   as `edge check`
        """
    static let options: [Option] =
        Project.options + [
            .value("env", "ENVIRONMENT", "the environment to show (dev)"),
            .flag("origin", "adds file, line and column of each value"),
            .flag("json", "prints the findings of check as JSON"),
        ]

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let project = Project(arguments)
        switch arguments.positional.first {
        case "show":
            let words = arguments.positional.dropFirst()
            if words.count > 1 { throw UsageError.unexpectedArgument(arguments.positional[2]) }
            if let word = words.first, let option = arguments.value("env"), word != option {
                throw UsageError.unexpectedArgument(word)
            }
            let environment = words.first ?? arguments.value("env") ?? "dev"
            guard let configuration = project.load(environment, arguments) else {
                return ExitCode.refused
            }
            for setting in configuration.settings {
                print(arguments.has("origin") ? setting.description : "\(setting.path) = \(setting.value)")
            }
            return ExitCode.success
        case "diff":
            guard arguments.positional.count == 3 else { throw UsageError.missingArgument("config diff A B: an environment") }
            guard let first = project.load(arguments.positional[1], arguments),
                let second = project.load(arguments.positional[2], arguments)
            else { return ExitCode.refused }
            for change in first.changes(to: second) {
                print("\(change.path): \(change.old?.value ?? "-") -> \(change.new?.value ?? "-")")
            }
            return ExitCode.success
        case "check": return try await CheckCommand.run(arguments)
        case let other?: throw UsageError.unknownSubcommand(other, of: name, among: ["show", "diff", "check"])
        case nil: throw UsageError.missingArgument("show, diff or check")
        }
    }
}
