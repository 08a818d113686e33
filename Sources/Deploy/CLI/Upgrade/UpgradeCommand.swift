internal import ControlPlane
internal import Glibc
internal import System

/// `edge upgrade`: another process for a running node.
enum UpgradeCommand: Command {
    static let name = "upgrade"
    static let summary = "Replaces the process of a running node by another one, without losing a request"
    static let discussion = """
        Starts --binary with the arguments that the node was started with. The new process takes over the listening sockets, waits
        for open requests to end, opens the stores, and goes on with the connections; requests that come meanwhile wait. Connections
        with TLS and of HTTP/2 are told to end first. Answers that take long are finished by the old process. Whatever fails leaves
        the old process serving as if nothing had been. Exit code 0 when the new process serves, 1 when the old one does.
        """
    static let options: [Option] =
        [
            .value("binary", "FILE", "the new executable; required", .files),
            .value("timeout", "DURATION", "what it may take until the new process serves, 1s to 1h (1m)"),
        ] + APIClient.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let path = try arguments.requiredValue("binary", "FILE")
        let binary = try absolute(path)
        let patience = try arguments.duration("timeout") ?? .seconds(60)
        let client = try APIClient(arguments)
        var report = try await client.result(
            "POST", "/edge/node/upgrade",
            .object([
                "binary": .string(binary), "timeout_seconds": .number(Double(patience.wholeMilliseconds) / 1000),
            ]))
        let number = report["number"]?.integer
        var said = ""
        while report["state"]?.text == "running" {
            let detail = report["detail"]?.text ?? ""
            if detail != said, !arguments.has("json") { Edge.complain("upgrade \(number ?? 0): \(detail)") }
            said = detail
            try await client.node.clock.sleep(for: .milliseconds(100))
            report = try await client.result("GET", "/edge/node/upgrade")
        }
        let isDone = report["state"]?.text == "succeeded" && report["number"]?.integer == number
        if arguments.has("json") {
            Output.json(report)
        } else if isDone {
            let sockets = report["websockets"]?.integer ?? 0
            print(
                "upgraded: \(report["binary"]?.text ?? "") serves; requests waited for \(report["held_ms"]?.integer ?? 0) ms"
                    + (sockets == 0 ? "" : "; WebSockets that went along: \(sockets)"))
        } else {
            Edge.complain("edge upgrade: \(report["detail"]?.text ?? "the node says nothing of it")")
        }
        return isDone ? ExitCode.success : ExitCode.failure
    }

    /// The node may run elsewhere in the file system.
    private static func absolute(_ path: String) throws(SystemError) -> String {
        // SAFETY: realpath's result is copied and given back.
        guard let found = unsafe realpath(path, nil) else { throw SystemError("realpath", errno: errno, on: path) }
        defer { unsafe free(found) }
        return unsafe String(cString: found)
    }
}
