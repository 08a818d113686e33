import FoundationEssentials
import Testing

@testable import Interfaces
@testable import StoresD1

/// Databases whose dump can be imported only when its parts stand in the right order and say exactly what there was.
@Suite struct `D1 dumps that are imported again` {
    private func dump(_ fixture: Fixture, of name: String = "main") async throws -> String {
        let path = fixture.directory + "/dump.sql"
        _ = try await fixture.store.export(name, D1DumpOptions(), to: path)
        return String(decoding: try Data(contentsOf: URL(filePath: path)), as: UTF8.self)
    }

    private func load(_ text: [UInt8], _ fixture: Fixture, into name: String) async throws {
        let path = fixture.directory + "/load.sql"
        try Data(text).write(to: URL(filePath: path))
        _ = try await fixture.store.importFile(path, into: name)
    }

    /// Each is the text of an `exec` that makes a database.
    static let schemas = [
        "a child made before its parent": """
        CREATE TABLE child(p REFERENCES parent(id))
        CREATE TABLE parent(id INTEGER PRIMARY KEY)
        INSERT INTO parent VALUES(7)
        INSERT INTO child VALUES(7)
        """,
        "tables that refer to each other": """
        CREATE TABLE a(id INTEGER PRIMARY KEY, b REFERENCES B(id))
        CREATE TABLE b(id INTEGER PRIMARY KEY, a REFERENCES a(id))
        INSERT INTO a VALUES(1, NULL)
        INSERT INTO b VALUES(2, 1)
        UPDATE a SET b = 2
        """,
        "a key that only an index makes": """
        CREATE TABLE parent(id, code REFERENCES parent(code))
        CREATE UNIQUE INDEX codes ON parent(code)
        CREATE INDEX ids ON parent(id)
        CREATE TABLE child(c REFERENCES parent(code))
        INSERT INTO parent VALUES(1, 'x')
        INSERT INTO child VALUES('x')
        """,
        "a trigger on a view": """
        CREATE TABLE t(a)
        CREATE VIEW v AS SELECT a FROM t
        CREATE TRIGGER i INSTEAD OF INSERT ON v BEGIN INSERT INTO t VALUES(new.a); END
        CREATE TRIGGER d AFTER DELETE ON t BEGIN INSERT INTO t VALUES('gone'); END
        """,
        "statements that end in a comment": """
        CREATE TABLE t(a) -- table
        CREATE INDEX i ON t(a) WHERE a > 1 -- index
        CREATE VIEW v AS SELECT a FROM t -- view
        CREATE VIEW w AS SELECT a FROM t /* never closed
        """,
        "a column named like a word of the statement": """
        CREATE VIRTUAL TABLE " using " USING fts5(a , using , b)
        INSERT INTO " using "(rowid, a, "using", b) VALUES(42, 'x', 'y', 'z')
        """,
        "names with quotes, and generated columns": #"""
        CREATE TABLE "it's ""x"""(a, "b c" AS (a || 'x') STORED, [d e], `f``g`)
        INSERT INTO "it's ""x""" VALUES(1, 2, 3)
        CREATE TABLE strict_one(a INTEGER PRIMARY KEY, b ANY, c REAL) STRICT
        INSERT INTO strict_one VALUES(1, 1.5, 9e999)
        """#,
    ]

    @Test(arguments: schemas.keys.sorted())
    func `a schema comes back`(_ name: String) async throws {
        let sql = try #require(Self.schemas[name])
        try await withDatabase { (database, fixture) async throws in
            _ = try await database.exec(sql)
            let text = try await dump(fixture)
            try await load(Array(text.utf8), fixture, into: "copy")
            #expect(try await dump(fixture, of: "copy") == text)
            let schema = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name"
            #expect(
                try await fixture.database("copy").prepare(schema).raw().rows.map { $0.prefix(3) }
                    == (try await database.prepare(schema).raw().rows.map { $0.prefix(3) }))
        }
    }

    @Test func `the rowid of full text comes back whatever its columns are called`() async throws {
        try await withDatabase { (database, fixture) async throws in
            _ = try await database.exec(
                "CREATE VIRTUAL TABLE f USING fts5(a , using , b)\nINSERT INTO f(rowid, a) VALUES(42, 'x')")
            try await load(Array(try await dump(fixture).utf8), fixture, into: "copy")
            #expect(try await fixture.database("copy").prepare("SELECT rowid n FROM f").first("n") == 42)
        }
    }

    /// SQLite 3.40 misreads some numbers by their shortest text, and some by its own `quote()`.
    @Test func `every number that is finite comes back to the last bit`() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        var numbers: [Double] = [
            5.200033731040888e-295, 4.744968672606264e-293, .leastNonzeroMagnitude, -.leastNonzeroMagnitude,
            .leastNormalMagnitude, .greatestFiniteMagnitude, -.greatestFiniteMagnitude, 0.1, 1e22, 1e23, -0.0,
        ]
        while numbers.count < 8000 {
            let number = Double(bitPattern: generator.next())
            if number.isFinite { numbers.append(number) }
        }
        try await withDatabase { (database, fixture) async throws in
            _ = try await database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
            for start in stride(from: 0, to: numbers.count, by: 1000) {
                try await database.batch(
                    numbers[start..<(start + 1000)].map { database.prepare("INSERT INTO t(v) VALUES(?)").bind($0) })
            }
            try await load(Array(try await dump(fixture).utf8), fixture, into: "copy")
            let rows = try await fixture.database("copy").prepare("SELECT v FROM t ORDER BY id").raw().rows
            #expect(rows.count == numbers.count)
            for (row, number) in zip(rows, numbers) where row[0] != .real(number) {
                Issue.record("\(number) came back as \(row[0]), seed \(seed)")
            }
        }
    }

    @Test func `what stands behind a NUL is not left out silently`() async throws {
        try await withDatabase { (database, fixture) async throws in
            _ = try await database.exec("CREATE TABLE t(a)")
            for text in ["INSERT INTO t VALUES(1)\u{0}, (2);", "INSERT INTO t VALUES(1);\u{0}INSERT INTO t VALUES(2);"] {
                await #expect(throws: D1Failure.self, "\(text.debugDescription)") {
                    try await load(Array(text.utf8), fixture, into: "main")
                }
                #expect(await failure { try await database.exec(text) }?.hasPrefix("D1_EXEC_ERROR: Error in line 1") == true)
                #expect(await failure { try await database.prepare(text).run() }?.hasPrefix("D1_ERROR: ") == true)
                await #expect(throws: D1Failure.self) { try await fixture.store.runScript([text], on: "main") }
            }
            #expect(try await database.prepare("SELECT count(*) n FROM t").first("n") == 0)
        }
    }

    @Test func `texts that are no UTF-8 are imported as they are`() async throws {
        try await withDatabase { (database, fixture) async throws in
            try await load(
                Array("CREATE TABLE t(a);INSERT INTO t VALUES('".utf8) + [0xFF, 0x61] + Array("');".utf8), fixture, into: "main"
            )
            #expect(try await database.prepare("SELECT hex(a) n FROM t").first("n") == "FF61")
        }
    }
}
