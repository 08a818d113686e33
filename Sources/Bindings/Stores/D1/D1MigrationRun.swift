/// Migrations that are one transaction.
package struct D1MigrationRun: Sendable {
    /// In the order in which they are run. Those that are in the table already are left out.
    package var files: [D1Migration]
    /// Where the names of applied ones are kept; their digests are beside it.
    package var table: String
    /// How long the writer is waited for.
    package var lockTimeout: Duration
    /// How long they may take.
    package var duration: Duration
    /// How long writes wait behind them before they are told to try again.
    package var writeTimeout: Duration

    package init(
        _ files: [D1Migration], table: String = "d1_migrations", lockTimeout: Duration = .seconds(5),
        duration: Duration = .seconds(600), writeTimeout: Duration = .seconds(5)
    ) {
        self.files = files
        self.table = table
        self.lockTimeout = lockTimeout
        self.duration = duration
        self.writeTimeout = writeTimeout
    }
}

/// What a run did.
package struct D1Migrated: Equatable, Sendable {
    /// The names of those that were applied now.
    package let applied: [String]
    /// The states before and after.
    package let previousBookmark: String
    package let bookmark: String
    package let duration: Duration
}

/// Why nothing of a run was kept.
package struct D1MigrationFailure: Error, Equatable, Sendable, CustomStringConvertible {
    /// What is at fault, from line and column 1; `nil`: no file is.
    package let place: Place?
    package let reason: String

    package struct Place: Equatable, Sendable {
        package let file: String
        package let line: Int
        package let column: Int
    }

    package init(_ reason: String, at place: Place? = nil) {
        self.reason = reason
        self.place = place
    }

    package var description: String { place.map { "\($0.file):\($0.line):\($0.column): \(reason)" } ?? reason }
}

/// The tables in which migrations are kept.
struct D1MigrationTables {
    /// As wrangler has it.
    let names: String
    /// Beside it, so that it keeps its columns.
    let digests: String
    /// Each deployment's commit, by the bookmark of the state before it: one name for all of a database, so that whoever counts
    /// what was written since a bookmark needs no more than the database.
    static let runs = "d1_migrations_runs"
    /// Runs that are remembered.
    static let runsMax = 1000

    init(_ table: String) {
        names = table
        digests = table + "_digests"
    }

    var creation: String {
        """
        CREATE TABLE IF NOT EXISTS \(SQLText.quoted(identifier: names))(id INTEGER PRIMARY KEY AUTOINCREMENT, \
        name TEXT UNIQUE, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL);
        CREATE TABLE IF NOT EXISTS \(SQLText.quoted(identifier: digests))(name TEXT PRIMARY KEY, digest TEXT NOT NULL);
        """
    }

    func record(_ migration: D1Migration) -> String {
        "INSERT INTO \(SQLText.quoted(identifier: names)) (name) values (\(SQLText.quoted(text: migration.name)));"
            + recordDigest(migration)
    }

    func recordDigest(_ migration: D1Migration) -> String {
        guard let digest = migration.digest else { return "" }
        return "INSERT OR REPLACE INTO \(SQLText.quoted(identifier: digests)) (name, digest) values "
            + "(\(SQLText.quoted(text: migration.name)), \(SQLText.quoted(text: digest)));"
    }

    static func recordRun(after bookmark: D1Bookmark) -> String {
        """
        CREATE TABLE IF NOT EXISTS \(runs)(id INTEGER PRIMARY KEY, previous_bookmark TEXT NOT NULL);
        INSERT INTO \(runs)(previous_bookmark) VALUES ('\(bookmark)');
        DELETE FROM \(runs) WHERE id <= (SELECT max(id) FROM \(runs)) - \(runsMax);
        """
    }
}
