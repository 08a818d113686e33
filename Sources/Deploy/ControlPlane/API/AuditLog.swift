internal import SQLite
internal import Synchronization
package import System

/// What was changed over the API: who, what, from where, when, and how it ended. Rows are only ever added: triggers refuse
/// everything else. Blocks.
package final class AuditLog: Sendable {
    package struct Entry: Equatable, Sendable {
        package var number: Int64 = 0
        package let time: UnixTime
        package let tokenID: String
        package let tokenName: String
        package let tenant: String?
        package let operation: String
        package let method: String
        package let path: String
        package let client: String
        package let status: Int
        /// Of the first error.
        package let code: Int?
    }

    /// SQLite's connections are used by one thread at a time; the lock sees to that.
    private struct Connection: @unchecked Sendable {
        let sqlite: SQLiteConnection
    }

    private let connection: Mutex<Connection>

    package init(database: String) throws {
        let sqlite = try SQLiteConnection(path: database, .create)
        try sqlite.execute(
            """
            PRAGMA journal_mode = WAL;
            PRAGMA synchronous = FULL;
            PRAGMA busy_timeout = 5000;
            CREATE TABLE IF NOT EXISTS audit_log (
                number INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, token_id TEXT NOT NULL,
                token_name TEXT NOT NULL, tenant TEXT, operation TEXT NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL,
                client TEXT NOT NULL, status INTEGER NOT NULL, code INTEGER
            );
            CREATE TRIGGER IF NOT EXISTS audit_log_stays BEFORE UPDATE ON audit_log
                BEGIN SELECT raise(ABORT, 'the audit log only grows'); END;
            CREATE TRIGGER IF NOT EXISTS audit_log_keeps BEFORE DELETE ON audit_log
                BEGIN SELECT raise(ABORT, 'the audit log only grows'); END;
            """)
        connection = Mutex(Connection(sqlite: sqlite))
    }

    /// Durable when it returns.
    package func append(_ entry: Entry) throws {
        try connection.withLock { connection in
            let statement = try connection.sqlite.prepare(
                """
                INSERT INTO audit_log (time, token_id, token_name, tenant, operation, method, path, client, status, code)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                """)
            try statement.bind(entry.time.milliseconds, at: 1)
            try statement.bind(entry.tokenID, at: 2)
            try statement.bind(entry.tokenName, at: 3)
            if let tenant = entry.tenant { try statement.bind(tenant, at: 4) } else { try statement.bindNull(at: 4) }
            try statement.bind(entry.operation, at: 5)
            try statement.bind(entry.method, at: 6)
            try statement.bind(entry.path, at: 7)
            try statement.bind(entry.client, at: 8)
            try statement.bind(Int64(entry.status), at: 9)
            if let code = entry.code { try statement.bind(Int64(code), at: 10) } else { try statement.bindNull(at: 10) }
            _ = try statement.step()
        }
    }

    /// The newest first.
    ///
    /// - Parameters:
    ///   - tenant: Whose; `nil` for all.
    ///   - before: Entries older than this number; `nil` from the newest on.
    package func list(tenant: String?, before: Int64?, countMax: Int) throws -> [Entry] {
        try connection.withLock { connection in
            let statement = try connection.sqlite.prepare(
                """
                SELECT number, time, token_id, token_name, tenant, operation, method, path, client, status, code
                FROM audit_log WHERE (?1 IS NULL OR tenant = ?1) AND number < ?2 ORDER BY number DESC LIMIT ?3
                """)
            if let tenant { try statement.bind(tenant, at: 1) } else { try statement.bindNull(at: 1) }
            try statement.bind(before ?? .max, at: 2)
            try statement.bind(Int64(countMax), at: 3)
            var entries: [Entry] = []
            while try statement.step() {
                entries.append(
                    Entry(
                        number: statement.integer(0), time: UnixTime(milliseconds: statement.integer(1)),
                        tokenID: statement.text(2) ?? "", tokenName: statement.text(3) ?? "", tenant: statement.text(4),
                        operation: statement.text(5) ?? "", method: statement.text(6) ?? "", path: statement.text(7) ?? "",
                        client: statement.text(8) ?? "", status: Int(statement.integer(9)),
                        code: statement.columnKind(10) == .null ? nil : Int(statement.integer(10))))
            }
            return entries
        }
    }
}
