internal import Configuration
internal import SQLite

/// What a node starts from, where a deployment has decided that: its files then count for nothing until the next one.
package struct StartingPoint: Sendable {
    package let release: ReleaseRecord
    package let bundle: ReleaseBundle

    /// Looks for the release that serves according to the journal; blocks.
    ///
    /// - Returns: `nil` when nothing was deployed, or the configuration's files made what serves.
    /// - Throws: when the release's bundle is gone, which should never be.
    package static func find(
        state: StateDirectory, environment: String, tenant: String
    ) throws -> StartingPoint? {
        let store = try ReleaseStore(database: state.controlDatabase, tenant: tenant, environment: environment)
        guard let active = try store.routing()?.active, let found = try store.release(active)?.record, !found.bundle.isEmpty,
            try store.isDeployed(active)
        else { return nil }
        let bundle = ReleaseBundle(hash: found.bundle, directory: "\(state.bundles)/\(found.bundle)")
        guard try !bundle.configurationFiles().allSatisfy({ $0.text.isEmpty }) else {
            throw ReleaseError.missingBundle(found.bundle, release: active)
        }
        return StartingPoint(release: found, bundle: bundle)
    }
}

extension ReleaseStore {
    /// Whether somebody has deployed the release, and not the files of a node that started.
    fileprivate func isDeployed(_ release: Int64) throws -> Bool {
        try withConnection { sqlite in
            try prepare(
                """
                SELECT 1 FROM release_deployments WHERE tenant = ?1 AND environment = ?2 AND release = ?3
                AND triggered_by <> 'configuration' LIMIT 1
                """, [.text(tenant), .text(environment), .integer(release)], sqlite
            ).step()
        }
    }
}
