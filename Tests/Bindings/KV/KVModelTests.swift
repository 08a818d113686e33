import Glibc
import Interfaces
import StoresKV
import System
import Testing

/// Random operations on two namespaces, compared with dictionaries after each step. A failing run prints its seed.
@Suite struct `KV model` {
    private struct Entry: Equatable {
        var value: [UInt8]
        var metadata: String?
        var expiration: Int64?
    }

    /// What a store is said to hold, and the store.
    private struct World {
        let fixture: KVFixture
        var store: EmbeddedKVStore
        var path: String
        var namespaces: [KVNamespace] = []
        var model: [[String: Entry]] = [[:], [:]]
        var copies: [String] = []

        static let names = ["first", "second"]

        mutating func open() throws { namespaces = try Self.names.map { try fixture.namespace($0, of: store) } }

        func usage(at index: Int? = nil) -> KVUsage {
            let entries = index.map { Array(model[$0]) } ?? model.flatMap { Array($0) }
            return KVUsage(
                keyCount: entries.count,
                byteCount: entries.reduce(0) {
                    $0 + $1.key.utf8.count + $1.value.value.count + ($1.value.metadata?.utf8.count ?? 0)
                })
        }
    }

    private static let stem = String(repeating: "k", count: 509)
    private static let keys =
        (0..<8).map { "key\($0)" } + ["", "a", "ab", "abc", "é", "ab€"].map { stem + $0 }.filter { $0.utf8.count <= 512 }
        + ["k", "Z", "\u{FFFF}", "\u{10000}"]

    @Test(arguments: [0, 1, 2]) func `holds, with reopenings and with the node killed between steps`(run: Int) async throws {
        let seed = UInt64.random(in: 0 ... .max)
        var generator = SeededGenerator(seed: seed)
        let fixture = try KVFixture()
        var world = World(fixture: fixture, store: fixture.store, path: fixture.path)
        try world.open()
        for step in 0..<600 {
            let context: Comment = "seed \(seed), step \(step)"
            try await self.step(&world, &generator, step, context)
            let now = Int64(fixture.now)
            for index in world.model.indices {
                world.model[index] = world.model[index].filter { $0.value.expiration.map { $0 > now } ?? true }
            }
        }
        await world.store.close()
        for path in world.copies { KVFixture.remove(path) }
    }

    private func step(
        _ world: inout World, _ generator: inout SeededGenerator, _ step: Int, _ context: Comment
    ) async throws {
        let index = Int.random(in: 0..<2, using: &generator)
        let kv = world.namespaces[index]
        let key = Self.keys.randomElement(using: &generator) ?? "k"
        switch Int.random(in: 0..<100, using: &generator) {
        case 0..<35:
            let entry = entry(world, &generator, step)
            let ttl = entry.expiration.map { Int($0) - world.fixture.now }
            try await kv.put(
                key, entry.value, expirationTtl: ttl, metadata: entry.metadata.map { KVMetadata(json: $0) })
            world.model[index][key] = entry
        case 35..<45:
            try await kv.delete(key)
            world.model[index][key] = nil
        case 45..<52: try await bulk(&world, index, &generator, step, context)
        case 52..<58: world.fixture.clock.advance(by: .seconds(Int.random(in: 1...90, using: &generator)))
        case 58..<62:
            await world.store.sweep()
            #expect(try await world.store.usage() == world.usage(), context)
        case 62..<64: try await reopen(&world, context)
        case 64..<67: try await kill(&world, context)
        case 67..<85:
            let found = try await kv.getWithMetadata(key, .bytes)
            #expect(found.value == world.model[index][key]?.value, context)
            #expect(found.metadata?.json == world.model[index][key]?.metadata, context)
        case 85..<90:
            let found = try await kv.get(Self.keys, cacheTtl: 30)
            let texts = world.model[index].mapValues { String(decoding: $0.value, as: UTF8.self) }
            #expect(found.compactMapValues { $0 } == texts, context)
        default: try await list(world, index, &generator, context)
        }
    }

    private func entry(_ world: World, _ generator: inout SeededGenerator, _ step: Int) -> Entry {
        let byteCount = [0, 3, 200, 5000, 70_000].randomElement(using: &generator) ?? 0
        let value = [UInt8](repeating: UInt8.random(in: 32...126, using: &generator), count: byteCount)
        let ttl = Bool.random(using: &generator) ? Int.random(in: 60...200, using: &generator) : nil
        return Entry(
            value: value, metadata: Bool.random(using: &generator) ? "\(step)" : nil,
            expiration: ttl.map { Int64(world.fixture.now + $0) })
    }

    private func bulk(
        _ world: inout World, _ index: Int, _ generator: inout SeededGenerator, _ step: Int, _ context: Comment
    ) async throws {
        let description = try await world.store.namespaces().first { $0.title == World.names[index] }
        let namespace = try await world.store.openNamespace(id: try #require(description).id)
        let keys = (0..<Int.random(in: 1...6, using: &generator)).map { _ in Self.keys.randomElement(using: &generator) ?? "k" }
        guard Bool.random(using: &generator) else {
            let outcome = try await namespace.delete(keys.map { Array($0.utf8) } + [[]])
            #expect(outcome.successfulKeyCount == keys.count && outcome.failures.count == 1, context)
            for key in keys { world.model[index][key] = nil }
            return
        }
        var writes = [KVWrite(key: Array(keys[0].utf8), value: [1], expirationTtl: 59)]
        for key in keys {
            let entry = entry(world, &generator, step)
            writes.append(
                KVWrite(
                    key: Array(key.utf8), value: entry.value[...], expiration: entry.expiration, metadata: entry.metadata))
            world.model[index][key] = entry
        }
        let outcome = try await namespace.put(writes)
        #expect(outcome.successfulKeyCount == keys.count && outcome.failures.count == 1, context)
    }

    private func reopen(_ world: inout World, _ context: Comment) async throws {
        await world.store.close()
        world.store = try KVFixture.open(world.path, world.fixture.clock)
        try world.open()
        let verification = try await world.store.verify()
        #expect(verification.findings == [], context)
    }

    /// Goes on with what the files hold at this moment, as a node does that is started after `kill -9`.
    private func kill(_ world: inout World, _ context: Comment) async throws {
        let copy = KVFixture.makeDirectory()
        try FileTree.makeDirectory(copy + "/kv", mode: 0o700)
        try FileTree.replaceFile(copy + "/kv/data.mdb", with: FileTree.read(world.path + "/kv/data.mdb"), mode: 0o600)
        await world.store.close()
        world.copies.append(copy)
        world.path = copy
        world.store = try KVFixture.open(copy, world.fixture.clock)
        try world.open()
        let verification = try await world.store.verify()
        #expect(verification.findings == [], context)
        await world.store.sweep()
        #expect(try await world.store.usage() == world.usage(), context)
        for description in try await world.store.namespaces() {
            let index = World.names.firstIndex(of: description.title)
            #expect(description.usage == world.usage(at: index), context)
        }
    }

    private func list(
        _ world: World, _ index: Int, _ generator: inout SeededGenerator, _ context: Comment
    ) async throws {
        let prefix = ["", "k", "key1", Self.stem, Self.stem + "a", Self.stem + "ab", "none"].randomElement(using: &generator)
        let limit = Int.random(in: 1...6, using: &generator)
        var seen: [KVListing.Key] = []
        var cursor: String?
        repeat {
            let page = try await world.namespaces[index].list(prefix: prefix, limit: limit, cursor: cursor)
            #expect(page.keys.count <= limit, context)
            seen += page.keys
            cursor = page.cursor
        } while cursor != nil
        let expected = world.model[index].filter { $0.key.utf8.starts(with: (prefix ?? "").utf8) }
            .sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
            .map {
                KVListing.Key(
                    name: $0.key, expiration: $0.value.expiration, metadata: $0.value.metadata.map { KVMetadata(json: $0) })
            }
        #expect(seen == expected, context)
    }
}
