// `edge`: the command line of a node. Each command is one file; this one finds it, prints help, and turns what went wrong
// into a line on standard error and an exit code.

internal import Glibc
internal import Releases
internal import System
internal import TLS

@main
enum Edge {
    static let version = "0.1.0"

    static var commands: [any Command.Type] {
        [
            DevCommand.self, ServeCommand.self, RunCommand.self, CheckCommand.self, ConfigCommand.self,
            SecretCommand.self, StatusCommand.self, TriggerCommand.self, TokenCommand.self, AuditCommand.self,
            DoctorCommand.self,
        ]
    }

    static func main() async {
        var words = Array(CommandLine.arguments.dropFirst())
        guard let name = words.first, name != "help", name != "--help", name != "-h" else {
            if words.count > 1, let command = commands.first(where: { $0.name == words[1] }) {
                print(help(command))
            } else {
                print(overview)
            }
            exit(ExitCode.success)
        }
        if name == "--version" || name == "version" {
            print("edge \(version)")
            exit(ExitCode.success)
        }
        words.removeFirst()
        do {
            guard let command = commands.first(where: { $0.name == name }) else {
                throw UsageError.unknownCommand(name, nearest: Nearest.name(to: name, among: commands.map { $0.name }))
            }
            if words.contains("--help") || words.contains("-h") {
                print(help(command))
                exit(ExitCode.success)
            }
            let arguments = try CommandLineArguments(words, options: command.options)
            exit(try await command.run(arguments))
        } catch let error as UsageError {
            complain("edge: \(error); see `edge \(commands.contains { $0.name == name } ? "\(name) " : "")--help`")
            exit(ExitCode.usage)
        } catch {
            complain("edge \(name): \(error)")
            exit(ExitCode.of(error))
        }
    }

    private static var overview: String {
        let width = (commands.map { $0.name.count }.max() ?? 0) + 2
        let lines = commands.map { command in
            "  \(command.name)" + String(repeating: " ", count: width - command.name.count) + command.summary
        }
        return """
            edge \(version): runs serverless workers, each in a sandboxed process, and the stores that they use

            usage: edge COMMAND [OPTION...]

            \(lines.joined(separator: "\n"))

            `edge COMMAND --help` tells more; README.md has a tour.
            Exit codes: 0 done, 1 failed, 2 configuration or release refused, 64 wrong usage,
            75 in use: another node has the state directory or the address, 130 ended at once by a second signal.
            """
    }

    private static func help(_ command: any Command.Type) -> String {
        let all = command.options + [.flag("help", "prints this")]
        let width = (all.map { $0.usage.count }.max() ?? 0) + 2
        let options = all.map { option in
            "  \(option.usage)" + String(repeating: " ", count: width - option.usage.count) + option.help
        }
        return """
            usage: edge \(command.name) \(command.usage)

            \(command.discussion)

            options, with what holds without them in brackets:
            \(options.joined(separator: "\n"))
            """
    }

    /// Prints a line that scripts read, at once.
    static func announce(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        // SAFETY: reads the array's bytes.
        _ = unsafe write(1, bytes, bytes.count)
    }

    /// Writes one line to standard error.
    static func complain(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        // SAFETY: reads the array's bytes.
        _ = unsafe write(2, bytes, bytes.count)
    }
}

/// One command of `edge`.
protocol Command {
    static var name: String { get }
    /// Half a line.
    static var summary: String { get }
    /// What stands behind the name.
    static var usage: String { get }
    static var discussion: String { get }
    static var options: [Option] { get }
    /// - Returns: the exit code.
    static func run(_ arguments: CommandLineArguments) async throws -> Int32
}

/// Exit codes that scripts may rely on.
enum ExitCode {
    static let success: Int32 = 0
    static let failure: Int32 = 1
    /// The configuration or the release was refused.
    static let refused: Int32 = 2
    static let usage: Int32 = 64
    /// Something else holds what this command needs; trying again later may work.
    static let busy: Int32 = 75

    /// The code that says what kind of failure `error` is.
    static func of(_ error: any Error) -> Int32 {
        switch error {
        case is UnsupportedBinding, is ReleaseError, is SecretMistake, is TLSError: refused
        case StateError.inUse: busy
        case let error as SystemError where error.errno == EADDRINUSE: busy
        default: failure
        }
    }
}
