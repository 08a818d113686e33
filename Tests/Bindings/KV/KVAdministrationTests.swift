import Interfaces
import LMDB
import StoresKV
import System
import Testing

@Suite struct `KV namespaces` {
    private let fixture: KVFixture
    private var store: EmbeddedKVStore { fixture.store }

    init() throws { fixture = try KVFixture() }

    private func namespace(id: String) async throws -> KVNamespace {
        KVNamespace(transport: LoopbackTransport(KVService(try await store.openNamespace(id: id))), binding: 0)
    }

    @Test func `probe 22: are made with an id of 32 hex digits, and no title twice`() async throws {
        let made = try await store.createNamespace(title: "Sessions of mine")
        #expect(made.id.utf8.count == 32 && made.id.allSatisfy { $0.isHexDigit && !$0.isUppercase })
        #expect(made.title == "Sessions of mine" && made.createdAt == fixture.clock.wallTime())
        #expect(try await store.namespace(id: made.id) == made)
        await #expect(throws: KVAdministrationError.titleTaken) {
            _ = try await store.createNamespace(title: "Sessions of mine")
        }
        for title in ["", String(repeating: "t", count: 481)] {
            await #expect(throws: KVAdministrationError.badTitle) { _ = try await store.createNamespace(title: title) }
            await #expect(throws: KVAdministrationError.badTitle) {
                _ = try await store.renameNamespace(id: made.id, title: title)
            }
        }
        _ = try await store.createNamespace(title: String(repeating: "t", count: 480))
        _ = try await store.createNamespace(title: "NUL \u{0} in it")
        #expect(try await store.namespaces().count == 3)
    }

    @Test func `are those that configurations name`() async throws {
        try await fixture.namespace("SESSIONS").put("k", "v")
        let description = try #require(try await store.namespaces().first)
        #expect(description.title == "SESSIONS")
        #expect(try await namespace(id: description.id).get("k") == "v")
        #expect(try await fixture.namespace(description.id).get("k") == "v")
        let made = try await store.createNamespace(title: "BY HAND")
        try await namespace(id: made.id).put("k", "w")
        #expect(try await fixture.namespace("BY HAND").get("k") == "w")
        #expect(try await store.namespaces().count == 2)
    }

    @Test func `keep their entries and users when they are renamed`() async throws {
        let open = try fixture.namespace("OLD")
        try await open.put("k", "v")
        let id = try #require(try await store.namespaces().first?.id)
        let renamed = try await store.renameNamespace(id: id, title: "NEW")
        #expect(renamed.title == "NEW" && renamed.id == id && renamed.usage.keyCount == 1)
        try await open.put("l", "w")
        // A configuration that was not changed yet must not get an empty namespace.
        #expect(try await fixture.namespace("OLD").get("k") == "v")
        #expect(try await fixture.namespace("NEW").get("l") == "w")
        // Once somebody makes another one of that title, that is meant.
        let other = try await store.createNamespace(title: "OLD")
        #expect(try await fixture.namespace("OLD").get("k") == nil)
        await #expect(throws: KVAdministrationError.titleTaken) {
            _ = try await store.renameNamespace(id: other.id, title: "NEW")
        }
        _ = try await store.renameNamespace(id: id, title: "NEW")
        try await store.deleteNamespace(id: id)
        #expect(try await store.namespace(id: other.id).title == "OLD")
        #expect(try await store.verify().isClean)
    }

    @Test func `refuse who has them open once they are deleted, and leave nothing`() async throws {
        let open = try fixture.namespace("A")
        let long = String(repeating: "x", count: 512)
        try await open.put("k", "v", expirationTtl: 60)
        try await open.put(long, "v", expirationTtl: 60)
        let id = try #require(try await store.namespaces().first?.id)
        try await store.deleteNamespace(id: id)
        let message = "404 namespace not found"
        #expect(await failure { _ = try await open.get("k") }?.message == "KV GET failed: \(message)")
        #expect(await failure { _ = try await open.get(["k"]) }?.message == "KV GET_BULK failed: \(message)")
        #expect(await failure { _ = try await open.list() }?.message == "KV GET failed: \(message)")
        #expect(await failure { try await open.put("k", "v") }?.message == "KV PUT failed: \(message)")
        #expect(await failure { try await open.delete("k") }?.message == "KV DELETE failed: \(message)")
        await #expect(throws: KVAdministrationError.notFound) { _ = try await store.namespace(id: id) }
        await #expect(throws: KVAdministrationError.notFound) { try await store.deleteNamespace(id: id) }
        await #expect(throws: KVAdministrationError.notFound) { _ = try await store.openNamespace(id: id) }
        await #expect(throws: KVAdministrationError.notFound) { _ = try await store.renameNamespace(id: id, title: "B") }
        #expect(try await store.usage() == KVUsage())

        // The next one takes the place of the deleted one in the file, and has nothing of it.
        let next = try await store.createNamespace(title: "B")
        let fresh = try await namespace(id: next.id)
        #expect(try await fresh.list().keys.isEmpty)
        try await fresh.put("k", "other")
        #expect(await failure { _ = try await open.get("k") }?.message == "KV GET failed: \(message)")
        #expect(await failure { try await open.delete("k") } != nil)
        fixture.clock.advance(by: .seconds(100))
        await store.sweep()
        #expect(try await fresh.get("k") == "other")
        #expect(try await fixture.namespace("A").get("k") == nil)
        #expect(try await store.verify().isClean)
        await store.close()
        let environment = try LMDBEnvironment(directory: fixture.path + "/kv")
        #expect(try environment.databaseNames().filter { $0.hasPrefix("namespace/") }.count == 2)
    }

    @Test func `stay open when deleting them fails`() async throws {
        let isBroken = Switch()
        let fixture = try KVFixture(fault: { isBroken.isOn && $0 == "commit" ? LMDBError("commit", .diskFull) : nil })
        let open = try fixture.namespace("A")
        try await open.put("k", "v")
        let id = try #require(try await fixture.store.namespaces().first?.id)
        isBroken.isOn = true
        await #expect(throws: KVAdministrationError.failed) { try await fixture.store.deleteNamespace(id: id) }
        await #expect(throws: KVAdministrationError.failed) { _ = try await fixture.store.createNamespace(title: "B") }
        await #expect(throws: KVAdministrationError.failed) {
            _ = try await fixture.store.renameNamespace(id: id, title: "B")
        }
        isBroken.isOn = false
        #expect(try await open.get("k") == "v")
        try await open.put("k", "w")
        #expect(try await fixture.store.namespaces().map(\.title) == ["A"])
    }

    @Test func `are no more than a thousand`() async throws {
        var last = ""
        for index in 0..<1000 { last = try await store.createNamespace(title: "namespace \(index)").id }
        await #expect(throws: KVAdministrationError.tooManyNamespaces) {
            _ = try await store.createNamespace(title: "one more")
        }
        #expect(throws: KVAdministrationError.tooManyNamespaces) { _ = try store.openNamespace("one more") }
        // All of them can be open at once, and deleting makes room.
        for description in try await store.namespaces() {
            try await namespace(id: description.id).put("k", "v")
        }
        try await store.deleteNamespace(id: last)
        _ = try await store.createNamespace(title: "one more")
        #expect(try await store.usage().keyCount == 999)
        await store.close()
        let again = try KVFixture.open(fixture.path, fixture.clock)
        #expect(try await again.namespaces().count == 1000)
        await again.close()
    }

    @Test func `of the format before are taken over, with what they have`() async throws {
        let path = KVFixture.makeDirectory()
        let expiration: Int64 = Int64(fixture.now) + 100
        do {
            let environment = try LMDBEnvironment(directory: path + "/kv")
            try environment.requireFormat("kv 1")
            let (space, expiry) = (
                try environment.openDatabase("namespace/SESSIONS"), try environment.openDatabase("expiry")
            )
            _ = try environment.openDatabase("namespace/EMPTY")
            try environment.write { transaction in
                var record: [UInt8] = [1]
                record.append(littleEndian: expiration)
                record.append(littleEndian: UInt32(0))
                record.append(littleEndian: UInt16(3))
                try transaction.put(Array("k".utf8), record + Array("[1]value".utf8), in: space)
                var place: [UInt8] = []
                place.append(bigEndian: expiration)
                place.append(bigEndian: UInt32(0))
                try transaction.put(place, [8, 0] + Array("SESSIONSk".utf8), in: expiry)
            }
            environment.close()
        }
        let store = try KVFixture.open(path, fixture.clock)
        let kv = try fixture.namespace("SESSIONS", of: store)
        #expect(try await kv.getWithMetadata("k") == KVValueWithMetadata(value: "value", metadata: KVMetadata(json: "[1]")))
        #expect(try await kv.list().keys.first?.expiration == expiration)
        #expect(try await store.namespaces().map(\.title).sorted() == ["EMPTY", "SESSIONS"])
        #expect(try await store.usage() == KVUsage(keyCount: 1, byteCount: 9))
        #expect(try await store.verify().isClean)
        try await kv.put("k", "anew")
        #expect(try await store.usage() == KVUsage(keyCount: 1, byteCount: 5))
        #expect(try await store.verify().isClean)
        await store.close()
        let again = try KVFixture(at: path)
        #expect(try await again.namespace("SESSIONS").get("k") == "anew")
    }
}
