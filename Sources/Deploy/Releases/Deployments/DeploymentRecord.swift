package import System

/// What whoever deploys asks for. What is `nil` is as the environment's `[deploy]` says.
package struct DeploymentOptions: Codable, Equatable, Sendable {
    /// Percentages, rising; the last is 100.
    package var steps: [Int]?
    package var bakeSeconds: Double?
    package var monitorSeconds: Double?
    /// Stops there, at this percentage, until somebody says `resume` or `promote`.
    package var pauseAt: Int?
    /// Ends after the plan was made: nothing is written but the audit line.
    package var isDryRun = false
    /// Also when the present release is not healthy.
    package var isForced = false
    /// Also with migrations that the code which serves can't live with: writes are held, and there is no way back.
    package var allowsBreaking = false
    /// Also runs the `contract` migrations when the previous release is retired.
    package var contracts = false
    /// Also with artifacts that don't serve in the environment which `promote_from` names.
    package var allowsUnpromoted = false
    package var message = ""
    package var tag = ""
    /// The commit that it was made from, as `git` names it.
    package var revision = ""
    /// Of the bundle's hash, in base64; empty: nobody signed it.
    package var signature: String?
    /// Also with migrations of durable object classes that don't follow what was applied last; `nil`: no.
    package var forcesClassMigrations: Bool?
    /// A rollback: the data goes back as well.
    package var restoresData = false

    package init() {}
}

/// One deployment of a release, as the journal has it.
package struct DeploymentRecord: Equatable, Sendable {
    package enum Trigger: String, Codable, Sendable { case deploy, rollback, promotion, secret, configuration }

    /// From 1, in each environment.
    package let number: Int64
    package let release: Int64
    /// What served before; `nil`: nothing did.
    package let previous: Int64?
    package let trigger: Trigger
    package let author: ScriptAuthor
    package let options: DeploymentOptions
    package let createdAt: UnixTime
    package var state: DeploymentState
    /// What the new release gets of all requests.
    package var percent = 0
    /// Why nothing happens until somebody says so.
    package var pause: String?
    /// Why it was refused or rolled back, in words for people.
    package var reason: String?
    package var finishedAt: UnixTime?

    /// The exit code of `edge deploy` once it has come to an end or a pause: 0 active, 1 rolled back, 2 refused, 3 paused.
    package var exitCode: Int32? {
        switch state {
        case .rolledBack: 1
        case .refused: 2
        case .active, .monitoring, .draining, .retired: pause == nil ? 0 : 3
        default: pause == nil ? nil : 3
        }
    }
}

/// A line of a deployment's history. Lines are only added.
package struct DeploymentEvent: Equatable, Sendable {
    package enum Kind: String, Codable, Sendable {
        /// A state was entered.
        case entered
        /// What a state did.
        case note
        case warning
        case failure
    }

    /// From 1, within the deployment.
    package let sequence: Int64
    package let time: UnixTime
    package let state: DeploymentState
    package let kind: Kind
    package let text: String

    package init(sequence: Int64, time: UnixTime, state: DeploymentState, kind: Kind, text: String) {
        self.sequence = sequence
        self.time = time
        self.state = state
        self.kind = kind
        self.text = text
    }
}

/// An immutable set of versions, with the bundle that it was made from.
package struct ReleaseRecord: Equatable, Sendable {
    /// From 1, in each environment.
    package let number: Int64
    /// The SHA-256 of the bundle; empty: a release that was made without one, by the API or by files.
    package let bundle: String
    /// Worker → version id.
    package let versions: [String: String]
    package let createdAt: UnixTime
    package let author: ScriptAuthor
    package let message: String
    package let tag: String
    package let revision: String
}
