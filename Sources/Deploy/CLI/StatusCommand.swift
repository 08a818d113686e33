internal import FoundationEssentials

/// `edge status`: what a running node does.
enum StatusCommand: Command {
    static let name = "status"
    static let summary = "Tells what a running node does"
    static let usage = "--control URL [--json]"
    static let discussion = "Asks the node whose ready line named this control URL."
    static let options: [Option] = [
        .value("control", "URL", "the control URL of the ready line"), .flag("json", "as the node says it"),
    ]

    private struct Status: Decodable {
        struct Worker: Decodable {
            var tenant: String
            var name: String
            var version: String
            var isolates: Int
            var residentBytes: UInt64
            var lastFailure: String?
        }
        var environment: String
        var ready: Bool
        var draining: Bool
        var uptimeSeconds: Int
        var releases: [String: String]
        var workers: [Worker]
        var connections: Int
        var requests: Int
    }

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        guard let url = arguments.value("control") else { throw UsageError.missingArgument("--control URL") }
        guard let client = ControlClient(url) else {
            throw UsageError.invalidValue(option: "--control", value: url, expected: "http://HOST:PORT")
        }
        if let word = arguments.positional.first { throw UsageError.unexpectedArgument(word) }
        let answer = try client.get("/status")
        guard answer.status == 200 else {
            Edge.complain("edge status: \(url) answers \(answer.status) and is no control listener of a node")
            return ExitCode.failure
        }
        if arguments.has("json") {
            print(answer.body, terminator: "")
            return ExitCode.success
        }
        let status = try JSONDecoder().decode(Status.self, from: Data(answer.body.utf8))
        let condition = status.draining ? "draining" : status.ready ? "ready" : "starting"
        print("\(status.environment): \(condition) for \(status.uptimeSeconds) s")
        print("\(status.connections) connections, \(status.requests) requests so far")
        for (tenant, release) in status.releases.sorted(by: { $0.key < $1.key }) { print("\(tenant): release \(release)") }
        for worker in status.workers {
            let memory = "\(worker.residentBytes >> 20) MiB"
            print("  \(worker.tenant)/\(worker.name)  \(worker.version)  \(worker.isolates) isolates, \(memory)" + (worker.lastFailure.map { "  last failure: \($0)" } ?? ""))
        }
        return ExitCode.success
    }
}
