import Testing

@testable import Configuration

@Suite struct `Values with units and addresses` {
    @Test(
        arguments: [
            ("0s", .zero), ("500ms", .milliseconds(500)), ("30s", .seconds(30)), ("5m", .seconds(300)),
            ("2h", .seconds(7200)),
            ("7d", .seconds(604_800)), ("30", nil), ("s", nil), ("1.5s", nil), ("-1s", nil), ("1S", nil),
            ("1 s", nil), ("1h30m", nil),
            ("999999999999999d", nil), ("٣s", nil), ("", nil),
        ] as [(String, Duration?)])
    func `durations are a number and a unit`(_ text: String, _ duration: Duration?) {
        #expect(DurationText.parse(text) == duration)
        if let duration { #expect(DurationText.parse(DurationText.text(duration)) == duration) }
    }

    @Test(
        arguments: [
            ("0B", 0), ("64MiB", 64 << 20), ("1KB", 1000), ("2GiB", 2 << 30), ("1TiB", 1 << 40), ("64", nil),
            ("64mib", nil), ("64M", nil),
            ("MiB", nil), ("999999999999999TiB", nil), ("-1B", nil),
        ] as [(String, Int?)])
    func `sizes are a number and a unit`(_ text: String, _ size: Int?) {
        #expect(SizeText.parse(text) == size)
        if let size { #expect(SizeText.parse(SizeText.text(size)) == size) }
    }

    @Test(
        arguments: [
            ("127.0.0.1:8787", "127.0.0.1", 8787), ("[::]:443", "::", 443), ("localhost:0", "localhost", 0),
            ("0.0.0.0:65535", "0.0.0.0", 65535),
        ] as [(String, String, UInt16)])
    func `reads an address to listen on`(_ text: String, _ host: String, _ port: UInt16) throws {
        let address = try #require(ListenAddress(text))
        #expect(address == ListenAddress(host: host, port: port))
        #expect(address.description == text)
    }

    @Test(arguments: [
        "", ":80", "80", "a:", "a:65536", "a:-1", "[::1:80", "::1:80", "[x]:80", "a b:80", "[127.0.0.1]:80",
    ])
    func `refuses what is no address to listen on`(_ text: String) { #expect(ListenAddress(text) == nil) }

    @Test(arguments: [
        ("10.0.0.0/8", "10.255.1.2", true), ("10.0.0.0/8", "11.0.0.1", false),
        ("192.168.1.1", "192.168.1.1", true),
        ("192.168.1.0/25", "192.168.1.127", true), ("192.168.1.0/25", "192.168.1.128", false),
        ("0.0.0.0/0", "8.8.8.8", true),
        ("fd00::/8", "fdab::1", true), ("fd00::/8", "fe80::1", false), ("::1", "::1", true),
        ("10.0.0.0/8", "::ffff:10.1.2.3", true),
        ("10.0.0.0/8", "::1", false), ("2001:db8::/33", "2001:db8:7fff::1", true),
        ("2001:db8::/33", "2001:db8:8000::1", false),
    ])
    func `a range holds its addresses`(_ range: String, _ address: String, _ isInside: Bool) throws {
        #expect(try #require(AddressRange(range)).contains(try #require(IPAddress(address))) == isInside)
    }

    @Test(arguments: [
        "10.0.0.0/33", "10.0.0/8", "010.0.0.0/8", "256.0.0.0", "::1::", "1:2:3:4:5:6:7:8:9", "::/129", "x",
        "", "10.0.0.0/", "1:2:3", ":1", "12345::",
    ])
    func `refuses what is no range`(_ text: String) { #expect(AddressRange(text) == nil) }

    @Test(
        arguments: [
            ("api.x.com", "api.x.com", 443, true), ("api.x.com", "api.x.com", 8443, false),
            ("API.X.com:8443", "api.x.com", 8443, true),
            ("api.x.com:8443", "api.x.com", 443, false), ("*.x.com", "a.x.com", 80, true),
            ("*.x.com", "x.com", 80, false),
            ("*.x.com", "evilx.com", 80, false), ("*", "anything.net", 443, true),
            ("*", "anything.net", 22, false), ("*:22", "a.b", 22, true),
            ("[::1]:80", "[::1]", 80, true),
        ] as [(String, String, UInt16, Bool)])
    func `an outbound rule takes its hosts and ports`(
        _ rule: String, _ host: String, _ port: UInt16, _ allows: Bool
    ) throws {
        #expect(try #require(OutboundRule(rule)).allows(host: host, port: port) == allows)
    }

    @Test(arguments: [
        "", "a b", "http://x.com", "x.com/", "*x.com", "x.*.com", "x.com:0", "x.com:99999", "*.", "a..b",
        "[x]",
    ])
    func `refuses what is no outbound rule`(_ text: String) { #expect(OutboundRule(text) == nil) }
}
