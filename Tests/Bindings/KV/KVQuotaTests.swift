import Interfaces
import StoresKV
import System
import Testing

@Suite struct `KV accounts` {
    @Test func `are exact after every write`() async throws {
        let fixture = try KVFixture()
        let kv = try fixture.namespace("A")
        let other = try fixture.namespace("B")
        let long = String(repeating: "x", count: 512)
        func usage() async throws -> [KVUsage] {
            let described = try await fixture.store.namespaces().sorted { $0.title < $1.title }.map(\.usage)
            return described + [try await fixture.store.usage()]
        }
        try await kv.put("key", "value", metadata: 12)
        try await other.put("k", "")
        #expect(
            try await usage() == [
                KVUsage(keyCount: 1, byteCount: 10), KVUsage(keyCount: 1, byteCount: 1), KVUsage(keyCount: 2, byteCount: 11),
            ])
        try await kv.put("key", "v")
        try await kv.put(long, "v", expirationTtl: 60)
        try await kv.delete("missing")
        try await other.delete("k")
        #expect(
            try await usage() == [
                KVUsage(keyCount: 2, byteCount: 517), KVUsage(), KVUsage(keyCount: 2, byteCount: 517),
            ])
        fixture.clock.advance(by: .seconds(60))
        await fixture.store.sweep()
        #expect(try await usage()[0] == KVUsage(keyCount: 1, byteCount: 4))
        try await fixture.store.openNamespace("A").removeAll()
        #expect(try await usage() == [KVUsage(), KVUsage(), KVUsage()])
        #expect(try await fixture.store.verify().isClean)
    }
}

@Suite struct `KV quotas` {
    private func fixture(at path: String? = nil, _ change: @escaping (inout KVQuotas) -> Void) throws -> KVFixture {
        try KVFixture(at: path, options: { change(&$0.quotas) })
    }

    private static let full = "KV PUT failed: 507 Storage Limit Exceeded"
    private static func dayFull(_ operation: String) -> String {
        "KV \(operation) failed: 429 your account has reached the usage limit for this operation for today"
    }

    @Test func `refuse the byte that is one too many, of a namespace and of all together`() async throws {
        let fixture = try fixture {
            $0.namespaceBytesMax = 100
            $0.tenantBytesMax = 150
        }
        let (kv, other) = (try fixture.namespace("A"), try fixture.namespace("B"))
        try await kv.put("k", String(repeating: "v", count: 99))
        #expect(await failure { try await kv.put("l", "") }?.message == Self.full)
        #expect(await failure { try await kv.put("k", String(repeating: "w", count: 100)) }?.message == Self.full)
        #expect(try await kv.get("k") == String(repeating: "v", count: 99))
        // What needs no more room is never refused.
        try await kv.put("k", String(repeating: "w", count: 99))
        #expect(await failure { try await other.put("k", String(repeating: "v", count: 50)) }?.message == Self.full)
        try await other.put("k", String(repeating: "v", count: 49))
        try await kv.delete("k")
        try await other.put("k", String(repeating: "v", count: 99))
        #expect(try await fixture.store.usage().byteCount == 100)
        #expect(try await fixture.store.verify().isClean)
    }

    @Test func `make room of what has expired before they refuse`() async throws {
        let fixture = try fixture { $0.tenantBytesMax = 100 }
        let (kv, other) = (try fixture.namespace("A"), try fixture.namespace("B"))
        try await kv.put("gone", String(repeating: "v", count: 40), expirationTtl: 60)
        try await kv.put("stays", String(repeating: "v", count: 40))
        #expect(await failure { try await other.put("k", String(repeating: "w", count: 30)) }?.message == Self.full)
        fixture.clock.advance(by: .seconds(60))
        try await other.put("k", String(repeating: "w", count: 30))
        #expect(try await fixture.store.usage() == KVUsage(keyCount: 2, byteCount: 76))
        #expect(try await fixture.store.verify().isClean)
    }

    @Test func `refuse single pairs of a bulk put`() async throws {
        let fixture = try fixture { $0.tenantBytesMax = 10 }
        _ = try fixture.namespace("A")
        let namespace = try await fixture.store.openNamespace(id: fixture.store.namespaces()[0].id)
        let outcome = try await namespace.put(
            [("a", 4), ("b", 6), ("c", 4)].map { key, byteCount in
                KVWrite(key: Array(key.utf8), value: [UInt8](repeating: 1, count: byteCount)[...])
            })
        #expect(outcome.successfulKeyCount == 2)
        #expect(outcome.failures.map(\.key) == [Array("b".utf8)])
        #expect(outcome.failures.first?.error == .refused(status: 507, text: "Storage Limit Exceeded"))
    }

    @Test func `count each kind of operation for itself, and anew each day`() async throws {
        let fixture = try fixture {
            $0.readsPerDayMax = 3
            $0.putsPerDayMax = 2
            $0.deletesPerDayMax = 1
            $0.listsPerDayMax = 1
        }
        let kv = try fixture.namespace("A")
        func useUp() async throws {
            try await kv.put("a", "1")
            #expect(await failure { try await kv.put("b", "1", expirationTtl: 1) }?.code == 400)
            try await kv.put("b", "2")
            #expect(await failure { try await kv.put("c", "3") }?.message == Self.dayFull("PUT"))
            _ = try await kv.get("a")
            #expect(await failure { _ = try await kv.get(["a", "b", "c"]) }?.message == Self.dayFull("GET_BULK"))
            #expect(try await kv.get(["b", "c"]) == ["b": "2", "c": nil])
            #expect(await failure { _ = try await kv.get("a") }?.message == Self.dayFull("GET"))
            _ = try await kv.list()
            #expect(await failure { _ = try await kv.list() }?.message == Self.dayFull("GET"))
            try await kv.delete("a")
            #expect(await failure { try await kv.delete("b") }?.message == Self.dayFull("DELETE"))
        }
        try await useUp()
        // To midnight in UTC, and not a second less.
        let left = 86_400 - fixture.now % 86_400
        fixture.clock.advance(by: .seconds(left - 1))
        #expect(await failure { try await kv.put("c", "3") }?.message == Self.dayFull("PUT"))
        #expect(await failure { _ = try await kv.get("a") }?.message == Self.dayFull("GET"))
        fixture.clock.advance(by: .seconds(1))
        try await useUp()
    }

    @Test func `outlast a restart`() async throws {
        let fixture = try fixture {
            $0.readsPerDayMax = 2
            $0.putsPerDayMax = 2
        }
        let kv = try fixture.namespace("A")
        try await kv.put("a", "1")
        try await kv.put("a", "2")
        _ = try await kv.get("a")
        await fixture.store.close()
        let again = try KVFixture.open(fixture.path, fixture.clock, nil) {
            $0.quotas.readsPerDayMax = 2
            $0.quotas.putsPerDayMax = 2
        }
        let after = try fixture.namespace("A", of: again)
        #expect(try await after.get("a") == "2")
        #expect(await failure { _ = try await after.get("a") }?.message == Self.dayFull("GET"))
        #expect(await failure { try await after.put("a", "3") }?.message == Self.dayFull("PUT"))
        await again.close()
    }

    @Test func `are off by default, and those of the free plan where they are asked for`() async throws {
        #expect(EmbeddedKVStore.Options().quotas == KVQuotas())
        #expect(KVQuotas.cloudflareFree.tenantBytesMax == 1_000_000_000)
        let fixture = try fixture { $0 = .cloudflareFree }
        let kv = try fixture.namespace("A")
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<1000 { group.addTask { try await kv.put("\(index)", "v") } }
            try await group.waitForAll()
        }
        #expect(await failure { try await kv.put("k", "v") }?.message == Self.dayFull("PUT"))
    }
}
