/// What a tenant's deployments are made with. What is `nil` this node doesn't have: a deployment that asks for it is refused.
package struct DeploymentEnvironment: Sendable {
    package var migrations: (any DeploymentMigrations)?
    package var smokeTests: (any SmokeTests)?
    package var hooks: (any DeploymentHooks)?
    package var judge = ReleaseJudge()
    /// Answers a query about the tenant's data points with the first value of the first row; `nil`: there is none.
    package var query: (@Sendable (String) async throws(DeploymentFailure) -> Double?)?
    /// Reads what a bundle says for this node's environment.
    package var read: (@Sendable (ReleaseBundle) async throws(DeploymentFailure) -> DeploymentInput)?
    /// Where a bundle of this hash lies; `nil`: it is gone.
    package var findBundle: (@Sendable (_ hash: String) -> ReleaseBundle?)?
    /// Deletes bundles that no release has any more.
    package var collectBundles: (@Sendable () async -> Void)?
    /// Asks another node how far it has come with a coordinated deployment.
    package var askPeer: (@Sendable (_ peer: Coordination.Peer, _ id: String) async -> CoordinationPoll.Answer)?

    package init() {}
}
