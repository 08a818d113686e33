import FoundationEssentials
import Observability
import SQLiteFaults
import System
import Testing

@testable import Interfaces
@testable import StoresD1

/// SQLite over a disk that fails in a named place: an error to the request at hand, and nothing that was acknowledged is
/// lost, now or after the next start.
@Suite(.serialized) struct `D1 disk faults` {
    enum Fault: String, CaseIterable {
        case write, shortWrite, full, sync, truncate, read, open, sharedMemory

        var code: sqlite_fault {
            switch self {
            case .write: SQLITE_FAULT_WRITE
            case .shortWrite: SQLITE_FAULT_SHORT_WRITE
            case .full: SQLITE_FAULT_FULL
            case .sync: SQLITE_FAULT_SYNC
            case .truncate: SQLITE_FAULT_TRUNCATE
            case .read: SQLITE_FAULT_READ
            case .open: SQLITE_FAULT_OPEN
            case .sharedMemory: SQLITE_FAULT_SHM
            }
        }
    }

    enum File: String, CaseIterable {
        case database = "main.sqlite"
        case log = "main.sqlite-wal"
        case image = "main.sqlite.archive/restore"
    }

    init() { sqlite_faults_install() }

    private final class Lines: LogSink {
        let all = Shared<[String]>([])
        func write(_ record: LogRecord) {
            guard record.level == .error else { return }
            let line = record.message + record.fields.map { " \($0.value)" }.joined()
            all.update { $0.append(line) }
        }
    }

    /// A history, and a log that is copied into the file every few commits.
    private static var limits: D1Limits {
        var limits = D1Limits()
        limits.timeTravel = .seconds(86_400)
        limits.checkpointFrames = 6
        limits.logFramesMax = 12
        limits.restoresMax = .max
        return limits
    }

    private func arm(_ fault: Fault, _ file: File, in fixture: Fixture, skip: Int, count: Int) {
        unsafe sqlite_faults_arm(fault.code, "\(fixture.directory)/\(file.rawValue)", Int32(skip), Int32(clamping: count))
    }

    private func rows(_ database: D1Database) async throws -> [Int64: String] {
        var found: [Int64: String] = [:]
        for row in try await database.prepare("SELECT id, v FROM t").all().results {
            if let id = row["id"]?.integer, let value = row["v"]?.text { found[id] = value }
        }
        return found
    }

    /// After the disk is well: all that was acknowledged is there, also for the next process, and the store works.
    private func check(_ fixture: Fixture, _ acknowledged: [Int64: String], _ title: String) async throws {
        let insert = fixture.database.prepare("INSERT INTO t VALUES(?, 'well')").bind(1_000_000)
        // What was broken may have to be noticed first.
        if await failure({ try await insert.run() }) != nil {
            #expect(await failure { try await insert.run() } == nil, "\(title): it doesn't recover")
        }
        func verify(_ fixture: Fixture, _ time: String) async throws {
            let found = try await rows(fixture.database)
            for (id, value) in acknowledged { #expect(found[id] == value, "\(title): row \(id) is lost \(time)") }
            #expect(found[1_000_000] == "well")
            #expect(try await fixture.store.verify("main") == [], "\(title), \(time)")
        }
        try await verify(fixture, "in the same process")
        await fixture.store.close()
        let next = try Fixture(directory: fixture.directory, limits: Self.limits)
        try await verify(next, "in the next one")
        await next.close()
    }

    private static let places: [(Fault, File)] = [
        (.write, .database), (.write, .log), (.shortWrite, .database), (.shortWrite, .log), (.full, .database), (.full, .log),
        (.sync, .database), (.sync, .log), (.read, .database), (.read, .log), (.open, .database), (.sharedMemory, .database),
    ]

    @Test(arguments: places)
    func `commits and checkpoints lose nothing`(_ fault: Fault, _ file: File) async throws {
        var hits: Int32 = 0
        for count in [1, .max] {
            for skip in [0, 1, 3, 8] {
                let title = "\(fault) of \(file.rawValue) after \(skip), \(count == 1 ? "once" : "for good")"
                let fixture = try Fixture(limits: Self.limits)
                _ = try await fixture.database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
                var acknowledged: [Int64: String] = [:]
                // What is read, and mapped, is so when a connection is made.
                if [.read, .open, .sharedMemory].contains(fault) { await fixture.store.close() }
                let next =
                    [.read, .open, .sharedMemory].contains(fault)
                    ? try Fixture(directory: fixture.directory, limits: Self.limits) : fixture
                arm(fault, file, in: next, skip: skip, count: count)
                for id in Int64(0)..<20 {
                    let value = String(repeating: "\(id) ", count: 2000)
                    let message = await failure {
                        try await next.database.prepare("INSERT INTO t VALUES(?, ?)").bind(id, value).run()
                    }
                    if message == nil { acknowledged[id] = value }
                    if let message { #expect(message.hasPrefix("D1_ERROR: "), "\(title): \(message)") }
                    if id % 5 == 4, let message = await failure({ _ = try await rows(next.database) }) {
                        #expect(message.hasPrefix("D1_ERROR: "), "\(title): \(message)")
                    }
                }
                hits += sqlite_faults_disarm()
                try await check(next, acknowledged, title)
            }
        }
        #expect(hits > 0, "nothing failed")
    }

    @Test(arguments: [
        (Fault.write, File.log), (.shortWrite, .log), (.full, .log), (.sync, .log), (.read, .image),
        (.open, .image), (.sharedMemory, .image),
    ])
    func `a restore that fails changes nothing, and the next one succeeds`(_ fault: Fault, _ file: File) async throws {
        var hits: Int32 = 0
        for skip in [0, 1, 2, 5, 8] {
            let title = "\(fault) of \(file.rawValue) after \(skip)"
            let fixture = try Fixture(limits: Self.limits)
            let database = fixture.database
            _ = try await database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
            for id in 0..<10 {
                try await database.prepare("INSERT INTO t VALUES(?, ?)").bind(id, String(repeating: "x", count: 5000)).run()
            }
            let before = try await fixture.store.bookmark(of: "main")
            let old = try await rows(database)
            try await database.prepare("DELETE FROM t WHERE id > 3").run()
            let new = try await rows(database)
            arm(fault, file, in: fixture, skip: skip, count: .max)
            var isRestored = false
            do throws(D1Failure) {
                _ = try await fixture.store.restore("main", to: .bookmark(before))
                isRestored = true
            } catch { #expect(!error.text.isEmpty) }
            hits += sqlite_faults_disarm()
            #expect(try await rows(database) == (isRestored ? old : new), "\(title)")
            _ = try await fixture.store.restore("main", to: .bookmark(before))
            #expect(try await rows(database) == old, "\(title)")
            try await check(fixture, old, title)
        }
        #expect(hits > 0, "nothing failed")
    }

    @Test(arguments: [Fault.write, .shortWrite, .full, .sync])
    func `a migration that fails leaves no trace, and is applied as a whole afterwards`(_ fault: Fault) async throws {
        var hits: Int32 = 0
        for skip in [0, 1, 2, 3, 5] {
            let fixture = try Fixture(limits: Self.limits)
            _ = try await fixture.database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
            let migrator = D1Migrator(store: fixture.store, database: "main")
            let migrations = [
                D1Migration(name: "0001_a.sql", text: "CREATE TABLE a(x); INSERT INTO a VALUES(zeroblob(20000));"),
                D1Migration(name: "0002_b.sql", text: "ALTER TABLE a ADD COLUMN y; CREATE TABLE b(x);"),
            ]
            arm(fault, .log, in: fixture, skip: skip, count: 1)
            _ = try? await migrator.apply(migrations, as: .all)
            hits += sqlite_faults_disarm()
            let made = try await fixture.database.prepare(
                "SELECT count(*) n FROM sqlite_master WHERE name IN ('a', 'b')"
            ).first("n")
            let applied = try await migrator.applied()
            #expect(
                made == .integer(Int64(applied.count)) && [0, 2].contains(applied.count),
                "\(fault) after \(skip): \(applied) are applied, \(made ?? .null) are there")
            _ = try await migrator.apply(migrations, as: .all)
            #expect(try await migrator.applied() == ["0001_a.sql", "0002_b.sql"])
            _ = try await fixture.database.prepare("SELECT y FROM a").all()
            try await check(fixture, [:], "\(fault) after \(skip)")
        }
        #expect(hits > 0, "nothing failed")
    }

    /// Which of a kind of file operations fails, and how often it was asked for.
    private struct FilePlan {
        var operation: D1Faults.FileOperation?
        var skip = 0
        var count = 0
        var hits = 0
    }

    private static func faults(_ plan: Shared<FilePlan>) -> D1Faults {
        D1Faults(
            { _ in nil },
            files: { found, _ in
                plan.update { plan in
                    guard plan.operation == found, plan.count > 0 else { return nil }
                    guard plan.skip == 0 else {
                        plan.skip -= 1
                        return nil
                    }
                    plan.count -= 1
                    plan.hits += 1
                    return found == .write ? 28 : 5
                }
            })
    }

    @Test(arguments: D1Faults.FileOperation.allCases)
    func `an opening that fails at any file operation is an error, and the next one succeeds`(
        _ operation: D1Faults.FileOperation
    ) async throws {
        let plan = Shared(FilePlan())
        var hits = 0
        for skip in 0..<6 {
            var fixture = try Fixture(limits: Self.limits, faults: Self.faults(plan))
            // A new database, and one that has a history.
            for start in [Int64(0), 10] {
                plan.value = FilePlan(operation: operation, skip: skip, count: 1)
                let create = "CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, v)"
                let message = await failure { _ = try await fixture.database.exec(create) }
                #expect(
                    message.map { $0.contains("Internal error while starting up D1 DB storage") } ?? true, "\(message ?? "")")
                hits += plan.value.hits
                plan.value = FilePlan()
                _ = try await fixture.database.exec(create)
                for id in start..<(start + 10) {
                    let text = String(repeating: "x", count: 5000)
                    try await fixture.database.prepare("INSERT INTO t VALUES(?, ?)").bind(id, text).run()
                }
                #expect(try await rows(fixture.database).count == start + 10)
                #expect(try await fixture.store.verify("main") == [], "\(operation) after \(skip)")
                await fixture.store.close()
                fixture = try Fixture(directory: fixture.directory, limits: Self.limits, faults: Self.faults(plan))
            }
            await fixture.close()
        }
        #expect(hits > 0 || operation == .remove, "nothing failed")
    }

    /// The archive's own files, and those that stand beside a database.
    @Test(arguments: D1Faults.FileOperation.allCases.filter { $0 != .makeDirectory }, [1, Int.max])
    func `file operations that fail by name lose neither rows nor history`(
        _ operation: D1Faults.FileOperation, _ count: Int
    ) async throws {
        let plan = Shared(FilePlan())
        let faults = Self.faults(plan)
        var hits = 0
        var limits = Self.limits
        limits.timeTravel = .seconds(8)
        for skip in [0, 1, 2, 4, 7, 12, 20, 33] {
            let title = "\(operation) after \(skip), \(count == 1 ? "once" : "for good")"
            let fixture = try Fixture(limits: limits, faults: faults)
            let store = fixture.store
            _ = try await fixture.database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
            plan.value = FilePlan(operation: operation, skip: skip, count: count)
            var model: [Int64: String] = [:]
            var states: [(bookmark: String, rows: [Int64: String])] = []
            for id in Int64(0)..<24 {
                fixture.clock.advance(by: .seconds(1))
                let value = String(repeating: "\(id) ", count: 1500)
                let message = await failure {
                    try await fixture.database.prepare("INSERT INTO t VALUES(?, ?)").bind(id, value).run()
                }
                #expect(message?.hasPrefix("D1_ERROR: ") ?? true, "\(title): \(message ?? "")")
                if message == nil { model[id] = value }
                states.append((try await store.bookmark(of: "main"), try await rows(fixture.database)))
                #expect(states.last?.rows == model, "\(title)")
            }
            let wanted = states[states.count - 3]
            do throws(D1Failure) {
                _ = try await store.restore("main", to: .bookmark(wanted.bookmark))
                model = wanted.rows
            } catch { #expect(!error.text.isEmpty) }
            #expect(try await rows(fixture.database) == model, "\(title)")
            // A branch and a deletion, half of which may be left.
            _ = await failure { try await store.branch("main", at: nil, to: "branch") }
            _ = await failure { try await store.delete("branch") }
            hits += plan.value.hits
            plan.value = FilePlan()
            // States that the history still has are what they were.
            if let info = try? await store.timeTravelInfo(of: "main", at: nil) {
                for state in states.suffix(4) where state.bookmark >= info.earliestBookmark {
                    _ = try await store.restore("main", to: .bookmark(state.bookmark))
                    #expect(try await rows(fixture.database) == state.rows, "\(title)")
                    model = state.rows
                }
            }
            try await store.delete("branch")
            #expect(try await fixture.database("branch").prepare("SELECT count(*) n FROM sqlite_master").first("n") == 0)
            try await check(fixture, model, title)
        }
        #expect(hits > 0, "nothing failed")
    }

    @Test func `a page that was damaged on the disk is named by the query and by verify, and costs nothing else`() async throws
    {
        let fixture = try Fixture(limits: Self.limits)
        _ = try await fixture.database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v)\nCREATE TABLE other(x)")
        for id in 0..<50 {
            try await fixture.database.prepare("INSERT INTO t VALUES(?, ?)").bind(id, String(repeating: "x", count: 3000)).run()
        }
        try await fixture.database.prepare("INSERT INTO other VALUES(1)").run()
        await fixture.store.close()
        let path = fixture.directory + "/main.sqlite"
        var bytes = try Data(contentsOf: URL(filePath: path))
        #expect(bytes.count > 40 * 4096)
        // A leaf of the table, in the middle of the file.
        for offset in (30 * 4096)..<(30 * 4096 + 64) { bytes[offset] = 0xA5 }
        try bytes.write(to: URL(filePath: path))

        let lines = Lines()
        let next = try Fixture(directory: fixture.directory, limits: Self.limits, log: lines)
        _ = await failure { _ = try await rows(next.database) }
        let message = await failure { _ = try await rows(next.database) }
        // Each call is told, the operator once.
        #expect(lines.all.value.count == 1)
        #expect(lines.all.value.first?.contains("is damaged") == true && lines.all.value.first?.contains(path) == true)
        #expect(message?.hasPrefix("D1_ERROR: database disk image is malformed: SQLITE_CORRUPT") == true, "\(message ?? "-")")
        let found = try await next.store.verify("main")
        #expect(found.contains { $0.contains("30") || $0.contains("31") }, "\(found)")
        // What doesn't need the page goes on, other databases too.
        #expect(try await next.database.prepare("SELECT x FROM other").first("x") == 1)
        try await next.database.prepare("INSERT INTO other VALUES(2)").run()
        _ = try await next.database("second").exec("CREATE TABLE t(x)")
        await next.close()
    }

    @Test func `a page that is read as another is an error, and no answer`() async throws {
        let fixture = try Fixture(limits: Self.limits)
        _ = try await fixture.database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
        for id in 0..<50 {
            try await fixture.database.prepare("INSERT INTO t VALUES(?, ?)").bind(id, String(repeating: "x", count: 3000)).run()
        }
        let all = try await rows(fixture.database)
        await fixture.store.close()
        var hits: Int32 = 0
        for skip in 0..<12 {
            let next = try Fixture(directory: fixture.directory, limits: Self.limits)
            unsafe sqlite_faults_arm(
                SQLITE_FAULT_CORRUPT, "\(next.directory)/main.sqlite", Int32(skip), 1)
            do {
                // A page whose unused part was bent is still the same page.
                let found = try await rows(next.database)
                #expect(found.count == all.count, "after \(skip)")
            } catch let failure as CallFailure {
                #expect(failure.message.hasPrefix("D1_ERROR: "), "\(failure.message)")
            }
            hits += sqlite_faults_disarm()
            await next.store.close()
            let again = try Fixture(directory: fixture.directory, limits: Self.limits)
            #expect(try await rows(again.database) == all)
            await again.store.close()
        }
        #expect(hits > 0, "nothing failed")
        await fixture.close()
    }
}
