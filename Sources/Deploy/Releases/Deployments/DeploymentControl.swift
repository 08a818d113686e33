package import Configuration

/// All that a release is made from, as files: `bundles/<sha256>/` holds the platform's configuration, its migrations and its
/// assets as its folder has them, and `products`, a line `<sha256> <product>` for each executable, which lie in `artifacts/`.
/// Immutable once it has its name; read with the same reader as a project's folder, so that mistakes have their places.
package struct ReleaseBundle: Equatable, Sendable {
    /// The SHA-256 of its files and their names, in hexadecimal digits: equal bundles are one.
    package let hash: String
    package let directory: String

    package init(hash: String, directory: String) {
        self.hash = hash
        self.directory = directory
    }
}

/// What a bundle says, for one environment.
package struct DeploymentInput: Sendable {
    package var description: ReleaseDescription
    package var settings: DeploySettings
    package var keepWarm: Duration
    package var smokeTests: [(worker: String, test: SmokeTest)]
    package var hooks: [Hook]

    package init(
        description: ReleaseDescription, settings: DeploySettings, keepWarm: Duration,
        smokeTests: [(worker: String, test: SmokeTest)], hooks: [Hook]
    ) {
        self.description = description
        self.settings = settings
        self.keepWarm = keepWarm
        self.smokeTests = smokeTests
        self.hooks = hooks
    }
}

/// What a deployment would do.
package struct DeploymentPlan: Equatable, Sendable {
    package enum Change: String, Sendable { case added, changed, removed, unchanged }

    package var workers: [(name: String, change: Change)]
    package var migrations: [MigrationStep]
    package var steps: [Int]
    /// Migrations of durable object classes: `worker: tag`.
    package var classMigrations: [String]
    /// A line for each route, domain and cron that comes or goes: `+ route example.com/*`.
    package var triggers: [String]

    package init(
        workers: [(name: String, change: Change)], migrations: [MigrationStep], steps: [Int], triggers: [String],
        classMigrations: [String] = []
    ) {
        self.workers = workers
        self.migrations = migrations
        self.steps = steps
        self.classMigrations = classMigrations
        self.triggers = triggers
    }

    /// Whether the release that serves is the one that is asked for.
    package var isEmpty: Bool {
        workers.allSatisfy { $0.change == .unchanged } && migrations.isEmpty && triggers.isEmpty
            && classMigrations.isEmpty
    }

    package static func == (a: DeploymentPlan, b: DeploymentPlan) -> Bool {
        a.workers.elementsEqual(b.workers) { $0 == $1 } && a.migrations == b.migrations && a.steps == b.steps
            && a.classMigrations == b.classMigrations
            && a.triggers == b.triggers
    }
}

package enum DeploymentError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Another deployment is in progress: exit code 75.
    case locked(DeploymentRecord)
    case failed(DeploymentFailure)
    case unknownDeployment(Int64)
    case unknownRelease(Int64)
    /// What is asked for can't be done in the state that the deployment is in.
    case notNow(String)
    /// A rollback would change these, `WORKER NAME`.
    case secretsChanged([String])

    package var description: String {
        switch self {
        case .locked(let other):
            "deployment \(other.number) (\(other.author.email.isEmpty ? other.author.source : other.author.email), "
                + "\(other.state)\(other.state == .shifting ? " \(other.percent) %" : "")) is in progress; wait with --wait or stop "
                + "it with \"edge deploy abort \(other.number)\""
        case .failed(let failure): failure.description
        case .unknownDeployment(let number): "there is no deployment \(number)"
        case .unknownRelease(let number): "there is no release \(number), or it is too old to be kept"
        case .notNow(let reason): reason
        case .secretsChanged(let names):
            "secrets were changed since that release was active, and it has those of then: \(names.joined(separator: ", "))"
        }
    }
}

/// The deployments of one tenant on this node, for those who ask for them. Whatever was begun goes on by itself; the caller may
/// go away.
package protocol DeploymentControl: Sendable {
    func plan(_ bundle: ReleaseBundle, _ options: DeploymentOptions) async throws(DeploymentError) -> DeploymentPlan
    /// Returns when the deployment is in the journal and has the lock.
    ///
    /// - Returns: `nil`: the release that serves is what the bundle says.
    func deploy(
        _ bundle: ReleaseBundle, _ options: DeploymentOptions, _ trigger: DeploymentRecord.Trigger, by author: ScriptAuthor
    ) async throws(DeploymentError) -> DeploymentRecord?
    /// - Parameter release: `nil`: the one that was active before.
    func rollBack(
        to release: Int64?, _ options: DeploymentOptions, by author: ScriptAuthor
    ) async throws(DeploymentError) -> DeploymentRecord
    /// What a restore of the data would lose, by database.
    func lostCommits(rollingBackTo release: Int64?) async throws(DeploymentError) -> [(database: String, count: Int)]

    /// The newest first.
    func deployments(max: Int) async throws(DeploymentError) -> [DeploymentRecord]
    func deployment(_ number: Int64) async throws(DeploymentError) -> DeploymentRecord
    func events(of deployment: Int64, after sequence: Int64) async throws(DeploymentError) -> [DeploymentEvent]
    /// Returns when there is an event after `sequence`, at the latest after some seconds.
    func wait(for deployment: Int64, after sequence: Int64) async
    /// JSON: what became of requests, per slot and phase. `nil` until the switch, or the end.
    func report(of deployment: Int64) async throws(DeploymentError) -> String?

    func abort(_ deployment: Int64, by author: ScriptAuthor) async throws(DeploymentError)
    func resume(_ deployment: Int64, by author: ScriptAuthor) async throws(DeploymentError)
    /// Goes to 100 % and through the switch without further checks.
    func promote(_ deployment: Int64, by author: ScriptAuthor) async throws(DeploymentError)

    // Of a deployment that is one of several nodes': the words of `Coordination`, which may be repeated. `id` is that of its
    // request; each renews the node's lease, and is durable when it returns.

    func hold(_ deployment: Int64, _ id: String) async throws(DeploymentError)
    /// Returns when new requests go to the release.
    func switchOver(_ deployment: Int64, _ id: String, by author: ScriptAuthor) async throws(DeploymentError)
    /// Once it was watched.
    func confirm(_ deployment: Int64, _ id: String) async throws(DeploymentError)
    /// What this node says of the deployment when another one of them asks, and what the leader calls it; `nil`: it has none of
    /// this id.
    func vote(on id: String) async throws(DeploymentError) -> (vote: Coordination.Vote, node: String)?

    /// The newest first.
    func releases(max: Int) async throws(DeploymentError) -> [ReleaseRecord]
    func release(_ number: Int64) async throws(DeploymentError) -> ReleaseRecord
    /// The numbers of the releases that serve, that is a candidate, and that are kept warm.
    func slots() async -> (active: Int64?, candidate: Int64?, warm: [Int64])
}
