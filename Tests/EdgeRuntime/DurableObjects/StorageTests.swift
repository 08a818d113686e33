import DurableObjects
import Interfaces
import Testing

@MainActor struct StorageTests {
    struct Broken: Error {}

    func message(_ body: () throws -> Void) -> String {
        do { try body() } catch { return "\(error)" }
        return "nothing was thrown"
    }

    func message(_ body: () async throws -> Void) async -> String {
        do { try await body() } catch { return "\(error)" }
        return "nothing was thrown"
    }

    @Test func probe11_severalStatementsRunAndTheLastOneGetsTheValues() throws {
        let sql = try Fixture().storage.sql
        try sql.exec("CREATE TABLE t (a INTEGER)")
        let row = try sql.exec("INSERT INTO t VALUES (1); SELECT ?", 7).one()
        #expect(row.values == [.integer(7)])
        #expect(try sql.exec("SELECT count(*) AS n FROM t").one()["n"] == 1)
    }

    @Test(arguments: [
        ("BEGIN", "state.storage.transaction()"), ("COMMIT", "state.storage.transaction()"),
        ("SAVEPOINT a", "state.storage.transaction()"), ("CREATE TABLE _CF_x (a)", "not authorized: SQLITE_AUTH"),
        ("SELECT key FROM _cf_KV", "access to _cf_KV.key is prohibited"),
        ("SELECT sqlite_version()", "not authorized to use function: sqlite_version"),
        ("ATTACH 'x' AS y", "not authorized"), ("PRAGMA journal_mode = DELETE", "not authorized"),
        ("SELECT ?", "Wrong number of parameter bindings"), ("slect 1", "near \"slect\": syntax error"),
    ])
    func whatIsForbiddenSaysSo(_ query: String, _ expected: String) throws {
        let sql = try Fixture().storage.sql
        let text = message { try sql.exec(query) }
        #expect(text.contains(expected), "\(text)")
        #expect(try sql.exec("SELECT 1").one().values == [1])
    }

    @Test func probe12_oneOverNoneAndTwoRows() throws {
        let sql = try Fixture().storage.sql
        #expect(
            message { _ = try sql.exec("SELECT 1 WHERE 0").one() }
                == "Expected exactly one result from SQL query, but got no results.")
        #expect(
            message { _ = try sql.exec("SELECT 1 UNION ALL SELECT 2").one() }
                == "Expected exactly one result from SQL query, but got multiple results.")
    }

    @Test func probe13_whatIsTooLargeIsRefused() async throws {
        let fixture = try Fixture()
        let storage = fixture.storage
        let text = await message { try await storage.put("k", [UInt8](repeating: 1, count: 2_000_000)) }
        #expect(text.contains("too big"))
        #expect(try await storage.get("k", as: [UInt8].self) == nil)
        let many = (0..<129).map { "k\($0)" }
        #expect(await message { _ = try await storage.get(many, as: Int.self) }.contains("128"))
        #expect(await message { _ = try await storage.delete(many) }.contains("128"))
    }

    @Test func valuesKeepTheirTypesAndKeysTheirOrder() async throws {
        let storage = try Fixture().storage
        for key in ["b", "a", "é", "a\u{0301}", "aa", "z"] { try await storage.put(key, Int64.max) }
        try await storage.put("bytes", [UInt8]([1, 2, 3]))
        let listed = try await storage.list(ObjectListOptions(prefix: "a"), as: Int64.self).map(\.key)
        #expect(listed.map { Array($0.utf8) } == ["a", "aa", "a\u{0301}"].map { Array($0.utf8) })
        #expect(
            try await storage.list(ObjectListOptions(start: "b", end: "z", reverse: true, limit: 1), as: [UInt8].self).map(
                \.key) == ["bytes"])
        #expect(try await storage.get("a", as: Int64.self) == .max)
        #expect(try await storage.delete(["a", "nothing", "b"]) == 2)
        #expect(try storage.kv.delete("a") == false)
        #expect(
            await message { _ = try await storage.list(ObjectListOptions(limit: 0), as: Int.self) }
                == "List limit must be positive.")
    }

    @Test func aTurnIsOneTransactionThatBecomesDurable() async throws {
        let fixture = try Fixture()
        fixture.turns.holdsDisk = true
        try await fixture.storage.put("a", 1)
        try fixture.storage.sql.exec("CREATE TABLE t (a)")
        // Whoever finds the file as it is now sees nothing of an open turn.
        #expect(try await fixture.copied().storage.get("a", as: Int.self) == nil)
        await settle()
        #expect(try await fixture.copied().storage.get("a", as: Int.self) == 1)
        var isDurable = false
        let waiting = Task { @MainActor in
            try await fixture.storage.sync()
            isDurable = true
        }
        await settle()
        #expect(!isDurable)
        fixture.turns.releaseDisk()
        try await waiting.value
        #expect(fixture.turns.syncCount == 1)
    }

    @Test func manyTurnsShareOneSync() async throws {
        let fixture = try Fixture()
        fixture.turns.holdsDisk = true
        for number in 0..<20 {
            try await fixture.storage.put("k", number)
            await settle()
        }
        let waiting = Task { @MainActor in try await fixture.storage.sync() }
        await settle()
        fixture.turns.releaseDisk()
        try await waiting.value
        #expect(fixture.turns.syncCount == 2)
    }

    @Test func probe8_aDiskThatFailsResetsTheObject() async throws {
        let fixture = try Fixture()
        fixture.turns.fails = true
        try await fixture.storage.put("a", 1)
        let text = await message { try await fixture.storage.sync() }
        #expect(text.contains("could not be written"))
        #expect(fixture.turns.resets.count == 1)
        #expect(await message { _ = try await fixture.storage.get("a", as: Int.self) } == text)
    }

    @Test func whatIsThrownInATransactionIsTakenBack() async throws {
        let fixture = try Fixture()
        let storage = fixture.storage
        try await storage.put("a", 1)
        #expect(throws: Broken.self) {
            try storage.transactionSync {
                try storage.kv.put("a", 2)
                try? storage.transactionSync {
                    try storage.kv.put("b", 3)
                    throw Broken()
                }
                #expect(try storage.kv.get("b", as: Int.self) == nil)
                throw Broken()
            }
        }
        #expect(try storage.kv.get("a", as: Int.self) == 1)
        await #expect(throws: Broken.self) {
            try await storage.transaction { _ in
                try await storage.put("a", 5)
                await settle()
                throw Broken()
            }
        }
        await settle()
        #expect(try storage.kv.get("a", as: Int.self) == 1)
        #expect(fixture.turns.resets.isEmpty)
    }

    @Test func probe17_anAlarmOfATransactionThatFailsIsAsBefore() async throws {
        let storage = try Fixture().storage
        try await storage.setAlarm(5000)
        await #expect(throws: Broken.self) {
            try await storage.transaction { _ in
                try await storage.setAlarm(9000)
                throw Broken()
            }
        }
        #expect(try await storage.getAlarm() == 5000)
        try await storage.deleteAlarm()
        #expect(try await storage.getAlarm() == nil)
        #expect(await message { try await storage.setAlarm(0) } == "setAlarm() cannot be called with an alarm time <= 0")
    }

    @Test func rollbackMayBeCalledTwiceAndNotAfterwards() async throws {
        let storage = try Fixture().storage
        var kept: ObjectTransaction?
        try await storage.transaction { transaction in
            try storage.kv.put("a", 1)
            try transaction.rollback()
            try transaction.rollback()
            kept = transaction
        }
        #expect(try storage.kv.get("a", as: Int.self) == nil)
        let late = message { try kept?.rollback() }
        #expect(late.contains("already committed"))
        #expect(
            await message { try await storage.transaction { _ in try await storage.deleteAll() } }.contains(
                "within a transaction"))
    }

    @Test func aBrokenConstraintAtTheEndOfATurnResets() async throws {
        let fixture = try Fixture()
        try fixture.storage.sql.exec(
            "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p REFERENCES p (id) DEFERRABLE INITIALLY DEFERRED)")
        await settle()
        try fixture.storage.sql.exec("INSERT INTO c VALUES (1)")
        await settle()
        let reason = fixture.turns.resets.first.map(\.message) ?? "none"
        #expect(reason.contains("constraints were violated"))
        fixture.storage.close(DurableObjectError("closed"))
        let again = try Fixture(path: fixture.path)
        #expect(try again.storage.sql.exec("SELECT count(*) FROM c").one().values == [0])
    }

    @Test func deleteAllLeavesNothing() async throws {
        let storage = try Fixture().storage
        try storage.sql.exec(
            """
            CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p REFERENCES p (id)); CREATE VIEW v AS SELECT * FROM c;
            CREATE VIRTUAL TABLE words USING fts5 (text); CREATE TRIGGER g AFTER INSERT ON c BEGIN DELETE FROM p; END
            """)
        try storage.sql.exec(
            "DROP TRIGGER g; INSERT INTO p VALUES (1); INSERT INTO c VALUES (1); INSERT INTO words VALUES ('a')")
        try await storage.put("a", 1)
        try await storage.setAlarm(10)
        try await storage.deleteAll()
        await settle()
        #expect(try storage.sql.exec("SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE '%cf%'").one().values == [0])
        #expect(try await storage.list(as: Int.self).isEmpty)
        #expect(try await storage.getAlarm() == nil)
    }

    @Test func theSizeShrinksWithWhatIsDeleted() async throws {
        let storage = try Fixture().storage
        try await storage.put("a", [UInt8](repeating: 7, count: 1_000_000))
        await settle()
        let large = try storage.sql.databaseSize
        try await storage.delete("a")
        await settle()
        #expect(large > 1_000_000)
        #expect(try storage.sql.databaseSize < 100_000)
    }
}
