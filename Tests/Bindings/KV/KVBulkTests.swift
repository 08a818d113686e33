import Interfaces
import LMDB
import StoresKV
import System
import Testing

@Suite struct `KV bulk writes` {
    private func bulk(_ fixture: KVFixture, _ name: String = "A") async throws -> any KVBulkNamespace {
        _ = try fixture.namespace(name)
        let id = try #require(try await fixture.store.namespaces().first { $0.title == name }?.id)
        return try await fixture.store.openNamespace(id: id)
    }

    private func write(_ key: String, _ value: String = "v", ttl: Int64? = nil, metadata: String? = nil) -> KVWrite {
        KVWrite(key: Array(key.utf8), value: Array(value.utf8)[...], expirationTtl: ttl, metadata: metadata)
    }

    private func texts(_ outcome: KVBulkOutcome) -> [String] {
        outcome.failures.map { failure in
            guard case .refused(let status, let text) = failure.error else { return "\(failure.error)" }
            return "\(String(decoding: failure.key.prefix(3), as: UTF8.self)): \(status) \(text)"
        }
    }

    @Test func `refuse each pair for itself and write the rest`() async throws {
        let fixture = try KVFixture()
        let namespace = try await bulk(fixture)
        let long = String(repeating: "k", count: 512)
        let outcome = try await namespace.put([
            write("a"), write("", "x"), write(".."), write(long), write(long + "k"), write("ttl", ttl: 59),
            write("meta", metadata: "{"), write("b", "[1]", ttl: 60, metadata: "7"),
            KVWrite(key: Array("big".utf8), value: [], valueByteCount: 26_214_401), KVWrite(key: [0xFF], value: []),
        ])
        #expect(outcome.successfulKeyCount == 3)
        #expect(
            texts(outcome) == [
                ": 400 Key names must not be empty",
                "..: 400 Illegal key name \"..\". Please use a different name.",
                "kkk: 414 UTF-8 encoded length of 513 exceeds key length limit of 512.",
                "ttl: 400 Invalid expiration_ttl of 59. Expiration TTL must be at least 60.",
                "met: 400 Metadata must be valid JSON.",
                "big: 413 Value length of 26214401 exceeds limit of 26214400.",
                "\u{FFFD}: 400 Key names must be valid UTF-8",
            ])
        let kv = try fixture.namespace("A")
        #expect(try await kv.list().keys.map(\.name) == ["a", "b", long])
        #expect(try await kv.getWithMetadata("b") == KVValueWithMetadata(value: "[1]", metadata: KVMetadata(json: "7")))

        let deleted = try await namespace.delete([Array("a".utf8), [], Array("missing".utf8), Array(long.utf8)])
        #expect(deleted.successfulKeyCount == 3)
        #expect(texts(deleted) == [": 400 Key names must not be empty"])
        #expect(try await kv.list().keys.map(\.name) == ["b"])
        #expect(try await fixture.store.verify().isClean)
    }

    @Test func `keep the later one of two pairs with the same key`() async throws {
        let fixture = try KVFixture()
        let outcome = try await bulk(fixture).put([write("k", "1", ttl: 60), write("k", "2"), write("k", "3", ttl: 90)])
        #expect(outcome.successfulKeyCount == 3)
        #expect(try await fixture.namespace("A").get("k") == "3")
        #expect(try await fixture.store.usage() == KVUsage(keyCount: 1, byteCount: 2))
        #expect(try await fixture.store.verify().isClean)
    }

    @Test func `take 10,000 pairs and 100 MB, and no more`() async throws {
        let fixture = try KVFixture()
        let namespace = try await bulk(fixture)
        let writes = (0..<10_001).map { write("key \($0)") }
        await #expect(throws: KVError.refused(status: 400, text: "You can write a maximum of 10000 keys")) {
            _ = try await namespace.put(writes)
        }
        await #expect(throws: KVError.refused(status: 400, text: "You can write a maximum of 10000 keys")) {
            _ = try await namespace.delete(writes.map(\.key))
        }
        #expect(try await namespace.put(Array(writes.dropLast())).successfulKeyCount == 10_000)
        #expect(try await fixture.store.usage().keyCount == 10_000)
        #expect(try await namespace.delete(writes.dropLast().map(\.key)).successfulKeyCount == 10_000)
        #expect(try await fixture.store.usage() == KVUsage())

        let value = [UInt8](repeating: 7, count: 24_999_999)[...]
        var large = (0..<4).map { KVWrite(key: [0x61 + UInt8($0)], value: value) }
        #expect(try await namespace.put(large).successfulKeyCount == 4)
        large[0].key = Array("aa".utf8)
        await #expect(throws: KVError.refused(status: 413, text: "Total size of request exceeds the limit of 100MB")) {
            _ = try await namespace.put(large)
        }
        #expect(try await namespace.put([]).successfulKeyCount == 0)
        #expect(try await fixture.store.usage() == KVUsage(keyCount: 4, byteCount: 100_000_000))
    }

    @Test func `are one transaction: all or nothing`() async throws {
        let isBroken = Switch()
        let fixture = try KVFixture(fault: { isBroken.isOn && $0 == "commit" ? LMDBError("commit", .diskFull) : nil })
        let namespace = try await bulk(fixture)
        _ = try await namespace.put([write("a", "old")])
        isBroken.isOn = true
        await #expect(throws: KVError.failed) { _ = try await namespace.put([write("a", "new"), write("b")]) }
        await #expect(throws: KVError.failed) { _ = try await namespace.delete([Array("a".utf8)]) }
        isBroken.isOn = false
        let kv = try fixture.namespace("A")
        #expect(try await kv.list().keys.map(\.name) == ["a"])
        #expect(try await kv.get("a") == "old")
        #expect(try await fixture.store.verify().isClean)
    }

    @Test func `find no namespace that was deleted`() async throws {
        let fixture = try KVFixture()
        let namespace = try await bulk(fixture)
        try await fixture.store.deleteNamespace(id: fixture.store.namespaces()[0].id)
        let gone = KVError.refused(status: 404, text: "namespace not found")
        await #expect(throws: gone) { _ = try await namespace.put([write("a")]) }
        await #expect(throws: gone) { _ = try await namespace.delete([Array("a".utf8)]) }
    }
}

@Suite struct `KV write rate` {
    @Test func `is one write per second and key where that is asked for`() async throws {
        let fixture = try KVFixture(options: { $0.limitsWriteRate = true })
        let (kv, other) = (try fixture.namespace("A"), try fixture.namespace("B"))
        try await kv.put("k", "1")
        let refusal = "KV PUT failed: 429 Too Many Requests"
        #expect(await failure { try await kv.put("k", "2") }?.message == refusal)
        #expect(await failure { try await kv.delete("k") }?.message == "KV DELETE failed: 429 Too Many Requests")
        // What is wrong anyway says so, and takes nobody's second.
        #expect(await failure { try await kv.put("x", "2", expirationTtl: 1) }?.code == 400)
        try await kv.put("x", "1")
        try await other.put("k", "1")
        fixture.clock.advance(by: .milliseconds(999))
        #expect(await failure { try await kv.put("k", "2") }?.message == refusal)
        #expect(try await kv.get("k") == "1")
        fixture.clock.advance(by: .milliseconds(1))
        try await kv.put("k", "2")
        #expect(try await kv.get("k") == "2")
    }

    @Test func `counts a bulk write once for each key`() async throws {
        let fixture = try KVFixture(options: { $0.limitsWriteRate = true })
        let kv = try fixture.namespace("A")
        let id = try #require(try await fixture.store.namespaces().first?.id)
        let namespace = try await fixture.store.openNamespace(id: id)
        try await kv.put("a", "1")
        let writes = ["a", "b", "b"].map { KVWrite(key: Array($0.utf8), value: [0x32]) }
        let outcome = try await namespace.put(writes)
        #expect(outcome.successfulKeyCount == 2)
        #expect(outcome.failures.map(\.key) == [Array("a".utf8)])
        #expect(outcome.failures.first?.error == .refused(status: 429, text: "Too Many Requests"))
        #expect(try await kv.get(["a", "b"]) == ["a": "1", "b": "2"])
    }

    @Test func `is no limit otherwise`() async throws {
        let fixture = try KVFixture()
        let kv = try fixture.namespace("A")
        for index in 0..<10 { try await kv.put("k", "\(index)") }
        #expect(try await kv.get("k") == "9")
    }
}

@Suite struct `KV short pages` {
    @Test func `show all keys to who goes on, and are empty at times`() async throws {
        let fixture = try KVFixture(options: { $0.pages = .short })
        let kv = try fixture.namespace("A")
        let names = (0..<20).map { "key \(10 + $0)" }
        for name in names { try await kv.put(name, "v") }
        for limit in [1, 2, 5, 1000] {
            var (seen, pageSizes): ([String], [Int]) = ([], [])
            var cursor: String?
            repeat {
                let page = try await kv.list(prefix: "key", limit: limit, cursor: cursor)
                seen += page.keys.map(\.name)
                pageSizes.append(page.keys.count)
                #expect(page.keys.count <= limit && page.isComplete == (page.cursor == nil))
                cursor = page.cursor
            } while cursor != nil
            #expect(seen == names)
            if limit < 20 { #expect(pageSizes.contains(0)) }
        }
    }
}
