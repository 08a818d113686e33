import FoundationEssentials
import SQLite
import Synchronization
import System
import Testing

@testable import Interfaces
@testable import StoresD1

@Suite struct `D1 store` {
    @Test func `data, bookmarks and last row ids outlive the store`() async throws {
        try await withDatabase { (database, fixture) async throws in
            let session = database.withSession()
            _ = try await session.prepare("CREATE TABLE t(id INTEGER PRIMARY KEY, a)").run()
            _ = try await session.prepare("INSERT INTO t(a) VALUES('kept')").run()
            var last = try #require(session.getBookmark())
            await fixture.store.close()
            #expect(
                await failure { try await database.prepare("SELECT 1").run() }
                    == "D1_ERROR: Network connection lost.")
            for round in 0..<3 {
                let again = try Fixture(directory: fixture.directory)
                #expect(try await again.database.prepare("SELECT a FROM t WHERE id=1").first("a") == "kept")
                let session = again.database.withSession(last)
                _ = try await session.prepare("INSERT INTO t(a) VALUES(?)").bind(round).run()
                let next = try #require(session.getBookmark())
                #expect(next > last)
                last = next
                await again.store.close()
            }
        }
    }

    @Test func `bookmarks never go back when nothing is written after a checkpoint`() async throws {
        var limits = D1Limits()
        limits.checkpointFrames = 4
        try await withDatabase(limits: limits) { (database, _) async throws in
            let session = database.withSession("first-primary")
            _ = try await session.prepare("CREATE TABLE t(a)").run()
            for round in 0..<50 {
                // Enough for a checkpoint, then a write that changes nothing, then one that starts the log over.
                for _ in 0..<3 {
                    _ = try await session.prepare("INSERT INTO t VALUES(?)").bind(
                        String(repeating: "x", count: 9000)
                    ).run()
                }
                let before = try #require(session.getBookmark())
                _ = try await session.prepare("UPDATE t SET a = 1 WHERE a = 'nobody'").run()
                let idle = database.withSession("first-primary")
                _ = try await idle.prepare("UPDATE t SET a = 1 WHERE a = 'nobody'").run()
                #expect(try #require(idle.getBookmark()) >= before, "round \(round)")
                let write = database.withSession("first-primary")
                _ = try await write.prepare("DELETE FROM t WHERE rowid = 1").run()
                _ = try await write.prepare("INSERT INTO t VALUES(1)").run()
                #expect(try #require(write.getBookmark()) > before, "round \(round)")
            }
        }
    }

    @Test func `a log that grew long is cut when it starts over`() async throws {
        var limits = D1Limits()
        limits.checkpointFrames = 10
        limits.logFramesMax = 100
        try await withDatabase(limits: limits) { (database, fixture) async throws in
            _ = try await database.exec("CREATE TABLE t(a)")
            let insert = database.prepare("INSERT INTO t VALUES(?)")
            let blob = [UInt8](repeating: 1, count: 100_000)
            _ = try await database.batch((0..<30).map { _ in insert.bind(blob) })
            for _ in 0..<20 { _ = try await insert.bind("small").run() }
            let log = try FileManager.default.attributesOfItem(atPath: fixture.directory + "/main.sqlite-wal")
            let size = try #require(log[.size] as? Int)
            #expect(size <= 100 * 4096, "\(size) bytes")
        }
    }

    @Test func `writes go on beside a reader that stays, however long the log`() async throws {
        var limits = D1Limits()
        limits.checkpointFrames = 10
        limits.logFramesMax = 20
        try await withDatabase(limits: limits) { (database, fixture) async throws in
            _ = try await database.exec("CREATE TABLE t(a)")
            let path = fixture.directory + "/main.sqlite"
            let reader = try SQLiteConnection(path: path, .readOnly)
            try reader.execute("BEGIN; SELECT * FROM t")
            let insert = database.prepare("INSERT INTO t VALUES(?)")
            for _ in 0..<30 { _ = try await insert.bind(String(repeating: "x", count: 9000)).run() }
            try reader.execute("COMMIT")
            #expect(try await database.prepare("SELECT count(*) n FROM t").first("n") == 30)
        }
    }

    @Test(arguments: ["", "1", "1 x", "one two", "1 2 3"])
    func `a timeline that can't be read is refused, not begun anew`(text: String) async throws {
        let fixture = try Fixture()
        _ = try await fixture.database.exec("CREATE TABLE t(a)")
        await fixture.store.close()
        let path = fixture.directory + "/main.sqlite.timeline"
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        let again = try Fixture(directory: fixture.directory)
        #expect(
            await failure { try await again.database.prepare("SELECT 1").run() }
                == "D1_ERROR: Internal error while starting up D1 DB storage caused object to be reset.")
        #expect(try String(contentsOfFile: path, encoding: .utf8) == text)
        try "7 100\n".write(toFile: path, atomically: true, encoding: .utf8)
        #expect(try await again.database.prepare("SELECT count(*) n FROM t").first("n") == 0)
        await again.store.close()
        await fixture.close()
    }

    @Test func `a deletion that is interrupted leaves no half of a database`() async throws {
        let fixture = try Fixture()
        _ = try await fixture.database.exec("CREATE TABLE t(a);\nINSERT INTO t VALUES(1);")
        await fixture.store.close()
        // A directory in the place of a file can't be unlinked.
        let timeline = fixture.directory + "/main.sqlite.timeline"
        let again = try Fixture(directory: fixture.directory)
        try FileManager.default.removeItem(atPath: timeline)
        try FileManager.default.createDirectory(atPath: timeline, withIntermediateDirectories: false)
        await #expect(throws: D1Failure.self) { try await again.store.delete("main") }
        #expect(!FileManager.default.fileExists(atPath: fixture.directory + "/main.sqlite"))
        // The engine is gone with it: what comes next is a new database.
        try FileManager.default.removeItem(atPath: timeline)
        _ = try await again.database.exec("CREATE TABLE t(a)")
        #expect(try await again.database.prepare("SELECT count(*) n FROM t").first("n") == 0)
        await again.store.close()
        await fixture.close()
    }

    @Test func `bookmarks grow through checkpoints`() async throws {
        var limits = D1Limits()
        limits.checkpointFrames = 5
        try await withDatabase(limits: limits) { (database, _) async throws in
            let session = database.withSession("first-primary")
            _ = try await session.prepare("CREATE TABLE t(a)").run()
            var last = try #require(session.getBookmark())
            for index in 0..<300 {
                _ = try await session.prepare("INSERT INTO t VALUES(?)").bind(
                    String(repeating: "x", count: index * 10)
                ).run()
                let next = try #require(session.getBookmark())
                #expect(next > last, "write \(index)")
                last = next
            }
        }
    }

    @Test func `databases of one store know nothing of each other, whatever their names`() async throws {
        try await withDatabase { (_, fixture) async throws in
            let names = ["a", "A", "../a", "a/b", "a%2fb", "ü", ".", ""]
            for name in names {
                let database = fixture.database(name)
                _ = try await database.exec("CREATE TABLE t(a)")
                try await database.prepare("INSERT INTO t VALUES(?)").bind(name).run()
            }
            for name in names {
                #expect(try await fixture.database(name).prepare("SELECT a FROM t").first("a") == .text(name))
            }
        }
    }

    @Test func `more databases than may be open take turns`() async throws {
        var limits = D1Limits()
        limits.openDatabasesMax = 2
        try await withDatabase(limits: limits) { (_, fixture) async throws in
            for round in 0..<3 {
                for number in 0..<6 {
                    let database = fixture.database("d\(number)")
                    if round == 0 { _ = try await database.exec("CREATE TABLE t(a)") }
                    try await database.prepare("INSERT INTO t VALUES(1)").run()
                    #expect(
                        try await database.prepare("SELECT count(*) n FROM t").first("n")
                            == .integer(Int64(round + 1)))
                }
            }
        }
    }

    @Test func `a deleted database is gone, and its name begins anew`() async throws {
        try await withDatabase { (database, fixture) async throws in
            _ = try await database.exec("CREATE TABLE t(a)")
            try await fixture.store.delete("main")
            let left = try FileManager.default.contentsOfDirectory(atPath: fixture.directory)
            #expect(left.sorted() == ["format"])
            _ = try await database.exec("CREATE TABLE t(a)")
        }
    }

    @Test func `a directory of a newer format is refused`() async throws {
        let fixture = try Fixture()
        await fixture.store.close()
        try "edge-d1 2\n".write(toFile: fixture.directory + "/format", atomically: true, encoding: .utf8)
        #expect {
            _ = try Fixture(directory: fixture.directory)
        } throws: { error in
            "\(error)".contains("has format \"edge-d1 2\", this node knows \"edge-d1 1\"")
        }
        await fixture.close()
    }

    @Test func `a file that is no database fails its calls and nothing else`() async throws {
        try await withDatabase { (database, fixture) async throws in
            try String(repeating: "not a database ", count: 1000).write(
                toFile: fixture.directory + "/bad.sqlite", atomically: true, encoding: .utf8)
            let bad = fixture.database("bad")
            for _ in 0..<2 {
                #expect(
                    await failure { try await bad.prepare("SELECT 1").run() }
                        == "D1_ERROR: Internal error while starting up D1 DB storage caused object to be reset."
                )
            }
            #expect(try await database.prepare("SELECT 1 a").first("a") == 1)
        }
    }

    @Test func `an opening that fails once is tried again by the next call`() async throws {
        let fails = Shared(true)
        let faults = D1Faults { operation in
            operation == .open && fails.value
                ? SQLiteError(.cannotOpen, message: "unable to open database file") : nil
        }
        try await withDatabase(faults: faults) { (database, _) async throws in
            #expect(await failure { try await database.prepare("SELECT 1").run() } != nil)
            fails.value = false
            #expect(try await database.prepare("SELECT 1 a").first("a") == 1)
        }
    }

    @Test func `hostile messages are refused with an answer`() async throws {
        try await withDatabase { (_, fixture) async throws in
            let service = D1Service(store: fixture.store, database: "main")
            let (valid, _) = D1Request(
                .query([.init(sql: "SELECT ?, ?", parameters: [1, "text"])], .allRows),
                session: "first-primary"
            ).encoded()
            let seed = UInt64.random(in: 0 ... .max)
            var generator = SeededGenerator(seed: seed)
            for round in 0..<2000 {
                var message = valid
                for _ in 0..<Int.random(in: 1...4, using: &generator) {
                    switch Int.random(in: 0..<3, using: &generator) {
                    case 0:
                        message = Array(message.prefix(Int.random(in: 0...message.count, using: &generator)))
                    case 1 where !message.isEmpty:
                        message[Int.random(in: 0..<message.count, using: &generator)] = .random(
                            in: 0...255, using: &generator)
                    default: message.append(.random(in: 0...255, using: &generator))
                    }
                }
                do {
                    let reply = try await service.answer(.init(.d1Query, message: message))
                    _ = try D1ReplyReader(decoding: reply.message)
                } catch let failure as CallFailure {
                    #expect(
                        failure.isMalformedCall || failure.message.hasPrefix("D1_"), "seed \(seed) round \(round)")
                }
            }
        }
    }

    @Test func `a torn or bent reply never reads outside of itself`() async throws {
        try await withDatabase { (_, fixture) async throws in
            let reply = try await fixture.store.run(
                D1Request(.query([.init(sql: "SELECT 1 a, 'text' b, x'0102' c, 2.5 d, NULL e")], .allRows)),
                on: "main"
            ).bytes
            let seed = UInt64.random(in: 0 ... .max)
            var generator = SeededGenerator(seed: seed)
            for count in 0..<reply.count {
                #expect(throws: (any Error).self) {
                    _ = try D1ReplyReader(decoding: Array(reply.prefix(count)))
                }
            }
            for _ in 0..<5000 {
                var bent = reply
                bent[Int.random(in: 0..<bent.count, using: &generator)] = .random(
                    in: 0...255, using: &generator)
                _ = try? D1ReplyReader(decoding: bent)
            }
        }
    }

    /// A key-value table against a dictionary, through every kind of call, with restarts in between.
    @Test func `agrees with a model over random calls`() async throws {
        let seed = UInt64.random(in: 0 ... .max)
        var generator = SeededGenerator(seed: seed)
        var limits = D1Limits()
        limits.checkpointFrames = 20
        var fixture = try Fixture(limits: limits)
        var model: [Int64: Int64] = [:]
        _ = try await fixture.database.exec("CREATE TABLE t(k INTEGER PRIMARY KEY, v INTEGER CHECK(v < 900))")
        for step in 0..<1500 {
            let database = fixture.database
            let key = Int64.random(in: 0..<40, using: &generator)
            let value = Int64.random(in: 0..<1000, using: &generator)
            let upsert = database.prepare("INSERT INTO t VALUES(?1,?2) ON CONFLICT DO UPDATE SET v=?2")
            switch Int.random(in: 0..<100, using: &generator) {
            case 0..<40:
                let message = await failure { try await upsert.bind(key, value).run() }
                #expect((message == nil) == (value < 900), "seed \(seed) step \(step)")
                if value < 900 { model[key] = value }
            case 40..<60:
                let seen = try await database.prepare("SELECT v FROM t WHERE k=?").bind(key).first("v")
                #expect(seen == model[key].map { .integer($0) }, "seed \(seed) step \(step)")
            case 60..<75:
                let result = try await database.prepare("DELETE FROM t WHERE k=?").bind(key).run()
                #expect(result.meta.changes == (model[key] == nil ? 0 : 1), "seed \(seed) step \(step)")
                model[key] = nil
            case 75..<90:
                let pairs = (0..<3).map { (key + $0, (value + $0 * 40) % 1000) }
                let message = await failure {
                    _ = try await database.batch(pairs.map { upsert.bind($0.0, $0.1) })
                }
                let isValid = pairs.allSatisfy { $0.1 < 900 }
                #expect((message == nil) == isValid, "seed \(seed) step \(step)")
                if isValid { for (key, value) in pairs { model[key] = value } }
            case 90..<98:
                let rows = try await database.prepare("SELECT k, v FROM t ORDER BY k").raw().rows
                let expected: [[D1Value]] = model.sorted { $0.key < $1.key }.map {
                    [.integer($0.key), .integer($0.value)]
                }
                #expect(rows == expected, "seed \(seed) step \(step)")
            default:
                await fixture.store.close()
                fixture = try Fixture(directory: fixture.directory, limits: limits)
            }
        }
        await fixture.close()
    }
}
