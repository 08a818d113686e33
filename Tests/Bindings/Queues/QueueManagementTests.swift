import Interfaces
import System
import Testing

@testable import StoresQueues

/// Queues and their consumers as they are managed (spec: queues, sections 1, 5 and 6).
@Suite struct `Queue management` {
    private let fixture: QueueFixture
    private var store: EmbeddedQueueStore { fixture.store }

    init() throws { fixture = try QueueFixture() }

    @Test func `probe 23: names, ids, and queues that exist already or not`() async throws {
        let made = try await store.createQueue("jobs", settings: QueueSettings(deliveryDelaySeconds: 3))
        #expect(made.id.count == 32 && made.id.allSatisfy { "0123456789abcdef".contains($0) })
        #expect(made.createdAt == fixture.clock.wallTime() && made.modifiedAt == made.createdAt)
        #expect(made.settings == QueueSettings(deliveryDelaySeconds: 3) && made.consumer == nil)
        #expect(
            await refusal { _ = try await store.createQueue("jobs", settings: QueueSettings()) }
                == CallFailure(
                    "Queue name 'jobs' is already taken. Please use a different name and try again.", code: 11009))
        #expect(
            await refusal { _ = try await store.createQueue("A_b", settings: QueueSettings()) }
                == CallFailure("invalid queue name \"A_b\"", code: 11003))
        #expect(try store.queue(withID: String(repeating: "0", count: 32)) == nil)
        #expect(try store.queue(withID: "no id") == nil)
        #expect(throws: QueueError.noSuchQueue("none")) { _ = try store.queue("none") }
        await #expect(throws: QueueError.noSuchQueue("none")) {
            try await store.updateQueue("none", QueueSettingsChange(isPaused: true))
        }
        let other = try await store.createQueue("events", settings: QueueSettings())
        try await fixture.reopen()
        #expect(try store.queue(withID: made.id) == made)
        #expect(try store.queues() == [other, made])
        try await store.deleteQueue("jobs")
        #expect(try store.queue(withID: made.id) == nil)
        #expect(try await store.createQueue("jobs", settings: QueueSettings()).id != made.id)
    }

    @Test func `a change touches what it names, and a release's settings leave a pause alone`() async throws {
        let made = try await store.createQueue("jobs", settings: QueueSettings(messagesPerSecondMax: 10))
        fixture.clock.advance(by: .seconds(1))
        try await store.pauseDelivery(of: "jobs")
        let changed = try await store.configureQueue(
            "jobs", QueueSettingsChange(deliveryDelaySeconds: 5, retentionSeconds: 60))
        #expect(
            changed.settings
                == QueueSettings(
                    deliveryDelaySeconds: 5, isPaused: true, retentionSeconds: 60, messagesPerSecondMax: 10))
        #expect(changed.id == made.id && changed.modifiedAt == fixture.clock.wallTime())
        let unlimited = try await store.updateQueue(
            "jobs", QueueSettingsChange(messagesPerSecondMax: .some(nil), backlogBytesMax: 5000))
        #expect(unlimited.settings.messagesPerSecondMax == nil && unlimited.settings.backlogBytesMax == 5000)
        try await fixture.reopen()
        #expect(try store.settings(of: "jobs") == unlimited.settings)
    }

    @Test(arguments: [
        (QueueSettings(deliveryDelaySeconds: -1), "delivery_delay -1 must be between 0 and 86400"),
        (QueueSettings(deliveryDelaySeconds: 86_401), "delivery_delay 86401 must be between 0 and 86400"),
        (QueueSettings(retentionSeconds: 59), "message_retention_period 59 must be between 60 and 1209600"),
        (QueueSettings(retentionSeconds: 1_209_601), "message_retention_period 1209601 must be between 60 and 1209600"),
        (QueueSettings(messagesPerSecondMax: 0), "messages_per_second 0 must be at least 1"),
        (QueueSettings(backlogBytesMax: -5), "backlog -5 must be at least 1"),
    ]) func `refuses settings that no queue has`(_ settings: QueueSettings, _ text: String) async throws {
        let expected = CallFailure("invalid queue settings: \(text)", code: 100128)
        #expect(await refusal { _ = try await store.createQueue("jobs", settings: settings) } == expected)
        #expect(await refusal { try await store.openQueue("jobs", settings: settings) } == expected)
        #expect(try store.queues() == [])
        try await store.openQueue("jobs", settings: nil)
        #expect(await refusal { try await store.openQueue("jobs", settings: settings) } == expected)
        #expect(try store.settings(of: "jobs") == QueueSettings())
    }

    @Test func `probe 28: one consumer, and no queue gets its own dead letters`() async throws {
        _ = try await fixture.queue("jobs")
        let draft = QueueConsumerDraft(
            .worker(script: "mailer"), QueueConsumerSettings(retriesMax: 7, deadLetterQueue: "dead", concurrencyMax: 2))
        let record = try await store.addConsumer(draft, to: "jobs")
        #expect(record.kind == draft.kind && record.settings == draft.settings && record.origin == .management)
        #expect(record.id.count == 32 && record.createdAt == fixture.clock.wallTime())
        for kind in [QueueConsumerDraft.Kind.pull, .worker(script: "mailer"), .worker(script: "other")] {
            #expect(
                await refusal { _ = try await store.addConsumer(QueueConsumerDraft(kind), to: "jobs") }
                    == CallFailure(
                        "a consumer already exists: queue \"jobs\" has worker \"mailer\"", code: 11004))
        }
        // Its dead letter queue was made.
        #expect(try store.queues().map(\.name) == ["dead", "jobs"])
        #expect(
            await refusal {
                _ = try await store.addConsumer(
                    QueueConsumerDraft(.pull, QueueConsumerSettings(deadLetterQueue: "dead")), to: "dead")
            }
                == CallFailure(
                    "invalid consumer settings: queue \"dead\" can't be its own dead_letter_queue", code: 100127))
        try await fixture.reopen()
        #expect(try store.consumer(of: "jobs") == record)
        #expect(try store.queue("jobs").consumer == record)
        #expect(try await !store.removeConsumer("other", of: "jobs"))
        #expect(try await store.updateConsumer("other", of: "jobs", draft) == nil)
        let changed = try await store.updateConsumer(record.id, of: "jobs", QueueConsumerDraft(.pull))
        #expect(changed?.id == record.id && changed?.kind == .pull && changed?.settings.batchSizeMax == 5)
        #expect(try await store.removeConsumer(record.id, of: "jobs"))
        #expect(try store.consumer(of: "jobs") == nil)
        #expect(try await store.addConsumer(draft, to: "jobs").id != record.id)
    }

    @Test func `refuses settings that no consumer has`() async throws {
        _ = try await fixture.queue("jobs")
        let cases: [(QueueConsumerSettings, String)] = [
            (.init(batchSizeMax: 0), "batch_size 0 must be between 1 and 100"),
            (.init(batchSizeMax: 101), "batch_size 101 must be between 1 and 100"),
            (.init(batchTimeout: .milliseconds(60_001)), "max_wait_time_ms 60001 must be between 0 and 60000"),
            (.init(retriesMax: 101), "max_retries 101 must be between 0 and 100"),
            (.init(retriesMax: -1), "max_retries -1 must be between 0 and 100"),
            (.init(retryDelaySeconds: 86_401), "retry_delay 86401 must be between 0 and 86400"),
            (.init(concurrencyMax: 0), "max_concurrency 0 must be between 1 and 250"),
            (.init(concurrencyMax: 251), "max_concurrency 251 must be between 1 and 250"),
            (.init(visibilityTimeout: .seconds(43_201)), "visibility_timeout_ms 43201000 must be between 0 and 43200000"),
        ]
        for (settings, text) in cases {
            #expect(
                await refusal { _ = try await store.addConsumer(QueueConsumerDraft(.pull, settings), to: "jobs") }
                    == CallFailure("invalid consumer settings: \(text)", code: 100127))
        }
        #expect(
            await refusal {
                _ = try await store.addConsumer(
                    QueueConsumerDraft(.pull, QueueConsumerSettings(deadLetterQueue: "A_b")), to: "jobs")
            }?.code == 11003)
        #expect(try store.consumer(of: "jobs") == nil)
    }

    @Test func `releases replace their own consumers, and no others`() async throws {
        for name in ["first", "second", "third"] { _ = try await fixture.queue(name) }
        func worker(_ script: String, _ retriesMax: Int = 3) -> QueueConsumerDraft {
            QueueConsumerDraft(.worker(script: script), QueueConsumerSettings(retriesMax: retriesMax))
        }
        try await store.setReleaseConsumers(["first": worker("a"), "second": worker("b")])
        let first = try #require(try store.consumer(of: "first"))
        #expect(first.origin == .release && first.kind == .worker(script: "a"))
        try await store.setReleaseConsumers(["first": worker("a", 9)])
        #expect(try store.consumer(of: "first")?.id == first.id)
        #expect(try store.consumer(of: "first")?.settings.retriesMax == 9)
        #expect(try store.consumer(of: "second") == nil)
        // One of another origin stands in the way of all of them.
        let pull = try await store.addConsumer(QueueConsumerDraft(.pull), to: "third")
        #expect(
            await refusal {
                try await store.setReleaseConsumers(["second": worker("b"), "third": worker("c")])
            } == CallFailure("a consumer already exists: queue \"third\" has http_pull", code: 11004))
        #expect(try store.consumer(of: "first") != nil && store.consumer(of: "second") == nil)
        try await store.setReleaseConsumers([:])
        #expect(try store.consumer(of: "first") == nil)
        #expect(try store.consumer(of: "third") == pull)
        // The same worker, given to the queue by hand before.
        let given = try await store.addConsumer(worker("a"), to: "first")
        try await store.setReleaseConsumers(["first": worker("a", 1)])
        #expect(try store.consumer(of: "first")?.id == given.id)
        #expect(try store.consumer(of: "first")?.origin == .release)
        // Another worker of the same release takes the queue over.
        try await store.setReleaseConsumers(["first": worker("b")])
        #expect(try store.consumer(of: "first")?.kind == .worker(script: "b"))
    }

    @Test func `a tenant has so many queues`() async throws {
        var quota = QueueQuota()
        quota.queueCountMax = 2
        let fixture = try QueueFixture(quota: quota)
        _ = try await fixture.queue("a")
        _ = try await fixture.queue("b")
        #expect(
            await refusal { try await fixture.store.openQueue("c", settings: nil) }?.message
                == "queue count exceeds limit of 2")
        _ = try await fixture.queue("b")
        try await fixture.store.deleteQueue("a")
        _ = try await fixture.queue("c")
    }

    @Test func `files of format 1 are brought up to date, once`() async throws {
        let queue = try await fixture.queue()
        try await queue.send("old", contentType: .text)
        _ = try await fixture.queue("empty")
        await store.close()
        let environment = try fixture.environment()
        let queues = try environment.openDatabase("queues")
        let messages = try environment.openDatabase("messages")
        let format = try environment.openDatabase("edge.format")
        // As the first format had them: shorter rows, no ids, no totals.
        try environment.write { transaction in
            for name in ["events", "empty"] {
                let row = try #require(try transaction.value(of: Array(name.utf8), in: queues))
                try transaction.put(Array(name.utf8), Array(row.prefix(53)), in: queues)
            }
            try transaction.delete([0, 0], in: queues)
            let key: [UInt8] = Array(repeating: 0, count: 12)
            let row = try #require(try transaction.value(of: key, in: messages))
            try transaction.put(key, Array(row.prefix(65)), in: messages)
            try transaction.put(Array("format".utf8), Array("queues 1".utf8), in: format)
        }
        for name in ["ids", "consumers", "history"] {
            let database = try environment.openDatabase(name)
            try environment.write { try $0.removeAll(in: database) }
        }
        environment.close()
        try await fixture.reopen()
        #expect(try await store.verify() == [])
        let ids = try store.queues().map(\.id)
        #expect(Set(ids).count == 2 && ids.allSatisfy { $0.count == 32 })
        #expect(try await fixture.lease()?.messages.map(\.item.body) == [Array("old".utf8)])
        try await fixture.reopen()
        #expect(try store.queues().map(\.id) == ids)
    }
}
