import Foundation
import Observability
import StoresD1
import System
import Testing

@testable import Configuration
@testable import Interfaces
@testable import Releases

/// Spec deploys, part D, on real databases.
@Suite struct `Migrations of a deployment` {
    /// A tenant's databases in a directory of their own.
    private struct World {
        let clock = VirtualClock()
        let directory: String
        let store: EmbeddedD1Store
        let databases: TenantDatabases
        let migrations: DatabaseMigrations

        init(timeTravel: Duration = .seconds(86_400)) throws {
            directory = FileManager.default.temporaryDirectory.path + "/edge-migrations-\(UUID().uuidString)"
            let logger = Logger(sink: DiscardingSink(), clock: clock, level: .warning)
            var limits = D1Limits()
            limits.timeTravel = timeTravel
            store = try EmbeddedD1Store(directory: directory, clock: clock, logger: logger, limits: limits)
            databases = try TenantDatabases(
                store: store, transfers: directory + "/transfers", databasesMax: 100, clock: clock)
            migrations = DatabaseMigrations(databases, clock: clock, logger: logger)
        }

        func run(_ sql: String, on database: String) async throws {
            try await store.runScript([sql], on: try await databases.find(database).resource)
        }

        /// The names of all tables but those that keep what was applied.
        func tables(of database: String) async throws -> Set<String> {
            let resource = try await databases.find(database).resource
            let request = D1Request(.query([.init(sql: "SELECT name FROM sqlite_schema WHERE type = 'table'")], .allRows))
            let reply = try D1ReplyReader(decoding: try await store.run(request, on: resource).bytes)
            let names = try reply.results(columns: false).first?.0.results.compactMap { $0["name"]?.text } ?? []
            return Set(names.filter { !$0.hasPrefix("d1_migrations") && !$0.hasPrefix("sqlite_") })
        }

        func close() async {
            await store.close()
            try? FileManager.default.removeItem(atPath: directory)
        }
    }

    private func withWorld(timeTravel: Duration = .seconds(86_400), _ body: (World) async throws -> Void) async throws {
        let world = try World(timeTravel: timeTravel)
        do { try await body(world) } catch {
            await world.close()
            throw error
        }
        await world.close()
    }

    private static let settings = DeploySettings(
        steps: [100], bake: .zero, monitor: .zero, smoke: .optional, backup: .bookmark, affinity: .none, noTraffic: .promote,
        promoteFrom: nil, drain: .zero, drainStreams: .zero, drainJobs: .zero, drainWebSockets: .zero, switchHold: .zero,
        lockTimeout: .seconds(5), keepReleases: 100, keepBackups: .seconds(7 * 86_400), freeze: false, resume: true)

    private func set(_ database: String, _ files: String...) -> MigrationSet {
        MigrationSet(
            database: database,
            files: files.enumerated().map { (name: "000\($0.offset + 1)_x.sql", text: $0.element) })
    }

    private func reasons(_ body: () async throws(DeploymentFailure) -> Void) async -> [String] {
        do throws(DeploymentFailure) {
            try await body()
            return []
        } catch { return error.reasons }
    }

    private func deploy(
        _ world: World, _ sets: [MigrationSet], _ options: DeploymentOptions = DeploymentOptions()
    ) async throws(DeploymentFailure) -> [MigrationStep] {
        let steps = try await world.migrations.pending(sets, options)
        try await world.migrations.migrate(sets, steps, Self.settings, options)
        return steps
    }

    @Test func `a plan is what isn't applied, in order, and writes nothing`() async throws {
        try await withWorld { world in
            let first = set("main", "CREATE TABLE a(x)")
            let both = set("main", "CREATE TABLE a(x)", "CREATE TABLE b(x)")
            let other = set("other", "CREATE TABLE c(x)")
            let plan = try await world.migrations.pending([both, other], DeploymentOptions())
            #expect(
                plan.map(\.file) == ["0001_x.sql", "0002_x.sql", "0001_x.sql"]
                    && plan.map(\.database) == ["main", "main", "other"])
            #expect(plan.allSatisfy { $0.checksum.count == 64 && $0.kind == .expand && !$0.isBreaking })
            #expect(try await world.databases.list(nameContaining: "", page: 1, count: 10).entries.isEmpty)
            #expect(try await deploy(world, [first]).count == 1)
            let rest = try await world.migrations.pending([both, other], DeploymentOptions())
            #expect(rest.map(\.database) == ["main", "other"] && rest.map(\.file) == ["0002_x.sql", "0001_x.sql"])
            _ = try await deploy(world, [both, other])
            #expect(try await world.migrations.pending([both, other], DeploymentOptions()).isEmpty)
            #expect(try await world.tables(of: "main") == ["a", "b"])
            #expect(try await world.tables(of: "other") == ["c"])
            // The same steps again, as after a crash.
            try await world.migrations.migrate([both, other], plan, Self.settings, DeploymentOptions())
        }
    }

    @Test func `gaps, numbers that come twice and names without one are refused together`() async throws {
        try await withWorld { world in
            let bad = MigrationSet(
                database: "main",
                files: [
                    ("0001_a.sql", ""), ("0003_b.sql", ""), ("0003_c.sql", ""), ("x.sql", "DROP TABLE t"),
                    ("0001_a.down.sql", ""),
                ])
            let reasons = await reasons { () throws(DeploymentFailure) in
                _ = try await world.migrations.pending([bad], DeploymentOptions())
            }
            #expect(reasons.count == 4 && reasons.allSatisfy { $0.hasPrefix("database \"main\": ") })
            #expect(reasons[0].contains("x.sql doesn't begin with a number"))
            #expect(reasons[1].contains("number 2 is missing before 0003_b.sql"))
            #expect(reasons[2].contains("0003_b.sql and 0003_c.sql have the same number"))
            #expect(reasons[3].contains("x.sql:1:1: error: DROP TABLE t"))
        }
    }

    @Test func `probe 16: an applied file that was edited is refused with both checksums`() async throws {
        try await withWorld { world in
            let steps = try await deploy(world, [set("main", "CREATE TABLE a(x)")])
            let edited = set("main", "CREATE TABLE a(x) -- edited", "CREATE TABLE b(x)")
            let reasons = await reasons { () throws(DeploymentFailure) in
                _ = try await world.migrations.pending([edited], DeploymentOptions())
            }
            #expect(reasons.count == 1 && reasons[0].contains("0001_x.sql has been applied"))
            #expect(reasons[0].contains(steps[0].checksum) && reasons[0].contains(edited.migrations[0].digest ?? "none"))
            // Nor can a plan be run with other files.
            let planned = try await world.migrations.pending(
                [set("main", "CREATE TABLE a(x)", "CREATE TABLE b(x)")], DeploymentOptions())
            let changed = await self.reasons { () throws(DeploymentFailure) in
                try await world.migrations.migrate(
                    [set("main", "CREATE TABLE a(x)", "CREATE TABLE c(x)")], planned, Self.settings, DeploymentOptions())
            }
            #expect(changed.first?.contains("0002_x.sql is not what was planned") == true)
            #expect(try await world.tables(of: "main") == ["a"])
        }
    }

    @Test func `probe 14: a breaking migration is refused with its line, let through when asked for, or waits as a contract`()
        async throws
    {
        try await withWorld { world in
            _ = try await deploy(world, [set("main", "CREATE TABLE a(x, y)")])
            let breaking = set("main", "CREATE TABLE a(x, y)", "SELECT 1;\nALTER TABLE a DROP COLUMN y")
            let reasons = await reasons { () throws(DeploymentFailure) in _ = try await deploy(world, [breaking]) }
            #expect(reasons.count == 1 && reasons[0].contains("0002_x.sql:2:1: error: ALTER TABLE a DROP COLUMN y"))
            var options = DeploymentOptions()
            options.allowsBreaking = true
            let steps = try await world.migrations.pending([breaking], options)
            #expect(steps.map(\.isBreaking) == [true])
            // What is a mistake stays one.
            let mistaken = set("main", "CREATE TABLE a(x, y)", "PRAGMA foreign_keys = OFF; ALTER TABLE a DROP COLUMN y")
            let mistake = await self.reasons { () throws(DeploymentFailure) in
                _ = try await world.migrations.pending([mistaken], options)
            }
            #expect(mistake.count == 1 && mistake[0].contains("defer_foreign_keys"))

            let contract = set(
                "main", "CREATE TABLE a(x, y)", "-- edge: contract\nALTER TABLE a DROP COLUMN y", "ALTER TABLE a ADD z")
            let expanded = try await deploy(world, [contract])
            #expect(expanded.map(\.file) == ["0003_x.sql"])
            let notes = try await world.migrations.notes([contract], [])
            #expect(notes.count == 1 && notes[0].contains("0002_x.sql") && notes[0].contains("--contract"))
            #expect(try await world.migrations.pending([contract], DeploymentOptions()).isEmpty)
            try await world.run("INSERT INTO a(y) VALUES (1)", on: "main")
            options = DeploymentOptions()
            options.contracts = true
            let last = try await deploy(world, [contract], options)
            #expect(last.map(\.kind) == [.contract] && last.map(\.file) == ["0002_x.sql"])
            // Only retiring the old release runs it.
            try await world.run("INSERT INTO a(y) VALUES (1)", on: "main")
            for _ in 0..<2 { try await world.migrations.contract([contract], last) }
            await #expect(throws: D1Failure.self) { try await world.run("INSERT INTO a(y) VALUES (1)", on: "main") }
            #expect(try await world.migrations.pending([contract], options).isEmpty)
        }
    }

    @Test
    func `probe 13: of several databases, those before the one that fails stay expanded, and the next deployment goes on`()
        async throws
    {
        try await withWorld { world in
            let good = set("a", "CREATE TABLE t(x)")
            let bad = set("b", "CREATE TABLE t(x)", "CREATE TABLE u(x);\n\nINSERT INTO nowhere VALUES (1)")
            let reasons = await reasons { () throws(DeploymentFailure) in _ = try await deploy(world, [good, bad]) }
            #expect(reasons == ["database \"b\": 0002_x.sql:3:1: no such table: nowhere: SQLITE_ERROR"])
            let (first, second) = (try await world.tables(of: "a"), try await world.tables(of: "b"))
            #expect(first == ["t"] && second.isEmpty)
            // A rehearsal finds it before.
            let fixed = set("b", "CREATE TABLE t(x)", "CREATE TABLE u(x)")
            let steps = try await deploy(world, [good, fixed])
            #expect(steps.map(\.database) == ["b", "b"])
        }
    }

    @Test func `a rehearsal finds what fails and changes nothing`() async throws {
        try await withWorld { world in
            _ = try await deploy(world, [set("main", "CREATE TABLE a(x)")])
            let sets = [set("main", "CREATE TABLE a(x)", "CREATE TABLE a(x)")]
            let steps = try await world.migrations.pending(sets, DeploymentOptions())
            let reasons = await reasons { () throws(DeploymentFailure) in try await world.migrations.rehearse(sets, steps) }
            #expect(reasons.count == 1 && reasons[0].contains("0002_x.sql:1:14: table a already exists"))
            #expect(try await world.tables(of: "main") == ["a"])
            #expect(try await world.databases.list(nameContaining: "", page: 1, count: 10).entries.count == 1)
        }
    }

    @Test func `probe 15: what a restore would lose is counted, and only an untouched database goes back by itself`()
        async throws
    {
        try await withWorld { world in
            let sets = [set("a", "CREATE TABLE t(x)"), set("b", "CREATE TABLE t(x)")]
            let steps = try await world.migrations.pending(sets, DeploymentOptions())
            let backups = try await world.migrations.backUp(steps, .bookmark)
            #expect(backups.map(\.database) == ["a", "b"] && backups.allSatisfy { $0.copy == nil })
            try await world.migrations.migrate(sets, steps, Self.settings, DeploymentOptions())
            try await world.run("INSERT INTO t VALUES (1)", on: "b")
            try await world.run("INSERT INTO t VALUES (2)", on: "b")
            let counts = try await world.migrations.commits(since: backups)
            #expect(counts.map(\.count) == [0, 2] && counts.map(\.database) == ["a", "b"])
            #expect(try await world.migrations.restoreUntouched(backups) == ["a"])
            #expect(try await world.tables(of: "a").isEmpty)
            #expect(try await world.tables(of: "b") == ["t"])
            try await world.migrations.restore(backups)
            #expect(try await world.tables(of: "b").isEmpty)
        }
    }

    @Test func `D5: full backups are kept as long as they may be needed`() async throws {
        try await withWorld { world in
            let sets = [set("main", "CREATE TABLE t(x)")]
            _ = try await deploy(world, sets)
            try await world.run("INSERT INTO t VALUES (1)", on: "main")
            let more = [set("main", "CREATE TABLE t(x)", "ALTER TABLE t ADD y")]
            let steps = try await world.migrations.pending(more, DeploymentOptions())
            let backups = try await world.migrations.backUp(steps, .full)
            let copy = try #require(backups.first?.copy)
            #expect(FileManager.default.fileExists(atPath: copy))
            await world.migrations.discardBackups(olderThan: .seconds(60))
            #expect(FileManager.default.fileExists(atPath: copy))
            // An unfinished one goes when the node starts.
            let directory = world.store.backupDirectory
            #expect(FileManager.default.createFile(atPath: directory + "/main.new", contents: Data([1])))
            try DatabaseMigrations.removeUnfinished(in: directory)
            #expect(try FileManager.default.contentsOfDirectory(atPath: directory).map { directory + "/" + $0 } == [copy])
            world.clock.advance(by: .seconds(120))
            await world.migrations.discardBackups(olderThan: .seconds(60))
            #expect(!FileManager.default.fileExists(atPath: copy))
            let second = try await world.migrations.backUp(steps, .full)
            await world.migrations.discard(second)
            #expect(try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty)
        }
    }

    @Test func `without a history a bookmark leads nowhere, so a copy is taken`() async throws {
        try await withWorld(timeTravel: .zero) { world in
            let sets = [set("main", "CREATE TABLE t(x)")]
            let steps = try await world.migrations.pending(sets, DeploymentOptions())
            let backups = try await world.migrations.backUp(steps, .bookmark)
            #expect(backups.first?.copy != nil)
            try await world.migrations.migrate(sets, steps, Self.settings, DeploymentOptions())
            #expect(try await world.migrations.restoreUntouched(backups).isEmpty)
            let reasons = await reasons { () throws(DeploymentFailure) in _ = try await world.migrations.commits(since: backups)
            }
            #expect(reasons.first?.contains("keeps no history") == true)
            try await world.migrations.restore(backups)
            #expect(try await world.tables(of: "main").isEmpty)
        }
    }

    @Test func `writes are held for a breaking migration, and stay held where somebody else holds them`() async throws {
        try await withWorld { world in
            _ = try await deploy(world, [set("main", "CREATE TABLE a(x, y)")])
            var options = DeploymentOptions()
            options.allowsBreaking = true
            let sets = [set("main", "CREATE TABLE a(x, y)", "ALTER TABLE a DROP COLUMN y")]
            let steps = try await world.migrations.pending(sets, options)
            try await world.migrations.freeze(steps)
            await #expect(throws: D1Failure.frozen) { try await world.run("INSERT INTO a(x) VALUES (1)", on: "main") }
            try await world.migrations.migrate(sets, steps, Self.settings, options)
            await #expect(throws: D1Failure.frozen) { try await world.run("INSERT INTO a(x) VALUES (1)", on: "main") }
            await world.migrations.unfreeze(steps)
            try await world.run("INSERT INTO a(x) VALUES (1)", on: "main")
            // By itself, also when it fails.
            let bad = [set("main", "CREATE TABLE a(x, y)", "ALTER TABLE a DROP COLUMN y", "ALTER TABLE a DROP COLUMN z")]
            let refused = try await world.migrations.pending(bad, options)
            let reasons = await reasons { () throws(DeploymentFailure) in
                try await world.migrations.migrate(bad, refused, Self.settings, options)
            }
            #expect(reasons.count == 1)
            try await world.run("INSERT INTO a(x) VALUES (1)", on: "main")
        }
    }

    @Test func `notes say what is doubtful, and what goes over many rows`() async throws {
        try await withWorld { world in
            _ = try await deploy(world, [set("main", "CREATE TABLE t(x)")])
            try await world.run(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000) INSERT INTO t SELECT i FROM n",
                on: "main")
            let sets = [
                set("main", "CREATE TABLE t(x)", "UPDATE t SET x = 1; CREATE INDEX i ON t(x); CREATE TABLE u AS SELECT 1")
            ]
            let steps = try await world.migrations.pending(sets, DeploymentOptions())
            let notes = try await world.migrations.notes(sets, steps)
            #expect(notes.count == 2)
            #expect(notes.first?.contains("0002_x.sql:1:1: warning: UPDATE t SET x = 1") == true)
            #expect(notes.last?.contains("goes over 12000 rows of t: about 1 s") == true)
        }
    }

    @Test func `the platform's own migrations have no findings`() throws {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../../migrations/platform")
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".sql") }
        #expect(names.count >= 5)
        let files = try names.map { (name: $0, text: try String(contentsOf: folder.appending(path: $0), encoding: .utf8)) }
        #expect(MigrationLint.check(files).map { $0.description(in: "migrations") } == [])
    }
}
