import Testing

@testable import Interfaces
@testable import StoresD1

/// The acceptance probes of the D1 specification that a binding can show.
@Suite struct `D1 probes` {
    @Test func `probe 1: values of every type go in and come out`() async throws {
        try await withDatabase { (database, _) async throws in
            let row = try await database.prepare("SELECT ?1 AS a, ?2 AS b, ?3 AS c, ?4 AS d")
                .bind(nil, true, "x", [1, 255] as [UInt8]).first()
            #expect(row?.columnNames == ["a", "b", "c", "d"])
            #expect(row?.values == [nil, 1, "x", [1, 255]])
        }
    }

    @Test func `probe 2: a number of JSON is a double, and affinity decides what is stored`() async throws {
        try await withDatabase { (database, _) async throws in
            let type = try await database.prepare("SELECT typeof(?1) t").bind(1.0).first("t")
            #expect(type == "real")
            _ = try await database.exec("CREATE TABLE t(a TEXT, b INTEGER, c)")
            try await database.prepare("INSERT INTO t VALUES(?1, ?1, ?1)").bind(42.0).run()
            let row = try await database.prepare("SELECT * FROM t").first()
            #expect(row?.values == ["42.0", 42, 42.0])
            // The deliberate improvement: an integer is one, over all 64 bits.
            try await database.prepare("UPDATE t SET a=?1, b=?1, c=?1").bind(Int64.max).run()
            let exact = try await database.prepare("SELECT *, typeof(c) FROM t").first()
            #expect(exact?.values == ["9223372036854775807", .integer(.max), .integer(.max), "integer"])
        }
    }

    @Test func `probe 3: an unsupported value is refused when it is bound`() async throws {
        try await withDatabase { (database, _) async throws in
            struct Odd: CustomStringConvertible { var description: String { "odd" } }
            let message = await failure { _ = try database.prepare("SELECT ?").bind(dynamic: [Odd()]) }
            #expect(message == "D1_TYPE_ERROR: Type 'Odd' not supported for value 'odd'")
            let row = try await database.prepare("SELECT ?, ?, ?").bind(dynamic: [nil, 7, "x"]).first()
            #expect(row?.values == [nil, 7, "x"])
        }
    }

    @Test func `probe 4: the number of bound values must be the statement's`() async throws {
        try await withDatabase { (database, _) async throws in
            let expected = "D1_ERROR: Wrong number of parameter bindings for SQL query."
            #expect(await failure { try await database.prepare("SELECT ?").bind(1, 2).run() } == expected)
            #expect(await failure { try await database.prepare("SELECT ?").run() } == expected)
            #expect(await failure { try await database.prepare("SELECT 1").bind(1).run() } == expected)
        }
    }

    @Test func `probe 5: of equal column names an object keeps the last value, raw keeps all`() async throws {
        try await withDatabase { (database, _) async throws in
            let statement = database.prepare("SELECT 1 AS x, 2 AS x")
            let object = try await statement.all().results[0].object
            #expect(object.map(\.name) == ["x"] && object.map(\.value) == [2])
            let raw = try await statement.raw()
            #expect(raw.columnNames == ["x", "x"] && raw.rows == [[1, 2]])
            let none = try await database.prepare("SELECT 1 AS x, 2 AS y WHERE 0").raw()
            #expect(none.columnNames == ["x", "y"] && none.rows.isEmpty)
        }
    }

    @Test func `probe 6: first of a missing column fails, of no row is nothing`() async throws {
        try await withDatabase { (database, _) async throws in
            let message = await failure { _ = try await database.prepare("SELECT 1 AS a").first("nope") }
            #expect(message == "D1_COLUMN_NOTFOUND: Column not found (nope)")
            #expect(try await database.prepare("SELECT 1 AS a WHERE 0").first("nope") == nil)
            #expect(try await database.prepare("SELECT NULL AS a").first("a") == .null)
        }
    }

    @Test func `probe 7: CREATE TABLE reads one row and writes two`() async throws {
        try await withDatabase { (database, _) async throws in
            let result = try await database.prepare("CREATE TABLE t(id INTEGER PRIMARY KEY, a)").run()
            #expect(result.results.isEmpty && result.success)
            #expect(result.meta.changes == 0 && result.meta.rowsRead == 1 && result.meta.rowsWritten == 2)
            #expect(result.meta.changedDB)
            #expect(result.meta.sizeAfter > 0 && result.meta.sizeAfter % 4096 == 0)
            #expect(result.meta.servedBy == "edge.db" && result.meta.servedByRegion == "WEUR")
        }
    }

    @Test func `probe 8: each row and each index entry counts as written`() async throws {
        try await withDatabase { (database, _) async throws in
            _ = try await database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, a)")
            let plain = try await database.prepare("INSERT INTO t(a) VALUES(1),(2),(3)").run()
            #expect(plain.meta.changes == 3 && plain.meta.rowsWritten == 3 && plain.meta.lastRowID == 3)
            _ = try await database.exec("CREATE INDEX i ON t(a)")
            let indexed = try await database.prepare("INSERT INTO t(a) VALUES(4),(5),(6)").run()
            #expect(indexed.meta.changes == 3 && indexed.meta.rowsWritten == 6)
            let deleted = try await database.prepare("DELETE FROM t").run()
            #expect(deleted.meta.changes == 6 && deleted.meta.rowsWritten == 6)
        }
    }

    @Test func `probe 9: rows read follow scans, look-ups, limits and counts`() async throws {
        try await withDatabase { (database, _) async throws in
            _ = try await database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, a)")
            try await database.prepare(
                "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<1000) INSERT INTO t SELECT i,i FROM n"
            ).run()
            func rowsRead(_ sql: String) async throws -> Int64 {
                try await database.prepare(sql).all().meta.rowsRead
            }
            #expect(try await rowsRead("SELECT * FROM t") == 1000)
            #expect(try await rowsRead("SELECT * FROM t WHERE id=5") == 1)
            #expect(try await rowsRead("SELECT * FROM t LIMIT 5") == 5)
            #expect(try await rowsRead("SELECT COUNT(*) FROM t") == 1000)
            #expect(try await rowsRead("SELECT MIN(id) FROM t") == 1)
            #expect(try await rowsRead("SELECT MAX(a) FROM t") == 1000)
            _ = try await database.exec("CREATE TABLE empty(a)")
            #expect(try await rowsRead("SELECT * FROM empty") == 1)
        }
    }

    @Test func `probe 10: the first error of a batch takes everything back`() async throws {
        try await withDatabase { (database, _) async throws in
            _ = try await database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY)")
            let insert = database.prepare("INSERT INTO t VALUES(?)")
            let message = await failure { _ = try await database.batch([insert.bind(1), insert.bind(1)]) }
            #expect(
                message
                    == "D1_ERROR: UNIQUE constraint failed: t.id: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_PRIMARYKEY)"
            )
            #expect(try await database.prepare("SELECT count(*) n FROM t").first("n") == 0)
        }
    }

    @Test func `probe 11: an empty batch and an empty text have no statements`() async throws {
        try await withDatabase { (database, _) async throws in
            let expected = "D1_ERROR: No SQL statements detected."
            #expect(await failure { _ = try await database.batch([]) } == expected)
            for text in ["", "  ;; ", "-- only this", "/* and */ -- that\n"] {
                #expect(await failure { try await database.prepare(text).run() } == expected)
            }
        }
    }

    @Test func `probe 12: exec counts lines and keeps all of them or none`() async throws {
        try await withDatabase { (database, _) async throws in
            #expect(try await database.exec("CREATE TABLE a(x);\nCREATE TABLE b(x);").count == 2)
            #expect(try await database.exec("\n-- a comment\nSELECT 1; SELECT 2;\n").count == 1)
            let message = await failure { _ = try await database.exec("INSERT INTO a VALUES(1);\nSELEC 2;") }
            #expect(
                message
                    == "D1_EXEC_ERROR: Error in line 2: SELEC 2;: near \"SELEC\": syntax error at offset 0: SQLITE_ERROR"
            )
            #expect(try await database.prepare("SELECT count(*) n FROM a").first("n") == 0)
            let split = await failure { _ = try await database.exec("SELECT\n1;") }
            #expect(
                split == "D1_EXEC_ERROR: Error in line 1: SELECT: incomplete input at offset 6: SQLITE_ERROR"
                    || split == "D1_EXEC_ERROR: Error in line 1: SELECT: incomplete input: SQLITE_ERROR")
        }
    }

    @Test func `probe 13: transactions, attached files, VACUUM and temporary tables are refused`()
        async throws
    {
        try await withDatabase { (database, _) async throws in
            for text in [
                "BEGIN TRANSACTION", "COMMIT", "ROLLBACK", "SAVEPOINT a", "RELEASE a", "END",
                "begin immediate",
            ] {
                let message = await failure { try await database.prepare(text).run() }
                #expect(
                    message?.hasPrefix(
                        "D1_ERROR: To execute a transaction, please use the state.storage.transaction() or "
                            + "state.storage.transactionSync() APIs instead of the SQL BEGIN TRANSACTION or SAVEPOINT statements."
                    ) == true, "\(text): \(message ?? "no error")")
            }
            for text in [
                "ATTACH 'x' AS y", "DETACH main", "VACUUM", "vacuum INTO 'x'", "CREATE TEMP TABLE t(x)",
                "CREATE TEMPORARY VIEW v AS SELECT 1", "SELECT * FROM sqlite_temp_master",
            ] {
                let message = await failure { try await database.prepare(text).run() }
                #expect(
                    message?.hasSuffix("SQLITE_AUTH") == true && message?.hasPrefix("D1_ERROR: ") == true,
                    "\(text): \(message ?? "no error")")
            }
            #expect(
                await failure { try await database.prepare("ATTACH 'x' AS y").run() }
                    == "D1_ERROR: not authorized: SQLITE_AUTH")
            #expect(
                await failure { try await database.prepare("VACUUM").run() }
                    == "D1_ERROR: not authorized: SQLITE_AUTH")
            #expect(
                await failure { try await database.prepare("CREATE TEMP TABLE t(x)").run() }
                    == "D1_ERROR: not authorized: SQLITE_AUTH")
        }
    }

    @Test func `probe 14: only listed pragmas are allowed`() async throws {
        try await withDatabase { (database, _) async throws in
            _ = try await database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT)")
            let columns = try await database.prepare("PRAGMA table_info(t)").all().results.map { $0["name"] }
            #expect(columns == ["id", "a"])
            #expect(try await database.prepare("PRAGMA foreign_keys").first("foreign_keys") == 1)
            for text in [
                "PRAGMA table_list", "PRAGMA data_version", "PRAGMA page_size", "PRAGMA quick_check",
                "PRAGMA foreign_key_check", "PRAGMA foreign_key_check(t)", "PRAGMA optimize",
                "PRAGMA case_sensitive_like=on", "PRAGMA index_list('t')",
            ] {
                #expect(await failure { try await database.prepare(text).run() } == nil, "\(text)")
            }
            for text in [
                "PRAGMA journal_mode", "PRAGMA user_version", "PRAGMA cache_size", "PRAGMA page_size=1024",
                "PRAGMA writable_schema=1", "PRAGMA wal_checkpoint", "PRAGMA synchronous=0",
                "PRAGMA table_info",
                "PRAGMA foreign_keys=maybe", "PRAGMA function_list",
            ] {
                #expect(
                    await failure { try await database.prepare(text).run() }
                        == "D1_ERROR: not authorized: SQLITE_AUTH", "\(text)")
            }
            // A value lasts to the end of its call; here LIKE ignores case again.
            #expect(try await database.prepare("SELECT 'A' LIKE 'a' AS x").first("x") == 1)
            #expect(
                try await database.batch([
                    database.prepare("PRAGMA case_sensitive_like=on"),
                    database.prepare("SELECT 'A' LIKE 'a' AS x"),
                ])[1].results[0]["x"] == 0)
            #expect(
                try await database.batch([
                    database.prepare("PRAGMA foreign_keys"), database.prepare("SELECT 'A' LIKE 'a' AS x"),
                    database.prepare("DELETE FROM t"),
                ])[1].results[0]["x"] == 1)
        }
    }

    @Test func `probe 15: names of the product cannot be made`() async throws {
        try await withDatabase { (database, _) async throws in
            _ = try await database.exec("CREATE TABLE t(a)")
            for text in [
                "CREATE TABLE _cf_x(a)", "create table _CF_X(a)", "ALTER TABLE t RENAME TO _cf_x",
                "CREATE INDEX _cf_i ON t(a)", "CREATE VIEW _cf_v AS SELECT 1",
                "CREATE TRIGGER _Cf_g AFTER INSERT ON t BEGIN SELECT 1; END",
                "CREATE VIRTUAL TABLE _cf_f USING fts5(a)",
            ] {
                #expect(
                    await failure { try await database.prepare(text).run() }
                        == "D1_ERROR: not authorized: SQLITE_AUTH", "\(text)")
            }
            let names = try await database.prepare("SELECT name FROM sqlite_master").all().results
            #expect(names.map { $0["name"] } == ["t"])
            try await database.prepare("ALTER TABLE t RENAME TO u").run()
            try await database.prepare("ALTER TABLE u RENAME COLUMN a TO b").run()
            try await database.prepare("ALTER TABLE u ADD COLUMN c DEFAULT 1").run()
            try await database.prepare("ALTER TABLE u DROP COLUMN c").run()
            #expect(
                await failure { try await database.prepare("DELETE FROM sqlite_master").run() }?
                    .contains("sqlite_master may not be modified") == true)
        }
    }

    @Test func `probe 16: full text search works, other modules and functions do not`() async throws {
        try await withDatabase { (database, _) async throws in
            _ = try await database.exec("CREATE VIRTUAL TABLE f USING fts5(title, body)")
            try await database.prepare("INSERT INTO f VALUES(?, ?)").bind("swift", "the edge of the world")
                .run()
            try await database.prepare("INSERT INTO f VALUES(?, ?)").bind("other", "nothing here").run()
            let row = try await database.prepare(
                "SELECT title, bm25(f) AS score, highlight(f, 1, '<', '>') AS text, snippet(f, 1, '', '', '…', 2) AS s "
                    + "FROM f WHERE f MATCH ? ORDER BY rank"
            ).bind("edge").first()
            #expect(row?["title"] == "swift" && row?["text"] == "the <edge> of the world")
            try await database.prepare("DELETE FROM f WHERE rowid=1").run()
            try await database.prepare("INSERT INTO f(f) VALUES('optimize')").run()
            _ = try await database.exec("CREATE VIRTUAL TABLE fv USING fts5vocab(f, row)")
            _ = try await database.exec("CREATE VIRTUAL TABLE r USING rtree(id, x0, x1)")
            try await database.prepare("INSERT INTO r VALUES(1, 0, 10)").run()
            #expect(try await database.prepare("SELECT id FROM r WHERE x0 < 5").first("id") == 1)
            for text in [
                "CREATE VIRTUAL TABLE v USING dbstat", "CREATE VIRTUAL TABLE v USING fts3(a)",
                "CREATE VIRTUAL TABLE v USING fts4(a)",
            ] {
                #expect(
                    await failure { try await database.prepare(text).run() }
                        == "D1_ERROR: not authorized: SQLITE_AUTH", "\(text)")
            }
            for name in ["sqlite_version", "sqlite_source_id", "total_nonsense"] {
                #expect(await failure { try await database.prepare("SELECT \(name)()").run() } != nil)
            }
            #expect(
                await failure { try await database.prepare("SELECT sqlite_version()").run() }?
                    .hasPrefix("D1_ERROR: not authorized to use function: sqlite_version") == true)
            #expect(await failure { try await database.prepare("SELECT load_extension('x')").run() } != nil)
            #expect(await failure { try await database.prepare("SELECT * FROM dbstat").run() } != nil)
            #expect(await failure { try await database.prepare("DELETE FROM f_data").run() } != nil)
            let json = try await database.prepare(
                "SELECT value AS v FROM json_each('[3,4]') UNION ALL SELECT json_extract('{\"a\":5}','$.a')"
            ).all()
            #expect(json.results.map { $0["v"] } == [3, 4, 5])
            #expect(try await database.prepare("SELECT '{\"a\":5}' ->> '$.a' AS v").first("v") == 5)
        }
    }

    @Test func `probe 17: foreign keys can be deferred to the end of a call`() async throws {
        try await withDatabase { (database, _) async throws in
            _ = try await database.exec(
                "CREATE TABLE p(id INTEGER PRIMARY KEY);\nCREATE TABLE c(p REFERENCES p(id));")
            let child = database.prepare("INSERT INTO c VALUES(1)")
            let parent = database.prepare("INSERT INTO p VALUES(1)")
            let expected =
                "D1_ERROR: FOREIGN KEY constraint failed: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_FOREIGNKEY)"
            #expect(await failure { _ = try await database.batch([child, parent]) } == expected)
            let deferred = database.prepare("PRAGMA defer_foreign_keys=on")
            #expect(await failure { _ = try await database.batch([deferred, child]) } == expected)
            _ = try await database.batch([deferred, child, parent])
            #expect(await failure { try await database.prepare("INSERT INTO c VALUES(2)").run() } == expected)
            #expect(try await database.prepare("SELECT count(*) n FROM c").first("n") == 1)
        }
    }

    @Test func `probe 18: parameters, text and values have their limits`() async throws {
        try await withDatabase { (database, _) async throws in
            func list(_ count: Int) -> String { Array(repeating: "?", count: count).joined(separator: ",") }
            let hundred = database.prepare("SELECT \(list(100))").bind(values: (1...100).map { .integer($0) })
            #expect(try await hundred.first()?.values.last == 100)
            let more = database.prepare("SELECT \(list(101))").bind(values: (1...101).map { .integer($0) })
            #expect(
                await failure { try await more.run() }?.hasPrefix("D1_ERROR: too many SQL variables") == true)
            #expect(
                await failure { try await database.prepare("SELECT ?101").run() }?
                    .hasPrefix("D1_ERROR: variable number must be between ?1 and ?100") == true)

            let longest = "SELECT 1 " + String(repeating: " ", count: 99_991)
            #expect(await failure { try await database.prepare(longest).run() } == nil)
            #expect(
                await failure { try await database.prepare(longest + " ").run() }
                    == "D1_ERROR: statement too long: SQLITE_TOOBIG")

            _ = try await database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, a)")
            let insert = database.prepare("INSERT INTO t(a) VALUES(?)")
            let large = [UInt8](repeating: 7, count: 2_000_000)
            try await insert.bind(large).run()
            #expect(try await database.prepare("SELECT a FROM t").first("a") == .blob(large))
            #expect(
                await failure { try await insert.bind(large + [1]).run() }
                    == "D1_ERROR: string or blob too big: SQLITE_TOOBIG")

            let columns = (1...101).map { "c\($0)" }.joined(separator: ",")
            #expect(
                await failure { try await database.prepare("CREATE TABLE w(\(columns))").run() }
                    == "D1_ERROR: too many columns on w: SQLITE_ERROR")
            let union = Array(repeating: "SELECT 1", count: 6).joined(separator: " UNION ALL ")
            #expect(
                await failure { try await database.prepare(union).run() }
                    == "D1_ERROR: too many terms in compound SELECT: SQLITE_ERROR")
            let pattern = String(repeating: "a", count: 51)
            #expect(
                await failure { try await database.prepare("SELECT 'a' LIKE ?").bind(pattern).run() }
                    == "D1_ERROR: LIKE or GLOB pattern too complex: SQLITE_ERROR")
        }
    }

    @Test func `probe 19: a session's bookmark grows with each write`() async throws {
        try await withDatabase { (database, _) async throws in
            let session = database.withSession()
            #expect(session.getBookmark() == nil)
            _ = try await session.prepare("CREATE TABLE t(a)").run()
            let first = try #require(session.getBookmark())
            _ = try await session.batch([session.prepare("INSERT INTO t VALUES(1)")])
            let second = try #require(session.getBookmark())
            #expect(second > first)
            for bookmark in [first, second] {
                #expect(bookmark.wholeMatch(of: /[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{32}/) != nil)
            }
            let later = database.withSession(" \(second) ")
            #expect(later.getBookmark() == second)
            #expect(try await later.prepare("SELECT a FROM t").first("a") == 1)
            #expect(later.getBookmark() == second)
            let broken = database.withSession("nonsense")
            #expect(
                await failure { try await broken.prepare("SELECT 1").run() }
                    == "D1_ERROR: Invalid bookmark: nonsense")
            let future = database.withSession("ffffffff-00000000-00000000-00000000000000000000000000000000")
            #expect(await failure { try await future.prepare("SELECT 1").run() } != nil)
        }
    }
}
