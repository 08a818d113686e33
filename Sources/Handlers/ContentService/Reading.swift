import Platform
import Workers

enum Reading {
    /// `GET /api/v1/content/{id}` → 200; 404 for what the asker may not see.
    static func show(_ exchange: Exchange) async throws -> Response {
        let identity = try exchange.identity
        let record = try await visible(exchange, identity)
        return try .json(ContentView(record))
    }

    /// The content named by the path.
    ///
    /// - Throws: 404 when there is none, and when there is one that `identity` may not see: it shall not
    ///   learn that.
    static func visible(_ exchange: Exchange, _ identity: Identity) async throws -> ContentRecord {
        guard let id = exchange.parameters.get("id").flatMap(Identifier.init),
            let record = try await ContentRepository(try exchange.database).find(id.text),
            record.isVisible(to: identity)
        else { throw APIError.notFound("this content") }
        return record
    }

    /// - Throws: 404 as above; 403 for what can be seen but belongs to somebody else.
    static func writable(_ exchange: Exchange, _ identity: Identity) async throws -> ContentRecord {
        let record = try await visible(exchange, identity)
        guard record.isWritable(by: identity) else {
            throw APIError.forbidden("this content belongs to another user")
        }
        return record
    }
}

/// `GET /api/v1/content?scope=mine|public&status=&type=&limit=20&cursor=` → 200 `{items, nextCursor}`, the
/// newest first.
enum Listing {
    private struct Page: Encodable {
        var items: [ContentView]
        /// `null` on the last page.
        var nextCursor: String?

        private enum CodingKeys: CodingKey { case items, nextCursor }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(items, forKey: .items)
            try container.encode(nextCursor, forKey: .nextCursor)
        }
    }

    static func show(_ exchange: Exchange) async throws -> Response {
        let identity = try exchange.identity
        let request = exchange.request
        var validation = Validation()
        let limit = validation.number("limit", request.query("limit"), in: 1...100, default: 20)
        let scope: ContentRepository.Filter.Scope? =
            request.query("scope").map { validation.choice("scope", $0) } ?? .mine
        let status: ContentStatus? = request.query("status").flatMap { validation.choice("status", $0) }
        let type: ContentType? = request.query("type").flatMap { validation.choice("type", $0) }
        try validation.finish()

        let filter = ContentRepository.Filter(
            scope: scope ?? .mine, user: identity.userID, status: status, type: type)
        let cursor = try request.query("cursor").map { text throws(APIError) in
            try PageCursor(text, listing: filter.listing)
        }
        // One more than asked for tells whether there is a next page.
        let records = try await ContentRepository(try exchange.database)
            .list(filter, after: cursor, limit: limit + 1)
        let page = records.prefix(limit)
        let next = records.count > limit ? page.last : nil
        return try .json(
            Page(
                items: page.map { ContentView($0) },
                nextCursor: next.map {
                    PageCursor(time: $0.createdAt, id: $0.id).text(listing: filter.listing)
                }))
    }
}
