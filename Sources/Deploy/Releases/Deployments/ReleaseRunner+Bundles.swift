package import Configuration
internal import SQLite
internal import System

extension ReleaseRunner {
    /// What a bundle says of this tenant.
    ///
    /// - Parameters:
    ///   - today: For dates that may not lie in the future.
    package nonisolated func input(
        of bundle: ReleaseBundle, environment: String, _ options: ProjectConfiguration.Options
    ) async throws(DeploymentFailure) -> DeploymentInput {
        let (artifacts, secrets, tenant) = (artifacts, secrets, tenant)
        return try await artifacts.disk.run { () throws(DeploymentFailure) -> DeploymentInput in
            try bundle.input(
                environment: environment, tenant: tenant, secrets: secrets, artifact: { artifacts.path($0) }, options)
        }
    }

    /// Whether a version of this tenant is made of an executable.
    package nonisolated func hasVersion(of artifact: String) async throws -> Bool {
        let store = store
        return try await artifacts.disk.run { () throws -> Bool in try store.hasVersion(of: artifact) }
    }

    /// Removes bundles and executables that nothing is made of and nobody holds.
    package nonisolated func collect(_ bundles: BundleStore) async throws {
        let (store, artifacts) = (store, artifacts)
        try await bundles.prune { try store.bundlesInUse() }
        try await artifacts.disk.run { () throws -> Void in try artifacts.collect { try store.recordedArtifacts() } }
    }
}

extension ReleaseStore {
    func hasVersion(of artifact: String) throws -> Bool {
        try withConnection { sqlite in
            try prepare(
                "SELECT 1 FROM script_versions WHERE tenant = ?1 AND artifact = ?2 LIMIT 1", [.text(tenant), .text(artifact)],
                sqlite
            ).step()
        }
    }

    /// Whether a release of this tenant and environment was made from a bundle.
    package func hasRelease(of bundle: String) throws -> Bool {
        try withConnection { sqlite in
            try prepare(
                "SELECT 1 FROM releases WHERE tenant = ?1 AND environment = ?2 AND bundle = ?3 LIMIT 1",
                [.text(tenant), .text(environment), .text(bundle)], sqlite
            ).step()
        }
    }
}
