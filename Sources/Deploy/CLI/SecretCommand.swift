internal import Glibc
internal import Releases
internal import System

/// `edge secret put|list|delete`: the encrypted store of one environment.
enum SecretCommand: Command {
    static let name = "secret"
    static let summary = "Puts, lists and deletes an environment's secrets"
    static let usage = "put NAME | list | delete NAME  --env ENVIRONMENT [--worker WORKER]"
    static let discussion = """
        put     stores one line of standard input under NAME, in the place of an older value
        list    prints the names and the worker that each is for; values are never shown
        delete  removes NAME

        Values are encrypted (AES-256-GCM) under a key file, which is made when it is missing and is kept outside the
        state directory. A node reads secrets when it starts. In dev, secrets come from .dev.vars instead.

        example: edge secret put JWT_KEY --env staging <key.txt
        """
    static let options: [Option] = [
        .value("env", "ENVIRONMENT", "whose secrets; required"),
        .value("worker", "WORKER", "for this worker alone (all workers)"),
        .value("state", "DIRECTORY", "the node's state (state/ENVIRONMENT)"),
        .value("key-file", "FILE", "the key (~/.config/edge/ENVIRONMENT.key)"),
        .flag("json", "prints the list as JSON"),
    ]

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        guard let environment = arguments.value("env") else { throw UsageError.missingArgument("--env ENVIRONMENT") }
        let state = arguments.value("state") ?? "state/\(environment)"
        try FileTree.makeDirectory(state, mode: 0o711)
        let store = try SecretStore(
            database: state + "/control.sqlite", keyFile: keyFile(environment, arguments))
        let worker = arguments.value("worker") ?? "*"
        switch (arguments.positional.first, arguments.positional.dropFirst().first) {
        case ("put", let name?):
            guard let value = readLine(strippingNewline: true), !value.isEmpty else {
                throw UsageError.missingArgument("the value on standard input")
            }
            try store.put(name, of: worker, value: value, at: SystemClock().wallTime())
            print("stored \(name)")
        case ("delete", let name?):
            guard try store.delete(name, of: worker) else {
                Edge.complain("edge secret: there is no secret \(name)")
                return ExitCode.failure
            }
            print("deleted \(name)")
        case ("list", _):
            let names = try store.list()
            if arguments.has("json") {
                print("[" + names.map { #"{"name":"\#($0.name)","worker":"\#($0.worker)"}"# }.joined(separator: ",") + "]")
            } else {
                for entry in names { print("\(entry.name)\t\(entry.worker)") }
            }
        case (nil, _): throw UsageError.missingArgument("put, list or delete")
        case ("put", nil), ("delete", nil): throw UsageError.missingArgument("NAME")
        case (let other?, _): throw UsageError.unknownCommand("secret \(other)", nearest: nil)
        }
        return ExitCode.success
    }

    /// Outside the state directory: a copy of the state alone opens nothing.
    static func keyFile(_ environment: String, _ arguments: CommandLineArguments) -> String {
        if let path = arguments.value("key-file") { return path }
        // SAFETY: getenv's result is copied at once.
        let home = unsafe getenv("HOME").map { unsafe String(cString: $0) } ?? "/root"
        return "\(home)/.config/edge/\(environment).key"
    }
}
