import FoundationEssentials
import SQLite
import System
import Testing

@testable import Interfaces
@testable import StoresD1

/// Random calls of all kinds on one database, beside a dictionary that says what should be in it; between them the store
/// is closed, the process "ends" (only its files stay), and operations fail by name.
@Suite struct `D1 beside a model` {
    private typealias Rows = [Int64: String]

    private struct World {
        var fixture: Fixture
        var directories: [String]
        var elapsed = Duration.zero
        var rows: Rows = [:]
        var history: [(bookmark: String, rows: Rows)] = []
        let limits: D1Limits
        let faults: D1Faults

        mutating func reopen(in directory: String) throws {
            fixture = try Fixture(directory: directory, limits: limits, faults: faults)
            fixture.clock.advance(by: elapsed)
        }
    }

    private static func rows(_ database: D1Database) async throws -> Rows {
        var found: Rows = [:]
        for row in try await database.prepare("SELECT id, v FROM t").all().results {
            if let id = row["id"]?.integer, let value = row["v"]?.text { found[id] = value }
        }
        return found
    }

    @Test(arguments: 1...6)
    func `what was acknowledged is there, and nothing else`(_ number: UInt64) async throws {
        let seed = ProcessInfo.processInfo.environment["EDGE_SEED"].flatMap { UInt64($0) } ?? 20_261_121
        var generator = SeededGenerator(seed: seed &+ number)
        let mayFail = Shared(false)
        let dice = Shared(SeededGenerator(seed: seed &+ number &+ 100))
        let faults = D1Faults { operation in
            guard mayFail.value, operation != .open, dice.update({ Int.random(in: 0..<12, using: &$0) }) == 0 else {
                return nil
            }
            return SQLiteError(extendedCode: 10 | 4 << 8, message: "disk I/O error")
        }
        var limits = D1Limits()
        limits.timeTravel = .seconds(40)
        limits.checkpointFrames = Int.random(in: 2...30, using: &generator)
        limits.restoresMax = .max
        let first = try Fixture(limits: limits, faults: faults)
        var world = World(fixture: first, directories: [first.directory], limits: limits, faults: faults)
        _ = try await first.database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT NOT NULL)")
        mayFail.value = true
        for step in 0..<250 {
            let pause = Duration.milliseconds(Int.random(in: 1...400, using: &generator))
            world.fixture.clock.advance(by: pause)
            world.elapsed += pause
            try await run(&world, step, &generator, "seed \(seed), case \(number), step \(step)")
            mayFail.value = false
            #expect(try await Self.rows(world.fixture.database) == world.rows, "seed \(seed), case \(number), step \(step)")
            let bookmark = try await world.fixture.store.bookmark(of: "main")
            if let last = world.history.last {
                #expect(bookmark >= last.bookmark, "seed \(seed), case \(number), step \(step)")
            }
            world.history.append((bookmark, world.rows))
            mayFail.value = true
        }
        mayFail.value = false
        #expect(try await world.fixture.store.verify("main") == [], "seed \(seed), case \(number)")
        // Nothing is left of branches and of what was interrupted.
        let names = try FileManager.default.contentsOfDirectory(atPath: world.fixture.directory)
        #expect(
            Set(names).subtracting([
                "format", "main.sqlite", "main.sqlite-wal", "main.sqlite-shm", "main.sqlite.timeline",
                "main.sqlite.archive", "x.sql",
            ]) == [], "seed \(seed), case \(number)")
        await world.fixture.store.close()
        for directory in world.directories { try? FileManager.default.removeItem(atPath: directory) }
    }

    private func run(_ world: inout World, _ step: Int, _ generator: inout SeededGenerator, _ place: String) async throws {
        let store = world.fixture.store
        let database = world.fixture.database
        let path = world.fixture.directory + "/x.sql"
        switch Int.random(in: 0..<16, using: &generator) {
        case 0:
            await store.close()
            try world.reopen(in: world.fixture.directory)
        case 1:
            // (A call for the writer ends what it still did after its last answer.)
            _ = try? await database.exec("SELECT 1")
            let copy = "\(world.directories[0])-\(step)"
            try FileManager.default.copyItem(atPath: world.fixture.directory, toPath: copy)
            world.directories.append(copy)
            await store.close()
            try world.reopen(in: copy)
        case 2:
            guard let entry = world.history.suffix(30).randomElement(using: &generator) else { return }
            if (try? await store.restore("main", to: .bookmark(entry.bookmark))) != nil { world.rows = entry.rows }
        case 3:
            guard let entry = world.history.suffix(30).randomElement(using: &generator) else { return }
            let isNow = Bool.random(using: &generator)
            if (try? await store.branch("main", at: isNow ? nil : .bookmark(entry.bookmark), to: "b")) != nil {
                if let found = try? await Self.rows(world.fixture.database("b")) {
                    #expect(found == (isNow ? world.rows : entry.rows), "\(place)")
                }
            }
            try await store.delete("b")
        case 4:
            guard (try? await store.export("main", D1DumpOptions(), to: path)) != nil else { return }
            guard (try? await store.importFile(path, into: "c")) != nil else { return try await store.delete("c") }
            if let found = try? await Self.rows(world.fixture.database("c")) { #expect(found == world.rows, "\(place)") }
            try await store.delete("c")
        case 5:
            // All or nothing: a good file and one that ends badly.
            let isGood = Bool.random(using: &generator)
            let id = Int64.random(in: 0..<30, using: &generator)
            let text =
                "REPLACE INTO t VALUES(\(id), 'a;b'); REPLACE INTO t VALUES(\(id + 1), '\(step)');" + (isGood ? "" : "SELEC 1")
            try Data(text.utf8).write(to: URL(filePath: path))
            let isDone = (try? await store.importFile(path, into: "main")) != nil
            if !isGood { #expect(!isDone, "\(place)") }
            if isDone {
                world.rows[id] = "a;b"
                world.rows[id + 1] = "\(step)"
            }
        case 6:
            let id = Int64.random(in: 0..<30, using: &generator)
            let replace = database.prepare("REPLACE INTO t VALUES(?, ?)")
            #expect(
                await failure { _ = try await database.batch([replace.bind(id, "lost"), replace.bind(id, nil as String?)]) }
                    != nil,
                "\(place)")
        case 7:
            #expect((try? await store.verify("main"))?.isEmpty != false, "\(place)")
        case 8:
            let id = Int64.random(in: 0..<30, using: &generator)
            if (try? await database.prepare("DELETE FROM t WHERE id >= ?").bind(id).run()) != nil {
                world.rows = world.rows.filter { $0.key < id }
            }
        default:
            let id = Int64.random(in: 0..<30, using: &generator)
            let value = String(repeating: "\(step)\n", count: Int.random(in: 0...3000, using: &generator))
            if (try? await database.prepare("REPLACE INTO t VALUES(?, ?)").bind(id, value).run()) != nil {
                world.rows[id] = value
            }
        }
    }
}
