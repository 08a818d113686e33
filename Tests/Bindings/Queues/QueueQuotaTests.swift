import Interfaces
import StoresQueues
import System
import Testing

/// What a queue takes, and what it refuses when there is too much (spec: queues, section 1).
@Suite struct `Queue quotas` {
    @Test func `a queue with a rate refuses what is above it, and takes it a second later`() async throws {
        let fixture = try QueueFixture()
        let queue = try await fixture.queue()
        let other = try await fixture.queue("other")
        let batch = (0..<100).map { QueueMessageToSend($0) }
        // Unlimited unless somebody says so.
        for _ in 0..<60 { try await queue.sendBatch(batch) }
        try await fixture.store.updateQueue("events", QueueSettingsChange(messagesPerSecondMax: 5000))
        for _ in 0..<50 { try await queue.sendBatch(batch) }
        let refused = CallFailure("Too Many Requests (10250)", code: 10250)
        #expect(await failure { try await queue.send(1) } == refused)
        #expect(await failure { try await queue.sendBatch(batch) } == refused)
        #expect(try await queue.metrics().backlogCount == 11_000)
        try await other.send(1)
        fixture.clock.advance(by: .milliseconds(10))
        try await queue.sendBatch(Array(batch.prefix(50)))
        #expect(await failure { try await queue.send(1) } == refused)
        // It saves up one second, no more.
        fixture.clock.advance(by: .seconds(60))
        for _ in 0..<50 { try await queue.sendBatch(batch) }
        #expect(await failure { try await queue.send(1) } == refused)
        // The limit outlives a restart, and can be taken away.
        try await fixture.reopen()
        let again = try await fixture.queue()
        for _ in 0..<50 { try await again.sendBatch(batch) }
        #expect(await failure { try await again.send(1) } == refused)
        try await fixture.store.updateQueue("events", QueueSettingsChange(messagesPerSecondMax: .some(nil)))
        try await again.send(1)
    }

    @Test func `a full queue refuses more until something is done`() async throws {
        let fixture = try QueueFixture()
        let queue = try await fixture.queue()
        let full = CallFailure("Storage Limit Exceeded (10251)", code: 10251)
        // Each message counts 100 bytes more than its body.
        try await fixture.store.updateQueue("events", QueueSettingsChange(backlogBytesMax: 1000))
        let body = [UInt8](repeating: 1, count: 400)
        try await queue.send(body, contentType: .bytes)
        try await queue.send(body, contentType: .bytes, delaySeconds: 1000)
        #expect(await failure { try await queue.send([UInt8](), contentType: .bytes) } == full)
        #expect(
            await failure { try await queue.sendBatch([QueueMessageToSend(1), QueueMessageToSend(2)]) } == full)
        #expect(try fixture.count() == 2)
        let lease = try #require(try await fixture.lease())
        #expect(await failure { try await queue.send(1) } == full)
        try await fixture.store.settle(lease, [.acknowledge], consumer: QueueConsumerSettings())
        try await queue.send(body, contentType: .bytes)
        #expect(await failure { try await queue.send([UInt8](), contentType: .bytes) } == full)
    }

    @Test func `the tenant's queues together have a quota too, across a restart`() async throws {
        var quota = QueueQuota()
        quota.backlogBytesMax = 1000
        let fixture = try QueueFixture(quota: quota)
        let (first, second) = (try await fixture.queue("first"), try await fixture.queue("second"))
        for _ in 0..<4 { try await first.send([UInt8](repeating: 1, count: 100), contentType: .bytes) }
        try await fixture.reopen()
        let again = try await fixture.queue("second")
        try await again.send([UInt8](repeating: 1, count: 100), contentType: .bytes)
        #expect(await failure { try await again.send(1) }?.code == 10251)
        // A dead letter is no new message: it never gets lost for want of room.
        let consumer = QueueConsumerSettings(retriesMax: 0, deadLetterQueue: "second")
        let lease = try #require(try await fixture.lease("first", consumer))
        try await fixture.store.settle(lease, lease.messages.map { _ in .retry(delaySeconds: nil) }, consumer: consumer)
        #expect(try fixture.count("second") == 5)
        try await fixture.store.deleteQueue("second")
        try await fixture.queue("first").send(1)
        withExtendedLifetime(second) {}
    }

    @Test func `warns once of delays that the product doesn't document`() async throws {
        let fixture = try QueueFixture()
        let queue = try await fixture.queue()
        try await queue.send(1, delaySeconds: 43_200)
        #expect(fixture.log.messages == [])
        try await queue.send(1, delaySeconds: 43_201)
        try await queue.send(1, delaySeconds: 86_400)
        #expect(
            fixture.log.messages == ["a message delay of 43201 s is longer than the 43200 s of the product"])
    }
}
