internal import Configuration
internal import ControlPlane
internal import System

/// `edge rehearse`: a deployment on a copy of what a node has.
enum RehearseCommand: Command {
    static let name = "rehearse"
    static let summary = "Tries a release on a copy of a node's state: migrations, smoke tests, recorded requests"
    static let discussion = """
        The node on this machine copies its tenant's state (files of buckets and executables are shared, the rest is copied); a node of
        this command's own serves the copy, deploys the project there up to its smoke tests, and with --requests sends what `edge
        record` has written to both releases. It prints what is different: status, headers, JSON member by member, other bodies by
        length and digest. The copy's node reaches nothing outside, asks no hooks, and goes with the copy when the command ends.

        Requests that aren't safe change the copy, for the release that gets them second too: they are sent with --unsafe alone.
        With --contract the release then becomes active on the copy, contract migrations run as they would once the release before is gone,
        and the requests go to the new release again: a status that has changed is a difference.

        Exit codes: 0 all went well and nothing is different, 1 something is, 2 the release was refused.

        example: edge rehearse --environment staging --requests requests.jsonl --ignore '/items/*/age'
        """
    static let options: [Option] =
        [DeployCommand.environment] + [
            .value(
                "project", "DIRECTORY", "the folder with wrangler-like.toml (this one, or the next above that has one)",
                .directories),
            .value("products", "DIRECTORY", "where the workers' executables are (where edge is)", .directories),
            .flag("lenient", "takes unknown keys for warnings, not for errors"),
            .value("key-file", "FILE", "the key of the secrets (~/.config/edge/ENVIRONMENT.key)", .files),
            .value("requests", "FILE", "what to send to both releases, as edge record writes it", .files),
            .flag("unsafe", "also sends requests that change something, to the copy"),
            .values("header", "NAME: VALUE", "a header that each request gets, as the authorization that no recording has"),
            .values("ignore", "POINTER", "a member of JSON that doesn't count, as /items/*/age"),
            .values("ignore-header", "NAME", "a header that doesn't count"),
            .flag("allow-breaking", "also with migrations that the code which serves can't live with"),
            .flag("contract", "also runs contract migrations, and then asks the new release once more, alone"),
        ] + APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let project = try Project(arguments)
        try project.requirePlatform()
        let comparison = try comparison(arguments)
        let headers = try headers(arguments)
        let recording = try arguments.value("requests").map { try Recording(path: $0) }
        let client = try APIClient(arguments)
        let node = try await NodeReleases(client)
        let environment = try node.environment(arguments)
        guard let configuration = project.load(environment, arguments) else { return ExitCode.refused }
        let bundle = try ProjectBundle(
            project, configuration, products: arguments.value("products") ?? OwnExecutable.directory, arguments)
        defer { bundle.remove() }
        Interrupts.start { count in if count == 1 { Edge.complain("\nedge: the rehearsal ends, and its copy goes") } }
        return try await ReleaseFailures.explained {
            do {
                return try await withCopy(of: node, project, environment, arguments) { copy in
                    try await rehearse(
                        bundle, on: copy, arguments, recording,
                        Replay(
                            address: copy.publicAddress, old: 0, new: 0, comparison: comparison, headers: headers,
                            sendsUnsafe: arguments.has("unsafe"), clock: client.node.clock))
                }
            } catch is RehearsalInterrupted { return ExitCode.interrupted }
        }
    }

    // MARK: What is asked for

    private static func comparison(_ arguments: CommandLineArguments) throws(UsageError) -> AnswerComparison {
        var comparison = AnswerComparison()
        comparison.ignoredHeaders = Set(arguments.all("ignore-header").map { $0.lowercased() })
        for pointer in arguments.all("ignore") {
            guard pointer.hasPrefix("/") else {
                throw .invalidValue(option: "--ignore", value: pointer, expected: "a pointer into JSON, as /items/*/age")
            }
            comparison.ignoredPointers.append(
                pointer.dropFirst().split(separator: "/", omittingEmptySubsequences: false))
        }
        return comparison
    }

    private static func headers(
        _ arguments: CommandLineArguments
    ) throws(UsageError) -> [(name: String, value: String)] {
        var headers: [(name: String, value: String)] = []
        for text in arguments.all("header") {
            let parts = text.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, !parts[0].contains(" ") else {
                throw .invalidValue(option: "--header", value: text, expected: "\"NAME: VALUE\"")
            }
            headers.append((parts[0].lowercased(), String(parts[1].drop { $0 == " " })))
        }
        return headers
    }

    // MARK: The copy

    private static func withCopy<Result>(
        of node: NodeReleases, _ project: Project, _ environment: String, _ arguments: CommandLineArguments,
        _ body: (RehearsalNode) async throws -> Result
    ) async throws -> Result {
        let stream = try await node.client.stream("POST", "\(node.account)/edge/rehearsals")
        guard let line = try await stream.next(), let made = JSON(Array(line.prefix { $0 != 0x0A })),
            let directory = made["directory"]?.text
        else { throw APIFailure("the node says nothing of a copy") }
        // Read on, so that the node knows somebody is there.
        let listener = Task { while try await stream.next() != nil {} }
        defer {
            listener.cancel()
            stream.cancel()
        }
        guard FileTree.isDirectory(directory) else {
            throw APIFailure("\(directory) isn't here: rehearse on the machine of the node, as its user")
        }
        say(
            "copied \(HumanText.bytes(made["copied_bytes"]?.integer ?? 0)), shared "
                + HumanText.bytes(made["shared_bytes"]?.integer ?? 0), arguments)
        var words = ["--project", project.directory, "--log-level", "error"]
        for option in ["products", "key-file"] {
            if let value = arguments.value(option) { words += ["--\(option)", value] }
        }
        if arguments.has("lenient") { words.append("--lenient") }
        let copy = try await RehearsalNode.start(
            state: directory, environment: environment, tenant: node.client.tenantName, words)
        defer { copy.end() }
        return try await body(copy)
    }

    // MARK: The rehearsal

    private static func rehearse(
        _ bundle: ProjectBundle, on copy: RehearsalNode, _ arguments: CommandLineArguments, _ recording: Recording?,
        _ replay: Replay
    ) async throws -> Int32 {
        let node = try await NodeReleases(copy.client)
        let request = try DeploymentRequest(arguments).with("steps", .array([100])).with("pause_at", 0).with("force", true)
            .with("allow_unpromoted", true).with("monitor_seconds", 0)
        let contracts = arguments.has("contract") ? try await pendingContracts(bundle, on: node, request) : []
        let answer = try await bundle.send(to: node, request)
        guard let number = answer["deployment"]?["number"]?.integer else {
            if arguments.has("json") { Output.json(answer) } else { print("no changes") }
            return ExitCode.success
        }
        let record = try await follow(number, on: node, arguments)
        guard record["pause"]?.text != nil else {
            let reason = record["reason"]?.text ?? ""
            if arguments.has("json") { Output.json(.object(["deployment": record])) }
            for line in reason.split(separator: "\n") { Edge.complain("edge: \(Terminal.printable(String(line)))") }
            return record["state"]?.text == "refused" ? ExitCode.refused : ExitCode.failure
        }
        var report = RehearsalReport(record: record)
        var replay = replay
        if let recording {
            guard let old = record["previous"]?.integer, let new = record["release"]?.integer else {
                throw APIFailure("nothing serves on this node yet: there is nothing to compare with")
            }
            (replay.old, replay.new) = (old, new)
            report.outcome = try await replay.run(recording)
        }
        if !contracts.isEmpty {
            try await contract(number, contracts, on: node, arguments)
            report.contracted = contracts
            if let recording, var outcome = report.outcome {
                try await replay.again(recording, &outcome, after: "once contracted")
                report.outcome = outcome
            }
        }
        report.show(json: arguments.has("json"))
        return report.isWell ? ExitCode.success : ExitCode.failure
    }

    // MARK: Contract migrations

    /// Those that would run once the release before is gone, `DATABASE: FILE`.
    private static func pendingContracts(
        _ bundle: ProjectBundle, on node: NodeReleases, _ request: DeploymentRequest
    ) async throws -> [String] {
        let answer = try await bundle.send(to: node, request.with("dry_run", true))
        return (answer["plan"]?["migrations"]?.items ?? []).compactMap { step in
            guard step["kind"]?.text == "contract" else { return nil }
            return "\(step["database"]?.text ?? ""): \(step["file"]?.text ?? "")"
        }
    }

    /// Takes the deployment to its end, in which they run.
    ///
    /// - Throws: when one fails.
    private static func contract(
        _ number: Int64, _ files: [String], on node: NodeReleases, _ arguments: CommandLineArguments
    ) async throws {
        _ = try await node.client.result("POST", "\(node.account)/edge/deployments/\(number)/promote")
        var missing = Set(files.map { "contracted \($0)" })
        var seen: Int64 = 0
        while !missing.isEmpty {
            if Interrupts.count > 0 { throw RehearsalInterrupted() }
            for event in try await node.events(of: number, after: seen, wait: true) {
                seen = event["sequence"]?.integer ?? seen
                let (state, text) = (event["state"]?.text ?? "", event["text"]?.text ?? "")
                if missing.remove(text) != nil { say("\(state): \(text)", arguments) }
                // The node would try it again for ever: on a copy nobody mends what it is about.
                if state == "retired", event["kind"]?.text == "warning" { throw APIFailure("contract migrations: \(text)") }
            }
            let record = try await node.deployment(number)
            if ["rolled-back", "refused"].contains(record["state"]?.text) {
                throw APIFailure("it can't become active on the copy: \(record["reason"]?.text ?? "")")
            }
        }
    }

    /// Until its smoke tests have passed, or it has ended.
    private static func follow(
        _ number: Int64, on node: NodeReleases, _ arguments: CommandLineArguments
    ) async throws -> JSON {
        var seen: Int64 = 0
        while true {
            if Interrupts.count > 0 { throw RehearsalInterrupted() }
            let record = try await node.deployment(number)
            let isOver = record["pause"]?.text != nil || record["finished_on"]?.text != nil
            for event in try await node.events(of: number, after: seen, wait: !isOver) {
                seen = event["sequence"]?.integer ?? seen
                // The pause is this command's own.
                guard event["kind"]?.text != "warning" else { continue }
                say("\(event["state"]?.text ?? ""): \(event["text"]?.text ?? "")", arguments)
            }
            if isOver { return record }
        }
    }

    private static func say(_ text: String, _ arguments: CommandLineArguments) {
        guard !arguments.has("json") else { return }
        for line in text.split(separator: "\n") { Edge.announce(Terminal.printable(String(line))) }
    }
}

/// What came of the requests of a rehearsal.
private struct RehearsalReport {
    let record: JSON
    /// `nil`: none were sent.
    var outcome: Replay.Outcome?
    /// Contract migrations that ran.
    var contracted: [String] = []

    init(record: JSON) { self.record = record }

    var isWell: Bool { outcome.map { $0.differentCount == 0 && $0.laterCount == 0 } ?? true }

    func show(json isJSON: Bool) {
        guard !isJSON else { return Output.json(.object(members)) }
        guard let outcome else { return print("rehearsed: all is well") }
        show(outcome)
    }

    private func show(_ outcome: Replay.Outcome) {
        for (request, differences) in outcome.different {
            print(Terminal.printable(request))
            for difference in differences { print("    \(Terminal.printable(difference))") }
        }
        let hidden = outcome.differentCount + outcome.laterCount - outcome.different.count
        if hidden > 0 { print("… and \(hidden) more") }
        var text =
            "\(HumanText.count(outcome.equalCount + outcome.differentCount, "request")): \(outcome.equalCount) equal, "
            + "\(outcome.differentCount) different"
        if outcome.skippedCount > 0 { text += ", \(outcome.skippedCount) not sent, since they aren't safe (--unsafe)" }
        if outcome.laterCount > 0 { text += ", \(outcome.laterCount) different once contracted" }
        if let old = Self.median(outcome.oldDurations), let new = Self.median(outcome.newDurations) {
            text += "; p50 \(Self.milliseconds(old)) → \(Self.milliseconds(new))"
        }
        print(text)
    }

    private var members: [JSON.Member] {
        var members = [JSON.Member(name: "deployment", value: record)]
        if !contracted.isEmpty { members.append(.init(name: "contracted", value: .strings(contracted))) }
        guard let outcome else { return members }
        return members + Self.json(outcome)
    }

    private static func json(_ outcome: Replay.Outcome) -> [JSON.Member] {
        let json: JSON = .object([
            "equal": .integer(Int64(outcome.equalCount)), "different": .integer(Int64(outcome.differentCount)),
            "different_once_contracted": .integer(Int64(outcome.laterCount)), "skipped": .integer(Int64(outcome.skippedCount)),
            "differences": .array(
                outcome.different.map {
                    .object(["request": .string($0.request), "differences": .strings($0.differences)])
                }),
            "p50_ms": .object([
                "old": Self.median(outcome.oldDurations).map { .number(Double($0.wholeNanoseconds) / 1e6) } ?? .null,
                "new": Self.median(outcome.newDurations).map { .number(Double($0.wholeNanoseconds) / 1e6) } ?? .null,
            ]),
        ])
        return json.members ?? []
    }

    private static func median(_ durations: [Duration]) -> Duration? {
        durations.isEmpty ? nil : durations.sorted()[durations.count / 2]
    }

    private static func milliseconds(_ duration: Duration) -> String {
        let tenths = duration.wholeNanoseconds / 100_000
        return "\(tenths / 10).\(tenths % 10) ms"
    }
}
