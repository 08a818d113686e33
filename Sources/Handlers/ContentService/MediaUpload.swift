import Platform
import Workers

/// `PUT` or `POST /api/v1/content/{id}/media` with an image as the body → 201 (200 when it replaces one) and
/// `{contentId, url, contentType, size, etag}`. The bytes stream from the client to R2; none are held here.
struct MediaUpload {
    /// No SVG: it can carry scripts.
    static let types: Set<String> = ["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"]

    let bytesMax: Int

    private struct Stored: Encodable {
        var contentId: String
        var url: String
        var contentType: String
        var size: Int64
        var etag: String
    }

    func respond(to exchange: Exchange) async throws -> Response {
        let identity = try exchange.identity
        let (type, body) = try check(exchange.request)
        let record = try await Reading.writable(exchange, identity)

        // A key of its own for each upload: the old image stays whole until the row points to the new one.
        let bucket = try exchange.env.r2("MEDIA")
        let key = "content/\(record.id)/\(Identifier(now: exchange.context.now).text)"
        let object = try await bucket.put(
            key, body, httpMetadata: R2HTTPMetadata(contentType: type),
            customMetadata: ["contentId": record.id, "userId": identity.userID])
        guard let object else { throw APIError.internalError }

        var changed = record
        changed.mediaKey = key
        changed.mediaType = type
        changed.mediaByteCount = object.size
        changed.mediaETag = object.etag
        let event = Writing.event(
            .mediaUploaded, changed, identity, exchange, ["mediaType": type, "mediaBytes": "\(object.size)"])
        let contents = ContentRepository(try exchange.database)
        let stored: ContentRecord?
        do {
            stored = try await contents.update(changed, event: event)
        } catch {
            // Not knowing the outcome isn't failure: the client may have left while the row was being written.
            exchange.context.waitUntil {
                guard try await !contents.holds(mediaKey: key, of: record.id) else { return }
                try await bucket.delete(key)
            }
            throw error
        }
        guard let stored else {
            exchange.context.waitUntil { try await bucket.delete(key) }
            throw APIError.conflict("this content was changed meanwhile; upload again")
        }
        if let old = record.mediaKey { exchange.context.waitUntil { try await bucket.delete(old) } }
        try Outbox(exchange.env).publish(event, exchange.context)

        let url = "/api/v1/content/\(stored.id)/media"
        var response = try Response.json(
            Stored(contentId: stored.id, url: url, contentType: type, size: object.size, etag: object.etag),
            status: record.mediaKey == nil ? 201 : 200)
        try response.headers.set("location", url)
        return response
    }

    private func check(_ request: Request) throws(APIError) -> (type: String, body: ByteStream) {
        let type = String(request.headers["content-type"]?.prefix { $0 != ";" } ?? "")
            .trimmingWhitespace().lowercased()
        guard Self.types.contains(type) else {
            throw .unsupportedMediaType(
                "the body must be one of " + Self.types.sorted().joined(separator: ", "))
        }
        guard let body = request.body else { throw .badRequest("the body is empty", code: "empty_body") }
        guard let length = body.length else { throw .lengthRequired }
        guard length > 0 else { throw .badRequest("the body is empty", code: "empty_body") }
        guard length <= bytesMax else { throw .tooLarge(limit: bytesMax) }
        return (type, body)
    }
}
