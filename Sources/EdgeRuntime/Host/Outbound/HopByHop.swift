internal import HTTP

/// Fields that belong to a connection, not to a message (RFC 9110 §7.6.1): each side of the node has its
/// own.
enum HopByHop {
    private static let names: Set<String> = [
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
        "trailer",
        "transfer-encoding", "upgrade",
    ]

    /// What of a handler's fields goes on the wire; `Host`, `Content-Length` and `Expect` are the
    /// connection's to set.
    static func requestFields(_ headers: Headers) -> [(name: String, value: String)] {
        let named = options(headers.getAll("connection"))
        var fields: [(name: String, value: String)] = []
        headers.forEachOnWire { name, value in
            guard !names.contains(name), !named.contains(name),
                !["host", "content-length", "expect"].contains(name)
            else { return }
            fields.append((name, value))
        }
        return fields
    }

    /// What of a response's fields goes on to the handler.
    static func strip(_ fields: [(name: String, value: String)]) throws(HeaderError) -> Headers {
        let named = options(fields.filter { $0.name == "connection" }.map(\.value))
        let isChunked = fields.contains { $0.name == "transfer-encoding" }
        var headers = Headers()
        for (name, value) in fields where !names.contains(name) && !named.contains(name) {
            // RFC 9112 §6.3: with a transfer coding, a length means nothing.
            if isChunked, name == "content-length" { continue }
            try headers.append(name, value)
        }
        return headers
    }

    /// What `Connection` headers name, in lower case.
    static func options(_ values: [String]) -> Set<String> {
        Set(
            values.flatMap { $0.split(separator: ",") }
                .map { $0.filter { $0 != " " && $0 != "\t" }.lowercased() })
    }
}
