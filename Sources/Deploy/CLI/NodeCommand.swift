internal import ControlPlane
internal import System

/// `edge node`: one node, whatever it serves.
enum NodeCommand: CommandGroup {
    static let name = "node"
    static let summary = "Takes a node out of service and back, and says how far it is"
    static let commands: [any Command.Type] = [NodeDrainCommand.self, NodeStatusCommand.self]

    static func show(_ report: JSON, _ arguments: CommandLineArguments) {
        guard !arguments.has("json") else { return Output.json(report) }
        let state = report["state"]?.text ?? ""
        let since = report["since"]?.text.map { " since \($0)" } ?? ""
        let requests = HumanText.count(Int(report["open_requests"]?.integer ?? 0), "open request")
        print("\(state)\(since): \(requests), \(HumanText.count(Int(report["open_connections"]?.integer ?? 0), "connection"))")
    }
}

enum NodeDrainCommand: Command {
    static let name = "drain"
    static let summary = "Has load balancers send the node nothing more, and connections end"
    static let discussion = """
        Readiness fails at once. After the environment's drain.delay, answers say that their connection ends with them, and a
        moment later connections without a request end. Whoever comes nevertheless is served, and crons and queues go on: the
        process stays. With --wait, returns when no request is open.
        """
    static let options: [Option] =
        [
            .flag("undo", "takes the node into service again"),
            .flag("wait", "returns when the node is drained and no request is open"),
        ] + APIClient.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let client = try APIClient(arguments)
        var report = try await client.result(arguments.has("undo") ? "DELETE" : "POST", "/edge/node/drain")
        while arguments.has("wait"), !arguments.has("undo"),
            report["state"]?.text != "drained" || report["open_requests"]?.integer != 0
        {
            try await client.node.clock.sleep(for: .milliseconds(250))
            report = try await client.result("GET", "/edge/node/drain")
            if report["state"]?.text == "serving" { throw APIFailure("the drain was undone meanwhile") }
        }
        NodeCommand.show(report, arguments)
        return ExitCode.success
    }
}

enum NodeStatusCommand: Command {
    static let name = "status"
    static let summary = "Says whether a node is in service, and what it still has to do"
    static let options = APIClient.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        NodeCommand.show(try await APIClient(arguments).result("GET", "/edge/node/drain"), arguments)
        return ExitCode.success
    }
}
