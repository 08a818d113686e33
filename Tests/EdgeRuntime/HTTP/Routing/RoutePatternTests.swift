import Testing

@testable import HTTP

@Suite struct `Route pattern` {
    @Test(arguments: [
        ("example.com/*", 52), ("example.com/api/*", 53), ("example.com/", 54), ("example.com", 54),
        ("*.example.com/*", 26), ("*example.com/*", 52), ("https://a.b.example.com/x/y", 107), ("*/*", -26),
        ("example.com/api*", 54), ("[::1]/*", 26),
    ])
    func `is scored by labels and path parts`(_ text: String, _ score: Int) throws {
        #expect(try RoutePattern(text, for: "w").score == score)
    }

    @Test(arguments: [
        (
            "example.com/a*b",
            #"Route "example.com/a*b" for "w" contains an infix wildcard. This is not allowed."#
        ),
        ("ex*ample.com/", #"Route "ex*ample.com/" for "w" contains an infix wildcard. This is not allowed."#),
        ("**.com/", #"Route "**.com/" for "w" contains an infix wildcard. This is not allowed."#),
        ("a.com/**", #"Route "a.com/**" for "w" contains an infix wildcard. This is not allowed."#),
        (
            "example.com/a?b",
            #"Route "example.com/a?b" for "w" contains a query string. This is not allowed."#
        ),
        ("example.com/a#b", #"Route "example.com/a#b" for "w" contains a fragment. This is not allowed."#),
        ("example.com:80/", #"Route "example.com:80/" for "w" contains a port. This is not allowed."#),
        (
            "ftp://example.com/",
            #"Route "ftp://example.com/" for "w" has a scheme other than http and https."#
        ),
        ("/api/*", #"Route "/api/*" for "w" names no valid host: it has no host."#),
        ("a..com/", #"Route "a..com/" for "w" names no valid host: a label is empty."#),
        ("a b.com/", #"Route "a b.com/" for "w" contains a space, a backslash or a control character."#),
        ("u@a.com/", #"Route "u@a.com/" for "w" names no valid host: it names a user."#),
        (
            "*ö.com/",
            #"Route "*ö.com/" for "w" names no valid host: a wildcard must be followed by a dot when its label isn't ASCII."#
        ),
    ])
    func `probe 10: refuses what no request can match, in words`(_ text: String, _ message: String) throws {
        let error = try #require(throws: RoutePatternError.self) { try RoutePattern(text, for: "w") }
        #expect(error.description == message)
        #expect(!error.fix.isEmpty)
    }

    @Test(arguments: [
        ("a.com/x", "Paths are not allowed in Custom Domains"),
        ("a.com/", "Paths are not allowed in Custom Domains"),
        ("*.a.com", "Wildcard operators (*) are not allowed in Custom Domains"),
        ("a.com:80", #"Route "a.com:80" for "w" contains a port. This is not allowed."#),
    ])
    func `probe 12: a custom domain is one exact host`(_ text: String, _ message: String) throws {
        let error = try #require(throws: RoutePatternError.self) { try CustomDomain(text, for: "w") }
        #expect(error.description == message)
    }

    @Test func `compares hosts as punycode in lower case, and paths as sent`() throws {
        #expect(try RoutePattern("Bücher.Example/", for: "w").host == "xn--bcher-kva.example")
        #expect(try CustomDomain("日本語.JP", for: "w").host == "xn--wgv71a119e.jp")
        #expect(try CustomDomain("münchen-ost.de.", for: "w").host == "xn--mnchen-ost-9db.de")
        #expect(try RoutePattern("a.com/Ä/*", for: "w").path == "/%C3%84/")
        #expect(try RoutePattern("*.a.com/*", for: "w").host == ".a.com")
    }

    @Test(arguments: [
        ("a.com/*", "a.com/*", true), ("a.com/*", "A.COM/*", true), ("a.com/x*", "a.com/y*", false),
        ("http://a.com/*", "https://a.com/", false), ("*.com/ab", "*.net/ab", false),
        ("*b.com/xx*", "*ab.com/x*", true), ("*.a.com/*", "*.b.com/*", false),
        ("a.com/ab*", "a.com/a*", false),
    ])
    func `ties only with an equally specific pattern that a request could match too`(
        _ left: String, _ right: String, _ ties: Bool
    ) throws {
        let (left, right) = (try RoutePattern(left, for: "w"), try RoutePattern(right, for: "v"))
        #expect(left.ties(with: right) == ties)
        #expect(right.ties(with: left) == ties)
        #expect(RouteConflict.among([left, right]) == (ties ? [RouteConflict(first: 0, second: 1)] : []))
    }
}
