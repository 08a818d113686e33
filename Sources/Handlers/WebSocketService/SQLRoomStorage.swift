import Collaboration
import DurableObjects
import Platform

/// A room's storage in its object's database. All that one event writes is one transaction, which the object's turn commits.
final class SQLRoomStorage: RoomStorage {
    /// Clients whose last sequence is known; longer than any page keeps changes.
    private static let clientsMax = 50_000
    private static let clientAgeMax: Int64 = 90 * Timestamp.dayMilliseconds

    private let sql: SQLStorage

    init(_ sql: SQLStorage) { self.sql = sql }

    /// Whether the object is a room already; else it has written nothing, however often somebody asks for it.
    var isPrepared: Bool {
        get throws { try sql.exec("SELECT 1 FROM sqlite_schema WHERE name = 'room'").next() != nil }
    }

    func prepare() throws {
        try sql.exec(
            """
            CREATE TABLE room (
                id TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, access TEXT NOT NULL, created_by TEXT NOT NULL,
                created_at INTEGER NOT NULL
            ) STRICT;
            CREATE TABLE snapshot (one INTEGER PRIMARY KEY CHECK (one = 1), revision INTEGER NOT NULL, text TEXT NOT NULL) STRICT;
            CREATE TABLE log (
                revision INTEGER PRIMARY KEY, operation TEXT NOT NULL, byte_count INTEGER NOT NULL, author TEXT NOT NULL,
                client TEXT NOT NULL, sequence INTEGER NOT NULL, at INTEGER NOT NULL
            ) STRICT;
            CREATE TABLE clients (
                author TEXT NOT NULL, client TEXT NOT NULL, sequence INTEGER NOT NULL, revision INTEGER NOT NULL,
                at INTEGER NOT NULL, PRIMARY KEY (author, client)
            ) STRICT, WITHOUT ROWID;
            CREATE INDEX clients_by_revision ON clients (revision);
            CREATE TABLE standings (
                user TEXT NOT NULL PRIMARY KEY, role TEXT, kicked_until INTEGER NOT NULL, muted_until INTEGER NOT NULL
            ) STRICT, WITHOUT ROWID;
            CREATE TABLE people (name TEXT NOT NULL COLLATE NOCASE PRIMARY KEY, user TEXT NOT NULL) STRICT, WITHOUT ROWID;
            CREATE TABLE chat (
                number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, user TEXT NOT NULL, name TEXT NOT NULL,
                text TEXT NOT NULL, at INTEGER NOT NULL, UNIQUE (user, id)
            ) STRICT;
            CREATE TABLE topics (
                name TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL, data TEXT NOT NULL, at INTEGER NOT NULL
            ) STRICT, WITHOUT ROWID;
            CREATE TABLE outbox (id TEXT NOT NULL PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID
            """)
    }

    // MARK: The document

    func snapshot() throws -> (revision: Int, text: String) {
        guard let row = try sql.exec("SELECT revision, text FROM snapshot").next() else { return (0, "") }
        return (Int(row[0].integer ?? 0), row[1].text ?? "")
    }

    func save(snapshot: (revision: Int, text: String)) throws {
        try sql.exec(
            "INSERT OR REPLACE INTO snapshot (one, revision, text) VALUES (1, ?1, ?2)", .integer(Int64(snapshot.revision)),
            .text(snapshot.text))
    }

    func entries(after revision: Int) throws -> [LogEntry] {
        try sql.exec(
            "SELECT revision, operation, author, client, sequence, at FROM log WHERE revision > ?1 ORDER BY revision",
            .integer(Int64(revision))
        ).toArray().map { row in
            LogEntry(
                revision: Int(row[0].integer ?? 0),
                operation: try decodingJSON(TextOperation.self, from: Array((row[1].text ?? "").utf8)),
                author: row[2].text ?? "", client: row[3].text ?? "", sequence: Int(row[4].integer ?? 0),
                time: row[5].integer ?? 0)
        }
    }

    func append(_ entry: LogEntry) throws {
        let operation = try JSONText.of(entry.operation)
        try sql.exec(
            """
            INSERT INTO log (revision, operation, byte_count, author, client, sequence, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
            """, .integer(Int64(entry.revision)), .text(operation), .integer(Int64(operation.utf8.count)),
            .text(entry.author), .text(entry.client), .integer(Int64(entry.sequence)), .integer(entry.time))
        try sql.exec(
            "INSERT OR REPLACE INTO clients (author, client, sequence, revision, at) VALUES (?1, ?2, ?3, ?4, ?5)",
            .text(entry.author), .text(entry.client), .integer(Int64(entry.sequence)), .integer(Int64(entry.revision)),
            .integer(entry.time))
    }

    func oldestRevision() throws -> Int? {
        try sql.exec("SELECT min(revision) FROM log").next().flatMap { $0[0].integer }.map { Int($0) - 1 }
    }

    func dropEntries(keeping count: Int, byteCount: Int, at now: Int64) throws {
        try sql.exec(
            """
            DELETE FROM log WHERE revision <= (SELECT revision FROM snapshot) AND revision <= coalesce((
                SELECT max(revision) FROM (
                    SELECT revision, row_number() OVER newest AS place, sum(byte_count) OVER newest AS total
                    FROM log WINDOW newest AS (ORDER BY revision DESC)
                ) WHERE place > ?1 OR total > ?2), 0)
            """, .integer(Int64(count)), .integer(Int64(byteCount)))
        try sql.exec(
            """
            DELETE FROM clients WHERE at < ?1 OR revision <= coalesce((
                SELECT revision FROM clients ORDER BY revision DESC LIMIT 1 OFFSET ?2), 0)
            """, .integer(now - Self.clientAgeMax), .integer(Int64(Self.clientsMax)))
    }

    func lastSubmission(author: String, client: String) throws -> (sequence: Int, revision: Int)? {
        let row = try sql.exec(
            "SELECT sequence, revision FROM clients WHERE author = ?1 AND client = ?2", .text(author), .text(client)
        ).next()
        return row.map { (Int($0[0].integer ?? 0), Int($0[1].integer ?? 0)) }
    }

    // MARK: The room and its people

    func settings() throws -> RoomSettings? {
        guard let row = try sql.exec("SELECT id, name, access, created_by, created_at FROM room").next() else { return nil }
        return RoomSettings(
            id: row[0].text ?? "", name: row[1].text ?? "", access: row[2].text.flatMap(RoomRole.init) ?? .none,
            createdBy: row[3].text ?? "", createdAt: row[4].integer ?? 0)
    }

    func save(_ settings: RoomSettings) throws {
        try sql.exec(
            "INSERT OR REPLACE INTO room (id, name, access, created_by, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            .text(settings.id), .text(settings.name), .text(settings.access.rawValue), .text(settings.createdBy),
            .integer(settings.createdAt))
    }

    func standing(of user: String) throws -> Standing? {
        let row = try sql.exec("SELECT role, kicked_until, muted_until FROM standings WHERE user = ?1", .text(user)).next()
        return row.map { row in
            Standing(
                role: row[0].text.flatMap(RoomRole.init), kickedUntil: row[1].integer ?? 0, mutedUntil: row[2].integer ?? 0)
        }
    }

    func save(_ standing: Standing, of user: String) throws {
        try sql.exec(
            "INSERT OR REPLACE INTO standings (user, role, kicked_until, muted_until) VALUES (?1, ?2, ?3, ?4)", .text(user),
            standing.role.map { .text($0.rawValue) } ?? .null, .integer(standing.kickedUntil), .integer(standing.mutedUntil))
    }

    func user(named name: String) throws -> String? {
        try sql.exec("SELECT user FROM people WHERE name = ?1", .text(name)).next()?[0].text
    }

    func remember(name: String, of user: String) throws {
        // Written once for each name: most who come have been here.
        guard try self.user(named: name) != user else { return }
        try sql.exec("INSERT OR REPLACE INTO people (name, user) VALUES (?1, ?2)", .text(name), .text(user))
    }

    // MARK: The conversation

    private static let chatColumns = "number, id, user, name, text, at"

    private func message(_ row: SQLRow) -> ChatMessage {
        ChatMessage(
            number: row[0].integer ?? 0,
            ChatDraft(
                id: row[1].text ?? "", user: row[2].text ?? "", name: row[3].text ?? "", text: row[4].text ?? "",
                at: row[5].integer ?? 0))
    }

    func append(_ draft: ChatDraft, keeping count: Int) throws -> (message: ChatMessage, isNew: Bool) {
        let known = try sql.exec(
            "SELECT \(Self.chatColumns) FROM chat WHERE user = ?1 AND id = ?2", .text(draft.user), .text(draft.id)
        ).next()
        if let known { return (message(known), false) }
        let row = try sql.exec(
            "INSERT INTO chat (id, user, name, text, at) VALUES (?1, ?2, ?3, ?4, ?5) RETURNING number", .text(draft.id),
            .text(draft.user), .text(draft.name), .text(draft.text), .integer(draft.at)
        ).one()
        let number = row[0].integer ?? 0
        try sql.exec("DELETE FROM chat WHERE number <= ?1", .integer(number - Int64(count)))
        return (ChatMessage(number: number, draft), true)
    }

    func messages(before number: Int64?, limit: Int) throws -> [ChatMessage] {
        try sql.exec(
            "SELECT \(Self.chatColumns) FROM chat WHERE number < ?1 ORDER BY number DESC LIMIT ?2", .integer(number ?? .max),
            .integer(Int64(limit))
        ).toArray().reversed().map(message)
    }

    // MARK: Live data

    func topic(_ name: String) throws -> TopicValue? {
        let row = try sql.exec("SELECT version, data, at FROM topics WHERE name = ?1", .text(name)).next()
        return row.map {
            TopicValue(name: name, version: $0[0].integer ?? 0, data: $0[1].text ?? "null", at: $0[2].integer ?? 0)
        }
    }

    func save(topic name: String, data: String, at now: Int64, topicsMax: Int) throws -> TopicValue? {
        let version = try topic(name)?.version
        if version == nil {
            let count = try sql.exec("SELECT count(*) FROM topics").one()[0].integer ?? 0
            guard count < topicsMax else { return nil }
        }
        let value = TopicValue(name: name, version: (version ?? 0) + 1, data: data, at: now)
        try sql.exec(
            "INSERT OR REPLACE INTO topics (name, version, data, at) VALUES (?1, ?2, ?3, ?4)", .text(name),
            .integer(value.version), .text(data), .integer(now))
        return value
    }
}
