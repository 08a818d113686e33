internal import SQLite
internal import Synchronization
package import System

/// The tenants that were made over the API, in `control.sqlite`: those of configuration files aren't here. Blocks.
package final class TenantCatalog: Sendable {
    package struct Entry: Equatable, Sendable {
        package let name: String
        package let createdAt: UnixTime
        package var settings: TenantSettings
        /// Its removal was begun: nothing of it is to be found any more.
        package let isLeaving: Bool
    }

    /// SQLite's connections are used by one thread at a time; the lock sees to that.
    private struct Connection: @unchecked Sendable {
        let sqlite: SQLiteConnection
    }
    private let connection: Mutex<Connection>

    package init(database: String) throws {
        let sqlite = try SQLiteConnection(path: database, .create)
        sqlite.setBusyTimeout(milliseconds: 10_000)
        try sqlite.execute(
            """
            PRAGMA journal_mode = WAL;
            PRAGMA synchronous = FULL;
            CREATE TABLE IF NOT EXISTS tenants (
                name TEXT NOT NULL PRIMARY KEY, created_at INTEGER NOT NULL, settings TEXT NOT NULL,
                is_leaving INTEGER NOT NULL DEFAULT 0
            ) WITHOUT ROWID;
            """)
        connection = Mutex(Connection(sqlite: sqlite))
    }

    package func all() throws -> [Entry] {
        try connection.withLock { connection in
            let statement = try connection.sqlite.prepare(
                "SELECT name, created_at, settings, is_leaving FROM tenants ORDER BY name")
            var entries: [Entry] = []
            while try statement.step() {
                entries.append(
                    Entry(
                        name: statement.text(0) ?? "", createdAt: UnixTime(milliseconds: statement.integer(1)),
                        settings: try TenantSettings(json: statement.text(2) ?? ""), isLeaving: statement.integer(3) != 0))
            }
            return entries
        }
    }

    /// What is wrong with the database that it lies in; empty when nothing is.
    func problems() throws -> [String] {
        try connection.withLock { connection in
            let statement = try connection.sqlite.prepare("PRAGMA quick_check(100)")
            var problems: [String] = []
            do throws(SQLiteError) {
                while try statement.step() { if let text = statement.text(0), text != "ok" { problems.append(text) } }
            } catch {
                // So damaged that the library can't go on looking.
                guard error.isDamage else { throw error }
                problems.append("the check ended: \(error)")
            }
            return problems
        }
    }

    /// Durable when it returns, as are the others.
    func insert(_ name: String, _ settings: TenantSettings, at time: UnixTime) throws {
        try run("INSERT INTO tenants (name, settings, created_at) VALUES (?1, ?2, ?3)", name, settings.json, time.milliseconds)
    }

    func update(_ name: String, _ settings: TenantSettings) throws {
        try run("UPDATE tenants SET settings = ?2 WHERE name = ?1", name, settings.json)
    }

    func markLeaving(_ name: String) throws { try run("UPDATE tenants SET is_leaving = 1 WHERE name = ?1", name) }

    private static let tables = [
        "tenant_secrets", "scripts", "script_versions", "script_deployments", "script_triggers", "account_settings",
        "active_releases", "releases", "release_deployments", "deployment_events", "deployment_locks", "release_routing",
        "tenants",
    ]

    /// Removes the tenant, its secrets and what was deployed for it.
    func remove(_ name: String) throws {
        try connection.withLock { connection in
            let sqlite = connection.sqlite
            try SecretStore.transaction(sqlite) {
                for table in Self.tables {
                    let known = try sqlite.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1")
                    try known.bind(table, at: 1)
                    guard try known.step() else { continue }
                    let column = table == "tenants" ? "name" : "tenant"
                    let statement = try sqlite.prepare("DELETE FROM \(table) WHERE \(column) = ?1")
                    try statement.bind(name, at: 1)
                    _ = try statement.step()
                }
            }
        }
    }

    private func run(_ sql: String, _ name: String, _ text: String? = nil, _ number: Int64? = nil) throws {
        try connection.withLock { connection in
            let statement = try connection.sqlite.prepare(sql)
            try statement.bind(name, at: 1)
            if let text { try statement.bind(text, at: 2) }
            if let number { try statement.bind(number, at: 3) }
            _ = try statement.step()
        }
    }
}
