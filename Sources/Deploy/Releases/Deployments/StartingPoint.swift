internal import Configuration
internal import SQLite

/// What a node starts from, where a deployment has decided that: its files then count for nothing until the next one.
package struct StartingPoint: Sendable {
    package let release: ReleaseRecord
    package let bundle: ReleaseBundle

    package enum Source: Sendable { case deployments, whateverServes }

    /// Looks for the release that serves according to the journal; blocks.
    ///
    /// - Parameter source: Whether what the configuration's files made counts as well.
    /// - Returns: `nil` when nothing was deployed, or the configuration's files made what serves.
    /// - Throws: when the release's bundle is gone, which should never be.
    package static func find(
        state: StateDirectory, environment: String, tenant: String, _ source: Source = .deployments
    ) throws -> StartingPoint? {
        let store = try ReleaseStore(database: state.controlDatabase, tenant: tenant, environment: environment)
        guard let active = try store.routing()?.active, let found = try store.release(active)?.record, !found.bundle.isEmpty,
            try source == .whateverServes || store.isDeployed(bundle: found.bundle)
        else { return nil }
        let bundle = ReleaseBundle(hash: found.bundle, directory: "\(state.bundles)/\(found.bundle)")
        guard try !bundle.configurationFiles().allSatisfy({ $0.text.isEmpty }) else {
            throw ReleaseError.missingBundle(found.bundle, release: active)
        }
        return StartingPoint(release: found, bundle: bundle)
    }
}

extension ReleaseStore {
    /// Whether somebody has deployed the bundle as a whole: neither the files of a node that started did, nor do changes of
    /// single workers, which are over as soon as they are recorded.
    fileprivate func isDeployed(bundle: String) throws -> Bool {
        try withConnection { sqlite in
            try prepare(
                """
                SELECT 1 FROM release_deployments AS d
                JOIN releases AS r ON r.tenant = d.tenant AND r.environment = d.environment AND r.number = d.release
                JOIN deployment_events AS e ON e.tenant = d.tenant AND e.environment = d.environment
                    AND e.deployment = d.number AND e.sequence = 1
                WHERE d.tenant = ?1 AND d.environment = ?2 AND r.bundle = ?3 AND d.triggered_by <> 'configuration'
                    AND e.state <> 'retired' LIMIT 1
                """, [.text(tenant), .text(environment), .text(bundle)], sqlite
            ).step()
        }
    }
}
