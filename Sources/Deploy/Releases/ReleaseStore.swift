internal import FoundationEssentials
internal import SQLite
internal import Synchronization
package import System

/// Which versions of a tenant's workers there are, which of them serve, and what brings them events: in `control.sqlite`,
/// which all tenants of an environment share. What a node serves follows from the rows, and each change is one transaction
/// that is durable before it has any effect. Blocks; safe on any thread.
///
///     scripts            a row per worker: its settings, and what the configuration last said of it
///     script_versions    immutable; the newest 100 of a worker can be deployed, and those that are
///     script_deployments history; a worker's newest one counts
///     script_triggers    routes, domains, crons
///     account_settings   what holds for all of a tenant's workers
///     active_releases    per tenant and environment: its generation, and the deployment of each worker that serves
package final class ReleaseStore: Sendable {
    let tenant: String
    let environment: String
    private let connection: Mutex<Connection>

    /// SQLite's connections are used by one thread at a time; the lock sees to that.
    struct Connection: @unchecked Sendable {
        let sqlite: SQLiteConnection
    }

    /// So many of a worker's versions can be deployed.
    package static let deployableMax: Int64 = 100
    /// So many of them that the configuration made: executables are large, and nobody goes back far while developing.
    var configuredMax: Int64 { environment == "dev" ? 5 : Self.deployableMax }

    package init(database: String, tenant: String, environment: String) throws {
        self.tenant = tenant
        self.environment = environment
        let sqlite = try SQLiteConnection(path: database, .create)
        sqlite.setBusyTimeout(milliseconds: 10_000)
        try sqlite.execute(
            """
            PRAGMA journal_mode = WAL;
            PRAGMA synchronous = FULL;
            CREATE TABLE IF NOT EXISTS scripts (
                tenant TEXT NOT NULL, worker TEXT NOT NULL, created_at INTEGER NOT NULL, modified_at INTEGER NOT NULL,
                is_deleted INTEGER NOT NULL, configured_version TEXT, configured_triggers TEXT, next_number INTEGER NOT NULL,
                settings TEXT NOT NULL, has_default_host INTEGER NOT NULL, has_previews INTEGER NOT NULL,
                PRIMARY KEY (tenant, worker)
            ) WITHOUT ROWID;
            CREATE TABLE IF NOT EXISTS script_versions (
                tenant TEXT NOT NULL, worker TEXT NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL UNIQUE,
                artifact TEXT NOT NULL, snapshot TEXT NOT NULL, fingerprint TEXT NOT NULL, annotations TEXT NOT NULL,
                author_id TEXT NOT NULL, author_email TEXT NOT NULL, source TEXT NOT NULL, created_at INTEGER NOT NULL,
                handlers TEXT NOT NULL, startup_milliseconds INTEGER NOT NULL,
                PRIMARY KEY (tenant, worker, number)
            ) WITHOUT ROWID;
            CREATE TABLE IF NOT EXISTS script_deployments (
                number INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL, worker TEXT NOT NULL, id TEXT NOT NULL UNIQUE,
                created_at INTEGER NOT NULL, shares TEXT NOT NULL, annotations TEXT NOT NULL,
                author_id TEXT NOT NULL, author_email TEXT NOT NULL, source TEXT NOT NULL
            );
            CREATE INDEX IF NOT EXISTS script_deployments_by_worker ON script_deployments (tenant, worker, number);
            CREATE TABLE IF NOT EXISTS script_triggers (
                tenant TEXT NOT NULL, position INTEGER NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL, worker TEXT,
                value TEXT NOT NULL, created_at INTEGER NOT NULL, modified_at INTEGER NOT NULL,
                PRIMARY KEY (tenant, position)
            ) WITHOUT ROWID;
            CREATE TABLE IF NOT EXISTS account_settings (
                tenant TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (tenant, name)
            ) WITHOUT ROWID;
            CREATE TABLE IF NOT EXISTS active_releases (
                tenant TEXT NOT NULL, environment TEXT NOT NULL, generation INTEGER NOT NULL, deployments TEXT NOT NULL,
                modified_at INTEGER NOT NULL, PRIMARY KEY (tenant, environment)
            ) WITHOUT ROWID;
            """ + Self.deploymentTables)
        try sqlite.execute(Self.aliasTable + Self.objectTables)
        connection = Mutex(Connection(sqlite: sqlite))
    }

    /// What a tenant's node starts from.
    package struct Stored: Sendable {
        package var scripts: [String: ScriptRecord] = [:]
        /// Of the workers that serve.
        package var live: [String: LiveScript] = [:]
        package var triggers: [ScriptTrigger] = []
        package var account: [String: String] = [:]
        package var generation: Int64 = 0
        /// Namespaces of durable objects that are in service.
        package var objects = ObjectCatalog()
        /// Those that a rollback took out of service.
        var suspendedNamespaces: [ObjectCatalog.Namespace] = []
        /// Of all namespaces, whether in service or not: 32 bytes each, by id.
        var objectKeys: [String: [UInt8]] = [:]

        package init() {}
    }

    /// A worker that serves.
    package struct LiveScript: Equatable, Sendable {
        package var deployment: ScriptDeployment
        /// Those of the deployment, the oldest first.
        package var versions: [ScriptVersion]

        /// The one with the largest share; of equal ones the oldest.
        package var primary: ScriptVersion? {
            var best: (version: ScriptVersion, share: Int)?
            for version in versions {
                let share = deployment.shares.first { $0.versionID == version.id }?.basisPoints ?? 0
                if share > best?.share ?? -1 { best = (version, share) }
            }
            return best?.version
        }
    }

    /// What changes in one transaction. What is `nil` or empty stays.
    package struct Change: Sendable {
        package var scripts: [ScriptRecord] = []
        /// Their versions and deployments go.
        package var forgotten: [String] = []
        package var versions: [ScriptVersion] = []
        package var deployments: [ScriptDeployment] = []
        /// Names of versions, which may have been others' before.
        package var aliases: [VersionAlias] = []
        /// All of the tenant's.
        package var triggers: [ScriptTrigger]?
        package var account: [String: String] = [:]
        /// Worker → deployment, of all that serve from now on.
        package var active: [String: String]?
        /// What goes into the journal with it.
        var journal: [JournalEntry] = []
        /// Namespaces that are made; they come into service with `objects`.
        var namespaces: [NewNamespace] = []
        /// What holds from now on.
        var objects: ObjectCatalog?
        /// What becomes of namespaces that `objects` hasn't any more.
        var objectRemoval = NamespaceRemoval.delete

        package init() {}
    }

    func withConnection<Result>(_ body: (SQLiteConnection) throws -> Result) throws -> Result {
        try connection.withLock { try body($0.sqlite) }
    }

    /// Makes a change, all of it or nothing. Durable when it returns.
    package func commit(_ change: Change, at time: UnixTime) throws {
        try withConnection { sqlite in
            try SecretStore.transaction(sqlite) {
                for worker in change.forgotten { try forget(worker, sqlite) }
                for script in change.scripts { try write(script, sqlite) }
                for version in change.versions { try write(version, sqlite) }
                for deployment in change.deployments { try write(deployment, sqlite) }
                for alias in change.aliases { try write(alias, sqlite) }
                if let triggers = change.triggers { try write(triggers, sqlite) }
                for (name, value) in change.account {
                    try run(
                        "INSERT OR REPLACE INTO account_settings (tenant, name, value) VALUES (?1, ?2, ?3)",
                        [.text(tenant), .text(name), .text(value)], sqlite)
                }
                if let active = change.active { try write(active, at: time, sqlite) }
                try write(change.namespaces, at: time, sqlite)
                if let objects = change.objects {
                    try write(objects, removing: change.objectRemoval, at: time, sqlite)
                }
                for entry in change.journal { try write(entry, at: time, sqlite) }
            }
        }
    }

    private func forget(_ worker: String, _ sqlite: SQLiteConnection) throws {
        for table in ["script_versions", "script_deployments", "version_aliases"] {
            try run("DELETE FROM \(table) WHERE tenant = ?1 AND worker = ?2", [.text(tenant), .text(worker)], sqlite)
        }
    }

    private func write(_ active: [String: String], at time: UnixTime, _ sqlite: SQLiteConnection) throws {
        try run(
            """
            INSERT INTO active_releases (tenant, environment, generation, deployments, modified_at) VALUES (?1, ?2, 1, ?3, ?4)
            ON CONFLICT (tenant, environment) DO UPDATE
            SET generation = generation + 1, deployments = excluded.deployments, modified_at = excluded.modified_at
            """,
            [.text(tenant), .text(environment), .text(try Self.text(active)), .integer(time.milliseconds)], sqlite)
    }

    private func write(_ triggers: [ScriptTrigger], _ sqlite: SQLiteConnection) throws {
        try run("DELETE FROM script_triggers WHERE tenant = ?1", [.text(tenant)], sqlite)
        for (position, trigger) in triggers.enumerated() {
            try run(
                """
                INSERT INTO script_triggers (tenant, position, id, kind, worker, value, created_at, modified_at)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                """,
                [
                    .text(tenant), .integer(Int64(position)), .text(trigger.id), .text(trigger.kind.rawValue),
                    trigger.worker.map { .text($0) } ?? .null, .text(trigger.value),
                    .integer(trigger.createdAt.milliseconds), .integer(trigger.modifiedAt.milliseconds),
                ], sqlite)
        }
    }

    private func write(_ script: ScriptRecord, _ sqlite: SQLiteConnection) throws {
        try run(
            """
            INSERT OR REPLACE INTO scripts (tenant, worker, created_at, modified_at, is_deleted, configured_version,
                configured_triggers, next_number, settings, has_default_host, has_previews)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
            """,
            [
                .text(tenant), .text(script.worker), .integer(script.createdAt.milliseconds),
                .integer(script.modifiedAt.milliseconds), .integer(script.isDeleted ? 1 : 0),
                script.configuredVersion.map { .text($0) } ?? .null, script.configuredTriggers.map { .text($0) } ?? .null,
                .integer(script.nextNumber), .text(script.settings), .integer(script.hasDefaultHost ? 1 : 0),
                .integer(script.hasPreviews ? 1 : 2),
            ], sqlite)
    }

    // MARK: Statements

    enum Value {
        case text(String)
        case integer(Int64)
        case null
    }

    func prepare(_ sql: String, _ values: [Value], _ sqlite: SQLiteConnection) throws -> SQLiteStatement {
        let statement = try sqlite.prepare(sql)
        for (index, value) in values.enumerated() {
            switch value {
            case .text(let text): try statement.bind(text, at: index + 1)
            case .integer(let integer): try statement.bind(integer, at: index + 1)
            case .null: try statement.bindNull(at: index + 1)
            }
        }
        return statement
    }

    func run(_ sql: String, _ values: [Value], _ sqlite: SQLiteConnection) throws {
        let statement = try prepare(sql, values, sqlite)
        while try statement.step() {}
    }

    static func text(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    static func value<Value: Decodable>(_ text: String?, _ type: Value.Type) throws -> Value {
        try JSONDecoder().decode(type, from: Data((text ?? "").utf8))
    }
}
