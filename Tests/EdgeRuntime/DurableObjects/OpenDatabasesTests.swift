import DurableObjects
import Foundation
import Interfaces
import Testing

/// Storages of one directory that share few connections.
@MainActor private final class Objects {
    let directory: String
    let databases: OpenDatabases
    private(set) var turns: [Turns] = []
    private var storages: [ObjectStorage] = []

    init(_ count: Int, connections: Int) throws {
        directory = FileManager.default.temporaryDirectory.path + "/edge-objects-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        databases = OpenDatabases(countMax: connections)
        for number in 0..<count {
            turns.append(Turns())
            storages.append(try ObjectStorage(path: path(number), databases: databases, turns: turns[number]))
        }
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    func path(_ number: Int) -> String { "\(directory)/\(number)" }
    subscript(_ number: Int) -> ObjectStorage { storages[number] }
    var count: Int { storages.count }

    /// The object's next life.
    func renew(_ number: Int) throws {
        storages[number].close(DurableObjectError("closed"))
        storages[number] = try ObjectStorage(path: path(number), databases: databases, turns: turns[number])
    }

    /// The other ones are used.
    func useOthers(than number: Int) async throws {
        for other in 0..<count where other != number { _ = try await storages[other].get("nothing", as: Int.self) }
    }

    /// What the process has open of the directory: names of files, each as often as it has descriptors.
    var open: [String] {
        get throws {
            let name = directory.split(separator: "/").last.map(String.init) ?? ""
            return try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").compactMap { number in
                guard let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(number)"),
                    target.contains(name)
                else { return nil }
                return target.split(separator: "/").last.map(String.init)
            }
        }
    }

    /// Each object has one of its file for the lock, and a second one with its connection.
    var connectionCount: Int { get throws { try open.count { !$0.hasSuffix("-wal") } - count } }
    func isConnected(_ number: Int) throws -> Bool { try open.count { $0 == "\(number)" } == 2 }
}

/// Random numbers that are the same each time.
private struct Dice: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

@MainActor struct OpenDatabasesTests {
    struct Broken: Error {}

    @Test func manyObjectsHaveFewConnections() async throws {
        let objects = try Objects(300, connections: 8)
        for number in 0..<300 {
            try await objects[number].put("n", number)
            try objects[number].sql.exec("CREATE TABLE t (a); INSERT INTO t VALUES (?)", .integer(Int64(number)))
            await settle()
            if number % 50 == 0 { #expect(try objects.connectionCount <= 8) }
        }
        #expect(try objects.connectionCount == 8)
        #expect(try objects.open.count == 300 + 8 * 3)
        for number in 0..<300 {
            #expect(try await objects[number].get("n", as: Int.self) == number)
            #expect(try objects[number].sql.exec("SELECT a FROM t").one().values == [.integer(Int64(number))])
        }
        #expect(try objects.connectionCount == 8)
        #expect(objects.turns.allSatisfy { $0.resets.isEmpty })
    }

    @Test func aTurnOfManyObjectsHasAConnectionForEachUntilItEnds() async throws {
        let objects = try Objects(20, connections: 4)
        for number in 0..<20 { try await objects[number].put("n", number) }
        #expect(try objects.connectionCount == 20)
        await settle()
        #expect(try objects.connectionCount == 4)
        for number in 0..<20 { #expect(try await objects[number].get("n", as: Int.self) == number) }
    }

    @Test func aCursorBetweenItsRowsKeepsItsConnection() async throws {
        let objects = try Objects(6, connections: 2)
        for number in 0..<6 {
            try objects[number].sql.exec("CREATE TABLE t (a); INSERT INTO t VALUES (1), (2), (3)")
            await settle()
        }
        var cursors: [SQLCursor] = []
        for number in 0..<4 {
            // One of a script, too.
            let cursor = try objects[number].sql.exec(number == 3 ? "SELECT 1; SELECT a FROM t" : "SELECT a FROM t")
            #expect(try cursor.next()?.values == [1])
            cursors.append(cursor)
        }
        for number in 0..<6 { #expect(try objects[number].sql.exec("SELECT count(*) FROM t").one().values == [3]) }
        for number in 0..<4 { #expect(try objects.isConnected(number)) }
        #expect(try objects.connectionCount <= 5)
        for cursor in cursors.dropLast() { #expect(try cursor.raw() == [[2], [3]]) }
        // One that is over keeps nothing, and neither does one that nobody has any more.
        cursors.removeLast()
        try await objects.useOthers(than: 0)
        #expect(try objects.connectionCount == 2)
        #expect(cursors.allSatisfy { $0.columnNames == ["a"] })
        #expect(try cursors[0].next() == nil)
    }

    @Test func aTransactionKeepsItsConnection() async throws {
        let objects = try Objects(5, connections: 2)
        let storage = objects[0]
        try await storage.transaction { _ in
            try await storage.put("a", 1)
            for number in 1..<5 {
                try await objects[number].put("a", number)
                await settle()
            }
            #expect(try objects.isConnected(0))
            #expect(try await storage.get("a", as: Int.self) == 1)
        }
        await settle()
        try await objects.useOthers(than: 0)
        #expect(try !objects.isConnected(0))
        #expect(try await storage.get("a", as: Int.self) == 1)
    }

    @Test func anAlarmThatIsBeingNotedKeepsItsConnection() async throws {
        let objects = try Objects(4, connections: 1)
        objects.turns[0].holdsIndex = true
        try await objects[0].setAlarm(5000)
        await settle()
        try await objects.useOthers(than: 0)
        #expect(try objects.isConnected(0))
        objects.turns[0].releaseIndex()
        await settle()
        try await objects.useOthers(than: 0)
        #expect(try !objects.isConnected(0))
        #expect(try await objects[0].getAlarm() == 5000)
        #expect(objects.turns[0].alarmMoves == [5000])
        try await objects[0].deleteAlarm()
        try await objects.useOthers(than: 0)
        await settle()
        #expect(objects.turns[0].alarmMoves == [5000, nil])
    }

    @Test func aCommitBecomesDurableWithoutAConnection() async throws {
        let objects = try Objects(3, connections: 1)
        objects.turns[0].holdsDisk = true
        try await objects[0].put("a", 1)
        await settle()
        var isDurable = false
        let waiting = Task { @MainActor in
            try await objects[0].sync()
            isDurable = true
        }
        await settle()
        try await objects.useOthers(than: 0)
        #expect(try !objects.isConnected(0))
        // The log stays open for the disk.
        #expect(try objects.open.count { $0 == "0-wal" } == 1)
        try await objects[0].put("b", 2)
        await settle()
        try await objects.useOthers(than: 0)
        #expect(!isDurable)
        #expect(objects.turns[0].durable == 0)
        objects.turns[0].releaseDisk()
        try await waiting.value
        await settle()
        #expect(objects.turns[0].durable == 2)
        #expect(objects.turns[0].syncCount == 2)
        #expect(try !objects.open.contains("0-wal"))
        #expect(try await objects[0].get("a", as: Int.self) == 1)
        #expect(try await objects[0].get("b", as: Int.self) == 2)
    }

    @Test func settingsOutliveTheConnection() async throws {
        let objects = try Objects(3, connections: 1)
        let sql = objects[0].sql
        for setting in ["foreign_keys = OFF", "case_sensitive_like = ON", "recursive_triggers = ON"] {
            try sql.exec("PRAGMA \(setting)")
        }
        try sql.exec("CREATE TABLE t (a INTEGER PRIMARY KEY); INSERT INTO t VALUES (7)")
        await settle()
        for _ in 0..<2 {
            try await objects.useOthers(than: 0)
            #expect(try !objects.isConnected(0))
            #expect(try sql.exec("PRAGMA foreign_keys").one().values == [0])
            #expect(try sql.exec("PRAGMA recursive_triggers").one().values == [1])
            #expect(try sql.exec("PRAGMA ignore_check_constraints").one().values == [0])
            #expect(try sql.exec("SELECT 'a' LIKE 'A'").one().values == [0])
            #expect(try sql.exec("SELECT last_insert_rowid()").one().values == [7])
        }
        #expect(try objects[1].sql.exec("PRAGMA foreign_keys").one().values == [1])
        #expect(try objects[1].sql.exec("SELECT 'a' LIKE 'A'").one().values == [1])
    }

    @Test func whatIsForbiddenStaysSoBehindANewConnection() async throws {
        let objects = try Objects(2, connections: 1)
        try await objects.useOthers(than: 0)
        for query in ["SELECT key FROM _cf_KV", "BEGIN", "PRAGMA journal_mode = DELETE"] {
            #expect(throws: DurableObjectError.self) { try objects[0].sql.exec(query) }
        }
        await #expect(throws: (any Error).self) { try await objects[0].put("a", [UInt8](repeating: 1, count: 2_000_000)) }
        #expect(throws: DurableObjectError.self) { try objects[0].sql.exec("SELECT zeroblob(2000001)") }
    }

    @Test func aDatabaseThatCannotBeOpenedAgainResetsItsObject() async throws {
        let objects = try Objects(2, connections: 1)
        try await objects[0].put("a", 1)
        await settle()
        try await objects.useOthers(than: 0)
        try FileManager.default.moveItem(atPath: objects.path(0), toPath: objects.path(0) + "-away")
        var messages: [String] = []
        for _ in 0..<2 {
            do { _ = try await objects[0].get("a", as: Int.self) } catch { messages.append("\(error)") }
        }
        #expect(messages.count == 2)
        #expect(messages.allSatisfy { $0.hasPrefix("Durable Object storage could not be opened again: ") }, "\(messages)")
        #expect(objects.turns[0].resets.count == 1)
        #expect(objects.turns[0].resets.first?.isObjectReset == true)
        #expect(!FileManager.default.fileExists(atPath: objects.path(0)))
        #expect(objects.turns[1].resets.isEmpty)
    }

    @Test func theFenceStaysWithoutAConnection() async throws {
        let objects = try Objects(2, connections: 1)
        try await objects[0].put("a", 1)
        await settle()
        try await objects.useOthers(than: 0)
        #expect(try !objects.isConnected(0))
        #expect(throws: DurableObjectError("The Durable Object is still open elsewhere.")) {
            _ = try ObjectStorage(path: objects.path(0), turns: Turns())
        }
        try objects.renew(0)
        #expect(try await objects[0].get("a", as: Int.self) == 1)
    }

    @Test func theLogDoesNotGrowOverConnections() async throws {
        let objects = try Objects(2, connections: 1)
        for round in 0..<30 {
            // About a hundred pages.
            try await objects[0].put("a", [UInt8](repeating: UInt8(round), count: 400_000))
            await settle()
            try await objects.useOthers(than: 0)
            #expect(try !objects.isConnected(0))
        }
        let size = try FileManager.default.attributesOfItem(atPath: objects.path(0) + "-wal")[.size] as? Int ?? .max
        #expect(size < 1200 * 4120)
        #expect(try await objects[0].get("a", as: [UInt8].self) == [UInt8](repeating: 29, count: 400_000))
    }

    // MARK: Against a model

    private struct Model {
        var keys: [String: Int] = [:]
        var rows: [Int64] = []
        /// A cursor over 0...4, and the number that it gives next.
        var cursor: (cursor: SQLCursor, next: Int64)?
    }

    @Test(arguments: [1, 2, 3] as [UInt64]) func randomUseIsAsWithAConnectionForEach(_ seed: UInt64) async throws {
        var dice = Dice(state: seed)
        let objects = try Objects(10, connections: 3)
        var models = [Model](repeating: Model(), count: 10)
        for number in 0..<10 {
            try objects[number].sql.exec(
                "CREATE TABLE t (a); CREATE TABLE fixed (a); INSERT INTO fixed VALUES (0), (1), (2), (3), (4)")
        }
        await settle()
        for step in 0..<800 {
            let number = Int.random(in: 0..<10, using: &dice)
            try await use(objects, number, &models[number], step, &dice)
            guard step % 20 == 0 else { continue }
            await settle()
            // At least one of them is opened for this.
            for other in 0..<10 { _ = try await objects[other].get("nothing", as: Int.self) }
            let pinned = models.count { $0.cursor != nil }
            #expect(try objects.connectionCount <= max(3, pinned + 1))
        }
        await settle()
        for number in 0..<10 {
            models[number].cursor = nil
            try await objects[number].sync()
            try objects.renew(number)
            try await compare(objects[number], models[number])
            #expect(objects.turns[number].resets.isEmpty)
        }
    }

    private func use(
        _ objects: Objects, _ number: Int, _ model: inout Model, _ step: Int, _ dice: inout Dice
    ) async throws {
        let storage = objects[number]
        let key = "k\(Int.random(in: 0..<5, using: &dice))"
        switch Int.random(in: 0..<12, using: &dice) {
        case 0, 1:
            try await storage.put(key, step)
            model.keys[key] = step
        case 2: #expect(try await storage.delete(key) == (model.keys.removeValue(forKey: key) != nil))
        case 3, 4: #expect(try await storage.get(key, as: Int.self) == model.keys[key])
        case 5:
            try storage.sql.exec("INSERT INTO t VALUES (?)", .integer(Int64(step)))
            model.rows.append(Int64(step))
        case 6: try await compare(storage, model)
        case 7:
            try? storage.transactionSync {
                try storage.kv.put(key, -1)
                try storage.sql.exec("DELETE FROM t")
                throw Broken()
            }
        case 8:
            try? await storage.transaction { _ in
                try await storage.put(key, -1)
                try await objects.useOthers(than: number)
                await settle()
                #expect(try await storage.get(key, as: Int.self) == -1)
                throw Broken()
            }
        case 9:
            if let open = model.cursor {
                let expected: SQLValue? = open.next < 5 ? .integer(open.next) : nil
                #expect(try open.cursor.next()?[0] == expected)
                model.cursor = open.next < 5 ? (open.cursor, open.next + 1) : nil
            } else if number < 4 {
                model.cursor = (try storage.sql.exec("SELECT a FROM fixed ORDER BY a"), 0)
            }
        case 10: await settle()
        default: try await storage.sync()
        }
    }

    private func compare(_ storage: ObjectStorage, _ model: Model) async throws {
        let listed = try await storage.list(as: Int.self)
        #expect(Dictionary(uniqueKeysWithValues: listed.map { ($0.key, $0.value) }) == model.keys)
        #expect(try storage.sql.exec("SELECT a FROM t ORDER BY rowid").raw() == model.rows.map { [SQLValue.integer($0)] })
    }
}
