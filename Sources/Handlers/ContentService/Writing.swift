import Platform
import Workers

enum Writing {
    private static let bytesMax = 512 << 10
    private static let titleCounts = 1...200
    private static let bodyCounts = 0...100_000

    private struct Input: Decodable {
        var title: String?
        var body: String?
        var type: String?
        var status: String?
    }

    private struct Checked {
        var title: String
        var body: String
        var type: ContentType
        var status: ContentStatus
    }

    private static func read(_ request: Request) async throws -> Checked {
        let input: Input = try await request.decodeJSON(upTo: bytesMax)
        var validation = Validation()
        let title = validation.text("title", input.title, counts: titleCounts)
        let body = validation.text("body", input.body ?? "", counts: bodyCounts, as: .body)
        let type: ContentType? = validation.choice("type", input.type ?? ContentType.post.rawValue)
        let status: ContentStatus? = validation.choice("status", input.status ?? ContentStatus.draft.rawValue)
        try validation.finish()
        guard let title, let body, let type, let status else { throw APIError.internalError }
        return Checked(title: title, body: body, type: type, status: status)
    }

    /// `POST /api/v1/content {title, body?, type?, status?}` → 201 with `Location`.
    static func create(_ exchange: Exchange) async throws -> Response {
        let identity = try exchange.identity
        let input = try await read(exchange.request)
        let now = exchange.context.now
        let record = ContentRecord(
            id: Identifier(now: now).text, userID: identity.userID, title: input.title, body: input.body,
            type: input.type, status: input.status, version: 1,
            publishedAt: input.status == .published ? now : nil, createdAt: now, updatedAt: now)
        let event = event(.contentCreated, record, identity, exchange)
        try await ContentRepository(try exchange.database).insert(record, event: event)
        try Outbox(exchange.env).publish(event, exchange.context)
        var response = try Response.json(ContentView(record), status: 201)
        try response.headers.set("location", "/api/v1/content/\(record.id)")
        return response
    }

    /// `PUT /api/v1/content/{id}` with all fields → 200.
    static func replace(_ exchange: Exchange) async throws -> Response {
        let identity = try exchange.identity
        let input = try await read(exchange.request)
        let record = try await Reading.writable(exchange, identity)
        var changed = record
        changed.title = input.title
        changed.body = input.body
        changed.type = input.type
        changed.status = input.status
        return try await store(changed, over: record, identity, exchange)
    }

    private struct Patch: Decodable {
        var title: PatchField<String>
        var body: PatchField<String>
        var type: PatchField<String>
        var status: PatchField<String>
    }

    /// `PATCH /api/v1/content/{id}` with some fields → 200.
    static func change(_ exchange: Exchange) async throws -> Response {
        let identity = try exchange.identity
        let patch: Patch = try await exchange.request.decodeJSON(upTo: bytesMax)
        let record = try await Reading.writable(exchange, identity)
        var changed = record
        var validation = Validation()
        for (field, change) in [
            ("title", patch.title), ("body", patch.body), ("type", patch.type), ("status", patch.status),
        ] {
            if case .clear = change { validation.refuse(field, "must not be null") }
        }
        if let text = patch.title.value {
            changed.title = validation.text("title", text, counts: titleCounts) ?? record.title
        }
        if let text = patch.body.value {
            changed.body = validation.text("body", text, counts: bodyCounts, as: .body) ?? record.body
        }
        if let text = patch.type.value { changed.type = validation.choice("type", text) ?? record.type }
        if let text = patch.status.value {
            changed.status = validation.choice("status", text) ?? record.status
        }
        try validation.finish()
        return try await store(changed, over: record, identity, exchange)
    }

    private static func store(
        _ changed: ContentRecord, over record: ContentRecord, _ identity: Identity, _ exchange: Exchange
    ) async throws -> Response {
        var changed = changed
        if changed.status == .published, changed.publishedAt == nil {
            changed.publishedAt = exchange.context.now
        }
        let type: EventType =
            switch (record.status, changed.status) {
            case (.draft, .published), (.archived, .published): .contentPublished
            case (.draft, .archived), (.published, .archived): .contentArchived
            case (.draft, .draft), (.published, .published), (.archived, .archived), (_, .draft):
                .contentUpdated
            }
        let event = event(type, changed, identity, exchange)
        let stored = try await ContentRepository(try exchange.database).update(changed, event: event)
        guard let stored else { throw APIError.conflict("this content was changed meanwhile; read it again") }
        try Outbox(exchange.env).publish(event, exchange.context)
        return try .json(ContentView(stored))
    }

    /// `DELETE /api/v1/content/{id}` → 204. Its image goes with it.
    static func delete(_ exchange: Exchange) async throws -> Response {
        let identity = try exchange.identity
        let record = try await Reading.writable(exchange, identity)
        let event = event(.contentDeleted, record, identity, exchange)
        let deleted = try await ContentRepository(try exchange.database).delete(record.id, event: event)
        guard let deleted else { throw APIError.notFound("this content") }
        // The image that it had in the end, which may be a newer one than we read.
        if let key = deleted.mediaKey {
            let bucket = try exchange.env.r2("MEDIA")
            exchange.context.waitUntil { try await bucket.delete(key) }
        }
        try Outbox(exchange.env).publish(event, exchange.context)
        return .empty(status: 204)
    }

    static func event(
        _ type: EventType, _ record: ContentRecord, _ identity: Identity, _ exchange: Exchange,
        _ more: [String: String] = [:]
    ) -> DomainEvent {
        let data = ["contentType": record.type.rawValue, "status": record.status.rawValue]
            .merging(more) { $1 }
        return DomainEvent(
            type, at: exchange.context.now, actor: identity.userID, subject: record.id, data: data,
            requestID: RequestID.of(exchange.request))
    }
}
