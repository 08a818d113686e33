import HTTP
import Testing

@Suite struct `Route table` {
    private func table(_ routes: [String], domains: [String] = []) throws -> RouteTable<String> {
        RouteTable(
            routes: try routes.map { (try RoutePattern($0, for: "w"), $0) },
            domains: try domains.map { (try CustomDomain($0, for: "w"), "domain " + $0) })
    }

    private func match(
        _ table: RouteTable<String>, _ host: String, _ target: String, _ scheme: RouteScheme = .http
    ) -> String {
        let (host, target) = (Array(host.utf8), Array(target.utf8))
        // SAFETY: bytes of UInt8 are initialised, and the spans end before the arrays do.
        let found = unsafe table.match(host: host.span.bytes, target: target.span.bytes, scheme: scheme)
        return switch found {
        case .route(let name), .domain(let name): name
        case .knownHost: "known"
        case .unknownHost: "unknown"
        }
    }

    private func domain(_ table: RouteTable<String>, _ host: String) -> String? {
        let host = Array(host.utf8)
        // SAFETY: as above.
        return unsafe table.domain(host: host.span.bytes)
    }

    @Test func `probe 9: the more specific pattern wins whatever the order`() throws {
        for routes in [["example.com/*", "example.com/api/*"], ["example.com/api/*", "example.com/*"]] {
            let table = try table(routes)
            #expect(match(table, "example.com", "/api/x") == "example.com/api/*")
            #expect(match(table, "example.com", "/x") == "example.com/*")
            #expect(match(table, "example.com", "/api") == "example.com/*")
        }
    }

    @Test func `probe 10: the query is part of what is matched`() throws {
        let exact = try table(["example.com/"])
        #expect(match(exact, "example.com", "/") == "example.com/")
        #expect(match(exact, "example.com", "/?a=1") == "known")
        #expect(match(try table(["example.com/*"]), "example.com", "/?a=1") == "example.com/*")
    }

    @Test func `probe 11: a glued wildcard takes the apex, a dotted one does not`() throws {
        let glued = try table(["*example.com/*"])
        #expect(match(glued, "myexample.com", "/") == "*example.com/*")
        #expect(match(glued, "example.com", "/") == "*example.com/*")
        #expect(match(glued, "a.example.com", "/") == "*example.com/*")
        let dotted = try table(["*.example.com/*"])
        #expect(match(dotted, "example.com", "/") == "unknown")
        #expect(match(dotted, "a.b.example.com", "/") == "*.example.com/*")
        #expect(match(dotted, "myexample.com", "/") == "unknown")
    }

    @Test func `probe 13: a route comes before the custom domain that stands behind it`() throws {
        let table = try table(["a.com/api/*"], domains: ["a.com"])
        #expect(match(table, "a.com", "/api/1") == "a.com/api/*")
        #expect(match(table, "a.com", "/other") == "domain a.com")
        #expect(domain(table, "A.com:443") == "domain a.com")
        #expect(domain(table, "b.com") == nil)
    }

    @Test func `hosts are compared in any case, without port and final dot; paths exactly`() throws {
        let table = try table(["api.example.com/Up/*", "[::1]/*"])
        for host in [
            "api.example.com", "API.Example.COM", "api.example.com:8787", "api.example.com.",
            "api.example.com.:80",
        ] {
            #expect(match(table, host, "/Up/1") == "api.example.com/Up/*")
        }
        #expect(match(table, "api.example.com", "/up/1") == "known")
        #expect(match(table, "[::1]:80", "/") == "[::1]/*")
        for host in ["", ":", "[", "[::2", "example.com", "xapi.example.com", "api.example.co"] {
            #expect(match(table, host, "/Up/1") == "unknown")
        }
    }

    @Test func `an exact host comes before a wildcard, and a wildcard still gets what is left`() throws {
        let table = try table(["*.example.com/*", "api.example.com/v1/*", "*example.com/api/*", "*/*"])
        #expect(match(table, "api.example.com", "/v1/x") == "api.example.com/v1/*")
        #expect(match(table, "api.example.com", "/v2") == "*.example.com/*")
        #expect(match(table, "www.example.com", "/api/x") == "*example.com/api/*")
        #expect(match(table, "other.net", "/") == "*/*")
        #expect(match(table, "", "/") == "*/*")
    }

    @Test func `folds the case of letters alone, in names of any length`() throws {
        for count in 1...40 {
            let name = String(repeating: "z-a.", count: 10).prefix(count - 1) + "z"
            let table = try table(["\(name)/*", "*\(name).suffix/*"])
            #expect(match(table, name.uppercased(), "/") == "\(name)/*")
            #expect(match(table, "x" + name.uppercased() + ".SUFFIX", "/") == "*\(name).suffix/*")
            for other in [
                "\(name.dropLast())Z\u{1}", "\(name.dropLast()){", "\(name.dropLast())\u{1A}",
                "\(name.dropLast())ú",
            ] {
                #expect(match(table, other, "/") == "unknown")
            }
        }
    }

    @Test func `a scheme in a pattern is asked for`() throws {
        let table = try table(["https://a.com/*", "a.com/x"])
        #expect(match(table, "a.com", "/", .https) == "https://a.com/*")
        #expect(match(table, "a.com", "/", .http) == "known")
        #expect(match(table, "a.com", "/x", .http) == "a.com/x")
    }

    @Test func `agrees with trying every pattern, on random tables`() throws {
        let seed = UInt64.random(in: .min ... .max)
        var random = RouteGenerator(seed: seed)
        let hosts = ["a.com", "b.a.com", "*.a.com", "*a.com", "*", "ba.com", "*b.a.com", "a.com."]
        let paths = ["/*", "/", "/x", "/x/*", "/x*", "/x/y", "/x/y/*", ""]
        for _ in 0..<300 {
            let patterns = try (0..<Int.random(in: 0...10, using: &random)).map { _ in
                try RoutePattern(
                    hosts[Int.random(in: 0..<hosts.count, using: &random)]
                        + paths[Int.random(in: 0..<paths.count, using: &random)],
                    for: "w")
            }
            let table = RouteTable(routes: patterns.map { (pattern: $0, payload: $0.text) })
            for host in ["a.com", "b.a.com", "c.b.a.com", "ba.com", "A.COM", "z.org", "b.a.com:1"] {
                for target in ["/", "/x", "/x/", "/x/y", "/x/y?q", "/xy", "/?x", "*"] {
                    let expected = slowMatch(patterns, host, target)
                    #expect(
                        match(table, host, target) == expected, "seed \(seed): \(patterns) \(host) \(target)")
                }
            }
        }
    }

    private func slowMatch(_ patterns: [RoutePattern], _ host: String, _ target: String) -> String {
        let host = host.lowercased().prefix { $0 != ":" }
        let sameHost = patterns.filter { $0.hostHasWildcard ? host.hasSuffix($0.host) : host == $0.host }
        let matching = sameHost.enumerated().filter { _, pattern in
            pattern.pathHasWildcard ? target.hasPrefix(pattern.path) : target == pattern.path
        }
        func rank(_ pattern: RoutePattern) -> (Int, Int, Int) {
            (pattern.hostHasWildcard ? 0 : 1, pattern.score, pattern.text.utf8.count)
        }
        let best = matching.max { left, right in
            let (a, b) = (rank(left.element), rank(right.element))
            return a == b ? left.offset > right.offset : a < b
        }
        return best?.element.text ?? (sameHost.isEmpty ? "unknown" : "known")
    }
}

/// SplitMix64: the same numbers for the same seed.
private struct RouteGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
