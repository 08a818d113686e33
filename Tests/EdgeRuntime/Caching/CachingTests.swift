import Caching
import HTTP
import Testing
import Wire

/// 2026-01-01T00:00:00Z
private let now: Int64 = 1_767_225_600

private func headers(_ pairs: [(String, String)]) -> Headers {
    var headers = Headers()
    for (name, value) in pairs { try? headers.append(name, value) }
    return headers
}

@Suite struct `Cache-Control` {
    @Test(
        arguments: [
            ("max-age=60", "max-age", 60), ("Max-Age=60", "max-age", 60), ("max-age=\"60\"", "max-age", 60),
            ("public, max-age = 60 , x", "max-age", 60), ("max-age=1, max-age=2", "max-age", 1),
            ("max-age=", "max-age", 0), ("max-age", "max-age", 0), ("max-age=-1", "max-age", 0), ("max-age=1.5", "max-age", 0),
            ("max-age=99999999999999999999", "max-age", 1 << 31), ("s-maxage=60", "max-age", nil), ("", "max-age", nil),
            ("x=\"a, max-age=5\"", "max-age", nil), (",,=,max-age=7", "max-age", 7), ("\"max-age=5", "max-age", nil),
        ] as [(String, String, Int64?)])
    func `gives seconds`(_ text: String, _ name: String, _ expected: Int64?) {
        #expect(CacheControl(text).seconds(name) == expected)
    }

    @Test func `tells a limited directive from a whole one`() {
        #expect(CacheControl("private").isUnqualified("private"))
        #expect(!CacheControl("private=\"Set-Cookie, X\"").isUnqualified("private"))
        #expect(CacheControl("private=\"Set-Cookie, X\"").fields("private") == ["set-cookie", "x"])
        #expect(CacheControl("private=Set-Cookie").fields("private") == ["set-cookie"])
        #expect(CacheControl("private=\"a\", private").isUnqualified("private"))
    }
}

@Suite struct `What a shared cache keeps` {
    @Test(
        arguments: [
            // s-maxage, then max-age, then Expires.
            (200, [("cache-control", "max-age=60")], .store(StorageTerms(lifetime: 60))),
            (200, [("cache-control", "max-age=60, s-maxage=10")], .store(StorageTerms(lifetime: 10))),
            (200, [("cache-control", "max-age=60, s-maxage=0")], .skip(.expired)),
            (200, [("cache-control", "max-age=0, s-maxage=5")], .store(StorageTerms(lifetime: 5))),
            (200, [("cache-control", "max-age=0")], .skip(.expired)),
            (200, [("expires", "Thu, 01 Jan 2026 00:01:00 GMT")], .store(StorageTerms(lifetime: 60))),
            (200, [("expires", "Thu, 01 Jan 2026 00:00:00 GMT")], .skip(.expired)),
            (200, [("expires", "0")], .skip(.expired)), (200, [("expires", "never")], .skip(.expired)),
            (
                200, [("expires", "Thu, 01 Jan 2026 00:01:00 GMT"), ("date", "Thu, 01 Jan 2026 00:00:50 GMT")],
                .store(StorageTerms(lifetime: 10))
            ),
            (200, [("expires", "0"), ("cache-control", "max-age=5")], .store(StorageTerms(lifetime: 5))),
            // What forbids it.
            (200, [("cache-control", "no-store, max-age=60")], .skip(.noStore)),
            (200, [("cache-control", "private, max-age=60")], .skip(.isPrivate)),
            (200, [("cache-control", "no-cache, max-age=60")], .skip(.noCache)),
            (200, [("cache-control", "max-age=60"), ("set-cookie", "a=1")], .skip(.setCookie)),
            (200, [("set-cookie", "a=1")], .skip(.setCookie)),
            (
                200, [("cache-control", "private=Set-Cookie, max-age=60"), ("set-cookie", "a=1")],
                .store(StorageTerms(lifetime: 60, dropped: ["set-cookie"]))
            ),
            (200, [("cache-control", "max-age=60"), ("vary", "*")], .skip(.varyStar)),
            (200, [("cache-control", "max-age=60"), ("vary", "accept, *")], .skip(.varyStar)),
            (206, [("cache-control", "max-age=60")], .skip(.partial)),
            (304, [("cache-control", "max-age=60")], .skip(.status)),
            // Without a word, by status.
            (200, [], .store(StorageTerms(lifetime: 7200))), (301, [], .store(StorageTerms(lifetime: 7200))),
            (302, [], .store(StorageTerms(lifetime: 1200))), (303, [], .store(StorageTerms(lifetime: 1200))),
            (404, [], .store(StorageTerms(lifetime: 180))), (410, [], .store(StorageTerms(lifetime: 180))),
            (403, [], .skip(.noFreshness)), (500, [], .skip(.noFreshness)), (204, [], .skip(.noFreshness)),
            (500, [("cache-control", "max-age=5")], .store(StorageTerms(lifetime: 5))),
            // As old as it says it is.
            (200, [("cache-control", "max-age=60"), ("age", "20")], .store(StorageTerms(lifetime: 60, initialAge: 20))),
            (200, [("cache-control", "max-age=60"), ("age", "60")], .skip(.expired)),
            (200, [("cache-control", "max-age=60"), ("age", "x")], .store(StorageTerms(lifetime: 60))),
            (200, [("cache-control", "max-age=60"), ("age", "-1")], .store(StorageTerms(lifetime: 60))),
            (200, [("cache-control", "max-age=60"), ("age", "20, x")], .store(StorageTerms(lifetime: 60, initialAge: 20))),
            (200, [("cache-control", "max-age=60"), ("age", "x"), ("age", "20")], .store(StorageTerms(lifetime: 60))),
            // As old as its date says, where that is more.
            (
                200, [("cache-control", "max-age=60"), ("date", "Wed, 31 Dec 2025 23:59:30 GMT"), ("age", "20")],
                .store(StorageTerms(lifetime: 60, initialAge: 30))
            ),
            (
                200, [("cache-control", "max-age=60"), ("date", "Thu, 01 Jan 2026 00:00:30 GMT")],
                .store(StorageTerms(lifetime: 60))
            ),
            (200, [("expires", "Friday, 01-Jan-38 00:00:00 GMT")], .store(StorageTerms(lifetime: 378_691_200))),
            // What is said to caches like this one alone (RFC 9213).
            (200, [("cdn-cache-control", "max-age=60"), ("cache-control", "no-store")], .store(StorageTerms(lifetime: 60))),
            (200, [("cdn-cache-control", "max-age=60"), ("expires", "0")], .store(StorageTerms(lifetime: 60))),
            (200, [("cdn-cache-control", "no-store"), ("cache-control", "max-age=60")], .skip(.noStore)),
            (200, [("cdn-cache-control", "private"), ("cache-control", "max-age=60")], .skip(.isPrivate)),
            (200, [("cdn-cache-control", "max-age=0"), ("cache-control", "max-age=60")], .skip(.expired)),
            (
                200, [("cloudflare-cdn-cache-control", "max-age=5"), ("cdn-cache-control", "max-age=60")],
                .store(StorageTerms(lifetime: 5))
            ),
            // One that is no dictionary, or has no integer where one belongs, says nothing.
            (200, [("cdn-cache-control", "max-age=60, &&&"), ("cache-control", "no-store")], .skip(.noStore)),
            (200, [("cdn-cache-control", "max-age=\"60\""), ("cache-control", "no-store")], .skip(.noStore)),
            (200, [("cdn-cache-control", "Max-Age=60"), ("cache-control", "no-store")], .skip(.noStore)),
            (200, [("cdn-cache-control", "max-age =60"), ("cache-control", "no-store")], .skip(.noStore)),
            (200, [("cdn-cache-control", "max-age=60,"), ("cache-control", "no-store")], .skip(.noStore)),
            (200, [("cdn-cache-control", ""), ("cache-control", "no-store")], .skip(.noStore)),
            (
                200,
                [
                    ("cdn-cache-control", "max-age=60;a=?1, b=(1 2), c=:YQ==:, d=\"x\\\"\", e=1.5"),
                    ("cache-control", "no-store"),
                ],
                .store(StorageTerms(lifetime: 60))
            ),
            // For those who know the status (RFC 9111 §5.2.2.3).
            (200, [("cache-control", "must-understand, no-store, max-age=60")], .store(StorageTerms(lifetime: 60))),
            (599, [("cache-control", "must-understand, max-age=60")], .skip(.status)),
            // RFC 5861, and what takes it back.
            (
                200, [("cache-control", "max-age=60, stale-while-revalidate=30, stale-if-error=90")],
                .store(StorageTerms(lifetime: 60, staleWhileRevalidate: 30, staleIfError: 90))
            ),
            (
                200, [("cache-control", "max-age=60, stale-while-revalidate=30, must-revalidate")],
                .store(StorageTerms(lifetime: 60))
            ),
        ] as [(Int, [(String, String)], StorageVerdict)])
    func `follows the response`(_ status: Int, _ fields: [(String, String)], _ expected: StorageVerdict) {
        #expect(StorageRule(now: now).verdict(status: status, headers: headers(fields)) == expected)
    }

    @Test func `counts the time that the answer took as age`() {
        let rule = StorageRule(now: now, askedAt: now - 7)
        func age(_ fields: [(String, String)]) -> Int64? {
            rule.verdict(status: 200, headers: headers([("cache-control", "max-age=60")] + fields)).terms?.initialAge
        }
        #expect(age([]) == 7 && age([("age", "5")]) == 12 && age([("age", "x")]) == 7)
        #expect(age([("age", "53")]) == nil)
    }

    @Test(arguments: [
        ("max-age=60", false), ("max-age=60, public", true), ("s-maxage=60", true), ("max-age=60, must-revalidate", true),
        ("", false),
    ])
    func `asks for more where the request had credentials`(_ control: String, _ isKept: Bool) {
        let rule = StorageRule(requestHeaders: headers([("authorization", "Bearer x")]), now: now)
        let verdict = rule.verdict(status: 200, headers: headers([("cache-control", control)]))
        #expect((verdict.terms != nil) == isKept)
    }

    @Test(
        arguments: [
            (CacheOptions(ttl: 5), 200, "no-store", 5), (CacheOptions(ttl: 5), 404, "", 5),
            (CacheOptions(ttl: 5), 500, "", nil),
            (CacheOptions(ttl: 0), 200, "max-age=60", nil), (CacheOptions(ttl: -1), 200, "max-age=60", nil),
            (
                CacheOptions(
                    ttl: 5, ttlByStatus: [.init(200...299, ttl: 86_400), .init(404, ttl: 1), .init(500...599, ttl: -1)]),
                204, "", 86_400
            ),
            (CacheOptions(ttlByStatus: [.init(404, ttl: 1)]), 404, "max-age=60", 1),
            (CacheOptions(ttlByStatus: [.init(404, ttl: 1)]), 200, "max-age=60", 60),
            (CacheOptions(ttlByStatus: [.init(500...599, ttl: -1)]), 503, "max-age=60", nil),
            (CacheOptions(cacheControl: "max-age=9"), 200, "no-store", 9),
            (CacheOptions(cacheControl: "no-store"), 200, "max-age=9", nil),
            (CacheOptions(mode: .noStore), 200, "max-age=60", nil),
        ] as [(CacheOptions, Int, String, Int64?)])
    func `follows the options before the response`(
        _ options: CacheOptions, _ status: Int, _ control: String, _ seconds: Int64?
    ) throws {
        let rule = StorageRule(options: options, now: now)
        #expect(rule.verdict(status: status, headers: headers([("cache-control", control)])).terms?.lifetime == seconds)
        var cookie = headers([("cache-control", control), ("set-cookie", "a=1")])
        #expect(rule.verdict(status: status, headers: cookie) == .skip(.setCookie))
        cookie.delete("set-cookie")
        #expect(try CacheOptions(decoding: options.encoded()) == options)
    }

    @Test func `a worker's own time is an upper bound`() {
        #expect(DefaultLifetime.atMost(60).seconds(200) == 60)
        #expect(DefaultLifetime.atMost(600).seconds(404) == 180)
        #expect(DefaultLifetime.atMost(60).seconds(500) == nil)
        #expect(DefaultLifetime.atMost(0).seconds(200) == nil)
        #expect(DefaultLifetime.none.seconds(200) == nil)
    }

    @Test(arguments: [
        (CacheOptions(ttl: 1, cacheControl: "x"), true), (CacheOptions(mode: .reload, cacheControl: "x"), true),
        (CacheOptions(mode: .noStore, ttl: 1), true), (CacheOptions(mode: .noStore, ttl: -1), false),
        (CacheOptions(mode: .reload, ttl: 1), false), (CacheOptions(), false),
    ])
    func `options that contradict each other are named`(_ options: CacheOptions, _ isRefused: Bool) {
        #expect((options.contradiction != nil) == isRefused)
    }
}

@Suite struct `What looks like a file` {
    @Test(arguments: [
        ("/a.css", true), ("/a.JS", true), ("/x/y.min.js", true), ("/a.woff2", true), ("/a.zip", true), ("/a.pdf", true),
        ("/", false), ("/a", false), ("/a.html", false), ("/a.json", false), ("/a.css/", false), ("/a.css/b", false),
        ("/.css", true), ("/a.", false),
    ])
    func `is told by its extension`(_ path: String, _ expected: Bool) {
        #expect(CacheEligibility.isStatic(path: path) == expected)
        #expect(CacheEligibility.isEligible(path: path, CacheOptions(everything: true)))
        #expect(CacheEligibility.isEligible(path: path, CacheOptions(tags: ["x"])) == expected)
    }
}

@Suite struct `An answer from what is stored` {
    private static let stored = headers([
        ("etag", "\"v1\""), ("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT"), ("content-type", "text/css"),
    ])

    @Test(
        arguments: [
            ([], .full),
            ([("if-none-match", "\"v1\"")], .notModified), ([("if-none-match", "W/\"v1\"")], .notModified),
            ([("if-none-match", "\"a,b\", \"v1\"")], .notModified), ([("if-none-match", "*")], .notModified),
            ([("if-none-match", "\"v2\"")], .full), ([("if-none-match", "v1")], .full),
            ([("if-modified-since", "Thu, 01 Jan 2026 00:00:00 GMT")], .notModified),
            ([("if-modified-since", "Wed, 31 Dec 2025 23:59:59 GMT")], .full), ([("if-modified-since", "x")], .full),
            ([("if-modified-since", "Friday, 02-Jan-26 00:00:00 GMT")], .notModified),
            ([("if-none-match", "\"v2\""), ("if-modified-since", "Thu, 01 Jan 2026 00:00:00 GMT")], .full),
            ([("if-none-match", "\"v1\""), ("range", "bytes=0-3")], .notModified),
            ([("range", "bytes=0-3")], .part(offset: 0, length: 4)), ([("range", "bytes=8-")], .part(offset: 8, length: 2)),
            ([("range", "bytes=-3")], .part(offset: 7, length: 3)), ([("range", "bytes=-30")], .part(offset: 0, length: 10)),
            ([("range", "bytes=5-99999999999999999999")], .part(offset: 5, length: 5)),
            ([("range", "Bytes = 0-0")], .part(offset: 0, length: 1)),
            ([("range", "bytes=10-")], .unsatisfiable), ([("range", "bytes=-0")], .unsatisfiable),
            ([("range", "bytes=3-2")], .unsatisfiable), ([("range", "bytes=a-b")], .unsatisfiable),
            ([("range", "bytes=1")], .unsatisfiable), ([("range", "bytes=1-x")], .unsatisfiable),
            ([("range", "bytes=0-1,3-4")], .full), ([("range", "lines=0-1")], .full),
            ([("range", "bytes=0-3"), ("if-range", "\"v1\"")], .part(offset: 0, length: 4)),
            ([("range", "bytes=0-3"), ("if-range", "W/\"v1\"")], .full),
            ([("range", "bytes=0-3"), ("if-range", "\"v2\"")], .full),
            ([("range", "bytes=0-3"), ("if-range", "Thu, 01 Jan 2026 00:00:00 GMT")], .part(offset: 0, length: 4)),
        ] as [([(String, String)], StoredAnswer)])
    func `follows conditions and range`(_ request: [(String, String)], _ expected: StoredAnswer) {
        #expect(StoredAnswer(to: headers(request), status: 200, headers: Self.stored, length: 10) == expected)
        #expect(StoredAnswer(to: headers(request), status: 404, headers: Self.stored, length: 10) == .full)
    }

    @Test func `is as old as its date when nothing else says when it changed`() {
        let stored = headers([("date", "Thu, 01 Jan 2026 00:00:00 GMT")])
        func answer(_ since: String) -> StoredAnswer {
            StoredAnswer(to: headers([("if-modified-since", since)]), status: 200, headers: stored, length: 10)
        }
        #expect(answer("Thu, 01 Jan 2026 00:00:00 GMT") == .notModified)
        #expect(answer("Wed, 31 Dec 2025 23:59:59 GMT") == .full)
    }

    private static func response(_ lifetime: Int64 = 60, _ fields: [(String, String)] = []) -> StoredResponse {
        StoredResponse(
            key: CacheKey(.zone("z"), "http://a/x"), url: "http://a/x", status: 200,
            headers: headers([("etag", "\"v1\""), ("x-a", "1"), ("age", "9"), ("content-length", "10")] + fields),
            terms: StorageTerms(lifetime: lifetime, staleWhileRevalidate: 10, staleIfError: 20), storedAt: now * 1000,
            tags: ["t"], bodyByteCount: 10)
    }

    @Test func `says its age, and what of it is sent`() {
        let part = ServedResponse(
            Self.response(), to: headers([("range", "bytes=2-3")]), as: .hit, at: now * 1000 + 5_999)
        #expect(part.status == 206 && part.body?.offset == 2 && part.body?.byteCount == 2)
        #expect(part.headers["age"] == "5" && part.headers["cf-cache-status"] == "HIT")
        #expect(part.headers["content-range"] == "bytes 2-3/10" && part.headers["content-length"] == nil)
        let bad = ServedResponse(Self.response(), to: headers([("range", "bytes=20-")]), as: .hit, at: now * 1000)
        #expect(bad.status == 416 && bad.body == nil && bad.headers["content-range"] == "bytes */10")
        let head = ServedResponse(Self.response(), to: Headers(), isHead: true, as: .hit, at: now * 1000)
        #expect(head.status == 200 && head.body == nil && head.headers["content-length"] == "10")
        let miss = ServedResponse(Self.response(), to: Headers(), as: .miss, at: now * 1000)
        #expect(miss.headers["age"] == nil && miss.headers["cf-cache-status"] == "MISS")
    }

    @Test func `is fresh, then stale in steps`() {
        let response = Self.response()
        func freshness(_ seconds: Int64) -> StoredResponse.Freshness { response.freshness(at: (now + seconds) * 1000) }
        #expect(freshness(0) == .fresh && freshness(59) == .fresh && freshness(-5) == .fresh)
        #expect(freshness(60) == .stale(mayServeWhileAsking: true, mayServeOnError: true))
        #expect(freshness(69) == .stale(mayServeWhileAsking: true, mayServeOnError: true))
        #expect(freshness(70) == .stale(mayServeWhileAsking: false, mayServeOnError: true))
        #expect(freshness(80) == .stale(mayServeWhileAsking: false, mayServeOnError: false))
    }

    @Test func `is asked after and refreshed`() throws {
        let response = Self.response(60, [("set-cookie", "never")])
        let client = headers([("range", "bytes=0-1"), ("if-none-match", "\"x\""), ("if-match", "\"x\""), ("accept", "a")])
        let question = StoredResponse.validating(response, client)
        #expect(question["if-none-match"] == "\"v1\"" && !question.has("range") && question["accept"] == "a")
        #expect(!question.has("if-match"))
        #expect(StoredResponse.validating(nil, client) == headers([("accept", "a")]))
        let rule = StorageRule(now: now + 100)
        func freshen(_ fields: [(String, String)]) -> StoredResponse.Freshened {
            Self.response().freshened(
                by: headers(fields), { rule.verdict(status: 200, headers: $0) }, at: (now + 100) * 1000)
        }
        func kept(_ fields: [(String, String)]) -> StoredResponse? {
            if case .kept(let response) = freshen(fields) { return response }
            return nil
        }
        let fresh = try #require(kept([("cache-control", "max-age=30"), ("x-a", "2"), ("content-type", "no")]))
        #expect(fresh.headers["x-a"] == "2" && fresh.headers["etag"] == "\"v1\"" && fresh.headers["content-type"] == nil)
        #expect(fresh.terms.lifetime == 30 && fresh.age(at: (now + 101) * 1000) == 1 && fresh.bodyByteCount == 10)
        #expect(fresh.headers["date"] == "Thu, 01 Jan 2026 00:01:40 GMT")
        #expect(fresh.tags == ["t"])
        #expect(kept([("cache-control", "max-age=30"), ("cache-tag", "a,b")])?.tags == ["a", "b"])
        #expect(freshen([("cache-control", "no-store")]) == .dropped)
        #expect(freshen([("cache-control", "max-age=30"), ("etag", "\"v2\"")]) == .unrelated)
        #expect(try StoredResponse(decoding: fresh.encoded()) == fresh)
        var plain = Self.response()
        plain.isEncoded = true
        #expect(try StoredResponse(decoding: plain.encoded()).isEncoded)
        let replaced = plain.freshened(
            by: headers([("cache-control", "max-age=30")]), { rule.verdict(status: 200, headers: $0) }, at: (now + 100) * 1000)
        guard case .kept(let replaced) = replaced else { throw WireError.invalidValue("outcome", offset: 0) }
        #expect(replaced.isEncoded)
        for change in [
            { $0.status = 199 }, { $0.status = 600 }, { $0.terms.lifetime = .min }, { $0.terms.initialAge = .max },
            { $0.storedAt = -1 }, { $0.terms.staleIfError = .max },
        ] as [(inout StoredResponse) -> Void] {
            var broken = fresh
            change(&broken)
            #expect(throws: WireError.self) { try StoredResponse(decoding: broken.encoded()) }
        }
        let bytes = fresh.encoded()
        for count in 0..<bytes.count {
            #expect(throws: WireError.self) { try StoredResponse(decoding: Array(bytes[..<count])) }
        }
    }

    @Test func `leaves out what belongs to one connection or to the node`() {
        let stored = Self.response(
            60,
            [("connection", "x-hop, close"), ("x-hop", "1"), ("keep-alive", "5"), ("proxy-authenticate", "a"), ("te", "x")]
                + [("upgrade", "h2"), ("x-accel-expires", "1"), ("cf-ray", "x"), ("x-kept", "1")])
        #expect(Set(stored.headers.map(\.name)) == ["etag", "x-a", "x-kept", "date"])
        let served = ServedResponse(
            Self.response(60, [("cloudflare-cdn-cache-control", "max-age=1")]), to: Headers(), as: .hit, at: now * 1000)
        #expect(!served.headers.has("cloudflare-cdn-cache-control"))
    }
}

@Suite struct `A zone` {
    @Test(arguments: [
        ("example.com", "example.com"), ("api.example.com", "example.com"), ("A.B.Example.COM", "example.com"),
        ("shop.example.co.uk", "example.co.uk"), ("co.uk", "co.uk"), ("example.io", "example.io"), ("localhost", "localhost"),
        ("api.localhost", "localhost"), ("127.0.0.1", "localhost"), ("[::1]", "localhost"), ("192.0.2.1", "192.0.2.1"),
        ("[2001:db8::1]", "[2001:db8::1]"), (".example.com", "example.com"), ("*.example.com", "example.com"), ("", ""),
        ("intranet", "intranet"),
    ])
    func `is the domain that somebody registers`(_ host: String, _ zone: String) {
        #expect(ZoneName.of(host: host) == zone)
    }
}

@Suite struct `An answer to a request that changes something` {
    @Test(
        arguments: [
            (200, [], ["http://a/x"]), (302, [("location", "/y#part")], ["http://a/x", "http://a/y"]),
            (201, [("content-location", "z")], ["http://a/x", "http://a/z"]),
            (201, [("location", "http://b/y")], ["http://a/x"]), (404, [("location", "/y")], []), (500, [], []),
        ] as [(Int, [(String, String)], [String])])
    func `puts out of date what it names`(_ status: Int, _ fields: [(String, String)], _ expected: [String]) {
        #expect(OutdatedURLs.of("http://a/x", status: status, headers: headers(fields)) == expected)
    }

    @Test(arguments: [
        ("GET", false), ("HEAD", false), ("OPTIONS", false), ("TRACE", false), ("POST", true), ("M-SEARCH", true),
    ])
    func `is told by its method`(_ method: String, _ mayChange: Bool) {
        #expect(OutdatedURLs.mayChange(method) == mayChange)
    }
}

@Suite struct `A variant` {
    @Test func `is told by the fields that the response names`() {
        let request = headers([("accept-encoding", "br, gzip"), ("accept-language", "de")])
        let response = headers([("vary", "Accept-Language, Accept-Encoding, X-None")])
        let variant = Variant(of: request, response: response)
        #expect(variant.matches(request))
        #expect(variant.matches(headers([("accept-language", "de"), ("accept-encoding", "br,gzip"), ("x", "y")])))
        #expect(!variant.matches(headers([("accept-language", "en"), ("accept-encoding", "br, gzip")])))
        #expect(!variant.matches(headers([("accept-encoding", "br, gzip")])))
        #expect(!variant.matches(headers([("accept-language", "de"), ("accept-encoding", "br, gzip"), ("x-none", "")])))
        let encoding = Variant(of: request, response: response, onlyEncoding: true)
        #expect(encoding.matches(headers([("accept-language", "en"), ("accept-encoding", "br, gzip")])))
        #expect(!encoding.matches(headers([("accept-encoding", "gzip")])))
        #expect(Variant(of: request, response: Headers()).matches(Headers()))
    }
}

@Suite struct `A purge` {
    private static func stored(_ url: String, _ tags: [String] = [], scope: CacheScope = .zone("a.b")) -> StoredResponse {
        StoredResponse(
            key: CacheKey(scope, url), url: url, status: 200, headers: Headers(), terms: StorageTerms(lifetime: 60),
            storedAt: 0, tags: tags)
    }

    private static func purge(_ change: (inout CachePurge) -> Void) -> CachePurge {
        var purge = CachePurge()
        change(&purge)
        return purge
    }

    @Test(arguments: [
        (purge { $0.everything = true }, true), (purge { $0.urls = ["http://a.b/c/d?e=1"] }, true),
        (purge { $0.urls = ["http://a.b/c/d"] }, false), (purge { $0.tags = ["one"] }, true),
        (purge { $0.tags = ["two"] }, false), (purge { $0.hosts = ["a.b"] }, true), (purge { $0.hosts = ["b"] }, false),
        (purge { $0.prefixes = ["a.b"] }, true), (purge { $0.prefixes = ["a.b/c"] }, true),
        (purge { $0.prefixes = ["a.b/c/"] }, true), (purge { $0.prefixes = ["a.b/c/d"] }, true),
        (
            purge {
                $0.everything = true; $0.zone = "a.b"
            }, true
        ),
        (
            purge {
                $0.everything = true; $0.zone = "x.y"
            }, false
        ),
        (purge { $0.prefixes = ["a.b/c/de"] }, false), (purge { $0.prefixes = ["a"] }, false), (CachePurge(), false),
    ])
    func `covers what it names`(_ purge: CachePurge, _ expected: Bool) {
        #expect(purge.covers(Self.stored("http://a.b/c/d?e=1", ["One"])) == expected)
        #expect(purge.covers(Self.stored("http://a.b/c/d?e=1", ["One"], scope: .worker("w", version: "1"))) == expected)
        // Named caches are the tenant's own.
        #expect(!purge.covers(Self.stored("http://a.b/c/d?e=1", ["One"], scope: .named("n"))))
    }

    @Test func `finds the tags that a response gives`() {
        #expect(CacheTags.parse(" a, b ,,c") == ["a", "b", "c"])
        #expect(CacheTags.parse(String(repeating: "x", count: 1025)).isEmpty)
        #expect(CacheTags.parse(String(repeating: "x,", count: 2000)).count == 1000)
    }
}
