import Interfaces
import LMDB
import StoresQueues
import Synchronization
import System
import Testing

@testable import Releases

@Suite(.timeLimit(.minutes(1))) struct `Queue driver` {
    private func until(_ isTrue: () throws -> Bool) async rethrows { while try !isTrue() { await Task.yield() } }

    @Test func `delivers a full batch at once, and a smaller one when its first message has waited`() async throws {
        let fixture = try QueueDriverFixture()
        let worker = WorkerStandIn(WorkerStandIn.acknowledging)
        try await fixture.queue("jobs", QueueConsumerSettings(batchSizeMax: 3))
        await fixture.driver.install(["w": worker.deliver])
        try await fixture.send(["a", "b", "c", "d"], to: "jobs")
        try await until { try fixture.backlog("jobs") == 1 }
        fixture.clock.advance(by: .milliseconds(4999))
        try await fixture.send(["e"], to: "jobs")
        fixture.clock.advance(by: .milliseconds(1))
        try await until { try fixture.backlog("jobs") == 0 }
        #expect(worker.batches.map(\.texts) == [["a", "b", "c"], ["d", "e"]])
        await fixture.close()
    }

    @Test func `probe 20: a batch that failed comes again, and its last attempt ends among the dead letters`() async throws {
        struct Crash: Error {}
        let fixture = try QueueDriverFixture()
        let worker = WorkerStandIn { _ in throw Crash() }
        try await fixture.queue(
            "jobs", QueueConsumerSettings(batchTimeout: .zero, retriesMax: 2, deadLetterQueue: "dead"))
        await fixture.driver.install(["w": worker.deliver])
        try await fixture.send(["a"], to: "jobs")
        try await until { try fixture.backlog("dead") == 1 }
        #expect(worker.batches.map(\.attempts) == [[1], [2], [3]])
        #expect(try fixture.backlog("jobs") == 0)
        await until { fixture.log.messages.contains("messages failed for the last time") }
        await fixture.close()
    }

    @Test func `a batch that no isolate takes costs no attempt, and waits a second`() async throws {
        let fixture = try QueueDriverFixture()
        let isFull = Atomic<Bool>(true)
        let worker = WorkerStandIn { batch in
            if isFull.exchange(false, ordering: .relaxed) { throw QueueDriver.Refused(reason: "full") }
            return WorkerStandIn.acknowledging(batch)
        }
        try await fixture.queue("jobs", QueueConsumerSettings(batchTimeout: .zero, concurrencyMax: 1))
        await fixture.driver.install(["w": worker.deliver])
        try await fixture.send(["a"], to: "jobs")
        await until { fixture.log.messages.contains { $0.hasPrefix("a batch found no isolate: full") } }
        while try fixture.backlog("jobs") > 0 {
            fixture.clock.advance(by: .milliseconds(100))
            await Task.yield()
        }
        #expect(worker.batches.map(\.attempts) == [[1], [1]])
        await fixture.close()
    }

    @Test func `batches at once follow the backlog, up to the consumer's limit, and a failure halves them`() async throws {
        let fixture = try QueueDriverFixture()
        let worker = WorkerStandIn()
        try await fixture.queue(
            "jobs", QueueConsumerSettings(batchSizeMax: 1, batchTimeout: .zero, concurrencyMax: 4))
        await fixture.driver.install(["w": worker.deliver])
        try await fixture.send((0..<50).map { "\($0)" }, to: "jobs")
        await until { worker.waitingCount == 1 }
        // Each more needs a second of backlog: how exactly is the scheduler's matter.
        for _ in 0..<200 { await Task.yield() }
        #expect(worker.waitingCount == 1)
        while worker.waitingCount < 4 {
            fixture.clock.advance(by: .milliseconds(100))
            await Task.yield()
        }
        fixture.clock.advance(by: .seconds(60))
        for _ in 0..<200 { await Task.yield() }
        #expect(worker.waitingCount == 4)
        // Four, then two: of the three places that come free, one is filled again.
        worker.answer(.retry(delaySeconds: 1000), succeeded: false)
        try await until { try fixture.store.readiness(of: "jobs", countMax: 100).readyCount == 46 }
        for _ in 0..<200 { await Task.yield() }
        #expect(worker.waitingCount == 3)
        worker.answer()
        try await until { try fixture.backlog("jobs") == 49 }
        for _ in 0..<200 { await Task.yield() }
        #expect(worker.waitingCount == 2)
        worker.answer()
        await until { worker.batches.count == 5 }
        let drain = Task { while !Task.isCancelled { worker.answer(); await Task.yield() } }
        await fixture.close()
        drain.cancel()
        await drain.value
    }

    @Test func `probe 21: a pause lets batches finish and starts none, until delivery resumes`() async throws {
        let fixture = try QueueDriverFixture()
        let worker = WorkerStandIn()
        try await fixture.queue("jobs", QueueConsumerSettings(batchSizeMax: 1, batchTimeout: .zero))
        await fixture.driver.install(["w": worker.deliver])
        try await fixture.send(["a", "b"], to: "jobs")
        await until { worker.waitingCount == 1 }
        try await fixture.store.pauseDelivery(of: "jobs")
        worker.answer()
        try await until { try fixture.backlog("jobs") == 1 }
        try await fixture.send(["c"], to: "jobs")
        fixture.clock.advance(by: .seconds(10))
        for _ in 0..<200 { await Task.yield() }
        #expect(worker.batches.count == 1)
        try await fixture.store.resumeDelivery(of: "jobs")
        await until { worker.waitingCount == 1 }
        worker.answer()
        await until { worker.batches.count == 3 }
        worker.answer()
        try await until { try fixture.backlog("jobs") == 0 }
        #expect(worker.batches.map(\.texts) == [["a"], ["b"], ["c"]])
        await fixture.close()
    }

    @Test func `probe 22: messages wait for a consumer, which may come and go at any time`() async throws {
        let fixture = try QueueDriverFixture()
        let (worker, other) = (WorkerStandIn(WorkerStandIn.acknowledging), WorkerStandIn(WorkerStandIn.acknowledging))
        try await fixture.store.openQueue("jobs", settings: nil)
        await fixture.driver.install(["w": worker.deliver, "other": other.deliver])
        try await fixture.send((0..<10).map { "\($0)" }, to: "jobs")
        let consumer = QueueConsumerSettings(batchTimeout: .zero)
        // Not one of the release's workers.
        let absent = try await fixture.store.addConsumer(QueueConsumerDraft(.worker(script: "absent"), consumer), to: "jobs")
        for _ in 0..<200 { await Task.yield() }
        #expect(try fixture.backlog("jobs") == 10)
        _ = try await fixture.store.updateConsumer(
            absent.id, of: "jobs", QueueConsumerDraft(.worker(script: "w"), consumer))
        try await until { try fixture.backlog("jobs") == 0 }
        #expect(worker.batches.map(\.texts.count) == [10])
        _ = try await fixture.store.updateConsumer(
            absent.id, of: "jobs", QueueConsumerDraft(.worker(script: "other"), consumer))
        // Until the change has come through, the first worker may still get one.
        while other.batches.isEmpty {
            try await fixture.send(["again"], to: "jobs")
            await Task.yield()
        }
        try await until { try fixture.backlog("jobs") == 0 }
        #expect(try await fixture.store.removeConsumer(absent.id, of: "jobs"))
        await fixture.driver.install(["w": worker.deliver, "other": other.deliver])
        let count = worker.batches.count + other.batches.count
        try await fixture.send(["left"], to: "jobs")
        fixture.clock.advance(by: .seconds(10))
        for _ in 0..<200 { await Task.yield() }
        #expect(worker.batches.count + other.batches.count == count)
        #expect(try fixture.backlog("jobs") == 1)
        await fixture.close()
    }

    @Test func `a batch ends on the release that it started in, and takes a place of the next one`() async throws {
        let fixture = try QueueDriverFixture()
        let (old, new) = (WorkerStandIn(), WorkerStandIn())
        try await fixture.queue("jobs", QueueConsumerSettings(batchSizeMax: 1, batchTimeout: .zero, concurrencyMax: 1))
        await fixture.driver.install(["w": old.deliver])
        try await fixture.send(["a", "b"], to: "jobs")
        await until { old.waitingCount == 1 }
        await fixture.driver.install(["w": new.deliver])
        // Another setting makes another scheduler, which must know of the batch.
        let id = try #require(try fixture.store.consumer(of: "jobs")).id
        _ = try await fixture.store.updateConsumer(
            id, of: "jobs",
            QueueConsumerDraft(
                .worker(script: "w"),
                QueueConsumerSettings(batchSizeMax: 1, batchTimeout: .zero, retriesMax: 9, concurrencyMax: 1)))
        for _ in 0..<200 { await Task.yield() }
        #expect(new.batches.isEmpty)
        old.answer()
        await until { new.waitingCount == 1 }
        #expect(old.batches.map(\.texts) == [["a"]] && new.batches.map(\.texts) == [["b"]])
        new.answer()
        try await until { try fixture.backlog("jobs") == 0 }
        await fixture.close()
    }

    @Test func `a stop waits for batches on their way, and starts no more`() async throws {
        let fixture = try QueueDriverFixture()
        let worker = WorkerStandIn()
        try await fixture.queue("jobs", QueueConsumerSettings(batchSizeMax: 1, batchTimeout: .zero))
        await fixture.driver.install(["w": worker.deliver])
        try await fixture.send(["a", "b"], to: "jobs")
        await until { worker.waitingCount == 1 }
        let events = MemoryLog()
        let stop = Task {
            await fixture.driver.stop()
            events.note("stopped")
        }
        for _ in 0..<200 { await Task.yield() }
        events.note("answered")
        worker.answer()
        await stop.value
        #expect(events.messages == ["answered", "stopped"])
        #expect(try fixture.backlog("jobs") == 1)
        #expect(worker.batches.map(\.texts) == [["a"]])
        await fixture.close()
    }

    @Test func `a settlement that the disk refuses is tried again, and the handler isn't`() async throws {
        let isBroken = Atomic<Bool>(false)
        let fixture = try QueueDriverFixture(fault: { operation in
            operation == "commit" && isBroken.load(ordering: .relaxed) ? LMDBError("mdb_txn_commit", .diskFull) : nil
        })
        let worker = WorkerStandIn()
        try await fixture.queue("jobs", QueueConsumerSettings(batchTimeout: .zero))
        await fixture.driver.install(["w": worker.deliver])
        try await fixture.send(["a"], to: "jobs")
        await until { worker.waitingCount == 1 }
        isBroken.store(true, ordering: .relaxed)
        worker.answer()
        await until { fixture.log.messages.contains { $0.hasPrefix("a batch could not be settled yet") } }
        isBroken.store(false, ordering: .relaxed)
        while try fixture.backlog("jobs") > 0 {
            fixture.clock.advance(by: .milliseconds(100))
            await Task.yield()
        }
        #expect(worker.batches.count == 1)
        await fixture.close()
    }
}
