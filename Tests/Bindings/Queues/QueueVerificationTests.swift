import Glibc
import Interfaces
import LMDB
import StoresQueues
import System
import Testing

/// Damage is found and said; it costs the messages that it hit, and no others.
@Suite struct `Queue verification` {
    private static let number: [UInt8] = [0, 0, 0, 0]

    private func key(_ sequence: UInt8) -> [UInt8] { Self.number + [0, 0, 0, 0, 0, 0, 0, sequence] }

    /// Three messages wait, one is with a worker, one with a client (number 4), one was acknowledged (number 5).
    private func filled() async throws -> QueueFixture {
        let fixture = try QueueFixture()
        let queue = try await fixture.pullQueue()
        for body in 0..<6 { try await queue.send([UInt8](repeating: UInt8(body), count: 10), contentType: .bytes) }
        let all = try await fixture.pull("events", 6, for: .seconds(100))
        _ = try await fixture.store.settle(
            pulled: "events", acknowledge: [all[5].leaseID],
            retry: all[0..<4].map { QueuePullRetry(leaseID: $0.leaseID, delaySeconds: 0) })
        #expect(try await fixture.store.verify() == [])
        return fixture
    }

    private func damage(
        _ fixture: QueueFixture, _ change: (LMDBEnvironment) throws -> Void
    ) async throws -> [String] {
        await fixture.store.close()
        let environment = try fixture.environment()
        try change(environment)
        environment.close()
        try await fixture.reopen()
        return try await fixture.store.verify()
    }

    private func edit(
        _ fixture: QueueFixture, _ name: String, _ change: (LMDBDatabase, borrowing LMDBWriteTransaction) throws -> Void
    ) async throws -> [String] {
        try await damage(fixture) { environment in
            let database = try environment.openDatabase(name)
            try environment.write { try change(database, $0) }
        }
    }

    @Test func `a body that is missing, short or another one`() async throws {
        let fixture = try await filled()
        let found = try await edit(fixture, "bodies") { bodies, transaction in
            try transaction.delete(key(0), in: bodies)
            try transaction.put(key(1), [1, 1], in: bodies)
            try transaction.put(key(2), [UInt8](repeating: 3, count: 10), in: bodies)
            try transaction.put(key(5), [], in: bodies)
        }
        #expect(
            found == [
                "queue \"events\": message 0 has no body",
                "queue \"events\": message 1 has 2 of 10 bytes of its body",
                "queue \"events\": message 2 has a body that isn't the one that was sent",
                "queue \"events\": acknowledged message 5 has 0 of 10 bytes of its body",
            ])
        // They are set aside and told; the one behind them is delivered.
        let pulled = try await fixture.pull("events", 10)
        #expect(pulled.map(\.body) == ["AwMDAwMDAwMDAw=="])
        #expect(fixture.log.messages.filter { $0.contains("damaged and set aside") }.count == 3)
        #expect(try await fixture.store.replay("events", from: UnixTime(milliseconds: 0)) == 0)
        // A purge removes them.
        try await fixture.store.purge("events")
        #expect(try await fixture.store.verify() == [])
        #expect(try fixture.count() == 0)
    }

    @Test func `rows that can't be read`() async throws {
        let fixture = try await filled()
        let found = try await damage(fixture) { environment in
            let (messages, history) = (try environment.openDatabase("messages"), try environment.openDatabase("history"))
            let consumers = try environment.openDatabase("consumers")
            try environment.write { transaction in
                try transaction.put(key(0), [1, 2, 3], in: messages)
                try transaction.put(key(5), [], in: history)
                try transaction.put(Self.number, [7], in: consumers)
            }
        }
        #expect(found.contains("queue \"events\": message 0 has a row that can't be read"))
        #expect(found.contains("queue \"events\": acknowledged message 5 has a row that can't be read"))
        #expect(found.contains("queue \"events\": its consumer can't be read"))
        #expect(found.contains { $0.hasPrefix("queue \"events\": counts 5 messages of 50 bytes") })
        #expect(found.count == 4)
        await fixture.store.sweep()
        let lease = try await fixture.lease()
        #expect(lease?.messages.count == 3)
        try await fixture.store.purge("events")
        #expect(try fixture.count() == 0)
        #expect(try await fixture.store.verify() == ["queue \"events\": its consumer can't be read"])
    }

    @Test func `a row that is gone, beside one that can't be read, keeps no store closed`() async throws {
        let fixture = try await filled()
        let found = try await edit(fixture, "messages") { messages, transaction in
            try transaction.delete(key(0), in: messages)
            try transaction.put(key(1), [1, 2, 3], in: messages)
        }
        #expect(found.contains("queue \"events\": body 0 belongs to no message"))
        #expect(found.contains("queue \"events\": the index of ready messages names message 0, which isn't there"))
        #expect(found.contains("queue \"events\": message 1 has a row that can't be read"))
        #expect(found.contains { $0.hasPrefix("queue \"events\": counts 5 messages of 50 bytes") })
        #expect(found.count == 4)
        #expect(try await fixture.pull("events", 10).count == 2)
    }

    @Test func `indexes that lost something, or name what isn't there`() async throws {
        let fixture = try await filled()
        let found = try await damage(fixture) { environment in
            let (ready, leases) = (try environment.openDatabase("ready"), try environment.openDatabase("leases"))
            try environment.write { transaction in
                try transaction.removeAll(in: leases)
                var keys: [[UInt8]] = []
                try transaction.withCursor(ready) { cursor throws(LMDBError) in
                    var isFound = try cursor.moveToFirst()
                    while isFound {
                        keys.append(cursor.key)
                        isFound = try cursor.moveToNext()
                    }
                }
                #expect(keys.count == 4)
                try transaction.delete(keys[0], in: ready)
                try transaction.put(Array(keys[1].prefix(12)) + key(77).suffix(8), [], in: ready)
                try transaction.put(keys[1].prefix(11) + [keys[1][11] &- 1] + keys[1].suffix(8), [], in: ready)
            }
        }
        #expect(
            Set(found) == [
                "queue \"events\": message 0 is in no index of ready messages",
                "queue \"events\": message 4 is in no index of leases",
                "queue \"events\": the index of ready messages names message 77, which isn't there",
                "queue \"events\": the index of ready messages has message 1 at another time",
            ])
        // No message is delivered twice at a time, and the rest is.
        #expect(
            try await fixture.pull("events", 10).map(\.body) == ["AQEBAQEBAQEBAQ==", "AgICAgICAgICAg==", "AwMDAwMDAwMDAw=="])
        #expect(try await fixture.pull("events", 10) == [])
    }

    @Test func `what belongs to nobody, and counts that don't add up`() async throws {
        let fixture = try await filled()
        let found = try await damage(fixture) { environment in
            let bodies = try environment.openDatabase("bodies")
            let (queues, ids) = (try environment.openDatabase("queues"), try environment.openDatabase("ids"))
            try environment.write { transaction in
                try transaction.put(key(99), [1], in: bodies)
                try transaction.put([0, 0, 0, 9] + key(1).suffix(8), [1], in: bodies)
                var row = try #require(try transaction.value(of: Array("events".utf8), in: queues))
                row[37] = 77
                try transaction.put(Array("events".utf8), row, in: queues)
                try transaction.removeAll(in: ids)
            }
        }
        #expect(found.contains("queue \"events\": body 99 belongs to no message"))
        #expect(found.contains("bodies: 9 is no queue's number"))
        #expect(found.contains("queue \"events\": its id leads elsewhere, or nowhere"))
        #expect(found.contains("ids: there are more or less than queues"))
        #expect(found.contains { $0.hasPrefix("totals:") })
        #expect(
            found.contains(
                "queue \"events\": counts 77 messages of 50 bytes and 1 acknowledged ones of 10 bytes, "
                    + "has 5 messages of 50 bytes and 1 acknowledged ones of 10 bytes"))
        #expect(found.count == 6)
    }

    @Test(arguments: [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
    func `a file that lost its end is refused, or what it lost is told`(_ part: Double) async throws {
        let fixture = try QueueFixture()
        let queue = try await fixture.queue()
        for index in 0..<60 {
            // Some of them in pages of their own.
            let body = [UInt8](repeating: UInt8(index), count: index % 3 == 0 ? 10_000 : 200)
            try await queue.send(body, contentType: .bytes)
        }
        await fixture.store.close()
        let file = "\(fixture.path)/\(fixture.directory)/data.mdb"
        let byteCount = try #require(try Self.byteCount(of: file))
        #expect(unsafe truncate(file, Int(Double(byteCount) * part) / 4096 * 4096) == 0)
        do { try await fixture.reopen() } catch { return }
        let problems = try await fixture.store.verify()
        // What is still there can be asked for; nothing else comes instead of what isn't.
        var delivered: [UInt8] = []
        while let lease = try? await fixture.lease() {
            for message in lease.messages {
                #expect(Set(message.item.body).count == 1)
                delivered += message.item.body.prefix(1)
            }
        }
        // The end may have been pages that nobody needs.
        #expect(!problems.isEmpty || delivered == Array(0..<60))
    }

    private static func byteCount(of file: String) throws -> Int? {
        var status = stat()
        guard unsafe stat(file, &status) == 0 else { return nil }
        return status.st_size
    }

    @Test func `a damaged store is listed up to a limit`() async throws {
        let fixture = try QueueFixture()
        let queue = try await fixture.queue()
        for _ in 0..<3 { try await queue.sendBatch((0..<100).map { QueueMessageToSend($0) }) }
        let found = try await edit(fixture, "bodies") { bodies, transaction in try transaction.removeAll(in: bodies) }
        #expect(found.count == 101)
        #expect(found.last == "more, which are not listed")
    }

    @Test func `finds nothing while others work`() async throws {
        let fixture = try QueueFixture()
        let queue = try await fixture.queue()
        for _ in 0..<15 { try await queue.sendBatch((0..<100).map { QueueMessageToSend($0) }) }
        let store = fixture.store
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                let consumer = QueueConsumerSettings(batchSizeMax: 7)
                for index in 0..<150 {
                    try await queue.send(index)
                    let lease = try await store.lease(QueueLeaseRequest("events", consumer: consumer))
                    guard let lease else { continue }
                    try await store.settle(
                        lease, lease.messages.indices.map { $0 % 3 == 0 ? .retry(delaySeconds: nil) : .acknowledge },
                        consumer: consumer)
                }
            }
            for _ in 0..<10 { #expect(try await store.verify() == []) }
            try await group.waitForAll()
        }
    }
}
