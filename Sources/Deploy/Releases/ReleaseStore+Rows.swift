internal import SQLite
internal import System

/// Reading what was recorded.
extension ReleaseStore {
    /// All that a node needs to serve the tenant.
    package func load() throws -> Stored {
        try withConnection { sqlite in
            var stored = Stored()
            let scripts = try prepare(
                """
                SELECT worker, created_at, modified_at, is_deleted, configured_version, configured_triggers, next_number,
                    settings, has_default_host, has_previews FROM scripts WHERE tenant = ?1
                """, [.text(tenant)], sqlite)
            while try scripts.step() {
                var script = ScriptRecord(
                    worker: scripts.text(0) ?? "", createdAt: UnixTime(milliseconds: scripts.integer(1)),
                    modifiedAt: UnixTime(milliseconds: scripts.integer(2)))
                script.isDeleted = scripts.integer(3) != 0
                script.configuredVersion = scripts.text(4)
                script.configuredTriggers = scripts.text(5)
                script.nextNumber = scripts.integer(6)
                script.settings = scripts.text(7) ?? "{}"
                script.hasDefaultHost = scripts.integer(8) != 0
                // 0 is of a time when nothing came of it.
                script.hasPreviews = scripts.integer(9) != 2
                stored.scripts[script.worker] = script
            }
            try loadActive(into: &stored, sqlite)
            try loadTriggers(into: &stored, sqlite)
            try loadObjects(into: &stored, sqlite)
            return stored
        }
    }

    private func loadActive(into stored: inout Stored, _ sqlite: SQLiteConnection) throws {
        let row = try prepare(
            "SELECT generation, deployments FROM active_releases WHERE tenant = ?1 AND environment = ?2",
            [.text(tenant), .text(environment)], sqlite)
        guard try row.step() else { return }
        stored.generation = row.integer(0)
        for (worker, id) in try Self.value(row.text(1), [String: String].self) {
            let found = try deployments("WHERE tenant = ?1 AND worker = ?2 AND id = ?3", [.text(worker), .text(id)], sqlite)
            guard let deployment = found.first else { throw ReleaseStoreError.missingRow("deployment \(id) of \(worker)") }
            var versions: [ScriptVersion] = []
            for share in deployment.shares {
                let found = try self.versions(
                    "WHERE tenant = ?1 AND worker = ?2 AND id = ?3", [.text(worker), .text(share.versionID)], sqlite)
                guard let version = found.first else {
                    throw ReleaseStoreError.missingRow("version \(share.versionID) of \(worker)")
                }
                versions.append(version)
            }
            stored.live[worker] = LiveScript(
                deployment: deployment, versions: versions.sorted { $0.number < $1.number })
        }
    }

    private func loadTriggers(into stored: inout Stored, _ sqlite: SQLiteConnection) throws {
        let triggers = try prepare(
            """
            SELECT id, kind, worker, value, created_at, modified_at FROM script_triggers WHERE tenant = ?1 ORDER BY position
            """, [.text(tenant)], sqlite)
        while try triggers.step() {
            // A kind of a later version of the node means nothing here.
            guard let kind = ScriptTrigger.Kind(rawValue: triggers.text(1) ?? "") else { continue }
            stored.triggers.append(
                ScriptTrigger(
                    id: triggers.text(0) ?? "", kind: kind, worker: triggers.text(2), value: triggers.text(3) ?? "",
                    createdAt: UnixTime(milliseconds: triggers.integer(4)),
                    modifiedAt: UnixTime(milliseconds: triggers.integer(5))))
        }
        let account = try prepare("SELECT name, value FROM account_settings WHERE tenant = ?1", [.text(tenant)], sqlite)
        while try account.step() { stored.account[account.text(0) ?? ""] = account.text(1) }
    }

    // MARK: Versions

    /// Of a worker, the newest first.
    package func versions(of worker: String) throws -> [ScriptVersion] {
        try withConnection { sqlite in
            try versions("WHERE tenant = ?1 AND worker = ?2 ORDER BY number DESC", [.text(worker)], sqlite)
        }
    }

    package func version(_ id: String, of worker: String) throws -> ScriptVersion? {
        try withConnection { sqlite in
            try versions("WHERE tenant = ?1 AND worker = ?2 AND id = ?3", [.text(worker), .text(id)], sqlite).first
        }
    }

    /// The version that was made last.
    package func newestVersion(of worker: String) throws -> ScriptVersion? {
        try withConnection { sqlite in
            try versions("WHERE tenant = ?1 AND worker = ?2 ORDER BY number DESC LIMIT 1", [.text(worker)], sqlite).first
        }
    }

    /// The newest version that the configuration made with this fingerprint.
    package func version(fingerprint: String, of worker: String) throws -> ScriptVersion? {
        try withConnection { sqlite in
            try versions(
                "WHERE tenant = ?1 AND worker = ?2 AND fingerprint = ?3 ORDER BY number DESC LIMIT 1",
                [.text(worker), .text(fingerprint)], sqlite
            ).first
        }
    }

    /// What can be deployed by any tenant, and so must not be collected.
    package func recordedArtifacts() throws -> Set<String> {
        try withConnection { sqlite in
            let rows = try sqlite.prepare("SELECT DISTINCT artifact FROM script_versions")
            var artifacts: Set<String> = []
            while try rows.step() { artifacts.insert(rows.text(0) ?? "") }
            return artifacts
        }
    }

    /// Forgets versions of `worker` that are older than what can be deployed, but for those of `kept`. In dev, where each
    /// change of a source makes a version, only a few that the configuration made stay.
    ///
    /// - Returns: those that went.
    package func prune(_ worker: String, keeping kept: Set<String>) throws -> [ScriptVersion] {
        try withConnection { sqlite in
            try SecretStore.transaction(sqlite) {
                let old = try versions(
                    """
                    WHERE tenant = ?1 AND worker = ?2 AND (
                        number <= (SELECT max(number) - ?3 FROM script_versions WHERE tenant = ?1 AND worker = ?2)
                        OR source = 'config' AND number NOT IN (
                            SELECT number FROM script_versions WHERE tenant = ?1 AND worker = ?2 AND source = 'config'
                            ORDER BY number DESC LIMIT ?4))
                    """, [.text(worker), .integer(Self.deployableMax), .integer(configuredMax)], sqlite)
                // What a release has can be gone back to as long as the release is there.
                let ofReleases = old.isEmpty ? [] : try versionsOfReleases(worker, sqlite)
                let gone = old.filter { !kept.contains($0.id) && !ofReleases.contains($0.id) }
                for version in gone {
                    try run(
                        "DELETE FROM script_versions WHERE tenant = ?1 AND worker = ?2 AND number = ?3",
                        [.text(tenant), .text(worker), .integer(version.number)], sqlite)
                }
                return gone
            }
        }
    }

    func versions(_ condition: String, _ values: [Value], _ sqlite: SQLiteConnection) throws -> [ScriptVersion] {
        let rows = try prepare(
            """
            SELECT id, worker, number, artifact, snapshot, fingerprint, annotations, author_id, author_email, source,
                created_at, handlers, startup_milliseconds FROM script_versions \(condition)
            """, [.text(tenant)] + values, sqlite)
        var versions: [ScriptVersion] = []
        while try rows.step() {
            versions.append(
                ScriptVersion(
                    id: rows.text(0) ?? "", worker: rows.text(1) ?? "", number: rows.integer(2), artifact: rows.text(3) ?? "",
                    snapshot: try Self.value(rows.text(4), VersionSnapshot.self), fingerprint: rows.text(5) ?? "",
                    annotations: try Self.value(rows.text(6), [String: String].self),
                    author: ScriptAuthor(id: rows.text(7) ?? "", email: rows.text(8) ?? "", source: rows.text(9) ?? ""),
                    createdAt: UnixTime(milliseconds: rows.integer(10)),
                    handlers: try Self.value(rows.text(11), [String].self), startupMilliseconds: rows.integer(12)))
        }
        return versions
    }

    func write(_ version: ScriptVersion, _ sqlite: SQLiteConnection) throws {
        try run(
            """
            INSERT INTO script_versions (tenant, worker, number, id, artifact, snapshot, fingerprint, annotations, author_id,
                author_email, source, created_at, handlers, startup_milliseconds)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
            """,
            [
                .text(tenant), .text(version.worker), .integer(version.number), .text(version.id), .text(version.artifact),
                .text(try Self.text(version.snapshot)), .text(version.fingerprint), .text(try Self.text(version.annotations)),
                .text(version.author.id), .text(version.author.email), .text(version.author.source),
                .integer(version.createdAt.milliseconds), .text(try Self.text(version.handlers)),
                .integer(version.startupMilliseconds),
            ], sqlite)
    }

    // MARK: Deployments

    /// Of a worker, the newest first.
    package func deployments(of worker: String) throws -> [ScriptDeployment] {
        try withConnection { sqlite in
            try deployments("WHERE tenant = ?1 AND worker = ?2 ORDER BY number DESC", [.text(worker)], sqlite)
        }
    }

    /// Takes a past deployment out of the history.
    package func delete(deployment id: String, of worker: String) throws {
        try withConnection { sqlite in
            try run(
                "DELETE FROM script_deployments WHERE tenant = ?1 AND worker = ?2 AND id = ?3",
                [.text(tenant), .text(worker), .text(id)], sqlite)
        }
    }

    private func deployments(
        _ condition: String, _ values: [Value], _ sqlite: SQLiteConnection
    ) throws -> [ScriptDeployment] {
        let rows = try prepare(
            """
            SELECT id, worker, created_at, shares, annotations, author_id, author_email, source FROM script_deployments
            \(condition)
            """, [.text(tenant)] + values, sqlite)
        var deployments: [ScriptDeployment] = []
        while try rows.step() {
            deployments.append(
                ScriptDeployment(
                    id: rows.text(0) ?? "", worker: rows.text(1) ?? "", createdAt: UnixTime(milliseconds: rows.integer(2)),
                    shares: try Self.value(rows.text(3), [ScriptDeployment.Share].self),
                    annotations: try Self.value(rows.text(4), [String: String].self),
                    author: ScriptAuthor(id: rows.text(5) ?? "", email: rows.text(6) ?? "", source: rows.text(7) ?? "")))
        }
        return deployments
    }

    func write(_ deployment: ScriptDeployment, _ sqlite: SQLiteConnection) throws {
        try run(
            """
            INSERT INTO script_deployments (tenant, worker, id, created_at, shares, annotations, author_id, author_email,
                source) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
            """,
            [
                .text(tenant), .text(deployment.worker), .text(deployment.id), .integer(deployment.createdAt.milliseconds),
                .text(try Self.text(deployment.shares)), .text(try Self.text(deployment.annotations)),
                .text(deployment.author.id), .text(deployment.author.email), .text(deployment.author.source),
            ], sqlite)
    }
}

/// Rows that name others which are gone: the file was changed by somebody else.
package enum ReleaseStoreError: Error, Sendable, CustomStringConvertible {
    case missingRow(String)
    case damagedNamespace(String)

    package var description: String {
        switch self {
        case .damagedNamespace(let id):
            "control.sqlite has the namespace \(id) of durable objects in a form that this version doesn't know: restore the file from a copy"
        case .missingRow(let what): "control.sqlite has no row for \(what), which is in service: restore the file from a copy"
        }
    }
}
