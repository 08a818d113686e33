import FoundationEssentials
import SQLite
import System
import Testing

@testable import Interfaces
@testable import StoresD1

@Suite struct `D1 time travel` {
    /// A history, with so small a log that it starts over every few commits.
    private static func limits(retention: Duration = .seconds(86_400)) -> D1Limits {
        var limits = D1Limits()
        limits.timeTravel = retention
        limits.checkpointFrames = 6
        limits.restoresMax = .max
        return limits
    }

    private func rows(_ database: D1Database) async throws -> [Int64: String] {
        var found: [Int64: String] = [:]
        for row in try await database.prepare("SELECT id, v FROM t").all().results {
            if let id = row["id"]?.integer, let value = row["v"]?.text { found[id] = value }
        }
        return found
    }

    private func failure(_ body: () async throws -> Void) async -> String? {
        do {
            try await body()
            return nil
        } catch { return "\(error)" }
    }

    @Test func `probe 24: a restore brings rows back, and restoring the state before takes them away`() async throws {
        try await withDatabase(limits: Self.limits()) { (database, fixture) async throws in
            let store = fixture.store
            _ = try await database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v)\nINSERT INTO t VALUES(1, 'a')")
            let before = try await store.bookmark(of: "main")
            _ = try await database.exec("DELETE FROM t")
            let emptied = try await store.bookmark(of: "main")
            let restored = try await store.restore("main", to: .bookmark(before))
            #expect(try await rows(database) == [1: "a"])
            #expect(restored.previousBookmark == emptied)
            #expect(restored.bookmark > emptied)
            #expect(try await store.bookmark(of: "main") == restored.bookmark)
            let undone = try await store.restore("main", to: .bookmark(restored.previousBookmark))
            #expect(try await rows(database).isEmpty)
            #expect(undone.bookmark > restored.bookmark)
            _ = try await database.exec("INSERT INTO t VALUES(2, 'b')")
            #expect(try await store.bookmark(of: "main") > undone.bookmark)
            #expect(try await store.restore("main", to: .bookmark(restored.bookmark)).bookmark > undone.bookmark)
            #expect(try await rows(database) == [1: "a"])
        }
    }

    @Test func `a restored schema is the old one for statements that were prepared before, and for full text`() async throws {
        try await withDatabase(limits: Self.limits()) { (database, fixture) async throws in
            _ = try await database.exec(
                "CREATE VIRTUAL TABLE f USING fts5(x)\nINSERT INTO f VALUES('old words')\nCREATE TABLE t(a)")
            let search = database.prepare("SELECT count(*) n FROM f WHERE f MATCH 'words'")
            #expect(try await search.first("n") == 1)
            let before = try await fixture.store.bookmark(of: "main")
            _ = try await database.exec(
                "ALTER TABLE t ADD COLUMN b\nINSERT INTO f VALUES('new words')\nINSERT INTO t VALUES(1, 2)")
            #expect(try await database.prepare("SELECT b FROM t").first("b") == 2)
            #expect(try await search.first("n") == 2)
            _ = try await fixture.store.restore("main", to: .bookmark(before))
            #expect(try await search.first("n") == 1)
            #expect(
                await failure { _ = try await database.prepare("SELECT b FROM t").run() }?.contains("no such column: b")
                    == true)
            _ = try await database.exec("INSERT INTO f VALUES('words again')")
            #expect(try await search.first("n") == 2)
            #expect(try await database.prepare("PRAGMA quick_check").first("quick_check") == "ok")
        }
    }

    @Test func `a restore cancels what runs`() async throws {
        try await withDatabase(limits: Self.limits()) { (database, fixture) async throws in
            _ = try await database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
            let before = try await fixture.store.bookmark(of: "main")
            let long = Task {
                await StoresD1Tests.failure {
                    try await database.prepare(
                        "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n) SELECT max(i) FROM n"
                    ).run()
                }
            }
            // The restore may come before the statement: then the next one finds it.
            let isDone = Shared(false)
            let restorer = Task {
                while !isDone.value { _ = try await fixture.store.restore("main", to: .bookmark(before)) }
            }
            #expect(await long.value == "D1_ERROR: Network connection lost.")
            isDone.value = true
            try await restorer.value
        }
    }

    @Test func `what can't be had is refused and changes nothing`() async throws {
        try await withDatabase(limits: Self.limits()) { (database, fixture) async throws in
            let store = fixture.store
            _ = try await database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v)\nINSERT INTO t VALUES(1, 'a')")
            let info = try await store.timeTravelInfo(of: "main", at: nil)
            #expect(info.earliestBookmark < info.bookmark)
            let now = fixture.clock.wallTime()
            let refused: [(D1PointInTime, String)] = [
                (.bookmark("nonsense"), "Invalid bookmark: nonsense"),
                (
                    .bookmark("00000000-00000000-00000000-" + String(repeating: "0", count: 32)),
                    "history of this database begins"
                ),
                (.bookmark("00000001-00000001-00000001-" + String(repeating: "7", count: 32)), "not of this database"),
                (.bookmark("ffffffff-00000001-00000001-" + String(repeating: "7", count: 32)), "not of this database"),
                (.bookmark("ffffffff-00000001-00000001-" + String(repeating: "0", count: 32)), "in the future"),
                (.time(now + .seconds(1)), "in the future"), (.time(UnixTime(milliseconds: 0)), "begins at"),
            ]
            for (point, text) in refused {
                let message = await failure { _ = try await store.restore("main", to: point) }
                #expect(message?.contains(text) == true, "\(point): \(message ?? "restored")")
                await #expect("the caller's mistake") { try await store.timeTravelInfo(of: "main", at: point) } throws: {
                    ($0 as? D1Failure)?.code == 7400
                }
                #expect(await failure { _ = try await store.branch("main", at: point, to: "b") } != nil)
            }
            #expect(try await rows(database) == [1: "a"])
        }
        try await withDatabase { (_, fixture) async throws in
            #expect(
                await failure { _ = try await fixture.store.timeTravelInfo(of: "main", at: nil) }?.contains("keeps no history")
                    == true)
        }
        var limits = Self.limits()
        limits.restoresMax = 2
        try await withDatabase(limits: limits) { (_, fixture) async throws in
            let bookmark = try await fixture.store.bookmark(of: "main")
            for _ in 0..<2 { _ = try await fixture.store.restore("main", to: .bookmark(bookmark)) }
            // One that was refused restored nothing.
            let nonsense = await failure { _ = try await fixture.store.restore("other", to: .bookmark("nonsense")) }
            #expect(nonsense == "Invalid bookmark: nonsense")
            for _ in 0..<3 {
                #expect(await failure { _ = try await fixture.store.restore("other", to: .bookmark("nonsense")) } == nonsense)
            }
            #expect(
                await failure { _ = try await fixture.store.restore("main", to: .bookmark(bookmark)) }?.contains("10 times")
                    == true)
            fixture.clock.advance(by: .seconds(600))
            _ = try await fixture.store.restore("main", to: .bookmark(bookmark))
        }
    }

    @Test func `a branch of a branch has a history of its own`() async throws {
        try await withDatabase(limits: Self.limits()) { (database, fixture) async throws in
            let store = fixture.store
            _ = try await database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v)\nINSERT INTO t VALUES(1, 'a')")
            let root = try await store.bookmark(of: "main")
            try await store.branch("main", at: nil, to: "child")
            _ = try await fixture.database("child").exec("UPDATE t SET v = 'b'")
            let middle = try await store.bookmark(of: "child")
            _ = try await fixture.database("child").exec("UPDATE t SET v = 'c'")
            try await store.branch("child", at: .bookmark(middle), to: "grandchild")
            #expect(try await rows(fixture.database("grandchild")) == [1: "b"])
            _ = try await fixture.database("grandchild").exec("UPDATE t SET v = 'd'")
            let info = try await store.timeTravelInfo(of: "grandchild", at: nil)
            let undone = try await store.restore("grandchild", to: .bookmark(info.earliestBookmark))
            #expect(try await rows(fixture.database("grandchild")) == [1: "b"])
            _ = try await store.restore("grandchild", to: .bookmark(undone.previousBookmark))
            #expect(try await rows(fixture.database("grandchild")) == [1: "d"])
            // What the others were is no state of this one.
            for foreign in [root, middle] {
                #expect(await failure { _ = try await store.restore("grandchild", to: .bookmark(foreign)) } != nil)
            }
            #expect(try await rows(fixture.database("child")) == [1: "c"])
            #expect(try await rows(database) == [1: "a"])
            #expect(try await store.verify("grandchild") == [])
        }
    }

    @Test func `undoing a restore, and undoing that, goes to and fro`() async throws {
        try await withDatabase(limits: Self.limits()) { (database, fixture) async throws in
            let store = fixture.store
            _ = try await database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v)\nINSERT INTO t VALUES(1, 'a')")
            let first = try await store.bookmark(of: "main")
            _ = try await database.exec("UPDATE t SET v = 'b'")
            var last = try await store.restore("main", to: .bookmark(first))
            for expected in ["b", "a", "b", "a"] {
                let next = try await store.restore("main", to: .bookmark(last.previousBookmark))
                #expect(next.bookmark > last.bookmark && next.previousBookmark == last.bookmark)
                #expect(try await rows(database) == [1: expected])
                last = next
            }
            // Twice to the same state: the second changes nothing but the time.
            for _ in 0..<2 { _ = try await store.restore("main", to: .bookmark(first)) }
            #expect(try await rows(database) == [1: "a"])
            #expect(try await store.verify("main") == [])
        }
    }

    @Test func `writers that wait while a restore is on its way come after it`() async throws {
        let gate = WriterGate()
        try await withDatabase(limits: Self.limits(), faults: gate.faults) { (database, fixture) async throws in
            let store = fixture.store
            _ = try await database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
            let before = try await store.bookmark(of: "main")
            gate.hold()
            let first = Task { _ = try await database.exec("INSERT INTO t VALUES(1, 'before')") }
            while !gate.isReached { await Task.yield() }
            let restore = Task { try await store.restore("main", to: .bookmark(before)) }
            while store.waitingCallCount(of: "main") < 1 { await Task.yield() }
            var later: [Task<Void, any Error>] = []
            for id in 2..<10 {
                let statement = database.prepare("INSERT INTO t VALUES(?, 'after')").bind(id)
                later.append(Task { try await statement.run() })
            }
            while store.waitingCallCount(of: "main") < 9 { await Task.yield() }
            gate.release()
            try await first.value
            let restored = try await restore.value
            for task in later { try await task.value }
            #expect(try await rows(database).keys.sorted() == Array(2..<10))
            _ = try await store.restore("main", to: .bookmark(restored.previousBookmark))
            #expect(try await rows(database) == [1: "before"])
        }
    }

    @Test func `a branch is a database of its own`() async throws {
        try await withDatabase(limits: Self.limits()) { (database, fixture) async throws in
            let store = fixture.store
            _ = try await database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v)\nINSERT INTO t VALUES(1, 'a')")
            let then = fixture.clock.wallTime()
            fixture.clock.advance(by: .seconds(5))
            _ = try await database.exec("UPDATE t SET v = 'b'")
            try await store.branch("main", at: .time(then), to: "past")
            try await store.branch("main", at: nil, to: "present")
            #expect(try await rows(fixture.database("past")) == [1: "a"])
            #expect(try await rows(fixture.database("present")) == [1: "b"])
            _ = try await fixture.database("past").exec("INSERT INTO t VALUES(2, 'c')")
            #expect(try await rows(database) == [1: "b"])
            #expect(
                await failure { _ = try await store.branch("main", at: nil, to: "past") } == "there is a database past already")
            #expect(try await rows(fixture.database("past")) == [1: "a", 2: "c"])
            // A deleted one leaves nothing that a later one of its name could take for its own.
            try await store.delete("past")
            try await store.branch("main", at: nil, to: "past")
            #expect(try await rows(fixture.database("past")) == [1: "b"])
            let names = try FileManager.default.contentsOfDirectory(atPath: fixture.directory)
            #expect(!names.contains { $0.hasSuffix(".new") })
        }
    }

    @Test func `what is older than the retention goes, and the disk holds no more than it says`() async throws {
        try await withDatabase(limits: Self.limits(retention: .seconds(100))) { (database, fixture) async throws in
            let store = fixture.store
            _ = try await database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
            var history: [(String, UnixTime, [Int64: String])] = []
            for round in 0..<120 {
                fixture.clock.advance(by: .seconds(5))
                let text = String(repeating: "\(round),", count: 500)
                try await database.prepare("INSERT OR REPLACE INTO t VALUES(?,?)").bind(round % 7, text).run()
                history.append(
                    (try await store.bookmark(of: "main"), fixture.clock.wallTime(), try await rows(database)))
            }
            let info = try await store.timeTravelInfo(of: "main", at: nil)
            #expect(info.earliestTime < fixture.clock.wallTime() + .seconds(-95))
            #expect(info.earliestTime > fixture.clock.wallTime() + .seconds(-300))
            #expect(info.archiveByteCount < 1 << 20)
            let earliest = try #require(history.firstIndex { $0.0 >= info.earliestBookmark })
            #expect(earliest > 50)
            #expect(await failure { _ = try await store.restore("main", to: .bookmark(history[earliest - 1].0)) } != nil)
            for index in earliest..<120 where index % 3 == 0 || index == earliest {
                _ = try await store.restore("main", to: .bookmark(history[index].0))
                #expect(try await rows(database) == history[index].2, "\(index)")
            }
        }
        var small = Self.limits()
        small.archiveBytesMin = 200_000
        try await withDatabase(limits: small) { (database, fixture) async throws in
            _ = try await database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
            for round in 0..<300 {
                try await database.prepare("INSERT OR REPLACE INTO t VALUES(1,?)").bind(
                    String(repeating: "\(round)", count: 999)
                ).run()
            }
            #expect(try await fixture.store.timeTravelInfo(of: "main", at: nil).archiveByteCount < 400_000)
        }
    }

    @Test func `history begins anew when none was kept meanwhile`() async throws {
        try await withDatabase(limits: Self.limits()) { (database, fixture) async throws in
            _ = try await database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v)\nINSERT INTO t VALUES(1, 'a')")
            let old = try await fixture.store.bookmark(of: "main")
            await fixture.store.close()
            let without = try Fixture(directory: fixture.directory)
            _ = try await without.database.exec("INSERT INTO t VALUES(2, 'b')")
            await without.store.close()
            let again = try Fixture(directory: fixture.directory, limits: Self.limits())
            #expect(await failure { _ = try await again.store.restore("main", to: .bookmark(old)) } != nil)
            let now = try await again.store.bookmark(of: "main")
            _ = try await again.database.exec("DELETE FROM t")
            _ = try await again.store.restore("main", to: .bookmark(now))
            #expect(try await rows(again.database) == [1: "a", 2: "b"])
            await again.store.close()
        }
    }

    @Test func `a damaged piece of the archive fails the restore and nothing else`() async throws {
        try await withDatabase(limits: Self.limits()) { (database, fixture) async throws in
            _ = try await database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v)\nINSERT INTO t VALUES(1, 'a')")
            let bookmark = try await fixture.store.bookmark(of: "main")
            _ = try await database.exec("INSERT INTO t VALUES(2, 'b')")
            _ = try await fixture.store.timeTravelInfo(of: "main", at: nil)
            let path = fixture.directory + "/main.sqlite.archive/segment-0000000001.wal"
            var bytes = try Data(contentsOf: URL(filePath: path))
            bytes[500] ^= 1
            try bytes.write(to: URL(filePath: path))
            #expect(try await fixture.store.verify("main").count == 1)
            let message = await failure { _ = try await fixture.store.restore("main", to: .bookmark(bookmark)) }
            #expect(message?.contains("segment-0000000001.wal is damaged") == true)
            #expect(try await rows(database) == [1: "a", 2: "b"])
        }
    }

    /// What a process that ends at each step leaves: the files as they are when the operation is about to happen.
    @Test(arguments: D1Faults.Operation.allCases.filter { ![.migrationBegin, .migrationCommit, .migrationEnd].contains($0) })
    func `an end of the process at any step loses no commit and no history`(_ operation: D1Faults.Operation) async throws {
        let plan = Shared((directory: "", seen: 0, copies: [(String, Int)]()))
        let acknowledged = Shared(0)
        let faults = D1Faults { found in
            guard found == operation else { return nil }
            plan.update { plan in
                plan.seen += 1
                guard !plan.directory.isEmpty, [1, 2, 5].contains(plan.seen) else { return }
                let copy = "\(plan.directory)-\(plan.seen)"
                if (try? FileManager.default.copyItem(atPath: plan.directory, toPath: copy)) != nil {
                    plan.copies.append((copy, acknowledged.value))
                }
            }
            return nil
        }
        try await withDatabase(limits: Self.limits(retention: .seconds(20)), faults: faults) {
            (database, fixture) async throws in
            plan.update { $0.directory = fixture.directory }
            var history = try await self.fill(fixture, from: 0, count: 40, acknowledged)
            _ = try await fixture.store.restore("main", to: .bookmark(history[history.count - 3].bookmark))
            #expect(try await rows(database) == history[history.count - 3].rows)
            history.append((try await fixture.store.bookmark(of: "main"), history[history.count - 3].rows))
            acknowledged.value += 1
            history += try await self.fill(fixture, from: 40, count: 10, acknowledged)
            let copies = plan.value.copies
            #expect(!copies.isEmpty || operation == .open)
            for (copy, acknowledged) in copies { try await check(copy, history, acknowledged) }
        }
        for (copy, _) in plan.value.copies { try? FileManager.default.removeItem(atPath: copy) }
    }

    /// An operation that fails once costs nothing that was acknowledged.
    @Test(arguments: [D1Faults.Operation.checkpoint, .archive, .archiveSync, .archiveList, .merge, .mergeEnd, .image, .restore])
    func `a step that fails is made up for later`(_ operation: D1Faults.Operation) async throws {
        let plan = Shared(0)
        let faults = D1Faults { found in
            guard found == operation else { return nil }
            return plan.update { seen in
                seen += 1
                return seen % 2 == 1 ? SQLiteError(extendedCode: 10 | 4 << 8, message: "disk I/O error") : nil
            }
        }
        try await withDatabase(limits: Self.limits(retention: .seconds(20)), faults: faults) {
            (database, fixture) async throws in
            let history = try await self.fill(fixture, from: 0, count: 40)
            for index in (history.count - 4)..<history.count {
                var message = await failure {
                    _ = try await fixture.store.restore("main", to: .bookmark(history[index].bookmark))
                }
                if message != nil {
                    message = await failure {
                        _ = try await fixture.store.restore("main", to: .bookmark(history[index].bookmark))
                    }
                }
                #expect(message == nil)
                #expect(try await rows(database) == history[index].rows)
            }
            #expect(plan.value > 0)
            await fixture.store.close()
            try await check(fixture.directory, history, 0)
        }
    }

    @Test func `verify finds what is missing, what belongs to nothing, and a file that others wrote`() async throws {
        try await withDatabase(limits: Self.limits()) { (database, fixture) async throws in
            _ = try await fill(fixture, from: 0, count: 20)
            #expect(try await fixture.store.verify("main").isEmpty)
            let archive = fixture.directory + "/main.sqlite.archive"
            try Data().write(to: URL(filePath: archive + "/stray"))
            try Data().write(to: URL(filePath: archive + "/restore-wal"))
            try Data().write(to: URL(filePath: archive + "/manifest.new"))
            #expect(try await fixture.store.verify("main").contains("\(archive)/stray: belongs to nothing"))
            try FileManager.default.removeItem(atPath: archive + "/stray")
            // What an interruption leaves goes when the database is opened.
            await fixture.store.close()
            let fixture = try Fixture(directory: fixture.directory, limits: Self.limits())
            #expect(try await fixture.store.verify("main").isEmpty)
            try FileManager.default.moveItem(atPath: archive + "/base", toPath: archive + "/../away")
            #expect(try await fixture.store.verify("main") == ["\(archive)/base is missing"])
            try FileManager.default.moveItem(atPath: archive + "/../away", toPath: archive + "/base")
            await fixture.store.close()
            do {
                let other = try SQLiteConnection(path: fixture.directory + "/main.sqlite", .readWrite)
                try other.execute("UPDATE t SET v = 'other'; PRAGMA wal_checkpoint(TRUNCATE)")
            }
            let again = try Fixture(directory: fixture.directory, limits: Self.limits())
            let problems = try await again.store.verify("main")
            #expect(problems.count == 1 && problems[0].contains("another database than the present one"))
            await again.store.close()
        }
    }

    typealias History = [(bookmark: String, rows: [Int64: String])]

    /// Commits, each some seconds after the other.
    private func fill(
        _ fixture: Fixture, from start: Int, count: Int, _ acknowledged: Shared<Int> = Shared(0)
    ) async throws -> History {
        var history: History = []
        _ = try await fixture.database.exec("CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, v)")
        for round in start..<(start + count) {
            fixture.clock.advance(by: .seconds(1))
            try await fixture.database.prepare("INSERT OR REPLACE INTO t VALUES(?,?)").bind(
                round % 11, String(repeating: "\(round)-", count: 300)
            ).run()
            acknowledged.value += 1
            history.append((try await fixture.store.bookmark(of: "main"), try await rows(fixture.database)))
        }
        return history
    }

    /// What a directory holds is one state of the history, and all before it within the window can be had.
    private func check(_ directory: String, _ history: History, _ acknowledged: Int) async throws {
        let fixture = try Fixture(directory: directory, limits: Self.limits(retention: .seconds(86_400)))
        let isThere = try await fixture.database.prepare("SELECT count(*) n FROM sqlite_master").first("n") == 1
        guard isThere else {
            #expect(acknowledged == 0)
            return
        }
        let now = try await rows(fixture.database)
        let last = history.lastIndex { $0.rows == now }
        #expect(last != nil || now.isEmpty, "\(directory) is in no state that ever was")
        #expect((last ?? -1) + 1 >= acknowledged)
        #expect(try await fixture.database.prepare("PRAGMA quick_check").first("quick_check") == "ok")
        let earliest = try await fixture.store.timeTravelInfo(of: "main", at: nil).earliestBookmark
        var reached = 0
        for index in 0..<min(history.count, (last ?? -1) + 1) where history[index].bookmark >= earliest {
            let message = await failure { _ = try await fixture.store.restore("main", to: .bookmark(history[index].bookmark)) }
            // The same rows may have been there twice: then the later state is not in this copy.
            guard message == nil else {
                #expect(message?.contains("not of this database") == true && index > 38, "\(index): \(message ?? "")")
                continue
            }
            reached += 1
            #expect(try await rows(fixture.database) == history[index].rows, "\(directory), \(index)")
        }
        #expect(reached > 0 || (last ?? 0) < 1)
        await fixture.store.close()
    }

    @Test(arguments: [1, 2, 3, 4])
    func `any committed state comes back, whatever happened in between`(_ number: UInt64) async throws {
        let seed = UInt64.random(in: 0...UInt64.max) &+ number
        var generator = SeededGenerator(seed: seed)
        var limits = Self.limits()
        limits.checkpointFrames = Int.random(in: 2...40, using: &generator)
        var fixture = try Fixture(limits: limits)
        var directories = [fixture.directory]
        var elapsed = Duration.zero
        var model: [Int64: String] = [:]
        var history: [(bookmark: String, time: UnixTime, rows: [Int64: String])] = []
        _ = try await fixture.database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
        for step in 0..<150 {
            let pause = Duration.milliseconds(Int.random(in: 1...5000, using: &generator))
            fixture.clock.advance(by: pause)
            elapsed += pause
            switch Int.random(in: 0..<20, using: &generator) {
            case 0:
                await fixture.store.close()
                fixture = try Fixture(directory: fixture.directory, limits: limits)
                fixture.clock.advance(by: elapsed)
            case 1:
                // The process ends: what it wrote is there, and nothing else.
                // (A call for the writer ends what it still did after its last answer.)
                _ = try await fixture.database.exec("SELECT 1")
                let copy = fixture.directory + "-\(step)"
                try FileManager.default.copyItem(atPath: fixture.directory, toPath: copy)
                directories.append(copy)
                await fixture.store.close()
                fixture = try Fixture(directory: copy, limits: limits)
                fixture.clock.advance(by: elapsed)
            case 2, 3:
                guard let entry = history.randomElement(using: &generator) else { continue }
                let usesTime = Bool.random(using: &generator)
                let point: D1PointInTime = usesTime ? .time(entry.time) : .bookmark(entry.bookmark)
                let last = try #require(history.last?.bookmark)
                let restored = try await fixture.store.restore("main", to: point)
                model = entry.rows
                #expect(restored.bookmark > last && restored.previousBookmark >= last, "seed \(seed), step \(step)")
                history.append((restored.bookmark, fixture.clock.wallTime(), model))
            case 4:
                guard let entry = history.randomElement(using: &generator) else { continue }
                try await fixture.store.branch("main", at: .bookmark(entry.bookmark), to: "b\(step)")
                #expect(try await rows(fixture.database("b\(step)")) == entry.rows, "seed \(seed), step \(step)")
                try await fixture.store.delete("b\(step)")
            default:
                let id = Int64.random(in: 0..<20, using: &generator)
                if Int.random(in: 0..<4, using: &generator) == 0 {
                    try await fixture.database.prepare("DELETE FROM t WHERE id > ?").bind(id).run()
                    guard model.contains(where: { $0.key > id }) else { continue }
                    model = model.filter { $0.key <= id }
                } else {
                    let value = String(repeating: "\(step) ", count: Int.random(in: 1...6000, using: &generator))
                    try await fixture.database.prepare("INSERT OR REPLACE INTO t VALUES(?,?)").bind(id, value).run()
                    model[id] = value
                }
                history.append((try await fixture.store.bookmark(of: "main"), fixture.clock.wallTime(), model))
            }
            #expect(try await rows(fixture.database) == model, "seed \(seed), step \(step)")
            if history.count > 1 {
                let (last, previous) = (history[history.count - 1], history[history.count - 2])
                #expect(last.bookmark > previous.bookmark, "seed \(seed), step \(step)")
            }
        }
        #expect(try await fixture.store.verify("main") == [], "seed \(seed)")
        await fixture.store.close()
        for directory in directories { try? FileManager.default.removeItem(atPath: directory) }
    }
}
