import FoundationEssentials
import Interfaces
import LMDB
import StoresQueues
import Synchronization
import System
import Testing

/// Random calls of all kinds beside a model; between them the store is closed, the process "ends" (only its files stay),
/// and commits fail.
@Suite(.timeLimit(.minutes(3))) struct `Queues beside a model` {
    enum Interruptions: CaseIterable { case none, reopenings, crashes }

    private struct World {
        let fixture: QueueFixture
        var model: QueueModel
        var generator: SeededGenerator
        let mayFail: MayFail
        var context = ""
        var count = 0
        var leases: [(lease: QueueLease, number: Int, sequences: [Int])] = []
        var tickets: [(queue: String, id: String, number: Int, sequence: Int)] = []
        var seen: Set<String> = []

        var now: Int64 { fixture.now }

        mutating func dice(_ count: Int) -> Int { Int.random(in: 0..<count, using: &generator) }

        /// Whether a call was made; it is refused by the disk now and then, and must then have changed nothing.
        mutating func attempt(_ call: (EmbeddedQueueStore) async throws -> Void) async throws -> Bool {
            mayFail.set(dice(15) == 0)
            defer { mayFail.set(false) }
            do {
                try await call(fixture.store)
                return true
            } catch QueueError.failed { return false }
        }
    }

    final class MayFail: Sendable {
        private let flag = Atomic<Bool>(false)
        var value: Bool { flag.load(ordering: .relaxed) }
        func set(_ value: Bool) { flag.store(value, ordering: .relaxed) }
    }

    private static let push = QueueConsumerSettings(
        batchSizeMax: 4, retriesMax: 2, retryDelaySeconds: 3, deadLetterQueue: "dead")
    private static let pull = QueueConsumerSettings(
        batchSizeMax: 5, retriesMax: 1, retryDelaySeconds: 2, deadLetterQueue: "dead")
    private static let dead = QueueConsumerSettings(batchSizeMax: 4, retriesMax: 3)

    @Test(arguments: Interruptions.allCases, [1, 2])
    func `what was acknowledged is there, and nothing else`(_ interruptions: Interruptions, _ number: UInt64) async throws {
        let seed = ProcessInfo.processInfo.environment["EDGE_SEED"].flatMap { UInt64($0) } ?? 7_654_828_178_154_639_169
        let mayFail = MayFail()
        var quota = QueueQuota()
        quota.historyBytesMax = 1500
        let fixture = try QueueFixture(
            fault: { operation in
                operation == "commit" && mayFail.value ? LMDBError("mdb_txn_commit", .diskFull) : nil
            }, quota: quota)
        _ = try await fixture.queue("push")
        _ = try await fixture.store.addConsumer(QueueConsumerDraft(.worker(script: "w"), Self.push), to: "push")
        _ = try await fixture.pullQueue("pull", Self.pull)
        for name in ["push", "pull", "dead"] {
            try await fixture.store.updateQueue(name, QueueSettingsChange(retentionSeconds: 120))
        }
        let model = QueueModel(
            [
                "push": .init(consumer: .init(retriesMax: 2, retryDelay: 3000, deadLetters: "dead"), retention: 120_000),
                "pull": .init(consumer: .init(retriesMax: 1, retryDelay: 2000, deadLetters: "dead"), retention: 120_000),
                "dead": .init(consumer: .init(retriesMax: 3, retryDelay: 0), retention: 120_000),
            ], historyCostMax: 1500)
        var world = World(
            fixture: fixture, model: model, generator: SeededGenerator(seed: seed &+ number), mayFail: mayFail)
        for step in 0..<600 {
            world.context = "EDGE_SEED=\(seed) \(interruptions) \(number), step \(step)"
            try await run(&world, interruptions)
            try compare(world)
        }
        #expect(try await fixture.store.verify() == [], "\(world.context)")
        #expect(world.seen.count > 50, "\(world.context)")
        await fixture.store.close()
    }

    private func compare(_ world: World) throws {
        let context = Comment(rawValue: world.context)
        for (name, queue) in world.model.queues {
            let messages = queue.messages.values
            let metrics = try world.fixture.store.metrics(of: name)
            let expected = QueueMetrics(
                backlogCount: Int64(messages.count),
                backlogBytes: messages.reduce(0) { $0 + Int64($1.body.utf8.count) },
                oldestMessageTimestamp: messages.map(\.timestamp).min())
            #expect(metrics == expected, context)
            let history = try world.fixture.store.history(of: name)
            #expect(history.count == queue.history.count, context)
            #expect(history.bytes == queue.history.values.reduce(0) { $0 + Int64($1.body.utf8.count) }, context)
            #expect(try world.fixture.store.settings(of: name).isPaused == queue.isPaused, context)
        }
    }

    private func run(_ world: inout World, _ interruptions: Interruptions) async throws {
        switch world.dice(100) {
        case 0..<25: try await send(&world)
        case 25..<37: try await lease(&world)
        case 37..<45: try await settle(&world)
        case 45..<48: try await release(&world)
        case 48..<60: try await pull(&world)
        case 60..<70: try await settlePulled(&world)
        case 70..<74: try peek(world, ["push", "pull", "dead"][world.dice(3)], world.dice(8) + 1)
        case 74..<76: try await purge(&world)
        case 76..<80: try await replay(&world)
        case 80..<83: try await pause(&world)
        case 83: #expect(try await world.fixture.store.verify() == [], "\(world.context)")
        case 84..<96: try await advance(&world, by: Int64(world.dice(world.dice(6) == 0 ? 60_000 : 4000) + 1))
        default:
            // Nothing may be on its way when the files are copied.
            try await advance(&world, by: 1)
            switch interruptions {
            case .none: return
            case .reopenings: try await world.fixture.reopen()
            case .crashes: try await world.fixture.crash()
            }
            world.model.restart()
            #expect(try await world.fixture.store.verify() == [], "\(world.context)")
        }
    }

    // MARK: Steps

    private func send(_ world: inout World) async throws {
        let name = world.dice(2) == 0 ? "push" : "pull"
        var items: [QueueSendMessage.Item] = []
        var bodies: [(String, Int64)] = []
        for _ in 0...world.dice(4) {
            let body = "\(world.count) " + String(repeating: "x", count: world.dice(10) == 0 ? 1500 : world.dice(120))
            let delay = world.dice(3) == 0 ? Int64(world.dice(20)) : 0
            world.count += 1
            bodies.append((body, delay))
            items.append(.init(contentType: .text, body: Array(body.utf8), delaySeconds: delay))
        }
        let batch = items
        guard try await world.attempt({ _ = try await $0.send(batch, form: .batch, to: name) }) else { return }
        for (body, delay) in bodies { world.model.send(body, to: name, delay: delay * 1000, at: world.now) }
    }

    private func lease(_ world: inout World) async throws {
        let name = world.dice(3) == 0 ? "dead" : "push"
        let settings = name == "push" ? Self.push : Self.dead
        var found: QueueLease?
        let isDone = try await world.attempt { found = try await $0.lease(QueueLeaseRequest(name, consumer: settings)) }
        guard isDone else { return }
        let (number, expected) = world.model.lease(name, max: 4, until: .max, at: world.now)
        let context = Comment(rawValue: world.context)
        #expect((found?.messages ?? []).map { String(decoding: $0.item.body, as: UTF8.self) } == expected.map(\.body), context)
        #expect((found?.messages ?? []).map(\.item.attempts) == expected.map(\.attempts), context)
        #expect((found?.messages ?? []).map(\.item.timestamp) == expected.map(\.timestamp), context)
        guard let found else { return }
        world.seen.formUnion(expected.map(\.body))
        world.leases.append((found, number, expected.map(\.sequence)))
    }

    private func settle(_ world: inout World) async throws {
        guard !world.leases.isEmpty else { return }
        let (lease, number, sequences) = world.leases.remove(at: world.dice(world.leases.count))
        let decisions: [QueueBatchReply.Decision] = sequences.map { _ in
            switch world.dice(4) {
            case 0: .retry(delaySeconds: nil)
            case 1: .retry(delaySeconds: Int64(world.dice(9)))
            default: .acknowledge
            }
        }
        let settings = lease.queue == "push" ? Self.push : Self.dead
        let isDone = try await world.attempt { try await $0.settle(lease, decisions, consumer: settings) }
        guard isDone else { return world.leases.append((lease, number, sequences)) }
        for (sequence, decision) in zip(sequences, decisions) {
            var delay: Int64?
            if case .retry(let seconds) = decision { delay = seconds.map { $0 * 1000 } }
            _ = world.model.settle(
                sequence, of: lease.queue, lease: number, acknowledges: decision == .acknowledge, delay: delay, at: world.now)
        }
        world.model.trim(lease.queue)
    }

    private func release(_ world: inout World) async throws {
        guard !world.leases.isEmpty else { return }
        let (lease, number, sequences) = world.leases.remove(at: world.dice(world.leases.count))
        guard try await world.attempt({ try await $0.release(lease) }) else { return }
        for sequence in sequences { world.model.release(sequence, of: lease.queue, lease: number) }
    }

    private func pull(_ world: inout World) async throws {
        let max = world.dice(6) + 1
        let timeout = Int64([0, 1, 500, 3000, 20_000][world.dice(5)])
        var found: [QueuePulledMessage] = []
        let context = Comment(rawValue: world.context)
        do {
            let isDone = try await world.attempt {
                found = try await $0.pull(from: "pull", batchSize: max, visibilityTimeout: .milliseconds(timeout)).messages
            }
            guard isDone else { return }
            #expect(world.model.queues["pull"]?.isPaused == false, context)
        } catch QueueError.deliveryPaused {
            #expect(world.model.queues["pull"]?.isPaused == true, context)
            return
        }
        let (number, expected) = world.model.lease("pull", max: max, until: world.now + timeout, at: world.now)
        #expect(found.map(\.body) == expected.map(\.body), context)
        #expect(found.map(\.attempts) == expected.map(\.attempts), context)
        world.seen.formUnion(expected.map(\.body))
        for (message, model) in zip(found, expected) {
            world.tickets.append(("pull", message.leaseID, number, model.sequence))
        }
        // It lapses at once, on the store's own thread: wait for that.
        if timeout == 0 { try await advance(&world, by: 0) }
    }

    private func settlePulled(_ world: inout World) async throws {
        var acknowledge: [String] = []
        var retry: [QueuePullRetry] = []
        var orders: [(number: Int, sequence: Int, acknowledges: Bool, delay: Int64?)] = []
        for index in world.tickets.indices.reversed().prefix(12) where world.dice(2) == 0 {
            let ticket = world.tickets[index]
            // Leases may be named again later: most of them are unknown by then.
            if world.dice(3) > 0 { world.tickets.remove(at: index) }
            if world.dice(2) == 0 {
                acknowledge.append(ticket.id)
                orders.append((ticket.number, ticket.sequence, true, nil))
            } else {
                let delay = world.dice(2) == 0 ? Int64(world.dice(5)) : nil
                retry.append(QueuePullRetry(leaseID: ticket.id, delaySeconds: delay))
                orders.append((ticket.number, ticket.sequence, false, delay.map { $0 * 1000 }))
            }
        }
        var found: QueuePullSettlement?
        let (acks, retries) = (acknowledge, retry)
        let isDone = try await world.attempt { found = try await $0.settle(pulled: "pull", acknowledge: acks, retry: retries) }
        guard isDone, let found else { return }
        var counts = (acknowledged: 0, retried: 0)
        for order in orders.filter(\.acknowledges) + orders.filter({ !$0.acknowledges }) {
            let isHeld = world.model.settle(
                order.sequence, of: "pull", lease: order.number, acknowledges: order.acknowledges, delay: order.delay,
                at: world.now)
            if isHeld, order.acknowledges { counts.acknowledged += 1 }
            if isHeld, !order.acknowledges { counts.retried += 1 }
        }
        world.model.trim("pull")
        let context = Comment(rawValue: world.context)
        #expect(found.acknowledgedCount == counts.acknowledged && found.retriedCount == counts.retried, context)
        #expect(found.warnings.count == orders.count - counts.acknowledged - counts.retried, context)
    }

    private func peek(_ world: World, _ name: String, _ max: Int) throws {
        let found = try world.fixture.store.peek(into: name, batchSize: max)
        let expected = world.model.peek(name, max: max, at: world.now)
        #expect(found.map(\.body) == expected.map(\.body), "\(world.context)")
        #expect(found.map(\.attempts) == expected.map(\.attempts), "\(world.context)")
    }

    private func purge(_ world: inout World) async throws {
        let name = ["push", "pull", "dead"][world.dice(3)]
        if world.dice(3) == 0 {
            try await world.fixture.store.purge(name)
            return world.model.purge(name)
        }
        let peeked = try world.fixture.store.peek(into: name, batchSize: 3)
        let expected = world.model.peek(name, max: 3, at: world.now)
        let references = peeked.map(\.reference)
        guard try await world.attempt({ _ = try await $0.purge(name, references: references) }) else { return }
        for message in expected { world.model.queues[name]?.messages[message.sequence] = nil }
    }

    private func replay(_ world: inout World) async throws {
        let name = ["push", "pull", "dead"][world.dice(3)]
        let time = world.now - Int64(world.dice(60_000))
        var count = 0
        let isDone = try await world.attempt { count = try await $0.replay(name, from: UnixTime(milliseconds: time)) }
        guard isDone else { return }
        #expect(count == world.model.replay(name, from: time, at: world.now), "\(world.context)")
    }

    private func pause(_ world: inout World) async throws {
        let name = world.dice(2) == 0 ? "push" : "pull"
        let isPaused = world.dice(3) == 0
        let change = QueueSettingsChange(isPaused: isPaused)
        guard try await world.attempt({ try await $0.updateQueue(name, change) }) else { return }
        world.model.queues[name]?.isPaused = isPaused
    }

    /// Stops wherever a pull lapses, so that it is known when its messages became dead letters.
    private func advance(_ world: inout World, by milliseconds: Int64) async throws {
        let end = world.now + milliseconds
        while true {
            await world.fixture.store.sweep()
            world.model.sweep(at: world.now)
            guard world.now < end else { return }
            let stop = min(end, world.model.nextLapse(after: world.now) ?? end)
            world.fixture.clock.advance(by: .milliseconds(stop - world.now))
        }
    }
}
