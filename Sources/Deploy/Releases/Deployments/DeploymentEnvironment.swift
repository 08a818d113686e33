package import Host

/// Says how the candidate does beside the active release.
package protocol DeploymentJudge: Sendable {
    /// - Parameters:
    ///   - candidate: what the new release did since it was last looked at.
    ///   - active: what the release that it is to replace did meanwhile; `nil`: it gets nothing any more.
    ///   - baseline: what that release did in the ten minutes before the switch, where there were any.
    func check(candidate: SlotSample, active: SlotSample?, baseline: SlotSample?) -> Verdict
}

/// What a tenant's deployments are made with. What is `nil` this node doesn't have: a deployment that asks for it is refused.
package struct DeploymentEnvironment: Sendable {
    package var migrations: (any DeploymentMigrations)?
    package var smokeTests: (any SmokeTests)?
    package var hooks: (any DeploymentHooks)?
    package var judge: (any DeploymentJudge)?
    /// Reads what a bundle says for this node's environment.
    package var read: (@Sendable (ReleaseBundle) async throws(DeploymentFailure) -> DeploymentInput)?
    /// Where a bundle of this hash lies; `nil`: it is gone.
    package var findBundle: (@Sendable (_ hash: String) -> ReleaseBundle?)?
    /// Deletes bundles that no release has any more.
    package var collectBundles: (@Sendable () async -> Void)?
    /// What a release did since it began; `nil`: nobody counts.
    package var sample: (@Sendable (ReleaseRuntime) -> SlotSample)?
    /// What became of requests, as JSON, for the deployment's report; asked at the switch and at the end.
    package var report: (@Sendable (_ record: DeploymentRecord, _ new: ReleaseRuntime?, _ old: ReleaseRuntime?) async -> String?)?

    package init() {}
}
