import FoundationEssentials
import SQLite
import System
import Testing

@testable import Interfaces
@testable import Stores
@testable import StoresD1

/// Alone: descriptors and the library's memory are counted for the whole process.
@Suite(.serialized) struct `D1 leaks` {
    private static var descriptorCount: Int { FileTree.list("/proc/self/fd").count }

    /// One call of any kind: those that are answered, those that are refused, and those whose answer nobody reads.
    private static func call(_ database: D1Database, _ service: D1Service, _ generator: inout SeededGenerator) async {
        let id = Int.random(in: 0..<50, using: &generator)
        switch Int.random(in: 0..<12, using: &generator) {
        case 0, 1, 2:
            _ = try? await database.prepare("INSERT OR REPLACE INTO t VALUES (?, ?)").bind(id, "v\(id)").run()
        case 3: _ = try? await database.prepare("DELETE FROM t WHERE id = ?").bind(id).run()
        case 4, 5: _ = try? await database.prepare("SELECT * FROM t WHERE id > ?").bind(id).all()
        // A text of its own each: prepared statements are kept, but not all of them.
        case 6: _ = try? await database.prepare("SELECT \(generator.next() % 1_000_000) AS n, count(*) FROM t").first("n")
        case 7:
            _ = try? await database.batch([database.prepare("SELECT 1"), database.prepare("INSERT INTO t VALUES (NULL, NULL)")])
        case 8: _ = try? await database.exec("SELEC 1")
        case 9: _ = try? await database.prepare("SELECT ?1, ?2").bind(1).all()
        case 10: _ = try? await database.prepare("ATTACH 'x' AS y").run()
        default:
            let request = D1Request(.query([.init(sql: "SELECT zeroblob(300000) FROM t LIMIT 3")], .allRows))
            let reply = try? await service.answer(StoreCall(.d1Query, message: request.encoded().message))
            guard case .stream(let source)? = reply?.body else { return }
            _ = try? await source.next()
            if Bool.random(using: &generator) { source.cancel() }
        }
    }

    private static func calls(_ count: Int, on fixture: Fixture, seed: UInt64) async {
        let service = D1Service(store: fixture.store, database: "main")
        await withTaskGroup(of: Void.self) { group in
            for worker in 0..<20 {
                group.addTask {
                    var generator = SeededGenerator(seed: seed &+ UInt64(worker))
                    for _ in 0..<(count / 20) { await Self.call(fixture.database, service, &generator) }
                }
            }
        }
    }

    @Test func `ten thousand calls leave no descriptor, no memory and no share of a budget behind`() async throws {
        let seed = ProcessInfo.processInfo.environment["EDGE_SEED"].flatMap { UInt64($0) } ?? 20_261_122
        try await withDatabase { (database, fixture) async throws in
            _ = try await database.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT NOT NULL)")
            let budgets = [fixture.store.incoming, fixture.store.answers, fixture.store.writes]
            let left = budgets.map(\.left)
            await Self.calls(1_000, on: fixture, seed: seed)
            let (descriptors, bytes) = (Self.descriptorCount, SQLiteProcess.heapByteCount)
            await Self.calls(10_000, on: fixture, seed: seed &+ 100)
            // What nobody reads any more is let go on a thread of its own.
            for _ in 0..<1000 where budgets.map(\.left) != left { try await Task.sleep(for: .milliseconds(10)) }
            // Readers are opened as they are needed, and kept.
            #expect(Self.descriptorCount < descriptors + 20, "EDGE_SEED=\(seed)")
            #expect(SQLiteProcess.heapByteCount < bytes + (4 << 20), "EDGE_SEED=\(seed)")
            #expect(budgets.map(\.left) == left, "EDGE_SEED=\(seed)")
            #expect(FileTree.list("/proc/self/fd").count > 3)
        }
        #expect(SQLiteProcess.heapByteCount < 8 << 20)
    }
}
