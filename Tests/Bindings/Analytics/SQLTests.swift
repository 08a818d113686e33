import Interfaces
import System
import Testing

@testable import StoresAnalytics

@Suite struct `SQL expressions` {
    @Test(arguments: [
        // Literals and operators.
        ("1", "1"), ("-1", "-1"), ("1.5", "1.5"), ("1e3", "1000"), ("'a''b'", "a'b"), (#"'a\'b\\'"#, #"a'b\\"#), ("true", "1"),
        ("FALSE", "0"), ("1 + 2 * 3", "7"), ("(1 + 2) * 3", "9"), ("10 - 4 - 3", "3"), ("7 / 2", "3.5"), ("7 % 4", "3"),
        ("7.5 % 4", "3.5"), ("- (2 + 3)", "-5"), ("1 = 1", "1"), ("1 == 2", "0"), ("1 != 2", "1"), ("1 <> 1", "0"),
        ("2 > 1.5", "1"),
        ("'b' > 'a'", "1"), ("1 = 1 AND 2 = 3", "0"), ("1 = 2 OR 2 = 2 AND 1 = 1", "1"), ("NOT 1 = 2", "1"),
        ("NOT NOT true", "1"), ("1 IN (2, 1)", "1"), ("'x' NOT IN ('y')", "1"), ("5 BETWEEN 1 AND 5", "1"),
        ("5 NOT BETWEEN 1 AND 5", "0"), ("1 BETWEEN 0 AND 2 AND 3 = 3", "1"), ("1 / 0", "inf"), ("-1 / 0 < 0", "1"),
        ("9223372036854775807 + 1", "-9223372036854775808"), ("1 -- comment\n + 1", "2"), ("1 /* x */ + 1", "2"),
        // Patterns.
        ("'error: x' LIKE 'error%'", "1"), ("'a.JPG' LIKE '%.jpg'", "0"), ("'a.JPG' ILIKE '%.jpg'", "1"),
        ("'log12' LIKE 'log__'", "1"), ("'log1' LIKE 'log__'", "0"), ("'abc' NOT LIKE '%b%'", "0"), ("'' LIKE '%'", "1"),
        (#"'50%' LIKE '50\%'"#, "1"), (#"'50x' LIKE '50\%'"#, "0"), ("'aXbXc' LIKE 'a%X%c'", "1"), ("'ü' LIKE '_'", "1"),
        // Functions.
        ("if(1 = 1, 'y', 'n')", "y"), ("IF(0, 1, 2.5)", "2.5"), ("intDiv(7, 2)", "3"), ("intDiv(-7, 2)", "-4"),
        ("intDiv(7.9, 2)", "3"), ("toUInt32('42')", "42"), ("toUInt32(3.9)", "3"), ("toUInt8(300)", "44"),
        ("round(5.5)", "6"), ("round(3.14, 1)", "3.1"), ("floor(-1.5)", "-2"), ("floor(3.14, 1)", "3.1"),
        ("ceil(3.11, 1)", "3.2"),
        ("pow(2, 10)", "1024"), ("ln(1)", "0"), ("log(1)", "0"), ("length('aü')", "2"), ("empty('')", "1"),
        ("lower('AÜ')", "aÜ"),
        ("lowerUTF8('AÜ')", "aü"), ("toUpper('aü')", "AÜ"), ("upper('aü')", "Aü"), ("startsWith('abc', 'ab')", "1"),
        ("endsWith('abc', 'bc')", "1"), ("endsWith('abc', 'ab')", "0"), ("position(':' IN 'hello: world')", "6"),
        ("position('x' IN 'abc')", "0"), ("substring('hello world', 6)", " world"),
        ("substring('hello: world', 1, position(':' IN 'hello: world')-1)", "hello"), ("substring('abc', -2, 1)", "b"),
        ("substring('abc', 9)", ""), ("format('{} and {}', 1, 'b')", "1 and b"), ("hex(255)", "FF"), ("bin(5)", "00000101"),
        ("hex('ab')", "6162"), ("bitAnd(12, 10)", "8"), ("bitOr(12, 10)", "14"), ("bitXor(12, 10)", "6"), ("bitNot(0)", "-1"),
        ("bitCount(7)", "3"), ("bitShiftLeft(1, 4)", "16"), ("bitShiftRight(16, 2)", "4"), ("bitTest(5, 2)", "1"),
        ("bitHammingDistance(7, 4)", "2"),
        // Times. The clock stands at 2026-01-01 00:00:00, a Thursday.
        ("now()", "2026-01-01 00:00:00"), ("NOW() - INTERVAL '1' DAY", "2025-12-31 00:00:00"), ("today()", "2026-01-01"),
        ("today() - 1", "2025-12-31"), ("now() + 90", "2026-01-01 00:01:30"), ("now() - toDateTime('2025-12-31')", "86400"),
        ("toDateTime('1981-04-12 12:00:04')", "1981-04-12 12:00:04"), ("toDateTime(355924804)", "1981-04-12 12:00:04"),
        ("toDateTime('355924804', 'Etc/UTC')", "1981-04-12 12:00:04"), ("toUnixTimestamp(toDateTime('1970-01-02'))", "86400"),
        ("toDateTime('2024-02-29') + INTERVAL '1' YEAR", "2025-02-28 00:00:00"),
        ("toDateTime('2025-01-31') + INTERVAL 1 MONTH", "2025-02-28 00:00:00"),
        ("toDateTime('2025-03-31') - INTERVAL '1' MONTH", "2025-02-28 00:00:00"),
        ("toStartOfInterval(toDateTime('2025-10-27 16:55:25'), INTERVAL '15' MINUTE)", "2025-10-27 16:45:00"),
        ("toStartOfInterval(toDateTime('2025-10-27 16:55:25'), INTERVAL '1' DAY, 'Etc/UTC')", "2025-10-27 00:00:00"),
        ("toStartOfInterval(toDateTime('2025-10-27 16:55:25'), INTERVAL '3' MONTH)", "2025-10-01 00:00:00"),
        ("toStartOfInterval(toDateTime('1969-12-31 23:59:59'), INTERVAL '1' HOUR)", "1969-12-31 23:00:00"),
        ("toStartOfYear(toDateTime('2025-10-27'))", "2025-01-01 00:00:00"),
        ("toStartOfMonth(toDateTime('2025-10-27'))", "2025-10-01 00:00:00"),
        ("toStartOfWeek(toDateTime('2025-10-29'))", "2025-10-27 00:00:00"),
        ("toStartOfWeek(toDateTime('2025-10-27'))", "2025-10-27 00:00:00"),
        ("toStartOfDay(toDateTime('2025-10-27 16:55:25'))", "2025-10-27 00:00:00"),
        ("toStartOfHour(toDateTime('2025-10-27 16:55:25'))", "2025-10-27 16:00:00"),
        ("toStartOfFifteenMinutes(toDateTime('2025-10-27 16:55:25'))", "2025-10-27 16:45:00"),
        ("toStartOfTenMinutes(toDateTime('2025-10-27 16:55:25'))", "2025-10-27 16:50:00"),
        ("toStartOfFiveMinutes(toDateTime('2025-10-27 16:55:25'))", "2025-10-27 16:55:00"),
        ("toStartOfMinute(toDateTime('2025-10-27 16:55:25'))", "2025-10-27 16:55:00"),
        ("toYYYYMM(toDateTime('2025-10-27 16:55:25'))", "202510"), ("toYear(now())", "2026"), ("toMonth(now())", "1"),
        ("toDayOfMonth(now() - 1)", "31"), ("toDayOfWeek(toDateTime('2025-10-27'))", "1"),
        ("toDayOfWeek(toDateTime('2025-11-02'))", "7"), ("toHour(toDateTime('2025-10-27 09:11:13'))", "9"),
        ("toMinute(toDateTime('2025-10-27 09:11:13'))", "11"), ("toSecond(toDateTime('2025-10-27 09:11:13'))", "13"),
        ("extract(SECOND FROM toDateTime('2022-06-06 11:30:15'))", "15"), ("EXTRACT(YEAR from now())", "2026"),
        ("formatDateTime(now(), '%Y-%m-%d')", "2026-01-01"),
        (
            "formatDateTime(toDateTime('2025-03-04 15:06:07'), '%d.%m.%y %H:%i:%S %p %I %j %u %F %T %%')",
            "04.03.25 15:06:07 PM 03 063 2 2025-03-04 15:06:07 %"
        ),
        ("now() > '2025-12-31 23:59:59'", "1"), ("now() = toUnixTimestamp(now())", "1"), ("today() = now()", "1"),
        ("toDateTime(99999999999999999) > now()", "1"),
        ("toStartOfInterval(toDateTime(-99999999999999999), INTERVAL '1000000000' YEAR) < now()", "1"),
    ]) func `are worth what the reference says`(expression: String, value: String) async throws {
        let fixture = try AnalyticsFixture()
        #expect(try await fixture.rows("SELECT \(expression)") == [value])
    }

    @Test(arguments: [
        ("1", "Int64"), ("1.5", "Float64"), ("'a'", "String"), ("1 = 1", "UInt8"), ("now()", "DateTime"), ("today()", "Date"),
        ("count()", "UInt64"), ("sum(1.5)", "Float64"), ("topK(3)('a')", "Array(String)"), ("toUInt32(1)", "UInt32"),
        ("length('a')", "UInt64"), ("if(1, 1, 2.5)", "Float64"), ("1 / 2", "Float64"), ("avg(1)", "Float64"),
    ]) func `have the types that the answer names`(expression: String, type: String) async throws {
        let fixture = try AnalyticsFixture()
        #expect(try await fixture.query("SELECT \(expression) AS x").hasPrefix(#"{"meta":[{"name":"x","type":"\#(type)"}]"#))
    }

    @Test(arguments: [
        ("", "line 1, column 1: expected SELECT or SHOW, found the end of the query"),
        ("SELECT", "line 1, column 7: expected an expression, found the end of the query"),
        ("SELECT 1,", "line 1, column 10: expected an expression, found the end of the query"),
        ("SELECT 1 2", "line 1, column 10: expected the end of the query, found \"2\""),
        ("SELECT 'a", "line 1, column 8: the text has no end"),
        ("SELECT 'ü' ?", "line 1, column 12: unexpected character \"?\""),
        ("SELECT /* 1", "line 1, column 8: the comment has no end"),
        ("SELECT 1x", "line 1, column 8: \"1\" is followed by a letter"),
        ("SELECT 1\nFROM d\nWHERE\n  FROM", "line 4, column 3: expected an expression, found \"FROM\""),
        ("SELECT 1 FROM d", "line 1, column 15: unknown table \"d\"; did you mean \"t\"?"),
        ("SELECT 1 FROM missing", "line 1, column 15: unknown table \"missing\": nothing was written to it"),
        ("SELECT blob21 FROM t", "line 1, column 8: unknown column \"blob21\"; did you mean \"blob1\"?"),
        ("SELECT x", "line 1, column 8: unknown column \"x\": there is no FROM"),
        ("SELECT * ", "\"*\" needs a FROM"),
        ("SELECT summ(double1) FROM t", "line 1, column 8: unknown function \"summ\"; did you mean \"sum\"?"),
        (
            "SELECT double1, count() FROM t",
            "line 1, column 8: column \"double1\" must stand in GROUP BY or inside of an aggregate function"
        ),
        (
            "SELECT count() FROM t WHERE sum(double1) > 1",
            "line 1, column 29: aggregate function \"sum\" can't stand here: it can in SELECT, HAVING and ORDER BY"
        ),
        ("SELECT sum(avg(double1)) FROM t", "line 1, column 12: an aggregate function can't be inside of another"),
        ("SELECT 1 + 'a'", "line 1, column 8: \"+\" can't be used between Int64 and String"),
        ("SELECT blob1 > 1 FROM t", "line 1, column 8: \">\" can't be used between String and Int64"),
        ("SELECT 1 FROM t WHERE blob1", "line 1, column 23: expected a condition, found String"),
        ("SELECT 1 % 0", "line 1, column 12: division by zero"),
        ("SELECT intDiv(1, 0)", "line 1, column 18: intDiv: division by zero"),
        ("SELECT length(1)", "line 1, column 15: length: expected a text, got Int64"),
        ("SELECT length()", "line 1, column 8: length: takes 1 argument, got 0"),
        ("SELECT round(1, 2, 3)", "line 1, column 8: round: takes 1 to 2 arguments, got 3"),
        ("SELECT toUInt32('x')", "line 1, column 17: toUInt32: \"x\" is no number"),
        (
            "SELECT toDateTime('2025-13-01')",
            "line 1, column 19: toDateTime: \"2025-13-01\" is no time: YYYY-MM-DD hh:mm:ss or seconds are expected"
        ),
        (
            "SELECT toDateTime(1, 'Europe/Berlin')",
            "line 1, column 22: toDateTime: unsupported timezone \"Europe/Berlin\": times are in Etc/UTC here, see SHOW TIMEZONES"
        ),
        ("SELECT toDateTime(1, blob1) FROM t", "line 1, column 22: toDateTime: the timezone must be a constant"),
        (
            "SELECT toStartOfInterval(now(), INTERVAL '0' DAY)",
            "line 1, column 33: toStartOfInterval: the interval must be a constant longer than nothing"
        ),
        ("SELECT INTERVAL '1' DAY", "line 1, column 8: an interval is no result: add it to a time"),
        (
            "SELECT INTERVAL '1' LIGHTYEAR",
            "line 1, column 21: expected YEAR, MONTH, DAY, HOUR, MINUTE or SECOND, found \"LIGHTYEAR\""
        ),
        (
            "SELECT quantileExactWeighted(2)(double1, 1) FROM t",
            "line 1, column 8: quantileExactWeighted: the level must be a constant from 0 to 1, as in quantileExactWeighted(0.5)(double1, _sample_interval)"
        ),
        ("SELECT topK(0)(double1) FROM t", "line 1, column 8: topK: the count must be a whole number from 1 to 65535"),
        ("SELECT length(2)('a')", "line 1, column 8: \"length\" is no aggregate function"),
        ("SELECT 1 FORMAT CSV", "line 1, column 17: unknown format \"CSV\": JSON, JSONEachRow and TabSeparated are known"),
        (
            "SELECT 1 FROM t UNION SELECT 2",
            "line 1, column 17: UNION is not supported: a query reads one table or one subquery"
        ),
        ("SELECT 1 FROM t JOIN u", "line 1, column 17: JOIN is not supported: a query reads one table or one subquery"),
        ("SELECT 1 FROM t WHERE 1 IN (SELECT 1)", "line 1, column 29: IN takes a list of values, not a subquery"),
        ("SELECT 1 LIMIT -1", "line 1, column 16: expected a number of rows or ALL, found \"-\""),
        ("SELECT 1 ORDER BY 2", "line 1, column 19: position 2 is not in the SELECT list"),
        ("SHOW COLUMNS", "line 1, column 6: expected TABLES, TIMEZONES or TIMEZONE, found \"COLUMNS\""),
        ("DELETE FROM t", "line 1, column 1: expected SELECT or SHOW, found \"DELETE\""),
        ("SELECT format('{', 1)", "line 1, column 8: format: the text has fewer {} than there are values"),
    ]) func `are refused with their place`(query: String, message: String) async throws {
        let fixture = try AnalyticsFixture()
        fixture.store.write(AnalyticsPoint(), to: "t")
        #expect(await fixture.failure(query) == message)
    }

    @Test func `may be long, but not deep, nor grow by their aliases`() async throws {
        let fixture = try AnalyticsFixture()
        let long = (0..<3000).map { "1 = \($0)" }.joined(separator: " OR ")
        #expect(try await fixture.rows("SELECT \(long)") == ["1"])
        let deep = String(repeating: "(", count: 10_000) + "1" + String(repeating: ")", count: 10_000)
        #expect(await fixture.failure("SELECT \(deep)").contains("nested more than 200 levels deep"))
        #expect(await fixture.failure("SELECT \(String(repeating: "- ", count: 10_000))1").contains("nested more than 200"))
        #expect(await fixture.failure("SELECT \(String(repeating: "NOT ", count: 10_000))1").contains("nested more than 200"))
        #expect(await fixture.failure("SELECT 1\(String(repeating: " + 1", count: 10_000))").contains("nested more than 200"))
        let subqueries = String(repeating: "SELECT 1 FROM (", count: 1000) + "SELECT 1" + String(repeating: ")", count: 1000)
        #expect(await fixture.failure(subqueries).contains("nested more than 200"))
        let doubling = "1 AS a0" + (1..<60).map { ", a\($0 - 1) + a\($0 - 1) AS a\($0)" }.joined()
        #expect(await fixture.failure("SELECT \(doubling)").contains("aliases make it too large"))
        #expect(
            await fixture.failure("SELECT '\(String(repeating: "x", count: 70_000))'").contains("at most 65536 are allowed"))
    }

    /// Whatever the text is, there is an answer or an error.
    @Test(arguments: [1, 2, 3, 4]) func `never bring the node down`(seed: UInt64) async throws {
        var generator = SeededGenerator(seed: seed)
        let words = [
            "SELECT", "FROM", "t", "WHERE", "GROUP BY", "HAVING", "ORDER BY", "LIMIT", "OFFSET", "DISTINCT", "(", ")", ",", "*",
            "+",
            "-", "/", "%", "=", "<", "AND", "OR", "NOT", "IN", "BETWEEN", "LIKE", "AS", "x", "double1", "blob1", "timestamp",
            "1",
            "-9223372036854775808", "9223372036854775807", "0", "1e308", "'a'", "'%'", "count()", "sum(", "min(", "topK(2)(",
            "quantileExactWeighted(0.5)(", "if(", "intDiv(", "toDateTime(", "now()", "INTERVAL '1' MONTH", "substring(",
            "round(",
            "formatDateTime(", "toStartOfInterval(", "bitShiftLeft(", "DESC", ";", "FORMAT JSON",
        ]
        let fixture = try AnalyticsFixture()
        for number in 0..<5 {
            fixture.store.write(AnalyticsPoint(blobs: ["b\(number)"], doubles: [Double(number)]), to: "t")
        }
        for _ in 0..<1500 {
            var text = Int.random(in: 0..<3, using: &generator) == 0 ? "" : "SELECT"
            for _ in 0..<Int.random(in: 1...14, using: &generator) {
                text += " " + (words.randomElement(using: &generator) ?? "")
            }
            _ = await fixture.failure(text)
        }
    }
}

@Suite struct `SQL queries` {
    /// Twelve points of three cities, one each hour from 2026-01-01 00:00:00.
    private func readings() async throws -> AnalyticsFixture {
        let fixture = try AnalyticsFixture()
        let cities = ["Rome", "Oslo", "Kyiv"]
        for hour in 0..<12 {
            fixture.store.write(
                AnalyticsPoint(
                    indexes: ["id\(hour % 2)"], blobs: [cities[hour % 3], nil, "x\ty"], doubles: [Double(hour), 0.5]),
                to: "readings")
            fixture.clock.advance(by: .seconds(3600))
        }
        return fixture
    }

    @Test(arguments: [
        ("SELECT count() FROM readings", ["12"]), ("SELECT COUNT(*) FROM readings WHERE blob1 = 'Oslo'", ["4"]),
        ("SELECT blob1, sum(double1) FROM readings GROUP BY blob1 ORDER BY blob1", ["Kyiv\t26", "Oslo\t22", "Rome\t18"]),
        (
            "SELECT blob1 AS city, avg(double1) AS mean FROM readings GROUP BY city HAVING mean > 5 ORDER BY mean DESC",
            ["Kyiv\t6.5", "Oslo\t5.5"]
        ),
        ("SELECT blob1 FROM readings GROUP BY 1 ORDER BY sum(double1) DESC LIMIT 1", ["Kyiv"]),
        ("SELECT double1 FROM readings ORDER BY double1 DESC LIMIT 3 OFFSET 1", ["10", "9", "8"]),
        ("SELECT double1 FROM readings LIMIT 2", ["0", "1"]), ("SELECT double1 FROM readings OFFSET 10", ["10", "11"]),
        ("SELECT double1 FROM readings LIMIT 0", []), ("SELECT double1 FROM readings WHERE double1 > 10 LIMIT ALL", ["11"]),
        ("SELECT DISTINCT blob1 FROM readings ORDER BY blob1", ["Kyiv", "Oslo", "Rome"]),
        ("SELECT DISTINCT index1, blob2 FROM readings", ["id0\t", "id1\t"]),
        ("SELECT count(DISTINCT blob1), sum(DISTINCT double2), avg(DISTINCT double2) FROM readings", ["3\t0.5\t0.5"]),
        ("SELECT min(double1), max(double1), min(blob1), max(timestamp) FROM readings", ["0\t11\tKyiv\t2026-01-01 11:00:00"]),
        (
            "SELECT countIf(double1 > 8), sumIf(double1, blob1 = 'Rome'), avgIf(double1, double1 < 2) FROM readings",
            ["3\t18\t0.5"]
        ),
        ("SELECT argMax(blob1, double1), argMin(blob1, double1) FROM readings", ["Kyiv\tRome"]),
        ("SELECT first_value(double1), last_value(double1) FROM readings", ["0\t11"]),
        ("SELECT first_value(double1) FROM readings ORDER BY timestamp DESC", ["11"]),
        ("SELECT quantileExactWeighted(0.5)(double1, _sample_interval) FROM readings", ["5"]),
        (
            "SELECT quantileExactWeighted(0.95)(double1, _sample_interval), quantileWeighted(0, double1, 1) FROM readings",
            ["11\t0"]
        ),
        ("SELECT quantileExactWeighted(0.5)(double1, double1) FROM readings", ["8"]),
        ("SELECT topK(2)(blob1) FROM readings WHERE double1 < 5", ["['Oslo','Rome']"]),
        ("SELECT topKWeighted(1)(blob1, double1) FROM readings", ["['Kyiv']"]),
        (
            "SELECT toStartOfInterval(timestamp, INTERVAL '4' HOUR) AS t, sum(_sample_interval) AS n FROM readings GROUP BY t ORDER BY t",
            ["2026-01-01 00:00:00\t4", "2026-01-01 04:00:00\t4", "2026-01-01 08:00:00\t4"]
        ),
        // The alias wins over the column, but not inside of itself.
        (
            "SELECT toStartOfInterval(timestamp, INTERVAL '1' DAY) AS timestamp, count() FROM readings GROUP BY timestamp",
            ["2026-01-01 00:00:00\t12"]
        ),
        ("SELECT sum(double1) AS double1 FROM readings WHERE double1 > 9", ["21"]),
        ("SELECT double1 * 1.8 + 32 AS f FROM readings WHERE f > 50", ["51.8"]),
        // The clock stands at noon.
        ("SELECT count() FROM readings WHERE timestamp >= NOW() - INTERVAL '3' HOUR", ["3"]),
        ("SELECT count() FROM readings WHERE timestamp < '2026-01-01 02:00:00' AND '2026-01-01 00:30:00' < timestamp", ["1"]),
        ("SELECT double1 FROM readings WHERE timestamp = toDateTime('2026-01-01 07:00:00')", ["7"]),
        ("SELECT count() FROM readings WHERE timestamp > NOW() OR double1 = 3", ["1"]),
        ("SELECT count() FROM readings WHERE timestamp > NOW() AND timestamp < NOW() - INTERVAL '1' DAY", ["0"]),
        ("SELECT max(n) FROM (SELECT blob1 AS city, count() AS n FROM readings GROUP BY city)", ["4"]),
        (
            "SELECT city, n + 1 FROM (SELECT blob1 AS city, count() AS n FROM readings GROUP BY city) WHERE city LIKE '%o%' ORDER BY 1",
            ["Oslo\t5", "Rome\t5"]
        ),
        ("SELECT * FROM (SELECT 1 AS a, 'b' AS b)", ["1\tb"]),
        (
            "SELECT dataset, _sample_interval, index1, blob2, blob20, double20 FROM readings LIMIT 1",
            ["readings\t1\tid0\t\t\t0"]
        ),
        (#"SELECT blob3 FROM readings LIMIT 1"#, [#"x\ty"#]),
        ("SELECT count(), sum(double1), avg(double1), max(blob1) FROM readings WHERE false", ["0\t0\tnan\t"]),
        ("SELECT blob1, count() FROM readings WHERE false GROUP BY blob1", []),
        ("SELECT sum(double1) / sum(_sample_interval) FROM readings", ["5.5"]),
        ("SELECT SUM(_sample_interval * double1) FROM readings;", ["66"]),
        (
            "SELECT if(double1 < 6, 'low', 'high') AS level, count() FROM readings GROUP BY level ORDER BY level",
            ["high\t6", "low\t6"]
        ),
        ("SELECT intDiv(toUInt32(timestamp), 3600) * 3600 AS t FROM readings ORDER BY t DESC LIMIT 1", ["1767265200"]),
        ("SHOW TABLES", ["readings"]), ("SHOW TIMEZONE", ["Etc/UTC"]),
    ]) func `have the rows that the reference says`(query: String, rows: [String]) async throws {
        let fixture = try await readings()
        #expect(try await fixture.rows(query.hasSuffix(";") ? String(query.dropLast()) : query) == rows)
    }

    @Test func `are answered in the format that they ask for`() async throws {
        let fixture = try AnalyticsFixture()
        fixture.store.write(AnalyticsPoint(blobs: ["a\"\u{1}ü\n"], doubles: [.nan, 1.5]), to: "t")
        let query = "SELECT count() AS n, max(blob1) AS b, sum(double1) AS x, sum(double2) AS y, topK(blob1) AS k FROM t"
        let row = #"{"n":"1","b":"a\"\u0001ü\n","x":null,"y":1.5,"k":["a\"\u0001ü\n"]}"#
        let meta =
            #"{"name":"n","type":"UInt64"},{"name":"b","type":"String"},{"name":"x","type":"Float64"},"#
            + #"{"name":"y","type":"Float64"},{"name":"k","type":"Array(String)"}"#
        #expect(try await fixture.query(query) == "{\"meta\":[\(meta)],\"data\":[\(row)],\"rows\":1}\n")
        #expect(try await fixture.query(query + " FORMAT JSON") == fixture.query(query + " format json;"))
        #expect(try await fixture.query(query + " FORMAT JSONEachRow") == row + "\n")
        #expect(try await fixture.query("SELECT 1, 'a\\tb' FORMAT TabSeparated") == "1\ta\\tb\n")
        #expect(try await fixture.query("SHOW TIMEZONE FORMAT JSONEachRow") == #"{"timezone":"Etc/UTC"}"# + "\n")
        #expect(
            try await fixture.query("SELECT 1 FROM t WHERE false")
                == #"{"meta":[{"name":"1","type":"Int64"}],"data":[],"rows":0}"# + "\n")
        #expect(try await fixture.store.query("SELECT 1").contentType == "application/json")
    }

    @Test(arguments: [
        "SELECT blob1 FROM t", "SELECT DISTINCT blob1 FROM t", "SELECT blob1, count() FROM t GROUP BY blob1",
        "SELECT count(DISTINCT blob1) FROM t", "SELECT topK(blob1) FROM t", "SELECT first_value(blob1) FROM t ORDER BY blob2",
        "SELECT quantileExactWeighted(0.5)(double1, 1) FROM t", "SELECT blob1 FROM (SELECT blob1 FROM t)",
        "SELECT blob1 FROM t ORDER BY blob1",
    ]) func `stay within their memory`(query: String) async throws {
        var options = EmbeddedAnalyticsStore.Options()
        options.queries.bytesMax = 1 << 20
        let fixture = try AnalyticsFixture(options)
        for number in 0..<20_000 {
            fixture.store.write(
                AnalyticsPoint(blobs: ["some text that is long: \(number)"], doubles: [Double(number)]), to: "t")
        }
        #expect(await fixture.failure(query).contains("more than 1 MiB of memory"))
        // What is asked for is little: all of it may be looked at.
        #expect(
            try await fixture.rows("SELECT blob1 FROM t ORDER BY double1 DESC LIMIT 1") == ["some text that is long: 19999"])
        #expect(try await fixture.rows("SELECT sum(double1), max(blob1) FROM t") == ["199990000\tsome text that is long: 9999"])
    }

    @Test func `are as many as may wait, and end in time`() async throws {
        var options = EmbeddedAnalyticsStore.Options()
        options.queries.waitingMax = 0
        let busy = try AnalyticsFixture(options)
        #expect(await busy.failure("SELECT 1") == "too many queries are waiting; try again later")
        options.queries.waitingMax = 1
        options.queries.time = .seconds(-1)
        let late = try AnalyticsFixture(options)
        for _ in 0..<2000 { late.store.write(AnalyticsPoint(), to: "t") }
        #expect(await late.failure("SELECT count() FROM t").contains("the query took longer than"))
        // The place is free again.
        #expect(try await late.rows("SELECT 1") == ["1"])
    }

    /// Groups, filters and orders of random points against plain loops.
    @Test(arguments: [1, 2, 3, 4]) func `agree with a slow model`(seed: UInt64) async throws {
        var generator = SeededGenerator(seed: seed)
        let fixture = try AnalyticsFixture()
        var points: [(group: String, value: Double, hour: Int)] = []
        for _ in 0..<500 {
            let point = (
                group: "g\(Int.random(in: 0..<7, using: &generator))",
                value: Double(Int.random(in: -20...20, using: &generator)),
                hour: Int(fixture.clock.now().nanoseconds / 3_600_000_000_000)
            )
            points.append(point)
            fixture.store.write(AnalyticsPoint(blobs: [point.group], doubles: [point.value]), to: "t")
            if Int.random(in: 0..<5, using: &generator) == 0 {
                fixture.clock.advance(by: .seconds(Int64.random(in: 1...2000, using: &generator)))
            }
        }
        for _ in 0..<20 {
            let (low, from) = (Int.random(in: -20...20, using: &generator), Int.random(in: 0...40, using: &generator))
            let start = 1_767_225_600 + from * 3600
            let chosen = points.filter { $0.value >= Double(low) && $0.hour >= from }
            let groups = Dictionary(grouping: chosen, by: \.group).mapValues { $0.map(\.value) }
            let expected = groups.filter { $0.value.count > 2 }.sorted { $0.key > $1.key }.map { name, values in
                "\(name)\t\(values.count)\t\(Int(values.reduce(0, +)))\t\(Int(values.min() ?? 0))\t\(Set(values).count)"
            }
            let rows = try await fixture.rows(
                "SELECT blob1 AS g, count(), sum(double1), min(double1), count(DISTINCT double1) FROM t "
                    + "WHERE double1 >= \(low) AND timestamp >= toDateTime(\(start)) GROUP BY g HAVING count() > 2 ORDER BY g DESC"
            )
            #expect(rows == expected, "seed \(seed), low \(low), from \(from)")
            let limit = Int.random(in: 0...30, using: &generator)
            let sorted = try await fixture.rows("SELECT double1 FROM t WHERE double1 >= \(low) ORDER BY double1 LIMIT \(limit)")
            let values = points.map(\.value).filter { $0 >= Double(low) }.sorted().prefix(limit)
            #expect(sorted == values.map { "\(Int($0))" }, "seed \(seed), low \(low), limit \(limit)")
        }
    }
}
