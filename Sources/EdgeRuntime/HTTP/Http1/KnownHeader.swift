/// The headers that the node itself reads, sets or removes. Found by length and first letter, without
/// hashing.
@usableFromInline
package enum KnownHeader: UInt8, CaseIterable, Sendable {
    case other = 0
    // Framing and the connection.
    case host, contentLength, transferEncoding, connection, expect, upgrade, te, trailer, keepAlive, proxy
    case secWebSocketKey, secWebSocketVersion, secWebSocketProtocol, secWebSocketExtensions
    // What the node says about the client.
    case xForwardedFor, xForwardedProto, xForwardedHost, forwarded, xRealIP, trueClientIP
    case cfConnectingIP, cfRay, cfVisitor, cfIPCountry, cfEWVia, cfWorker, cdnLoop
    case traceparent, tracestate, xRequestID
    // Requests.
    case accept, acceptEncoding, acceptLanguage, authorization, cookie, origin, referer, userAgent, range
    case ifNoneMatch, ifModifiedSince, ifMatch, ifRange, ifUnmodifiedSince, upgradeInsecureRequests
    // Responses.
    case contentType, contentEncoding, contentRange, cacheControl, date, server, setCookie, etag, location,
        vary

    /// Finds `name`, which must be a token.
    ///
    /// - Parameter name: in any case.
    @inline(__always)
    static func identify(_ bytes: RawSpan, at offset: Int, count: Int) -> KnownHeader {
        @inline(__always)
        func match(_ literal: StaticString, _ header: KnownHeader) -> KnownHeader {
            bytes.token(at: offset, count: count, is: literal) ? header : .other
        }
        guard count >= 2 else { return .other }
        let first = bytes[offset] | 0x20
        if first == 0x70, count > 6, bytes.token(at: offset, count: 6, is: "proxy-") { return .proxy }
        switch (count, first) {
        case (2, 0x74): return match("te", .te)
        case (4, 0x68): return match("host", .host)
        case (4, 0x64): return match("date", .date)
        case (4, 0x65): return match("etag", .etag)
        case (4, 0x76): return match("vary", .vary)
        case (5, 0x72): return match("range", .range)
        case (6, 0x61): return match("accept", .accept)
        case (6, 0x63):
            if bytes[offset + 1] | 0x20 == 0x66 { return match("cf-ray", .cfRay) }
            return match("cookie", .cookie)
        case (6, 0x65): return match("expect", .expect)
        case (6, 0x6F): return match("origin", .origin)
        case (6, 0x73): return match("server", .server)
        case (7, 0x75): return match("upgrade", .upgrade)
        case (7, 0x74): return match("trailer", .trailer)
        case (7, 0x72): return match("referer", .referer)
        case (8, 0x69):
            if bytes[offset + 3] | 0x20 == 0x6D { return match("if-match", .ifMatch) }
            return match("if-range", .ifRange)
        case (8, 0x63): return match("cdn-loop", .cdnLoop)
        case (8, 0x6C): return match("location", .location)
        case (9, 0x66): return match("forwarded", .forwarded)
        case (9, 0x78): return match("x-real-ip", .xRealIP)
        case (9, 0x63):
            if bytes[offset + 3] | 0x20 == 0x65 { return match("cf-ew-via", .cfEWVia) }
            return match("cf-worker", .cfWorker)
        case (10, 0x63):
            if bytes[offset + 1] | 0x20 == 0x66 { return match("cf-visitor", .cfVisitor) }
            return match("connection", .connection)
        case (10, 0x6B): return match("keep-alive", .keepAlive)
        case (10, 0x74): return match("tracestate", .tracestate)
        case (10, 0x75): return match("user-agent", .userAgent)
        case (10, 0x73): return match("set-cookie", .setCookie)
        case (11, 0x74): return match("traceparent", .traceparent)
        case (12, 0x78): return match("x-request-id", .xRequestID)
        case (12, 0x63):
            if bytes[offset + 1] | 0x20 == 0x66 { return match("cf-ipcountry", .cfIPCountry) }
            return match("content-type", .contentType)
        case (13, 0x61): return match("authorization", .authorization)
        case (13, 0x63):
            if bytes[offset + 1] | 0x20 == 0x61 { return match("cache-control", .cacheControl) }
            return match("content-range", .contentRange)
        case (13, 0x69): return match("if-none-match", .ifNoneMatch)
        case (14, 0x63): return match("content-length", .contentLength)
        case (14, 0x74): return match("true-client-ip", .trueClientIP)
        case (15, 0x61):
            if bytes[offset + 7] | 0x20 == 0x65 { return match("accept-encoding", .acceptEncoding) }
            return match("accept-language", .acceptLanguage)
        case (15, 0x78): return match("x-forwarded-for", .xForwardedFor)
        case (16, 0x63):
            if bytes[offset + 1] | 0x20 == 0x66 { return match("cf-connecting-ip", .cfConnectingIP) }
            return match("content-encoding", .contentEncoding)
        case (16, 0x78): return match("x-forwarded-host", .xForwardedHost)
        case (17, 0x74): return match("transfer-encoding", .transferEncoding)
        case (17, 0x78): return match("x-forwarded-proto", .xForwardedProto)
        case (17, 0x69): return match("if-modified-since", .ifModifiedSince)
        case (17, 0x73): return match("sec-websocket-key", .secWebSocketKey)
        case (19, 0x69): return match("if-unmodified-since", .ifUnmodifiedSince)
        case (21, 0x73): return match("sec-websocket-version", .secWebSocketVersion)
        case (22, 0x73): return match("sec-websocket-protocol", .secWebSocketProtocol)
        case (24, 0x73): return match("sec-websocket-extensions", .secWebSocketExtensions)
        case (25, 0x75): return match("upgrade-insecure-requests", .upgradeInsecureRequests)
        default: return .other
        }
    }

    /// Finds `name`; `.other` when it is no token either.
    package static func identify(_ name: RawSpan) -> KnownHeader {
        guard !name.isEmpty, name.endOfToken(from: 0, to: name.byteCount) == name.byteCount else {
            return .other
        }
        return identify(name, at: 0, count: name.byteCount)
    }

    /// Consumed by the node in both directions, never passed on (RFC 9110 §7.6.1).
    @inlinable @inline(__always)
    package var isHopByHop: Bool {
        switch self {
        case .connection, .keepAlive, .proxy, .te, .trailer, .transferEncoding, .upgrade: true
        default: false
        }
    }

    /// Must not take effect when it comes after the body: framing, routing, authentication, content
    /// description (RFC 9110 §6.5.1), and what the node says about the client.
    package var isForbiddenInTrailers: Bool {
        switch self {
        case .other, .etag, .date, .server, .accept, .acceptLanguage, .origin, .referer, .userAgent, .vary,
            .upgradeInsecureRequests:
            false
        default: true
        }
    }

    @inlinable @inline(__always) var bit: UInt64 { 1 &<< UInt64(rawValue) }
}
