import Interfaces
import StoresKV
import System
import Testing

/// The acceptance probes of KV that a binding can reach. Those of the REST API (22–27) belong to the control
/// plane; what they ask of the engine is in `KVAdministrationTests`.
@Suite struct `KV probes` {
    private let fixture: KVFixture
    private let kv: KVNamespace

    init() throws {
        fixture = try KVFixture()
        kv = try fixture.namespace()
    }

    @Test func `probe 1: text round trip, and JSON that is none`() async throws {
        try await kv.put("k", "v")
        #expect(try await kv.get("k") == "v")
        let error = await failure { _ = try await kv.get("k", .json([String].self)) }
        #expect(error?.name == "SyntaxError")
        try await kv.put("j", #"{"a":[1,2]}"#)
        #expect(try await kv.get("j", .json([String: [Int]].self)) == ["a": [1, 2]])
    }

    @Test func `probe 2: what is missing is nil`() async throws {
        #expect(try await kv.get("missing") == nil)
        #expect(try await kv.get("missing", .json([Int].self)) == nil)
        let both = try await kv.getWithMetadata("missing")
        #expect(both == KVValueWithMetadata(value: nil, metadata: nil))
        #expect(both.cacheStatus == nil)
    }

    @Test func `probe 3: an unknown type is wrong only where there is a value`() async throws {
        let none: KVValue? = try await kv.get("missing", .named("bogus"))
        #expect(none.map { "\($0)" } == nil)
        try await kv.put("missing", "x")
        let error = await failure { _ = try await kv.get("missing", .named("bogus")) }
        #expect(
            error
                == CallFailure(
                    #"Unknown response type. Possible types are "text", "arrayBuffer", "json", and "stream"."#,
                    name: "TypeError"))
        // Also where the value is a body of its own.
        try await kv.put("large", [UInt8](repeating: 1, count: 300_000))
        #expect(await failure { _ = try await kv.getWithMetadata("large", .named("blob")) }?.name == "TypeError")
        #expect(
            await failure { _ = try await kv.get(["missing"], .named("bogus")) }?.message
                == "KV GET_BULK failed: 400 \"bogus\" is not a valid type. Use \"json\" or \"text\"")
    }

    @Test func `a type that is named at run time reads as the same type does`() async throws {
        try await kv.put("k", "[1]")
        guard case .text("[1]") = try await kv.get("k", .named("text")) else { throw CallFailure("no text") }
        guard case .json("[1]") = try await kv.get("k", .named("json")) else { throw CallFailure("no JSON") }
        guard case .bytes([0x5B, 0x31, 0x5D]) = try await kv.get("k", .named("arrayBuffer")) else {
            throw CallFailure("no bytes")
        }
        guard case .stream(let stream) = try await kv.get("k", .named("stream")) else { throw CallFailure("no stream") }
        #expect(try await stream.collect() == Array("[1]".utf8))
        try await kv.put("k", "[1")
        #expect(await failure { _ = try await kv.get("k", .named("json")) }?.name == "SyntaxError")
    }

    @Test func `probe 4: keys that the client refuses`() async throws {
        let empty = CallFailure("Key name cannot be empty.", name: "TypeError")
        #expect(await failure { _ = try await kv.get("") } == empty)
        #expect(await failure { try await kv.put("", "x") } == empty)
        #expect(await failure { try await kv.delete("") } == empty)
        #expect(
            await failure { try await kv.put("..", "x") }
                == CallFailure("\"..\" is not allowed as a key name.", name: "TypeError"))
        #expect(
            await failure { _ = try await kv.getWithMetadata(".") }
                == CallFailure("\".\" is not allowed as a key name.", name: "TypeError"))
    }

    @Test(arguments: ["a", "€"]) func `probe 5: 512 bytes of key and one more`(character: String) async throws {
        let key = String(repeating: "a", count: 512)
        try await kv.put(key, "v")
        #expect(try await kv.get(key) == "v")
        #expect(try await kv.list().keys.map(\.name) == [key])
        try await kv.delete(key)
        #expect(try await kv.get(key) == nil)
        #expect(try await kv.list().keys.isEmpty)
        let long = String(repeating: character, count: character == "a" ? 513 : 171)
        #expect(
            await failure { try await kv.put(long, "x") }?.message
                == "KV PUT failed: 414 UTF-8 encoded length of 513 exceeds key length limit of 512.")
        #expect(
            await failure { _ = try await kv.get(long) }?.message
                == "KV GET failed: 414 UTF-8 encoded length of 513 exceeds key length limit of 512.")
        #expect(
            await failure { try await kv.delete(long) }?.message
                == "KV DELETE failed: 414 UTF-8 encoded length of 513 exceeds key length limit of 512.")
        #expect(
            await failure { _ = try await kv.list(prefix: long) }?.message
                == "KV GET failed: 414 UTF-8 encoded length of 513 exceeds key length limit of 512.")
    }

    @Test func `probe 6: keys of 512 bytes that differ in the last`() async throws {
        let stem = String(repeating: "x", count: 511)
        for last in ["c", "a", "b"] { try await kv.put(stem + last, last) }
        try await kv.put(stem, "stem")
        try await kv.put(String(stem.dropLast()), "shorter")
        #expect(try await kv.get(stem + "b") == "b")
        let names = try await kv.list().keys.map(\.name)
        #expect(names == [String(stem.dropLast()), stem, stem + "a", stem + "b", stem + "c"])
        #expect(try await kv.list(prefix: stem + "b").keys.map(\.name) == [stem + "b"])
        #expect(try await kv.list(prefix: stem).keys.count == 4)
        var seen: [String] = []
        var cursor: String?
        repeat {
            let page = try await kv.list(limit: 1, cursor: cursor)
            seen += page.keys.map(\.name)
            cursor = page.cursor
        } while cursor != nil
        #expect(seen == names)
        try await kv.delete(stem + "b")
        #expect(try await kv.get(stem + "b") == nil)
        #expect(try await kv.get(stem + "c") == "c")
    }

    @Test func `probe 7: an empty value is a value`() async throws {
        try await kv.put("k", "")
        #expect(try await kv.get("k") == "")
        #expect(try await kv.list().keys.map(\.name) == ["k"])
    }

    @Test func `probe 8: 25 MiB and one more`() async throws {
        let largest = [UInt8](repeating: 7, count: 26_214_400)
        try await kv.put("k", largest)
        #expect(try await kv.get("k", .bytes) == largest)
        let message = "KV PUT failed: 413 Value length of 26214401 exceeds limit of 26214400."
        #expect(await failure { try await kv.put("k", largest + [7]) }?.message == message)
        var left = 26_214_401
        let stream = ByteStream {
            let piece = min(left, 1 << 20)
            left -= piece
            return piece == 0 ? nil : [UInt8](repeating: 1, count: piece)
        }
        #expect(await failure { try await kv.put("k", stream) }?.message == message)
        #expect(try await kv.get("k", .bytes)?.count == 26_214_400)
        let read = try #require(try await kv.get("k", .stream))
        #expect(try await read.collect() == largest)
    }

    @Test func `probe 9: metadata of 1024 bytes and one more`() async throws {
        let largest = String(repeating: "m", count: 1022)
        try await kv.put("k", "v", metadata: largest)
        #expect(try await kv.getWithMetadata("k").metadata?.decode() == largest)
        #expect(
            await failure { try await kv.put("k", "v", metadata: largest + "m") }?.message
                == "KV PUT failed: 413 Metadata length of 1025 exceeds limit of 1024.")
    }

    @Test func `probe 10: a time to live that is too short`() async throws {
        #expect(
            await failure { try await kv.put("k", "v", expirationTtl: 59) }?.message
                == "KV PUT failed: 400 Invalid expiration_ttl of 59. Expiration TTL must be at least 60.")
        #expect(
            await failure { try await kv.put("k", "v", expirationTtl: 0) }?.message
                == "KV PUT failed: 400 Invalid expiration_ttl of 0. Please specify integer greater than 0.")
        #expect(try await kv.get("k") == nil)
    }

    @Test func `probe 11: an expiration in the past, and too near`() async throws {
        let past = fixture.now - 1
        #expect(
            await failure { try await kv.put("k", "v", expiration: past) }?.message
                == "KV PUT failed: 400 Invalid expiration of \(past). Please specify integer greater than the current "
                + "number of seconds since the UNIX epoch.")
        let near = fixture.now + 30
        #expect(
            await failure { try await kv.put("k", "v", expiration: near) }?.message
                == "KV PUT failed: 400 Invalid expiration of \(near). Expiration times must be at least 60 seconds in "
                + "the future.")
        try await kv.put("k", "v", expiration: fixture.now + 60)
    }

    @Test func `probe 12: the time to live wins`() async throws {
        fixture.clock.advance(by: .milliseconds(700))
        try await kv.put("k", "v", expiration: 1, expirationTtl: 60)
        #expect(try await kv.list().keys.first?.expiration == Int64(fixture.now) + 60)
    }

    @Test func `probe 13: gone at the very second`() async throws {
        try await kv.put("k", "v", expirationTtl: 60)
        try await kv.put("stays", "v")
        fixture.clock.advance(by: .milliseconds(59_999))
        #expect(try await kv.get("k") == "v")
        #expect(try await kv.list().keys.count == 2)
        fixture.clock.advance(by: .milliseconds(1))
        #expect(try await kv.get("k") == nil)
        #expect(try await kv.get(["k", "stays"]) == ["k": nil, "stays": "v"])
        #expect(try await kv.list().keys.map(\.name) == ["stays"])
    }

    @Test func `probe 14: a put replaces metadata and expiration too`() async throws {
        try await kv.put("k", "v", expirationTtl: 60, metadata: ["m": 1])
        #expect(try await kv.getWithMetadata("k").metadata?.json == #"{"m":1}"#)
        try await kv.put("k", "w")
        #expect(try await kv.getWithMetadata("k") == KVValueWithMetadata(value: "w", metadata: nil))
        #expect(try await kv.list().keys == [KVListing.Key(name: "k", expiration: nil, metadata: nil)])
        fixture.clock.advance(by: .seconds(120))
        await fixture.store.sweep()
        #expect(try await kv.get("k") == "w")
    }

    @Test func `probe 15: order of bytes`() async throws {
        let keys = ["Z", "a", "é", "\u{FFFF}", "\u{10000}"]
        for key in keys.shuffled() { try await kv.put(key, "v") }
        #expect(try await kv.list().keys.map(\.name) == keys)
    }

    @Test func `probe 16: 1001 keys are two pages`() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<1001 { group.addTask { try await kv.put("key-\(10_000 + index)", "v") } }
            try await group.waitForAll()
        }
        let first = try await kv.list()
        #expect(first.keys.count == 1000)
        #expect(!first.isComplete)
        let second = try await kv.list(cursor: first.cursor)
        #expect(second.keys.map(\.name) == ["key-11000"])
        #expect(second.isComplete)
        #expect(second.cursor == nil)
        #expect(second.cacheStatus == nil)
    }

    @Test func `probe 17: the limit of a page`() async throws {
        for key in ["a", "b"] { try await kv.put(key, "v") }
        #expect(
            await failure { _ = try await kv.list(limit: 1001) }?.message
                == "KV GET failed: 400 Invalid key_count_limit of 1001. Please specify an integer less than 1000."
        )
        #expect(try await kv.list(limit: 0).keys.count == 2)
        #expect(try await kv.list(limit: -3).keys.count == 2)
        #expect(try await kv.list(limit: 1).keys.count == 1)
    }

    @Test func `probe 18: insertions before and behind the cursor`() async throws {
        for key in ["a", "b", "c", "d"] { try await kv.put(key, "v") }
        // After page 1, which ends with b, `aa` lies behind the reader and `bb` in front.
        let first = try await kv.list(limit: 2)
        for key in ["aa", "bb"] { try await kv.put(key, "v") }
        let rest = try await kv.list(cursor: first.cursor)
        #expect(rest.keys.map(\.name) == ["bb", "c", "d"])
    }

    @Test func `probe 19: too many keys and none`() async throws {
        #expect(
            await failure { _ = try await kv.get((0..<101).map { "k\($0)" }) }?.message
                == "KV GET_BULK failed: 400 You can request a maximum of 100 keys")
        #expect(
            await failure { _ = try await kv.get([String]()) }?.message
                == "KV GET_BULK failed: 400 You must request a minimum of 1 key")
        #expect(
            await failure { _ = try await kv.get(["k"], .bytes) }?.message
                == "KV GET_BULK failed: 400 \"arrayBuffer\" is not a valid type. Use \"json\" or \"text\"")
        #expect(
            await failure { _ = try await kv.get([""]) }?.message
                == "KV GET_BULK failed: 400 Key names must not be empty")
        #expect(
            await failure { _ = try await kv.get([".."]) }?.message
                == "KV GET_BULK failed: 400 Illegal key name \"..\". Please use a different name.")
    }

    @Test func `probe 20: many with metadata`() async throws {
        try await kv.put("has", "v")
        try await kv.put("more", "w", metadata: 5)
        let found = try await kv.getWithMetadata(["has", "none", "more", "has"])
        #expect(
            found == [
                "has": KVValueWithMetadata(value: "v", metadata: nil), "none": nil,
                "more": KVValueWithMetadata(value: "w", metadata: KVMetadata(json: "5")),
            ])
    }

    @Test func `probe 21: many as JSON, one of which is none`() async throws {
        try await kv.put("ok", "[1]")
        try await kv.put("text", "hello")
        #expect(try await kv.get(["ok", "none"], .json([Int].self)) == ["ok": [1], "none": nil])
        #expect(
            await failure { _ = try await kv.get(["ok", "text"], .json([Int].self)) }?.message
                == "KV GET_BULK failed: 400 At least one of the requested keys corresponds to a non-json value"
        )
    }

    @Test func `checks a put in the product's order, and reads no value that it refuses anyway`() async throws {
        let long = KVMetadata(json: "\"" + String(repeating: "m", count: 1100) + "\"")
        let large = [UInt8](repeating: 1, count: 26_214_401)
        let steps: [(key: String, ttl: Int?, expiration: Int?, metadata: KVMetadata?, status: Int)] = [
            (String(repeating: "k", count: 513), 0, 1, long, 414), ("k", 0, 1, long, 400), ("k", 59, 1, long, 400),
            ("k", nil, 1, long, 400), ("k", nil, nil, long, 413), ("k", nil, nil, nil, 413),
        ]
        var messages: [String] = []
        for step in steps {
            var pulls = 0
            let stream = ByteStream {
                pulls += 1
                return pulls == 1 ? large : nil
            }
            let error = await failure {
                try await kv.put(
                    step.key, stream, expiration: step.expiration, expirationTtl: step.ttl, metadata: step.metadata)
            }
            #expect(error?.code == step.status)
            messages.append(error?.message ?? "none")
            if step.metadata != nil { #expect(pulls == 0) }
        }
        #expect(messages[1].contains("integer greater than 0"))
        #expect(messages[2].contains("at least 60."))
        #expect(messages[3].contains("since the UNIX epoch"))
        #expect(messages[4].contains("Metadata length of 1102 exceeds"))
        #expect(messages[5].contains("Value length of 26214401 exceeds"))
        #expect(try await kv.get("k") == nil)
    }

    @Test func `probe 28: deleting what is missing`() async throws {
        try await kv.delete("missing")
    }

    @Test func `refuses more than 25 MiB in one bulk get`() async throws {
        let half = [UInt8](repeating: 1, count: 13_107_200)
        try await kv.put("a", half)
        try await kv.put("b", half)
        #expect(try await kv.get(["a", "b"]).count == 2)
        try await kv.put("c", "x")
        let tooMuch = "KV GET_BULK failed: 413 Total size of request exceeds the limit of 25MB"
        #expect(await failure { _ = try await kv.get(["a", "b", "c"]) }?.message == tooMuch)
        // What is no JSON comes first, wherever it stands.
        let number = [UInt8](repeating: 0x31, count: 13_107_200)
        for key in ["a", "b"] { try await kv.put(key, number) }
        #expect(
            await failure { _ = try await kv.get(["a", "b", "c"], .named("json")) }?.message
                == "KV GET_BULK failed: 400 At least one of the requested keys corresponds to a non-json value")
        try await kv.put("c", "1")
        #expect(await failure { _ = try await kv.get(["a", "b", "c"], .named("json")) }?.message == tooMuch)
    }

    @Test func `refuses a cacheTtl below 30`() async throws {
        #expect(
            await failure { _ = try await kv.get("k", cacheTtl: 29) }?.message
                == "KV GET failed: 400 Invalid cache_ttl of 29. Cache TTL must be at least 30.")
        #expect(try await kv.get("k", cacheTtl: 30) == nil)
    }

    @Test func `refuses a cursor that it did not give, or gave for another prefix`() async throws {
        for key in ["aa", "ab", "ac"] { try await kv.put(key, "v") }
        let cursor = try #require(try await kv.list(prefix: "a", limit: 1).cursor)
        let message = "KV GET failed: 400 cursor is invalid"
        for wrong in [
            "", "zz", "0", "01020304050607", cursor + "00", String(cursor.dropLast(2)),
            cursor.uppercased() + "A",
        ] {
            #expect(await failure { _ = try await kv.list(prefix: "a", cursor: wrong) }?.message == message)
        }
        #expect(await failure { _ = try await kv.list(cursor: cursor) }?.message == message)
        #expect(try await kv.list(prefix: "a", cursor: cursor).keys.map(\.name) == ["ab", "ac"])
    }

    @Test func `keeps values on both sides of the inline limit byte for byte`() async throws {
        for byteCount in [0, 1, 262_143, 262_144, 262_145, 1_000_000] {
            let value = (0..<byteCount).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            try await kv.put("k", value, metadata: byteCount)
            let found = try await kv.getWithMetadata("k", .bytes)
            #expect(found.value == value)
            #expect(try found.metadata?.decode() == byteCount)
        }
    }

    @Test func `takes keys of any characters`() async throws {
        let keys = ["a/b", "?", "#", "%2F", "line\nbreak", "nul\u{0}", "\u{0}", "é", "e\u{301}"]
        for key in keys { try await kv.put(key, key) }
        for key in keys { #expect(try await kv.get(key) == key) }
        #expect(try await kv.list().keys.count == keys.count)
    }

    @Test func `parts namespaces`() async throws {
        let other = try fixture.namespace("OTHER")
        try await kv.put("k", "1")
        #expect(try await other.get("k") == nil)
        try await other.put("k", "2")
        #expect(try await kv.get("k") == "1")
    }
}
