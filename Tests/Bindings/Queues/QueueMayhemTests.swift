import FoundationEssentials
import Interfaces
import LMDB
import StoresQueues
import System
import Testing

/// Ten thousand random operations, with reopenings and with the process ending in between: the store is sound all the time, and
/// when everything is deleted, its files hold what an unused store's hold. (What may not be lost is the model's matter.)
@Suite(.timeLimit(.minutes(5))) struct `Queue mayhem` {
    private struct World {
        let fixture: QueueFixture
        var generator: SeededGenerator
        var leases: [(lease: QueueLease, consumer: QueueConsumerSettings)] = []
        var tickets: [(queue: String, lease: String)] = []
        var sent = 0

        var store: EmbeddedQueueStore { fixture.store }
        mutating func dice(_ count: Int) -> Int { Int.random(in: 0..<count, using: &generator) }
        mutating func name() -> String { "q\(dice(5))" }
    }

    private static let settings = QueueConsumerSettings(
        batchSizeMax: 7, retriesMax: 1, retryDelaySeconds: 1, deadLetterQueue: "dead")

    @Test func `nothing leaks`() async throws {
        let seed = ProcessInfo.processInfo.environment["EDGE_SEED"].flatMap { UInt64($0) } ?? 20_261_121
        let context: Comment = "EDGE_SEED=\(seed)"
        var quota = QueueQuota()
        quota.historyBytesMax = 20_000
        var world = World(fixture: try QueueFixture(quota: quota), generator: SeededGenerator(seed: seed))
        let baseline = try await unusedPages(quota)
        for step in 0..<10_000 {
            do { try await self.step(&world) } catch is QueueError {}  // No such queue, a name that is taken, and so on.
            guard step % 400 == 399 else { continue }
            world.fixture.clock.advance(by: .milliseconds(1))
            try await world.dice(2) == 0 ? world.fixture.reopen() : world.fixture.crash()
            #expect(try await world.store.verify() == [], context)
        }
        #expect(world.sent > 5000, context)
        for queue in try world.store.queues() { try await world.store.deleteQueue(queue.name) }
        #expect(try await world.store.verify() == [], context)
        await world.store.close()
        #expect(try Self.pages(world.fixture.environment()) == baseline, context)
    }

    private func step(_ world: inout World) async throws {
        let (store, name) = (world.store, world.name())
        switch world.dice(100) {
        case 0..<8: try await store.openQueue(name, settings: nil)
        case 8..<10: try await store.deleteQueue(name)
        case 10..<12: try await store.renameQueue(name, to: world.name(), QueueSettingsChange())
        case 12..<17:
            let kind: QueueConsumerDraft.Kind = world.dice(2) == 0 ? .pull : .worker(script: "w")
            _ = try await store.addConsumer(QueueConsumerDraft(kind, Self.settings), to: name)
        case 17..<19:
            if let consumer = try store.consumer(of: name) { _ = try await store.removeConsumer(consumer.id, of: name) }
        case 19..<47: try await send(&world, name)
        case 47..<57:
            if let lease = try await store.lease(QueueLeaseRequest(name, consumer: Self.settings)) {
                world.leases.append((lease, Self.settings))
            }
        case 57..<67: try await settle(&world)
        case 67..<77:
            for message in try await store.pull(from: name, batchSize: 9, visibilityTimeout: .seconds(world.dice(9))).messages {
                world.tickets.append((name, message.leaseID))
            }
        case 77..<85:
            guard !world.tickets.isEmpty else { return }
            let (queue, lease) = world.tickets.remove(at: world.dice(world.tickets.count))
            let isDone = world.dice(3) > 0
            _ = try await store.settle(
                pulled: queue, acknowledge: isDone ? [lease] : [], retry: isDone ? [] : [QueuePullRetry(leaseID: lease)])
        case 85..<88: _ = try await store.purge(name)
        case 88..<91: _ = try await store.replay(name, from: UnixTime(milliseconds: 0))
        case 91..<94: await store.sweep()
        default: world.fixture.clock.advance(by: .milliseconds(Int64(world.dice(world.dice(8) == 0 ? 90_000 : 3000))))
        }
    }

    private func send(_ world: inout World, _ name: String) async throws {
        var items: [QueueSendMessage.Item] = []
        for _ in 0...world.dice(4) {
            let byteCount = [0, 10, 300, 3000, 9000][world.dice(5)]
            items.append(
                .init(
                    contentType: .bytes, body: [UInt8](repeating: 7, count: byteCount),
                    delaySeconds: world.dice(4) == 0 ? Int64(world.dice(20)) : nil))
        }
        _ = try await world.store.send(items, form: .batch, to: name)
        world.sent += items.count
    }

    private func settle(_ world: inout World) async throws {
        guard !world.leases.isEmpty else { return }
        let (lease, consumer) = world.leases.remove(at: world.dice(world.leases.count))
        guard world.dice(6) > 0 else { return try await world.store.release(lease) }
        var decisions: [QueueBatchReply.Decision] = []
        for _ in lease.messages { decisions.append(world.dice(3) == 0 ? .retry(delaySeconds: nil) : .acknowledge) }
        _ = try await world.store.settle(lease, decisions, consumer: consumer)
    }

    /// What a store takes that has had a queue and has none any more.
    private func unusedPages(_ quota: QueueQuota) async throws -> [String: [Int]] {
        let fixture = try QueueFixture(quota: quota)
        try await fixture.store.openQueue("q0", settings: nil)
        try await fixture.store.deleteQueue("q0")
        await fixture.store.close()
        return try Self.pages(fixture.environment())
    }

    /// Entries and pages of each database.
    private static func pages(_ environment: LMDBEnvironment) throws -> [String: [Int]] {
        defer { environment.close() }
        var result: [String: [Int]] = [:]
        for name in try environment.databaseNames() {
            let database = try environment.openDatabase(name)
            result[name] = try environment.read { transaction throws(LMDBError) in
                [try transaction.count(of: database), try transaction.pageCount(of: database)]
            }
        }
        return result
    }
}
