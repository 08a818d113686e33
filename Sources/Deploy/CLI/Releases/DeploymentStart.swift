internal import ControlPlane
internal import System

/// From the request for a deployment to its outcome, as the command line shows it.
struct DeploymentStart {
    let node: NodeReleases
    let request: DeploymentRequest
    let arguments: CommandLineArguments

    /// - Parameter ask: Sends the request; answers what the node did.
    /// - Returns: the exit code.
    func run(_ ask: () async throws -> JSON) async throws -> Int32 {
        let answer = try await begin(ask)
        if let plan = answer["plan"], plan != .null { return show(plan) }
        let record = answer["deployment"] ?? answer
        guard let number = record["number"]?.integer else {
            if arguments.has("json") { Output.json(answer) } else { print("no changes") }
            return ExitCode.success
        }
        if arguments.has("detach") {
            if arguments.has("json") {
                Output.json(record)
            } else {
                print("deployment \(number) has begun: `edge deploy attach \(number)` shows it")
            }
            return ExitCode.success
        }
        let follower = DeploymentFollower(
            node, number, json: arguments.has("json"), until: arguments.has("follow") ? .monitored : .active)
        return try await follower.run()
    }

    private func begin(_ ask: () async throws -> JSON) async throws -> JSON {
        var isTold = false
        while true {
            do { return try await ask() } catch let failure as APIFailure
                where failure.has(code: ReleaseFailures.locked) && arguments.has("wait")
            {
                if !isTold { Edge.complain("waiting: \(failure.reasons.first?.message ?? "")") }
                isTold = true
                try await waitForTheOther()
            }
        }
    }

    /// Returns when the newest deployment has gone on, at the latest after some seconds.
    private func waitForTheOther() async throws {
        let newest = try await node.client.result("GET", "\(node.account)/edge/deployments", query: [("per_page", "1")])
            .items?.first
        guard let number = newest?["number"]?.integer else { return }
        let seen = try await node.events(of: number, after: 0, wait: false).last?["sequence"]?.integer ?? 0
        _ = try await node.events(of: number, after: seen, wait: true)
        // The lock is given back a moment behind the last event.
        try await Task.sleep(for: .milliseconds(200))
    }

    private func show(_ plan: JSON) -> Int32 {
        if arguments.has("json") {
            Output.json(plan)
            return ExitCode.success
        }
        guard plan["changed"] == true else {
            print("no changes")
            return ExitCode.success
        }
        var unchanged = 0
        for worker in plan["workers"]?.members ?? [] {
            switch worker.value.text {
            case "added": print("+ worker \(Terminal.printable(worker.name))")
            case "changed": print("~ worker \(Terminal.printable(worker.name))")
            case "removed": print("- worker \(Terminal.printable(worker.name))")
            default: unchanged += 1
            }
        }
        for line in plan["triggers"]?.items ?? [] { print(Terminal.printable(line.text ?? "")) }
        for step in plan["migrations"]?.items ?? [] {
            let text = "\(step["database"]?.text ?? ""): \(step["file"]?.text ?? "") (\(step["kind"]?.text ?? ""))"
            print("+ migration \(Terminal.printable(text))")
        }
        for line in plan["class_migrations"]?.items ?? [] {
            print("+ class migration \(Terminal.printable(line.text ?? ""))")
        }
        if unchanged > 0 { print("= \(HumanText.count(unchanged, "worker")) unchanged") }
        let steps = (plan["steps"]?.items ?? []).compactMap(\.integer).map { "\($0) %" }.joined(separator: ", ")
        print("in \(steps); nothing was changed: leave out --dry-run")
        return ExitCode.success
    }
}

/// What the node says is wrong with a release, and the exit codes for it.
enum ReleaseFailures {
    static let locked: Int64 = 11409
    private static let notNow: Int64 = 11408
    private static let refused: Set<Int64> = [11400, 11401, 11402, 11403]
    static let unknown: Int64 = 11404

    /// Runs `body`; what it was refused for is printed, a line for each mistake.
    static func explained(_ body: () async throws -> Int32) async throws -> Int32 {
        do { return try await body() } catch let failure as APIFailure {
            func has(_ codes: Set<Int64>) -> Bool { failure.reasons.contains { codes.contains($0.code) } }
            guard has(refused.union([locked, notNow])) else { throw failure }
            for reason in failure.reasons {
                for line in reason.message.split(separator: "\n") { Edge.complain("edge: \(Terminal.printable(String(line)))") }
            }
            if has([locked]) { return ExitCode.busy }
            return has([notNow]) ? ExitCode.failure : ExitCode.refused
        }
    }
}
