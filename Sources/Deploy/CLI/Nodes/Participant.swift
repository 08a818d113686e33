internal import ControlPlane
internal import System

/// One of the nodes of a coordinated deployment, as its leader sees it.
actor Participant {
    nonisolated let name: String
    private(set) var node: NodeReleases
    private let find: @Sendable () throws -> APIClient
    private nonisolated let clock: any NodeClock
    private nonisolated let id: String
    /// What the node is told to wait for the leader, and the leader for the node.
    private nonisolated let lease: Duration
    /// What the node is told beside what one alone is.
    private nonisolated let coordination: JSON
    private let isJSON: Bool
    /// `nil`: nothing was begun there.
    private(set) var number: Int64?
    private(set) var record: JSON = .null
    /// The last event that was shown.
    private var seen: Int64 = 0

    /// Why a node can't go along.
    struct Failure: Error, CustomStringConvertible {
        let description: String
        let exitCode: Int32
    }

    init(
        _ entry: NodeList.Entry, node: NodeReleases, others: [NodeList.Entry], id: String, lease: Duration, isJSON: Bool
    ) {
        coordination = .object([
            "id": .string(id), "lease_seconds": .number(Double(lease.wholeMilliseconds) / 1000), "node": .string(entry.name),
            "peers": .array(
                others.map { .object(["name": .string($0.name), "url": .string($0.client.node.address.origin)]) }),
        ])
        name = entry.name
        find = entry.find
        clock = entry.client.node.clock
        self.node = node
        self.id = id
        self.lease = lease
        self.isJSON = isJSON
    }

    private static let interval = Duration.milliseconds(200)

    // MARK: Preparing

    /// - Parameter send: Brings the bundle to the node and asks for the deployment.
    /// - Returns: whether it waits for the word to switch; `false`: what it serves is what is asked for.
    func prepare(_ send: @Sendable (NodeReleases, JSON) async throws -> JSON) async throws -> Bool {
        guard try await begin(send) else { return false }
        try await untilPrepared()
        return true
    }

    private func untilPrepared() async throws {
        try await wait("its release to be prepared") { record in
            record["state"]?.text == "prepared" && record["pause"]?.text != nil
        }
    }

    /// - Returns: whether there is anything to deploy.
    private func begin(_ send: @Sendable (NodeReleases, JSON) async throws -> JSON) async throws -> Bool {
        do {
            let answer = try await send(node, coordination)
            guard let begun = answer["deployment"], let number = begun["number"]?.integer else { return false }
            (self.number, record) = (number, begun)
        } catch let failure as APIFailure {
            // The answer may be all that was lost.
            guard failure.status == 0, try await findDeployment() else { throw Self.failure(of: failure) }
        }
        return true
    }

    private func findDeployment() async throws -> Bool {
        let found: JSON? = try await tried {
            let node = await self.node
            return try await node.client.result("GET", "\(node.account)/edge/deployments", query: [("per_page", "5")]).items?
                .first { $0["coordination"]?["id"]?.text == self.id }
        }
        guard let found, let number = found["number"]?.integer else { return false }
        (self.number, record) = (number, found)
        return true
    }

    private static func failure(of failure: APIFailure) -> Failure {
        let code: Int32 =
            failure.has(code: ReleaseFailures.locked)
            ? ExitCode.busy : ReleaseFailures.isRefusal(failure) ? ExitCode.refused : ExitCode.failure
        return Failure(description: "\(failure)", exitCode: code)
    }

    // MARK: Looking

    /// Follows the deployment until `isDone`. While the node is away, for no longer than the lease.
    ///
    /// - Throws: `Failure` when it comes to an end that isn't wanted.
    private func wait(_ what: String, _ isDone: (JSON) throws -> Bool) async throws {
        while true {
            try checkInterrupt()
            try await look()
            if try isDone(record) { return }
            try checkEnd()
            try await clock.sleep(for: Self.interval)
        }
    }

    private func checkInterrupt() throws(Failure) {
        guard Interrupts.count > 0 else { return }
        throw Failure(description: "interrupted", exitCode: ExitCode.interrupted)
    }

    private func checkEnd() throws(Failure) {
        switch record["state"]?.text {
        case "refused": throw Failure(description: "refused: \(reason)", exitCode: ExitCode.refused)
        case "rolled-back": throw Failure(description: "rolled back: \(reason)", exitCode: ExitCode.failure)
        default: return
        }
    }

    private var reason: String { record["reason"]?.text ?? "" }

    /// What the node has done until now.
    private func look() async throws {
        guard let number else { return }
        try await tried { try await self.lookOnce(number) }
    }

    private func lookOnce(_ number: Int64) async throws {
        record = try await node.deployment(number)
        let events = try await node.events(of: number, after: seen, wait: false)
        for event in events where event["sequence"]?.integer ?? 0 > seen { show(event) }
        seen = max(seen, events.last?["sequence"]?.integer ?? seen)
    }

    private func show(_ event: JSON) {
        guard !isJSON else { return }
        let (state, kind) = (event["state"]?.text ?? "", event["kind"]?.text ?? "")
        let mark = kind == "warning" ? "warning: " : kind == "failure" ? "failed: " : ""
        for line in (event["text"]?.text ?? "").split(separator: "\n") { say(state, mark + line) }
    }

    nonisolated func say(_ state: String, _ text: String) {
        let padding = String(repeating: " ", count: max(1, 14 - state.count))
        Edge.announce(Terminal.printable("\(name)  \(state)\(padding)\(text)"))
    }

    /// Tries again for as long as the lease, while the node isn't reached or can't do it yet.
    private func tried<Value: Sendable>(_ body: @Sendable () async throws -> Value) async throws -> Value {
        let deadline = clock.now() + lease
        while true {
            do { return try await body() } catch let failure as APIFailure where Self.isAway(failure) {
                guard clock.now() < deadline else {
                    throw Failure(description: "not reached: \(failure)", exitCode: ExitCode.failure)
                }
                try checkInterrupt()
                try await clock.sleep(for: Self.interval)
                lookForIt()
            }
        }
    }

    /// A node that starts answers before it has its API.
    private static func isAway(_ failure: APIFailure) -> Bool {
        failure.status == 0 || failure.status == 503 || failure.has(code: noRoute)
    }

    private static let noRoute: Int64 = 7000

    /// Where it isn't reached.
    private func lookForIt() {
        // While it starts it can't be found, and is tried where it was.
        guard let client = try? find() else { return }
        node = node.reached(by: client)
    }

    // MARK: Words

    private func post(_ verb: String) async throws {
        guard let number else { return }
        record = try await node.client.result(
            "POST", "\(node.account)/edge/deployments/\(number)/\(verb)", .object(["id": .string(id)]))
    }

    /// - Throws: unless the node is there, and waits.
    func hold() async throws {
        do { try await post("hold") } catch let failure as APIFailure { throw Self.failure(of: failure) }
    }

    func hasPrepared() async throws {
        // One that died meanwhile prepares anew.
        try await tell("hold")
        try await untilPrepared()
    }

    /// Gives a word until it is heard, for as long as the lease. A node that died meanwhile may be on its way up again.
    func tell(_ verb: String) async throws {
        let deadline = clock.now() + lease
        while true {
            do {
                try await tried { try await self.post(verb) }
                try await look()
                return try checkEnd()
            } catch let failure as APIFailure {
                try await look()
                try checkEnd()
                guard failure.status == 409, clock.now() < deadline else { throw Self.failure(of: failure) }
            }
            try checkInterrupt()
            try await clock.sleep(for: Self.interval)
        }
    }

    /// Until it has been watched for as long as its environment wants.
    func watched() async throws {
        try await wait("its watch to be over") { record in
            switch record["coordination"]?["word"]?.text {
            case "watched", "confirm": return true
            case "ask":
                // It hears no word any more, and may go back while this is read.
                throw Failure(
                    description: record["pause"]?.text ?? "its lease has lapsed: it asks the other nodes",
                    exitCode: ExitCode.failure)
            default:
                guard isPastReturn else { return false }
                throw Failure(
                    description: "did not do well, and has no release that it can go back to", exitCode: ExitCode.failure)
            }
        }
    }

    /// Whether it keeps the release, and nobody has confirmed that.
    private var isPastReturn: Bool { ["draining", "retired"].contains(record["state"]?.text) }

    private func checkIsBack() throws(CantGoBack) { if isPastReturn { throw CantGoBack() } }

    /// It has no release before this one that could serve.
    struct CantGoBack: Error, CustomStringConvertible {
        var description: String { "keeps the new release: it has none that it can go back to" }
    }

    /// Whatever it is doing, the release before is to serve.
    ///
    /// - Throws: `CantGoBack`; or why the node wasn't reached.
    func abort() async throws {
        guard let number else { return }
        // A short while: one that isn't reached comes to the same by itself.
        for attempt in 0..<Self.abortAttempts {
            do {
                try await lookOnce(number)
                if record["finished_on"]?.text != nil { return try checkIsBack() }
                try checkIsBack()
                record = try await node.client.result("POST", "\(node.account)/edge/deployments/\(number)/abort")
                try await lookOnce(number)
                return try checkIsBack()
            } catch let failure as APIFailure where attempt < Self.abortAttempts - 1 && [0, 409, 503].contains(failure.status) {
                try await clock.sleep(for: Self.interval)
                lookForIt()
            }
        }
    }

    private static let abortAttempts = 25
}
