import Assets
import HTTP
import Testing

@Suite struct `Asset rules` {
    private static let script = AssetFile(
        hash: String(repeating: "a", count: 64), byteCount: 5000, type: "text/javascript; charset=utf-8",
        variants: [.gzip: .init(name: "a.gz", byteCount: 500), .brotli: .init(name: "a.br", byteCount: 400)])
    private static let page = AssetFile(
        hash: String(repeating: "b", count: 64), byteCount: 10, type: "text/html; charset=utf-8")

    private func rules(_ change: (inout AssetRules) -> Void = { _ in }) -> AssetRules {
        var rules = AssetRules(manifest: [
            "/index.html": Self.page, "/file.html": Self.page, "/script.js": Self.script, "/a b/é.txt": Self.page,
            "/admin/secret.txt": Self.page,
        ])
        change(&rules)
        return rules
    }

    private func get(_ target: String, method: AssetRequest.Method = .get, _ change: (inout AssetRequest) -> Void = { _ in })
        -> AssetRequest
    {
        var request = AssetRequest(method: method, host: "h", target: target)
        change(&request)
        return request
    }

    private func header(_ name: String, _ answer: AssetAnswer?) -> String? {
        answer?.headers.first { $0.name.lowercased() == name.lowercased() }?.value
    }

    // MARK: Who answers

    @Test func `files come before the worker, and the worker before what isn't there`() {
        let rules = rules()
        #expect(rules.answerBeforeWorker(get("/script.js"))?.status == 200)
        #expect(rules.answerBeforeWorker(get("/missing")) == nil)
        #expect(rules.answer(get("/missing")).status == 404)
        #expect(rules.answerBeforeWorker(get("/script.js", method: .other))?.status == 405)
        #expect(rules.answerBeforeWorker(get("/missing", method: .other)) == nil)
    }

    @Test func `a person's address gets the page before the worker, by the date of the worker`() {
        var rules = rules { $0.notFound = .singlePageApplication }
        let navigation = get("/missing") { $0.isNavigation = true }
        #expect(rules.answerBeforeWorker(navigation)?.status == 200)
        #expect(rules.answerBeforeWorker(get("/missing")) == nil)
        rules.navigationPrefersAssets = false
        #expect(rules.answerBeforeWorker(navigation) == nil)
        #expect(rules.answer(get("/missing")).status == 200)
    }

    @Test(arguments: [
        ("/api/x", WorkerFirstRules.Verdict.worker), ("/api/static/x", .assets), ("/api", .open), ("/api/", .worker),
        ("/x/api/y", .open), ("/img/a.png", .worker), ("/img/a.jpg", .open), ("/a/middle/z", .worker), ("/a/z", .open),
    ])
    func `rules say who is first`(_ path: String, _ verdict: WorkerFirstRules.Verdict) {
        #expect(WorkerFirstRules.paths(["/api/*", "!/api/static/*", "/img/*.png", "/a/*/z"]).verdict(path) == verdict)
        #expect(WorkerFirstRules.always.verdict(path) == .worker)
        #expect(WorkerFirstRules.never.verdict(path) == .open)
    }

    /// A worker that guards files sees each request for them, however it writes the path.
    @Test(arguments: [
        "/admin/secret.txt", "/%61dmin/secret.txt", "//admin/secret.txt", "/admin%2Fsecret.txt", "/admin//secret.txt",
    ])
    func `no way of writing a path gets around the worker`(_ path: String) {
        let rules = rules { $0.workerFirst = .paths(["/admin/*"]) }
        let answer = rules.answerBeforeWorker(get(path))
        #expect(answer == nil || answer?.status == 307 && header("location", answer) == "/admin/secret.txt")
    }

    /// `é` as one character and as two look alike, and are two paths.
    @Test func `a path that only looks like a file's doesn't get around the worker`() throws {
        var rules = rules { $0.workerFirst = .paths(["/a%20b/%C3%A9*"]) }
        #expect(rules.answerBeforeWorker(get("/a%20b/%C3%A9.txt")) == nil)
        #expect(rules.answerBeforeWorker(get("/a%20b/e%CC%81.txt")) == nil)
        #expect(rules.answer(get("/a%20b/e%CC%81.txt")).status == 404)
        rules.manifest["/a b/e\u{301}.txt"] = Self.script
        #expect(rules.answer(get("/a%20b/e%CC%81.txt")).body?.fileByteCount == 5000)
        #expect(rules.answer(get("/a%20b/%C3%A9.txt")).body?.fileByteCount == 10)
        rules.redirects = try AssetRedirects("/\u{e9} /one\n/e\u{301} /two\n")
        #expect(header("location", rules.answer(get("/%C3%A9"))) == "/one")
        #expect(header("location", rules.answer(get("/e%CC%81"))) == "/two")
    }

    // MARK: Paths

    @Test(
        arguments: [
            ("/script%2Ejs?q=1", "/script.js?q=1"), ("//script.js", "/script.js"), ("/a%20b/%C3%A9.txt", nil),
            ("/a b/é.txt", "/a%20b/%C3%A9.txt"), ("/a%20b//%c3%a9.txt", "/a%20b/%C3%A9.txt"), ("/file.html?x", "/file?x"),
            ("/%2F%2Fscript.js", "/script.js"),
        ] as [(String, String?)])
    func `one way of writing a path is served, the others lead there`(_ target: String, _ location: String?) {
        let answer = rules().answer(get(target))
        #expect(answer.status == (location == nil ? 200 : 307))
        #expect(header("location", answer) == location)
    }

    @Test(arguments: [
        ("/a%zzb", "/a%zzb"), ("/%ff", "/%ff"), ("/%", "/%"), ("/%41%ff/%41", "/%41%ff/A"), ("", "/"), ("/a/", "/a/"),
        ("///", "/"), ("/%2f/a", "/a"), ("/a%00b", "/a\0b"),
    ])
    func `an escape that means nothing stays`(_ path: String, _ decoded: String) { #expect(AssetPath.decode(path) == decoded) }

    @Test func `a redirect never leads to another host`() throws {
        let redirects = try AssetRedirects("/go/* /:splat\n/:x/index.html/* /:splat 301\n")
        for seed in 0..<3000 as Range<UInt64> {
            var random = SplitMix64(seed: seed)
            let pieces = ["/", "//", "%2f", "%5c", "\\", "evil.com", "file", ".html", "index", "%2e", "%0d%0a", "a", "@", ":"]
            let target =
                "/"
                + (0..<Int.random(in: 0...6, using: &random)).map { _ in pieces.randomElement(using: &random) ?? "" }.joined()
            let rules = rules {
                $0.redirects = redirects
                $0.notFound = Bool.random(using: &random) ? .singlePageApplication : .none
                $0.html = HTMLHandling.allCases.randomElement(using: &random) ?? .none
            }
            for path in [target, "/go" + target] {
                guard let location = header("location", rules.answer(get(path))) else { continue }
                #expect(
                    location.hasPrefix("/") && !location.hasPrefix("//") && !location.contains("\\"), "seed \(seed): \(path)")
                #expect(location.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }, "seed \(seed): \(path)")
            }
        }
    }

    /// Whatever is asked, and however the rules are: an answer is whole.
    @Test func `any request gets an answer that can be sent`() throws {
        let redirects = try AssetRedirects("/old/* /:splat 301\n/rewritten/* /:splat 200\n/go https://example.com/ 308\n")
        let headers = try AssetHeaderRules("/*\n X-Splat: :splat\n ! ETag\n/script.js\n Content-Encoding: br\n")
        var statuses: Set<Int> = []
        for seed in 0..<8000 as Range<UInt64> {
            var random = SplitMix64(seed: seed)
            func pick<Value>(_ values: [Value]) -> Value { values[Int.random(in: 0..<values.count, using: &random)] }
            let rules = rules {
                $0.html = pick(HTMLHandling.allCases)
                $0.notFound = pick(NotFoundHandling.allCases)
                $0.workerFirst = pick([.never, .always, .paths(["/a*", "!/admin/*"])])
                $0.navigationPrefersAssets = pick([true, false])
                if pick([true, false]) { $0.manifest["/404.html"] = Self.page }
                if pick([true, false]) { $0.redirects = redirects }
                if pick([true, false]) { $0.headers = headers }
            }
            var target = pick(["/old", "/rewritten", "", "", "", "/go"])
            target += pick([
                "/script.js", "/file", "/file.html", "/index", "/admin/secret.txt", "/a%20b/%C3%A9.txt", "/missing", "//",
                "/%0d%0a", "",
            ])
            if pick([true, false]) { target += pick(["?a=1", "?", "?%0a"]) }
            let request = get(target.isEmpty ? "/" : target, method: pick([.get, .get, .head, .other])) {
                $0.range = pick([nil, nil, "bytes=0-1", "bytes=9999-", "bytes=-1", "x"])
                $0.ifRange = pick([nil, nil, Self.page.entityTag, "\"x\""])
                $0.ifNoneMatch = pick([nil, nil, Self.script.entityTag, "*", "\"x\""])
                $0.codings = pick([.none, AcceptedCodings("gzip"), AcceptedCodings("br")])
                $0.isNavigation = pick([true, false])
                $0.hasAuthorization = pick([true, false])
            }
            for answer in [rules.answer(request), rules.answerBeforeWorker(request)].compactMap({ $0 }) {
                statuses.insert(answer.status)
                let place = "seed \(seed): \(target)"
                if let body = answer.body {
                    #expect([200, 206, 404].contains(answer.status), "\(place)")
                    #expect(body.range.lowerBound >= 0 && body.range.upperBound <= body.fileByteCount, "\(place)")
                    #expect((answer.status == 206) == (header("content-range", answer) != nil), "\(place)")
                    #expect(answer.status != 206 || body.name.count == 64, "\(place): a part of a coded body")
                } else {
                    #expect([301, 304, 307, 308, 404, 405, 416].contains(answer.status), "\(place)")
                }
                #expect(
                    (300...308).contains(answer.status) == (header("location", answer) != nil || answer.status == 304),
                    "\(place)")
                for header in answer.headers {
                    #expect(header.value.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }, "\(place)")
                }
                let codings = answer.headers.filter { $0.name.lowercased() == "content-encoding" }
                #expect(codings.count <= 1, "\(place)")
            }
        }
        #expect(statuses == [200, 206, 301, 304, 307, 308, 404, 405, 416])
    }

    // MARK: Heads

    @Test func `an answer says what it is`() {
        let answer = rules().answer(get("/script.js"))
        #expect(header("etag", answer) == "\"" + String(repeating: "a", count: 32) + "\"")
        #expect(header("cache-control", answer) == "public, max-age=0, must-revalidate")
        #expect(header("vary", answer) == "Accept-Encoding")
        #expect(header("content-encoding", answer) == nil)
        #expect(answer.body?.name == Self.script.hash)
        #expect(header("cache-control", rules().answer(get("/script.js") { $0.hasAuthorization = true })) == nil)
        #expect(header("vary", rules().answer(get("/file"))) == nil)
    }

    @Test func `a coding that the client likes is served`() {
        let answer = rules().answer(get("/script.js") { $0.codings = AcceptedCodings("gzip, br") })
        #expect(answer.body?.name == "a.br" && answer.body?.range == 0..<400 && answer.body?.fileByteCount == 400)
        #expect(header("content-encoding", answer) == "br")
        #expect(header("etag", answer)?.hasPrefix("W/") == true)
        // Parts are of the plain content.
        let part = rules().answer(
            get("/script.js") { request in
                request.codings = AcceptedCodings("gzip, br")
                request.range = "bytes=0-9"
            })
        #expect(part.status == 206 && part.body?.name == Self.script.hash && part.body?.range == 0..<10)
    }

    @Test(arguments: [
        ("bytes=0-0", RangeOutcome.part(0..<1)), ("bytes=5-", .part(5..<10)), ("bytes=-3", .part(7..<10)),
        ("bytes=-99", .part(0..<10)), ("bytes=9-99", .part(9..<10)), ("bytes=10-", .unsatisfiable),
        ("bytes=-0", .unsatisfiable),
        ("bytes=3-2", .whole), ("bytes=0-1,3-4", .whole), ("lines=0-1", .whole), ("bytes=", .whole), ("bytes=-", .whole),
        ("bytes=a-b", .whole), ("Bytes=0-1", .part(0..<2)), ("bytes=99999999999999999999-", .unsatisfiable),
        ("bytes=0-99999999999999999999", .part(0..<10)), ("bytes=+1-2", .whole), ("bytes=1-2-3", .whole),
        ("bytes=0-9223372036854775807", .part(0..<10)),
    ])
    func `a range is read`(_ field: String, _ outcome: RangeOutcome) { #expect(RangeOutcome(field, byteCount: 10) == outcome) }

    @Test func `what is unchanged is not sent again`() {
        let tag = Self.script.entityTag
        for field in [tag, "W/" + tag, "\"x\" , " + tag, "*"] {
            let answer = rules().answer(get("/script.js") { $0.ifNoneMatch = field })
            #expect(answer.status == 304 && answer.body == nil && header("etag", answer) == tag, "\(field)")
        }
        #expect(rules().answer(get("/script.js") { $0.ifNoneMatch = "\"x\"" }).status == 200)
        // A page for what isn't there has changed nothing, but says so each time.
        let missing = rules {
            $0.notFound = .notFoundPage
            $0.manifest["/404.html"] = Self.page
        }.answer(get("/missing") { $0.ifNoneMatch = "*" })
        #expect(missing.status == 404 && missing.body != nil)
    }
}

@Suite struct `Accepted codings` {
    @Test(
        arguments: [
            ("", nil), ("gzip", .gzip), ("br", .brotli), ("gzip, br", .brotli), ("gzip;q=1, br;q=0.9", .gzip),
            ("GZIP ; Q=0.5", .gzip),
            ("*", .brotli), ("*, br;q=0", .gzip), ("*;q=0, gzip", .gzip), ("gzip;q=0", nil), ("gzip;q=0.000", nil),
            ("gzip;q=0.001", .gzip),
            ("gzip;q=2", nil), ("gzip;q=x", nil), ("deflate, identity", nil), (",,;q=1,br", .brotli), ("gzip;q=0.12345", nil),
            ("x-gzip", .gzip),
        ] as [(String, ContentCoding?)])
    func `are what the field says`(_ field: String, _ coding: ContentCoding?) {
        #expect(AcceptedCodings(field).preferred() == coding)
    }

    @Test func `of what there is, the best is taken`() {
        #expect(AcceptedCodings("br").preferred(of: [.gzip]) == nil)
        #expect(AcceptedCodings("br, gzip;q=0.1").preferred(of: [.gzip]) == .gzip)
        #expect(AcceptedCodings("br;q=0.5", "gzip").preferred() == .gzip)
    }

    @Test func `any bytes are read`() {
        for seed in 0..<2000 as Range<UInt64> {
            var random = SplitMix64(seed: seed)
            let alphabet = Array("gzipbr*;q=01.,x \té".unicodeScalars)
            var text = ""
            for _ in 0..<Int.random(in: 0...20, using: &random) {
                text.unicodeScalars.append(alphabet.randomElement(using: &random) ?? " ")
            }
            let codings = AcceptedCodings(text)
            // Whoever prefers one of all takes it when it is the only one.
            if let best = codings.preferred() { #expect(codings.preferred(of: [best]) == best, "seed \(seed)") }
        }
    }
}
