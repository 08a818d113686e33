import Platform
import Workers

/// Content in D1. Each change writes its event into the outbox in the same transaction: either both are
/// there or neither.
struct ContentRepository {
    let database: D1Database

    init(_ database: D1Database) { self.database = database }

    func find(_ id: String) async throws -> ContentRecord? {
        try await database.prepare("SELECT \(ContentRecord.columns) FROM content WHERE id = ?1")
            .bind(id).first(as: ContentRecord.self)
    }

    func insert(_ record: ContentRecord, event: DomainEvent) async throws {
        _ = try await database.batch([
            database.prepare(
                """
                INSERT INTO content (
                    id, user_id, title, body, type, status, last_event_id, published_at, created_at, updated_at)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)
                """
            ).bind(
                record.id, record.userID, record.title, record.body, record.type.rawValue,
                record.status.rawValue,
                event.id, record.publishedAt, record.createdAt),
            database.prepare("INSERT INTO content_outbox (event_id, event, created_at) VALUES (?1, ?2, ?3)")
                .bind(event.id, try JSONText.of(event), event.occurredAt),
        ])
    }

    /// Stores title, body, type, status and media of `record` if its version is still the stored one.
    ///
    /// - Returns: the row as it is now; `nil` when somebody else changed or deleted it first.
    func update(_ record: ContentRecord, event: DomainEvent) async throws -> ContentRecord? {
        let results = try await database.batch([
            database.prepare(
                """
                UPDATE content SET title = ?3, body = ?4, type = ?5, status = ?6, media_key = ?7,
                    media_type = ?8, media_byte_count = ?9, media_etag = ?10, published_at = ?11,
                    updated_at = ?12, last_event_id = ?13, version = version + 1
                WHERE id = ?1 AND version = ?2 RETURNING \(ContentRecord.columns)
                """
            ).bind(
                record.id, record.version, record.title, record.body, record.type.rawValue,
                record.status.rawValue,
                record.mediaKey, record.mediaType, record.mediaByteCount, record.mediaETag,
                record.publishedAt,
                event.occurredAt, event.id),
            try outboxInsert(event, ifChanged: record.id),
        ])
        return try results[0].results.first?.decode(ContentRecord.self)
    }

    /// - Returns: the row as it was at its end; `nil` when there was none.
    func delete(_ id: String, event: DomainEvent) async throws -> ContentRecord? {
        let results = try await database.batch([
            database.prepare("UPDATE content SET last_event_id = ?2 WHERE id = ?1").bind(id, event.id),
            try outboxInsert(event, ifChanged: id),
            database.prepare("DELETE FROM content WHERE id = ?1 RETURNING \(ContentRecord.columns)").bind(id),
        ])
        return try results[2].results.first?.decode(ContentRecord.self)
    }

    /// Whether a row names `key`, once all changes that were asked for before are done: it asks as a change,
    /// which takes its turn behind them.
    func holds(mediaKey key: String, of id: String) async throws -> Bool {
        try await database.prepare(
            "UPDATE content SET media_key = media_key WHERE id = ?1 AND media_key = ?2 RETURNING id"
        ).bind(id, key).first() != nil
    }

    private func outboxInsert(_ event: DomainEvent, ifChanged id: String) throws -> D1PreparedStatement {
        database.prepare(
            """
            INSERT INTO content_outbox (event_id, event, created_at)
            SELECT ?2, ?3, ?4 FROM content WHERE id = ?1 AND last_event_id = ?2
            """
        ).bind(id, event.id, try JSONText.of(event), event.occurredAt)
    }

    struct Filter: Sendable {
        enum Scope: String, CaseIterable, Sendable {
            /// What the asking user wrote, in any status.
            case mine
            /// What anybody published.
            case `public`
        }
        var scope: Scope
        var user: String
        var status: ContentStatus?
        var type: ContentType?

        /// What a cursor is bound to.
        var listing: String {
            let owner = scope == .mine ? user : ""
            return "content/\(scope.rawValue)/\(owner)/\(status?.rawValue ?? "")/\(type?.rawValue ?? "")"
        }
    }

    /// Up to `limit` rows behind `cursor`, the newest first.
    func list(_ filter: Filter, after cursor: PageCursor?, limit: Int) async throws -> [ContentRecord] {
        var conditions: [String] = []
        var values: [D1Value] = []
        func add(_ condition: (_ next: Int) -> String, _ bound: D1Value...) {
            conditions.append(condition(values.count + 1))
            values += bound
        }
        switch filter.scope {
        case .mine: add({ "user_id = ?\($0)" }, .text(filter.user))
        // Spelt out, so that the partial index applies.
        case .public: add { _ in "status = 'published'" }
        }
        if let status = filter.status { add({ "status = ?\($0)" }, .text(status.rawValue)) }
        if let type = filter.type { add({ "type = ?\($0)" }, .text(type.rawValue)) }
        if let cursor {
            add({ "(created_at, id) < (?\($0), ?\($0 + 1))" }, .integer(cursor.time), .text(cursor.id))
        }
        values.append(.integer(Int64(limit)))
        return try await database.prepare(
            """
            SELECT \(ContentRecord.columns) FROM content WHERE \(conditions.joined(separator: " AND "))
            ORDER BY created_at DESC, id DESC LIMIT ?\(values.count)
            """
        ).bind(values: values).all().decode(ContentRecord.self)
    }
}
