package import Configuration

// What a deployment is made of beside its journal and its slots. The machine calls them in the order of its states; each is
// told apart here so that it can be made, and tried, alone.

/// Why a deployment can't go on, in words for people: one line for each thing that is wrong.
package struct DeploymentFailure: Error, Equatable, Sendable, CustomStringConvertible {
    package let reasons: [String]

    package init(_ reasons: [String]) { self.reasons = reasons }
    package init(_ reason: String) { reasons = [reason] }

    package var description: String { reasons.joined(separator: "\n") }
}

/// A migration that a deployment will run, or did.
package struct MigrationStep: Codable, Equatable, Sendable {
    package enum Kind: String, Codable, Sendable { case expand, contract }
    package let database: String
    package let file: String
    package let kind: Kind
    /// The SHA-256 of the file.
    package let checksum: String
    /// The code that serves can't live with it, and `allowsBreaking` let it through: writes have to be held from before it
    /// until the new release is active, there are no steps, and no way back by itself.
    package let isBreaking: Bool

    package init(database: String, file: String, kind: Kind, checksum: String, isBreaking: Bool = false) {
        self.database = database
        self.file = file
        self.kind = kind
        self.checksum = checksum
        self.isBreaking = isBreaking
    }
}

/// Where a database can go back to.
package struct DatabaseBackup: Codable, Equatable, Sendable {
    package let database: String
    package let bookmark: String
    /// A verified copy; `nil` where the bookmark is enough.
    package let copy: String?

    package init(database: String, bookmark: String, copy: String?) {
        self.database = database
        self.bookmark = bookmark
        self.copy = copy
    }
}

/// The D1 part of a deployment: spec part D. Everything may be called again after a crash, with the same arguments.
package protocol DeploymentMigrations: Sendable {
    /// What is not applied yet. Refuses edited files, breaking ones, gaps.
    func pending(_ sets: [MigrationSet], _ options: DeploymentOptions) async throws(DeploymentFailure) -> [MigrationStep]
    /// Takes bookmarks, and verified copies where `backup` says so, of the databases of `steps`.
    func backUp(_ steps: [MigrationStep], _ backup: DeploySettings.Backup) async throws(DeploymentFailure) -> [DatabaseBackup]
    /// Runs the expand steps: one transaction for each database. On failure nothing of that database is changed.
    func migrate(
        _ sets: [MigrationSet], _ steps: [MigrationStep], _ settings: DeploySettings, _ options: DeploymentOptions
    ) async throws(DeploymentFailure)
    /// Runs the contract steps, once the previous release is gone.
    func contract(_ sets: [MigrationSet], _ steps: [MigrationStep]) async throws(DeploymentFailure)
    /// How many commits each database had since its backup: what a restore would lose.
    func commits(since backups: [DatabaseBackup]) async throws(DeploymentFailure) -> [(database: String, count: Int)]
    /// Makes the state of each backup the newest, whatever was written since: whoever asks for it has been told what is lost.
    func restore(_ backups: [DatabaseBackup]) async throws(DeploymentFailure)
    /// Deletes copies that no deployment may need any more.
    func discard(_ backups: [DatabaseBackup]) async

    /// What people should know before the steps run, a line each: what the linter doubts, how large the tables are, how long it
    /// may take.
    func notes(_ sets: [MigrationSet], _ steps: [MigrationStep]) async throws(DeploymentFailure) -> [String]
    /// Runs the expand steps on copies of the databases, which are gone afterwards.
    func rehearse(_ sets: [MigrationSet], _ steps: [MigrationStep]) async throws(DeploymentFailure)
    /// Refuses writes to the databases of `steps` (503 with Retry-After) until `unfreeze`; returns when none is under way.
    /// `migrate` does so by itself while it runs where `freeze` is set or a step is breaking; a breaking deployment holds them
    /// from before `migrate` until the switch. Forgotten when the node ends.
    func freeze(_ steps: [MigrationStep]) async throws(DeploymentFailure)
    func unfreeze(_ steps: [MigrationStep]) async
    /// As `restore`, of those databases that nobody has written to since but the deployment itself. Never loses a write.
    ///
    /// - Returns: the databases that went back.
    func restoreUntouched(_ backups: [DatabaseBackup]) async throws(DeploymentFailure) -> [String]
    /// Deletes copies that are older than `age`, whoever made them.
    func discardBackups(olderThan age: Duration) async
}

extension DeploymentMigrations {
    package func notes(_ sets: [MigrationSet], _ steps: [MigrationStep]) async throws(DeploymentFailure) -> [String] { [] }
    package func rehearse(_ sets: [MigrationSet], _ steps: [MigrationStep]) async throws(DeploymentFailure) {}
    package func freeze(_ steps: [MigrationStep]) async throws(DeploymentFailure) {}
    package func unfreeze(_ steps: [MigrationStep]) async {}
    package func restoreUntouched(_ backups: [DatabaseBackup]) async throws(DeploymentFailure) -> [String] { [] }
    package func discardBackups(olderThan age: Duration) async {}
}

/// A smoke test, and what came of it.
package struct SmokeResult: Equatable, Sendable {
    package let worker: String
    /// `GET /api/health`.
    package let request: String
    /// `nil`: passed.
    package let failure: String?
    package let duration: Duration

    package init(worker: String, request: String, failure: String?, duration: Duration) {
        self.worker = worker
        self.request = request
        self.failure = failure
        self.duration = duration
    }
}

/// Sends a release's smoke tests through the node's own router, to the candidate alone.
package protocol SmokeTests: Sendable {
    /// - Parameter release: what `Edge-Release-Override` selects it by.
    func run(_ tests: [(worker: String, test: SmokeTest)], release: Int64) async -> [SmokeResult]
}

/// Asks or tells the operator's commands and addresses.
package protocol DeploymentHooks: Sendable {
    /// - Throws: when one says no, fails, or takes too long.
    func call(_ point: Hook.Point, _ hooks: [Hook], _ record: DeploymentRecord) async throws(DeploymentFailure)
}

/// What a check of the candidate against the active release says.
package enum Verdict: Equatable, Sendable {
    case pass
    /// Too few requests.
    case inconclusive(String)
    case fail(String)
    /// Not to be waited for: roll back now.
    case trip(String)
}
