internal import ControlPlane
internal import Glibc
internal import Synchronization
internal import System

/// Shows a deployment as it goes on: a line for each event. The deployment is the node's: this only looks.
struct DeploymentFollower: Sendable {
    enum Goal: Sendable {
        /// It has all requests.
        case active
        /// It has been watched for the time that it was to be, too.
        case monitored
    }
    private let node: NodeReleases
    private let number: Int64
    private let isJSON: Bool
    private let goal: Goal
    /// What was shown before.
    private let seen: Int64

    /// - Parameter seen: the last event that needn't be shown.
    init(_ node: NodeReleases, _ number: Int64, json: Bool, until goal: Goal, after seen: Int64 = 0) {
        self.seen = seen
        self.node = node
        self.number = number
        isJSON = json
        self.goal = goal
    }

    /// - Returns: the exit code.
    func run() async throws -> Int32 {
        Interrupts.start { count in
            guard count == 1 else { return }
            Edge.complain(
                "\ndeployment \(number) goes on: `edge deploy attach \(number)` shows it; Ctrl-C again within \(Self.secondThought.components.seconds) s aborts it"
            )
            Task {
                try? await Task.sleep(for: Self.secondThought)
                if Interrupts.count < 2 { exit(ExitCode.interrupted) }
                await abort()
            }
        }
        var after = seen
        var failure = FailureCount()
        let bar = ShareBar(isShown: !isJSON && Terminal.isError)
        defer { bar.clear() }
        while true {
            do {
                // Asked before the events, which then are all that led there.
                let record = try await node.deployment(number)
                let outcome = Outcome(record, goal)
                // Before it waits for what comes next.
                bar.show(outcome == nil ? record : .null)
                let events = try await node.events(of: number, after: after, wait: outcome == nil)
                if !events.isEmpty { bar.clear() }
                for event in events { show(event) }
                after = events.last?["sequence"]?.integer ?? after
                if let outcome, events.count < Self.eventsMax { return finish(outcome, record) }
                failure = FailureCount()
            } catch let error as APIFailure where error.status == 0 && failure.next() {
                // The node may be on its way up again, and the deployment goes on with it.
                if failure.count == 1 { Edge.complain("edge: \(error); trying again") }
                try await Task.sleep(for: .milliseconds(500))
            }
        }
    }

    private static let secondThought = Duration.seconds(3)
    /// So many come at once.
    private static let eventsMax = 1000

    private func abort() async {
        do {
            _ = try await node.client.result("POST", "\(node.account)/edge/deployments/\(number)/abort")
        } catch { Edge.complain("edge: deployment \(number) can't be aborted: \(error)") }
    }

    /// How long a node may be away.
    private struct FailureCount {
        private(set) var count = 0
        mutating func next() -> Bool {
            count += 1
            return count <= 120
        }
    }

    // MARK: The outcome

    private enum Outcome {
        case active, ended, rolledBack, refused, paused

        /// `nil`: not yet.
        init?(_ record: JSON, _ goal: Goal) {
            let isPaused = record["pause"].map { $0 != .null } ?? false
            switch record["state"]?.text {
            case "rolled-back": self = .rolledBack
            case "refused": self = .refused
            case "draining", "retired": self = .ended
            case "active", "monitoring":
                if isPaused { self = .paused } else if goal == .active { self = .active } else { return nil }
            default:
                guard isPaused else { return nil }
                self = .paused
            }
        }
    }

    private func show(_ event: JSON) {
        if isJSON { return Output.json(event) }
        let (state, kind) = (event["state"]?.text ?? "", event["kind"]?.text ?? "")
        let time = (event["time"]?.text ?? "").dropFirst(11).prefix(8)
        let text = event["text"]?.text ?? ""
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let mark = kind == "warning" ? "warning: " : kind == "failure" ? "failed: " : ""
            let head = index == 0 ? "\(time)  \(Self.padded(state))" : Self.padded("", to: 24)
            // At once, also where a pipe would keep it back.
            Edge.announce("\(head)\(index == 0 ? mark : "")\(Terminal.printable(String(line)))".trimmedAtEnd)
        }
    }

    private static func padded(_ text: String, to width: Int = 14) -> String {
        text + String(repeating: " ", count: max(1, width - text.count))
    }

    private func finish(_ outcome: Outcome, _ record: JSON) -> Int32 {
        if isJSON { Output.json(record) }
        let (release, reason) = (record["release"]?.integer ?? 0, record["reason"]?.text ?? "")
        func complain(_ text: String) {
            guard !isJSON else { return }
            for line in text.split(separator: "\n") { Edge.complain("edge: \(Terminal.printable(String(line)))") }
        }
        switch outcome {
        case .active, .ended:
            if !isJSON { Edge.announce("active: release \(release) (deployment \(number))") }
            return ExitCode.success
        case .rolledBack:
            complain("deployment \(number) was rolled back: \(reason)")
            return ExitCode.failure
        case .refused:
            complain("deployment \(number) was refused: \(reason)")
            return ExitCode.refused
        case .paused:
            let isOneOfSeveral = record["coordination"].map { $0 != .null } ?? false
            complain(
                "deployment \(number) waits at \(record["percent"]?.integer ?? 0) %: \(record["pause"]?.text ?? "")\n"
                    + (isOneOfSeveral
                        ? "whoever began it on several nodes lets it go on; `edge deploy abort \(number)` takes all back"
                        : "go on with `edge deploy resume \(number)` or `promote \(number)`, or `abort \(number)`"))
            return ExitCode.paused
        }
    }
}

/// How many requests the new release gets, on the last line of a terminal.
final class ShareBar {
    private let isShown: Bool
    private var isDrawn = false
    private static let width = 20

    init(isShown: Bool) { self.isShown = isShown }

    /// - Parameter record: Of the deployment, which may be in any state.
    func show(_ record: JSON) {
        guard isShown else { return }
        guard let line = Self.line(record) else { return clear() }
        isDrawn = true
        Edge.show("\r\(line)\u{1B}[K")
    }

    /// `nil`: its share doesn't change.
    static func line(_ record: JSON) -> String? {
        guard record["state"]?.text == "shifting", let percent = record["percent"]?.integer else { return nil }
        let filled = Int(percent) * width / 100
        let bar = String(repeating: "=", count: filled) + String(repeating: " ", count: width - filled)
        return "release \(record["release"]?.integer ?? 0)  [\(bar)]  \(percent) %"
    }

    func clear() {
        guard isDrawn else { return }
        isDrawn = false
        Edge.show("\r\u{1B}[K")
    }
}

extension String {
    fileprivate var trimmedAtEnd: String { String(reversed().drop { $0 == " " }.reversed()) }
}

/// Ctrl-C, counted. For commands that have something better to do than to end.
enum Interrupts {
    private static let counter = EventCounter()
    private static let number = Atomic(0)

    static var count: Int { number.load(ordering: .acquiring) }

    /// Calls `arrived` with how many there were, on a thread of its own, from now on.
    static func start(_ arrived: @escaping @Sendable (Int) -> Void) {
        counter.countProcessSignal(SIGINT)
        SystemThread(name: "edge-interrupts") {
            while true {
                for _ in 0..<counter.take() { arrived(number.add(1, ordering: .acquiringAndReleasing).newValue) }
            }
        }.start()
    }
}
