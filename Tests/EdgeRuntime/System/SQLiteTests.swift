import FoundationEssentials
import SQLite
import Testing

@Suite struct `SQLite connection` {
    private func withDirectory(_ body: (String) throws -> Void) throws {
        let path = FileManager.default.temporaryDirectory.path + "/edge-sqlite-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: path) }
        try body(path)
    }

    @Test func `binds and reads every kind of value`() throws {
        let connection = try SQLiteConnection(path: ":memory:", .create)
        let statement = try connection.prepare("SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7")
        #expect(statement.parameterCount == 7 && statement.isReadOnly)
        try statement.bind(Int64.min, at: 1)
        try statement.bind(0.1, at: 2)
        try statement.bind("naïve\u{0}text", at: 3)
        try statement.bind([0, 255], at: 4)
        try statement.bindNull(at: 5)
        try statement.bind("", at: 6)
        try statement.bind([UInt8](), at: 7)
        #expect(try statement.step())
        let kinds = (0..<7).map { statement.columnKind($0) }
        #expect(kinds == [.integer, .real, .text, .blob, .null, .text, .blob])
        #expect(statement.integer(0) == .min && statement.real(1) == 0.1)
        #expect(statement.text(2) == "naïve\u{0}text" && statement.blob(3) == [0, 255])
        #expect(statement.text(4) == nil && statement.text(5) == "" && statement.blob(6) == [])
        #expect(try !statement.step())
        #expect(throws: SQLiteError.self) { try statement.bind(1 as Int64, at: 8) }
    }

    @Test func `runs scripts statement by statement`() throws {
        let connection = try SQLiteConnection(path: ":memory:", .create)
        var script = SQLiteScript(
            " -- first\nCREATE TABLE t(a); /* second */ INSERT INTO t VALUES(1),(2);;\n-- end")
        #expect(script.nextKeyword == "CREATE")
        var count = 0
        while !script.isAtEnd, let statement = try connection.prepare(&script) {
            _ = try statement.step()
            count += 1
        }
        #expect(count == 2 && connection.totalChanges == 2 && connection.lastInsertRowID == 2)
        #expect(try connection.prepare(&script) == nil)
        #expect(SQLiteScript("/* never closed").isAtEnd && !SQLiteScript("\u{0}SELECT 1").isAtEnd)
    }

    @Test func `says what is wrong and where`() throws {
        let connection = try SQLiteConnection(path: ":memory:", .create)
        #expect {
            try connection.execute(
                "CREATE TABLE t(a UNIQUE); INSERT INTO t VALUES(1); INSERT INTO t VALUES(1)")
        } throws: { error in
            let error = error as? SQLiteError
            return error?.code == .constraint && error?.extendedCodeName == "SQLITE_CONSTRAINT_UNIQUE"
        }
        #expect {
            _ = try connection.prepare("SELECT x y z")
        } throws: { error in
            "\(error)" == "near \"z\": syntax error at offset 11: SQLITE_ERROR"
        }
        #expect(throws: SQLiteError.self) {
            _ = try SQLiteConnection(path: "/nowhere/at/all", .readOnly).execute("SELECT 1")
        }
    }

    @Test func `asks the authorizer and the progress handler`() throws {
        final class NoDrops: SQLiteAuthorizer {
            func allows(_ request: SQLiteAuthorization) -> Bool { request.action != .dropTable }
        }
        let connection = try SQLiteConnection(path: ":memory:", .create)
        try connection.execute("CREATE TABLE t(a)")
        connection.setAuthorizer(NoDrops())
        #expect {
            try connection.execute("DROP TABLE t")
        } throws: { ($0 as? SQLiteError)?.code == .notAuthorized }
        connection.setAuthorizer(nil)
        var turns = 0
        connection.setProgressHandler(every: 100) {
            turns += 1
            return turns < 3
        }
        #expect {
            try connection.execute(
                "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n) SELECT max(i) FROM n")
        } throws: { ($0 as? SQLiteError)?.code == .interrupted }
        #expect(turns == 3)
        connection.setProgressHandler(every: 0, nil)
        try connection.execute("DROP TABLE t")
    }

    @Test func `tells of changes before and after them`() throws {
        let connection = try SQLiteConnection(path: ":memory:", .create)
        try connection.execute("CREATE TABLE t(a)")
        var before: [SQLiteChange] = []
        var after: [SQLiteChange] = []
        connection.setPreupdateHook { before.append($0) }
        connection.setUpdateHook { after.append($0) }
        try connection.execute("INSERT INTO t VALUES(1); UPDATE t SET a=2; DELETE FROM t")
        let expected: [SQLiteChange.Operation] = [.insert, .update, .delete]
        #expect(before.map(\.operation) == expected && after.map(\.operation) == expected)
        #expect(after.allSatisfy { $0.table == "t" && $0.rowID == 1 })
    }

    @Test func `counts frames of the log and copies them when told`() throws {
        try withDirectory { directory in
            let connection = try SQLiteConnection(path: directory + "/a", .create)
            try connection.execute("PRAGMA journal_mode=WAL")
            connection.takeOverCheckpoints()
            try connection.execute("CREATE TABLE t(a); INSERT INTO t VALUES(1)")
            #expect(connection.walFrameCount > 0)
            let (frames, copied) = try connection.checkpoint(.passive)
            #expect(frames == connection.walFrameCount && copied == frames)
            try connection.checkpoint(.truncate)
            #expect(connection.walFrameCount == 0)

            let copy = try SQLiteConnection(path: directory + "/b", .create)
            try connection.backUp(to: copy)
            let statement = try copy.prepare("SELECT a FROM t")
            #expect(try statement.step() && statement.integer(0) == 1)
        }
    }

    @Test func `keeps the statements that were used last`() {
        var cache = SQLiteStatementCache<Int>(capacity: 2)
        cache.insert(1, for: "a")
        cache.insert(2, for: "b")
        #expect(cache.entry(for: "a") == 1)
        cache.insert(3, for: "c")
        #expect(cache.entry(for: "b") == nil && cache.entry(for: "a") == 1 && cache.entry(for: "c") == 3)
        cache.insert(4, for: "c")
        #expect(cache.count == 2 && cache.entry(for: "c") == 4)
    }
}
