import Testing

@testable import Interfaces
@testable import StoresD1

@Suite struct `D1 errors and types` {
    /// The texts of section 7, word for word.
    @Test(arguments: [
        ("slect 1", "near \"slect\": syntax error at offset 0: SQLITE_ERROR"),
        ("SELECT * FROM x", "no such table: x: SQLITE_ERROR"),
        ("SELECT nope", "no such column: nope at offset 7: SQLITE_ERROR"),
        ("SELECT nope FROM t", "no such column: nope at offset 7: SQLITE_ERROR"),
        (
            "INSERT INTO t(a,b) VALUES('taken',1)",
            "UNIQUE constraint failed: t.a: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_UNIQUE)"
        ),
        (
            "INSERT INTO t(id,a,b) VALUES(1,'x',1)",
            "UNIQUE constraint failed: t.id: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_PRIMARYKEY)"
        ),
        (
            "INSERT INTO t(b) VALUES(1)",
            "NOT NULL constraint failed: t.a: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_NOTNULL)"
        ),
        (
            "INSERT INTO t(a,b) VALUES('y',0)",
            "CHECK constraint failed: b>0: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_CHECK)"
        ),
        (
            "INSERT INTO t(a,b,c) VALUES('y',1,99)",
            "FOREIGN KEY constraint failed: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_FOREIGNKEY)"
        ),
        ("INSERT INTO t(id,a,b) VALUES('text','z',1)", "datatype mismatch: SQLITE_MISMATCH"),
        ("SELECT zeroblob(3000000)", "string or blob too big: SQLITE_TOOBIG"),
    ])
    func `says what SQLite says`(_ sql: String, _ text: String) async throws {
        try await withDatabase { (database, _) async throws in
            _ = try await database.exec(
                "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT NOT NULL UNIQUE, b CHECK(b>0), c REFERENCES t(id));\n"
                    + "INSERT INTO t(id,a,b) VALUES(1,'taken',1);")
            #expect(await failure { try await database.prepare(sql).run() } == "D1_ERROR: \(text)")
        }
    }

    @Test func `errors repeat the beginning of a long text, not all of it`() async throws {
        try await withDatabase { (database, _) async throws in
            let long = "SELECT " + String(repeating: "é", count: 200_000)
            let line = try #require(await failure { _ = try await database.exec("SELECT 1;\n" + long) })
            #expect(line.hasPrefix("D1_EXEC_ERROR: Error in line 2: SELECT éé"))
            #expect(line.hasSuffix("statement too long: SQLITE_TOOBIG") && line.utf8.count < 2000)
            let name = String(repeating: "n", count: 50_000)
            let table = try #require(await failure { try await database.prepare("SELECT * FROM \(name)").run() })
            #expect(table.hasPrefix("D1_ERROR: no such table: nnn") && table.utf8.count < 2000)
            #expect(table.hasSuffix("SQLITE_ERROR"))
            let bookmark = String(repeating: "0", count: 100_000)
            let session = try #require(
                await failure { _ = try await database.withSession(bookmark).prepare("SELECT 1").run() })
            #expect(session.contains("Invalid bookmark: 000") && session.utf8.count < 2000)
        }
    }

    @Test func `exec takes lines that end with CR and LF`() async throws {
        try await withDatabase { (database, _) async throws in
            let result = try await database.exec("CREATE TABLE t(a);\r\nINSERT INTO t VALUES(1);\r\n\r\nSELECT 1;\r\n")
            #expect(result.count == 3)
            #expect(try await database.exec(String(repeating: "\r\n", count: 500_000) + "SELECT 1").count == 1)
            #expect(
                await failure { _ = try await database.exec("SELECT 1;\r\nslect 2;\r\nSELECT 3;") }
                    == "D1_EXEC_ERROR: Error in line 2: slect 2;: near \"slect\": syntax error at offset 0: "
                    + "SQLITE_ERROR")
        }
    }

    @Test func `texts that differ in bytes only are different statements`() async throws {
        try await withDatabase { (database, _) async throws in
            // The same word, with one character and with two.
            for (text, hex) in [("\u{e9}", "C3A9"), ("e\u{301}", "65CC81"), ("\u{e9}", "C3A9")] {
                #expect(try await database.prepare("SELECT hex('\(text)') h").first("h") == .text(hex))
            }
        }
    }

    @Test func `a quote is a quote also with an accent behind it`() {
        #expect(SQLText.quoted(text: "a'\u{301}b") == "'a''\u{301}b'")
        #expect(SQLText.quoted(identifier: "a\"\u{301}b") == "\"a\"\"\u{301}b\"")
    }

    @Test func `several statements in one text run in one transaction`() async throws {
        try await withDatabase { (database, _) async throws in
            let result = try await database.prepare(
                "CREATE TABLE t(a); INSERT INTO t VALUES(1),(2); SELECT a FROM t WHERE a=? -- end"
            ).bind(2).all()
            #expect(result.results.map(\.values) == [[2]])
            #expect(result.meta.changes == 2 && result.meta.rowsWritten == 0)
            #expect(
                await failure {
                    try await database.prepare("INSERT INTO t VALUES(?); SELECT 1").bind(1).run()
                }
                    == "D1_ERROR: When executing multiple SQL statements in a single call, only the last statement can have parameters."
            )
            #expect(await failure { try await database.prepare("DELETE FROM t; SELEC").run() } != nil)
            #expect(try await database.prepare("SELECT count(*) n FROM t; ;").first("n") == 2)
        }
    }

    @Test func `numbers that are none, and infinities, are null`() async throws {
        try await withDatabase { (database, _) async throws in
            let row = try await database.prepare("SELECT ?, ?, ?, 9e999").bind(
                Double.nan, Double.infinity, D1Value.real(-.infinity)
            ).first()
            #expect(row?.values == [nil, nil, nil, nil])
        }
    }

    @Test func `extreme values and empty ones survive`() async throws {
        let values: [D1Value] = [
            0, -1, 127, 128, -128, -129, 32767, 32768, .integer(.min), .integer(.max), 2_147_483_648, 0.0,
            -0.5,
            1e308,
            2.2250738585072014e-308, "", "ünï\u{0}çode 🐝", .text(String(repeating: "x", count: 255)),
            .text(String(repeating: "y", count: 256)), .blob([]), .blob([UInt8](repeating: 9, count: 256)),
            nil,
        ]
        try await withDatabase { (database, _) async throws in
            let marks = values.map { _ in "?" }.joined(separator: ",")
            let row = try await database.prepare("SELECT \(marks)").bind(values: values).first()
            #expect(row?.values == values)
        }
    }

    @Test func `a request and a reply larger than a frame travel as bodies`() async throws {
        try await withDatabase { (database, _) async throws in
            _ = try await database.exec("CREATE TABLE t(a)")
            let insert = database.prepare("INSERT INTO t VALUES(?)")
            let blob = [UInt8](repeating: 3, count: 1_500_000)
            _ = try await database.batch((0..<6).map { _ in insert.bind(blob) })
            let rows = try await database.prepare("SELECT a FROM t").all().results
            #expect(rows.count == 6 && rows.allSatisfy { $0["a"] == .blob(blob) })
        }
    }

    @Test func `an answer that is too large is refused and changes nothing`() async throws {
        var limits = D1Limits()
        limits.replyBytesMax = 10_000
        try await withDatabase(limits: limits) { (database, _) async throws in
            _ = try await database.exec("CREATE TABLE t(a)")
            let message = "D1_ERROR: D1 DB's isolate exceeded its memory limit and was reset."
            let insert = database.prepare("INSERT INTO t VALUES(?) RETURNING *")
            let blob = [UInt8](repeating: 1, count: 20_000)
            #expect(await failure { try await insert.bind(blob).run() } == message)
            #expect(try await database.prepare("SELECT count(*) n FROM t").first("n") == 0)
            #expect(await failure { try await database.prepare("SELECT ?").bind(blob).run() } == message)
        }
    }

    @Test func `rows decode into Swift types`() async throws {
        struct User: Decodable, Equatable {
            enum Role: String, Decodable { case admin, guest }
            var id: Int
            var name: String
            var score: Double
            var active: Bool
            var role: Role
            var note: String?
            var missing: Int?
            var key: [UInt8]
        }
        try await withDatabase { (database, _) async throws in
            let statement = database.prepare(
                "SELECT 7 id, 'ann' name, 2 score, 1 active, 'admin' role, NULL note, x'01ff' key")
            let user = try await statement.first(as: User.self)
            #expect(
                user
                    == User(
                        id: 7, name: "ann", score: 2, active: true, role: .admin, note: nil, missing: nil,
                        key: [1, 255]))
            #expect(try await database.prepare("SELECT 5").first(as: Int.self) == 5)
            await #expect(throws: DecodingError.self) {
                _ = try await database.prepare("SELECT 'x' AS id").first(as: User.self)
            }
            await #expect(throws: DecodingError.self) {
                _ = try await database.prepare("SELECT 300").first(as: UInt8.self)
            }
        }
    }

    @Test func `dump fails as the product's does`() async throws {
        try await withDatabase { (database, _) async throws in
            #expect(await failure { _ = try await database.dump() } == "D1_DUMP_ERROR: Status + 500")
        }
    }

    @Test func `a statement that runs too long is stopped, and neighbours are not`() async throws {
        // The clock jumps before the statements have begun, too: waiting is no subject of this test.
        var limits = D1Limits()
        limits.waitingDuration = .seconds(1 << 30)
        try await withDatabase(limits: limits) { (database, fixture) async throws in
            _ = try await database.exec("CREATE TABLE t(a)")
            let endless = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n)"
            try await withThrowingTaskGroup(of: String?.self) { group in
                group.addTask {
                    await failure { try await database.prepare("\(endless) SELECT max(i) FROM n").run() }
                }
                group.addTask {
                    await failure {
                        try await database.prepare("\(endless) INSERT INTO t SELECT i FROM n WHERE i<0").run()
                    }
                }
                // Jumps only while somebody waits, so it ends as soon as both have answered.
                var messages: [String?] = []
                let mover = Task {
                    while !Task.isCancelled {
                        fixture.clock.advance(by: .seconds(7))
                        await Task.yield()
                    }
                }
                for try await message in group { messages.append(message) }
                mover.cancel()
                let expected = "D1_ERROR: D1 DB exceeded its CPU time limit and was reset."
                #expect(messages == [expected, expected])
            }
            try await database.prepare("INSERT INTO t VALUES(1)").run()
            #expect(try await database.prepare("SELECT count(*) n FROM t").first("n") == 1)
        }
    }

    @Test func `a database cannot outgrow its limit`() async throws {
        var limits = D1Limits()
        limits.databaseBytesMax = 1 << 20
        try await withDatabase(limits: limits) { (database, _) async throws in
            _ = try await database.exec("CREATE TABLE t(a)")
            let insert = database.prepare("INSERT INTO t VALUES(?)").bind(
                [UInt8](repeating: 1, count: 200_000))
            for _ in 0..<4 { try await insert.run() }
            let batch = Array(repeating: insert, count: 4)
            #expect(
                await failure { _ = try await database.batch(batch) } == "D1_ERROR: Exceeded maximum DB size")
            #expect(try await database.prepare("SELECT count(*) n FROM t").first("n") == 4)
        }
    }
}
