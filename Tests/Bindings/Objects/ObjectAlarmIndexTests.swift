import Glibc
import LMDB
import Stores
import StoresObjects
import System
import Testing

@Suite struct `Index of alarms` {
    private func alarm(_ number: UInt8, at time: Int64, namespace: String = "n") -> ObjectAlarm {
        ObjectAlarm(
            object: [UInt8](repeating: number, count: 32), name: number % 2 == 0 ? "name \(number)" : nil, namespace: namespace,
            time: UnixTime(milliseconds: time), scheduledTime: UnixTime(milliseconds: time - 1), retryCount: Int(number),
            isRetry: number > 3, backoff: 2)
    }

    private func withDirectory(_ body: (String) async throws -> Void) async throws {
        var template = Array("/tmp/edge-alarms-XXXXXX".utf8CString)
        guard let made = unsafe mkdtemp(&template) else { throw SystemError("mkdtemp", errno: errno) }
        let path = unsafe String(cString: made)
        defer { try? FileTree.removeTree(path) }
        try await body(path + "/alarms")
    }

    @Test func `gives alarms in the order of their times, and forgets those that were replaced`() async throws {
        try await withDirectory { path in
            let index = try EmbeddedObjectAlarmIndex(directory: path, isNew: true)
            for (number, time) in [(1, 300), (2, 100), (3, 200)] { try await index.set(alarm(UInt8(number), at: Int64(time))) }
            #expect(try index.due(at: UnixTime(milliseconds: 200), max: 10).map { $0.object[0] } == [2, 3])
            #expect(try index.due(at: UnixTime(milliseconds: .max), max: 2).map { $0.object[0] } == [2, 3])
            #expect(try index.firstTime() == UnixTime(milliseconds: 100))
            try await index.set(alarm(2, at: 400))
            #expect(try index.due(at: UnixTime(milliseconds: .max), max: 10).map { $0.object[0] } == [3, 1, 2])
            #expect(try index.alarm(of: alarm(2, at: 0).object) == alarm(2, at: 400))
            try await index.remove(alarm(3, at: 0).object)
            #expect(try index.due(at: UnixTime(milliseconds: .max), max: 10) == [alarm(1, at: 300), alarm(2, at: 400)])
            await index.close()
            let again = try EmbeddedObjectAlarmIndex(directory: path, isNew: false)
            #expect(try again.due(at: UnixTime(milliseconds: .max), max: 10) == [alarm(1, at: 300), alarm(2, at: 400)])
            #expect(again.isComplete(for: "a"))
            await again.close()
        }
    }

    @Test func `replaces only what hasn't been changed meanwhile`() async throws {
        try await withDirectory { path in
            let index = try EmbeddedObjectAlarmIndex(directory: path, isNew: true)
            try await index.set(alarm(1, at: 100))
            try await index.set(alarm(1, at: 50))
            try await index.replace(alarm(1, at: 100), by: nil)
            #expect(try index.firstTime() == UnixTime(milliseconds: 50))
            try await index.replace(alarm(1, at: 50), by: alarm(1, at: 70))
            #expect(try index.firstTime() == UnixTime(milliseconds: 70))
            try await index.replace(alarm(1, at: 70), by: nil)
            #expect(try index.firstTime() == nil)
            await index.close()
        }
    }

    @Test func `forgets a namespace, and knows whether it has all alarms`() async throws {
        try await withDirectory { path in
            let index = try EmbeddedObjectAlarmIndex(directory: path, isNew: false)
            #expect(!index.isComplete(for: "a"))
            for number in 0..<200 { try await index.set(alarm(UInt8(number), at: 1, namespace: number % 2 == 0 ? "a" : "b")) }
            try await index.removeAll(of: "a")
            #expect(try index.due(at: UnixTime(milliseconds: 1), max: 1000).count == 100)
            try await index.noteComplete(for: "a")
            #expect(index.isComplete(for: "a") && !index.isComplete(for: "b"))
            await index.close()
            let again = try EmbeddedObjectAlarmIndex(directory: path, isNew: false)
            #expect(again.isComplete(for: "a") && !again.isComplete(for: "b"))
            try await again.removeAll(of: "a")
            #expect(!again.isComplete(for: "a"))
            await again.close()
        }
    }

    @Test func `that was never lost lacks nothing but what was removed from it`() async throws {
        try await withDirectory { path in
            let index = try EmbeddedObjectAlarmIndex(directory: path, isNew: true)
            #expect(index.isComplete(for: "a"))
            try await index.removeAll(of: "a")
            #expect(!index.isComplete(for: "a") && index.isComplete(for: "b"))
            try await index.noteComplete(for: "a")
            #expect(index.isComplete(for: "a"))
            await index.close()
        }
    }
}
