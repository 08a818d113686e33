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
            let found = try await results([.init(sql: "SELECT 1 AS a, 2 AS a WHERE ?", parameters: [.real(1)])], fixture)
            let raw = String(decoding: D1JSON.encode(found, .arrays), as: UTF8.self)
            #expect(raw.hasPrefix(#"[{"results":{"columns":["a","a"],"rows":[[1,2]]},"success":true,"meta":{"#))
            #expect(
                String(decoding: D1JSON.encode(found, .objects), as: UTF8.self).hasPrefix(
                    #"[{"results":[{"a":2}],"success":true"#))
            let none = try await results([.init(sql: "SELECT 1 AS a WHERE 0")], fixture)
            #expect(String(decoding: D1JSON.encode(none, .arrays), as: UTF8.self).contains(#"{"columns":["a"],"rows":[]}"#))
        }
    }

    @Test func `values and meta are written as the product writes them`() async throws {
        try await withDatabase { (_, fixture) async throws in
            var found = try await results(
                [.init(sql: "SELECT NULL a, X'00ff' b, X'' c, 'q\"\\\n\u{1}é' d, 9007199254740993 e, 1.0 f, 9e999 g, 0.5 h")],
                fixture)
            found[0].0.meta.duration = 0.25
            #expect(
                String(decoding: D1JSON.encode(found, .objects), as: UTF8.self) == #"""
                    [{"results":[{"a":null,"b":[0,255],"c":[],"d":"q\"\\\u000a\u0001é","e":9007199254740992,"f":1,"g":null,\#
                    "h":0.5}],"success":true,"meta":{"served_by":"edge.db","served_by_region":"WEUR","served_by_colo":"LOCAL",\#
                    "served_by_primary":true,"timings":{"sql_duration_ms":0.25},"duration":0.25,"changes":0,"last_row_id":0,\#
                    "changed_db":false,"size_after":4096,"rows_read":\#(found[0].0.meta.rowsRead),"rows_written":0,\#
                    "total_attempts":1}}]
                    """#)
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
