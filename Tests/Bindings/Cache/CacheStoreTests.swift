import Caching
import Glibc
import HTTP
import Interfaces
import Observability
import Stores
import StoresCache
import Synchronization
import System
import Testing

/// A cache in a fresh directory, on a clock that stands still.
private final class Fixture: Sendable {
    let clock = VirtualClock()
    let path: String

    init() {
        var template = Array("/tmp/edge-cache-XXXXXX".utf8CString)
        // SAFETY: mkdtemp replaces the Xs of the NUL-terminated array that it is lent.
        path = unsafe template.withUnsafeMutableBufferPointer { buffer in
            guard let start = buffer.baseAddress, unsafe mkdtemp(start) != nil else { return "/nonexistent" }
            return unsafe String(cString: start)
        }
    }

    func open(
        faults: CacheFaults = .none, _ change: (inout EmbeddedResponseCache.Options) -> Void = { _ in }
    ) throws -> EmbeddedResponseCache {
        var options = EmbeddedResponseCache.Options()
        options.machineStart = 1_000
        change(&options)
        return try EmbeddedResponseCache(
            directory: path + "/cache", clock: clock,
            logger: Logger(sink: DiscardingSink(), clock: clock, level: .error), options: options, faults: faults)
    }

    func response(
        _ url: String, scope: CacheScope = .zone("z"), variant: Variant = Variant(), tags: [String] = []
    ) -> StoredResponse {
        var headers = Headers()
        try? headers.set("x-url", url)
        return StoredResponse(
            key: CacheKey(scope, url), url: url, variant: variant, status: 200, headers: headers,
            terms: StorageTerms(lifetime: 60), storedAt: clock.wallTime().milliseconds, tags: tags)
    }

    @discardableResult
    func put(
        _ store: EmbeddedResponseCache, _ url: String, _ body: [UInt8], scope: CacheScope = .zone("z"),
        variant: Variant = Variant(), tags: [String] = []
    ) async throws -> Bool {
        let fill = try #require(
            store.beginFill(
                response(url, scope: scope, variant: variant, tags: tags), length: Int64(body.count), claim: nil))
        var offset = 0
        while offset < body.count {
            let end = min(body.count, offset + 40_000)
            await fill.append(Array(body[offset..<end]))
            offset = end
        }
        return await fill.commit()
    }

    func get(
        _ store: EmbeddedResponseCache, _ url: String, scope: CacheScope = .zone("z"), _ headers: Headers = Headers()
    ) async throws -> [UInt8]? {
        guard let hit = store.find(CacheKey(scope, url), for: headers) else { return nil }
        return try await bytes(store.body(of: hit, offset: 0, byteCount: hit.response.bodyByteCount))
    }

    func bytes(_ body: StoreBody?) throws -> [UInt8]? {
        switch body {
        case nil: return nil
        case .bytes(let bytes): return bytes
        case .file(let slice): return try slice.descriptor.read(at: slice.offset, count: slice.byteCount)
        case .stream: throw CallFailure("a cache has no streams")
        }
    }

    /// All files of the cache, without their folders.
    var files: [String] {
        ((0..<16).map { String($0, radix: 16) } + ["tmp"]).flatMap { shard in
            FileTree.list(path + "/cache/" + shard).map { "\(shard)/\($0)" }
        }
    }

    deinit {
        for name in files { unsafe unlink(path + "/cache/" + name) }
        unsafe unlink(path + "/cache/boot")
        for shard in (0..<16).map({ String($0, radix: 16) }) + ["tmp"] { unsafe rmdir(path + "/cache/" + shard) }
        unsafe rmdir(path + "/cache")
        unsafe rmdir(path)
    }
}

private func pattern(_ count: Int, _ seed: UInt8 = 0) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) &+ seed }
}

@Suite struct `Response cache` {
    @Test(arguments: [0, 1, 65_536, 65_537, 300_000])
    func `keeps bodies of all sizes over a restart`(_ count: Int) async throws {
        let fixture = Fixture()
        let store = try fixture.open()
        let body = pattern(count)
        #expect(try await fixture.put(store, "http://a/x", body))
        #expect(try await fixture.get(store, "http://a/x") == body)
        let again = try fixture.open()
        #expect(try await fixture.get(again, "http://a/x") == body)
        #expect(again.find(CacheKey(.zone("z"), "http://a/x"), for: Headers())?.response.headers["x-url"] == "http://a/x")
        #expect(try await fixture.get(again, "http://a/y") == nil)
        let hit = try #require(again.find(CacheKey(.zone("z"), "http://a/x"), for: Headers()))
        if count > 10 {
            #expect(try fixture.bytes(await again.body(of: hit, offset: 3, byteCount: 5)) == Array(body[3..<8]))
        }
        #expect(fixture.files.count == (count > 65_536 ? 2 : 1))
    }

    @Test func `tells scopes and variants apart`() async throws {
        let fixture = Fixture()
        let store = try fixture.open()
        func variant(_ language: String?) -> (Variant, Headers) {
            var (request, response) = (Headers(), Headers())
            if let language { try? request.set("accept-language", language) }
            try? response.set("vary", "accept-language")
            return (Variant(of: request, response: response), request)
        }
        for (scope, text) in [
            (CacheScope.zone("z"), "z"), (.named("n"), "n"), (.named("m"), "m"), (.worker("w", version: "1"), "w"),
        ] {
            try await fixture.put(store, "http://a/", Array(text.utf8), scope: scope)
        }
        #expect(try await fixture.get(store, "http://a/", scope: .named("n")) == Array("n".utf8))
        #expect(try await fixture.get(store, "http://a/", scope: .worker("w", version: "1")) == Array("w".utf8))
        #expect(try await fixture.get(store, "http://a/", scope: .worker("w", version: "2")) == nil)
        for language in ["de", "en", nil] {
            try await fixture.put(store, "http://v/", Array((language ?? "-").utf8), variant: variant(language).0)
        }
        for language in ["de", "en", nil] {
            #expect(try await fixture.get(store, "http://v/", variant(language).1) == Array((language ?? "-").utf8))
        }
        #expect(try await fixture.get(store, "http://v/", variant("fr").1) == nil)
        // A seventeenth makes the first go.
        for number in 0..<16 { try await fixture.put(store, "http://v/", [1], variant: variant("l\(number)").0) }
        #expect(try await fixture.get(store, "http://v/", variant("de").1) == nil)
        #expect(try await fixture.get(store, "http://v/", variant("l0").1) == [1])
        #expect(await store.remove(CacheKey(.zone("z"), "http://v/")))
        #expect(await store.remove(CacheKey(.zone("z"), "http://v/")) == false)
        #expect(try await fixture.get(store, "http://v/", variant("l0").1) == nil)
        #expect(fixture.files.count == 4)
    }

    @Test func `replaces, and leaves nothing of the old one`() async throws {
        let fixture = Fixture()
        let store = try fixture.open()
        try await fixture.put(store, "http://a/", pattern(100_000))
        let old = try #require(store.find(CacheKey(.zone("z"), "http://a/"), for: Headers()))
        let opened = await store.body(of: old, offset: 0, byteCount: 100_000)
        try await fixture.put(store, "http://a/", pattern(100_000, 1))
        #expect(try await fixture.get(store, "http://a/") == pattern(100_000, 1))
        // Who reads the old one goes on reading.
        #expect(try fixture.bytes(opened) == pattern(100_000))
        #expect(await store.body(of: old, offset: 0, byteCount: 100_000) == nil)
        #expect(fixture.files.count == 2)
    }

    @Test func `shows nothing before it is complete, and keeps nothing that isn't`() async throws {
        let fixture = Fixture()
        let store = try fixture.open { $0.byteCountMax = 500_000 }
        let cut = try #require(store.beginFill(fixture.response("http://a/"), length: 200_000, claim: nil))
        await cut.append(pattern(100_000))
        #expect(store.find(CacheKey(.zone("z"), "http://a/"), for: Headers()) == nil)
        #expect(await cut.commit() == false)
        #expect(store.find(CacheKey(.zone("z"), "http://a/"), for: Headers()) == nil)
        #expect(store.beginFill(fixture.response("http://b/"), length: 500_000, claim: nil) == nil)
        let grown = try #require(store.beginFill(fixture.response("http://b/"), length: nil, claim: nil))
        for _ in 0..<6 { await grown.append(pattern(100_000)) }
        #expect(await grown.commit() == false)
        #expect(store.usage.entries == 0)
        // What was being written when the process died.
        let dying = try #require(store.beginFill(fixture.response("http://c/"), length: nil, claim: nil))
        await dying.append(pattern(100_000))
        let again = try fixture.open()
        #expect(again.usage.entries == 0 && fixture.files.isEmpty)
        dying.abort()
    }

    @Test func `finds only whole entries at a start`() async throws {
        let fixture = Fixture()
        let store = try fixture.open()
        for name in ["a", "b", "c", "d", "e"] {
            try await fixture.put(store, "http://\(name)/", pattern(name == "a" ? 10 : 70_000))
        }
        let entries = fixture.files.filter { $0.hasSuffix(".e") }
        let bodies = fixture.files.filter { $0.hasSuffix(".b") }
        #expect(entries.count == 5 && bodies.count == 4)
        // Cut short, missing, without an entry, and no entry at all.
        func path(_ name: String) -> String { fixture.path + "/cache/" + name }
        _ = unsafe truncate(path(bodies[0]), 5)
        _ = unsafe unlink(path(bodies[1]))
        _ = unsafe unlink(path(entries.first { $0.dropLast(2) == bodies[2].dropLast(2) } ?? ""))
        try FileTree.replaceFile(path("0/zzzz.e"), with: [1, 2, 3], mode: 0o600)
        try FileTree.replaceFile(path("0/0000000000000ff0.e"), with: Array("edgecac2".utf8) + pattern(30), mode: 0o600)
        let again = try fixture.open()
        #expect(again.usage.entries == 2)
        #expect(fixture.files.count == 3)
        #expect(try await fixture.get(again, "http://a/") == pattern(10))
        // The machine's restart may have left holes in files.
        #expect(try fixture.open { $0.machineStart = 1_010 }.usage.entries == 2)
        #expect(try fixture.open { $0.machineStart = 1_011 }.usage.entries == 0)
        #expect(fixture.files.isEmpty)
    }

    @Test func `makes room for what is used`() async throws {
        let fixture = Fixture()
        let store = try fixture.open { $0.byteCountMax = 10 * (10_000 + 1024) }
        for number in 0..<10 { try await fixture.put(store, "http://\(number)/", pattern(10_000)) }
        #expect(store.usage.entries == 10)
        #expect(store.find(CacheKey(.zone("z"), "http://0/"), for: Headers()) != nil)
        try await fixture.put(store, "http://10/", pattern(10_000))
        #expect(store.find(CacheKey(.zone("z"), "http://0/"), for: Headers()) != nil)
        #expect(store.find(CacheKey(.zone("z"), "http://1/"), for: Headers()) == nil)
        #expect(store.usage.entries == 10 && fixture.files.count == 10)
        #expect(try fixture.open { $0.entriesMax = 3 }.usage.entries == 3)
        // Long headers are in memory.
        #expect(try fixture.open { $0.descriptionByteCountMax = 1200 }.usage.entries == 2)
    }

    @Test func `keeps small bodies that are asked for in memory`() async throws {
        let fixture = Fixture()
        let store = try fixture.open { $0.memoryByteCountMax = 25_000 }
        func inMemory(_ url: String) throws -> Bool {
            let hit = try #require(store.find(CacheKey(.zone("z"), url), for: Headers()))
            return store.bodyInMemory(of: hit, offset: 0, byteCount: hit.response.bodyByteCount) != nil
        }
        for number in 0..<3 { try await fixture.put(store, "http://\(number)/", pattern(10_000)) }
        try await fixture.put(store, "http://large/", pattern(100_000))
        #expect(store.usage.memoryByteCount == 0)
        for url in ["http://0/", "http://1/", "http://large/", "http://2/"] { _ = try await fixture.get(store, url) }
        #expect(
            try [inMemory("http://0/"), inMemory("http://1/"), inMemory("http://2/"), inMemory("http://large/")] == [
                false, true, true, false,
            ])
        #expect(store.usage.memoryByteCount == 20_000)
        _ = await store.remove(CacheKey(.zone("z"), "http://1/"))
        #expect(store.usage.memoryByteCount == 10_000)
    }

    @Test func `purges what is stored and what is on its way`() async throws {
        let fixture = Fixture()
        let store = try fixture.open()
        try await fixture.put(store, "http://a/x", [1], tags: ["red"])
        try await fixture.put(store, "http://a/y", pattern(70_000), tags: ["blue"])
        try await fixture.put(store, "http://a/z", [3], scope: .named("n"), tags: ["red"])
        let fill = try #require(store.beginFill(fixture.response("http://b/", tags: ["red"]), length: nil, claim: nil))
        var purge = CachePurge()
        purge.tags = ["red"]
        #expect(await store.purge(purge) == 1)
        #expect(try await fixture.get(store, "http://a/x") == nil)
        #expect(try await fixture.get(store, "http://a/z", scope: .named("n")) == [3])
        #expect(await fill.commit() == false)
        #expect(store.find(CacheKey(.zone("z"), "http://b/"), for: Headers()) == nil)
        // What comes after it is new.
        #expect(try await fixture.put(store, "http://b/", [4], tags: ["red"]))
        purge.everything = true
        #expect(await store.purge(purge) == 2)
        #expect(fixture.files.count == 1)
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func `agrees with a simple model over restarts`(_ seed: UInt64) async throws {
        let fixture = Fixture()
        var store = try fixture.open()
        var numbers = Numbers(state: seed)
        var model: [String: [UInt8]] = [:]
        for step in 0..<400 {
            let url = "http://\(UInt8.random(in: 0..<3, using: &numbers))/\(UInt8.random(in: 0..<5, using: &numbers))"
            switch UInt8.random(in: 0..<20, using: &numbers) {
            case 0..<9:
                let body = pattern(Int.random(in: 0..<90_000, using: &numbers), UInt8(truncatingIfNeeded: step))
                #expect(try await fixture.put(store, url, body), "seed \(seed), step \(step)")
                model[url] = body
            case 9..<13:
                #expect(await store.remove(CacheKey(.zone("z"), url)) == (model[url] != nil), "seed \(seed), step \(step)")
                model[url] = nil
            case 13:
                var purge = CachePurge()
                purge.hosts = ["0"]
                _ = await store.purge(purge)
                for url in model.keys where url.hasPrefix("http://0/") { model[url] = nil }
            case 14: store = try fixture.open()
            default: #expect(try await fixture.get(store, url) == model[url], "seed \(seed), step \(step)")
            }
        }
        #expect(store.usage.entries == model.count)
        #expect(fixture.files.filter { $0.hasSuffix(".e") }.count == model.count)
        #expect(fixture.files.filter { $0.hasSuffix(".b") }.count == model.values.filter { $0.count > 65_536 }.count)
    }

    @Test func `is found before whoever knows the length has asked again`() async throws {
        let fixture = Fixture()
        let store = try fixture.open()
        let fill = try #require(store.beginFill(fixture.response("http://a/"), length: 3, claim: nil))
        #expect(await fill.append([1, 2]) == false)
        #expect(await fill.append([3]))
        #expect(await fill.commit())
        #expect(try await fixture.get(store, "http://a/") == [1, 2, 3])
        // More than that, and nothing of it was right.
        #expect(await fill.append([4]) == false)
        #expect(store.find(CacheKey(.zone("z"), "http://a/"), for: Headers()) == nil)
        let open = try #require(store.beginFill(fixture.response("http://b/"), length: nil, claim: nil))
        #expect(await open.append([1]) == false)
        #expect(await open.commit())
    }

    @Test func `forgets what was put out of date, and what was asked for before`() async throws {
        let fixture = Fixture()
        let store = try fixture.open()
        let (key, other) = (CacheKey(.zone("z"), "http://a/"), CacheKey(.zone("z"), "http://b/"))
        try await fixture.put(store, "http://a/", [1])
        try await fixture.put(store, "http://b/", [2])
        let fill = try #require(store.beginFill(fixture.response("http://a/"), length: nil, claim: nil))
        store.invalidate([key])
        #expect(store.find(key, for: Headers()) == nil && store.find(other, for: Headers()) != nil)
        #expect(await fill.commit() == false)
        #expect(store.find(key, for: Headers()) == nil)
        #expect(try await fixture.put(store, "http://a/", [3]))
        #expect(try await fixture.get(store, "http://a/") == [3])
    }

    @Test func `counts by zone`() async throws {
        let fixture = Fixture()
        let store = try fixture.open { $0.byteCountMax = 3 * 2024 }
        for number in 0..<4 { try await fixture.put(store, "http://\(number)/", pattern(1000), scope: .zone("a")) }
        try await fixture.put(store, "http://w.example.com/", [1], scope: .worker("w", version: nil))
        store.count(.hit, zone: "a")
        store.count(.hit, zone: "a")
        store.count(.miss, zone: "b")
        var (first, second, third) = (
            CacheStatistics(zone: "a"), CacheStatistics(zone: "b"), CacheStatistics(zone: "example.com")
        )
        (first.answers, first.evictions, first.entries, first.byteCount) = ([.hit: 2], 2, 2, 2 * 2024)
        second.answers = [.miss: 1]
        (third.entries, third.byteCount) = (1, 1025)
        #expect(store.statistics == [first, second, third])
    }

    private static let steps: [(step: CacheFaults.Operation, count: Int)] = [
        (.createBody, 100_000), (.writeBody, 100_000), (.publishBody, 100_000), (.writeEntry, 100_000),
        (.publishEntry, 100_000), (.writeEntry, 10), (.publishEntry, 10),
    ]

    @Test(arguments: steps)
    func `a step that fails keeps nothing, and costs nothing else`(_ step: CacheFaults.Operation, _ count: Int) async throws {
        let fixture = Fixture()
        let isFailing = Mutex(false)
        let faults = CacheFaults { operation in
            operation == step && isFailing.withLock { $0 } ? SystemError("write", errno: EIO, on: "a test") : nil
        }
        let store = try fixture.open(faults: faults)
        try await fixture.put(store, "http://a/", pattern(10))
        isFailing.withLock { $0 = true }
        #expect(try await fixture.put(store, "http://b/", pattern(count)) == false)
        #expect(store.find(CacheKey(.zone("z"), "http://b/"), for: Headers()) == nil)
        #expect(try await fixture.get(store, "http://a/") == pattern(10))
        isFailing.withLock { $0 = false }
        #expect(try await fixture.put(store, "http://b/", pattern(count)))
        #expect(try await fixture.get(store, "http://b/") == pattern(count))
        #expect(await store.verify() == .init(entries: 2, byteCount: Int64(count + 2058)))
        #expect(fixture.files.allSatisfy { !$0.hasPrefix("tmp/") })
    }

    @Test func `a full disk makes it give way`() async throws {
        let fixture = Fixture()
        let isFull = Mutex(false)
        let faults = CacheFaults { operation in
            operation == .writeEntry && isFull.withLock { $0 } ? SystemError("write", errno: ENOSPC, on: "a test") : nil
        }
        let store = try fixture.open(faults: faults)
        for number in 0..<20 { try await fixture.put(store, "http://\(number)/", pattern(1000)) }
        isFull.withLock { $0 = true }
        #expect(try await fixture.put(store, "http://new/", pattern(1000)) == false)
        #expect(store.usage.entries == 17)
        #expect(store.find(CacheKey(.zone("z"), "http://0/"), for: Headers()) == nil)
        #expect(store.find(CacheKey(.zone("z"), "http://19/"), for: Headers()) != nil)
    }

    @Test func `a body that can't be read is none`() async throws {
        let fixture = Fixture()
        let faults = CacheFaults { $0 == .open ? SystemError("open", errno: EIO, on: "a test") : nil }
        let store = try fixture.open(faults: faults)
        try await fixture.put(store, "http://a/", pattern(100_000))
        #expect(try await fixture.get(store, "http://a/") == nil)
        #expect(store.find(CacheKey(.zone("z"), "http://a/"), for: Headers()) == nil)
    }

    @Test func `verifying finds what isn't as it was`() async throws {
        let fixture = Fixture()
        let store = try fixture.open()
        for (name, count) in [("a", 10), ("b", 70_000), ("c", 70_000), ("d", 10)] {
            try await fixture.put(store, "http://\(name)/", pattern(count))
        }
        #expect(await store.verify() == .init(entries: 4, byteCount: 140_020 + 4 * 1024))
        let bodies = fixture.files.filter { $0.hasSuffix(".b") }
        let small = try #require(fixture.files.first { name in !bodies.contains { $0.dropLast(2) == name.dropLast(2) } })
        _ = unsafe truncate(fixture.path + "/cache/" + bodies[0], 5)
        _ = unsafe unlink(fixture.path + "/cache/" + small)
        try FileTree.replaceFile(fixture.path + "/cache/0/0000000000000000.b", with: [1], mode: 0o600)
        #expect(await store.verify() == .init(entries: 2, byteCount: 70_010 + 2 * 1024, damaged: 2, orphans: 1))
        #expect(await store.verify() == .init(entries: 2, byteCount: 70_010 + 2 * 1024))
        #expect(store.usage.entries == 2)
    }

    /// Fills, replacements and evictions, ended at a random step; then what a new process finds.
    @Test(arguments: 1...12 as ClosedRange<UInt64>)
    func `a death at any step leaves whole bodies and a bounded disk`(_ seed: UInt64) async throws {
        let fixture = Fixture()
        var numbers = Numbers(state: seed)
        let limit: Int64 = 300_000
        for _ in 0..<3 {
            let left = Mutex(Int.random(in: 1..<120, using: &numbers))
            let faults = CacheFaults { _ in
                left.withLock { left in
                    left -= 1
                    return left < 0 ? SystemError("write", errno: EIO, on: "the dead") : nil
                }
            }
            let store = try fixture.open(faults: faults) { $0.byteCountMax = limit }
            let found = store.usage
            #expect(found.byteCount <= limit, "seed \(seed)")
            #expect(fixture.files.allSatisfy { !$0.hasPrefix("tmp/") }, "seed \(seed)")
            #expect(fixture.files.filter { $0.hasSuffix(".e") }.count == found.entries, "seed \(seed)")
            var step = 0
            while left.withLock({ $0 }) > 0 {
                step += 1
                let name = "http://\(UInt8.random(in: 0..<12, using: &numbers))/"
                let count = Int.random(in: 0..<120_000, using: &numbers)
                try await fixture.put(store, name, pattern(count, UInt8(truncatingIfNeeded: count)))
            }
        }
        let store = try fixture.open { $0.byteCountMax = limit }
        for number in 0..<12 {
            guard let body = try await fixture.get(store, "http://\(number)/") else { continue }
            #expect(body == pattern(body.count, UInt8(truncatingIfNeeded: body.count)), "seed \(seed), \(number)")
        }
        let report = await store.verify()
        #expect(report.damaged == 0 && report.orphans == 0 && report.byteCount <= limit, "seed \(seed)")
    }

    @Test(arguments: [10, 100_000])
    func `a refresh keeps the body`(_ count: Int) async throws {
        let fixture = Fixture()
        let store = try fixture.open()
        try await fixture.put(store, "http://a/", pattern(count))
        let hit = try #require(store.find(CacheKey(.zone("z"), "http://a/"), for: Headers()))
        var newer = hit.response
        newer.storedAt += 5_000
        try newer.headers.set("x-new", "1")
        await store.refresh(hit, with: newer)
        for store in [store, try fixture.open()] {
            let found = try #require(store.find(CacheKey(.zone("z"), "http://a/"), for: Headers()))
            #expect(found.response == newer)
            #expect(try await fixture.get(store, "http://a/") == pattern(count))
        }
        _ = await store.remove(CacheKey(.zone("z"), "http://a/"))
        await store.refresh(hit, with: newer)
        #expect(store.find(CacheKey(.zone("z"), "http://a/"), for: Headers()) == nil)
        #expect(fixture.files.isEmpty)
    }

    @Test func `of many who want to fill a key one may`() async throws {
        let fixture = Fixture()
        let store = try fixture.open()
        let key = CacheKey(.zone("z"), "http://a/")
        let first = try #require(await store.claim(key))
        #expect(store.tryClaim(key) == nil)
        let other = await store.claim(CacheKey(.zone("z"), "http://b/"))
        #expect(other != nil)
        await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<50 { group.addTask { await store.claim(key) == nil } }
            // One that gives up doesn't wait for the end.
            let impatient = Task { await store.claim(key) == nil }
            impatient.cancel()
            #expect(await impatient.value)
            first.end()
            var count = 0
            for await waited in group where waited { count += 1 }
            // Those that came after the end were the next to get it.
            #expect(count <= 50)
        }
        // Nobody waits for ever.
        let slow = try #require(store.tryClaim(key))
        let patient = Task { await store.claim(key) == nil }
        // A timer that is set behind an advance waits for the next one.
        let advancing = Task {
            while !Task.isCancelled {
                fixture.clock.advance(by: EmbeddedResponseCache.waitMax)
                await Task.yield()
            }
        }
        #expect(await patient.value)
        advancing.cancel()
        slow.end()
        #expect(store.tryClaim(key) != nil)
        // Dropping it ends it.
        #expect(store.tryClaim(key) != nil)
    }
}

/// The same numbers each time (a linear congruence; its upper bits are good enough here).
private struct Numbers: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state >> 33 | state << 31
    }
}

@Suite struct `Recency` {
    @Test func `agrees with a simple model`() {
        var generator = Numbers(state: 7)
        var (list, model) = (RecencyList(), [UInt64]())
        for _ in 0..<20_000 {
            let id = UInt64.random(in: 0..<20, using: &generator)
            model.removeAll { $0 == id }
            if Bool.random(using: &generator) {
                list.use(id)
                model.append(id)
            } else {
                list.remove(id)
            }
            #expect(list.oldest == model.first)
        }
    }
}

/// Alone: descriptors are counted for the whole process.
@Suite(.serialized) struct `Response cache leaks` {
    private struct Generator: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ (state >> 29)
        }
    }

    private static var descriptorCount: Int { FileTree.list("/proc/self/fd").count }

    /// One operation of any kind, also those that end in the middle.
    private static func operate(_ fixture: Fixture, _ store: EmbeddedResponseCache, _ generator: inout Generator) async throws {
        let url = "http://a/\(Int.random(in: 0..<40, using: &generator))"
        let count = [10, 5_000, 70_000, 200_000][Int.random(in: 0..<4, using: &generator)]
        switch Int.random(in: 0..<10, using: &generator) {
        case 0, 1, 2: _ = try await fixture.put(store, url, pattern(count), tags: ["t\(count)"])
        case 3:
            let fill = store.beginFill(fixture.response(url), length: nil, claim: nil)
            await fill?.append(pattern(count))
            fill?.abort()
        case 4:
            // More than was announced.
            let fill = store.beginFill(fixture.response(url), length: 5, claim: store.tryClaim(CacheKey(.zone("z"), url)))
            await fill?.append(pattern(count))
            await fill?.commit()
        case 5, 6, 7:
            guard let hit = store.find(CacheKey(.zone("z"), url), for: Headers()) else { return }
            let byteCount = Bool.random(using: &generator) ? hit.response.bodyByteCount : 1
            _ = await store.body(of: hit, offset: 0, byteCount: byteCount)
        case 8: _ = await store.remove(CacheKey(.zone("z"), url))
        default:
            guard Int.random(in: 0..<20, using: &generator) == 0 else { return }
            var purge = CachePurge()
            purge.tags = ["t\(count)"]
            _ = await store.purge(purge)
        }
    }

    @Test func `ten thousand operations leave no file, no descriptor and no byte behind`() async throws {
        let fixture = Fixture()
        let store = try fixture.open {
            $0.byteCountMax = 2 << 20
            $0.memoryByteCountMax = 256 << 10
        }
        var generator = Generator(state: 20_261_122)
        for _ in 0..<500 { try await Self.operate(fixture, store, &generator) }
        let descriptors = Self.descriptorCount
        for _ in 0..<10_000 { try await Self.operate(fixture, store, &generator) }
        #expect(Self.descriptorCount <= descriptors)
        #expect(store.usage.byteCount <= 2 << 20 && store.usage.memoryByteCount <= 256 << 10)
        var purge = CachePurge()
        purge.everything = true
        _ = await store.purge(purge)
        let found = await store.verify()
        #expect(found.entries == 0 && found.byteCount == 0 && found.damaged == 0)
        #expect(store.usage == (0, 0, 0))
        // Some are removed in the background.
        for _ in 0..<2_000 where !fixture.files.isEmpty { try await Task.sleep(for: .milliseconds(5)) }
        #expect(fixture.files.isEmpty)
    }
}
