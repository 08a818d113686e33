internal import SQLite
internal import System

/// The journal of deployments, of this tenant and environment. What is in progress, and what serves, follows from it alone.
///
///     releases            immutable: a bundle, and what serves when it is active
///     release_deployments a row per deployment with its state; never deleted while its release is kept
///     deployment_events   lines, only added
///     deployment_locks    the deployment in progress, whose node it is, and when that last said so
///     release_routing     which release gets requests: {generation, active, candidate, percent}
///     deployment_coordination   what those that are one of several nodes' were told last, and until when that holds
extension ReleaseStore {
    static let deploymentTables = """
        CREATE TABLE IF NOT EXISTS releases (
            tenant TEXT NOT NULL, environment TEXT NOT NULL, number INTEGER NOT NULL, bundle TEXT NOT NULL,
            content TEXT NOT NULL, created_at INTEGER NOT NULL, author_id TEXT NOT NULL, author_email TEXT NOT NULL,
            source TEXT NOT NULL, message TEXT NOT NULL, tag TEXT NOT NULL, revision TEXT NOT NULL,
            PRIMARY KEY (tenant, environment, number)
        ) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS release_deployments (
            tenant TEXT NOT NULL, environment TEXT NOT NULL, number INTEGER NOT NULL, release INTEGER NOT NULL,
            previous INTEGER, triggered_by TEXT NOT NULL, author_id TEXT NOT NULL, author_email TEXT NOT NULL,
            source TEXT NOT NULL, options TEXT NOT NULL, created_at INTEGER NOT NULL, state TEXT NOT NULL,
            percent INTEGER NOT NULL, pause TEXT, reason TEXT, finished_at INTEGER, steps TEXT NOT NULL DEFAULT '[]',
            backups TEXT NOT NULL DEFAULT '[]', contracted TEXT NOT NULL DEFAULT '[]', report TEXT,
            PRIMARY KEY (tenant, environment, number)
        ) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS deployment_events (
            tenant TEXT NOT NULL, environment TEXT NOT NULL, deployment INTEGER NOT NULL, sequence INTEGER NOT NULL,
            time INTEGER NOT NULL, state TEXT NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL,
            PRIMARY KEY (tenant, environment, deployment, sequence)
        ) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS deployment_locks (
            tenant TEXT NOT NULL, environment TEXT NOT NULL, deployment INTEGER NOT NULL, owner TEXT NOT NULL,
            heartbeat INTEGER NOT NULL, PRIMARY KEY (tenant, environment)
        ) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS release_routing (
            tenant TEXT NOT NULL, environment TEXT NOT NULL, generation INTEGER NOT NULL, active INTEGER, candidate INTEGER,
            percent INTEGER NOT NULL, PRIMARY KEY (tenant, environment)
        ) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS deployment_coordination (
            tenant TEXT NOT NULL, environment TEXT NOT NULL, deployment INTEGER NOT NULL, word TEXT NOT NULL,
            until INTEGER NOT NULL, PRIMARY KEY (tenant, environment, deployment)
        ) WITHOUT ROWID;
        """

    private var place: [Value] { [.text(tenant), .text(environment)] }

    // MARK: Writing

    /// One more than the largest there was.
    func nextDeployment() throws -> Int64 { try next("release_deployments") }
    func nextRelease() throws -> Int64 { try next("releases") }

    private func next(_ table: String) throws -> Int64 {
        try withConnection { sqlite in
            let row = try prepare(
                "SELECT coalesce(max(number), 0) + 1 FROM \(table) WHERE tenant = ?1 AND environment = ?2", place, sqlite)
            return try row.step() ? row.integer(0) : 1
        }
    }

    /// Part of a transaction.
    func write(_ entry: JournalEntry, at time: UnixTime, _ sqlite: SQLiteConnection) throws {
        if let (release, content) = entry.release { try write(release, content, sqlite) }
        if case .take(let owner) = entry.lock { try take(owner, entry.record, at: time, sqlite) }
        try write(entry.record, sqlite)
        for (column, value) in [("steps", entry.steps), ("contracted", entry.contracted)] {
            guard let value else { continue }
            try set(column, try Self.text(value), of: entry.record.number, sqlite)
        }
        if let coordination = entry.coordination { try write(coordination, of: entry.record.number, sqlite) }
        if let word = entry.word {
            try run(
                """
                UPDATE deployment_coordination SET word = ?4
                WHERE tenant = ?1 AND environment = ?2 AND deployment = ?3 AND word <> 'confirm'
                """, place + [.integer(entry.record.number), .text(word.rawValue)], sqlite)
        }
        if let backups = entry.backups { try set("backups", try Self.text(backups), of: entry.record.number, sqlite) }
        for event in entry.events { try write(event.kind, event.text, entry.record, at: time, sqlite) }
        if let routing = entry.routing { try write(routing, sqlite) }
        if entry.lock == .release {
            try run(
                "DELETE FROM deployment_locks WHERE tenant = ?1 AND environment = ?2 AND deployment = ?3",
                place + [.integer(entry.record.number)], sqlite)
        }
    }

    private func write(_ release: ReleaseRecord, _ content: ReleaseContent, _ sqlite: SQLiteConnection) throws {
        try run(
            """
            INSERT INTO releases (tenant, environment, number, bundle, content, created_at, author_id, author_email, source,
                message, tag, revision) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
            """,
            place + [
                .integer(release.number), .text(release.bundle), .text(try Self.text(content)),
                .integer(release.createdAt.milliseconds), .text(release.author.id), .text(release.author.email),
                .text(release.author.source), .text(release.message), .text(release.tag), .text(release.revision),
            ], sqlite)
    }

    private func write(_ record: DeploymentRecord, _ sqlite: SQLiteConnection) throws {
        func optional(_ value: Int64?) -> Value { value.map { .integer($0) } ?? .null }
        func optional(_ value: String?) -> Value { value.map { .text($0) } ?? .null }
        try run(
            """
            INSERT INTO release_deployments (tenant, environment, number, release, previous, triggered_by, author_id,
                author_email, source, options, created_at, state, percent, pause, reason, finished_at)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
            ON CONFLICT (tenant, environment, number) DO UPDATE SET state = excluded.state, percent = excluded.percent,
                pause = excluded.pause, reason = excluded.reason, finished_at = excluded.finished_at
            """,
            place + [
                .integer(record.number), .integer(record.release), optional(record.previous), .text(record.trigger.rawValue),
                .text(record.author.id), .text(record.author.email), .text(record.author.source),
                .text(try Self.text(record.options)), .integer(record.createdAt.milliseconds), .text(record.state.rawValue),
                .integer(Int64(record.percent)), optional(record.pause), optional(record.reason),
                optional(record.finishedAt?.milliseconds),
            ], sqlite)
    }

    private func set(_ column: String, _ value: String, of deployment: Int64, _ sqlite: SQLiteConnection) throws {
        try run(
            "UPDATE release_deployments SET \(column) = ?4 WHERE tenant = ?1 AND environment = ?2 AND number = ?3",
            place + [.integer(deployment), .text(value)], sqlite)
    }

    /// The longest text of an event.
    private static let eventBytesMax = 16 * 1024

    private func write(
        _ kind: DeploymentEvent.Kind, _ text: String, _ record: DeploymentRecord, at time: UnixTime,
        _ sqlite: SQLiteConnection
    ) throws {
        let bounded =
            text.utf8.count <= Self.eventBytesMax ? text : String(decoding: text.utf8.prefix(Self.eventBytesMax), as: UTF8.self)
        try run(
            """
            INSERT INTO deployment_events (tenant, environment, deployment, sequence, time, state, kind, text)
            SELECT ?1, ?2, ?3, coalesce(max(sequence), 0) + 1, ?4, ?5, ?6, ?7 FROM deployment_events
            WHERE tenant = ?1 AND environment = ?2 AND deployment = ?3
            """,
            place + [
                .integer(record.number), .integer(time.milliseconds), .text(record.state.rawValue), .text(kind.rawValue),
                .text(bounded),
            ], sqlite)
    }

    /// - Throws: `DeploymentError.locked` when another deployment has it.
    private func take(_ owner: String, _ record: DeploymentRecord, at time: UnixTime, _ sqlite: SQLiteConnection) throws {
        if let other = try lock(sqlite), other.deployment != record.number, let holder = try journaled(other.deployment, sqlite)
        {
            throw DeploymentError.locked(holder.record)
        }
        try run(
            """
            INSERT OR REPLACE INTO deployment_locks (tenant, environment, deployment, owner, heartbeat)
            VALUES (?1, ?2, ?3, ?4, ?5)
            """, place + [.integer(record.number), .text(owner), .integer(time.milliseconds)], sqlite)
    }

    private func write(_ routing: JournalEntry.Routing, _ sqlite: SQLiteConnection) throws {
        try run(
            """
            INSERT INTO release_routing (tenant, environment, generation, active, candidate, percent)
            VALUES (?1, ?2, 1, ?3, ?4, ?5)
            ON CONFLICT (tenant, environment) DO UPDATE SET generation = generation + 1, active = excluded.active,
                candidate = excluded.candidate, percent = excluded.percent
            """,
            place + [
                routing.active.map { .integer($0) } ?? .null, routing.candidate.map { .integer($0) } ?? .null,
                .integer(Int64(routing.percent)),
            ], sqlite)
    }

    private func write(_ coordination: Coordination, of deployment: Int64, _ sqlite: SQLiteConnection) throws {
        try run(
            """
            INSERT OR REPLACE INTO deployment_coordination (tenant, environment, deployment, word, until)
            VALUES (?1, ?2, ?3, ?4, ?5)
            """,
            place + [
                .integer(deployment), .text(coordination.word.rawValue), .integer(coordination.until.milliseconds),
            ], sqlite)
    }

    /// Durable when it returns. Touches nothing else of the deployment, which may be going on.
    ///
    /// - Parameter hasAllWatched: The word is `confirm`; else it stays as it is.
    /// - Returns: whether the node still hears the leader, and may be told this.
    func renewCoordination(until: UnixTime, hasAllWatched: Bool, of deployment: Int64) throws -> Bool {
        try withConnection { sqlite in
            let row = try prepare(
                """
                UPDATE deployment_coordination SET until = ?4, word = CASE ?5 WHEN 1 THEN 'confirm' ELSE word END
                WHERE tenant = ?1 AND environment = ?2 AND deployment = ?3
                    AND CASE ?5 WHEN 1 THEN word IN ('watched', 'confirm') ELSE word <> 'ask' END
                RETURNING 1
                """,
                place + [.integer(deployment), .integer(until.milliseconds), .integer(hasAllWatched ? 1 : 0)], sqlite)
            var isHeard = false
            while try row.step() { isHeard = true }
            return isHeard
        }
    }

    /// The newest that is one of these nodes' deployment.
    func coordinatedDeployment(_ id: String) throws -> DeploymentRecord? {
        try withConnection { sqlite in
            try journaled(
                """
                AND number > (
                    SELECT max(number) - 100 FROM release_deployments WHERE tenant = ?1 AND environment = ?2
                ) AND json_extract(options, '$.coordination.id') = ?3 ORDER BY number DESC LIMIT 1
                """, [.text(id)], sqlite
            ).first?.record
        }
    }

    /// Adds lines to a deployment's history. Durable when it returns.
    func note(_ events: [(kind: DeploymentEvent.Kind, text: String)], _ record: DeploymentRecord, at time: UnixTime) throws {
        try withConnection { sqlite in
            try SecretStore.transaction(sqlite) {
                for event in events { try write(event.kind, event.text, record, at: time, sqlite) }
            }
        }
    }

    /// Says that the node of this boot is still at it.
    func beat(_ owner: String, at time: UnixTime) throws {
        try withConnection { sqlite in
            try run(
                "UPDATE deployment_locks SET heartbeat = ?4 WHERE tenant = ?1 AND environment = ?2 AND owner = ?3",
                place + [.text(owner), .integer(time.milliseconds)], sqlite)
        }
    }

    /// Makes the node of this boot the holder of whatever lock there is; one whose deployment has ended is released.
    func takeOver(_ owner: String, at time: UnixTime) throws {
        try withConnection { sqlite in
            try SecretStore.transaction(sqlite) {
                guard let lock = try lock(sqlite) else { return }
                let isOpen = try journaled(lock.deployment, sqlite).map { !$0.record.state.isEnd } ?? false
                try run(
                    isOpen
                        ? "UPDATE deployment_locks SET owner = ?3, heartbeat = ?4 WHERE tenant = ?1 AND environment = ?2"
                        : "DELETE FROM deployment_locks WHERE tenant = ?1 AND environment = ?2",
                    place + (isOpen ? [.text(owner), .integer(time.milliseconds)] : []), sqlite)
            }
        }
    }

    func setReport(_ report: String, of deployment: Int64) throws {
        try withConnection { sqlite in try set("report", report, of: deployment, sqlite) }
    }

    /// Forgets releases beyond the newest `count`, and their deployments, but for those of `kept` and what serves.
    ///
    /// - Returns: bundles that no release has any more.
    func pruneReleases(keepingNewest count: Int, and kept: Set<Int64>) throws -> [String] {
        try withConnection { sqlite in
            try SecretStore.transaction(sqlite) {
                let rows = try prepare(
                    """
                    SELECT number, bundle FROM releases WHERE tenant = ?1 AND environment = ?2
                    ORDER BY number DESC LIMIT -1 OFFSET ?3
                    """, place + [.integer(Int64(count))], sqlite)
                var old: [(number: Int64, bundle: String)] = []
                while try rows.step() { old.append((rows.integer(0), rows.text(1) ?? "")) }
                let present = try routing(sqlite)
                var kept = kept
                for number in [present?.active, present?.candidate].compactMap({ $0 }) { kept.insert(number) }
                if let lock = try lock(sqlite), let record = try journaled(lock.deployment, sqlite)?.record {
                    kept.formUnion([record.release, record.previous ?? record.release])
                }
                var gone: Set<String> = []
                for (number, bundle) in old where !kept.contains(number) {
                    try forget(release: number, sqlite)
                    if !bundle.isEmpty { gone.insert(bundle) }
                }
                for bundle in gone {
                    let users = try prepare("SELECT 1 FROM releases WHERE bundle = ?1 LIMIT 1", [.text(bundle)], sqlite)
                    if try users.step() { gone.remove(bundle) }
                }
                return gone.sorted()
            }
        }
    }

    private func forget(release number: Int64, _ sqlite: SQLiteConnection) throws {
        let values = place + [.integer(number)]
        try run(
            """
            DELETE FROM deployment_events WHERE tenant = ?1 AND environment = ?2 AND deployment IN (
                SELECT number FROM release_deployments WHERE tenant = ?1 AND environment = ?2 AND release = ?3)
            """, values, sqlite)
        try run(
            """
            DELETE FROM deployment_coordination WHERE tenant = ?1 AND environment = ?2 AND deployment IN (
                SELECT number FROM release_deployments WHERE tenant = ?1 AND environment = ?2 AND release = ?3)
            """, values, sqlite)
        try run(
            "DELETE FROM release_deployments WHERE tenant = ?1 AND environment = ?2 AND release = ?3", values, sqlite)
        try run("DELETE FROM releases WHERE tenant = ?1 AND environment = ?2 AND number = ?3", values, sqlite)
    }

    // MARK: Reading

    func lock() throws -> (deployment: Int64, owner: String, heartbeat: UnixTime)? { try withConnection { try lock($0) } }

    private func lock(_ sqlite: SQLiteConnection) throws -> (deployment: Int64, owner: String, heartbeat: UnixTime)? {
        let row = try prepare(
            "SELECT deployment, owner, heartbeat FROM deployment_locks WHERE tenant = ?1 AND environment = ?2", place, sqlite)
        guard try row.step() else { return nil }
        return (row.integer(0), row.text(1) ?? "", UnixTime(milliseconds: row.integer(2)))
    }

    /// What gets requests; `nil` before the first release.
    func routing() throws -> (generation: Int64, active: Int64?, candidate: Int64?, percent: Int)? {
        try withConnection { try routing($0) }
    }

    private func routing(
        _ sqlite: SQLiteConnection
    ) throws -> (generation: Int64, active: Int64?, candidate: Int64?, percent: Int)? {
        let row = try prepare(
            """
            SELECT generation, coalesce(active, 0), coalesce(candidate, 0), percent FROM release_routing
            WHERE tenant = ?1 AND environment = ?2
            """, place, sqlite)
        guard try row.step() else { return nil }
        func number(_ value: Int64) -> Int64? { value == 0 ? nil : value }
        return (row.integer(0), number(row.integer(1)), number(row.integer(2)), Int(row.integer(3)))
    }

    /// The newest first.
    func deploymentRecords(max: Int) throws -> [DeploymentRecord] {
        try withConnection { sqlite in
            try journaled("ORDER BY number DESC LIMIT ?3", [.integer(Int64(max))], sqlite).map(\.record)
        }
    }

    func journaledDeployment(_ number: Int64) throws -> JournaledDeployment? {
        try withConnection { try journaled(number, $0) }
    }

    /// Those that haven't come to an end, the oldest first.
    func openDeployments() throws -> [JournaledDeployment] {
        try withConnection { sqlite in
            let ends = DeploymentState.allCases.filter(\.isEnd).map { "'\($0.rawValue)'" }.joined(separator: ", ")
            return try journaled("AND state NOT IN (\(ends)) ORDER BY number", [], sqlite)
        }
    }

    /// The newest that brought what serves now.
    func lastActivation() throws -> JournaledDeployment? {
        try withConnection { sqlite in
            let states = DeploymentState.allCases.filter(\.isPastSwitch).map { "'\($0.rawValue)'" }.joined(separator: ", ")
            return try journaled("AND state IN (\(states)) ORDER BY number DESC LIMIT 1", [], sqlite).first
        }
    }

    /// Those at their end whose contract migrations were asked for and haven't run.
    func uncontractedDeployments() throws -> [JournaledDeployment] {
        try withConnection { sqlite in
            try journaled("AND state = 'retired' AND contracted = '[]' AND steps <> '[]' ORDER BY number", [], sqlite).filter {
                $0.record.options.contracts && $0.steps.contains { $0.kind == .contract }
            }
        }
    }

    /// The backups of all deployments since `release` was active last, the oldest first.
    func backups(since release: Int64) throws -> [DatabaseBackup] {
        try withConnection { sqlite in
            try journaled(
                """
                AND number > (SELECT coalesce(max(number), 0) FROM release_deployments
                    WHERE tenant = ?1 AND environment = ?2 AND release = ?3) AND triggered_by <> 'rollback'
                    AND (state IN ('active', 'monitoring', 'draining', 'retired')
                        OR state = 'rolled-back' AND reason LIKE 'after it was active:%') ORDER BY number
                """, [.integer(release)], sqlite
            ).flatMap(\.backups)
        }
    }

    /// Migrations that took something away since `release` was active last.
    func contracted(since release: Int64) throws -> [MigrationStep] {
        try withConnection { sqlite in
            try journaled(
                """
                AND number > (SELECT coalesce(max(number), 0) FROM release_deployments
                    WHERE tenant = ?1 AND environment = ?2 AND release = ?3)
                """, [.integer(release)], sqlite
            ).flatMap(\.contracted)
        }
    }

    private func journaled(_ number: Int64, _ sqlite: SQLiteConnection) throws -> JournaledDeployment? {
        try journaled("AND number = ?3", [.integer(number)], sqlite).first
    }

    private func journaled(_ condition: String, _ values: [Value], _ sqlite: SQLiteConnection) throws -> [JournaledDeployment] {
        let rows = try prepare(
            """
            SELECT number, release, coalesce(previous, 0), triggered_by, author_id, author_email, source, options, created_at,
                state, percent, pause, reason, coalesce(finished_at, 0), steps, backups, contracted,
                (SELECT word || ' ' || until FROM deployment_coordination AS told
                    WHERE told.tenant = ?1 AND told.environment = ?2 AND told.deployment = number)
            FROM release_deployments
            WHERE tenant = ?1 AND environment = ?2 \(condition)
            """, place + values, sqlite)
        var found: [JournaledDeployment] = []
        while try rows.step() {
            guard let state = DeploymentState(rawValue: rows.text(9) ?? ""),
                let trigger = DeploymentRecord.Trigger(rawValue: rows.text(3) ?? "")
            else { throw ReleaseStoreError.missingRow("the state of deployment \(rows.integer(0))") }
            let previous = rows.integer(2)
            var record = DeploymentRecord(
                number: rows.integer(0), release: rows.integer(1), previous: previous == 0 ? nil : previous, trigger: trigger,
                author: ScriptAuthor(id: rows.text(4) ?? "", email: rows.text(5) ?? "", source: rows.text(6) ?? ""),
                options: try Self.value(rows.text(7), DeploymentOptions.self),
                createdAt: UnixTime(milliseconds: rows.integer(8)), state: state)
            record.percent = Int(rows.integer(10))
            record.pause = rows.text(11)
            record.reason = rows.text(12)
            let finished = rows.integer(13)
            record.finishedAt = finished == 0 ? nil : UnixTime(milliseconds: finished)
            record.coordination = rows.text(17).flatMap(Coordination.init(row:))
            found.append(
                JournaledDeployment(
                    record: record, steps: try Self.value(rows.text(14), [MigrationStep].self),
                    backups: try Self.value(rows.text(15), [DatabaseBackup].self),
                    contracted: try Self.value(rows.text(16), [MigrationStep].self)))
        }
        return found
    }

    func deploymentEvents(of deployment: Int64, after sequence: Int64) throws -> [DeploymentEvent] {
        try withConnection { sqlite in
            let rows = try prepare(
                """
                SELECT sequence, time, state, kind, text FROM deployment_events
                WHERE tenant = ?1 AND environment = ?2 AND deployment = ?3 AND sequence > ?4 ORDER BY sequence LIMIT 1000
                """, place + [.integer(deployment), .integer(sequence)], sqlite)
            var events: [DeploymentEvent] = []
            while try rows.step() {
                events.append(
                    DeploymentEvent(
                        sequence: rows.integer(0), time: UnixTime(milliseconds: rows.integer(1)),
                        state: DeploymentState(rawValue: rows.text(2) ?? "") ?? .created,
                        kind: DeploymentEvent.Kind(rawValue: rows.text(3) ?? "") ?? .note, text: rows.text(4) ?? ""))
            }
            return events
        }
    }

    func report(of deployment: Int64) throws -> String? {
        try withConnection { sqlite in
            let row = try prepare(
                "SELECT report FROM release_deployments WHERE tenant = ?1 AND environment = ?2 AND number = ?3",
                place + [.integer(deployment)], sqlite)
            return try row.step() ? row.text(0) : nil
        }
    }

    /// The newest first.
    func releaseRecords(max: Int) throws -> [ReleaseRecord] {
        try withConnection { sqlite in
            try releases("ORDER BY number DESC LIMIT ?3", [.integer(Int64(max))], sqlite).map(\.record)
        }
    }

    func release(_ number: Int64) throws -> (record: ReleaseRecord, content: ReleaseContent)? {
        try withConnection { sqlite in try releases("AND number = ?3", [.integer(number)], sqlite).first }
    }

    /// Versions that some release has, of any environment.
    func versionsOfReleases(_ worker: String, _ sqlite: SQLiteConnection) throws -> Set<String> {
        let rows = try prepare("SELECT content FROM releases WHERE tenant = ?1", [.text(tenant)], sqlite)
        var versions: Set<String> = []
        while try rows.step() {
            let content = try Self.value(rows.text(0), ReleaseContent.self)
            for share in content.workers[worker]?.shares ?? [] { versions.insert(share.versionID) }
        }
        return versions
    }

    /// Bundles that releases of any tenant were made from.
    package func bundlesInUse() throws -> Set<String> {
        try withConnection { sqlite in
            let rows = try sqlite.prepare("SELECT DISTINCT bundle FROM releases WHERE bundle <> ''")
            var bundles: Set<String> = []
            while try rows.step() { bundles.insert(rows.text(0) ?? "") }
            return bundles
        }
    }

    private func releases(
        _ condition: String, _ values: [Value], _ sqlite: SQLiteConnection
    ) throws -> [(record: ReleaseRecord, content: ReleaseContent)] {
        let rows = try prepare(
            """
            SELECT number, bundle, content, created_at, author_id, author_email, source, message, tag, revision FROM releases
            WHERE tenant = ?1 AND environment = ?2 \(condition)
            """, place + values, sqlite)
        var found: [(record: ReleaseRecord, content: ReleaseContent)] = []
        while try rows.step() {
            let content = try Self.value(rows.text(2), ReleaseContent.self)
            found.append(
                (
                    ReleaseRecord(
                        number: rows.integer(0), bundle: rows.text(1) ?? "", versions: content.versions,
                        createdAt: UnixTime(milliseconds: rows.integer(3)),
                        author: ScriptAuthor(id: rows.text(4) ?? "", email: rows.text(5) ?? "", source: rows.text(6) ?? ""),
                        message: rows.text(7) ?? "", tag: rows.text(8) ?? "", revision: rows.text(9) ?? ""), content
                ))
        }
        return found
    }
}

extension Coordination {
    /// - Parameter row: the word and the time in milliseconds, with a space between.
    fileprivate init?(row: String) {
        let parts = row.split(separator: " ")
        guard parts.count == 2, let word = Word(rawValue: String(parts[0])), let until = Int64(parts[1]) else { return nil }
        self.init(word: word, until: UnixTime(milliseconds: until))
    }
}
