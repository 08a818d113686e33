import Interfaces
import System
import Testing

@testable import StoresQueues

/// A queue's name changes; its id, its messages and whoever has a lease of them stay (spec: queues, section 5).
@Suite struct `Queues that are renamed` {
    private let fixture: QueueFixture
    private var store: EmbeddedQueueStore { fixture.store }
    private static let consumer = QueueConsumerSettings(retriesMax: 0, deadLetterQueue: "dead")

    init() throws { fixture = try QueueFixture() }

    private func send(_ texts: String..., to queue: String) async throws {
        let items = texts.map { QueueSendMessage.Item(contentType: .text, body: Array($0.utf8)) }
        _ = try await store.send(items, form: .batch, to: queue)
    }

    @Test func `keep what they have, also over a restart`() async throws {
        let made = try await store.createQueue("old", settings: QueueSettings(messagesPerSecondMax: 3))
        let consumer = try await store.addConsumer(QueueConsumerDraft(.pull), to: "old")
        try await send("a", "b", to: "old")
        fixture.clock.advance(by: .seconds(1))
        let renamed = try await store.renameQueue("old", to: "new", QueueSettingsChange(deliveryDelaySeconds: 2))
        #expect(renamed.id == made.id && renamed.name == "new" && renamed.createdAt == made.createdAt)
        #expect(renamed.modifiedAt == fixture.clock.wallTime() && renamed.settings.deliveryDelaySeconds == 2)
        #expect(renamed.consumer == consumer)
        for _ in 0..<2 {
            #expect(try store.queues() == [renamed])
            #expect(try store.queue(withID: made.id) == renamed)
            #expect(throws: QueueError.noSuchQueue("old")) { try store.metrics(of: "old") }
            #expect(try store.metrics(of: "new").backlogCount == 2)
            // The limit on sends is the queue's, not the name's.
            #expect(await refusal { try await send("1", "2", "3", "4", to: "new") }?.code == 10250)
            #expect(try await store.verify() == [])
            try await fixture.reopen()
        }
        #expect(try await fixture.pull("new").map(\.body) == ["a", "b"])
        _ = try await store.createQueue("old", settings: QueueSettings())
        try await send("1", "2", "3", "4", to: "old")
    }

    @Test func `are refused a name that another has, or that is none`() async throws {
        _ = try await fixture.queue("first")
        _ = try await fixture.queue("second")
        let none = QueueSettingsChange()
        #expect(await refusal { try await store.renameQueue("first", to: "second", none) }?.code == 11009)
        #expect(await refusal { try await store.renameQueue("first", to: "first", none) }?.code == 11009)
        #expect(await refusal { try await store.renameQueue("first", to: "A_b", none) }?.code == 11003)
        #expect(
            await refusal { try await store.renameQueue("first", to: "new", .init(retentionSeconds: 1)) }?.code == 100128)
        await #expect(throws: QueueError.noSuchQueue("none")) { try await store.renameQueue("none", to: "new", none) }
        // Its own dead letters would come back to it.
        _ = try await store.addConsumer(QueueConsumerDraft(.pull, Self.consumer), to: "first")
        try await store.deleteQueue("dead")
        #expect(await refusal { try await store.renameQueue("first", to: "dead", none) }?.code == 100127)
        #expect(try store.queues().map(\.name) == ["first", "second"])
    }

    @Test func `let a batch on its way be settled, and no other queue's`() async throws {
        _ = try await fixture.queue("old")
        try await send("a", "b", to: "old")
        let lease = try #require(try await fixture.lease("old"))
        try await store.renameQueue("old", to: "new", QueueSettingsChange())
        // Same numbers of messages and leases as in the first.
        _ = try await fixture.queue("old")
        try await send("c", "d", to: "old")
        let other = try #require(try await fixture.lease("old"))
        #expect(other.number == lease.number && other.messages.map(\.sequence) == lease.messages.map(\.sequence))
        let settlement = try await store.settle(
            lease, [.acknowledge, .retry(delaySeconds: nil)], consumer: QueueConsumerSettings())
        #expect(settlement == QueueSettlement(acknowledgedCount: 1, retriedCount: 1))
        #expect(try store.metrics(of: "new").backlogCount == 1 && store.metrics(of: "old").backlogCount == 2)
        try await store.release(other)
        #expect(try await fixture.lease("old")?.messages.map(\.item.attempts) == [1, 1])
        #expect(try await fixture.lease("new")?.messages.map(\.item.attempts) == [2])
        #expect(try await store.verify() == [])
    }

    @Test func `leave nothing to a lease of a queue that is gone`() async throws {
        _ = try await fixture.queue("jobs")
        try await send("a", to: "jobs")
        let lease = try #require(try await fixture.lease("jobs"))
        try await store.deleteQueue("jobs")
        _ = try await fixture.queue("jobs")
        try await send("b", to: "jobs")
        _ = try await fixture.lease("jobs")
        await #expect(throws: QueueError.noSuchQueue("jobs")) {
            try await store.settle(lease, [.acknowledge], consumer: QueueConsumerSettings())
        }
        #expect(try fixture.count("jobs") == 1)
    }

    @Test func `get their dead letters under the new name, also those of batches on their way`() async throws {
        _ = try await fixture.queue("jobs")
        _ = try await store.addConsumer(QueueConsumerDraft(.worker(script: "w"), Self.consumer), to: "jobs")
        try await send("a", to: "jobs")
        let lease = try #require(try await fixture.lease("jobs", Self.consumer))
        try await store.renameQueue("dead", to: "moved", QueueSettingsChange())
        #expect(try store.consumer(of: "jobs")?.settings.deadLetterQueue == "moved")
        try await store.settle(lease, [.retry(delaySeconds: nil)], consumer: Self.consumer)
        #expect(try store.queues().map(\.name) == ["jobs", "moved"])
        #expect(try fixture.count("moved") == 1)
    }

    @Test func `end their pulls in time`() async throws {
        _ = try await fixture.pullQueue("old")
        try await send("a", to: "old")
        #expect(try await fixture.pull("old", for: .seconds(10)).count == 1)
        try await store.renameQueue("old", to: "new", QueueSettingsChange())
        fixture.clock.advance(by: .seconds(11))
        #expect(try await fixture.pull("new").map(\.attempts) == [2])
    }

    @Test func `are purged and deleted to the end, whatever they are called meanwhile`() async throws {
        for (isDeleted, name) in [(false, "purged"), (true, "deleted")] {
            _ = try await fixture.queue(name)
            let batch = (0..<100).map { _ in QueueSendMessage.Item(contentType: .text, body: [120]) }
            // Several transactions' worth.
            for _ in 0..<35 { _ = try await store.send(batch, form: .batch, to: name) }
            let store = store
            async let ending: Void = isDeleted ? store.deleteQueue(name) : { _ = try await store.purge(name) }()
            // It has begun when the first messages are gone.
            while (try? fixture.count(name)) == 3500 { await Task.yield() }
            for number in 0..<20 {
                let (old, new) = (number == 0 ? name : "\(name)\(number - 1)", "\(name)\(number)")
                do { try await store.renameQueue(old, to: new, QueueSettingsChange()) } catch { #expect(isDeleted) }
            }
            try await ending
            let left = try store.queues().filter { $0.name.hasPrefix(name) }
            #expect(left.map(\.name) == (isDeleted ? [] : ["purged19"]))
            for queue in left {
                #expect(try fixture.count(queue.name) == 0)
                #expect(try store.purgeStatus(of: queue.name)?.endedAt != nil)
            }
        }
        #expect(try await store.verify() == [])
    }

    /// What the product's number for a refusal is.
    private func refusal(_ body: () async throws -> Void) async -> CallFailure? {
        do {
            try await body()
            return nil
        } catch QueueError.refused(let failure) { return failure } catch { return nil }
    }
}
