import Observability
import System
import Testing

@testable import Interfaces
@testable import StoresD1

/// Spec: d1, section 8: databases of an account, and what they take together.
@Suite struct `D1 quotas` {
    private final class Warnings: LogSink {
        let all = Shared<[String]>([])
        func write(_ record: LogRecord) {
            let line = record.message
            if record.level == .warning { all.update { $0.append(line) } }
        }
    }

    private func limits(databases: Int = 50_000, bytes: Int64 = 250_000_000_000) -> D1Limits {
        var limits = D1Limits()
        limits.databasesMax = databases
        limits.tenantBytesMax = bytes
        limits.timeTravel = .seconds(86_400)
        return limits
    }

    @Test func `one database too many is refused, and a deleted one gives its place back`() async throws {
        let fixture = try Fixture(limits: limits(databases: 2))
        let create = "CREATE TABLE t(x)"
        let refused = "D1_EXEC_ERROR: System limit reached: databases per account (2)"
        _ = try await fixture.database("a").exec(create)
        _ = try await fixture.database("b").exec(create)
        #expect(await failure { _ = try await fixture.database("c").exec(create) } == refused)
        #expect(throws: D1Failure.tooManyDatabases(2)) { try fixture.store.checkRoom(for: ["a", "c"]) }
        try fixture.store.checkRoom(for: ["a", "b"])
        // Nothing was made of it, and those that are there go on.
        await #expect(throws: D1Failure.tooManyDatabases(2)) { try await fixture.store.branch("a", at: nil, to: "c") }
        _ = try await fixture.database("a").exec("INSERT INTO t VALUES(1)")
        try await fixture.store.delete("b")
        // A branch that fails leaves no place taken.
        await #expect(throws: D1Failure.self) { try await fixture.store.branch("a", at: .bookmark("nonsense"), to: "c") }
        _ = try await fixture.database("c").exec(create)
        #expect(fixture.store.databaseCount == 2)
        await fixture.store.close()

        let next = try Fixture(directory: fixture.directory, limits: limits(databases: 2))
        #expect(await failure { _ = try await next.database("d").exec(create) } == refused)
        #expect(try await next.database("a").prepare("SELECT x FROM t").first("x") == 1)
        await next.close()
    }

    @Test func `databases together may take so much, whichever grows, and reading goes on`() async throws {
        let warnings = Warnings()
        let fixture = try Fixture(limits: limits(bytes: 1_000_000), log: warnings)
        let value = [UInt8](repeating: 1, count: 100_000)
        func insert(_ name: String) async -> String? {
            await failure { try await fixture.database(name).prepare("INSERT INTO t VALUES(?)").bind(value).run() }
        }
        for name in ["a", "b"] { _ = try await fixture.database(name).exec("CREATE TABLE t(x)") }
        for _ in 0..<4 { #expect(await insert("a") == nil) }
        #expect(warnings.all.value == [])
        var count = 0
        while await insert("b") == nil, count < 20 { count += 1 }
        #expect((4...6).contains(count))
        let refused = "D1_ERROR: Exceeded maximum DB size"
        #expect(await insert("b") == refused)
        #expect(await insert("a") == refused)
        #expect(fixture.store.usedByteCount <= 1_000_000)
        #expect(warnings.all.value.filter { $0.hasPrefix("tenant's D1 databases have used ") }.count == 1)
        #expect(try await fixture.database("a").prepare("SELECT count(*) n FROM t").first("n") == 4)
        // What is free inside of a database can be used again.
        try await fixture.database("b").prepare("DELETE FROM t WHERE rowid = 1").run()
        #expect(await insert("b") == nil)

        try await fixture.store.delete("a")
        for _ in 0..<3 { #expect(await insert("b") == nil) }
        let used = fixture.store.usedByteCount
        await fixture.store.close()
        // Before they are opened, their files tell.
        let next = try Fixture(directory: fixture.directory, limits: limits(bytes: 1_000_000))
        #expect(next.store.usedByteCount >= used / 2)
        _ = try await next.database("b").prepare("SELECT 1").first()
        #expect(next.store.usedByteCount == used)
        await next.close()
    }
}
