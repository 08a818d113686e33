package import Workers

/// Which pages of other origins may call the API (WHATWG Fetch, "CORS protocol").
package struct CORSPolicy: Sendable {
    private let origins: Set<String>
    private let allowsAny: Bool

    /// - Parameter list: Origins such as `https://app.example`, separated by commas or spaces; `*` allows
    ///   any. Never with cookies: the API is called with bearer tokens.
    package init(_ list: String) {
        let parts = list.split { $0 == "," || $0 == " " }.map { $0.lowercased() }
        origins = Set(parts)
        allowsAny = origins.contains("*")
    }

    private static let methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
    private static let requestHeaders =
        "Authorization, Content-Type, If-Match, If-None-Match, If-Modified-Since, "
        + "If-Unmodified-Since, Range, If-Range, X-Request-ID, traceparent"
    private static let exposedHeaders =
        "ETag, Content-Range, Accept-Ranges, Location, Retry-After, RateLimit-Limit, RateLimit-Remaining, "
        + "RateLimit-Reset, X-Request-ID"

    package func allows(_ origin: String) -> Bool { allowsAny || origins.contains(origin.lowercased()) }

    /// Whether `request` asks for permission rather than for a resource.
    package static func isPreflight(_ request: Request) -> Bool {
        request.method == .options && request.headers["origin"] != nil
            && request.headers["access-control-request-method"] != nil
    }

    /// Adds what an answer to `origin` needs.
    package func write(to headers: inout HeaderChanges, origin: String?) {
        // The answer depends on the origin even when it is not allowed: caches must know.
        if !allowsAny { headers["vary"] = Self.vary(headers["vary"]) }
        guard let origin, allows(origin) else { return }
        headers["access-control-allow-origin"] = allowsAny ? "*" : origin
        headers["access-control-expose-headers"] = Self.exposedHeaders
    }

    /// `Vary` with the origin in it, once (RFC 9110 §12.5.5).
    private static func vary(_ before: String?) -> String {
        guard let before, !before.isEmpty else { return "Origin" }
        let names = before.split(separator: ",").map { String($0).trimmingWhitespace().lowercased() }
        return names.contains("origin") || names.contains("*") ? before : before + ", Origin"
    }

    /// The answer to a preflight; one for an origin that isn't allowed says nothing, and the browser
    /// refuses.
    package func preflightResponse(origin: String) -> Response {
        var response = Response.empty(status: 204)
        response.headers = response.headers.changing { headers in
            write(to: &headers, origin: origin)
            guard allows(origin) else { return }
            headers["access-control-allow-methods"] = Self.methods
            headers["access-control-allow-headers"] = Self.requestHeaders
            headers["access-control-max-age"] = "7200"
        }
        return response
    }
}
