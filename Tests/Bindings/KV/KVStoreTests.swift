import Interfaces
import LMDB
import Stores
import StoresKV
import Synchronization
import System
import Testing
import Wire

@Suite struct `KV store` {
    @Test func `sweeps what has expired, on the clock, and nothing else`() async throws {
        let fixture = try KVFixture()
        let kv = try fixture.namespace()
        let long = String(repeating: "x", count: 512)
        try await kv.put("a", "v", expirationTtl: 60)
        try await kv.put(long, "v", expirationTtl: 60)
        try await kv.put("later", "v", expirationTtl: 600)
        try await kv.put("renewed", "v", expirationTtl: 60)
        try await kv.put("renewed", "v", expirationTtl: 600)
        fixture.clock.advance(by: .seconds(61))
        await fixture.store.sweep()
        await fixture.store.close()

        let reopened = try LMDBEnvironment(directory: fixture.path + "/kv")
        let keys = try reopened.openDatabase("namespace/SESSIONS")
        let expiries = try reopened.openDatabase("expiry")
        let counts = try reopened.read { transaction throws(LMDBError) in
            (try transaction.count(of: keys), try transaction.count(of: expiries))
        }
        #expect(counts == (2, 2))
    }

    @Test func `leaves no trace of a key once deleted`() async throws {
        let fixture = try KVFixture()
        let kv = try fixture.namespace()
        let stem = String(repeating: "x", count: 511)
        for key in ["a", stem, stem + "a", stem + "b"] {
            try await kv.put(key, "v", expirationTtl: 60)
            try await kv.put(key, "w", expirationTtl: 90)
        }
        for key in [stem + "a", "a", stem + "b", stem] { try await kv.delete(key) }
        await fixture.store.close()

        let reopened = try LMDBEnvironment(directory: fixture.path + "/kv")
        let keys = try reopened.openDatabase("namespace/SESSIONS")
        let expiries = try reopened.openDatabase("expiry")
        let counts = try reopened.read { transaction throws(LMDBError) in
            (try transaction.count(of: keys), try transaction.count(of: expiries))
        }
        #expect(counts == (0, 0))
    }

    @Test func `acknowledges no put whose commit fails, and keeps what was there`() async throws {
        let isBroken = Atomic<Bool>(false)
        let fixture = try KVFixture(fault: { operation in
            operation == "commit" && isBroken.load(ordering: .relaxed)
                ? LMDBError("mdb_txn_commit", .diskFull) : nil
        })
        let kv = try fixture.namespace()
        try await kv.put("k", "old", metadata: 1)
        isBroken.store(true, ordering: .relaxed)
        await withTaskGroup(of: CallFailure?.self) { group in
            for index in 0..<64 { group.addTask { await failure { try await kv.put("k", "new \(index)") } } }
            for await error in group { #expect(error?.message == "KV PUT failed: 500 Internal Server Error") }
        }
        #expect(
            await failure { try await kv.delete("k") }?.message
                == "KV DELETE failed: 500 Internal Server Error")
        isBroken.store(false, ordering: .relaxed)
        #expect(
            try await kv.getWithMetadata("k")
                == KVValueWithMetadata(value: "old", metadata: KVMetadata(json: "1")))
        try await kv.put("k", "new")
        #expect(try await kv.get("k") == "new")
        await fixture.store.close()
    }

    @Test func `removes all of one namespace only`() async throws {
        let fixture = try KVFixture()
        let first = try fixture.namespace("A")
        let second = try fixture.namespace("B")
        try await first.put("k", "v", expirationTtl: 60)
        try await second.put("k", "v", expirationTtl: 60)
        try await fixture.store.openNamespace("A").removeAll()
        #expect(try await first.get("k") == nil)
        #expect(try await second.get("k") == "v")
        try await first.put("k", "again")
        fixture.clock.advance(by: .seconds(100))
        await fixture.store.sweep()
        #expect(try await first.get("k") == "again")
    }

    @Test func `refuses files of another format`() async throws {
        let fixture = try KVFixture()
        await fixture.store.close()
        let environment = try LMDBEnvironment(directory: fixture.path + "/kv")
        let format = try environment.openDatabase("edge.format")
        try environment.write { try $0.put(Array("format".utf8), Array("kv 3".utf8), in: format) }
        environment.close()
        #expect(throws: LMDBFormatError.self) { _ = try KVFixture.open(fixture.path, fixture.clock) }
    }

    @Test func `refuses keys from an isolate that are no UTF-8`() async throws {
        let fixture = try KVFixture()
        let service = KVService(try fixture.store.openNamespace("A"))
        for key: [UInt8] in [[0xFF, 0, 0, 0, 0, 0, 0, 0, 0], [0xC0, 0x80], [0xE2, 0x82]] {
            let error = await failure {
                _ = try await service.answer(
                    StoreCall(.kvPut, message: KVPutMessage(key: key, value: [1]).encoded()))
            }
            #expect(error?.message == "KV PUT failed: 400 Key names must be valid UTF-8")
        }
    }

    @Test func `shows an isolate no record that stands behind the keys`() async throws {
        let fixture = try KVFixture()
        try await fixture.namespace("A").put(String(repeating: "x", count: 512), "long")
        let namespace = try fixture.store.openNamespace("A")
        let inner: [UInt8] = [0xFF, 0, 0, 0, 0, 0, 0, 0, 0]
        #expect(try await namespace.get(inner, cacheTtl: nil, byteCountMax: .max) == .missing)
        let many = KVBulkRequest(keys: [inner], type: "text")
        #expect(try await namespace.getMany(many, byteCountMax: .max) == .found([nil]))
        await #expect(throws: KVError.self) { try await namespace.delete(inner) }
        #expect(try await namespace.list(prefix: [], limit: nil, cursor: nil).keys.count == 1)
        #expect(try await namespace.list(prefix: [0xFF], limit: nil, cursor: nil).keys.isEmpty)
        await fixture.store.close()
    }

    @Test func `answers a get in place, and leaves all else to be waited for`() async throws {
        let fixture = try KVFixture()
        let service = KVService(try fixture.store.openNamespace("A"))
        let large = [UInt8](repeating: 7, count: KVLimits.inlineByteCountMax + 1)
        for (key, value) in [("small", [1, 2]), ("large", large)] {
            try await fixture.namespace("A").put(key, value)
        }
        for key in ["small", "missing"] {
            let call = StoreCall(.kvGet, message: KVGetMessage(key: Array(key.utf8)).encoded())
            let reply = try #require(try service.answerInPlace(call))
            let waited = try await service.answer(call)
            #expect(reply.message == waited.message && reply.body == nil && waited.body == nil)
        }
        // A large value is copied by another thread, into memory that may have to be waited for.
        let call = StoreCall(.kvGet, message: KVGetMessage(key: Array("large".utf8)).encoded())
        #expect(try service.answerInPlace(call)?.message == nil)
        #expect(try await fixture.namespace("A").get("large", .bytes) == large)
        let put = StoreCall(.kvPut, message: KVPutMessage(key: [0x61], value: [1]).encoded())
        #expect(try service.answerInPlace(put)?.message == nil)
        let refusal = #expect(throws: CallFailure.self) {
            _ = try service.answerInPlace(StoreCall(.kvGet, message: KVGetMessage(key: []).encoded()))
        }
        #expect(refusal?.message == "KV GET failed: 400 Key names must not be empty")
        #expect(throws: CallFailure.self) { _ = try service.answerInPlace(StoreCall(.kvGet, message: [9])) }
        await fixture.store.close()
    }

    @Test func `refuses written keys that are cut inside a character`() async throws {
        let fixture = try KVFixture()
        let namespace = try fixture.store.openNamespace("A")
        for key: [UInt8] in [[0xE2, 0x82], [0x61, 0xF0, 0x9F]] {
            await #expect(throws: KVError.refused(status: 400, text: "Key names must be valid UTF-8")) {
                try await namespace.put(KVWrite(key: key, value: [1]))
            }
        }
    }

    @Test func `answers hostile messages with an error`() async throws {
        let fixture = try KVFixture()
        let service = KVService(try fixture.store.openNamespace("A"))
        let seed = UInt64.random(in: 0 ... .max)
        var generator = SeededGenerator(seed: seed)
        let kinds: [CallKind] = [.kvGet, .kvPut, .kvDelete, .kvList, .kvGetMany, .d1Query]
        for _ in 0..<3000 {
            let message = (0..<Int.random(in: 0...40, using: &generator)).map { _ in
                UInt8.random(in: 0...(Bool.random(using: &generator) ? 3 : 255), using: &generator)
            }
            let kind = kinds.randomElement(using: &generator) ?? .kvGet
            do { _ = try await service.answer(StoreCall(kind, message: message)) } catch {
                #expect(!error.message.isEmpty, "seed \(seed)")
            }
        }
    }
}

@Suite struct `JSON grammar` {
    @Test(arguments: [
        "null", " true ", "0", "-0.5e+10", "\"\\u00e9\\n\"", "[]", "{}", "[1,{\"a\":[null]}]",
        "{\"a\":1,\"b\":\"x\"}",
    ])
    func `accepts`(text: String) { #expect(JSONGrammar.accepts(text)) }

    @Test(arguments: [
        "", " ", "nul", "01x", "1.", ".5", "1e", "\"", "\"\\x\"", "\"\\u12g4\"", "\"\n\"", "[1,]", "[1 2]",
        "{\"a\"}",
        "{a:1}", "{\"a\":1,}", "[", "]", "1 1", "'a'", "+1", "--1", String(repeating: "[", count: 100_000),
    ])
    func `refuses`(text: String) { #expect(!JSONGrammar.accepts(text)) }
}
