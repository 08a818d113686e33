import FoundationEssentials
import Testing

@testable import Interfaces
@testable import StoresD1

@Suite struct `D1 migrations` {
    private func names(_ fixture: Fixture) async throws -> [D1Value?] {
        try await fixture.database.prepare("SELECT name FROM d1_migrations ORDER BY id").all().results.map {
            $0["name"]
        }
    }

    @Test func `probe 27: the first failure ends the run and leaves no trace`() async throws {
        try await withDatabase { (database, fixture) async throws in
            let migrator = D1Migrator(store: fixture.store, database: "main")
            let first = D1Migration(
                name: "0001_users.sql", text: "CREATE TABLE users(id INTEGER PRIMARY KEY);")
            let broken = D1Migration(
                name: "0002_bad.sql", text: "CREATE TABLE b(x);\nINSERT INTO nowhere VALUES(1);")
            let third = D1Migration(name: "0003_c.sql", text: "CREATE TABLE c(x)")
            let report = try await migrator.apply([third, broken, first])
            #expect(!report.succeeded)
            #expect(report.items.map(\.name) == ["0001_users.sql", "0002_bad.sql", "0003_c.sql"])
            #expect(
                report.items.map(\.outcome) == [
                    .applied, .failed("no such table: nowhere: SQLITE_ERROR"), .skipped,
                ])
            #expect(report.bookmark != nil)
            #expect(try await names(fixture) == ["0001_users.sql"])
            #expect(
                try await database.prepare("SELECT count(*) n FROM sqlite_master WHERE name IN ('b','c')")
                    .first(
                        "n") == 0)

            let fixed = D1Migration(name: "0002_bad.sql", text: "CREATE TABLE b(x);")
            let second = try await migrator.apply([first, fixed, third])
            #expect(second.succeeded && second.items.map(\.name) == ["0002_bad.sql", "0003_c.sql"])
            #expect(try await names(fixture) == ["0001_users.sql", "0002_bad.sql", "0003_c.sql"])
            let nothing = try await migrator.apply([first, fixed, third])
            #expect(nothing.succeeded && nothing.description == "✅ No migrations to apply!")
            // A file that is no longer there is ignored.
            #expect(try await migrator.pending([first]).isEmpty)
        }
    }

    @Test func `a release's migrations are applied together or not at all`() async throws {
        try await withDatabase { (database, fixture) async throws in
            let migrator = D1Migrator(store: fixture.store, database: "main")
            let good = D1Migration(name: "1.sql", text: "CREATE TABLE a(x)")
            let bad = D1Migration(name: "2.sql", text: "CREATE TABLE a(x);")
            let report = try await migrator.apply([good, bad], as: .all)
            #expect(
                report.items.map(\.outcome) == [
                    .skipped, .failed("table a already exists at offset 13: SQLITE_ERROR"),
                ])
            #expect(try await names(fixture).isEmpty)
            #expect(
                try await database.prepare("SELECT count(*) n FROM sqlite_master WHERE name='a'").first("n")
                    == 0)
            let fixed = D1Migration(name: "2.sql", text: "CREATE TABLE b(x); -- no newline at the end")
            #expect(try await migrator.apply([good, fixed], as: .all).succeeded)
            #expect(try await names(fixture) == ["1.sql", "2.sql"])
        }
    }

    @Test func `a dump's transaction is left out with a warning, a trigger's body is not`() async throws {
        try await withDatabase { (database, fixture) async throws in
            let text = """
                -- a dump; BEGIN TRANSACTION in a comment
                BEGIN TRANSACTION;
                CREATE TABLE t(a, b DEFAULT 'COMMIT;');
                CREATE TRIGGER g AFTER INSERT ON t BEGIN
                  UPDATE t SET a = 'x;y' WHERE a = 'old'; -- it's fine
                END;
                INSERT INTO t(a) VALUES('old');
                COMMIT;
                """
            let report = try await D1Migrator(store: fixture.store, database: "main").apply([
                D1Migration(name: "it's.sql", text: text)
            ])
            #expect(report.succeeded, "\(report)")
            #expect(report.warnings.count == 1)
            #expect(try await database.prepare("SELECT a, b FROM t").first()?.values == ["x;y", "COMMIT;"])
            #expect(try await names(fixture) == ["it's.sql"])
        }
    }

    @Test func `a transaction inside a migration is refused`() async throws {
        try await withDatabase { (_, fixture) async throws in
            let report = try await D1Migrator(store: fixture.store, database: "main").apply([
                D1Migration(name: "1.sql", text: "CREATE TABLE t(a); SAVEPOINT x; RELEASE x;")
            ])
            guard case .failed(let reason)? = report.items.first?.outcome else {
                Issue.record("applied")
                return
            }
            #expect(reason.hasPrefix("To execute a transaction"))
        }
    }

    @Test func `an applied file whose text is another one now is found`() async throws {
        try await withDatabase { (database, fixture) async throws in
            let migrator = D1Migrator(store: fixture.store, database: "main", table: "steps")
            let first = D1Migration(name: "1.sql", text: "CREATE TABLE a(x)", digest: "one")
            #expect(try await migrator.changed([first]).isEmpty)
            #expect(try await migrator.apply([first], as: .all).succeeded)
            #expect(try await migrator.changed([first]).isEmpty)
            let edited = D1Migration(name: "1.sql", text: "CREATE TABLE b(x)", digest: "two")
            let fresh = D1Migration(name: "2.sql", text: "-- nothing", digest: "three")
            #expect(try await migrator.changed([edited, fresh]) == ["1.sql"])
            // It stays found: looking changes nothing.
            #expect(try await migrator.changed([edited]) == ["1.sql"])
            // The table itself is as wrangler makes it.
            let columns = try await database.prepare("SELECT name FROM pragma_table_info('steps')").all().results
            #expect(columns.compactMap { $0["name"]?.text } == ["id", "name", "applied_at"])
            // One that was applied without a digest gets the first one seen.
            #expect(try await migrator.apply([D1Migration(name: "3.sql", text: "--")]).succeeded)
            let adopted = D1Migration(name: "3.sql", text: "--", digest: "four")
            #expect(try await migrator.changed([adopted]).isEmpty)
            #expect(try await migrator.changed([D1Migration(name: "3.sql", text: "-", digest: "five")]) == ["3.sql"])
            // What failed leaves no digest behind.
            let bad = D1Migration(name: "4.sql", text: "NONSENSE", digest: "six")
            #expect(try await !migrator.apply([bad], as: .all).succeeded)
            #expect(try await migrator.changed([D1Migration(name: "4.sql", text: "--", digest: "x")]).isEmpty)
        }
    }

    @Test func `a file whose last comment never ends is recorded like every other`() async throws {
        try await withDatabase { (database, fixture) async throws in
            let migrator = D1Migrator(store: fixture.store, database: "main")
            let open = D1Migration(
                name: "0001_a.sql", text: "CREATE TABLE a(x); /* to do", digest: "1", down: "DROP TABLE a /* gone")
            let next = D1Migration(name: "0002_b.sql", text: "CREATE TABLE b(x) -- the last")
            for scope in [D1Migrator.Scope.each, .all] {
                #expect(try await migrator.apply([open, next], as: scope).succeeded)
                #expect(try await names(fixture) == ["0001_a.sql", "0002_b.sql"])
                #expect(try await migrator.pending([open, next]).isEmpty)
                #expect(try await migrator.changed([open]).isEmpty)
                _ = try await database.exec("DROP TABLE b; DELETE FROM d1_migrations WHERE name = '0002_b.sql'")
                #expect(try await migrator.revert([open], downTo: nil).succeeded)
                #expect(try await migrator.pending([open]) == [open])
            }
            let torn = D1Migration(name: "0003_c.sql", text: "CREATE TABLE c(x);\u{0}CREATE TABLE d(x);")
            #expect(!(try await migrator.apply([torn])).succeeded)
            #expect(try await database.prepare("SELECT count(*) n FROM sqlite_schema WHERE name = 'c'").first("n") == 0)
            // With one text for the file and another for its row, the second file is still the one at fault.
            let report = try await migrator.apply([next, torn], as: .all)
            #expect(report.items.map(\.outcome).first == .skipped)
            if case .failed? = report.items.last?.outcome {} else { Issue.record("\(report)") }
        }
    }

    @Test func `another table keeps other names`() async throws {
        try await withDatabase { (database, fixture) async throws in
            let migrator = D1Migrator(store: fixture.store, database: "main", table: "my \"own\"")
            _ = try await migrator.apply([D1Migration(name: "1.sql", text: "-- nothing")])
            #expect(
                try await database.prepare("SELECT name FROM \"my \"\"own\"\"\"").first("name") == "1.sql")
        }
    }

    @Test func `a migration may be longer than a statement`() async throws {
        try await withDatabase { (database, fixture) async throws in
            let lines = (0..<4000).map { "INSERT INTO t VALUES(\($0), 'some text that makes it longer');" }
            let report = try await D1Migrator(store: fixture.store, database: "main").apply([
                D1Migration(name: "1.sql", text: "CREATE TABLE t(a, b);\n" + lines.joined(separator: "\n"))
            ])
            #expect(report.succeeded, "\(report)")
            #expect(try await database.prepare("SELECT count(*) n FROM t").first("n") == 4000)
        }
    }

    private static let steps = ["a", "b", "c"].enumerated().map { (index: Int, name: String) in
        D1Migration(
            name: "\(index + 1)_\(name).sql", text: "CREATE TABLE \(name)(x);", digest: name, down: "DROP TABLE \(name)")
    }

    private func tables(_ database: D1Database) async throws -> [String] {
        try await database.prepare("SELECT name FROM sqlite_schema WHERE length(name) = 1 ORDER BY 1").all().results
            .compactMap { $0["name"]?.text }
    }

    @Test func `a part of them is applied, and taken back by down files`() async throws {
        try await withDatabase { (database, fixture) async throws in
            let migrator = D1Migrator(store: fixture.store, database: "main")
            let first = try await migrator.apply(Self.steps, upTo: "2_b.sql")
            #expect(first.items.map(\.name) == ["1_a.sql", "2_b.sql"] && first.succeeded)
            #expect(try await migrator.apply(Self.steps, upTo: "1_a.sql").items.isEmpty)
            #expect(try await tables(database) == ["a", "b"])
            await #expect(throws: D1Failure.self) { try await migrator.apply(Self.steps, upTo: "9.sql") }
            #expect(try await migrator.apply(Self.steps).items.map(\.name) == ["3_c.sql"])
            let back = try await migrator.revert(Self.steps, downTo: "1_a.sql")
            #expect(back.items == ["3_c.sql", "2_b.sql"].map { .init(name: $0, outcome: .reverted) } && back.succeeded)
            #expect(try await tables(database) == ["a"])
            #expect(try await names(fixture) == ["1_a.sql"])
            #expect(try await migrator.revert(Self.steps, downTo: "1_a.sql").items.isEmpty)
            #expect(try await migrator.apply(Self.steps, as: .all).succeeded)
            // One without a way back stops all, and one that fails keeps its row.
            var steps = Self.steps
            steps[0].down = nil
            await #expect(throws: D1Failure("1_a.sql has no down file: nothing was taken back")) {
                try await migrator.revert(steps, downTo: nil)
            }
            #expect(try await tables(database) == ["a", "b", "c"])
            steps[1].down = "DROP TABLE b; DROP TABLE nowhere"
            let stopped = try await migrator.revert(steps, downTo: "1_a.sql")
            #expect(stopped.items.map(\.name) == ["3_c.sql", "2_b.sql"] && !stopped.succeeded)
            #expect(try await tables(database) == ["a", "b"])
            #expect(try await migrator.changed(Self.steps).isEmpty)
        }
    }

    @Test func `files named down belong to their migration`() {
        let files = ["1_a.sql", "1_a.down.sql", "2_b.sql", "x/3.down.sql", "x/3.sql"].map {
            D1Migration(name: $0, text: "text of \($0)")
        }
        let paired = D1Migration.paired(files)
        #expect(paired.map(\.name) == ["1_a.sql", "2_b.sql", "x/3.sql"])
        #expect(paired.map(\.down) == ["text of 1_a.down.sql", nil, "text of x/3.down.sql"])
    }

    @Test func `a dry run finds the mistake and changes nothing`() async throws {
        try await withDatabase { (database, fixture) async throws in
            let migrator = D1Migrator(store: fixture.store, database: "main")
            _ = try await database.exec("CREATE TABLE b(y)\nINSERT INTO b VALUES(1)")
            let report = try await migrator.dryRun(Self.steps)
            #expect(
                report.items.map(\.outcome) == [
                    .applied, .failed("table b already exists at offset 13: SQLITE_ERROR"), .skipped,
                ])
            #expect(try await tables(database) == ["b"])
            #expect(try await migrator.dryRun(Self.steps, upTo: "1_a.sql").succeeded)
            #expect(try await tables(database) == ["b"])
            #expect(try FileManager.default.contentsOfDirectory(atPath: fixture.directory).allSatisfy { !$0.contains("dry") })
        }
    }

    @Test func `a failure goes back to the state before, if wanted`() async throws {
        var limits = D1Limits()
        limits.timeTravel = .seconds(3600)
        try await withDatabase(limits: limits) { (database, fixture) async throws in
            let migrator = D1Migrator(store: fixture.store, database: "main")
            _ = try await database.exec("CREATE TABLE c(y)\nINSERT INTO c VALUES(1)")
            let report = try await migrator.apply(Self.steps, onFailure: .restores)
            #expect(
                report.items.map(\.outcome) == [
                    .skipped, .skipped, .failed("table c already exists at offset 13: SQLITE_ERROR"),
                ])
            #expect(try #require(report.restoredBookmark) > (try #require(report.bookmark)))
            #expect(try await tables(database) == ["c"])
            #expect(try await migrator.pending(Self.steps).count == 3)
        }
    }

    @Test(arguments: [
        (["10_b.sql", "9_a.sql", "0001_x.sql"], ["0001_x.sql", "9_a.sql", "10_b.sql"]),
        (["z.sql", "a.sql", "2.sql"], ["2.sql", "a.sql", "z.sql"]),
        (["1_b.sql", "1_a.sql"], ["1_a.sql", "1_b.sql"]),
        (["2/1.sql", "10/1.sql", "1/3.sql", "1/20.sql"], ["1/3.sql", "1/20.sql", "2/1.sql", "10/1.sql"]),
    ])
    func `files are ordered by the numbers they begin with`(_ given: [String], _ expected: [String]) {
        let sorted = given.map { D1Migration(name: $0, text: "") }.sorted(by: D1Migration.precedes)
        #expect(sorted.map(\.name) == expected)
    }
}
