package import Workers

extension Request {
    /// The first value of a query parameter, decoded.
    package func query(_ name: String) -> String? {
        guard let query = url.query else { return nil }
        return URLSearchParameters(query)[name]
    }
}
