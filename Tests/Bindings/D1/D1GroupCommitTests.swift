import FoundationEssentials
import SQLite
import Synchronization
import System
import Testing

@testable import Interfaces
@testable import StoresD1

@Suite struct `D1 group commit` {
    /// Runs all bodies as one group: the writer is held until they wait.
    private func together(
        _ fixture: Fixture, _ gate: WriterGate, _ count: Int,
        _ body: @escaping @Sendable (Int) async -> String?,
        whileHeld: () async -> Void = {}
    ) async -> [String?] {
        gate.hold()
        let plug = Task { _ = try? await fixture.database.exec("SELECT 1") }
        while !gate.isReached { await Task.yield() }
        return await withTaskGroup(of: (Int, String?).self) { group in
            for index in 0..<count { group.addTask { (index, await body(index)) } }
            while fixture.store.waitingCallCount(of: "main") < count { await Task.yield() }
            await whileHeld()
            gate.release()
            await plug.value
            var messages = [String?](repeating: nil, count: count)
            for await (index, message) in group { messages[index] = message }
            return messages
        }
    }

    @Test func `probe 28: no increment of 10 000 concurrent ones is lost`() async throws {
        try await withDatabase { (database, fixture) async throws in
            _ = try await database.exec("CREATE TABLE c(n INTEGER);\nINSERT INTO c VALUES(0);")
            let increment = database.prepare("UPDATE c SET n=n+1")
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<100 {
                    group.addTask {
                        for _ in 0..<100 { _ = try? await increment.run() }
                    }
                }
            }
            #expect(try await database.prepare("SELECT n FROM c").first("n") == 10_000)
            await fixture.store.close()
            let again = try Fixture(directory: fixture.directory)
            #expect(try await again.database.prepare("SELECT n FROM c").first("n") == 10_000)
            await again.store.close()
        }
    }

    @Test func `probe 28: files copied while writes go on hold every acknowledged write`() async throws {
        try await withDatabase { (database, fixture) async throws in
            _ = try await database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, half INTEGER)")
            let acknowledged = Shared(Set<Int64>())
            let isDone = Shared(false)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for writer in 0..<16 {
                    group.addTask {
                        var next = Int64(writer)
                        while !isDone.value {
                            // Two rows or none.
                            let insert = database.prepare("INSERT INTO t VALUES(?, ?)")
                            _ = try await database.batch([
                                insert.bind(next * 2, 0), insert.bind(next * 2 + 1, 1),
                            ])
                            let id = next
                            acknowledged.update { _ = $0.insert(id) }
                            next += 16
                        }
                    }
                }
                group.addTask {
                    defer { isDone.value = true }
                    for round in 0..<5 {
                        while acknowledged.value.count < (round + 1) * 100 { await Task.yield() }
                        let before = acknowledged.value
                        // What a kill leaves behind: the files as they are at some moment. The log last: what
                        // it holds beyond the file is what counts, and a checkpoint in between would be seen
                        // by neither.
                        let copy = fixture.directory + "-copy\(round)"
                        try FileManager.default.createDirectory(
                            atPath: copy, withIntermediateDirectories: true)
                        for name in ["format", "main.sqlite", "main.sqlite.timeline", "main.sqlite-wal"] {
                            try FileManager.default.copyItem(
                                atPath: "\(fixture.directory)/\(name)", toPath: "\(copy)/\(name)")
                        }
                        let revived = try Fixture(directory: copy)
                        let rows = try await revived.database.prepare("SELECT id FROM t").all().results
                        let found = Set(rows.compactMap { $0["id"]?.integer })
                        #expect(before.allSatisfy { found.contains($0 * 2) && found.contains($0 * 2 + 1) })
                        #expect(found.allSatisfy { found.contains($0 ^ 1) })
                        await revived.close()
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test func `a failing neighbour takes nothing of the others with it`() async throws {
        let gate = WriterGate()
        try await withDatabase(faults: gate.faults) { (database, fixture) async throws in
            _ = try await database.exec(
                "CREATE TABLE t(id INTEGER PRIMARY KEY, a NOT NULL);\nCREATE TABLE p(id INTEGER PRIMARY KEY);\n"
                    + "CREATE TABLE c(p REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED);")
            let insert = database.prepare("INSERT INTO t VALUES(?, ?)")
            let messages = await together(fixture, gate, 200) { index in
                await failure {
                    switch index % 5 {
                    // Fails in its second statement.
                    case 1:
                        _ = try await database.batch([
                            insert.bind(1000 + index, 1), insert.bind(2000 + index, nil),
                        ])
                    // Takes the whole transaction with it.
                    case 2:
                        try await database.prepare("INSERT OR ROLLBACK INTO t VALUES(?, NULL)").bind(index)
                            .run()
                    // Leaves a row behind before it fails.
                    case 3:
                        try await database.prepare("INSERT OR FAIL INTO t VALUES(?,1),(?,NULL)").bind(
                            3000 + index, 4000 + index
                        ).run()
                    // Fails only when it would commit.
                    case 4: try await database.prepare("INSERT INTO c VALUES(?)").bind(index).run()
                    default: try await insert.bind(index, "fine").run()
                    }
                }
            }
            for (index, message) in messages.enumerated() {
                switch index % 5 {
                case 1, 2, 3: #expect(message?.hasPrefix("D1_ERROR: NOT NULL constraint failed: t.a") == true)
                case 4: #expect(message?.hasPrefix("D1_ERROR: FOREIGN KEY constraint failed") == true)
                default: #expect(message == nil)
                }
            }
            let rows = try await database.prepare("SELECT id FROM t ORDER BY id").all().results
            #expect(
                rows.compactMap { $0["id"]?.integer } == stride(from: 0, to: 200, by: 5).map { Int64($0) })
            #expect(try await database.prepare("SELECT count(*) n FROM c").first("n") == 0)
        }
    }

    @Test func `a deferred key that is resolved by the end of its call is fine in a group`() async throws {
        let gate = WriterGate()
        try await withDatabase(faults: gate.faults) { (database, fixture) async throws in
            _ = try await database.exec(
                "CREATE TABLE p(id INTEGER PRIMARY KEY);\nCREATE TABLE c(p REFERENCES p(id));")
            let messages = await together(fixture, gate, 100) { index in
                await failure {
                    let child = database.prepare("INSERT INTO c VALUES(?)").bind(index)
                    let parent = database.prepare("INSERT INTO p VALUES(?)").bind(index)
                    let deferred = database.prepare("PRAGMA defer_foreign_keys=on")
                    _ = try await database.batch(
                        index % 2 == 0 ? [deferred, child, parent] : [child, parent])
                }
            }
            for (index, message) in messages.enumerated() { #expect((message == nil) == (index % 2 == 0)) }
            #expect(try await database.prepare("SELECT count(*) n FROM c").first("n") == 50)
        }
    }

    @Test func `when the commit fails, everybody in the group is told and nothing is kept`() async throws {
        let fails = Shared(false)
        let commits = Shared(0)
        let gate = WriterGate { operation in
            guard operation == .commit else { return nil }
            commits.update { $0 += 1 }
            return fails.value
                ? SQLiteError(extendedCode: 10 | 4 << 8, message: "disk I/O error") : nil
        }
        try await withDatabase(faults: gate.faults) { (database, fixture) async throws in
            _ = try await database.exec("CREATE TABLE t(a)")
            try await database.prepare("INSERT INTO t VALUES(0)").run()
            fails.value = true
            let before = commits.value
            let messages = await together(fixture, gate, 64) { index in
                await failure { try await database.prepare("INSERT INTO t VALUES(?)").bind(index).run() }
            }
            #expect(
                messages.allSatisfy {
                    $0 == "D1_ERROR: disk I/O error: SQLITE_IOERR (extended: SQLITE_IOERR_FSYNC)"
                })
            #expect(commits.value - before == 2)  // That of the call which held the writer, and one for all.
            #expect(try await database.prepare("SELECT count(*) n FROM t").first("n") == 1)
            // And the database works again as soon as the disk does.
            fails.value = false
            try await database.prepare("INSERT INTO t VALUES(1)").run()
            #expect(try await database.prepare("SELECT count(*) n FROM t").first("n") == 2)
        }
    }

    @Test func `a constraint that only the commit finds fails its own call alone`() async throws {
        let commits = Shared(Int.min)
        let gate = WriterGate { operation in
            guard operation == .commit else { return nil }
            // 1 is the plug's, 2 the group's; then the calls commit one by one, and the third of them is at
            // fault.
            let number = commits.update { count in
                count += 1
                return count
            }
            return number == 2 || number == 5
                ? SQLiteError(extendedCode: 19 | 3 << 8, message: "FOREIGN KEY constraint failed") : nil
        }
        try await withDatabase(faults: gate.faults) { (database, fixture) async throws in
            _ = try await database.exec("CREATE TABLE t(a)")
            commits.value = 0
            let messages = await together(fixture, gate, 6) { index in
                await failure { try await database.prepare("INSERT INTO t VALUES(?)").bind(index).run() }
            }
            #expect(commits.value == 8)
            #expect(
                messages.compactMap { $0 } == [
                    "D1_ERROR: FOREIGN KEY constraint failed: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_FOREIGNKEY)"
                ])
            #expect(try await database.prepare("SELECT count(*) n FROM t").first("n") == 5)
        }
    }

    @Test func `reads see what was acknowledged before, whoever wrote it`() async throws {
        try await withDatabase { (database, _) async throws in
            _ = try await database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v INTEGER)")
            try await withThrowingTaskGroup(of: Void.self) { group in
                for caller in 0..<32 {
                    group.addTask {
                        for value in 0..<30 {
                            try await database.prepare(
                                "INSERT INTO t VALUES(?1, ?2) ON CONFLICT DO UPDATE SET v=?2"
                            )
                            .bind(caller, value).run()
                            let seen = try await database.prepare("SELECT v FROM t WHERE id=?").bind(caller)
                                .first(
                                    "v")
                            #expect(seen == .integer(Int64(value)))
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test func `a long read does not hold up short ones`() async throws {
        try await withDatabase { (database, fixture) async throws in
            _ = try await database.exec("CREATE TABLE t(a);\nINSERT INTO t VALUES(1);")
            let long = Task {
                await failure {
                    try await database.prepare(
                        "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n) SELECT max(i) FROM n"
                    ).run()
                }
            }
            for _ in 0..<200 {
                #expect(try await database.prepare("SELECT a FROM t").first("a") == 1)
            }
            try await database.prepare("INSERT INTO t VALUES(2)").run()
            fixture.clock.advance(by: .seconds(31))
            #expect(await long.value == "D1_ERROR: D1 DB exceeded its CPU time limit and was reset.")
        }
    }

    @Test func `more calls than may wait are told so`() async throws {
        var limits = D1Limits()
        limits.waitingCallsMax = 8
        let gate = WriterGate()
        try await withDatabase(limits: limits, faults: gate.faults) { (database, fixture) async throws in
            _ = try await database.exec("CREATE TABLE t(a)")
            let refused = Shared<String?>(nil)
            let messages = await together(fixture, gate, 8) { index in
                await failure { try await database.prepare("INSERT INTO t VALUES(?)").bind(index).run() }
            } whileHeld: {
                refused.value = await failure { try await database.prepare("SELECT 1").run() }
            }
            #expect(refused.value == "D1_ERROR: D1 DB is overloaded. Too many requests queued.")
            #expect(messages.allSatisfy { $0 == nil })
            #expect(try await database.prepare("SELECT count(*) n FROM t").first("n") == 8)
        }
    }
}
