package import HTTP
package import Wire

/// The part that all calls of a cache begin with.
package struct CacheRequestMessage: Sendable {
    /// `nil`: the zone's.
    package var cache: String?
    package var method: String
    package var url: String
    /// Stored under this instead of the URL.
    package var key: String?
    package var headers: Headers
    package var ignoresMethod: Bool

    package init(
        cache: String?, method: String, url: String, key: String?, headers: Headers, ignoresMethod: Bool = false
    ) {
        self.cache = cache
        self.method = method
        self.url = url
        self.key = key
        self.headers = headers
        self.ignoresMethod = ignoresMethod
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(cache)
        encoder.put(method)
        encoder.put(url)
        encoder.put(key)
        encoder.put(headers: headers)
        encoder.put(ignoresMethod)
    }

    package func encoded() -> [UInt8] {
        var encoder = WireEncoder(capacity: 256)
        encode(into: &encoder)
        return encoder.bytes
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        cache = try decoder.takeOptional { d throws(WireError) in try d.takeString() }
        method = try decoder.takeString()
        url = try decoder.takeString()
        key = try decoder.takeOptional { d throws(WireError) in try d.takeString() }
        headers = try decoder.takeHeaders()
        ignoresMethod = try decoder.takeBool()
    }
}

/// The message of `cachePut`; the body follows.
package struct CachePutMessage: Sendable {
    package var request: CacheRequestMessage
    package var status: Int
    package var headers: Headers
    package var bodyLength: Int64?

    package init(request: CacheRequestMessage, status: Int, headers: Headers, bodyLength: Int64?) {
        self.request = request
        self.status = status
        self.headers = headers
        self.bodyLength = bodyLength
    }

    package func encoded() -> [UInt8] {
        var encoder = WireEncoder(capacity: 512)
        request.encode(into: &encoder)
        encoder.put(UInt16(truncatingIfNeeded: status))
        encoder.put(headers: headers)
        encoder.put(bodyLength)
        return encoder.bytes
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        request = try CacheRequestMessage(decoding: &decoder)
        status = Int(try decoder.takeUInt16())
        headers = try decoder.takeHeaders()
        bodyLength = try decoder.takeOptional { d throws(WireError) in try d.takeInt64() }
        try decoder.finish()
    }
}

/// The reply to `cacheMatch`; a body follows when there is one.
package struct CacheMatchReply: Sendable {
    package var status: Int
    package var headers: Headers
    package var bodyLength: Int64?

    package init(status: Int, headers: Headers, bodyLength: Int64?) {
        self.status = status
        self.headers = headers
        self.bodyLength = bodyLength
    }

    /// `nil`: nothing was found.
    package static func encoded(_ reply: CacheMatchReply?) -> [UInt8] {
        var encoder = WireEncoder(capacity: 256)
        encoder.put(reply) { encoder, reply in
            encoder.put(UInt16(truncatingIfNeeded: reply.status))
            encoder.put(headers: reply.headers)
            encoder.put(reply.bodyLength)
        }
        return encoder.bytes
    }

    package static func decode(_ bytes: [UInt8]) throws(WireError) -> CacheMatchReply? {
        var decoder = WireDecoder(bytes)
        let reply = try decoder.takeOptional { d throws(WireError) in
            let status = Int(try d.takeUInt16())
            let headers = try d.takeHeaders()
            return CacheMatchReply(
                status: status, headers: headers,
                bodyLength: try d.takeOptional { d throws(WireError) in try d.takeInt64() })
        }
        try decoder.finish()
        return reply
    }
}

extension WireEncoder {
    mutating func put(headers: Headers) {
        var pairs: [(String, String)] = []
        headers.forEachOnWire { pairs.append(($0, $1)) }
        put(list: pairs) { encoder, pair in
            encoder.put(pair.0)
            encoder.put(pair.1)
        }
    }
}

extension WireDecoder {
    /// - Throws: for what isn't a header, too: an isolate may speak for itself.
    mutating func takeHeaders() throws(WireError) -> Headers {
        let pairs = try takeList { d throws(WireError) in (try d.takeString(), try d.takeString()) }
        var headers = Headers()
        for (name, value) in pairs {
            do { try headers.append(name, value) } catch { throw .invalidValue("header", offset: offset) }
        }
        return headers
    }
}
