package import HTTP

/// What an answer to a request that may change something puts out of date (RFC 9111 §4.4).
package enum OutdatedURLs {
    private static let safe: Set<String> = ["GET", "HEAD", "OPTIONS", "TRACE"]

    /// Whether a method may change something, as far as anybody knows.
    package static func mayChange(_ method: String) -> Bool { !safe.contains(method) }

    /// - Parameter url: the request's.
    /// - Returns: as `CacheKey.text` has them; none when the answer is an error. Beside the request's own, those that
    ///   `Location` and `Content-Location` name, of the same origin.
    package static func of(_ url: String, status: Int, headers: Headers) -> [String] {
        guard (200..<400).contains(status), let url = WebURL(url) else { return [] }
        var urls = [CacheKey.text(url)]
        for name in ["location", "content-location"] {
            guard let other = headers[name].flatMap({ WebURL($0, base: url) }), other.origin == url.origin else { continue }
            urls.append(CacheKey.text(other))
        }
        return urls
    }
}
