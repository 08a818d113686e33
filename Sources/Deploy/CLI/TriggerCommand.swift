internal import HTTP

/// `edge trigger`: events by hand.
enum TriggerCommand: CommandGroup {
    static let name = "trigger"
    static let summary = "Fires a cron event on a running node, now"
    static let commands: [any Command.Type] = [TriggerCronCommand.self]
}

/// `edge trigger cron`: fires a cron event now.
enum TriggerCronCommand: Command {
    static let name = "cron"
    static let summary = "Calls the scheduled handler of a worker, as the clock would"
    static let discussion = """
        Calls the scheduled handler of the worker that has the cron EXPRESSION, as the clock would. Without EXPRESSION the
        release must have a single cron. Exit code 1 when the handler fails.

        example: edge trigger cron "0 3 * * *"
        """
    static let operands: [Operand] = [.optional("EXPRESSION")]
    static let options: [Option] =
        [.value("worker", "WORKER", "the worker that has the cron (any)", .workers)] + NodeAddress.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let node = NodeClient(try NodeAddress.find(arguments))
        let path: APIPath = "/cdn-cgi/handler/scheduled"
        let answer = try await node.send(
            "GET", path.target([("cron", arguments.operand("EXPRESSION")), ("worker", arguments.value("worker"))]))
        let text = String(decoding: try await answer.bytes(), as: UTF8.self)
        guard answer.status == 200 else {
            Edge.complain("edge trigger: " + text.split(separator: "\n").joined(separator: " "))
            return ExitCode.failure
        }
        print(text, terminator: "")
        return ExitCode.success
    }
}
