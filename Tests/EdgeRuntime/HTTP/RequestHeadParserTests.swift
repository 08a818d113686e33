import HTTP
import Testing
import Wire

/// A parsed head with copies of what it says.
struct ParsedHead: Equatable {
    var method = ""
    var target = ""
    var pathAndQuery = ""
    var minorVersion: UInt8 = 1
    var host: String?
    var port: UInt16?
    var contentLength: Int64?
    var isChunked = false
    var keepAlive = true
    var expectsContinue = false
    var isWebSocketUpgrade = false
    var fields: [String] = []
    var hopByHop: [String] = []
    var byteCount = 0

    init?(_ text: String, limits: HTTPLimits = HTTPLimits()) {
        var parser = RequestHeadParser(limits: limits)
        self.init(Array(text.utf8), &parser)
    }

    init?(_ bytes: [UInt8], _ parser: inout RequestHeadParser) {
        let span = unsafe bytes.span.bytes
        guard case .complete(let count) = parser.parse(span) else { return nil }
        byteCount = count
        method = span.text(parser.head.method)
        target = span.text(parser.head.target)
        pathAndQuery = span.text(parser.head.pathAndQuery)
        minorVersion = parser.head.minorVersion
        host = parser.head.host.map { span.text($0.name) }
        port = parser.head.host?.port
        contentLength = parser.head.contentLength
        isChunked = parser.head.isChunked
        keepAlive = parser.head.keepAlive
        expectsContinue = parser.head.expectsContinue
        isWebSocketUpgrade = parser.head.isWebSocketUpgrade
        for index in 0..<parser.head.fields.count {
            let field = parser.head.fields[index]
            fields.append("\(span.text(field.name))=\(span.text(field.value))")
            if field.isHopByHop { hopByHop.append(span.text(field.name)) }
        }
    }
}

@Suite struct `Request head` {
    @Test func `tells where everything is`() throws {
        let head = try #require(
            ParsedHead(
                "POST /a/b?c=d HTTP/1.1\r\nHost: edge.test:81\r\nContent-Length: 12\r\nX-A:  b c \r\n\r\nrest"
            ))
        #expect(head.method == "POST")
        #expect(head.target == "/a/b?c=d")
        #expect(head.pathAndQuery == "/a/b?c=d")
        #expect(head.host == "edge.test")
        #expect(head.port == 81)
        #expect(head.contentLength == 12)
        #expect(head.fields == ["Host=edge.test:81", "Content-Length=12", "X-A=b c"])
        #expect(head.byteCount == 78)
    }

    @Test(arguments: [
        ("HTTP/1.1", "", true), ("HTTP/1.1", "Connection: close\r\n", false),
        ("HTTP/1.1", "Connection: Keep-Alive\r\n", true), ("HTTP/1.1", "Connection: x, CLOSE\r\n", false),
        ("HTTP/1.1", "Connection: keep-alive\r\nConnection: close\r\n", false), ("HTTP/1.0", "", false),
        ("HTTP/1.0", "Connection: keep-alive\r\n", true),
        ("HTTP/1.0", "Connection: keep-alive, close\r\n", false),
        ("HTTP/1.7", "", true),
    ])
    func `knows whether the connection goes on`(version: String, fields: String, keepAlive: Bool) throws {
        let head = try #require(ParsedHead("GET / \(version)\r\nHost: a\r\n\(fields)\r\n"))
        #expect(head.keepAlive == keepAlive)
    }

    @Test func `takes the host of an absolute target and not the Host field`() throws {
        let head = try #require(
            ParsedHead("GET http://Real.test:8080?q HTTP/1.1\r\nHost: other.test\r\n\r\n"))
        #expect(head.host == "Real.test")
        #expect(head.port == 8080)
        #expect(head.pathAndQuery == "?q")
    }

    @Test(arguments: [
        ("GET", "Upgrade: websocket\r\nConnection: Upgrade\r\n", true),
        ("GET", "Upgrade: h2c, WebSocket\r\nConnection: keep-alive, upgrade\r\n", true),
        ("GET", "Upgrade: websocket\r\n", false), ("GET", "Connection: upgrade\r\n", false),
        ("POST", "Upgrade: websocket\r\nConnection: Upgrade\r\n", false),
        ("GET", "Upgrade: websockets\r\nConnection: Upgrade\r\n", false),
    ])
    func `recognises an upgrade to websocket`(method: String, fields: String, isUpgrade: Bool) throws {
        let head = try #require(ParsedHead("\(method) / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n"))
        #expect(head.isWebSocketUpgrade == isUpgrade)
    }

    @Test func `marks the fields that end here`() throws {
        let head = try #require(
            ParsedHead(
                "GET / HTTP/1.1\r\nX-Foo: 1\r\nHost: a\r\nConnection: x-foo, Host, Content-Length, close\r\n"
                    + "Keep-Alive: 1\r\nProxy-Anything: 1\r\nTE: trailers\r\nContent-Length: 0\r\nX-Fo: 2\r\nx-FOO: 3\r\n\r\n"
            ))
        #expect(head.hopByHop == ["X-Foo", "Connection", "Keep-Alive", "Proxy-Anything", "TE", "x-FOO"])
    }

    @Test func `notes an expectation in HTTP 1_1 only`() throws {
        let modern = try #require(ParsedHead("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-CONTINUE\r\n\r\n"))
        let old = try #require(ParsedHead("GET / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\n\r\n"))
        #expect(modern.expectsContinue)
        #expect(!old.expectsContinue)
    }

    @Test func `starts afresh with each request`() throws {
        var parser = RequestHeadParser()
        let first = try #require(
            ParsedHead(
                Array(
                    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
                        .utf8), &parser))
        #expect(first.isChunked && first.expectsContinue && !first.keepAlive)
        let plain = "GET /b HTTP/1.0\r\n\r\n"
        let second = try #require(ParsedHead(Array(plain.utf8), &parser))
        #expect(second == ParsedHead(plain))
        #expect(second.host == nil)
    }

    @Test func `stays failed`() {
        var parser = RequestHeadParser()
        let bad = Array(" GET".utf8)
        let good = Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
        #expect(unsafe parser.parse(bad.span.bytes) == .failed(.malformedMethod))
        #expect(unsafe parser.parse(good.span.bytes) == .failed(.malformedMethod))
    }

    @Test func `tells an idle connection from a slow one`() {
        var parser = RequestHeadParser()
        let text = Array("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
        var states = [parser.isInsideHead]
        #expect(unsafe parser.parse(Array(text[..<2]).span.bytes) == .needMore)
        states.append(parser.isInsideHead)
        #expect(unsafe parser.parse(text.span.bytes) == .complete(headByteCount: text.count))
        states.append(parser.isInsideHead)
        #expect(states == [false, true, false])
    }

    @Test func `keeps to each limit exactly`() {
        var limits = HTTPLimits()
        limits.targetBytesMax = 10
        limits.fieldsMax = 3
        limits.fieldNameBytesMax = 20
        limits.headBytesMax = 100
        func outcome(_ text: String) -> RequestHeadParser.Progress {
            var parser = RequestHeadParser(limits: limits)
            return unsafe parser.parse(Array(text.utf8).span.bytes)
        }
        func isAccepted(_ text: String) -> Bool { outcome(text) == .complete(headByteCount: text.utf8.count) }
        #expect(isAccepted("GET /123456789 HTTP/1.1\r\nHost: a\r\n\r\n"))
        #expect(outcome("GET /1234567890 HTTP/1.1\r\nHost: a\r\n\r\n") == .failed(.targetTooLong))
        #expect(isAccepted("GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nA: 1\r\n\r\n"))
        #expect(
            outcome("GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nA: 1\r\nA: 1\r\n\r\n") == .failed(.tooManyFields))
        #expect(isAccepted("GET / HTTP/1.1\r\nHost: a\r\n12345678901234567890: 1\r\n\r\n"))
        #expect(
            outcome("GET / HTTP/1.1\r\nHost: a\r\n123456789012345678901: 1\r\n\r\n")
                == .failed(.fieldNameTooLong))
        let start = "GET / HTTP/1.1\r\nHost: a\r\nX: "
        let filling = String(repeating: "x", count: 100 - start.utf8.count - 4)
        #expect(isAccepted(start + filling + "\r\n\r\n"))
        #expect(outcome(start + filling + "x\r\n\r\n") == .failed(.headTooLarge))
        #expect(outcome(start + filling + "xxxxxxx") == .failed(.headTooLarge))
    }

    @Test(arguments: KnownHeader.allCases)
    func `finds each known header in any case`(_ header: KnownHeader) {
        guard header != .other else { return }
        let name = Self.names[header] ?? ""
        for text in [name, name.uppercased(), name.capitalized] {
            let bytes = Array(text.utf8)
            #expect(unsafe KnownHeader.identify(bytes.span.bytes) == header)
            var longer = bytes + [0x78]
            #expect(unsafe header == .proxy || KnownHeader.identify(longer.span.bytes) == .other)
            longer = bytes
            longer[bytes.count - 1] = 0x21
            #expect(unsafe header == .proxy || KnownHeader.identify(longer.span.bytes) == .other)
        }
    }

    private static let names: [KnownHeader: String] = [
        .host: "host", .contentLength: "content-length", .transferEncoding: "transfer-encoding",
        .connection: "connection", .expect: "expect", .upgrade: "upgrade", .te: "te", .trailer: "trailer",
        .keepAlive: "keep-alive", .proxy: "proxy-connection", .secWebSocketKey: "sec-websocket-key",
        .secWebSocketVersion: "sec-websocket-version", .secWebSocketProtocol: "sec-websocket-protocol",
        .secWebSocketExtensions: "sec-websocket-extensions", .xForwardedFor: "x-forwarded-for",
        .xForwardedProto: "x-forwarded-proto", .xForwardedHost: "x-forwarded-host", .forwarded: "forwarded",
        .xRealIP: "x-real-ip", .trueClientIP: "true-client-ip", .cfConnectingIP: "cf-connecting-ip",
        .cfRay: "cf-ray", .cfVisitor: "cf-visitor", .cfIPCountry: "cf-ipcountry", .cfEWVia: "cf-ew-via",
        .cfWorker: "cf-worker", .cdnLoop: "cdn-loop", .traceparent: "traceparent", .tracestate: "tracestate",
        .xRequestID: "x-request-id", .accept: "accept", .acceptEncoding: "accept-encoding",
        .acceptLanguage: "accept-language", .authorization: "authorization", .cookie: "cookie",
        .origin: "origin", .referer: "referer", .userAgent: "user-agent", .range: "range",
        .ifNoneMatch: "if-none-match", .ifModifiedSince: "if-modified-since", .ifMatch: "if-match",
        .ifRange: "if-range", .ifUnmodifiedSince: "if-unmodified-since",
        .upgradeInsecureRequests: "upgrade-insecure-requests", .contentType: "content-type",
        .contentEncoding: "content-encoding", .contentRange: "content-range", .cacheControl: "cache-control",
        .date: "date", .server: "server", .setCookie: "set-cookie", .etag: "etag", .location: "location",
        .vary: "vary",
    ]

    @Test func `knows the characters of a token`() {
        let punctuation = Array("!#$%&'*+-.^_`|~".utf8)
        for byte in UInt8.min...UInt8.max {
            let scalar = Unicode.Scalar(byte)
            let isToken =
                byte < 0x80 && (scalar.properties.isAlphabetic || ("0"..."9").contains(scalar))
                || punctuation.contains(byte)
            #expect(unsafe HeaderRules.isValidName([byte].span.bytes) == isToken, "byte \(byte)")
            let long = [UInt8](repeating: 0x61, count: 9) + [byte] + [UInt8](repeating: 0x2D, count: 9)
            #expect(unsafe HeaderRules.isValidName(long.span.bytes) == isToken, "byte \(byte)")
            let isValue = byte >= 0x20 && byte != 0x7F || byte == 0x09
            #expect(unsafe HeaderRules.isValidValue(long.span.bytes) == isValue, "byte \(byte)")
        }
    }
}

@Suite struct `URL of a request` {
    private func written(
        _ target: String, host: String? = "edge.test", scheme: RequestHead.Scheme = .http
    ) -> (String, host: String, path: String, query: String)? {
        let version = host == nil ? "HTTP/1.0" : "HTTP/1.1"
        let method = target == "*" ? "OPTIONS" : "GET"
        let bytes = Array(
            "\(method) \(target) \(version)\r\n\(host.map { "Host: \($0)\r\n" } ?? "")\r\n".utf8)
        var parser = RequestHeadParser()
        guard unsafe parser.parse(bytes.span.bytes) == .complete(headByteCount: bytes.count) else {
            return nil
        }
        var buffer = ByteBuffer()
        buffer.append("before")
        let url = unsafe parser.head.appendURL(scheme, of: bytes.span.bytes, to: &buffer)
        guard let url else {
            #expect(buffer.readableByteCount == 6)
            return nil
        }
        return unsafe buffer.withReadable { all in
            let text = unsafe UnsafeRawBufferPointer(rebasing: all[6...])
            #expect(text.count == url.byteCount)
            return unsafe (
                String(decoding: text, as: UTF8.self), String(decoding: url.hostname.of(text), as: UTF8.self),
                String(decoding: url.path.of(text), as: UTF8.self),
                String(decoding: url.query.of(text), as: UTF8.self)
            )
        }
    }

    @Test(arguments: [
        ("/", "edge.test", "http://edge.test/", "edge.test", "/", ""),
        ("/a/b?c=d", "edge.test:8080", "http://edge.test:8080/a/b?c=d", "edge.test", "/a/b", "?c=d"),
        ("/a", "edge.test:80", "http://edge.test/a", "edge.test", "/a", ""),
        ("/?", "edge.test:", "http://edge.test/?", "edge.test", "/", "?"),
        ("/a", "EDGE.Test:080", "http://edge.test/a", "edge.test", "/a", ""),
        ("/a/../b/./c", "a", "http://a/b/c", "a", "/b/c", ""),
        ("/a/%2e%2E/b", "a", "http://a/b", "a", "/b", ""),
        ("/\\..\\x", "a", "http://a/x", "a", "/x", ""),
        ("/..", "a", "http://a/", "a", "/", ""),
        ("//b/c", "a", "http://a//b/c", "a", "//b/c", ""),
        ("/.well-known/x", "a", "http://a/.well-known/x", "a", "/.well-known/x", ""),
        ("/a?/../b", "a", "http://a/a?/../b", "a", "/a", "?/../b"),
        ("/{a}?{b}'", "a", "http://a/%7Ba%7D?{b}%27", "a", "/%7Ba%7D", "?{b}%27"),
        ("http://B.test", "a", "http://b.test/", "b.test", "/", ""),
        ("http://b.test?q", "a", "http://b.test/?q", "b.test", "/", "?q"),
        ("https://b.test:443/x", "a", "http://b.test:443/x", "b.test", "/x", ""),
        ("/", "127.0.0.1:1", "http://127.0.0.1:1/", "127.0.0.1", "/", ""),
        ("/", "127.1", "http://127.0.0.1/", "127.0.0.1", "/", ""),
        ("/", "[0:0::1]:9", "http://[::1]:9/", "[::1]", "/", ""),
        ("*", "a", "http://a/", "a", "/", ""),
    ])
    func `is written as browsers would`(
        target: String, host: String, href: String, hostname: String, path: String, query: String
    ) throws {
        let url = try #require(written(target, host: host))
        #expect(url.0 == href)
        #expect(url.host == hostname)
        #expect(url.path == path)
        #expect(url.query == query)
        #expect(WebURL(href)?.href == href)
    }

    @Test func `follows the connection's scheme and has a host to fall back on`() throws {
        #expect(written("/", host: "a:443", scheme: .https)?.0 == "https://a/")
        #expect(written("/", host: "a:80", scheme: .https)?.0 == "https://a:80/")
        #expect(written("/x", host: nil)?.0 == "http://localhost/x")
    }

    @Test func `is refused when the host is no host`() {
        #expect(written("/", host: "999.999.999.999") == nil)
        #expect(written("/", host: "1.2.3.4.5") == nil)
        #expect(written("/", host: "0x1ffffffff") == nil)
    }
}
