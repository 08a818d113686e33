internal import Configuration
internal import System

/// `edge config show|diff|check|import`.
enum ConfigCommand: Command {
    static let name = "config"
    static let summary = "Shows the configuration of an environment, compares two, or takes over wrangler's"
    static let usage = "show [ENVIRONMENT] [--origin] | diff A B | check | import [FILE] [--env NAME]"
    static let discussion = """
        show    prints every value of an environment after all files are merged; with --origin also where it is from
        diff    prints the values in which two environments differ
        check   as `edge check`
        import  prints a wrangler.toml, wrangler.json or wrangler.jsonc (FILE, or the one in the project) as
                wrangler-like.toml, with --env the environment NAME of it; what it can't do here is an error or a warning
        """
    static let options: [Option] =
        Project.options + [
            .value("config", "FILE", "for check: a file in wrangler's format; also -c FILE"),
            .value("env", "ENVIRONMENT", "the environment to show (dev); for import and check, of wrangler's file"),
            .flag("origin", "adds file, line and column of each value"),
            .flag("json", "prints show, diff and the findings of check as JSON"),
            .flag("write", "for import: makes wrangler-like.toml instead of printing it"),
        ]

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        switch arguments.positional.first {
        case "show": return try show(arguments)
        case "diff": return try diff(arguments)
        case "check": return try await CheckCommand.run(arguments)
        case "import": return try importWrangler(arguments)
        case let other?: throw UsageError.unknownSubcommand(other, of: name, among: ["show", "diff", "check", "import"])
        case nil: throw UsageError.missingArgument("show, diff, check or import")
        }
    }

    private static func show(_ arguments: CommandLineArguments) throws -> Int32 {
        let words = arguments.positional.dropFirst()
        if words.count > 1 { throw UsageError.unexpectedArgument(arguments.positional[2]) }
        if let word = words.first, let option = arguments.value("env"), word != option {
            throw UsageError.unexpectedArgument(word)
        }
        let project = try Project(arguments)
        try project.requirePlatform()
        guard let configuration = project.load(words.first ?? arguments.value("env") ?? "dev", arguments) else {
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

    private static func diff(_ arguments: CommandLineArguments) throws -> Int32 {
        guard arguments.positional.count == 3 else { throw UsageError.missingArgument("config diff A B: an environment") }
        let project = try Project(arguments)
        try project.requirePlatform()
        guard let first = project.load(arguments.positional[1], arguments),
            let second = project.load(arguments.positional[2], arguments)
        else { return ExitCode.refused }
        let changes = first.changes(to: second)
        if arguments.has("json") {
            print("[\(changes.map(\.json).joined(separator: ","))]")
            return ExitCode.success
        }
        for change in changes { print("\(change.path): \(change.old?.value ?? "-") -> \(change.new?.value ?? "-")") }
        return ExitCode.success
    }

    private static func importWrangler(_ arguments: CommandLineArguments) throws -> Int32 {
        guard arguments.positional.count <= 2 else { throw UsageError.unexpectedArgument(arguments.positional[2]) }
        let directory = arguments.value("project") ?? "."
        let known = WranglerReader.fileNames
        guard
            let path = arguments.positional.dropFirst().first ?? arguments.value("config")
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
