import Interfaces
import StoresQueues
import System
import Testing

/// The acceptance probes of queues that binding and store can reach. The handler's part of 8–13 (what marks a message) is
/// tested with the SDK, 19 with the host, 23–28 with the control plane.
@Suite struct `Queue probes` {
    private let fixture: QueueFixture

    init() throws { fixture = try QueueFixture() }

    private func text(_ message: QueueLease.Message?) -> String? {
        message.map { String(decoding: $0.item.body, as: UTF8.self) }
    }

    @Test func `probe 1: a message arrives with its facts`() async throws {
        let queue = try await fixture.queue()
        let sent = fixture.now
        let metrics = try await queue.send(["a": 1])
        #expect(metrics == QueueMetrics(backlogCount: 1, backlogBytes: 7, oldestMessageTimestamp: sent))
        fixture.clock.advance(by: .seconds(3))
        let lease = try #require(try await fixture.lease())
        let message = try #require(lease.messages.first)
        #expect(text(message) == #"{"a":1}"#)
        #expect(message.item.attempts == 1)
        #expect(message.item.timestamp == sent)
        #expect(message.item.contentType == .json)
        #expect(message.item.id.count == 32)
        #expect(message.item.id.allSatisfy { "0123456789abcdef".contains($0) })
        #expect(lease.batch.queue == "events")
        #expect(lease.batch.metrics.backlogCount == 1)
    }

    @Test func `probe 2: every content type arrives unchanged`() async throws {
        let queue = try await fixture.queue()
        try await queue.send("", contentType: .text)
        try await queue.send("🐟é", contentType: .text)
        try await queue.send([UInt8](), contentType: .bytes)
        try await queue.send([0, 255] as [UInt8], contentType: .bytes)
        try await queue.send(Int?.none)
        try await queue.send("a/b", contentType: try QueueContentType(named: "JSON"))
        let items = try #require(try await fixture.lease()).messages.map(\.item)
        #expect(
            items.map(\.body) == [
                [], Array("🐟é".utf8), [], [0, 255], Array("null".utf8), Array(#""a/b""#.utf8),
            ])
        #expect(items.map(\.contentType) == [.text, .text, .bytes, .bytes, .json, .json])
        #expect(throws: CallFailure("Unsupported queue message content type: v8", name: "TypeError")) {
            _ = try QueueContentType(named: "v8")
        }
    }

    @Test func `probe 3: a body of another type`() async throws {
        let queue = try await fixture.queue()
        #expect(
            await failure { try await queue.send("x", contentType: .bytes) }
                == CallFailure(
                    "Content Type \"bytes\" requires a value of type ArrayBufferView, but received: string",
                    name: "TypeError"))
        #expect(
            await failure { try await queue.send(["a": 1], contentType: .text) }
                == CallFailure(
                    "Content Type \"text\" requires a value of type string, but received: object",
                    name: "TypeError"))
        #expect(
            await failure { try await queue.send(7, contentType: .text) }?.message
                == "Content Type \"text\" requires a value of type string, but received: number")
        #expect(try await queue.metrics().backlogCount == 0)
    }

    @Test func `probe 4: an empty batch`() async throws {
        let queue = try await fixture.queue()
        #expect(
            await failure { try await queue.sendBatch([]) }
                == CallFailure("sendBatch() requires at least one message", name: "TypeError"))
    }

    @Test func `probe 5: 128,000 bytes and one more`() async throws {
        let queue = try await fixture.queue()
        try await queue.send([UInt8](repeating: 1, count: 128_000), contentType: .bytes)
        let large = [UInt8](repeating: 1, count: 128_001)
        #expect(
            await failure { try await queue.send(large, contentType: .bytes) }
                == CallFailure("message length of 128001 bytes exceeds limit of 128000 (10204)", code: 10204))
        let batch = [QueueMessageToSend(1), QueueMessageToSend(large, contentType: .bytes)]
        #expect(
            await failure { try await queue.sendBatch(batch) }?.message
                == "message in batch has length 128001 bytes which exceeds single message size limit of 128000 (10204)"
        )
        #expect(try await queue.metrics().backlogCount == 1)
    }

    @Test func `probe 6: 101 messages, and too many bytes`() async throws {
        let queue = try await fixture.queue()
        #expect(
            await failure { try await queue.sendBatch((0..<101).map { QueueMessageToSend($0) }) }?.message
                == "batch message count of 101 exceeds limit of 100 (10206)")
        let bodies = (0..<3).map { _ in
            QueueMessageToSend([UInt8](repeating: 1, count: 100_000), contentType: .bytes)
        }
        #expect(
            await failure { try await queue.sendBatch(bodies) }?.message
                == "batch size of 300000 bytes exceeds limit of 256000 (10205)")
        #expect(
            try await queue.metrics()
                == QueueMetrics(backlogCount: 0, backlogBytes: 0, oldestMessageTimestamp: nil))
        #expect(try await queue.sendBatch((0..<100).map { QueueMessageToSend($0) }).backlogCount == 100)
    }

    @Test func `probe 7: 25 messages leave in batches of 10, 10 and, after the time-out, 5`() async throws {
        let queue = try await fixture.queue()
        let consumer = QueueConsumerSettings(batchTimeout: .seconds(1), concurrencyMax: 1)
        var scheduler = ConsumerScheduler(consumer, tenantCap: 10)
        try await queue.sendBatch((0..<25).map { QueueMessageToSend($0) })
        var sizes: [Int] = []
        var waited = Duration.zero
        while try await queue.metrics().backlogCount > 0 {
            let readiness = try fixture.store.readiness(of: "events", countMax: scheduler.readyCountMax)
            switch scheduler.next(readiness, now: fixture.clock.wallTime()) {
            case .lease(let countMax):
                let lease = try #require(
                    try await fixture.store.lease(
                        QueueLeaseRequest("events", consumer: consumer, countMax: countMax)))
                scheduler.batchStarted()
                sizes.append(lease.messages.count)
                try await fixture.store.settle(
                    lease, lease.messages.map { _ in .acknowledge }, consumer: consumer)
                scheduler.batchEnded(
                    .succeeded, try fixture.store.readiness(of: "events", countMax: scheduler.readyCountMax))
            case .wait(let until):
                let pause = Duration.milliseconds(try #require(until).milliseconds - fixture.now)
                waited += pause
                fixture.clock.advance(by: pause)
            }
        }
        #expect(sizes == [10, 10, 5])
        #expect(waited == .seconds(1))
    }

    @Test func `probe 8: settled messages are gone, failed ones come again`() async throws {
        let queue = try await fixture.queue()
        try await queue.sendBatch([QueueMessageToSend(1), QueueMessageToSend(2)])
        let first = try #require(try await fixture.lease())
        #expect(try await fixture.lease() == nil)
        try await fixture.store.settle(
            first, [.retry(delaySeconds: nil), .retry(delaySeconds: nil)], consumer: QueueConsumerSettings())
        let second = try #require(try await fixture.lease())
        #expect(second.messages.map(\.item.attempts) == [2, 2])
        #expect(second.messages.map(\.item.id) == first.messages.map(\.item.id))
        try await fixture.store.settle(
            second, [.acknowledge, .acknowledge], consumer: QueueConsumerSettings())
        #expect(try await fixture.lease() == nil)
        #expect(try await queue.metrics().backlogCount == 0)
    }

    @Test func `probe 9: one acknowledged, the others again`() async throws {
        let queue = try await fixture.queue()
        try await queue.sendBatch([1, 2, 3].map { QueueMessageToSend($0) })
        let first = try #require(try await fixture.lease())
        let settlement = try await fixture.store.settle(
            first, [.acknowledge, .retry(delaySeconds: nil), .retry(delaySeconds: nil)],
            consumer: QueueConsumerSettings())
        #expect(settlement == QueueSettlement(acknowledgedCount: 1, retriedCount: 2))
        #expect(try await fixture.lease()?.messages.map { text($0) } == ["2", "3"])
    }

    @Test(arguments: [(2, 3), (0, 1)]) func `probes 14 and 16: so many deliveries, then gone`(
        retriesMax: Int, deliveries: Int
    ) async throws {
        let queue = try await fixture.queue()
        let consumer = QueueConsumerSettings(retriesMax: retriesMax)
        try await queue.send(1)
        for attempt in 1...deliveries {
            let lease = try #require(try await fixture.lease("events", consumer))
            #expect(lease.messages.map(\.item.attempts) == [UInt32(attempt)])
            let settlement = try await fixture.store.settle(
                lease, [.retry(delaySeconds: nil)], consumer: consumer)
            #expect(settlement.droppedCount == (attempt == deliveries ? 1 : 0))
        }
        #expect(try await fixture.lease("events", consumer) == nil)
        #expect(try await queue.metrics().backlogCount == 0)
    }

    @Test func `probe 15: the dead letter queue gets the message as it was`() async throws {
        let queue = try await fixture.queue()
        let consumer = QueueConsumerSettings(retriesMax: 2, deadLetterQueue: "dead")
        try await queue.send("body", contentType: .text)
        var id = ""
        var timestamp: Int64 = 0
        for _ in 1...3 {
            let lease = try #require(try await fixture.lease("events", consumer))
            id = lease.messages[0].item.id
            timestamp = lease.messages[0].item.timestamp
            fixture.clock.advance(by: .seconds(1))
            try await fixture.store.settle(lease, [.retry(delaySeconds: nil)], consumer: consumer)
        }
        #expect(try await queue.metrics().backlogCount == 0)
        #expect(try fixture.store.metrics(of: "dead").backlogCount == 1)
        let letter = try #require(try await fixture.lease("dead")?.messages.first)
        #expect(text(letter) == "body")
        #expect(letter.item.id == id)
        #expect(letter.item.timestamp == timestamp)
        #expect(letter.item.attempts == 1)
    }

    @Test func `probe 17: a message's delay wins over the consumer's, also 0`() async throws {
        let queue = try await fixture.queue()
        let consumer = QueueConsumerSettings(retryDelaySeconds: 30)
        try await queue.sendBatch([1, 2, 3].map { QueueMessageToSend($0) })
        let lease = try #require(try await fixture.lease("events", consumer))
        try await fixture.store.settle(
            lease, [.retry(delaySeconds: 2), .retry(delaySeconds: nil), .retry(delaySeconds: 0)],
            consumer: consumer)
        #expect(try await fixture.lease("events", consumer)?.messages.map { text($0) } == ["3"])
        fixture.clock.advance(by: .milliseconds(1999))
        #expect(try await fixture.lease("events", consumer) == nil)
        fixture.clock.advance(by: .milliseconds(1))
        #expect(try await fixture.lease("events", consumer)?.messages.map { text($0) } == ["1"])
        fixture.clock.advance(by: .seconds(28))
        #expect(try await fixture.lease("events", consumer)?.messages.map { text($0) } == ["2"])
    }

    @Test func `probe 18: a delay of a message wins over the batch's, and that over the queue's`()
        async throws
    {
        let queue = try await fixture.queue(deliveryDelay: 60)
        try await queue.sendBatch(
            [
                QueueMessageToSend(1, delaySeconds: 2), QueueMessageToSend(2),
                QueueMessageToSend(3, delaySeconds: 0),
            ],
            delaySeconds: 10)
        try await queue.send(4)
        #expect(try await queue.metrics().backlogCount == 4)
        #expect(try fixture.store.nextReadyTime(of: "events")?.milliseconds == fixture.now)
        #expect(try await fixture.lease()?.messages.map { text($0) } == ["3"])
        #expect(try fixture.store.nextReadyTime(of: "events")?.milliseconds == fixture.now + 2000)
        for (delay, body) in [(2, "1"), (8, "2"), (50, "4")] {
            fixture.clock.advance(by: .milliseconds(delay * 1000 - 1))
            #expect(try await fixture.lease() == nil)
            fixture.clock.advance(by: .milliseconds(1))
            #expect(try await fixture.lease()?.messages.map { text($0) } == [body])
        }
        #expect(
            await failure { try await queue.send(1, delaySeconds: 86_401) }?.message
                == "message delay 86401 is invalid: must be between 0 and 86400 (10202)")
        #expect(await failure { try await queue.send(1, delaySeconds: -1) }?.code == 10202)
        #expect(
            await failure { try await queue.sendBatch([QueueMessageToSend(1)], delaySeconds: -1) }?.code
                == 10202)
    }

    @Test func `probe 20: what was leased by a node that died is delivered again, one attempt on`()
        async throws
    {
        let queue = try await fixture.queue()
        try await queue.send(1)
        let first = try #require(try await fixture.lease())
        try await fixture.reopen()
        let second = try #require(try await fixture.lease())
        #expect(second.messages.map(\.item.attempts) == [2])
        #expect(second.messages.map(\.item.id) == first.messages.map(\.item.id))
        // The dead node's settlement comes too late.
        try await fixture.store.settle(first, [.acknowledge], consumer: QueueConsumerSettings())
        #expect(try fixture.store.metrics(of: "events").backlogCount == 1)
    }

    @Test func `probe 20: a crash loop ends in the dead letter queue`() async throws {
        let queue = try await fixture.queue()
        let consumer = QueueConsumerSettings(retriesMax: 1, deadLetterQueue: "dead")
        try await queue.send(1)
        for attempt in UInt32(1)...2 {
            #expect(try await fixture.lease("events", consumer)?.messages.map(\.item.attempts) == [attempt])
            try await fixture.reopen()
        }
        #expect(try await fixture.lease("events", consumer) == nil)
        #expect(try fixture.store.metrics(of: "dead").backlogCount == 1)
    }

    @Test func `probe 21: a paused queue delivers nothing and takes everything`() async throws {
        let queue = try await fixture.queue()
        try await fixture.store.openQueue("events", settings: QueueSettings(isPaused: true))
        try await queue.send(1)
        #expect(try await fixture.lease() == nil)
        let readiness = try fixture.store.readiness(of: "events", countMax: 10)
        #expect(readiness.isPaused)
        var scheduler = ConsumerScheduler(QueueConsumerSettings(batchTimeout: .zero), tenantCap: 1)
        #expect(scheduler.next(readiness, now: fixture.clock.wallTime()) == .wait(until: nil))
        try await fixture.store.openQueue("events", settings: QueueSettings(isPaused: false))
        #expect(try await fixture.lease()?.messages.count == 1)
    }

    @Test func `probe 22: messages wait for a consumer, across a restart`() async throws {
        let queue = try await fixture.queue()
        for index in 0..<10 { try await queue.send(index) }
        try await fixture.reopen()
        let lease = try #require(try await fixture.lease())
        #expect(lease.messages.map { text($0) } == (0..<10).map { "\($0)" })
    }
}
