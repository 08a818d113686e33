import Platform
import Workers

/// `GET /api/v1/content/{id}/media` → 200, 206 with `Range`, 304 or 412 with conditions, 416. The body is
/// handed on unread: the node sends it from the file.
enum MediaDownload {
    /// Between reading the row and opening the image a new one may have taken its place, and the row names
    /// that one. More than a few times in a row isn't bad luck.
    private static let looksMax = 3

    static func respond(to exchange: Exchange) async throws -> Response {
        let identity = try exchange.identity
        let bucket = try exchange.env.r2("MEDIA")
        for _ in 1...looksMax {
            let record = try await Reading.visible(exchange, identity)
            guard let key = record.mediaKey else { break }
            if let response = try await response(to: exchange.request, key, bucket) { return response }
        }
        throw APIError.notFound("an image of this content")
    }

    /// The answer with the image under `key`; `nil` when it is gone.
    private static func response(
        to request: Request, _ key: String, _ bucket: R2Bucket
    ) async throws -> Response? {
        var part: (offset: Int64, length: Int64)?
        let conditions = Preconditions(request.headers)
        let mayBePart = request.method == .get && request.headers.has("range")
        if !conditions.isEmpty || mayBePart {
            guard let object = try await bucket.head(key) else { return nil }
            switch conditions.verdict(etag: object.httpEtag, lastModified: object.uploaded / 1000) {
            case .notModified: return try Response(status: 304, headers: headers(of: object))
            case .failed:
                throw APIError(
                    412, "precondition_failed", "the image is another one", headers: ["etag": object.httpEtag])
            case .proceed: break
            }
            // Only now: a range counts once the conditions hold (RFC 9110 §13.2.2).
            if mayBePart { part = try Self.part(request, object) }
        }
        let range = part.map { R2Range.offset($0.offset, length: $0.length) }
        guard let object = try await bucket.get(key, range: range), let body = object.body else { return nil }
        var headers = try headers(of: object.object)
        try headers.set("content-type", object.httpMetadata.contentType ?? "application/octet-stream")
        // The bytes are somebody's: a browser shall show an image and never run a page.
        try headers.set("content-security-policy", "default-src 'none'; sandbox")
        guard let part else { return try Response(headers: headers, body: body) }
        try headers.set(
            "content-range", "bytes \(part.offset)-\(part.offset + part.length - 1)/\(object.size)")
        return try Response(status: 206, headers: headers, body: body)
    }

    private static func headers(of object: R2Object) throws -> Headers {
        var headers = Headers()
        try headers.set("etag", object.httpEtag)
        try headers.set("last-modified", HTTPDate(unixSeconds: object.uploaded / 1000).text)
        try headers.set("cache-control", "private, no-cache")
        try headers.set("accept-ranges", "bytes")
        return headers
    }

    /// The part that is asked for; `nil` is the whole image, also when `If-Range` names another version (RFC
    /// 9110 §13.1.5; dates never match: they are weak).
    ///
    /// - Throws: 416 when it lies behind the end.
    private static func part(
        _ request: Request, _ object: R2Object
    ) throws(APIError) -> (offset: Int64, length: Int64)? {
        guard let header = request.headers["range"] else { return nil }
        if let condition = request.headers["if-range"], condition != object.httpEtag { return nil }
        switch ByteRange(header, size: object.size) {
        case .whole: return nil
        case .part(let offset, let length): return (offset, length)
        case .unsatisfiable:
            throw APIError(
                416, "range_not_satisfiable", "the image has \(object.size) bytes",
                headers: ["content-range": "bytes */\(object.size)"])
        }
    }
}
