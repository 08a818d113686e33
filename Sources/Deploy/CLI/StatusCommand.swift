internal import FoundationEssentials

/// `edge status`: what a running node does.
enum StatusCommand: Command {
    static let name = "status"
    static let summary = "Shows what a running node does"
    static let discussion = """
        Asks the node for its release, and for each worker the version, the number of its processes and their memory.
        Needs no token.
        """
    static let options: [Option] = NodeAddress.options + [.flag("json", "prints the node's own answer")]

    private struct Status: Decodable {
        struct Worker: Decodable {
            var tenant: String
            var name: String
            var version: String
            var isolates: Int
            var residentBytes: UInt64
            var lastFailure: String?
        }
        struct Slot: Decodable {
            var tenant: String
            var role: String
            var release: Int64?
            var percent: Int
            var requests: Int64
            var errors: Int64
            var p50Milliseconds: Double?
            var p99Milliseconds: Double?
        }
        var environment: String
        var ready: Bool
        var draining: Bool
        var uptimeSeconds: Int
        var releases: [String: String]
        /// A node of an older version tells nothing of them.
        var slots: [Slot]?
        var workers: [Worker]
        var connections: Int
        var requests: Int
    }

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let node = NodeClient(try NodeAddress.find(arguments))
        let answer = try await node.send("GET", "/status")
        guard answer.status == 200 else {
            Edge.complain(
                "edge status: \(node.address.origin) answers \(answer.status); "
                    + "is it the control URL, the second one of the ready line?")
            return ExitCode.failure
        }
        let body = try await answer.bytes()
        if arguments.has("json") {
            print(String(decoding: body, as: UTF8.self), terminator: "")
            return ExitCode.success
        }
        let status = try JSONDecoder().decode(Status.self, from: Data(body))
        let condition = status.draining ? "draining" : status.ready ? "ready" : "starting"
        print("\(status.environment): \(condition) for \(status.uptimeSeconds) s")
        print("connections: \(status.connections), requests so far: \(status.requests)")
        for (tenant, release) in status.releases.sorted(by: { $0.key < $1.key }) { print("\(tenant): release \(release)") }
        for slot in status.slots ?? [] {
            let number = slot.release.map { "\($0)" } ?? "-"
            func time(_ milliseconds: Double?) -> String { milliseconds.map { "\(($0 * 10).rounded() / 10) ms" } ?? "-" }
            print(
                "  \(slot.tenant)/release \(number)  \(slot.role), \(slot.percent) %  \(slot.requests) requests, "
                    + "\(slot.errors) errors, p50 \(time(slot.p50Milliseconds)), p99 \(time(slot.p99Milliseconds))")
        }
        for worker in status.workers {
            let memory = "\(worker.residentBytes >> 20) MiB"
            let isolates = "\(worker.isolates) \(worker.isolates == 1 ? "isolate" : "isolates")"
            print(
                "  \(worker.tenant)/\(worker.name)  \(worker.version)  \(isolates), \(memory)"
                    + (worker.lastFailure.map { "  last failure: \($0)" } ?? ""))
        }
        return ExitCode.success
    }
}
