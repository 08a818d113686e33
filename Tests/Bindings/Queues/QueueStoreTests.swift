import Interfaces
import LMDB
import Stores
import StoresQueues
import Synchronization
import System
import Testing

@Suite struct `Queue store` {
    @Test func `forgets messages older than the retention, without a dead letter`() async throws {
        let fixture = try QueueFixture()
        let queue = try await fixture.queue()
        let consumer = QueueConsumerSettings(retriesMax: 0, deadLetterQueue: "dead")
        try await fixture.store.openQueue("events", settings: QueueSettings(retentionSeconds: 60))
        try await fixture.store.openQueue("dead", settings: nil)
        try await queue.send(1)
        try await queue.send(2, delaySeconds: 100)
        let lease = try #require(try await fixture.lease("events", consumer))
        fixture.clock.advance(by: .seconds(60))
        try await queue.send(3)
        try await fixture.store.settle(lease, [.retry(delaySeconds: nil)], consumer: consumer)
        await fixture.store.sweep()
        #expect(try fixture.store.metrics(of: "dead").backlogCount == 0)
        #expect(try await queue.metrics().backlogCount == 1)
        fixture.clock.advance(by: .seconds(60))
        #expect(try await fixture.lease("events", consumer) == nil)
        #expect(try await queue.metrics().backlogCount == 0)
    }

    @Test func `keeps a dead letter for its new queue's own retention`() async throws {
        let fixture = try QueueFixture()
        let queue = try await fixture.queue()
        let consumer = QueueConsumerSettings(retriesMax: 0, deadLetterQueue: "dead")
        try await fixture.store.openQueue("dead", settings: QueueSettings(retentionSeconds: 100))
        try await queue.send(1)
        fixture.clock.advance(by: .seconds(90))
        let lease = try #require(try await fixture.lease("events", consumer))
        try await fixture.store.settle(lease, [.retry(delaySeconds: nil)], consumer: consumer)
        fixture.clock.advance(by: .seconds(99))
        await fixture.store.sweep()
        #expect(try fixture.store.metrics(of: "dead").backlogCount == 1)
        fixture.clock.advance(by: .seconds(1))
        await fixture.store.sweep()
        #expect(try fixture.store.metrics(of: "dead").backlogCount == 0)
    }

    @Test func `gives back a lease that was not delivered: same place, same attempts`() async throws {
        let fixture = try QueueFixture()
        let queue = try await fixture.queue()
        for index in 0..<3 { try await queue.send(index) }
        let consumer = QueueConsumerSettings(batchSizeMax: 2)
        let first = try #require(try await fixture.lease("events", consumer))
        try await fixture.store.release(first)
        try await fixture.store.release(first)
        let second = try #require(try await fixture.lease("events", consumer))
        #expect(second.messages == first.messages)
        #expect(second.number != first.number)
    }

    @Test func `counts deliveries that the node's end cut, in the queue and among its dead letters`() async throws {
        let fixture = try QueueFixture()
        let queue = try await fixture.queue()
        try await fixture.store.openQueue("dead", settings: nil)
        try await queue.send("body", contentType: .text)
        let consumer = QueueConsumerSettings(retriesMax: 3, deadLetterQueue: "dead")
        for (name, settings) in [("events", consumer), ("dead", QueueConsumerSettings(retriesMax: 3))] {
            for attempt in 1...4 {
                #expect(try await fixture.lease(name, settings)?.messages.map(\.item.attempts) == [UInt32(attempt)])
                try await fixture.crash()
            }
            // Four were all that it had.
            #expect(try fixture.count(name) == 1)
            #expect(try await fixture.lease(name, settings) == nil)
            #expect(try fixture.count(name) == 0)
        }
        #expect(fixture.log.messages.contains("messages moved to the dead letter queue"))
        // It is told when it is gone for good.
        #expect(fixture.log.messages.contains("messages dropped after their last attempt"))
    }

    @Test func `ends a pull's lease by time, and takes its late settlement until the next delivery`()
        async throws
    {
        let fixture = try QueueFixture()
        let queue = try await fixture.queue()
        try await queue.send(1)
        let consumer = QueueConsumerSettings()
        func pull() async throws -> QueueLease? {
            try await fixture.store.lease(
                QueueLeaseRequest("events", consumer: consumer, visibility: .milliseconds(500)))
        }
        let first = try #require(try await pull())
        #expect(try await pull() == nil)
        let lapse = try fixture.store.nextReadyTime(of: "events")
        #expect(lapse?.milliseconds == fixture.now + 500)
        try await fixture.reopen()
        #expect(try await pull() == nil)
        fixture.clock.advance(by: .milliseconds(500))
        let second = try #require(try await pull())
        #expect(second.messages.map(\.item.attempts) == [2])
        #expect(second.messages.map(\.item.id) == first.messages.map(\.item.id))
        let stale = try await fixture.store.settle(first, [.acknowledge], consumer: consumer)
        #expect(stale == QueueSettlement())
        fixture.clock.advance(by: .milliseconds(600))
        let late = try await fixture.store.settle(second, [.acknowledge], consumer: consumer)
        #expect(late.acknowledgedCount == 1)
        #expect(try await pull() == nil)
    }

    @Test func `purges ready, delayed and leased messages, and passes over their settlement`() async throws {
        let fixture = try QueueFixture()
        let queue = try await fixture.queue()
        for _ in 0..<25 { try await queue.sendBatch((0..<100).map { QueueMessageToSend($0) }) }
        try await queue.send(1, delaySeconds: 10)
        let lease = try #require(try await fixture.lease())
        try await fixture.store.purge("events")
        #expect(
            try await queue.metrics()
                == QueueMetrics(backlogCount: 0, backlogBytes: 0, oldestMessageTimestamp: nil))
        let settlement = try await fixture.store.settle(
            lease, lease.messages.map { _ in .retry(delaySeconds: nil) }, consumer: QueueConsumerSettings())
        #expect(settlement == QueueSettlement())
        #expect(try fixture.store.nextReadyTime(of: "events") == nil)
    }

    @Test func `cuts a batch that would not fit into a message of the wire`() async throws {
        let fixture = try QueueFixture()
        let queue = try await fixture.queue()
        for _ in 0..<5 { try await queue.send([UInt8](repeating: 1, count: 100_000), contentType: .bytes) }
        let request = QueueLeaseRequest("events", consumer: QueueConsumerSettings(), byteCountMax: 250_000)
        #expect(try await fixture.store.lease(request)?.messages.count == 2)
        var small = request
        small.byteCountMax = 10
        #expect(try await fixture.store.lease(small)?.messages.count == 1)
        #expect(try await fixture.store.lease(request)?.messages.count == 2)
        #expect(try await fixture.store.lease(request) == nil)
    }

    @Test func `acknowledges no send whose commit fails`() async throws {
        let isBroken = Atomic<Bool>(false)
        let fixture = try QueueFixture(fault: { operation in
            operation == "commit" && isBroken.load(ordering: .relaxed)
                ? LMDBError("mdb_txn_commit", .diskFull) : nil
        })
        let queue = try await fixture.queue()
        try await queue.send(0)
        isBroken.store(true, ordering: .relaxed)
        let failures = await withTaskGroup(of: CallFailure?.self) { group in
            for index in 0..<50 { group.addTask { await failure { try await queue.send(index) } } }
            return await group.reduce(into: [CallFailure?]()) { $0.append($1) }
        }
        #expect(
            failures
                == Array(repeating: CallFailure("Unknown Internal Error (15000)", code: 15000), count: 50))
        await #expect(throws: QueueError.failed) { _ = try await fixture.lease() }
        isBroken.store(false, ordering: .relaxed)
        #expect(try await queue.metrics().backlogCount == 1)
        let lease = try await fixture.lease()
        #expect(lease?.messages.map(\.item.attempts) == [1])
    }

    @Test func `settles and gives back what the disk refuses at first`() async throws {
        let isBroken = Atomic<Bool>(false)
        let fixture = try QueueFixture(fault: { operation in
            operation == "commit" && isBroken.load(ordering: .relaxed)
                ? LMDBError("mdb_txn_commit", .diskFull) : nil
        })
        let queue = try await fixture.queue()
        try await queue.send(1)
        let consumer = QueueConsumerSettings()
        let failures = Atomic<Int>(0)
        let whenFailed: @Sendable (QueueError) -> Void = { _ in
            if failures.add(1, ordering: .relaxed).newValue % 3 == 0 { isBroken.store(false, ordering: .relaxed) }
        }
        // Pauses pass at once.
        let clock = fixture.clock
        let time = Task {
            while !Task.isCancelled {
                clock.advance(by: .seconds(1))
                await Task.yield()
            }
        }
        let given = try #require(try await fixture.lease())
        isBroken.store(true, ordering: .relaxed)
        try await fixture.store.releasePatiently(given, clock: clock, whenFailed: whenFailed)
        #expect(failures.load(ordering: .relaxed) == 3)
        let lease = try #require(try await fixture.lease())
        isBroken.store(true, ordering: .relaxed)
        _ = try await fixture.store.settlePatiently(
            lease, [.acknowledge], consumer: consumer, clock: clock, whenFailed: whenFailed)
        #expect(failures.load(ordering: .relaxed) == 6)
        #expect(try fixture.store.metrics(of: "events").backlogCount == 0)
        time.cancel()
        await time.value
    }

    @Test func `gives a settlement up when its task is cancelled, or the queue is gone`() async throws {
        let isBroken = Atomic<Bool>(false)
        let fixture = try QueueFixture(fault: { operation in
            operation == "commit" && isBroken.load(ordering: .relaxed)
                ? LMDBError("mdb_txn_commit", .diskFull) : nil
        })
        try await fixture.queue().send(1)
        let lease = try #require(try await fixture.lease())
        isBroken.store(true, ordering: .relaxed)
        let failures = FailureCount()
        let (store, clock) = (fixture.store, fixture.clock)
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                await #expect(throws: QueueError.failed) {
                    try await store.releasePatiently(lease, clock: clock) { _ in failures.add() }
                }
            }
            while failures.count == 0 { await Task.yield() }
            group.cancelAll()
        }
        isBroken.store(false, ordering: .relaxed)
        try await store.deleteQueue("events")
        await #expect(throws: QueueError.noSuchQueue("events")) {
            try await store.releasePatiently(lease, clock: clock) { _ in }
        }
    }

    @Test func `tells the time of the oldest message, wherever it stands`() async throws {
        let fixture = try QueueFixture()
        let first = try await fixture.queue("first")
        let letters = try await fixture.queue("letters")
        let start = fixture.now
        try await first.send("old")
        fixture.clock.advance(by: .seconds(10))
        try await letters.send("young")
        #expect(try fixture.store.metrics(of: "letters").oldestMessageTimestamp == start + 10_000)
        // A dead letter keeps the time of its message, and stands behind all others.
        let consumer = QueueConsumerSettings(retriesMax: 0, deadLetterQueue: "letters")
        let lease = try #require(try await fixture.lease("first", consumer))
        _ = try await fixture.store.settle(lease, [.retry(delaySeconds: nil)], consumer: consumer)
        #expect(try fixture.store.metrics(of: "letters").oldestMessageTimestamp == start)
        #expect(try fixture.store.metrics(of: "first").oldestMessageTimestamp == nil)
        try await fixture.reopen()
        #expect(try fixture.store.metrics(of: "letters").oldestMessageTimestamp == start)
    }

    @Test func `tells the oldest message's time also in files that don't say it`() async throws {
        let fixture = try QueueFixture()
        let start = fixture.now
        let queue = try await fixture.queue()
        for index in 0..<10 { try await queue.send(index) }
        await fixture.store.close()
        // As a node left it that knew no index of ages.
        var options = LMDBEnvironment.Options()
        options.databasesMax = 16
        let environment = try LMDBEnvironment(directory: fixture.path + "/queues", options: options)
        let ages = try environment.openDatabase("ages")
        try environment.write { try $0.removeAll(in: ages) }
        environment.close()
        try await fixture.reopen()
        #expect(try fixture.store.metrics(of: "events").oldestMessageTimestamp == start)
    }

    @Test func `tells who listens when a queue may have become ready`() async throws {
        let fixture = try QueueFixture()
        let seen = Mutex<[String]>([])
        fixture.store.onReady { name in seen.withLock { $0.append(name) } }
        let queue = try await fixture.queue()
        func taken() -> [String] {
            seen.withLock { names in
                defer { names = [] }
                return names
            }
        }
        #expect(taken() == ["events"])
        try await queue.send(1)
        #expect(taken() == ["events"])
        let consumer = QueueConsumerSettings(retriesMax: 1, deadLetterQueue: "dead")
        let lease = try #require(try await fixture.lease("events", consumer))
        #expect(taken() == [])
        try await fixture.store.settle(lease, [.retry(delaySeconds: 5)], consumer: consumer)
        #expect(taken() == ["events"])
        fixture.clock.advance(by: .seconds(5))
        let last = try #require(try await fixture.lease("events", consumer))
        try await fixture.store.settle(last, [.retry(delaySeconds: nil)], consumer: consumer)
        #expect(taken() == ["dead"])
    }

    @Test func `refuses unknown queues and bad names`() async throws {
        let fixture = try QueueFixture()
        #expect(throws: QueueError.noSuchQueue("none")) { _ = try fixture.store.metrics(of: "none") }
        await #expect(throws: QueueError.noSuchQueue("none")) { _ = try await fixture.lease("none") }
        for name in ["", "A_b", "-a", "a-", "a b", String(repeating: "a", count: 64)] {
            await #expect(throws: QueueError.self) { try await fixture.store.openQueue(name, settings: nil) }
        }
        for name in ["a", "a-b", "0", String(repeating: "a", count: 63)] {
            try await fixture.store.openQueue(name, settings: nil)
        }
        let queue = try await fixture.queue("gone")
        try await queue.send(1)
        try await fixture.store.deleteQueue("gone")
        #expect(await failure { try await queue.send(1) }?.code == 10104)
    }

    @Test func `answers hostile messages with an error`() async throws {
        let fixture = try QueueFixture()
        try await fixture.store.openQueue("events", settings: nil)
        let service = QueueService(fixture.store, queue: "events")
        let seed = UInt64.random(in: 0 ... .max)
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<2000 {
            let message = (0..<Int.random(in: 0...40, using: &generator)).map { _ in
                UInt8.random(in: 0...(Bool.random(using: &generator) ? 3 : 255), using: &generator)
            }
            do { _ = try await service.answer(StoreCall(.queueSend, message: message)) } catch {
                #expect(!error.message.isEmpty, "seed \(seed)")
            }
        }
    }
}

private final class FailureCount: Sendable {
    private let number = Atomic<Int>(0)
    var count: Int { number.load(ordering: .relaxed) }
    func add() { number.add(1, ordering: .relaxed) }
}
