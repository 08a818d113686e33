import Interfaces
import LMDB
import Synchronization
import System
import Testing

@testable import StoresQueues

/// Purges, and the history from which acknowledged messages can be put back.
@Suite struct `Queue history` {
    private func text(_ lease: QueueLease?) -> [String] {
        (lease?.messages ?? []).map { String(decoding: $0.item.body, as: UTF8.self) }
    }

    /// Delivers and acknowledges what is ready.
    private func drain(_ fixture: QueueFixture, _ name: String = "events") async throws {
        let consumer = QueueConsumerSettings(batchSizeMax: 100)
        while let lease = try await fixture.lease(name, consumer) {
            try await fixture.store.settle(lease, lease.messages.map { _ in .acknowledge }, consumer: consumer)
        }
    }

    @Test func `puts acknowledged messages back from a time on, in their order, as if they were new`() async throws {
        let fixture = try QueueFixture()
        let queue = try await fixture.queue()
        var times: [UnixTime] = []
        for index in 0..<6 {
            times.append(fixture.clock.wallTime())
            try await queue.send("\(index)", contentType: .text)
            fixture.clock.advance(by: .seconds(10))
        }
        let consumer = QueueConsumerSettings(batchSizeMax: 5)
        let lease = try #require(try await fixture.lease("events", consumer))
        let ids = lease.messages.map(\.item.id)
        try await fixture.store.settle(
            lease, [.acknowledge, .acknowledge, .acknowledge, .acknowledge, .retry(delaySeconds: 100)], consumer: consumer)
        #expect(try fixture.store.history(of: "events") == QueueHistory(count: 4, bytes: 4))
        try await fixture.reopen()
        #expect(try await fixture.store.replay("events", from: times[2]) == 2)
        #expect(try fixture.store.history(of: "events") == QueueHistory(count: 2, bytes: 2))
        #expect(try fixture.store.metrics(of: "events").backlogCount == 4)
        #expect(try fixture.store.metrics(of: "events").oldestMessageTimestamp == times[2].milliseconds)
        // Behind what was ready before.
        let again = try #require(try await fixture.lease("events", consumer))
        #expect(text(again) == ["5", "2", "3"])
        #expect(again.messages.map(\.item.attempts) == [1, 1, 1])
        #expect(again.messages.map(\.item.id)[1...] == ids[2...3])
        #expect(again.messages[1].item.timestamp == times[2].milliseconds)
        // Nothing is put back twice while it waits.
        #expect(try await fixture.store.replay("events", from: UnixTime(milliseconds: 0)) == 2)
        #expect(try await fixture.store.replay("events", from: UnixTime(milliseconds: 0)) == 0)
        #expect(try await fixture.store.verify() == [])
    }

    @Test func `replays thousands, in several transactions`() async throws {
        let fixture = try QueueFixture()
        let queue = try await fixture.queue()
        for start in 0..<12 {
            try await queue.sendBatch((0..<100).map { QueueMessageToSend("\(start * 100 + $0)", contentType: .text) })
        }
        try await drain(fixture)
        #expect(try await fixture.store.replay("events", from: UnixTime(milliseconds: 0)) == 1200)
        var seen: [String] = []
        let consumer = QueueConsumerSettings(batchSizeMax: 100)
        while let lease = try await fixture.lease("events", consumer) { seen += text(lease) }
        #expect(seen == (0..<1200).map { "\($0)" })
        await #expect(throws: QueueError.noSuchQueue("none")) {
            _ = try await fixture.store.replay("none", from: UnixTime(milliseconds: 0))
        }
    }

    @Test func `keeps no more than its limits: the queue's, the tenant's, the retention`() async throws {
        var quota = QueueQuota()
        quota.historyBytesMax = 1000
        quota.totalHistoryBytesMax = 1600
        let fixture = try QueueFixture(quota: quota)
        let queue = try await fixture.queue()
        // Each counts 200 bytes.
        for index in 0..<7 { try await queue.send([UInt8](repeating: UInt8(index), count: 100), contentType: .bytes) }
        try await drain(fixture)
        #expect(try fixture.store.history(of: "events") == QueueHistory(count: 5, bytes: 500))
        // One that alone is too large displaces nothing.
        try await queue.send([UInt8](repeating: 9, count: 901), contentType: .bytes)
        try await drain(fixture)
        #expect(try fixture.store.history(of: "events") == QueueHistory(count: 5, bytes: 500))
        // Another queue gets what is left.
        let other = try await fixture.queue("other")
        for _ in 0..<7 { try await other.send([UInt8](repeating: 7, count: 100), contentType: .bytes) }
        try await drain(fixture, "other")
        #expect(try fixture.store.history(of: "other") == QueueHistory(count: 3, bytes: 300))
        #expect(try await fixture.store.replay("events", from: UnixTime(milliseconds: 0)) == 5)
        let lease = try #require(try await fixture.lease())
        #expect(lease.messages.map { $0.item.body.first } == [2, 3, 4, 5, 6])
        try await fixture.store.updateQueue("other", QueueSettingsChange(retentionSeconds: 60))
        fixture.clock.advance(by: .seconds(60))
        await fixture.store.sweep()
        #expect(try fixture.store.history(of: "other") == QueueHistory(count: 0, bytes: 0))
        #expect(try await fixture.store.verify() == [])
    }

    @Test func `a replayed message keeps its retention, and one that is too old stays away`() async throws {
        let fixture = try QueueFixture()
        let queue = try await fixture.queue()
        try await fixture.store.updateQueue("events", QueueSettingsChange(retentionSeconds: 60))
        try await queue.send(1)
        fixture.clock.advance(by: .seconds(30))
        try await queue.send(2)
        try await drain(fixture)
        fixture.clock.advance(by: .seconds(30))
        #expect(try await fixture.store.replay("events", from: UnixTime(milliseconds: 0)) == 1)
        fixture.clock.advance(by: .seconds(30))
        #expect(try await fixture.lease() == nil)
    }

    @Test func `keeps nothing without room for it`() async throws {
        var quota = QueueQuota()
        quota.historyBytesMax = 0
        let fixture = try QueueFixture(quota: quota)
        try await fixture.queue().send(1)
        try await drain(fixture)
        #expect(try fixture.store.history(of: "events").count == 0)
        #expect(try await fixture.store.verify() == [])
    }

    @Test func `probe 27: a purge ends with nothing left, and says when`() async throws {
        let fixture = try QueueFixture()
        let queue = try await fixture.queue()
        #expect(try fixture.store.purgeStatus(of: "events") == nil)
        try await queue.send(0)
        try await drain(fixture)
        #expect(try await queue.sendBatch((0..<100).map { QueueMessageToSend($0) }).backlogCount == 100)
        fixture.clock.advance(by: .seconds(1))
        let purge = try await fixture.store.purge("events")
        #expect(purge.startedAt == fixture.clock.wallTime() && purge.endedAt == fixture.clock.wallTime())
        #expect(try fixture.store.purgeStatus(of: "events") == purge)
        #expect(try fixture.count() == 0)
        // Deleted permanently: the history too.
        #expect(try await fixture.store.replay("events", from: UnixTime(milliseconds: 0)) == 0)
        try await queue.send("new", contentType: .text)
        #expect(text(try await fixture.lease()) == ["new"])
        #expect(try await fixture.store.verify() == [])
    }

    @Test func `a purge that was interrupted is finished by the next start, and delivers nothing meanwhile`() async throws {
        let commits = Atomic<Int>(.max)
        let fixture = try QueueFixture(fault: { operation in
            guard operation == "commit" else { return nil }
            return commits.subtract(1, ordering: .relaxed).newValue < 0 ? LMDBError("mdb_txn_commit", .diskFull) : nil
        })
        let queue = try await fixture.queue()
        for _ in 0..<25 { try await queue.sendBatch((0..<100).map { QueueMessageToSend($0) }) }
        commits.store(2, ordering: .relaxed)
        await #expect(throws: QueueError.failed) { try await fixture.store.purge("events") }
        commits.store(.max, ordering: .relaxed)
        #expect(try fixture.count() == 1500)
        #expect(try fixture.store.purgeStatus(of: "events")?.endedAt == nil)
        try await queue.send("new", contentType: .text)
        #expect(try fixture.store.peek(into: "events", batchSize: nil).map(\.body) == ["new"])
        #expect(text(try await fixture.lease()) == ["new"])
        try await fixture.reopen()
        while try fixture.store.purgeStatus(of: "events")?.endedAt == nil { await Task.yield() }
        #expect(text(try await fixture.lease()) == ["new"])
        #expect(try fixture.count() == 1)
        #expect(try await fixture.store.verify() == [])
    }

    @Test func `purges single messages by reference, whatever their state`() async throws {
        let fixture = try QueueFixture()
        let queue = try await fixture.pullQueue()
        for index in 0..<5 { try await queue.send("\(index)", contentType: .text) }
        let peeked = try fixture.store.peek(into: "events", batchSize: 10)
        let pulled = try await fixture.pull("events", 1)
        let unknown = try await fixture.store.purge(
            "events", references: [peeked[0].reference, peeked[3].reference, peeked[3].reference, "nonsense"])
        #expect(unknown == [peeked[3].reference, "nonsense"])
        #expect(try fixture.store.peek(into: "events", batchSize: 10).map(\.body) == ["1", "2", "4"])
        let late = try await fixture.store.settle(pulled: "events", acknowledge: pulled.map(\.leaseID), retry: [])
        #expect(late.acknowledgedCount == 0 && late.warnings.count == 1)
        #expect(try fixture.count() == 3)
        #expect(
            await refusal {
                _ = try await fixture.store.purge("events", references: Array(repeating: "x", count: 1001))
            }?.code == 10026)
        #expect(try await fixture.store.replay("events", from: UnixTime(milliseconds: 0)) == 0)
        #expect(try await fixture.store.verify() == [])
    }
}
