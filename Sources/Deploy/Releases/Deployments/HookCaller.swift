package import Configuration
internal import HTTP
package import Host
package import Observability
internal import Stores
internal import System

/// Asks the operator's hooks: a command says yes with exit code 0, a server with 2xx.
package struct HookCaller: DeploymentHooks {
    private let node: Node
    private let environment: String
    private let tenant: String
    private let logger: Logger

    /// Of what a server answers.
    private static let answerBytesMax = 1024

    package init(node: Node, environment: String, tenant: String, logger: Logger) {
        self.node = node
        self.environment = environment
        self.tenant = tenant
        self.logger = logger
    }

    /// One after the other; the first that says no is the last that is asked.
    package func call(_ point: Hook.Point, _ hooks: [Hook], _ record: DeploymentRecord) async throws(DeploymentFailure) {
        for hook in hooks where hook.point == point {
            let fields = fields(of: record, at: point)
            logger.log(.info, "hook \(point.rawValue)", [("deployment", "\(record.number)"), ("release", "\(record.release)")])
            let refusal =
                switch hook.action {
                case .command(let command): await run(command, fields, hook.timeout)
                case .url(let url): await post(url, fields, hook.timeout)
                }
            if let refusal { throw DeploymentFailure("hook \(point.rawValue): \(refusal)") }
        }
    }

    /// Names as in JSON; a command has them in capitals, behind `EDGE_`.
    func fields(of record: DeploymentRecord, at point: Hook.Point) -> [(name: String, value: String)] {
        [
            ("hook", point.rawValue), ("deployment", "\(record.number)"), ("release", "\(record.release)"),
            ("previous", record.previous.map { "\($0)" } ?? ""), ("environment", environment), ("tenant", tenant),
            ("state", record.state.rawValue), ("percent", "\(record.percent)"), ("trigger", record.trigger.rawValue),
            ("message", record.options.message), ("reason", record.reason ?? ""),
        ]
    }

    // MARK: Commands

    /// - Returns: why it said no.
    private func run(_ command: String, _ fields: [(name: String, value: String)], _ timeout: Duration) async -> String? {
        let stop = CommandStop()
        // No NUL can stand in an environment.
        let environment = fields.map { (name: "EDGE_" + $0.name.uppercased(), value: $0.value.replacing("\0", with: " ")) }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                SystemThread(name: "edge-hook") {
                    let deadline = ContinuousClock.now + timeout
                    let refusal: String?
                    do throws(SystemError) {
                        let outcome = try ChildProcess.run(
                            ["/bin/sh", "-c", command], environment: environment, before: deadline, stop: stop)
                        refusal = Self.refusal(outcome, command, timeout)
                    } catch {
                        refusal = "\"\(command)\" could not be run: \(error)"
                    }
                    continuation.resume(returning: refusal)
                }.start()
            }
        } onCancel: {
            stop.ask()
        }
    }

    static func refusal(_ outcome: ChildProcess.Outcome, _ command: String, _ timeout: Duration) -> String? {
        let said = lastLines(outcome.output)
        if outcome.wasKilled { return "\"\(command)\" was ended: it may take \(timeout.text)\(said)" }
        guard outcome.exitCode != 0 else { return nil }
        let end = outcome.exitCode > 128 ? "was ended by signal \(outcome.exitCode - 128)" : "ended with \(outcome.exitCode)"
        return "\"\(command)\" \(end)\(said)"
    }

    private static func lastLines(_ output: [UInt8]) -> String {
        let lines = String(decoding: output, as: UTF8.self).split(separator: "\n").suffix(5)
        return lines.isEmpty ? "" : ": " + lines.joined(separator: "\n")
    }

    // MARK: Addresses

    private func post(_ url: String, _ fields: [(name: String, value: String)], _ timeout: Duration) async -> String? {
        let members = fields.map { name, value in
            let isNumber = ["deployment", "release", "previous", "percent"].contains(name)
            return "\(JSONText.quoted(name)):\(isNumber ? (value.isEmpty ? "null" : value) : JSONText.quoted(value))"
        }
        let body = Array("{\(members.joined(separator: ","))}".utf8)
        let (node, clock) = (node, node.clock)
        return await withTaskGroup(of: String?.self) { group in
            group.addTask { await Self.send(body, to: url, by: node.outbound) }
            group.addTask {
                do { try await clock.sleep(for: timeout) } catch {}
                return "\(url) did not answer within \(timeout.text)"
            }
            defer { group.cancelAll() }
            return await group.next() ?? nil
        }
    }

    private static func send(_ body: [UInt8], to url: String, by client: OutboundClient) async -> String? {
        do {
            var headers = Headers()
            try headers.set("content-type", "application/json")
            try headers.set("user-agent", "edge")
            let request = OutboundRequest(
                method: "POST", url: url, headers: headers, body: .bytes(body), redirect: .manual)
            // Its configuration names the address: whatever it is, it is meant.
            let response = try await client.fetch(
                request, policy: OutboundPolicy(privateAddresses: .allowed) { _, _ in true })
            if (200...299).contains(response.status) {
                response.body?.cancel()
                return nil
            }
            var said: [UInt8] = []
            while said.count < answerBytesMax, let piece = try await response.body?.next() { said += piece }
            response.body?.cancel()
            return "\(url) answered \(response.status)\(lastLines(Array(said.prefix(answerBytesMax))))"
        } catch {
            return "\(url) could not be asked: \(error)"
        }
    }
}
