import Assets
import HTTP
import Testing

@Suite struct `Path patterns` {
    @Test(
        arguments: [
            ("/a", "/a", [:]), ("/a", "/a/", nil), ("/*", "/", ["splat": ""]), ("/*", "/a/b", ["splat": "a/b"]),
            ("/blog/*", "/blog", nil), ("/blog/*", "/blog/", ["splat": ""]), ("/*.jpg", "/x/y.jpg", ["splat": "x/y"]),
            ("/*.jpg", "/x/y.png", nil), ("/a/*/z", "/a/z", nil), ("/a/*/z", "/a/b/c/z", ["splat": "b/c"]), ("/:x", "/", nil),
            ("/:x", "/a", ["x": "a"]), ("/:x", "/a/b", nil), ("/:x.html", "/a.html", ["x": "a"]), ("/:x.html", "/.html", nil),
            ("/p-:x/:y", "/p-1/2", ["x": "1", "y": "2"]), ("/:x/*", "/a/b/c", ["x": "a", "splat": "b/c"]),
            ("/1:2", "/1:2", [:]),
            ("/aa*a", "/aa", nil), ("/aa*a", "/aaa", ["splat": ""]), ("/:splat", "/a/b", nil),
            ("/:splat", "/a", ["splat": "a"]),
        ] as [(String, String, [String: String]?)])
    func `match`(_ pattern: String, _ path: String, _ captures: [String: String]?) throws {
        #expect(try PathPattern(pattern).match(path) == captures)
    }

    @Test(arguments: [
        ("/*/*", PathPattern.Flaw.severalSplats), ("/**", .severalSplats), ("/:a:b", .severalInOnePart),
        ("/:a*", .severalInOnePart),
        ("/:a/:a", .nameTwice("a")), ("/:splat/*", .nameTwice("splat")),
    ])
    func `have one way to match`(_ pattern: String, _ flaw: PathPattern.Flaw) {
        #expect(throws: flaw) { try PathPattern(pattern) }
    }

    /// Against the plainest way to say it: try all lengths.
    @Test func `agree with a search`() throws {
        func search(_ pattern: ArraySlice<UInt8>, _ path: ArraySlice<UInt8>) -> Bool {
            guard let first = pattern.first else { return path.isEmpty }
            if first == UInt8(ascii: "*") {
                return (0...path.count).contains { search(pattern.dropFirst(), path.dropFirst($0)) }
            }
            if first == UInt8(ascii: ":"), pattern.dropFirst().first == UInt8(ascii: "n") {
                let longest = path.prefix { $0 != UInt8(ascii: "/") }.count
                return longest > 0 && (1...longest).contains { search(pattern.dropFirst(2), path.dropFirst($0)) }
            }
            return path.first == first && search(pattern.dropFirst(), path.dropFirst())
        }
        var matches = 0
        for seed in 0..<6000 as Range<UInt64> {
            var random = SplitMix64(seed: seed)
            func text(_ pieces: [String], _ most: Int) -> String {
                "/"
                    + (0..<Int.random(in: 0...most, using: &random)).map { _ in pieces.randomElement(using: &random) ?? "" }
                    .joined()
            }
            let written = text(["a", "-", "/", "/", "*", ":n", "."], 6)
            // There the name would be another.
            guard !written.contains(":na"), let pattern = try? PathPattern(written) else { continue }
            for _ in 0..<8 {
                let path = text(["a", "-", "/", "."], 6)
                let captures = pattern.match(path)
                #expect(
                    (captures != nil) == search(Array(written.utf8)[...], Array(path.utf8)[...]),
                    "seed \(seed): \(written) and \(path)")
                guard let captures else { continue }
                matches += 1
                // What was captured, put back, makes the path.
                let again = written.replacing("*", with: captures["splat"] ?? "").replacing(":n", with: captures["n"] ?? "")
                #expect(again == path, "seed \(seed): \(written) and \(path)")
            }
        }
        #expect(matches > 1000)
    }

    @Test func `fill in what they captured, escaped`() {
        let captures = ["x": "a b", "splat": "c/d\r\n"]
        #expect(PathPattern.fill("/:x/:splat/:other:", captures) == "/a%20b/c/d%0D%0A/:other:")
        #expect(PathPattern.fill("https://:x.example.com:8080/", captures) == "https://a%20b.example.com:8080/")
    }
}

@Suite struct `_headers` {
    private func apply(_ text: String, _ path: String, host: String = "h", to headers: [AssetHeader] = []) throws -> [String] {
        try AssetHeaderRules(text).apply(to: headers, host: host, path: path).map { "\($0.name): \($0.value)" }
    }

    @Test func `adds, replaces, joins and removes`() throws {
        let text = """
            # a comment
            /a/*
              X-One: 1
              cache-control: no-cache
              Set-Cookie: a=1
            /a/b\r
              X-One: 2
              ! ETag
              Set-Cookie: b=2
            https://:sub.example.com/a/:name
              X-Name: :sub :name :splat
            """
        let own = [AssetHeader("ETag", "\"x\""), AssetHeader("Cache-Control", "public")]
        #expect(
            try apply(text, "/a/b", to: own) == [
                "X-One: 1, 2", "cache-control: no-cache", "Set-Cookie: a=1", "Set-Cookie: b=2",
            ])
        #expect(try apply(text, "/b", to: own) == ["ETag: \"x\"", "Cache-Control: public"])
        #expect(try apply(text, "/a/c", host: "WWW.example.com").last == "X-Name: www c :splat")
    }

    @Test(arguments: [
        ("X: 1", 1, "a header before the first path"), ("/a\n  X", 2, "expected a path"), ("/a\n  !", 2, "expected the name"),
        ("/a\n X Y: 1", 2, "expected a path"), ("/a\n Content-Length: 1", 2, "the node's own"), ("/a\n X:", 2, "no value"),
        ("/*/*\n X: 1", 1, "may stand once"), ("/a\n X: a\u{1}b", 2, "control character"),
        ("/a\nX: " + String(repeating: "x", count: 1998), 2, "at most 2000"),
    ])
    func `say what is wrong, and where`(_ text: String, _ line: Int, _ reason: String) {
        let error = #expect(throws: RuleFileError.self) { try AssetHeaderRules(text) }
        #expect(error?.line == line && error?.reason.contains(reason) == true, "\(error.map { "\($0)" } ?? "")")
    }

    @Test func `have a limit`() throws {
        let rules = (0..<100).map { "/\($0)\n X: 1\n" }.joined()
        #expect(try AssetHeaderRules(rules).count == 100)
        let error = #expect(throws: RuleFileError.self) { try AssetHeaderRules(rules + "/one-more\n X: 1") }
        #expect(error?.line == 201)
        #expect(try AssetHeaderRules("/a\n X: " + String(repeating: "x", count: 1997)).count == 1)
    }

    @Test func `any text is read or refused, and what comes out can stand in a head`() {
        for seed in 0..<3000 as Range<UInt64> {
            var random = SplitMix64(seed: seed)
            let pieces = [
                "/a", "/*", "/:n", "\n", "\r\n", "  ", "X-A: 1", "! X-A", ":", "!", "#", "https://", "h", "\t", "é", "\u{0}",
                "X-B: :n :splat",
            ]
            let text = (0..<Int.random(in: 0...14, using: &random)).map { _ in pieces.randomElement(using: &random) ?? "" }
                .joined()
            guard let rules = try? AssetHeaderRules(text) else { continue }
            for header in rules.apply(to: [AssetHeader("X-A", "0")], host: "h", path: "/a\r\nb") {
                #expect(header.value.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }, "seed \(seed)")
                #expect(
                    !header.name.isEmpty && header.name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: ":") },
                    "seed \(seed)")
            }
        }
    }
}

@Suite struct `_redirects` {
    private static let text = """
        # first the one with a star: the plain one counts all the same
        /old/* /new/:splat 301
        /old/page /page
        /u/:name /users/:name.html 200
        /away https://example.com/x?y=1#z 308
        /mark /target#part 303
        /é /ü 307
        """

    @Test(
        arguments: [
            ("/old/page", "?q", .redirect("/page?q", status: 302)), ("/old/x/y", "?q", .redirect("/new/x/y?q", status: 301)),
            ("/u/ann", "?q", .rewrite("/users/ann.html")),
            ("/away", "?q", .redirect("https://example.com/x?y=1#z", status: 308)),
            ("/mark", "?q", .redirect("/target?q#part", status: 303)), ("/é", "", .redirect("/%C3%BC", status: 307)),
            ("/old", "", nil),
        ] as [(String, String, AssetRedirects.Outcome?)])
    func `lead`(_ path: String, _ query: String, _ outcome: AssetRedirects.Outcome?) throws {
        #expect(try AssetRedirects(Self.text).match(path, query: query) == outcome)
    }

    @Test(arguments: [
        ("/a", "expected SOURCE TARGET"), ("/a /b 301 x", "expected SOURCE TARGET"), ("/a /b 304", "a status is"),
        ("/a /b x", "a status is"),
        ("a /b", "a source begins"), ("/a b", "a target begins"), ("/a //b", "a target begins"),
        ("/a ftp://b", "a target begins"),
        ("/a https://b 200", "a rewrite (200)"), ("/* /index.html", "leads back to itself"),
        ("/* /index.html 200", "leads back to itself"),
        ("/a/* /b/index", "leads back to itself"), ("/ /index.html", "leads back to itself"), ("/a /a", "leads to itself"),
        ("/a /%61", "leads to itself"), ("/:a:b /c", "between two slashes"),
    ])
    func `say what is wrong`(_ text: String, _ reason: String) {
        let error = #expect(throws: RuleFileError.self) { try AssetRedirects("\n" + text) }
        #expect(error?.line == 2 && error?.reason.contains(reason) == true, "\(error.map { "\($0)" } ?? "")")
    }

    @Test func `have limits`() throws {
        let plain = (0..<2000).map { "/\($0) /x\n" }.joined()
        let dynamic = (0..<100).map { "/\($0)/* /x\n" }.joined()
        #expect(try AssetRedirects(plain + dynamic).match("/1999", query: "") == .redirect("/x", status: 302))
        #expect(throws: RuleFileError.self) { try AssetRedirects(plain + dynamic + "/one /more") }
        #expect(throws: RuleFileError.self) { try AssetRedirects(plain + dynamic + "/one/* /more") }
    }

    @Test func `the first of two counts`() throws {
        #expect(try AssetRedirects("/a /b\n/a /c").match("/a", query: "") == .redirect("/b", status: 302))
        #expect(try AssetRedirects("/:x /b\n/* /c").match("/a", query: "") == .redirect("/b", status: 302))
    }
}

@Suite struct `Ignore rules` {
    @Test(
        arguments: [
            ("*.map", "x.map", false, true), ("*.map", "a/x.map", false, true), ("/x.map", "a/x.map", false, false),
            ("a/*.map", "a/x.map", false, true),
            ("a/*.map", "b/a/x.map", false, false), ("secret/", "secret", true, true), ("secret/", "secret", false, false),
            ("**/b", "a/b", false, true),
            ("a/**", "a", true, false), ("a/**", "a/b", false, true), ("a/**/b", "a/b", false, true),
            ("a/**/b", "a/x/y/b", false, true),
            ("# x", "# x", false, false), ("\\#x", "#x", false, true), ("[a-c].txt", "b.txt", false, true),
            ("[!a-c].txt", "b.txt", false, false),
            ("?.txt", "ab.txt", false, false), ("x \r", "x", false, true), ("*.a\n!k.a", "k.a", false, false),
            ("*.a\n!k.a\n*.a", "k.a", false, true),
            ("", "_headers", false, true), ("", "a/_headers", false, false), ("", "a/.dev.vars.x", false, true),
            ("!.env.example", ".env.example", false, false),
            ("", ".git", true, true), ("", ".well-known", true, false), ("[", "[", false, true),
            ("a*b*c", "aXbYc", false, true),
        ] as [(String, String, Bool, Bool)])
    func `leave out`(_ text: String, _ path: String, _ isDirectory: Bool, _ isIgnored: Bool) {
        #expect(IgnoreRules(text).ignores(path, isDirectory: isDirectory) == isIgnored)
    }

    @Test func `a hostile rule takes no time to speak of`() {
        let rules = IgnoreRules(String(repeating: "**/", count: 300) + String(repeating: "*a", count: 100) + "b")
        #expect(!rules.ignores(String(repeating: "a/", count: 100) + String(repeating: "a", count: 200), isDirectory: false))
    }
}
