import DurableObjects
import Foundation
import Glibc
import Interfaces
import SQLite
import Synchronization
import System
import TenantSQL
import Testing

/// An object with a past, in a directory of its own.
@MainActor private final class Past {
    let directory: String
    let turns = Turns()
    var past: ObjectStorage.Past
    private(set) var storage: ObjectStorage

    static let month = Duration.seconds(30 * 86_400)

    init(in directory: String? = nil, retention: Duration = Past.month, checkpointFrames: Int = 20) throws {
        self.directory = directory ?? FileManager.default.temporaryDirectory.path + "/edge-past-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: self.directory, withIntermediateDirectories: true)
        past = ObjectStorage.Past(retention: retention)
        past.checkpointFrames = checkpointFrames
        storage = try ObjectStorage(path: self.directory + "/object.sqlite", past: past, turns: turns)
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    var path: String { directory + "/object.sqlite" }

    /// The object's next life.
    func renew() throws {
        storage.close(DurableObjectError("closed"))
        storage = try ObjectStorage(path: path, past: past, turns: turns)
    }

    /// What a process finds that comes after one that was killed now.
    func copied() throws -> Past {
        let copy = directory + "-\(UUID().uuidString)"
        try FileManager.default.copyItem(atPath: directory, toPath: copy)
        let found = try Past(in: copy)
        found.turns.now = turns.now
        return found
    }

    func restore(_ bookmark: String) async throws -> String {
        let undo = try await storage.onNextSessionRestoreBookmark(bookmark)
        try renew()
        return undo
    }

    /// All that it holds.
    var content: [String] {
        get async throws {
            let pairs = try await storage.list(as: Int.self).map { "\($0.key) = \($0.value)" }
            let tables = try storage.sql.exec("SELECT name FROM sqlite_schema WHERE name = 't'").toArray()
            let rows = try tables.isEmpty ? [] : storage.sql.exec("SELECT id, hex(v) FROM t ORDER BY id").raw().map { "\($0)" }
            return pairs + rows + ["alarm \(try await storage.getAlarm() ?? 0)"]
        }
    }

    var files: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []).sorted() }
}

private struct Dice: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state ^ state >> 29
    }
}

@MainActor @Suite struct `History of an object` {
    private func message(_ body: () async throws -> Void) async -> String {
        do { try await body() } catch { return "\(error)" }
        return "nothing was thrown"
    }

    /// One commit.
    private func change(_ storage: ObjectStorage, _ number: Int, _ dice: inout Dice) async throws {
        try storage.sql.exec("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, v BLOB)")
        let id = Int64.random(in: 0..<20, using: &dice)
        switch Int.random(in: 0..<6, using: &dice) {
        case 0: try storage.sql.exec("DELETE FROM t WHERE id >= ?", .integer(id))
        case 1: try await storage.setAlarm(Int64(5_000_000 + number))
        case 2: try await storage.delete("key \(id)")
        default:
            let size = Int64.random(in: 1..<9000, using: &dice)
            try storage.sql.exec("INSERT OR REPLACE INTO t VALUES (?, randomblob(?))", .integer(id), .integer(size))
        }
        try await storage.put("key \(id % 5)", number)
        try await storage.put("number", number)
        try await storage.sync()
    }

    @Test func `each commit can be had again, in any order`() async throws {
        let object = try Past()
        var dice = Dice(state: 20_261_122)
        var states: [(bookmark: String, content: [String])] = []
        for number in 0..<60 {
            object.turns.now += 1000
            try await change(object.storage, number, &dice)
            states.append((try await object.storage.getCurrentBookmark(), try await object.content))
            if number % 17 == 16 { try object.renew() }
        }
        #expect(object.files.contains { $0.hasPrefix("object.sqlite-history-segment-0000000003") }, "\(object.files)")
        let form = /[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{32}/
        for (earlier, later) in zip(states, states.dropFirst()) { #expect(earlier.bookmark < later.bookmark) }
        for state in states { #expect(state.bookmark.wholeMatch(of: form) != nil) }
        for _ in 0..<8 {
            let (bookmark, content) = states[Int.random(in: 0..<states.count, using: &dice)]
            let last = states[states.count - 1]
            let undo = try await object.restore(bookmark)
            #expect(try await object.content == content)
            #expect(last.bookmark < undo)
            object.turns.now += 1000
            try await change(object.storage, states.count, &dice)
            states.append((try await object.storage.getCurrentBookmark(), try await object.content))
            #expect(undo < states[states.count - 1].bookmark)
            if Bool.random(using: &dice) {
                _ = try await object.restore(undo)
                #expect(try await object.content == last.content)
                states.append((try await object.storage.getCurrentBookmark(), last.content))
            }
        }
        for (earlier, later) in zip(states, states.dropFirst()) { #expect(earlier.bookmark < later.bookmark) }
    }

    @Test func `a restore waits for the next life, and is undone with all that came before it`() async throws {
        let object = try Past()
        try object.storage.keepName("its name")
        try await object.storage.put("a", 1)
        try await object.storage.setAlarm(2_000_000)
        let first = try await object.storage.getCurrentBookmark()
        try await object.storage.put("a", 2)
        try await object.storage.deleteAlarm()
        let undo = try await object.storage.onNextSessionRestoreBookmark(first)
        #expect(try await object.storage.get("a", as: Int.self) == 2)
        // Written after that, and before the restore: undone with it, and had again by its undoing.
        try await object.storage.put("a", 3)
        try await object.storage.sync()
        try object.renew()
        #expect(try await object.content == ["a = 1", "alarm 2000000"])
        #expect(try object.storage.name == "its name")
        try object.renew()
        #expect(try await object.content == ["a = 1", "alarm 2000000"])
        try await object.storage.deleteAll()
        try await object.storage.sync()
        _ = try await object.restore(undo)
        #expect(try await object.content == ["a = 3", "alarm 0"])
        #expect(try object.storage.name == "its name")
        // The first state is from before there was anything.
        let beginning = try await object.storage.getBookmarkForTime(1)
        #expect(beginning < first)
        _ = try await object.restore(beginning)
        #expect(try await object.content == ["alarm 0"])
        #expect(object.turns.warnings == [])
    }

    @Test func `the node wakes an object that waits for a restore, until it was opened anew`() async throws {
        let object = try Past()
        try await object.storage.put("a", 1)
        let bookmark = try await object.storage.getCurrentBookmark()
        #expect(object.turns.alarmMoves == [])
        _ = try await object.storage.onNextSessionRestoreBookmark(bookmark)
        #expect(object.turns.alarmMoves == [object.turns.now + 60_000])
        #expect(try await object.storage.getAlarm() == nil)
    }

    @Test func `a time has the state that was the newest then`() async throws {
        let object = try Past()
        var states: [(time: Int64, content: [String])] = []
        object.turns.now = 100 * 86_400_000
        for number in 0..<30 {
            object.turns.now += 10_000
            try await object.storage.put("a", number)
            try await object.storage.put("b", number)
            try await object.storage.sync()
            states.append((object.turns.now, try await object.content))
            if number == 12 { try object.renew() }
        }
        for index in [0, 7, 12, 13, 28] {
            let bookmark = try await object.storage.getBookmarkForTime(states[index].time + 9_999)
            let undo = try await object.restore(bookmark)
            #expect(try await object.content == states[index].content)
            _ = try await object.restore(undo)
        }
        let now = object.turns.now
        #expect(await message { _ = try await object.storage.getBookmarkForTime(now + 1) }.contains("in the future"))
        #expect(await message { _ = try await object.storage.getBookmarkForTime(now - 31 * 86_400_000) }.contains("30.0 days"))
    }

    @Test func `what is older than the retention goes`() async throws {
        let object = try Past(retention: .seconds(3600))
        object.turns.now = 100 * 86_400_000
        try await object.storage.put("a", -1)
        let first = try await object.storage.getCurrentBookmark()
        var blob = 0
        for hour in 0..<6 {
            object.turns.now += 1_800_000
            // Enough for a life of the log each time.
            for _ in 0..<4 {
                blob += 1
                try await object.storage.put("blob", [Int](repeating: blob, count: 20_000))
                try await object.storage.put("a", hour)
                try await object.storage.sync()
                await settle()
            }
        }
        #expect(
            await message { _ = try await object.storage.onNextSessionRestoreBookmark(first) }.contains(
                "the history of this database begins"))
        let bookmark = try await object.storage.getBookmarkForTime(object.turns.now - 3_600_000)
        try await object.storage.delete("blob")
        _ = try await object.restore(bookmark)
        #expect(try await object.storage.get("a", as: Int.self) == 3)
        let segments = object.files.filter { $0.hasSuffix(".wal") && $0.contains("history") }
        #expect(!segments.contains("object.sqlite-history-segment-0000000001.wal"), "\(segments)")
    }

    @Test func `bookmarks that are none say so`() async throws {
        let object = try Past()
        try await object.storage.put("a", 1)
        let here = try await object.storage.getCurrentBookmark()
        #expect(try await object.storage.getCurrentBookmark() == here)
        let storage = object.storage
        for (bookmark, expected) in [
            ("", "Invalid bookmark"), ("yesterday", "Invalid bookmark: yesterday"),
            (here.uppercased() + "0", "Invalid bookmark"),
            ("00000002" + here.dropFirst(8), "is in the future"),
            (String(here.dropLast(8)) + "00000000", "is not of this database's history"),
            ("00000000" + here.dropFirst(8), "begins at"),
        ] {
            let text = await message { _ = try await storage.onNextSessionRestoreBookmark(bookmark) }
            #expect(text.contains(expected), "\(bookmark): \(text)")
        }
        #expect(
            await message { try await storage.transaction { _ in _ = try await storage.getCurrentBookmark() } }
                == "Cannot call getCurrentBookmark() within a transaction")
        try object.renew()
        #expect(try await object.content == ["a = 1", "alarm 0"])
    }

    @Test func `without a history the calls say so, and nothing of it is kept`() async throws {
        let object = try Past()
        try await object.storage.put("a", 1)
        _ = try await object.storage.getCurrentBookmark()
        object.past.retention = .zero
        try object.renew()
        #expect(object.files == ["object.sqlite", "object.sqlite-wal"])
        let storage = object.storage
        #expect(await message { _ = try await storage.getCurrentBookmark() }.contains("durable_objects.time_travel"))
        let keys = try ObjectStorage(
            path: object.directory + "/keys.sqlite", isSQL: false, past: .init(retention: .seconds(60)), turns: Turns())
        try await keys.put("a", 1)
        #expect(await message { _ = try await keys.getCurrentBookmark() }.contains("is not backed by SQLite storage"))
        // One that grew meanwhile begins its history with the file as it is.
        for number in 0..<40 {
            try await storage.put("a", number)
            try await storage.put("blob", [Int](repeating: number, count: 2000))
            try await storage.sync()
        }
        object.past.retention = Past.month
        try object.renew()
        try await object.storage.put("a", 39)
        try await object.storage.sync()
        // As it does only once.
        try object.renew()
        let bookmark = try await object.storage.getCurrentBookmark()
        try await object.storage.put("a", 100)
        _ = try await object.restore(bookmark)
        #expect(try await object.storage.get("a", as: Int.self) == 39)
        _ = try await object.restore(try await object.storage.getBookmarkForTime(object.turns.now))
        #expect(object.turns.warnings == [])
    }

    @Test func `pieces that a crash has left behind harm nothing`() async throws {
        let object = try Past()
        var states: [(bookmark: String, content: [String])] = []
        var dice = Dice(state: 7)
        for number in 0..<30 {
            try await change(object.storage, number, &dice)
            if number % 10 == 9 { states.append((try await object.storage.getCurrentBookmark(), try await object.content)) }
        }
        object.storage.close(DurableObjectError("killed"))
        func append(_ count: Int, to name: String) throws {
            let file = try #require(FileHandle(forWritingAtPath: object.directory + "/" + name))
            try file.seekToEnd()
            try file.write(contentsOf: [UInt8](repeating: 0x5A, count: count))
            try file.close()
        }
        let last = try #require(object.files.last { $0.hasSuffix(".commits") })
        try append(17, to: last)
        try append(5000, to: String(last.dropLast(".commits".count)) + ".wal")
        for name in [
            "history-restore", "history-restore-wal", "history-manifest.new", "history-segment-0000000099.wal", "notes",
        ] {
            try Data([1, 2, 3]).write(to: URL(filePath: object.path + "-" + name))
        }
        try object.renew()
        try await change(object.storage, 100, &dice)
        states.append((try await object.storage.getCurrentBookmark(), try await object.content))
        for (bookmark, content) in states.reversed() {
            _ = try await object.restore(bookmark)
            #expect(try await object.content == content)
        }
        #expect(
            !object.files.contains { $0.contains("restore") || $0.contains("0099") || $0.hasSuffix(".new") }, "\(object.files)")
    }

    @Test func `a restore that can't be done leaves the object as it is`() async throws {
        let object = try Past()
        try await object.storage.put("a", 1)
        let bookmark = try await object.storage.getCurrentBookmark()
        try await object.storage.put("a", 2)
        _ = try await object.storage.onNextSessionRestoreBookmark(bookmark)
        try FileManager.default.removeItem(atPath: object.path + "-history-base")
        #expect(await message { try object.renew() }.contains("could not be restored to bookmark \(bookmark)"))
        try object.renew()
        #expect(try await object.storage.get("a", as: Int.self) == 2)
    }

    @Test func `a disk that refuses the history takes nothing else, and the log doesn't grow without end`() async throws {
        let object = try Past()
        let isFull = Mutex(true)
        object.past.faults = DatabaseFaults(
            { _ in nil },
            files: { operation, path in
                operation == .write && path.contains("-history-") && isFull.withLock { $0 } ? ENOSPC : nil
            })
        try object.renew()
        var longest = 0
        for number in 0..<80 {
            object.turns.now += 1000
            try await object.storage.put("a", number)
            try object.storage.sql.exec("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, v BLOB)")
            try object.storage.sql.exec("INSERT OR REPLACE INTO t VALUES (1, randomblob(100000))")
            try await object.storage.sync()
            let attributes = try FileManager.default.attributesOfItem(atPath: object.path + "-wal")
            longest = max(longest, attributes[.size] as? Int ?? 0)
        }
        #expect(object.turns.resets == [] && !object.turns.warnings.isEmpty)
        // 64 times 20 frames, and what one commit has.
        #expect(longest < 1400 * 4120, "\(longest)")
        let storage = object.storage
        #expect(await message { _ = try await storage.getCurrentBookmark() } != "nothing was thrown")
        isFull.withLock { $0 = false }
        for number in 0..<2 {
            try await storage.put("a", number)
            try storage.sql.exec("INSERT OR REPLACE INTO t VALUES (1, randomblob(100000))")
            try await storage.sync()
        }
        let bookmark = try await storage.getCurrentBookmark()
        let content = try await object.content
        try await storage.put("a", 100)
        _ = try await object.restore(bookmark)
        #expect(try await object.content == content)
    }

    /// Copies the directory before each thing that is done to a file of the history: what a kill there leaves.
    private final class Kills: Sendable {
        let copies = Mutex<[String]>([])
        let isOn = Mutex(false)
        let directory: String
        init(_ directory: String) { self.directory = directory }

        var faults: DatabaseFaults {
            DatabaseFaults(
                { _ in nil },
                files: { [self] operation, _ in
                    guard isOn.withLock({ $0 }), operation != .read, operation != .open else { return nil }
                    let copy = directory + "-killed-\(UUID().uuidString)"
                    guard (try? FileManager.default.copyItem(atPath: directory, toPath: copy)) != nil else { return EIO }
                    copies.withLock { $0.append(copy) }
                    return nil
                })
        }

        deinit { for copy in copies.withLock({ $0 }) { try? FileManager.default.removeItem(atPath: copy) } }
    }

    @Test func `a kill at any step leaves all that was there, and a past that is whole`() async throws {
        let object = try Past()
        let kills = Kills(object.directory)
        object.past.faults = kills.faults
        try object.renew()
        var dice = Dice(state: 3)
        var states: [(bookmark: String, content: [String])] = []
        for number in 0..<14 {
            try await change(object.storage, number, &dice)
            if number % 5 == 4 { states.append((try await object.storage.getCurrentBookmark(), try await object.content)) }
        }
        // Its log goes into the history: some of it is not there yet.
        repeat {
            try await object.storage.put("more", 1)
            try await object.storage.sync()
        } while !object.files.contains("object.sqlite-notes")
        let before = try await object.content
        kills.isOn.withLock { $0 = true }
        let newest = try await object.storage.getCurrentBookmark()
        kills.isOn.withLock { $0 = false }
        states.append((newest, before))
        let firstCopies = kills.copies.withLock { $0 }
        #expect(firstCopies.count > 5)
        for copy in firstCopies {
            let found = try Past(in: copy)
            #expect(try await found.content == before)
            #expect(try await found.storage.getCurrentBookmark() == newest)
            _ = try await found.restore(states[0].bookmark)
            #expect(try await found.content == states[0].content)
        }
        // It is restored.
        _ = try await object.storage.onNextSessionRestoreBookmark(states[1].bookmark)
        kills.copies.withLock { $0 = [] }
        kills.isOn.withLock { $0 = true }
        try object.renew()
        kills.isOn.withLock { $0 = false }
        #expect(try await object.content == states[1].content)
        let secondCopies = kills.copies.withLock { $0 }
        #expect(secondCopies.count > 5)
        for copy in secondCopies {
            // Whoever opens it next carries it out; it can be undone, whichever of them has done it.
            let found = try Past(in: copy)
            #expect(try await found.content == states[1].content)
            _ = try await found.restore(newest)
            #expect(try await found.content == before)
        }
        // What is too old goes.
        object.turns.now += 40 * 86_400_000
        kills.copies.withLock { $0 = [] }
        var contents = [try await object.content]
        for number in 100..<108 {
            kills.isOn.withLock { $0 = true }
            try await change(object.storage, number, &dice)
            kills.isOn.withLock { $0 = false }
            contents.append(try await object.content)
        }
        let thirdCopies = kills.copies.withLock { $0 }
        #expect(!object.files.contains("object.sqlite-history-segment-0000000001.wal"))
        for copy in thirdCopies.enumerated().filter({ $0.offset % 10 == 0 }).map(\.element) {
            let found = try Past(in: copy)
            found.turns.now = object.turns.now
            let content = try await found.content
            #expect(contents.contains(content))
            let bookmark = try await found.storage.getCurrentBookmark()
            try await found.storage.put("more", 2)
            _ = try await found.restore(bookmark)
            #expect(try await found.content == content)
        }
    }
}
