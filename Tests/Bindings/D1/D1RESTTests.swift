import Testing

@testable import Interfaces
@testable import StoresD1

/// What the REST interface asks of the store.
@Suite struct `D1 results for REST` {
    private func results(
        _ statements: [D1Request.Statement], _ fixture: Fixture
    ) async throws -> [(D1Result, columns: [String])] {
        try D1ReplyReader(decoding: try await fixture.store.runEach(statements, on: "main").bytes).results(columns: true)
    }

    private func json(_ statements: [D1Request.Statement], _ shape: D1JSON.Shape, _ fixture: Fixture) async throws -> String {
        let answer = try await fixture.store.runEach(statements, on: "main")
        var pieces = D1JSONPieces(answer.bytes, shape, region: fixture.store.region)
        return String(decoding: pieces.all(), as: UTF8.self)
    }

    private func message(_ statements: [D1Request.Statement], _ fixture: Fixture) async -> String? {
        do { _ = try await fixture.store.runEach(statements, on: "main") } catch { return error.text }
        return nil
    }

    @Test func `probe 20: each statement of a text has its result`() async throws {
        try await withDatabase { (_, fixture) async throws in
            let found = try await results([.init(sql: "SELECT 1 AS a; SELECT 2 AS b")], fixture)
            #expect(found.map { $0.0.results.map(\.values) } == [[[1]], [[2]]] && found.map(\.columns) == [["a"], ["b"]])
            #expect(await message([.init(sql: "SELEC")], fixture)?.contains("syntax error") == true)
            let mixed = try await results(
                [
                    .init(sql: "CREATE TABLE t(a); INSERT INTO t VALUES(1),(2); -- comment\n"),
                    .init(sql: "INSERT INTO t VALUES(3); SELECT a FROM t WHERE a > ?", parameters: [.real(1)]),
                ], fixture)
            #expect(mixed.map(\.0.meta.changes) == [0, 2, 1, 0])
            #expect(mixed.last?.0.results.map(\.values) == [[2], [3]])
            #expect(
                await message([.init(sql: "SELECT ?; SELECT ?", parameters: [1])], fixture)
                    == "When executing multiple SQL statements in a single call, only the last statement can have parameters.")
            #expect(await message([], fixture) == "No SQL statements detected.")
            #expect(await message([.init(sql: " ; -- nothing")], fixture) == "No SQL statements detected.")
            #expect(
                await message([.init(sql: "SELECT 1; SELECT ?")], fixture)
                    == "Wrong number of parameter bindings for SQL query.")
        }
    }

    @Test func `probe 21: of a batch whose second statement fails nothing is kept`() async throws {
        try await withDatabase { (database, fixture) async throws in
            _ = try await database.exec("CREATE TABLE t(a UNIQUE)")
            let insert = D1Request.Statement(sql: "INSERT INTO t VALUES(?)", parameters: [.real(1)])
            #expect(await message([insert, insert], fixture)?.hasPrefix("UNIQUE constraint failed: t.a") == true)
            #expect(try await database.prepare("SELECT count(*) n FROM t").first("n") == 0)
        }
    }

    @Test func `probe 22: raw keeps all columns, query the last of a name`() async throws {
        try await withDatabase { (_, fixture) async throws in
            let twins = [D1Request.Statement(sql: "SELECT 1 AS a, 2 AS b, 'x' AS a WHERE ?", parameters: [.real(1)])]
            #expect(
                try await json(twins, .arrays, fixture).hasPrefix(
                    #"[{"results":{"columns":["a","b","a"],"rows":[[1,2,"x"]]},"success":true,"meta":{"#))
            #expect(
                try await json(twins, .objects, fixture).hasPrefix(#"[{"results":[{"a":"x","b":2}],"success":true"#))
            let none = [D1Request.Statement(sql: "SELECT 1 AS a WHERE 0")]
            #expect(try await json(none, .arrays, fixture).contains(#"{"columns":["a"],"rows":[]}"#))
            #expect(try await json(none, .objects, fixture).contains(#"{"results":[],"#))
            let rows = [D1Request.Statement(sql: "SELECT 1 AS a, x'01' AS a UNION ALL SELECT 2, NULL; SELECT 3 AS a")]
            let text = try await json(rows, .objects, fixture)
            #expect(text.contains(#"[{"a":[1]},{"a":null}]"#) && text.contains(#"},{"results":[{"a":3}],"#))
        }
    }

    @Test func `values and meta are written as the product writes them`() async throws {
        try await withDatabase { (_, fixture) async throws in
            let all = [
                D1Request.Statement(
                    sql: "SELECT NULL a, X'00ff' b, X'' c, 'q\"\\\n\u{1}é' d, 9007199254740993 e, 1.0 f, 9e999 g, 0.5 h")
            ]
            let found = try await results(all, fixture)
            #expect(
                try await json(all, .objects, fixture) == #"""
                    [{"results":[{"a":null,"b":[0,255],"c":[],"d":"q\"\\\u000a\u0001é","e":9007199254740992,"f":1,"g":null,\#
                    "h":0.5}],"success":true,"meta":{"served_by":"edge.db","served_by_region":"WEUR","served_by_colo":"LOCAL",\#
                    "served_by_primary":true,"timings":{"sql_duration_ms":0},"duration":0,"changes":0,"last_row_id":0,\#
                    "changed_db":false,"size_after":4096,"rows_read":\#(found[0].0.meta.rowsRead),"rows_written":0,\#
                    "total_attempts":1}}]
                    """#)
        }
    }

    @Test func `long values are written in pieces, and what isn't UTF-8 is repaired`() async throws {
        try await withDatabase { (_, fixture) async throws in
            // Characters of two bytes behind an odd number of bytes: pieces end inside of some.
            let text = "x" + String(repeating: "é", count: 70_000)
            let long = [
                D1Request.Statement(
                    sql: "SELECT zeroblob(40000) b, ? t, CAST(X'41ff42' AS TEXT) u", parameters: [.text(text)])
            ]
            let zeros = "[" + Array(repeating: "0", count: 40_000).joined(separator: ",") + "]"
            let whole = try await json(long, .arrays, fixture)
            #expect(whole.contains("[[\(zeros),\"\(text)\",\"A\u{FFFD}B\"]]"))
            let answer = try await fixture.store.runEach(long, on: "main")
            var pieces = D1JSONPieces(answer.bytes, .arrays, region: "WEUR")
            var sizes: [Int] = []
            while let piece = pieces.next() { sizes.append(piece.count) }
            #expect(sizes.count > 2 && sizes.allSatisfy { $0 > 0 && $0 <= 192 << 10 })
            #expect(sizes.reduce(0, +) == whole.utf8.count)
        }
    }

    @Test(arguments: [
        (1.0, "1"), (-0.0, "0"), (1e21, "1e+21"), (1e20, "100000000000000000000"),
        (123_456_789_012_345_683_968, "123456789012345680000"),
        (1e-6, "0.000001"), (1e-7, "1e-7"), (1.5e-7, "1.5e-7"), (-1.25, "-1.25"), (0.1, "0.1"), (123.456, "123.456"),
        (1.2345e25, "1.2345e+25"), (Double.leastNonzeroMagnitude, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (9_007_199_254_740_992, "9007199254740992"), (100, "100"), (1234.5, "1234.5"), (.infinity, "null"), (.nan, "null"),
    ])
    func `a number is printed as JavaScript prints it`(_ number: Double, _ text: String) {
        #expect(D1JSON.number(number) == text)
    }

    @Test func `names that differ in bytes only are two columns`() async throws {
        try await withDatabase { (database, _) async throws in
            let composed = "\u{e9}"
            let decomposed = "e\u{301}"
            let row = try #require(try await database.prepare("SELECT 1 AS \"\(composed)\", 2 AS \"\(decomposed)\"").first())
            #expect(row[composed] == 1 && row[decomposed] == 2 && row.object.map(\.value) == [1, 2])
        }
    }
}
