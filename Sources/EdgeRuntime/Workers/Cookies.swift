extension Request {
    /// The value of the cookie of this name that the client sent; `nil` when there is none.
    public func cookie(_ name: String) -> String? {
        headers.get("cookie").flatMap { Cookie.value(of: name, in: $0) }
    }

    /// All cookies that the client sent, in their order.
    public var cookies: [(name: String, value: String)] { headers.get("cookie").map(Cookie.parse) ?? [] }
}

extension Response {
    /// Adds a `Set-Cookie` header.
    ///
    /// - Throws: `CookieError` when the cookie can't be written.
    public mutating func setCookie(_ cookie: Cookie) throws {
        try headers.append("set-cookie", try cookie.setCookieValue())
    }

    /// Tells the client to forget a cookie; path and domain must be those it was set with.
    public mutating func deleteCookie(_ name: String, path: String? = "/", domain: String? = nil) throws {
        try setCookie(Cookie(name, "", maxAge: 0, domain: domain, path: path))
    }
}
