import Collaboration
import DurableObjects
import Platform

/// An inbox in its object's database. Somebody who was never told anything has no tables.
final class SQLInboxStorage: InboxStorage {
    private let sql: SQLStorage
    private var isPrepared: Bool?

    init(_ sql: SQLStorage) { self.sql = sql }

    private var hasTables: Bool {
        get throws {
            if let isPrepared { return isPrepared }
            let found = try sql.exec("SELECT 1 FROM sqlite_schema WHERE name = 'notifications'").next() != nil
            isPrepared = found
            return found
        }
    }

    private func prepare() throws {
        guard try !hasTables else { return }
        try sql.exec(
            """
            CREATE TABLE notifications (
                number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, body TEXT NOT NULL
            ) STRICT;
            CREATE TABLE seen (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL) STRICT;
            INSERT INTO seen (one, number) VALUES (1, 0)
            """)
        isPrepared = true
    }

    func append(_ notification: RoomNotification, keeping count: Int) throws -> InboxItem? {
        try prepare()
        let row = try sql.exec(
            "INSERT INTO notifications (id, body) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING RETURNING number",
            .text(notification.id), .text(try JSONText.of(notification))
        ).next()
        guard let number = row?[0].integer else { return nil }
        try sql.exec("DELETE FROM notifications WHERE number <= ?1", .integer(number - Int64(count)))
        return InboxItem(number: number, notification)
    }

    func notifications(before number: Int64?, limit: Int) throws -> [InboxItem] {
        guard try hasTables else { return [] }
        return try sql.exec(
            "SELECT number, body FROM notifications WHERE number < ?1 ORDER BY number DESC LIMIT ?2", .integer(number ?? .max),
            .integer(Int64(limit))
        ).toArray().map { row in
            let notification = try decodingJSON(RoomNotification.self, from: Array((row[1].text ?? "").utf8))
            return InboxItem(number: row[0].integer ?? 0, notification)
        }
    }

    func unreadCount() throws -> Int {
        guard try hasTables else { return 0 }
        let row = try sql.exec("SELECT count(*) FROM notifications WHERE number > (SELECT number FROM seen)").one()
        return Int(row[0].integer ?? 0)
    }

    func readUpTo() throws -> Int64 {
        guard try hasTables else { return 0 }
        return try sql.exec("SELECT number FROM seen").one()[0].integer ?? 0
    }

    func markRead(upTo number: Int64) throws {
        guard try hasTables else { return }
        try sql.exec(
            "UPDATE seen SET number = max(number, min(?1, coalesce((SELECT max(number) FROM notifications), 0)))",
            .integer(number))
    }
}
