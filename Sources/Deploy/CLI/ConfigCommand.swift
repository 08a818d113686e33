internal import Configuration
internal import System

/// `edge config show|diff|check|import`.
enum ConfigCommand: CommandGroup {
    static let name = "config"
    static let summary = "Shows the configuration of an environment, compares two, or takes over wrangler's"
    static let commands: [any Command.Type] = [
        ConfigShowCommand.self, ConfigDiffCommand.self, CheckCommand.self, ConfigImportCommand.self,
    ]
}

enum ConfigShowCommand: Command {
    static let name = "show"
    static let summary = "Prints every value of an environment after all files are merged"
    static let operands: [Operand] = [.optional("ENVIRONMENT", .environments)]
    static let options: [Option] =
        Project.options + [
            .value("env", "ENVIRONMENT", "the environment to show (dev)", .environments),
            .flag("origin", "adds file, line and column of each value"), .flag("json", "prints the values as JSON"),
        ]

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let named = arguments.operand("ENVIRONMENT")
        if let word = named, let option = arguments.value("env"), word != option {
            throw UsageError.unexpectedArgument(word)
        }
        let project = try Project(arguments)
        try project.requirePlatform()
        guard let configuration = project.load(named ?? arguments.value("env") ?? "dev", arguments) else {
            return ExitCode.refused
        }
        if arguments.has("json") {
            print("[\(configuration.settings.map(\.json).joined(separator: ","))]")
            return ExitCode.success
        }
        for setting in configuration.settings {
            print(arguments.has("origin") ? setting.description : "\(setting.path) = \(setting.value)")
        }
        return ExitCode.success
    }
}

enum ConfigDiffCommand: Command {
    static let name = "diff"
    static let summary = "Prints the values in which two environments differ"
    static let usage = "A B [OPTION...]"
    static let operands: [Operand] = [.optional("A", .environments), .optional("B", .environments)]
    static let options: [Option] = Project.options + [.flag("json", "prints the differences as JSON")]

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        guard let one = arguments.operand("A"), let other = arguments.operand("B") else {
            throw UsageError.missingArgument("config diff A B: an environment")
        }
        let project = try Project(arguments)
        try project.requirePlatform()
        guard let first = project.load(one, arguments),
            let second = project.load(other, arguments)
        else { return ExitCode.refused }
        let changes = first.changes(to: second)
        if arguments.has("json") {
            print("[\(changes.map(\.json).joined(separator: ","))]")
            return ExitCode.success
        }
        for change in changes { print("\(change.path): \(change.old?.value ?? "-") -> \(change.new?.value ?? "-")") }
        return ExitCode.success
    }
}

enum ConfigImportCommand: Command {
    static let name = "import"
    static let summary = "Prints a worker's file in wrangler's format as wrangler-like.toml"
    static let discussion = """
        Prints a wrangler.toml, wrangler.json or wrangler.jsonc (FILE, or the one in the project) as wrangler-like.toml, with
        --env the environment NAME of it; what it can't do here is an error or a warning.
        """
    static let operands: [Operand] = [.optional("FILE", .files)]
    static let options: [Option] =
        Project.options + [
            .value("config", "FILE", "the same as FILE", short: "c", .files),
            .value("env", "NAME", "the environment of that file (its top level)"),
            .flag("write", "makes wrangler-like.toml instead of printing it"),
        ]

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let directory = arguments.value("project") ?? "."
        let known = WranglerReader.fileNames
        guard
            let path = arguments.operand("FILE") ?? arguments.value("config")
                ?? known.map({ "\(directory)/\($0)" }).first(where: FileTree.exists)
        else {
            Edge.complain("edge config import: there is no \(known.joined(separator: ", no ")) in \(directory)")
            return ExitCode.refused
        }
        let folder = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let file = path.split(separator: "/").last.map(String.init) ?? path
        let project = Project(directory: folder, file: file, environment: arguments.value("env"))
        guard let configuration = project.load("dev", arguments) else { return ExitCode.refused }
        let text = ShapeText(configuration) { project.loader.migrationFiles($0) != nil }.text
        guard arguments.has("write") else {
            print(text, terminator: "")
            return ExitCode.success
        }
        let target = "\(folder)/\(ShapeFile.name)"
        guard !FileTree.exists(target) else {
            Edge.complain("edge config import: \(target) exists: move it away first")
            return ExitCode.refused
        }
        try FileTree.replaceFile(target, with: Array(text.utf8), mode: 0o644)
        print("made \(target)")
        return ExitCode.success
    }
}
