import FoundationEssentials
import SQLite
import System
import TenantSQL
import Testing

@testable import StoresD1

@Suite struct `D1 import reader` {
    private func withFile<Outcome>(_ bytes: [UInt8], _ body: (String) throws -> Outcome) throws -> Outcome {
        let path = FileManager.default.temporaryDirectory.path + "/edge-d1-\(UUID().uuidString).sql"
        try Data(bytes).write(to: URL(filePath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        return try body(path)
    }

    private func pieces(_ bytes: [UInt8], statementBytesMax: Int = 1 << 20) throws -> [[UInt8]] {
        try withFile(bytes) { path in
            let file = try PositionedFile.openToRead(path)
            guard let file else { return [] }
            var reader = D1ImportReader(file, statementBytesMax: statementBytesMax)
            var pieces: [[UInt8]] = []
            while let piece = try reader.next() { pieces.append(piece) }
            return pieces
        }
    }

    private static let soup = [
        "'", "''", "\"", "`", "[", "]", "--", "/*", "*/", "/", "*", ";", ";;", " ", "\n", "\r\n", "\t", "-", "a", "é", "0",
        "CREATE", "TRIGGER", "TEMP", "END", ";END;", "EXPLAIN", "BEGIN", "SELECT 1", "create trigger x begin select 1;",
        "\u{0}",
        "x'00'", "\\", "$1", "_cf_",
    ]

    private func text(_ random: inout SeededGenerator) -> [UInt8] {
        var bytes: [UInt8] = []
        for _ in 0..<Int.random(in: 0...30, using: &random) {
            if Int.random(in: 0..<20, using: &random) == 0 {
                bytes.append(UInt8.random(in: 0...255, using: &random))
            } else {
                bytes += Array((Self.soup.randomElement(using: &random) ?? "").utf8)
            }
        }
        return bytes
    }

    @Test(arguments: 0..<4 as Range<UInt64>)
    func `loses nothing of any text, wherever the file is read in two`(_ number: UInt64) throws {
        let seed = UInt64.random(in: 0...UInt64.max) &+ number
        var random = SeededGenerator(seed: seed)
        for _ in 0..<50 {
            let text = text(&random)
            let whole = try pieces(text)
            #expect(whole.flatMap { $0 } == text, "seed \(seed)")
            // The same behind so much that a piece of the file ends within it.
            let padding =
                Array("-- ".utf8) + [UInt8](repeating: 0x20, count: (256 << 10) - 5 - Int.random(in: 0...40, using: &random))
            let padded = try pieces(padding + [0x0A, UInt8(ascii: ";")] + text)
            #expect(Array(padded.dropFirst()) == whole, "seed \(seed)")
        }
    }

    /// Where the reader sees the end of a statement, SQLite does: nothing of a piece is left over.
    @Test func `agrees with SQLite about where a statement ends`() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        let connection = try SQLiteConnection(path: ":memory:", .create)
        try connection.execute("CREATE TABLE t(a, b)")
        let statements = [
            "SELECT 1;", "INSERT INTO t VALUES('a;b', \"a\"\";\");", "SELECT [a;b] FROM (SELECT 1 AS [a;b]);",
            "-- x;y\nSELECT 2;",
            "/* ; */ SELECT 3 /* ' */;", "CREATE TRIGGER IF NOT EXISTS g AFTER INSERT ON t BEGIN SELECT 1; SELECT ';'; END;",
            "CREATE /* TABLE */ TEMP TRIGGER IF NOT EXISTS h AFTER INSERT ON t BEGIN DELETE FROM t; END;",
            "SELECT `a` AS `;` FROM t;",
            "CREATE TEMPORARY TABLE IF NOT EXISTS [trigger](a);",
            "EXPLAIN CREATE TRIGGER i AFTER INSERT ON t BEGIN SELECT 1; END;",
            "SELECT 'it''s;';", "SELECT CASE 1 WHEN 1 THEN 2 END;",
        ]
        for _ in 0..<300 {
            let chosen = (0..<8).map { _ in statements.randomElement(using: &random) ?? "" }
            let found = try pieces(Array(chosen.joined(separator: "\n").utf8))
            #expect(found.count == chosen.count, "seed \(seed)")
            for piece in found {
                var script = SQLiteScript(bytes: piece)
                _ = try connection.prepare(&script)?.step()
                #expect(script.isAtEnd, "\(String(decoding: piece, as: UTF8.self)), seed \(seed)")
            }
        }
    }

    @Test func `holds no more than a statement may have`() throws {
        let long = Array("SELECT '".utf8) + [UInt8](repeating: 0x61, count: 3 << 20) + Array("';".utf8)
        #expect(throws: D1Failure.statementTooLong) { try pieces(long) }
        #expect(throws: D1Failure.statementTooLong) { try pieces(Array(long.dropLast(2))) }
        #expect(throws: D1Failure.statementTooLong) {
            try pieces(Array(String(repeating: "SELECT 1 + 1 ", count: 200_000).utf8))
        }
        #expect(try pieces(Array(String(repeating: "SELECT 1;", count: 300_000).utf8)).count == 300_000)
    }

    /// The same soup through all that runs SQL texts: an answer or an error, and the database is as good as before.
    @Test func `any text is run or refused, and nothing is kept of what is refused`() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        try await withDatabase { (database, fixture) async throws in
            _ = try await database.exec("CREATE TABLE t(a)")
            let path = fixture.directory + "/soup.sql"
            for _ in 0..<250 {
                let bytes = text(&random)
                let sql = String(decoding: bytes, as: UTF8.self)
                _ = await failure { try await database.exec(sql) }
                _ = await failure { try await database.prepare(sql).run() }
                _ = try? await fixture.store.runEach([.init(sql: sql)], on: "main")
                _ = try? await fixture.store.runScript([SQLText.withoutTransaction(sql).text], on: "main")
                try Data(bytes).write(to: URL(filePath: path))
                _ = try? await fixture.store.importFile(path, into: "main")
                _ = try? await fixture.store.runScript(["INSERT INTO t VALUES(1)", sql, "SELEC"], on: "main")
            }
            #expect(try await database.prepare("SELECT count(*) n FROM t").first("n") == 0, "seed \(seed)")
            #expect(try await database.prepare("PRAGMA quick_check").first("quick_check") == "ok", "seed \(seed)")
        }
    }
}
