import Interfaces
import LMDB
import StoresKV
import System
import Testing

/// Each test damages the file of a closed store in one way, and looks what is found and what is mended.
@Suite struct `KV verify` {
    private let fixture: KVFixture
    private let stem = String(repeating: "x", count: 511)

    init() throws { fixture = try KVFixture() }

    /// A store with an entry of each kind, closed, and then changed by `damage`.
    private func damaged(
        _ damage: (borrowing LMDBWriteTransaction, _ space: LMDBDatabase, _ expiry: LMDBDatabase, _ catalog: LMDBDatabase)
            throws -> Void
    ) async throws -> EmbeddedKVStore {
        let kv = try fixture.namespace("A")
        try await kv.put("plain", "value", metadata: ["m": 1])
        try await kv.put("expires", "value", expirationTtl: 600)
        try await kv.put("later", "value", expirationTtl: 6000)
        for last in ["", "a", "b"] { try await kv.put(stem + last, "long \(last)", expirationTtl: last == "b" ? 600 : nil) }
        #expect(try await fixture.store.verify().isClean)
        await fixture.store.close()
        let environment = try LMDBEnvironment(directory: fixture.path + "/kv")
        let (space, expiry, catalog) = (
            try environment.openDatabase("namespace/A"), try environment.openDatabase("expiry"),
            try environment.openDatabase("catalog")
        )
        try environment.write { try damage($0, space, expiry, catalog) }
        environment.close()
        return try KVFixture.open(fixture.path, fixture.clock)
    }

    private func kinds(_ verification: KVVerification) -> [KVFinding.Kind] { verification.findings.map(\.kind) }

    /// Changes the bytes of one value.
    private static func change(
        _ key: [UInt8], in database: LMDBDatabase, _ transaction: borrowing LMDBWriteTransaction,
        _ body: (inout [UInt8]) -> Void
    ) throws {
        var value = try transaction.value(of: key, in: database) ?? []
        body(&value)
        try transaction.put(key, value, in: database)
    }

    @Test(arguments: [-1, 1, -500]) func `finds a torn value, which a get refuses`(change: Int) async throws {
        let store = try await damaged { transaction, space, _, _ in
            try Self.change(Array("plain".utf8), in: space, transaction) { bytes in
                if change > 0 { bytes.append(0) } else { bytes.removeLast(min(bytes.count - 1, -change)) }
            }
        }
        let found = try await store.verify()
        #expect(kinds(found).contains(.tornRecord))
        let text = try #require(found.findings.first { $0.kind == .tornRecord }?.description)
        #expect(text.hasPrefix("torn record in A: key \"plain\""))
        let kv = try fixture.namespace("A", of: store)
        #expect(await failure { _ = try await kv.get("plain") }?.message == "KV GET failed: 500 Internal Server Error")
        #expect(try await kv.get("expires") == "value")
        // It stays, for whoever can read more of it than we; a put or delete ends it.
        let left = try await store.repair()
        #expect(kinds(left) == [.tornRecord])
        try await kv.put("plain", "new")
        #expect(try await kv.get("plain") == "new")
        _ = try await store.repair()
        #expect(try await store.verify().isClean)
        await store.close()
    }

    @Test func `finds a value that is not what was written`() async throws {
        let store = try await damaged { transaction, space, _, _ in
            try Self.change(Array("plain".utf8), in: space, transaction) { $0[$0.count - 1] ^= 1 }
            try Self.change([0xFF, 0, 0, 0, 0, 0, 0, 0, 1], in: space, transaction) { $0[$0.count - 1] ^= 1 }
        }
        let found = try await store.verify()
        #expect(kinds(found) == [.changedRecord, .changedRecord])
        #expect(found.findings.allSatisfy { !$0.isRepairable })
        #expect(try await store.repair().repairedCount == 0)
        await store.close()
    }

    @Test func `finds records that the sweeper doesn't know, and tells it`() async throws {
        let store = try await damaged { transaction, _, expiry, _ in try transaction.removeAll(in: expiry) }
        #expect(kinds(try await store.verify()) == [.missingExpiry, .missingExpiry, .missingExpiry])
        let left = try await store.repair()
        #expect(left.isClean && left.repairedCount == 3)
        fixture.clock.advance(by: .seconds(600))
        await store.sweep()
        #expect(try await store.usage().keyCount == 4)
        #expect(try await store.verify().isClean)
        await store.close()
    }

    @Test func `finds places in the expiry index that stand for nothing, and removes them`() async throws {
        let second = Int64(fixture.now) + 600
        let store = try await damaged { transaction, space, expiry, _ in
            func place(_ number: UInt32) -> [UInt8] {
                var place: [UInt8] = []
                place.append(bigEndian: second)
                place.append(bigEndian: number)
                return place
            }
            try transaction.put(place(7), [1, 0] + Array("Anowhere".utf8), in: expiry)
            try transaction.put(place(8), [1, 0] + Array("Aplain".utf8), in: expiry)
            try transaction.put(place(9), [9, 0, 1], in: expiry)
            try transaction.put(place(10), [1, 0] + Array("Zplain".utf8), in: expiry)
            try transaction.put([1, 2, 3], [1, 0] + Array("Aplain".utf8), in: expiry)
        }
        #expect(kinds(try await store.verify()) == Array(repeating: .strayExpiry, count: 5))
        let left = try await store.repair()
        #expect(left.isClean && left.repairedCount == 5)
        await store.close()
    }

    @Test func `a sweep ends, and harms nothing, when the index is damaged`() async throws {
        let store = try await damaged { transaction, _, expiry, _ in
            try transaction.put([0, 0, 0], [], in: expiry)
            try transaction.put([UInt8](repeating: 0, count: 12), [200, 200, 1], in: expiry)
            try transaction.put([UInt8](repeating: 0, count: 11) + [1], [1, 0] + Array("Aplain".utf8), in: expiry)
            try transaction.put([UInt8](repeating: 0, count: 11) + [2], [1, 0] + Array("Zplain".utf8), in: expiry)
        }
        await store.sweep()
        #expect(try await store.verify().isClean)
        #expect(try await fixture.namespace("A", of: store).get("plain") == "value")
        await store.close()
    }

    @Test func `finds a place that another record has, and gives a new one`() async throws {
        let second = Int64(fixture.now) + 600
        let store = try await damaged { transaction, _, expiry, _ in
            var place: [UInt8] = []
            place.append(bigEndian: second)
            place.append(bigEndian: UInt32(0))
            // "expires" stands there.
            try transaction.put(place, [1, 0] + Array("A".utf8) + Array((stem + "b").utf8), in: expiry)
        }
        #expect(Set(kinds(try await store.verify())) == [.missingExpiry, .strayExpiry])
        #expect(try await store.repair().isClean)
        fixture.clock.advance(by: .seconds(600))
        await store.sweep()
        #expect(try await fixture.namespace("A", of: store).list().keys.map(\.name) == ["later", "plain", stem, stem + "a"])
        #expect(try await store.verify().isClean)
        await store.close()
    }

    @Test func `finds long keys whose record is gone, and forgets them`() async throws {
        let store = try await damaged { transaction, space, _, _ in
            try transaction.delete([0xFF, 0, 0, 0, 0, 0, 0, 0, 1], in: space)
        }
        #expect(Set(kinds(try await store.verify())) == [.lostRecord, .wrongUsage])
        let left = try await store.repair()
        #expect(left.isClean)
        let kv = try fixture.namespace("A", of: store)
        #expect(try await kv.list(prefix: stem).keys.map(\.name) == [stem, stem + "b"])
        #expect(try await kv.get(stem + "b") == "long b")
        try await kv.put(stem + "a", "again")
        #expect(try await kv.get(stem + "a") == "again")
        #expect(try await store.verify().isClean)
        await store.close()
    }

    @Test func `finds records that no long key leads to, and leaves them`() async throws {
        let store = try await damaged { transaction, space, _, _ in
            try Self.change(Array(stem.utf8), in: space, transaction) { $0.removeLast(10) }
        }
        // It was to expire, too: nothing leads from its place to it any more.
        #expect(Set(kinds(try await store.verify())) == [.unreachableRecord, .strayExpiry, .wrongUsage])
        let left = try await store.repair()
        #expect(kinds(left) == [.unreachableRecord])
        await store.close()
    }

    @Test func `finds buckets that are out of order or cut off, and puts them in order`() async throws {
        let store = try await damaged { transaction, space, _, _ in
            try Self.change(Array(stem.utf8), in: space, transaction) { bytes in
                bytes = Array(bytes[20..<30]) + Array(bytes[0..<20]) + Array(bytes[20..<30]) + [1, 2, 3]
            }
        }
        #expect(kinds(try await store.verify()) == [.brokenBucket])
        #expect(try await store.repair().isClean)
        let kv = try fixture.namespace("A", of: store)
        #expect(try await kv.list(prefix: stem).keys.map(\.name) == [stem, stem + "a", stem + "b"])
        #expect(try await kv.get(stem + "b") == "long b")
        await store.close()
    }

    @Test func `finds keys that nobody can have put`() async throws {
        let store = try await damaged { transaction, space, _, _ in
            let record = try transaction.value(of: Array("plain".utf8), in: space) ?? []
            try transaction.put([0x61, 0xC3], record, in: space)
        }
        #expect(Set(kinds(try await store.verify())) == [.badKey, .wrongUsage])
        await store.close()
    }

    @Test func `finds wrong accounts, and counts anew`() async throws {
        try await fixture.namespace("B").put("k", "v")
        let store = try await damaged { transaction, _, _, catalog in
            try transaction.put(Array("u".utf8), [UInt8](repeating: 1, count: 16), in: catalog)
        }
        #expect(kinds(try await store.verify()) == [.wrongUsage])
        let left = try await store.repair()
        #expect(left.isClean && left.repairedCount == 1)
        #expect(try await store.usage().keyCount == 7)
        await store.close()
    }

    @Test func `finds accounts that can't be read, without which no write is taken, and counts anew`() async throws {
        let store = try await damaged { transaction, _, _, catalog in try transaction.put(Array("u".utf8), [1], in: catalog) }
        let kv = try fixture.namespace("A", of: store)
        #expect(await failure { try await kv.put("k", "v") }?.message == "KV PUT failed: 500 Internal Server Error")
        #expect(try await kv.get("plain") == "value")
        #expect(kinds(try await store.verify()) == [.wrongUsage])
        #expect(try await store.repair().isClean)
        try await kv.put("k", "v")
        #expect(try await store.verify().isClean)
        await store.close()
    }

    @Test func `finds titles that lead nowhere and namespaces without one`() async throws {
        let store = try await damaged { transaction, _, _, catalog in
            let id = try transaction.value(of: Array("tA".utf8), in: catalog) ?? []
            try transaction.delete(Array("tA".utf8), in: catalog)
            try transaction.delete(Array("sA".utf8), in: catalog)
            try transaction.put(Array("tGone".utf8), [UInt8](repeating: 0x30, count: 32), in: catalog)
            #expect(id.count == 32)
        }
        #expect(kinds(try await store.verify()) == [.brokenCatalog, .brokenCatalog])
        #expect(try await store.repair().isClean)
        #expect(try await fixture.namespace("A", of: store).get("plain") == "value")
        #expect(try await store.namespaces().map(\.title) == ["A"])
        await store.close()
    }

    @Test func `finds a namespace whose entry in the catalog is gone, and sweeps end all the same`() async throws {
        let store = try await damaged { transaction, _, _, catalog in
            let id = try transaction.value(of: Array("tA".utf8), in: catalog) ?? []
            try transaction.delete(Array("i".utf8) + id, in: catalog)
        }
        fixture.clock.advance(by: .seconds(600))
        await store.sweep()
        #expect(kinds(try await store.verify()).contains(.lostNamespace))
        #expect(try await store.repair().isClean)
        await store.sweep()
        #expect(try await store.usage().keyCount == 4)
        #expect(try await fixture.namespace("A", of: store).get("plain") == "value")
        #expect(try await store.verify().isClean)
        await store.close()
    }

    @Test func `finds entries that no namespace has, and makes one of them`() async throws {
        let store = try await damaged { transaction, _, _, catalog in try transaction.removeAll(in: catalog) }
        let found = try await store.verify()
        #expect(kinds(found).contains(.lostNamespace))
        #expect(try await store.repair().isClean)
        #expect(try await store.namespaces().map(\.title) == ["A"])
        #expect(try await fixture.namespace("A", of: store).get(stem + "b") == "long b")
        #expect(try await store.usage().keyCount == 6)
        await store.close()
    }

    @Test func `names a thousand findings and counts all, and repair mends them all`() async throws {
        let store = try await damaged { transaction, _, expiry, _ in
            for number in UInt32(100)..<2600 {
                var place: [UInt8] = []
                place.append(bigEndian: Int64.max / 2)
                place.append(bigEndian: number)
                try transaction.put(place, [1, 0] + Array("Anowhere".utf8), in: expiry)
            }
        }
        let found = try await store.verify()
        #expect(found.findings.count == 1000 && found.findingCount == 2500)
        let left = try await store.repair()
        #expect(left.isClean && left.repairedCount == 2500)
        await store.close()
    }

    @Test func `goes on beside writes`() async throws {
        let kv = try fixture.namespace("A")
        let store = fixture.store
        try await withThrowingTaskGroup(of: Void.self) { group in
            for lane in 0..<4 {
                group.addTask {
                    for index in 0..<100 {
                        try await kv.put("\(lane)-\(index % 10)", "value \(index)", expirationTtl: index % 2 == 0 ? 60 : nil)
                        if index % 3 == 0 { try await kv.delete("\(lane)-\(index % 7)") }
                    }
                }
            }
            group.addTask {
                for _ in 0..<30 {
                    let findings = try await store.verify().findings
                    #expect(findings == [])
                }
            }
            try await group.waitForAll()
        }
    }
}
