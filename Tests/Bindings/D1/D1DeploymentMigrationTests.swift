import Foundation
import SQLite
import System
import Testing

@testable import Interfaces
@testable import StoresD1

/// What deployments do with databases: spec deploys, part D.
@Suite struct `D1 migrations of a deployment` {
    private static let history = {
        var limits = D1Limits()
        limits.timeTravel = .seconds(86_400)
        return limits
    }()

    private func migration(_ name: String, _ text: String) -> D1Migration {
        D1Migration(name: name, text: text, digest: "digest of \(text)")
    }

    /// All of the schema.
    private func schema(_ fixture: Fixture) async throws -> [String] {
        try await fixture.database.prepare(
            "SELECT type || ' ' || name || ' ' || coalesce(sql, '') AS t FROM sqlite_schema ORDER BY 1"
        )
        .all().results.compactMap { $0["t"]?.text }
    }

    private func count(_ fixture: Fixture, _ table: String) async throws -> Int64? {
        try await fixture.database.prepare("SELECT count(*) AS n FROM \(table)").all().results.first?["n"]?.integer
    }

    private func failure(of run: D1MigrationRun, _ fixture: Fixture) async -> D1MigrationFailure? {
        do throws(D1MigrationFailure) {
            _ = try await fixture.store.migrate("main", run)
            return nil
        } catch { return error }
    }

    @Test func `probe 13: an error in the second of three files leaves no trace and has its place`() async throws {
        try await withDatabase(limits: Self.history) { (database, fixture) async throws in
            _ = try await database.exec("CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT)")
            let before = try await schema(fixture)
            let files = [
                migration("0001_a.sql", "ALTER TABLE users ADD mail TEXT; CREATE TABLE a(x);"),
                migration("0002_b.sql", "BEGIN TRANSACTION;\n-- é\nCREATE INDEX i\r\n  ON users(é, nowhere);\nCOMMIT;"),
                migration("0003_c.sql", "CREATE TABLE c(x)"),
            ]
            let failure = await failure(of: D1MigrationRun(files), fixture)
            // The statement begins in one line and goes wrong in the next.
            #expect(failure?.place?.file == "0002_b.sql" && [3, 4].contains(failure?.place?.line), "\(failure as Any)")
            #expect(try await schema(fixture) == before)
            let syntax = migration("0002_b.sql", "SELECT 1;\n\n  CREATE TABEL b(x);")
            let second = await self.failure(of: D1MigrationRun([files[0], syntax]), fixture)
            #expect(second?.place == .init(file: "0002_b.sql", line: 3, column: 10), "\(second as Any)")
            let constraint = migration("0002_b.sql", "INSERT INTO users(id) VALUES (1);\n INSERT INTO users(id) VALUES (1);")
            let third = await self.failure(of: D1MigrationRun([files[0], constraint]), fixture)
            #expect(third?.place == .init(file: "0002_b.sql", line: 2, column: 2), "\(third as Any)")
            #expect(third?.reason.hasPrefix("UNIQUE constraint failed: users.id") == true)
            #expect(try await schema(fixture) == before)
            #expect(try await count(fixture, "users") == 0)

            let done = try await fixture.store.migrate("main", D1MigrationRun([files[0], files[2]]))
            #expect(done.applied == ["0001_a.sql", "0003_c.sql"] && done.bookmark > done.previousBookmark)
            // Again: nothing is done, not even a commit.
            let again = try await fixture.store.migrate("main", D1MigrationRun([files[0], files[2]]))
            #expect(again.applied.isEmpty && again.bookmark == done.bookmark)
            #expect(try await fixture.store.bookmark(of: "main") == done.bookmark)
        }
    }

    @Test func `probe 16: an applied file that was edited is refused with both checksums`() async throws {
        try await withDatabase { (_, fixture) async throws in
            let file = D1Migration(name: "1.sql", text: "CREATE TABLE a(x)", digest: "one")
            _ = try await fixture.store.migrate("main", D1MigrationRun([file]))
            let edited = D1Migration(name: "1.sql", text: "CREATE TABLE a(y)", digest: "two")
            let more = migration("2.sql", "CREATE TABLE b(x)")
            let failure = await failure(of: D1MigrationRun([more, edited]), fixture)
            #expect(failure?.reason.contains("checksum one when it was applied, two now") == true)
            #expect(try await !schema(fixture).contains { $0.contains("table b") })
            let migrator = D1Migrator(store: fixture.store, database: "main")
            #expect(try await migrator.recorded() == ["1.sql": "one"])
        }
    }

    @Test func `asking what was applied makes no table`() async throws {
        try await withDatabase { (database, fixture) async throws in
            let migrator = D1Migrator(store: fixture.store, database: "main", table: "It's \"done\"")
            #expect(try await migrator.recorded().isEmpty)
            #expect(try await schema(fixture).isEmpty)
            // As wrangler leaves it: without digests, which are noted by the next run.
            _ = try await database.exec("CREATE TABLE d1_migrations(id INTEGER PRIMARY KEY, name TEXT UNIQUE, applied_at)")
            _ = try await database.exec("INSERT INTO d1_migrations(name) VALUES ('1.sql')")
            let wrangler = D1Migrator(store: fixture.store, database: "main")
            #expect(try await wrangler.recorded() == ["1.sql": nil])
            let file = D1Migration(name: "1.sql", text: "CREATE TABLE a(x)", digest: "one")
            #expect(try await fixture.store.migrate("main", D1MigrationRun([file])).applied.isEmpty)
            #expect(try await wrangler.recorded() == ["1.sql": "one"])
        }
    }

    @Test func `foreign keys are checked when all files have run`() async throws {
        try await withDatabase { (database, fixture) async throws in
            let children = migration(
                "1.sql", "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p(id)); INSERT INTO c VALUES (7);"
            )
            let failure = await failure(of: D1MigrationRun([children]), fixture)
            #expect(failure?.reason.contains("row 1 of table c refers to no row of p") == true, "\(failure as Any)")
            #expect(try await schema(fixture).isEmpty)
            let parents = migration("2.sql", "INSERT INTO p VALUES (7)")
            #expect(try await fixture.store.migrate("main", D1MigrationRun([children, parents])).applied.count == 2)
            // And are enforced at once afterwards.
            #expect(
                await StoreTests.failure { _ = try await database.exec("INSERT INTO c VALUES (8)") }?.contains("FOREIGN KEY")
                    == true)
        }
    }

    @Test func `what would begin or end a transaction is refused`() async throws {
        try await withDatabase { (_, fixture) async throws in
            for text in ["COMMIT", "CREATE TABLE a(x); ROLLBACK", "SAVEPOINT s", "SELECT 1; VACUUM", "ATTACH ':memory:' AS b"] {
                let failure = await failure(of: D1MigrationRun([migration("1.sql", text)]), fixture)
                #expect(failure?.place?.line == 1, "\(text)")
                #expect(try await schema(fixture).isEmpty, "\(text)")
            }
            let unclosed = migration("1.sql", "CREATE TABLE a(x); /* never closed")
            #expect(try await fixture.store.migrate("main", D1MigrationRun([unclosed])).applied == ["1.sql"])
        }
    }

    @Test func `D7: reads go on while a migration runs, writes wait so long and are told to try again`() async throws {
        let isInside = Shared(false)
        let mayGoOn = EventCounter()
        let faults = D1Faults { operation in
            if operation == .migrationCommit {
                isInside.value = true
                mayGoOn.wait(upTo: .seconds(60))
            }
            return nil
        }
        try await withDatabase(faults: faults) { (database, fixture) async throws in
            _ = try await database.exec("CREATE TABLE t(a)")
            let run = D1MigrationRun([migration("1.sql", "INSERT INTO t VALUES (1); CREATE TABLE b(x)")])
            async let outcome = fixture.store.migrate("main", run)
            while !isInside.value { await Task.yield() }
            #expect(try await count(fixture, "t") == 0)
            let writer = fixture.database("main")
            let write = Task { await StoreTests.failure { _ = try await writer.exec("INSERT INTO t VALUES (2)") } }
            while fixture.store.waitingCallCount(of: "main") == 0 { await Task.yield() }
            // Its time passes; each step lets the watch look once.
            for _ in 0..<80 {
                fixture.clock.advance(by: .milliseconds(100))
                for _ in 0..<200 { await Task.yield() }
            }
            #expect(await write.value == "D1_EXEC_ERROR: database is locked: SQLITE_BUSY")
            mayGoOn.signal()
            #expect(try await outcome.applied == ["1.sql"])
            _ = try await database.exec("INSERT INTO t VALUES (3)")
            #expect(try await count(fixture, "t") == 2)
        }
    }

    @Test func `D7: a writer that is busy longer than the lock time-out is not waited for`() async throws {
        let isInside = Shared(false)
        let mayGoOn = EventCounter()
        let faults = D1Faults { operation in
            // Only the first one.
            if operation == .migrationCommit, !isInside.value {
                isInside.value = true
                mayGoOn.wait(upTo: .seconds(60))
            }
            return nil
        }
        try await withDatabase(faults: faults) { (_, fixture) async throws in
            async let first = fixture.store.migrate("main", D1MigrationRun([migration("1.sql", "CREATE TABLE a(x)")]))
            while !isInside.value { await Task.yield() }
            let files = [migration("2.sql", "CREATE TABLE b(x)")]
            let second = Task { await failure(of: D1MigrationRun(files, lockTimeout: .seconds(2)), fixture) }
            while fixture.store.waitingCallCount(of: "main") == 0 { await Task.yield() }
            for _ in 0..<40 {
                fixture.clock.advance(by: .milliseconds(100))
                for _ in 0..<200 { await Task.yield() }
            }
            #expect(await second.value?.reason.contains("busy for 2000 ms") == true)
            mayGoOn.signal()
            #expect(try await first.applied == ["1.sql"])
            // It isn't run later either.
            #expect(try await schema(fixture).allSatisfy { !$0.hasPrefix("table b ") })
            #expect(await failure(of: D1MigrationRun(files), fixture) == nil)
        }
    }

    @Test func `a migration that takes longer than it may is taken back`() async throws {
        let hasBegun = Shared(false)
        let faults = D1Faults { operation in
            if operation == .migrationBegin { hasBegun.value = true }
            return nil
        }
        try await withDatabase(faults: faults) { (_, fixture) async throws in
            let clock = fixture.clock
            let endless = migration(
                "1.sql", "CREATE TABLE a AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n")
            let runs = Task { await failure(of: D1MigrationRun([endless], duration: .seconds(60)), fixture) }
            // Before, the time would be the one that it may wait for the writer.
            while !hasBegun.value { await Task.yield() }
            let isOver = Shared(false)
            let ticking = Task {
                while !isOver.value {
                    clock.advance(by: .seconds(1))
                    try? await Task.sleep(for: .milliseconds(2))
                }
            }
            let reason = await runs.value?.reason ?? "none"
            #expect(reason.contains("longer than 60 s"), "\(reason)")
            isOver.value = true
            await ticking.value
            #expect(try await schema(fixture).isEmpty)
        }
    }

    @Test func `while writes are held, reads and migrations go on and all else is refused`() async throws {
        try await withDatabase(limits: Self.history) { (database, fixture) async throws in
            _ = try await database.exec("CREATE TABLE t(a)")
            let bookmark = try await fixture.store.bookmark(of: "main")
            #expect(try await fixture.store.freeze("main"))
            #expect(try await !fixture.store.freeze("main"))
            let refused = D1Failure.frozen.text
            #expect(
                await StoreTests.failure { _ = try await database.exec("INSERT INTO t VALUES (1)") }
                    == "D1_EXEC_ERROR: \(refused)")
            // One that looks like reading.
            let insert = database.prepare("WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x")
            #expect(await StoreTests.failure { _ = try await insert.run() } == "D1_ERROR: \(refused)")
            do {
                _ = try await insert.run()
                Issue.record("written")
            } catch let failure as CallFailure { #expect(failure.isOfHeldStore) }
            await #expect(throws: D1Failure.frozen) { _ = try await fixture.store.restore("main", to: .bookmark(bookmark)) }
            await #expect(throws: D1Failure.frozen) { try await fixture.store.runScript(["DELETE FROM t"], on: "main") }
            #expect(try await count(fixture, "t") == 0)
            _ = try await fixture.store.migrate("main", D1MigrationRun([migration("1.sql", "INSERT INTO t VALUES (1)")]))
            #expect(try await count(fixture, "t") == 1)
            fixture.store.unfreeze("main")
            _ = try await insert.run()
            #expect(try await count(fixture, "t") == 2)
        }
    }

    @Test
    func `probe 15: commits of others are counted, those of migrations aren't, and a restore that would lose one isn't made`()
        async throws
    {
        try await withDatabase(limits: Self.history) { (database, fixture) async throws in
            let store = fixture.store
            _ = try await database.exec("CREATE TABLE t(a)")
            let bookmark = try await store.checkup("main")
            let run = D1MigrationRun([migration("1.sql", "CREATE TABLE b(x); INSERT INTO t VALUES (0)")])
            _ = try await store.migrate("main", run)
            #expect(try await store.foreignCommitCount(of: "main", since: bookmark) == 0)
            _ = try await store.migrate("main", D1MigrationRun(run.files + [migration("2.sql", "CREATE TABLE c(x)")]))
            #expect(try await store.foreignCommitCount(of: "main", since: bookmark) == 0)
            #expect(try await store.restoreIfUntouched("main", to: bookmark))
            #expect(try await schema(fixture).count == 1)
            #expect(try await count(fixture, "t") == 0)

            // Anew, with writes in between, before and after the node ends.
            let second = try await store.checkup("main")
            _ = try await database.exec("INSERT INTO t VALUES (1)")
            _ = try await store.migrate("main", run)
            for number in 2...3 { _ = try await database.exec("INSERT INTO t VALUES (\(number))") }
            #expect(try await store.foreignCommitCount(of: "main", since: second) == 3)
            await store.close()
            let later = try Fixture(directory: fixture.directory, limits: Self.history)
            #expect(try await later.store.foreignCommitCount(of: "main", since: second) == 3)
            _ = try await later.database.exec("INSERT INTO t VALUES (4)")
            #expect(try await later.store.foreignCommitCount(of: "main", since: second) == 4)
            #expect(try await !later.store.restoreIfUntouched("main", to: second))
            #expect(try await count(later, "t") == 5)
            // Whoever asks for it gets it.
            _ = try await later.store.restoreEvenFrozen("main", to: .bookmark(second))
            #expect(try await schema(later).count == 1)
            #expect(try await count(later, "t") == 0)
            await #expect(throws: D1Failure.self) { _ = try await later.store.foreignCommitCount(of: "main", since: "x") }
            await later.store.close()
        }
        try await withDatabase { (_, fixture) async throws in
            let bookmark = try await fixture.store.bookmark(of: "main")
            await #expect(throws: D1Failure.noHistory) {
                _ = try await fixture.store.foreignCommitCount(of: "main", since: bookmark)
            }
        }
    }

    @Test func `D5: a backup has its name when it is whole, and leads back without a history`() async throws {
        try await withDatabase { (database, fixture) async throws in
            let store = fixture.store
            _ = try await database.exec("CREATE TABLE t(a); CREATE TABLE u(b); CREATE VIRTUAL TABLE f USING fts5(x)")
            _ = try await database.exec("INSERT INTO t VALUES (1), (2)")
            let path = fixture.directory + "/copy"
            let backup = try await store.backUp("main", to: path)
            #expect(backup.rowCounts["t"] == 2 && backup.rowCounts["u"] == 0 && backup.byteCount > 0)
            #expect(try await backup.bookmark == store.bookmark(of: "main"))
            #expect(
                try FileManager.default.contentsOfDirectory(atPath: fixture.directory).filter { $0.hasPrefix("copy") } == [
                    "copy"
                ])
            _ = try await database.exec("DELETE FROM t; DROP TABLE u")
            try await store.restore("main", copy: path)
            #expect(try await count(fixture, "t") == 2)
            #expect(try await count(fixture, "u") == 0)
            await #expect(throws: D1Failure.self) { try await store.restore("main", copy: path + "x") }
            // Into a directory that isn't there.
            await #expect(throws: D1Failure.self) { _ = try await store.backUp("main", to: fixture.directory + "/no/copy") }
        }
    }

    @Test func `a rehearsal changes a copy alone`() async throws {
        try await withDatabase { (database, fixture) async throws in
            _ = try await database.exec("CREATE TABLE t(a)")
            let before = try await schema(fixture)
            let good = migration("1.sql", "CREATE TABLE b(x)")
            for _ in 0..<2 {
                #expect(try await fixture.store.rehearse("main", D1MigrationRun([good])).applied == ["1.sql"])
                do throws(D1MigrationFailure) {
                    _ = try await fixture.store.rehearse("main", D1MigrationRun([good, migration("2.sql", "\nNO")]))
                    Issue.record("rehearsed")
                } catch { #expect(error.place?.line == 2) }
            }
            #expect(try await schema(fixture) == before)
            #expect(try fixture.store.databaseNames == ["main"])
        }
    }

    /// What a process leaves that ends at that point: the files as they are then.
    @Test(arguments: [D1Faults.Operation.migrationBegin, .migrationCommit, .migrationEnd])
    func `D3: killed at any point, all is applied or nothing, and asking again finishes it`(_ operation: D1Faults.Operation)
        async throws
    {
        let copy = FileManager.default.temporaryDirectory.path + "/edge-d1-killed-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: copy) }
        let directory = Shared("")
        let faults = D1Faults { found in
            if found == operation, !FileManager.default.fileExists(atPath: copy) {
                try? FileManager.default.copyItem(atPath: directory.value, toPath: copy)
            }
            return nil
        }
        let run = D1MigrationRun([
            migration("1.sql", "CREATE TABLE b(x); INSERT INTO t VALUES (1)"), migration("2.sql", "INSERT INTO t VALUES (2)"),
        ])
        let bookmark = Shared("")
        try await withDatabase(limits: Self.history, faults: faults) { (database, fixture) async throws in
            directory.value = fixture.directory
            _ = try await database.exec("CREATE TABLE t(a)")
            let taken = try await fixture.store.checkup("main")
            bookmark.value = taken
            _ = try await fixture.store.migrate("main", run)
        }
        let after = try Fixture(directory: copy, limits: Self.history)
        let isCommitted = operation == .migrationEnd
        #expect(try await count(after, "t") == (isCommitted ? 2 : 0))
        #expect(try await schema(after).contains { $0.hasPrefix("table b ") } == isCommitted)
        let again = try await after.store.migrate("main", run)
        #expect(again.applied == (isCommitted ? [] : ["1.sql", "2.sql"]))
        #expect(try await count(after, "t") == 2)
        #expect(try await after.store.foreignCommitCount(of: "main", since: bookmark.value) == 0)
        #expect(try await after.store.verify("main").isEmpty)
        await after.store.close()
    }
}

/// The message of what `body` throws; `nil` when it doesn't.
private enum StoreTests {
    static func failure(_ body: () async throws -> Void) async -> String? {
        do {
            try await body()
            return nil
        } catch let failure as CallFailure { return failure.message } catch { return "\(error)" }
    }
}
