import HTTP
import System
import Testing
import Wire

@testable import Host

@Suite struct `Network address` {
    @Test(arguments: [
        ("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "0.0.0.0"), ("::1", "::1"), ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::ffff:10.1.2.3", "10.1.2.3"), ("::", "::"), ("::10.1.2.3", "::10.1.2.3"),
    ])
    func `has one text`(given: String, expected: String) {
        #expect(NetworkAddress(text: given)?.text == expected)
    }

    @Test(arguments: [
        "", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.04x", "localhost", ":::", "1::2::3", "12345::", "[::1]", "1.2.3.4 ",
        "127.0.0.1\0evil",
    ])
    func `refuses what is none`(text: String) { #expect(NetworkAddress(text: text) == nil) }
}

@Suite struct `Trusted proxies` {
    @Test(arguments: [
        ("10.0.0.0/8", "10.255.0.1", true), ("10.0.0.0/8", "11.0.0.1", false), ("10.0.0.0/9", "10.127.1.1", true),
        ("10.0.0.0/9", "10.128.0.0", false), ("0.0.0.0/0", "203.0.113.9", true), ("0.0.0.0/0", "::1", false),
        ("192.0.2.1", "192.0.2.1", true), ("192.0.2.1", "192.0.2.2", false), ("192.0.2.1/31", "192.0.2.0", true),
        ("::1/128", "::1", true), ("2001:db8::/33", "2001:db8:7fff::1", true),
        ("2001:db8::/33", "2001:db8:8000::1", false), ("127.0.0.0/8", "::ffff:127.0.0.1", true), ("::/0", "10.0.0.1", false),
    ])
    func `are those in their ranges`(range: String, address: String, isIn: Bool) throws {
        let proxies = try #require(TrustedProxies([range]))
        #expect(proxies.contains(try #require(NetworkAddress(text: address))) == isIn)
    }

    @Test(arguments: [
        "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/", "10.0.0.0/8/8", "/8", "", "::/129", "localhost/8",
        "10.0.0.0/8 ", "10.0.0.0/0x8",
    ])
    func `refuse what is no range`(range: String) { #expect(TrustedProxies(["127.0.0.1", range]) == nil) }

    @Test func `are none when none are named`() throws {
        let address = try #require(NetworkAddress(text: "127.0.0.1"))
        #expect(!TrustedProxies.none.contains(address))
        #expect(try !#require(TrustedProxies([])).contains(address))
    }
}

@Suite struct `Listen address` {
    @Test(arguments: [
        ("127.0.0.1:0", "127.0.0.1:0"), ("localhost:80", "127.0.0.1:80"), ("*:8080", "[::]:8080"),
        ("[::1]:65535", "[::1]:65535"),
    ])
    func `reads host and port`(text: String, expected: String) { #expect(ListenAddress(text)?.description == expected) }

    @Test(arguments: [
        "", ":", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:+80", "127.0.0.1: 80", "::1:80",
        "[127.0.0.1]:80", "[::1:80", "example.com:80", ":80", "[]:80",
    ])
    func `refuses what is none`(text: String) { #expect(ListenAddress(text) == nil) }
}

@Suite struct `Error page` {
    @Test func `escapes what comes from outside`() {
        let page = ErrorPage(
            error: .badRequest(status: 400, reason: "<b>\"&'"), ray: "0-LOC", host: "a<b", time: "t",
            detail: "<script>alert(1)</script> <\u{301}script>")
        #expect(!page.html.contains("<script"))
        #expect(page.html.contains("&lt;script&gt;"))
        #expect(page.html.contains("&lt;b&gt;&quot;&amp;&#39;"))
        #expect(page.html.contains("a&lt;b"))
        #expect(ErrorPage.escape("<\u{301}") == "&lt;\u{301}")
    }

    @Test func `shows details only when it is given them`() {
        let plain = ErrorPage(error: .exception, ray: "0-LOC", host: "h", time: "t")
        #expect(plain.plainText == "error code: 1101\n")
        #expect(!plain.html.contains("<pre>"))
        #expect(ErrorPage(error: .exception, ray: "", host: "", time: "", detail: "why").plainText == "error code: 1101\nwhy\n")
    }

    @Test func `has the product's status and number`() {
        let table: [(EdgeError, Int, Int?, Bool)] = [
            (.exception, 500, 1101, false), (.exceededLimits, 503, 1102, true), (.rateLimited, 429, 1015, true),
            (.unknownHost, 404, 1001, false), (.noRoute, 404, nil, false), (.noIsolate, 503, nil, true),
            (.shuttingDown, 503, nil, true), (.bodyTooLarge(limit: 5), 413, nil, false), (.requestTimeout, 408, nil, false),
            (.wallTime, 524, nil, false), (.badRequest(status: 431, reason: "x"), 431, nil, false),
        ]
        for (error, status, code, mayRetry) in table {
            #expect(error.status == status)
            #expect(error.code == code)
            #expect(error.mayRetry == mayRetry)
        }
    }
}

@Suite struct `What a client is counted by` {
    @Test(arguments: [
        ("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8::1", "2001:db8:0:0::/64"), ("unknown", "unknown"),
        (String(repeating: "x", count: 100), String(repeating: "x", count: 64)),
    ]) func `is the IPv4 address or the IPv6 network`(address: String, key: String) {
        #expect(ClientKey.text(of: address) == key)
    }
}

@Suite struct `Latency histogram` {
    private let start = Instant(nanoseconds: 0)

    @Test func `waits for twenty durations, or for ten seconds`() {
        let histogram = LatencyHistogram()
        for _ in 0..<19 { histogram.record(.milliseconds(1)) }
        #expect(histogram.percentile(0.5, at: start) == nil)
        #expect(histogram.percentile(0.5, at: start + .seconds(9)) == nil)
        #expect(histogram.percentile(0.5, at: start + .seconds(10)) != nil)
        // What it said holds until there is something new, or nothing for as long.
        #expect(histogram.percentile(0.5, at: start + .seconds(19)) != nil)
        #expect(histogram.percentile(0.5, at: start + .seconds(20)) == nil)
    }

    @Test func `is right within its bucket`() {
        let histogram = LatencyHistogram()
        for _ in 0..<95 { histogram.record(.microseconds(900)) }
        for _ in 0..<5 { histogram.record(.seconds(1)) }
        #expect(histogram.percentile(0.95, at: start) == .microseconds(1024))
        for _ in 0..<20 { histogram.record(.milliseconds(600)) }
        let p95 = histogram.percentile(0.95, at: start)
        #expect(p95.map { $0 > .milliseconds(500) && $0 <= .milliseconds(1049) } ?? false)
    }

    @Test func `takes any duration`() {
        let histogram = LatencyHistogram()
        for duration in [Duration.zero, .seconds(-5), .nanoseconds(1), .seconds(1_000_000)] {
            for _ in 0..<10 { histogram.record(duration) }
        }
        #expect(histogram.percentile(0.1, at: start).map { $0 <= .microseconds(1) } ?? false)
    }
}

@Suite struct `Admission of connections` {
    private let address = NetworkAddress(bytes: [127, 0, 0, 1])

    @Test func `counts in all and for each address, and forgets those that left`() {
        let admission = Admission(connectionsMax: 3, perAddressMax: 2)
        #expect(admission.admit(address))
        #expect(admission.admit(address))
        #expect(!admission.admit(address))
        #expect(admission.admit(NetworkAddress(bytes: [10, 0, 0, 1])))
        #expect(!admission.admit(NetworkAddress(bytes: [10, 0, 0, 2])))
        admission.leave(address)
        #expect(admission.admit(address))
        #expect(admission.count == 3)
    }

    @Test func `lets a proxy hold as many as there are`() {
        let admission = Admission(connectionsMax: 5, perAddressMax: 1)
        for _ in 0..<5 { #expect(admission.admit(address, isExempt: true)) }
        #expect(!admission.admit(address, isExempt: true))
        for _ in 0..<5 { admission.leave(address, isExempt: true) }
        #expect(admission.count == 0)
        #expect(admission.admit(address))
        #expect(!admission.admit(address))
    }
}

@Suite(.serialized, .timeLimit(.minutes(5))) struct `Edge headers` {
    /// The headers that an isolate gets, by name.
    private func received(_ lines: [String], _ settings: EdgeSettings) throws -> [String: [String]] {
        let node = try FakeNode(settings: settings)
        defer { node.stop() }
        let worker = try node.addWorker()
        let client = try node.connect()
        client.send((["GET /a HTTP/1.1", "Host: h"] + lines + ["", ""]).joined(separator: "\r\n"))
        let payload = try worker.nextReadyIsolate().receive(.open).payload
        client.close()
        var decoder = WireDecoder(payload)
        _ = try decoder.takeUInt16()
        _ = try decoder.takeUInt16()  // flags, method
        _ = try decoder.takeInt64()
        _ = try decoder.takeString()
        _ = try decoder.takeString()
        let count = Int(try decoder.takeUInt16())
        var cursor = HeaderBlockCursor(count: count, from: decoder.offset)
        var headers: [String: [String]] = [:]
        while let entry = try cursor.next(payload) {
            let name = String(decoding: payload[entry.name.range], as: UTF8.self)
            headers[name, default: []].append(String(decoding: payload[entry.value.range], as: UTF8.self))
        }
        #expect(cursor.offset == payload.count)
        return headers
    }

    private let claims = [
        "X-Forwarded-For: 1.1.1.1", "x-forwarded-for: 2.2.2.2, 3.3.3.3", "X-Forwarded-For:", "CF-Connecting-IP: 6.6.6.6",
        "X-Real-IP: 7.7.7.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil", "CF-IPCountry: CH", "CF-Ray: mine",
        "X-Request-ID: id", "True-Client-IP: 8.8.8.8", "Accept-Encoding: zstd", "CF-Visitor: x",
    ]

    @Test func `say who the client is, whatever it says itself`() async throws {
        try await onThread {
            let headers = try received(claims, EdgeSettings())
            #expect(headers["cf-connecting-ip"] == ["127.0.0.1"])
            #expect(headers["x-real-ip"] == ["127.0.0.1"])
            #expect(headers["x-forwarded-for"] == ["1.1.1.1, 2.2.2.2, 3.3.3.3, 127.0.0.1"])
            #expect(headers["x-forwarded-proto"] == ["http"])
            #expect(headers["x-forwarded-host"] == ["h"])
            #expect(headers["cf-ipcountry"] == ["XX"])
            #expect(headers["true-client-ip"] == nil)
            #expect(headers["accept-encoding"] == ["br, gzip"])
            #expect(headers["x-request-id"] != ["id"])
            #expect(headers["cf-ray"]?.first?.count == 20)
        }
    }

    @Test func `believe a trusted proxy`() async throws {
        try await onThread {
            var settings = EdgeSettings()
            settings.trustedProxies = try #require(TrustedProxies(["127.0.0.0/8"]))
            settings.colo = "Zurich"
            let headers = try received(claims, settings)
            #expect(headers["cf-connecting-ip"] == ["6.6.6.6"])
            #expect(headers["x-forwarded-for"] == ["1.1.1.1, 2.2.2.2, 3.3.3.3, 127.0.0.1"])
            #expect(headers["x-forwarded-proto"] == ["https"])
            #expect(headers["x-forwarded-host"] == ["evil"])
            #expect(headers["cf-ipcountry"] == ["CH"])
            #expect(headers["x-request-id"] == ["id"])
            #expect(headers["cf-ray"]?.first?.hasSuffix("-Zurich") == true)
        }
    }

    @Test func `are complete when the client says nothing`() async throws {
        try await onThread {
            let headers = try received([], EdgeSettings())
            #expect(headers["x-forwarded-for"] == ["127.0.0.1"])
            #expect(headers["traceparent"]?.first?.count == 55)
        }
    }
}

extension LatencyHistogram {
    fileprivate func record(_ duration: Duration) {
        var tally = LatencyTally()
        tally.record(from: Instant(nanoseconds: 0), to: Instant(nanoseconds: duration.wholeNanoseconds))
        add(&tally)
    }
}
