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
            KVCommand.self, D1Command.self, R2Command.self, QueuesCommand.self, ObjectsCommand.self, ObjectsShortCommand.self,
            CacheCommand.self, TailCommand.self,
            DeployCommand.self, ReleasesCommand.self, RollbackCommand.self, PromoteCommand.self, DiffCommand.self,
            TriggersCommand.self, VersionsCommand.self, DeploymentsCommand.self, TenantCommand.self, RoutesCommand.self,
            StateCommand.self, NodeCommand.self, UpgradeCommand.self, FollowCommand.self, DoctorCommand.self,
            CompletionCommand.self, CompleteCommand.self,
        ]
    }

    static func main() async {
        var words = Array(CommandLine.arguments.dropFirst())[...]
        if words.first == "--version" || words.first == "version" {
            print("edge \(version)")
            exit(ExitCode.success)
        }
        let isAsked = ["help", "--help", "-h"].contains(words.first)
        if isAsked { words.removeFirst() }
        guard let name = words.first else {
            print(Help.overview(commands, version: version))
            exit(ExitCode.success)
        }
        var path: CommandPath?
        do {
            let found = try CommandPath.find(&words, in: commands)
            path = found
            let own = words.prefix { $0 != "--" }
            if isAsked || own.contains("--help") || own.contains("-h") {
                print(Help.text(found))
                exit(ExitCode.success)
            }
            if let group = found.command as? any CommandGroup.Type, !group.isCommand {
                throw group.missingCommand(before: words.first)
            }
            let arguments = try CommandLineArguments(
                Array(words), options: found.command.options, operands: found.command.operands)
            exit(try await found.command.run(arguments))
        } catch let error as UsageError {
            complain("edge: \(error); see `edge \(path.map { "\($0.text) " } ?? "")--help`")
            exit(ExitCode.usage)
        } catch {
            complain("edge \(name): \(error)")
            exit(ExitCode.of(error))
        }
    }

    /// Prints a line that scripts read, at once.
    static func announce(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        // SAFETY: reads the array's bytes.
        _ = unsafe write(1, bytes, bytes.count)
    }

    /// Writes one line to standard error.
    static func complain(_ line: String) { show(line + "\n") }

    /// Writes to standard error, at once.
    static func show(_ text: String) {
        let bytes = Array(text.utf8)
        // SAFETY: reads the array's bytes.
        _ = unsafe write(2, bytes, bytes.count)
    }
}

/// Exit codes that scripts may rely on.
enum ExitCode {
    static let success: Int32 = 0
    static let failure: Int32 = 1
    /// The configuration or the release was refused.
    static let refused: Int32 = 2
    /// A deployment waits until somebody says how it goes on.
    static let paused: Int32 = 3
    static let usage: Int32 = 64
    /// Something else holds what this command needs; trying again later may work.
    static let busy: Int32 = 75
    /// By Ctrl-C.
    static let interrupted: Int32 = 130

    /// The code that says what kind of failure `error` is.
    static func of(_ error: any Error) -> Int32 {
        switch error {
        case is UnsupportedBinding, is ReleaseError, is SecretMistake, is TLSError, is BundleError, is DeploymentFailure:
            refused
        case StateError.inUse: busy
        case let error as SystemError where error.errno == EADDRINUSE: busy
        default: failure
        }
    }
}
