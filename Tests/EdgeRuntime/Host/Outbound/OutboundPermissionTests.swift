import Testing

@testable import Host

@Suite struct `Outbound permission` {
    private static let policy = OutboundPolicy(
        OutboundPermission(hosts: [
            "api.example.com", "*.example.org", "db.example.net:8443", "[2606:4700::1111]",
        ]))

    @Test(
        arguments: [
            ("api.example.com", 443), ("api.example.com", 80), ("a.example.org", 443),
            ("db.example.net", 8443),
            ("[2606:4700::1111]", 443),
        ] as [(String, UInt16)])
    func `allows the host and port of a rule`(host: String, port: UInt16) {
        #expect(Self.policy.allows(host, port))
    }

    @Test(
        arguments: [
            ("api.example.com", 22), ("api.example.com", 8443), ("x.api.example.com", 443),
            ("example.org", 443),
            ("a.example.org", 25), ("db.example.net", 443), ("[2606:4700::1111]", 53), ("other.example", 443),
        ] as [(String, UInt16)])
    func `refuses every other host, and other ports than 80 and 443 where none is named`(
        host: String, port: UInt16
    ) {
        #expect(!Self.policy.allows(host, port))
    }

    @Test func `grants nothing with an empty list, everything without one`() {
        #expect(!OutboundPolicy(OutboundPermission(hosts: [])).allows("example.com", 443))
        #expect(OutboundPolicy(OutboundPermission()).allows("example.com", 8443))
    }
}
