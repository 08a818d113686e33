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

    package init(database: String, file: String, kind: Kind, checksum: String) {
        self.database = database
        self.file = file
        self.kind = kind
        self.checksum = checksum
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
    func restore(_ backups: [DatabaseBackup]) async throws(DeploymentFailure)
    /// Deletes copies that no deployment may need any more.
    func discard(_ backups: [DatabaseBackup]) async
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
