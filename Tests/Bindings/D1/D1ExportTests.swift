import FoundationEssentials
import SQLite
import System
import Testing

@testable import Interfaces
@testable import StoresD1

@Suite struct `D1 export and import` {
    private func dump(_ fixture: Fixture, _ options: D1DumpOptions = D1DumpOptions(), of name: String = "main") async throws
        -> String
    {
        let path = fixture.directory + "/dump.sql"
        let exported = try await fixture.store.export(name, options, to: path)
        let data = try Data(contentsOf: URL(filePath: path))
        #expect(exported.byteCount == data.count)
        return String(decoding: data, as: UTF8.self)
    }

    private func load(_ text: String, _ fixture: Fixture, into name: String) async throws -> D1Imported {
        let path = fixture.directory + "/load.sql"
        try Data(text.utf8).write(to: URL(filePath: path))
        return try await fixture.store.importFile(path, into: name)
    }

    private func message(_ body: () async throws -> Void) async -> String {
        do {
            try await body()
            return "no error"
        } catch { return "\(error)" }
    }

    @Test func `the text is the documented one`() async throws {
        try await withDatabase { (database, fixture) async throws in
            _ = try await database.exec(
                #"""
                CREATE TABLE child(p REFERENCES "parent"(id), g AS (p * 2))
                CREATE TABLE "parent"(id INTEGER PRIMARY KEY AUTOINCREMENT, v, "it's ""x""" REAL)
                INSERT INTO "parent" VALUES(5, 'it''s', 1), (7, X'00ff', 0.1), (9, NULL, 9e999)
                INSERT INTO "parent" VALUES(10, 'a' || char(10) || 'b', NULL), (11, 'a\n' || char(10), -1e300)
                INSERT INTO child VALUES(7)
                CREATE INDEX i ON child(p)
                CREATE TRIGGER tr AFTER INSERT ON child BEGIN UPDATE "parent" SET v = 'x;y'; END
                CREATE VIEW w AS SELECT 1
                """#)
            // The child's row waits for the parent's table: SQLite takes it only then.
            #expect(
                try await dump(fixture) == #"""
                    PRAGMA defer_foreign_keys=TRUE;
                    CREATE TABLE child(p REFERENCES "parent"(id), g AS (p * 2));
                    CREATE TABLE IF NOT EXISTS "parent"(id INTEGER PRIMARY KEY AUTOINCREMENT, v, "it's ""x""" REAL);
                    INSERT INTO "child" ("p") VALUES(7);
                    INSERT INTO "parent" ("id","v","it's ""x""") VALUES(5,'it''s',1.0);
                    INSERT INTO "parent" ("id","v","it's ""x""") VALUES(7,X'00ff',0.1);
                    INSERT INTO "parent" ("id","v","it's ""x""") VALUES(9,NULL,9e999);
                    INSERT INTO "parent" ("id","v","it's ""x""") VALUES(10,replace('a\nb','\n',char(10)),NULL);
                    INSERT INTO "parent" ("id","v","it's ""x""") VALUES(11,CAST(X'615c6e0a' AS TEXT),-1e+300);
                    DELETE FROM sqlite_sequence;
                    INSERT INTO "sqlite_sequence" ("name","seq") VALUES('parent',11);
                    CREATE INDEX i ON child(p);
                    CREATE TRIGGER tr AFTER INSERT ON child BEGIN UPDATE "parent" SET v = 'x;y'; END;
                    CREATE VIEW w AS SELECT 1;

                    """#)
            let schema = try await dump(fixture, D1DumpOptions(.schema, tables: ["child"]))
            #expect(
                schema.split(separator: "\n").count == 4 && !schema.contains("INSERT INTO \"") && schema.contains("TRIGGER tr"))
            let data = try await dump(fixture, D1DumpOptions(.data, tables: ["parent"]))
            #expect(!data.contains("CREATE") && data.contains("VALUES('parent',11)"))
            #expect(await message { _ = try await dump(fixture, D1DumpOptions(tables: ["nope"])) } == "no such table: nope")
        }
    }

    @Test func `probe 26: what is imported again is the same to the last bit`() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        try await withDatabase { (database, fixture) async throws in
            _ = try await database.exec(
                """
                CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, v, w)
                CREATE TABLE k(a TEXT PRIMARY KEY, b) WITHOUT ROWID
                CREATE VIRTUAL TABLE f USING fts5(x, y)
                CREATE VIRTUAL TABLE e USING fts5(v, content='t', content_rowid='id')
                CREATE VIRTUAL TABLE words USING fts5vocab('f', 'row')
                CREATE VIRTUAL TABLE r USING rtree(id, a, b)
                CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO e(rowid, v) VALUES(new.id, new.v); END
                """)
            var statements: [D1PreparedStatement] = []
            for index in 0..<300 {
                let text = String(
                    (0..<Int.random(in: 0...40, using: &generator)).compactMap { _ in
                        "ab'\"\\n\n\r;-/*\u{0}\u{301}é😀".randomElement(using: &generator)
                    })
                let values: [D1Value] = [
                    .null, .integer(.min), .integer(.max), .real(.random(in: -1e300...1e300, using: &generator)),
                    .real(.leastNonzeroMagnitude),
                    .real(0.1), .real(3), .text(text), .blob(Array(text.utf8)), .blob([]), .text(""), .real(-.infinity),
                ]
                statements.append(
                    database.prepare("INSERT INTO t(v, w) VALUES(?, ?)").bind(
                        values.randomElement(using: &generator) ?? .null, values.randomElement(using: &generator) ?? .null))
                statements.append(database.prepare("INSERT INTO k VALUES(?, ?)").bind("\(index)\(text)", text))
                statements.append(
                    database.prepare("INSERT INTO f(rowid, x, y) VALUES(?, ?, 'word')").bind(index * 3, text))
            }
            statements.append(database.prepare("INSERT INTO r VALUES(7, 1.5, 2.5)"))
            statements.append(database.prepare("UPDATE k SET b = CAST(X'ff61' AS TEXT) WHERE a LIKE '1%'"))
            statements.append(database.prepare("DELETE FROM t WHERE id > 290"))
            // That row's words are still in the index: a rebuilt one has what the table has.
            statements.append(database.prepare("INSERT INTO e(e) VALUES('rebuild')"))
            _ = try await database.batch(statements)
            let text = try await dump(fixture)
            #expect(!text.contains("f_data") && !text.contains("r_node"))
            let imported = try await load(text, fixture, into: "copy")
            #expect(imported.statementCount > 900 && imported.bookmark > imported.previousBookmark)
            let again = try await dump(fixture, of: "copy")
            #expect(again == text, "seed \(seed)")
            let copy = fixture.database("copy")
            for (name, query) in [
                ("types", "SELECT group_concat(typeof(v) || typeof(w) || hex(v) || hex(w)) n FROM t"),
                ("full text", "SELECT group_concat(rowid) n FROM f WHERE f MATCH 'word'"),
                ("external", "SELECT count(*) n FROM e WHERE e MATCH 'ab OR a OR b'"),
                ("vocabulary", "SELECT sum(cnt) n FROM words"), ("tree", "SELECT id n FROM r WHERE a > 1 AND b < 3"),
                ("key", "INSERT INTO t(v) VALUES(1) RETURNING id n"),
            ] {
                #expect(
                    try await copy.prepare(query).first("n") == (try await database.prepare(query).first("n")),
                    "\(name), seed \(seed)")
            }
            #expect(try await copy.prepare("INSERT INTO f(f) VALUES('integrity-check')").run().success)
        }
    }

    @Test func `probe 25: an import with a mistake changes nothing`() async throws {
        try await withDatabase { (database, fixture) async throws in
            _ = try await database.exec("CREATE TABLE t(a PRIMARY KEY, p REFERENCES t(a))")
            for (text, expected) in [
                ("INSERT INTO t VALUES(1, NULL); SELEC 2; INSERT INTO t VALUES(3, NULL);", "statement 2: near \"SELEC\""),
                ("INSERT INTO t VALUES(1, NULL); INSERT INTO t VALUES(1, NULL)", "statement 2: UNIQUE constraint failed"),
                ("PRAGMA defer_foreign_keys=TRUE; INSERT INTO t VALUES(1, 2);", "FOREIGN KEY constraint failed"),
                ("CREATE TABLE _cf_x(a);", "not authorized"), ("ATTACH 'x' AS y;", "not authorized"),
                ("VACUUM", "not authorized"),
                ("CREATE TABLE x(a); ALTER TABLE x RENAME TO _cf_y", "not authorized"), ("-- nothing", "No SQL statements"),
                (
                    "INSERT INTO t VALUES(1, NULL); INSERT OR ROLLBACK INTO t VALUES(1, NULL); CREATE TABLE z(a);",
                    "statement 2: UNIQUE"
                ),
                ("INSERT INTO t VALUES(?, NULL)", "Wrong number of parameter"),
                ("INSERT INTO t VALUES('never closed", "unrecognized token"),
                ("INSERT INTO t VALUES(1, NULL); ROLLBACK; INSERT INTO t VALUES(2, NULL);", "To execute a transaction"),
            ] {
                let found = await message { _ = try await load(text, fixture, into: "main") }
                #expect(found.contains(expected), "\(text): \(found)")
                #expect(try await database.prepare("SELECT count(*) n FROM t").first("n") == 0)
                #expect(
                    try await database.prepare("SELECT count(*) n FROM sqlite_master WHERE name IN ('x','z')").first("n") == 0)
            }
            let dump = """
                PRAGMA foreign_keys=OFF;
                BEGIN TRANSACTION;
                INSERT INTO t VALUES(1, 2); INSERT INTO t VALUES(2, NULL);
                COMMIT;
                """
            #expect(await message { _ = try await load(dump, fixture, into: "main") }.contains("FOREIGN KEY"))
            #expect(try await load("PRAGMA defer_foreign_keys=on;" + dump, fixture, into: "main").statementCount == 4)
            #expect(try await database.prepare("SELECT count(*) n FROM t").first("n") == 2)
        }
    }

    @Test func `statements and files may be longer than memory likes`() async throws {
        try await withDatabase { (database, fixture) async throws in
            let big = [UInt8](repeating: 7, count: 2_000_000)
            _ = try await database.exec(
                "CREATE TABLE t(a)\nCREATE TRIGGER g AFTER DELETE ON t BEGIN SELECT CASE 1 WHEN 1 THEN 2 END; END")
            for _ in 0..<4 { try await database.prepare("INSERT INTO t VALUES(?)").bind(big).run() }
            let text = try await dump(fixture)
            #expect(try await load(text, fixture, into: "copy").statementCount == 7)
            #expect(
                try await fixture.database("copy").prepare("SELECT count(*) n FROM t WHERE length(a) = 2000000").first("n") == 4
            )
            // The limit of ordinary statements is back.
            #expect(
                await failure {
                    try await fixture.database("copy").prepare("SELECT '\(String(repeating: "x", count: 100_001))'").run()
                }?
                .contains("too long") == true)
        }
    }

    @Test func `a dump shows one state while writes go on`() async throws {
        try await withDatabase { (database, fixture) async throws in
            _ = try await database.exec("CREATE TABLE a(n)\nCREATE TABLE b(n)")
            let isDone = Shared(false)
            let writer = Task {
                while !isDone.value {
                    _ = try await database.exec("INSERT INTO a VALUES(zeroblob(2000))\nINSERT INTO b VALUES(1)")
                }
            }
            for _ in 0..<8 {
                let text = try await dump(fixture)
                let lines = text.split(separator: "\n")
                #expect(
                    lines.count { $0.hasPrefix("INSERT INTO \"a\"") } == lines.count { $0.hasPrefix("INSERT INTO \"b\"") })
            }
            isDone.value = true
            try await writer.value
        }
    }

    @Test func `full text without content is refused`() async throws {
        try await withDatabase { (database, fixture) async throws in
            _ = try await database.exec("CREATE VIRTUAL TABLE f USING fts5(x, content='')\nINSERT INTO f VALUES('a')")
            #expect(await message { _ = try await dump(fixture) }.contains("cannot export f"))
            #expect(!FileManager.default.fileExists(atPath: fixture.directory + "/dump.sql.new"))
        }
    }
}
