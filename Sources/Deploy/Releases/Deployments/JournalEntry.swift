internal import System

/// What one transaction of the journal says of one deployment: its row as it is from now on, and what goes with it. All of it is
/// durable before anything follows from it.
struct JournalEntry: Sendable {
    enum Lock: Equatable, Sendable {
        /// For the node of this boot.
        case take(owner: String)
        case release
    }

    struct Routing: Equatable, Sendable {
        var active: Int64?
        var candidate: Int64?
        var percent: Int
    }

    var record: DeploymentRecord
    /// Kind and text, in their order.
    var events: [(kind: DeploymentEvent.Kind, text: String)] = []
    /// Made with it.
    var release: (record: ReleaseRecord, content: ReleaseContent)?
    var lock: Lock?
    var routing: Routing?
    /// What the deployment has found out and needs after a crash; `nil`: as it was.
    var steps: [MigrationStep]?
    var backups: [DatabaseBackup]?
    var contracted: [MigrationStep]?
    var coordination: Coordination?
    /// Replaces the word alone, unless that is `confirm` by now; the lease stays, which may be being renewed.
    var word: Coordination.Word?

    init(_ record: DeploymentRecord) { self.record = record }
}

/// A deployment as the journal has it, with what only the machine needs.
struct JournaledDeployment: Sendable {
    var record: DeploymentRecord
    var steps: [MigrationStep] = []
    var backups: [DatabaseBackup] = []
    /// Migrations after which code from before can't live with the data.
    var contracted: [MigrationStep] = []
}
