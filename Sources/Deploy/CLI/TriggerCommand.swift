/// `edge trigger cron`: fires a cron event now.
enum TriggerCommand: Command {
    static let name = "trigger"
    static let summary = "Fires a cron event on a running node, now"
    static let usage = "cron [EXPRESSION] --control URL [--worker WORKER]"
    static let discussion = """
        Calls the scheduled handler of the worker that has the cron EXPRESSION, as the clock would. Without EXPRESSION the
        release must have a single cron. Exit code 1 when the handler fails.

        example: edge trigger cron "0 3 * * *" --control http://127.0.0.1:38391
        """
    static let options: [Option] = [
        .value("control", "URL", "the control URL of the node's ready line; required"),
        .value("worker", "WORKER", "the worker that has the cron (any)"),
    ]

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        guard let kind = arguments.positional.first else { throw UsageError.missingArgument("cron") }
        guard kind == "cron" else { throw UsageError.unknownSubcommand(kind, of: name, among: ["cron"]) }
        guard arguments.positional.count <= 2 else { throw UsageError.unexpectedArgument(arguments.positional[2]) }
        guard let url = arguments.value("control") else { throw UsageError.missingArgument("--control URL") }
        guard let client = ControlClient(url) else {
            throw UsageError.invalidValue(option: "--control", value: url, expected: "http://HOST:PORT")
        }
        var query: [String] = []
        if arguments.positional.count > 1 { query.append("cron=\(encode(arguments.positional[1]))") }
        if let worker = arguments.value("worker") { query.append("worker=\(encode(worker))") }
        let answer = try client.get("/cdn-cgi/handler/scheduled?\(query.joined(separator: "&"))")
        guard answer.status == 200 else {
            Edge.complain("edge trigger: " + answer.body.split(separator: "\n").joined(separator: " "))
            return ExitCode.failure
        }
        print(answer.body, terminator: "")
        return ExitCode.success
    }

    private static func encode(_ text: String) -> String {
        text.utf8.map { byte -> String in
            let isPlain = (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
            return isPlain ? String(UnicodeScalar(byte)) : "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }.joined()
    }
}
