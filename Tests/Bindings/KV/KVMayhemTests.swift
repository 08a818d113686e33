import FoundationEssentials
import Interfaces
import LMDB
import StoresKV
import System
import Testing

/// Ten thousand random operations, with reopenings and with the node killed in between: nothing that was acknowledged is lost,
/// and when everything is deleted, the files hold what an unused store holds.
@Suite(.timeLimit(.minutes(5))) struct `KV mayhem` {
    private struct World {
        let fixture: KVFixture
        var store: EmbeddedKVStore
        var path: String
        var generator: SeededGenerator
        /// Copies that took the place of the fixture's own directory.
        var copies: [String] = []
        /// By namespace: what each key has, and until when.
        var model: [String: [String: (seed: Int, expiration: Int64?)]] = [:]
        var puts = 0

        mutating func dice(_ count: Int) -> Int { Int.random(in: 0..<count, using: &generator) }
    }

    private static let names = ["first", "second", "third"]
    private static let longKey = String(repeating: "k", count: 509)

    @Test func `nothing is lost or leaks`() async throws {
        let seed = ProcessInfo.processInfo.environment["EDGE_SEED"].flatMap { UInt64($0) } ?? 20_261_121
        let context: Comment = "EDGE_SEED=\(seed)"
        let fixture = try KVFixture()
        var world = World(fixture: fixture, store: fixture.store, path: fixture.path, generator: SeededGenerator(seed: seed))
        for step in 0..<10_000 {
            try await self.step(&world, step)
            guard step % 400 == 399 else { continue }
            try await world.dice(2) == 0 ? reopen(&world) : kill(&world)
            try await check(world, context)
        }
        #expect(world.puts > 3000, context)
        for namespace in try await world.store.namespaces() { try await world.store.deleteNamespace(id: namespace.id) }
        await world.store.sweep()
        #expect(try await world.store.usage() == KVUsage(), context)
        #expect(try await world.store.verify().findings == [], context)
        await world.store.close()
        let entries = try Self.entries(world.path)
        // A deleted namespace's database is the next one's: there are no more than there were namespaces at once.
        #expect(entries.keys.count { $0.hasPrefix("namespace/") } <= Self.names.count, context)
        for (name, numbers) in entries where name != "catalog" && name != "edge.format" {
            #expect(numbers == [0, 0], "\(name), \(context)")
        }
        #expect(entries["catalog"]?[1] == 1, context)
        for path in world.copies { KVFixture.remove(path) }
    }

    private static func value(_ seed: Int) -> [UInt8] {
        [UInt8](repeating: UInt8(truncatingIfNeeded: seed), count: [0, 5, 300, 5000, 40_000][seed % 5])
    }

    private func step(_ world: inout World, _ step: Int) async throws {
        let name = Self.names[world.dice(3)]
        let kv = try world.fixture.namespace(name, of: world.store)
        let key = world.dice(5) == 0 ? Self.longKey + ["", "a", "ab", "abc"][world.dice(4)] : "key\(world.dice(40))"
        switch world.dice(100) {
        case 0..<45:
            let ttl = world.dice(3) == 0 ? 60 + world.dice(300) : nil
            try await kv.put(key, Self.value(step), expirationTtl: ttl)
            world.model[name, default: [:]][key] = (step, ttl.map { Int64(world.fixture.now + $0) })
            world.puts += 1
        case 45..<75:
            try await kv.delete(key)
            world.model[name]?[key] = nil
        case 75..<77:
            guard let found = try await world.store.namespaces().first(where: { $0.title == name }) else { return }
            try await world.store.deleteNamespace(id: found.id)
            world.model[name] = nil
        case 77..<80: await world.store.sweep()
        default: world.fixture.clock.advance(by: .seconds(world.dice(20)))
        }
    }

    private func reopen(_ world: inout World) async throws {
        await world.store.close()
        world.store = try KVFixture.open(world.path, world.fixture.clock)
    }

    /// Goes on with what the files hold at this moment, as a node does that is started after `kill -9`.
    private func kill(_ world: inout World) async throws {
        let copy = KVFixture.makeDirectory()
        try FileTree.makeDirectory(copy + "/kv", mode: 0o700)
        try FileTree.replaceFile(copy + "/kv/data.mdb", with: FileTree.read(world.path + "/kv/data.mdb"), mode: 0o600)
        await world.store.close()
        world.copies.append(copy)
        world.path = copy
        world.store = try KVFixture.open(copy, world.fixture.clock)
    }

    private func check(_ world: World, _ context: Comment) async throws {
        #expect(try await world.store.verify().findings == [], context)
        let now = Int64(world.fixture.now)
        for (name, entries) in world.model {
            let kv = try world.fixture.namespace(name, of: world.store)
            for (key, entry) in entries {
                let expected = entry.expiration.map { $0 > now } ?? true ? Self.value(entry.seed) : nil
                #expect(try await kv.get(key, .bytes) == expected, "\(name) \(key), \(context)")
            }
        }
    }

    /// Entries and pages of each database.
    private static func entries(_ path: String) throws -> [String: [Int]] {
        let environment = try LMDBEnvironment(directory: path + "/kv")
        defer { environment.close() }
        var result: [String: [Int]] = [:]
        for name in try environment.databaseNames() {
            let database = try environment.openDatabase(name)
            result[name] = try environment.read { transaction throws(LMDBError) in
                [try transaction.count(of: database), try transaction.pageCount(of: database)]
            }
        }
        return result
    }
}
