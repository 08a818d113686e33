internal import ControlPlane
internal import Glibc
internal import System

/// Brings one bundle into service on several nodes, which switch together or not at all (see `Coordination` for what a node
/// does). The leader keeps nothing: what counts is written down on the nodes, and ends there by itself when the leader is gone.
///
/// The rule: until all nodes have switched and were watched, any failure takes all of them back to what served before. A node
/// that isn't reached is tried for as long as its lease; it then goes back by itself. From the first `confirm` on nobody is taken
/// back: nodes that don't hear it learn it from the others, whose addresses they were told.
struct CoordinatedDeployment {
    private let participants: [Participant]
    private let lease: Duration
    private let isJSON: Bool
    private let clock: any NodeClock

    static let options: [Option] = [
        NodeList.option,
        .value(
            "lease", "DURATION",
            "how long a node of --nodes waits for this command, once it is prepared, before it goes back by itself (60s)"),
    ]

    static func lease(_ arguments: CommandLineArguments) throws -> Duration {
        let lease = try arguments.duration("lease") ?? .seconds(60)
        guard (Duration.seconds(1)...Duration.seconds(3600)).contains(lease) else {
            throw UsageError.invalidValue(option: "--lease", value: arguments.value("lease") ?? "", expected: "1s to 1h")
        }
        return lease
    }

    /// What can't be meant with several nodes.
    static func check(_ arguments: CommandLineArguments) throws(UsageError) {
        for option in ["steps", "bake", "pause-at", "wait", "detach", "follow", "dry-run"] where arguments.has(option) {
            throw .unexpectedArgument("--\(option) beside --nodes")
        }
    }

    /// Asks all nodes who they are.
    ///
    /// - Throws: when one isn't there, or is of another environment. Nothing has been begun then.
    init(_ list: NodeList, environment: String?, id: String, lease: Duration, isJSON: Bool) async throws {
        var found: [Participant] = []
        for entry in list.entries {
            let node: NodeReleases
            do { node = try await NodeReleases(entry.client) } catch { throw APIFailure("\(entry.name): \(error)") }
            if let environment, node.ownEnvironment != environment {
                throw APIFailure("\(entry.name) is a node of \(node.ownEnvironment), not of \(environment)")
            }
            found.append(
                Participant(
                    entry, node: node, others: list.entries.filter { $0.name != entry.name }, id: id, lease: lease,
                    isJSON: isJSON))
        }
        participants = found
        self.lease = lease
        self.isJSON = isJSON
        clock = SystemClock()
    }

    /// - Parameter send: Brings the bundle to a node, and asks for the deployment, with its `coordination`.
    /// - Returns: the exit code.
    func run(_ send: @escaping @Sendable (NodeReleases, JSON) async throws -> JSON) async -> Int32 {
        // Obeyed wherever something is waited for.
        Interrupts.start { count in
            if count == 1 { Edge.complain("\nedge: all nodes go back to what served before") }
        }
        let keeper = Task { await keepLeases() }
        defer { keeper.cancel() }
        let (asked, failures) = await each(participants) { try await $0.prepare(send) }
        guard failures.isEmpty else { return await goBack(failures, "prepare") }
        let nodes = participants.filter { asked[$0.name] == true }
        for node in participants where asked[node.name] == false { say("\(node.name): no changes") }
        guard !nodes.isEmpty else { return await finish("no changes") }
        LeaderFault.strike(.prepared)
        return await switchAll(nodes)
    }

    private func switchAll(_ nodes: [Participant]) async -> Int32 {
        // Whoever died since it was prepared is found before anybody switches.
        let lost = await each(nodes) { try await $0.hasPrepared() }.failures
        guard lost.isEmpty else { return await goBack(lost, "stay prepared") }
        say("all are prepared: switching")
        let late = await each(nodes) { node in
            try await node.tell("switch")
            LeaderFault.strike(.switching)
        }.failures
        guard late.isEmpty else { return await goBack(late, "switch") }
        LeaderFault.strike(.switched)
        say("all have switched: watching")
        let unwell = await each(nodes) { try await $0.watched() }.failures
        guard unwell.isEmpty else { return await goBack(unwell, "keep the release") }
        LeaderFault.strike(.watched)
        let deaf = await each(nodes) { node in
            try await node.tell("confirm")
            LeaderFault.strike(.confirming)
        }.failures
        guard deaf.isEmpty else {
            for failure in deaf { complain("\(failure.name): \(failure.error)") }
            complain(
                "these nodes haven't heard that all are to keep the release: they learn it from the others when their lease ends, "
                    + "within \(lease.components.seconds) s; `edge deploy status --nodes` shows it")
            return await finish("incomplete", ExitCode.failure)
        }
        return await finish("active on \(HumanText.count(Int64(nodes.count), "node"))")
    }

    /// Nobody goes back while this goes on.
    private func keepLeases() async {
        while !Task.isCancelled {
            // Whoever doesn't hear it is found where the node is needed.
            _ = await each(participants) { node in
                if await node.number != nil { try await node.hold() }
            }
            try? await clock.sleep(for: lease / 4)
        }
    }

    // MARK: All of them

    private struct NodeFailure: Sendable {
        let name: String
        let error: any Error
    }

    /// Does it with all nodes at once.
    private func each<Value: Sendable>(
        _ nodes: [Participant], _ body: @escaping @Sendable (Participant) async throws -> Value
    ) async -> (values: [String: Value], failures: [NodeFailure]) {
        await withTaskGroup(of: (String, Result<Value, any Error>).self) { group in
            for node in nodes {
                group.addTask {
                    do { return (node.name, .success(try await body(node))) } catch { return (node.name, .failure(error)) }
                }
            }
            var (values, failures) = ([String: Value](), [NodeFailure]())
            for await (name, result) in group {
                switch result {
                case .success(let value): values[name] = value
                case .failure(let error): failures.append(NodeFailure(name: name, error: error))
                }
            }
            return (values, failures)
        }
    }

    private func goBack(_ failures: [NodeFailure], _ what: String) async -> Int32 {
        for failure in failures {
            for line in "\(failure.error)".split(separator: "\n") { complain("\(failure.name) can't \(what): \(line)") }
        }
        complain("all nodes stay with, or go back to, what served before")
        let unreached = await each(participants) { try await $0.abort() }.failures
        let isApart = unreached.contains { $0.error is Participant.CantGoBack }
        for failure in unreached {
            guard !(failure.error is Participant.CantGoBack) else {
                complain("\(failure.name) \(failure.error)")
                continue
            }
            complain(
                "\(failure.name): \(failure.error); if it has begun, it goes back by itself within \(lease.components.seconds) s"
            )
        }
        let codes = failures.map { ($0.error as? Participant.Failure)?.exitCode ?? ExitCode.of($0.error) }
        // Where one was refused and the others wait for it, that is what became of it.
        let order = [ExitCode.interrupted, ExitCode.failure, ExitCode.busy, ExitCode.refused]
        return await finish(isApart ? "incomplete" : "rolled-back", order.first { codes.contains($0) } ?? ExitCode.failure)
    }

    private func finish(_ outcome: String, _ code: Int32 = ExitCode.success) async -> Int32 {
        guard isJSON else {
            if code == ExitCode.success { Edge.announce(outcome) }
            return code
        }
        var nodes: [JSON.Member] = []
        for node in participants { nodes.append(JSON.Member(name: node.name, value: await node.record)) }
        Output.json(.object(["outcome": .string(outcome), "nodes": .object(nodes)]))
        return code
    }

    private func say(_ text: String) { if !isJSON { Edge.announce(text) } }
    private func complain(_ text: String) { Edge.complain("edge: \(Terminal.printable(text))") }
}

/// Where tests have the leader die: `EDGE_FAULT=leader:STEP`.
private enum LeaderFault: String {
    case prepared, switching, switched, watched, confirming

    static func strike(_ step: LeaderFault) {
        // SAFETY: getenv's result is copied at once.
        guard let value = unsafe getenv("EDGE_FAULT"), unsafe String(cString: value) == "leader:\(step.rawValue)" else {
            return
        }
        kill(getpid(), SIGKILL)
    }
}
