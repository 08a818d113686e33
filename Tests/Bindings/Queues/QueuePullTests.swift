import Interfaces
import System
import Testing

@testable import StoresQueues

/// What clients that pull get, and what becomes of messages that they don't settle (spec: queues, section 4).
@Suite(.timeLimit(.minutes(1))) struct `Queue pulls` {
    private let fixture: QueueFixture

    init() throws { fixture = try QueueFixture() }

    @Test func `probe 21: a pull of a paused queue is refused, and the pause outlives a restart`() async throws {
        let queue = try await fixture.pullQueue()
        try await queue.send("x", contentType: .text)
        try await fixture.store.pauseDelivery(of: "events")
        try await fixture.reopen()
        await #expect(throws: QueueError.deliveryPaused) { _ = try await fixture.pull() }
        try await fixture.queue().send("y", contentType: .text)
        try await fixture.store.resumeDelivery(of: "events")
        #expect(try await fixture.pull().map(\.body) == ["x", "y"])
    }

    @Test func `probe 24: bodies come in their pull encodings, with their facts`() async throws {
        let queue = try await fixture.pullQueue()
        let sent = fixture.clock.wallTime()
        try await queue.send(["a": 1])
        try await queue.send("é🐟", contentType: .text)
        try await queue.send([0, 255, 16] as [UInt8], contentType: .bytes)
        try await queue.send("", contentType: .text)
        _ = try await fixture.store.send(
            [.init(contentType: .text, body: [])], form: .single, from: .management, to: "events")
        fixture.clock.advance(by: .seconds(2))
        let answer = try await fixture.store.pull(from: "events", batchSize: 10, visibilityTimeout: nil)
        let messages = answer.messages
        #expect(messages.map(\.body) == ["eyJhIjoxfQ==", "é🐟", "AP8Q", "", ""])
        #expect(messages.map(\.contentType.name) == ["json", "text", "bytes", "text", "text"])
        #expect(messages.map(\.source.name) == ["worker", "worker", "worker", "worker", "api"])
        #expect(messages.allSatisfy { $0.attempts == 1 && $0.timestamp == sent && $0.id.count == 32 })
        #expect(Set(messages.map(\.leaseID)).count == 5)
        // What was pulled still counts.
        #expect(answer.metrics.backlogCount == 5)
        #expect(answer.metrics.oldestMessageTimestamp == sent.milliseconds)
    }

    @Test func `probe 25: what isn't settled in time comes again with another lease`() async throws {
        let queue = try await fixture.pullQueue()
        try await queue.send(1)
        let first = try #require(try await fixture.pull("events", nil, for: .milliseconds(500)).first)
        #expect(try await fixture.pull() == [])
        fixture.clock.advance(by: .milliseconds(499))
        #expect(try await fixture.pull() == [])
        fixture.clock.advance(by: .milliseconds(101))
        let second = try #require(try await fixture.pull().first)
        #expect(second.id == first.id && second.attempts == 2 && second.leaseID != first.leaseID)
        let settlement = try await fixture.store.settle(
            pulled: "events", acknowledge: [first.leaseID, second.leaseID], retry: [])
        #expect(settlement.acknowledgedCount == 1)
        #expect(Array(settlement.warnings.keys) == [first.leaseID])
        #expect(try fixture.count() == 0)
    }

    @Test func `probe 26: a retry waits for its delay, and unknown leases are only named`() async throws {
        let queue = try await fixture.pullQueue("events", QueueConsumerSettings(retryDelaySeconds: 7))
        try await queue.sendBatch([1, 2].map { QueueMessageToSend($0) })
        let pulled = try await fixture.pull()
        let settlement = try await fixture.store.settle(
            pulled: "events", acknowledge: ["nonsense", String(repeating: "0", count: 48)],
            retry: [
                QueuePullRetry(leaseID: pulled[0].leaseID, delaySeconds: 1), QueuePullRetry(leaseID: pulled[1].leaseID),
                QueuePullRetry(leaseID: String(repeating: "f", count: 48)),
            ])
        #expect(settlement.acknowledgedCount == 0 && settlement.retriedCount == 2)
        #expect(
            settlement.warnings == [
                "nonsense": "malformed lease id", String(repeating: "0", count: 48): "malformed lease id",
                String(repeating: "f", count: 48): "unknown lease id: the message is gone, or was delivered again",
            ])
        fixture.clock.advance(by: .milliseconds(999))
        #expect(try await fixture.pull() == [])
        fixture.clock.advance(by: .milliseconds(1))
        #expect(try await fixture.pull().map(\.id) == [pulled[0].id])
        fixture.clock.advance(by: .seconds(6))
        #expect(try await fixture.pull().map(\.id) == [pulled[1].id])
        #expect(
            await refusal {
                _ = try await fixture.store.settle(
                    pulled: "events", acknowledge: [], retry: [QueuePullRetry(leaseID: "x", delaySeconds: 86_401)])
            }?.code == 10202)
    }

    @Test func `a lease in both lists is acknowledged, and one that is named twice counts once`() async throws {
        let queue = try await fixture.pullQueue()
        try await queue.sendBatch([1, 2].map { QueueMessageToSend($0) })
        let leases = try await fixture.pull().map(\.leaseID)
        let settlement = try await fixture.store.settle(
            pulled: "events", acknowledge: [leases[0], leases[0]], retry: leases.map { QueuePullRetry(leaseID: $0) })
        #expect(settlement == QueuePullSettlement(acknowledgedCount: 1, retriedCount: 1))
        #expect(try await fixture.pull().map(\.attempts) == [2])
    }

    @Test func `an acknowledgement after the end still counts until the message is delivered again`() async throws {
        let queue = try await fixture.pullQueue()
        try await queue.send(1)
        let lease = try #require(try await fixture.pull("events", 1, for: .seconds(1)).first).leaseID
        fixture.clock.advance(by: .seconds(5))
        await fixture.store.sweep()
        let settlement = try await fixture.store.settle(pulled: "events", acknowledge: [lease], retry: [])
        #expect(settlement == QueuePullSettlement(acknowledgedCount: 1))
        #expect(try fixture.count() == 0)
    }

    @Test func `a lease says nothing to another queue, nor to a later one of the same name`() async throws {
        let queue = try await fixture.pullQueue()
        let other = try await fixture.pullQueue("other")
        try await queue.send(1)
        try await other.send(1)
        let lease = try #require(try await fixture.pull().first).leaseID
        _ = try await fixture.pull("other")
        #expect(
            try await fixture.store.settle(pulled: "other", acknowledge: [lease], retry: []).acknowledgedCount == 0)
        try await fixture.store.deleteQueue("events")
        try await fixture.pullQueue().send(2)
        _ = try await fixture.pull()
        #expect(
            try await fixture.store.settle(pulled: "events", acknowledge: [lease], retry: []).acknowledgedCount == 0)
        #expect(try fixture.count() == 1 && fixture.count("other") == 1)
    }

    @Test(arguments: [false, true]) func `after the last attempt a message is a dead letter, though nobody pulls`(
        reopens: Bool
    ) async throws {
        let queue = try await fixture.pullQueue(
            "events", QueueConsumerSettings(retriesMax: 1, deadLetterQueue: "dead"))
        try await queue.send("late", contentType: .text)
        for attempt in UInt32(1)...2 {
            #expect(try await fixture.pull("events", nil, for: .seconds(10)).map(\.attempts) == [attempt])
            if reopens { try await fixture.reopen() }
            #expect(try fixture.count("dead") == 0)
            fixture.clock.advance(by: .seconds(10))
            if attempt == 1 { await fixture.store.sweep() }
        }
        // No call: the store's own timer.
        while try fixture.count("dead") == 0 { await Task.yield() }
        #expect(try fixture.count() == 0)
        let letter = try #require(try await fixture.lease("dead")?.messages.first)
        #expect(letter.item.body == Array("late".utf8) && letter.item.attempts == 1)
    }

    @Test func `without a dead letter queue the last attempt ends the message`() async throws {
        let queue = try await fixture.pullQueue("events", QueueConsumerSettings(retriesMax: 0))
        try await queue.send(1)
        #expect(try await fixture.pull("events", nil, for: .zero).count == 1)
        fixture.clock.advance(by: .milliseconds(1))
        while try fixture.count() > 0 { await Task.yield() }
        #expect(try await fixture.pull() == [])
    }

    @Test func `answers at once with what is ready: five unless asked, in order, no more than fit`() async throws {
        let queue = try await fixture.pullQueue()
        #expect(try await fixture.pull() == [])
        try await queue.sendBatch((0..<8).map { QueueMessageToSend("\($0)", contentType: .text) })
        try await queue.send("later", contentType: .text, delaySeconds: 5)
        #expect(try await fixture.pull().map(\.body) == ["0", "1", "2", "3", "4"])
        #expect(try await fixture.pull("events", 100).map(\.body) == ["5", "6", "7"])
    }

    @Test func `refuses values out of range`() async throws {
        _ = try await fixture.pullQueue()
        let cases: [(Int?, Duration?, String)] = [
            (0, nil, "batch_size 0 must be between 1 and 100"), (101, nil, "batch_size 101 must be between 1 and 100"),
            (nil, .milliseconds(-1), "visibility_timeout_ms -1 must be between 0 and 43200000"),
            (nil, .milliseconds(43_200_001), "visibility_timeout_ms 43200001 must be between 0 and 43200000"),
        ]
        for (count, timeout, text) in cases {
            #expect(
                await refusal { _ = try await fixture.pull("events", count, for: timeout) }
                    == CallFailure("invalid request body: \(text)", code: 10026))
        }
    }

    @Test func `refuses a queue that isn't pulled from`() async throws {
        _ = try await fixture.queue()
        #expect(await refusal { _ = try await fixture.pull() }?.code == 10026)
        _ = try await fixture.store.addConsumer(QueueConsumerDraft(.worker(script: "mailer")), to: "events")
        #expect(await refusal { _ = try await fixture.pull() }?.code == 10026)
        #expect(
            await refusal { _ = try await fixture.store.settle(pulled: "events", acknowledge: ["x"], retry: []) }?.code
                == 10026)
        await #expect(throws: QueueError.noSuchQueue("none")) { _ = try await fixture.pull("none") }
        _ = try await fixture.pullQueue("pulled")
        let many = (0..<1001).map { "\($0)" }
        #expect(
            await refusal { _ = try await fixture.store.settle(pulled: "pulled", acknowledge: many, retry: []) }?.message
                == "invalid request body: 1001 leases exceed limit of 1000")
    }

    @Test func `a peek shows what would be pulled, and changes nothing`() async throws {
        let queue = try await fixture.pullQueue()
        try await queue.sendBatch((0..<7).map { QueueMessageToSend("\($0)", contentType: .text) })
        try await queue.send("later", contentType: .text, delaySeconds: 5)
        let pulled = try await fixture.pull("events", 1, for: .seconds(1))
        let first = try fixture.store.peek(into: "events", batchSize: nil)
        #expect(first.map(\.body) == ["1", "2", "3", "4", "5"])
        #expect(first.allSatisfy { $0.attempts == 0 })
        #expect(try fixture.store.peek(into: "events", batchSize: 100).map(\.body) == ["1", "2", "3", "4", "5", "6"])
        fixture.clock.advance(by: .seconds(1))
        // Ready again, behind those that were all the time.
        let again = try fixture.store.peek(into: "events", batchSize: 100)
        #expect(again.map(\.body) == ["1", "2", "3", "4", "5", "6", "0"])
        #expect(again.last?.attempts == 1 && again.last?.id == pulled.first?.id)
        #expect(try await fixture.pull("events", 1).map(\.attempts) == [1])
        #expect(throws: QueueError.self) { _ = try fixture.store.peek(into: "events", batchSize: 101) }
        // Of any queue, paused ones too.
        try await fixture.queue("plain").send("p", contentType: .text)
        try await fixture.store.pauseDelivery(of: "plain")
        #expect(try fixture.store.peek(into: "plain", batchSize: nil).map(\.body) == ["p"])
    }
}

func refusal(_ body: () async throws -> Void) async -> CallFailure? {
    do {
        try await body()
        return nil
    } catch QueueError.refused(let failure) { return failure } catch { return nil }
}
