import Platform
import Workers

/// The events in D1 that wait to be sent, the oldest first.
struct OutboxRows {
    /// Together far below what a queue takes in one batch (100 messages, 256,000 bytes).
    private static let pageRowsMax: Int64 = 50

    private let database: D1Database

    init(_ database: D1Database) { self.database = database }

    struct Place: Equatable {
        var time: Int64
        var id: String
        static let start = Place(time: .min, id: "")
    }

    struct Page {
        var events: [DomainEvent] = []
        /// Rows that hold no event, or that of another id.
        var unreadable: [String] = []
        /// Where the next page begins; `nil` on the last one.
        var next: Place?
    }

    /// - Parameter time: Milliseconds since 1970; rows as young as this are left out.
    func page(after place: Place, before time: Int64) async throws -> Page {
        let rows = try await database.prepare(
            """
            SELECT event_id, event, created_at FROM content_outbox
            WHERE created_at < ?1 AND (created_at, event_id) > (?2, ?3) ORDER BY created_at, event_id LIMIT ?4
            """
        ).bind(time, place.time, place.id, Self.pageRowsMax).all().results
        var page = Page()
        for row in rows {
            guard let id = row["event_id"]?.text, let text = row["event"]?.text,
                let time = row["created_at"]?.integer
            else { throw APIError.internalError }
            if let event = try? decodingJSON(DomainEvent.self, from: Array(text.utf8)), event.id == id {
                page.events.append(event)
            } else {
                page.unreadable.append(id)
            }
            page.next = Place(time: time, id: id)
        }
        if rows.count < Self.pageRowsMax { page.next = nil }
        return page
    }

    func delete(_ ids: [String]) async throws {
        try await database.prepare(
            "DELETE FROM content_outbox WHERE event_id IN (SELECT value FROM json_each(?1))"
        ).bind(try JSONText.of(ids)).run()
    }
}
