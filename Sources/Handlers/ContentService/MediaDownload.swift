import Platform
import Workers

/// `GET /api/v1/content/{id}/media` → 200, 206 with `Range`, 304 or 412 with conditions, 416. The body is
/// handed on unread: the node sends it from the file.
enum MediaDownload {
    static func respond(to exchange: Exchange) async throws -> Response {
        let identity = try Identity(of: exchange.request)
        let record = try await Reading.visible(exchange, identity)
        guard let key = record.mediaKey, let size = record.mediaByteCount else {
            throw APIError.notFound("an image of this content")
        }
        let request = exchange.request
        let range = usableRange(request, etag: record.mediaETag)
        if let range, isUnsatisfiable(range, size: size) {
            var refusal = APIError(416, "range_not_satisfiable", "the image has \(size) bytes")
                .response(requestID: RequestID.of(request))
            try refusal.headers.set("content-range", "bytes */\(size)")
            return refusal
        }
        let object = try await exchange.env.r2("MEDIA").get(
            key, onlyIf: condition(request), range: range.map { .header($0) })
        guard let object else { throw APIError.notFound("an image of this content") }

        var headers = Headers()
        try headers.set("etag", object.httpEtag)
        try headers.set("last-modified", HTTPDate(unixSeconds: object.uploaded / 1000).text)
        try headers.set("cache-control", "private, no-cache")
        try headers.set("accept-ranges", "bytes")
        guard let body = object.body else {
            let isUnchanged = !headersAskForMatch(request)
            return try Response(status: isUnchanged ? 304 : 412, headers: headers)
        }
        try headers.set("content-type", object.httpMetadata.contentType ?? "application/octet-stream")
        // The bytes are somebody's: a browser shall show an image and never run a page.
        try headers.set("content-security-policy", "default-src 'none'; sandbox")
        guard range != nil, let part = object.range else { return try Response(headers: headers, body: body) }
        try headers.set(
            "content-range", "bytes \(part.offset)-\(part.offset + part.length - 1)/\(object.size)")
        return try Response(status: 206, headers: headers, body: body)
    }

    /// The `Range` header, unless `If-Range` names another version (RFC 9110 §13.1.5; dates never match:
    /// they are weak).
    private static func usableRange(_ request: Request, etag: String?) -> String? {
        guard let range = request.headers["range"], range.utf8.count <= 128 else { return nil }
        if let condition = request.headers["if-range"], condition != etag.map({ "\"\($0)\"" }) { return nil }
        return range
    }

    /// Whether a well-formed single range begins behind the end, or asks for the last 0 bytes (RFC 9110
    /// §14.1.2).
    private static func isUnsatisfiable(_ range: String, size: Int64) -> Bool {
        guard range.lowercased().hasPrefix("bytes=") else { return false }
        let ends = range.dropFirst("bytes=".count).split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2 else { return false }
        if ends[0].isEmpty { return Int64(ends[1]) == 0 }
        guard let first = Int64(ends[0]), ends[1].isEmpty || Int64(ends[1]).map({ $0 >= first }) ?? false
        else {
            return false
        }
        return first >= size
    }

    private static let conditionNames = [
        "if-match", "if-none-match", "if-modified-since", "if-unmodified-since",
    ]

    /// A condition that can't be read counts as absent.
    private static func condition(_ request: Request) -> R2Conditional? {
        guard conditionNames.contains(where: { request.headers[$0] != nil }) else { return nil }
        return try? R2Conditional(request.headers)
    }

    private static func headersAskForMatch(_ request: Request) -> Bool {
        request.headers["if-match"] != nil || request.headers["if-unmodified-since"] != nil
    }
}
