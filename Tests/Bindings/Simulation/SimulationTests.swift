import Interfaces
import StoresD1
import StoresKV
import StoresQueues
import StoresR2
import StoresSimulation
import System
import Testing

@Suite struct `Simulation of stores` {
    // MARK: KV

    @Test func `a KV read repeats what it found for 60 s, also that there was nothing`() async throws {
        try await withStores { stores in
            let simulation = stores.simulation { $0.kvStaleness = .seconds(60) }
            let near = try stores.kvBinding(simulation, "near/KV")
            let far = try stores.kvBinding(simulation, "far/KV")
            try await far.put("old", "1")
            #expect(try await near.get("missing") == nil)
            #expect(try await near.get("old") == "1")
            try await far.put("missing", "there")
            try await far.put("old", "2")
            stores.clock.advance(by: .milliseconds(59_999))
            #expect(try await near.get("missing") == nil)
            #expect(try await near.get("old") == "1")
            // In bulk as well, and a listing is never late.
            #expect(try await near.get(["missing", "old"]) == ["missing": nil, "old": "1"])
            #expect(try await near.list().keys.map(\.name) == ["missing", "old"])
            stores.clock.advance(by: .milliseconds(1))
            #expect(try await near.get("missing") == "there")
            #expect(try await near.get("old") == "2")
        }
    }

    @Test func `cacheTtl keeps a KV read for longer, and what expires is gone all the same`() async throws {
        try await withStores { stores in
            let simulation = stores.simulation { $0.kvStaleness = .seconds(60) }
            let near = try stores.kvBinding(simulation, "near/KV")
            let far = try stores.kvBinding(simulation, "far/KV")
            try await far.put("kept", "1")
            try await far.put("short", "1", expirationTtl: 60)
            #expect(try await near.get("kept", cacheTtl: 300) == "1")
            #expect(try await near.get("short", cacheTtl: 300) == "1")
            try await far.put("kept", "2")
            stores.clock.advance(by: .seconds(299))
            #expect(try await near.get("kept") == "1")
            #expect(try await near.get("short") == nil)
            stores.clock.advance(by: .seconds(1))
            #expect(try await near.get("kept") == "2")
            // What the store refuses is refused also where something is remembered.
            #expect(
                await failure { _ = try await near.get("kept", cacheTtl: 29) }
                    == "KV GET failed: 400 Invalid cache_ttl of 29. Cache TTL must be at least 30.")
        }
    }

    @Test func `a KV write of one's own is usually seen, and always within 60 s`() async throws {
        try await withStores { stores in
            let simulation = stores.simulation { $0.kvStaleness = .seconds(60) }
            let kv = try stores.kvBinding(simulation, "w/KV")
            var seen = 0
            for number in 0..<64 {
                #expect(try await kv.get("k\(number)") == nil)
                try await kv.put("k\(number)", "v")
                if try await kv.get("k\(number)") == "v" { seen += 1 }
            }
            #expect((33..<64).contains(seen))
            stores.clock.advance(by: .seconds(60))
            for number in 0..<64 { #expect(try await kv.get("k\(number)") == "v") }
        }
    }

    @Test func `KV listings may be short, and who follows the cursor misses nothing`() async throws {
        try await withStores { stores in
            let kv = try stores.kvBinding(stores.simulation { _ in }, "w/KV")
            for number in 100..<140 { try await kv.put("\(number)", "") }
            var shortPages = 0
            for _ in 0..<16 {
                var names: [String] = []
                var cursor: String?
                repeat {
                    let page = try await kv.list(limit: 10, cursor: cursor)
                    names += page.keys.map(\.name)
                    cursor = page.cursor
                    if cursor != nil, page.keys.count < 10 { shortPages += 1 }
                } while cursor != nil
                #expect(names == (100..<140).map(String.init))
            }
            #expect(shortPages > 0)
        }
    }

    @Test func `KV takes one write a second to a key where that is asked for`() async throws {
        try await withStores { stores in
            let simulation = stores.simulation { $0.limitsKVWrites = true }
            let kv = try stores.kvBinding(simulation, "w/KV")
            try await kv.put("k", "1")
            #expect(await failure { try await kv.put("k", "2") } == "KV PUT failed: 429 Too Many Requests")
            try await kv.put("other", "1")
            #expect(try await kv.get("k") == "1")
            stores.clock.advance(by: .seconds(1))
            try await kv.put("k", "2")
            #expect(try await kv.get("k") == "2")
        }
    }

    // MARK: Failures and delays

    @Test func `KV fails with the product's 500, before or after a write was done`() async throws {
        try await withStores { stores in
            let simulation = stores.simulation { $0.failurePercentage = 100 }
            let kv = try stores.kvBinding(simulation, "w/KV")
            let honest = try stores.kvBinding(stores.simulation { _ in }, "honest/KV")
            var done = 0
            for number in 0..<32 {
                #expect(await failure { try await kv.put("k\(number)", "v") } == "KV PUT failed: 500 Internal Server Error")
                if try await honest.get("k\(number)") != nil { done += 1 }
            }
            #expect((1..<32).contains(done))
            #expect(await failure { _ = try await kv.get("k") } == "KV GET failed: 500 Internal Server Error")
            #expect(await failure { _ = try await kv.list() } == "KV GET failed: 500 Internal Server Error")
        }
    }

    @Test func `R2 fails with the product's 5xx, before or after a write was done`() async throws {
        try await withStores { stores in
            try await stores.r2.createBucket("media")
            let r2 = stores.simulation { $0.failurePercentage = 100 }.wrap(stores.r2, binding: "w/R2")
            var failures: Set<Int> = []
            var done = 0
            for number in 0..<32 {
                do throws(R2Failure) {
                    _ = try await r2.put(R2PutMessage(key: "k\(number)", size: 0), body: nil, in: "media")
                    Issue.record("a put that was to fail succeeded")
                } catch { failures.insert(error.code) }
                if try await stores.r2.head("k\(number)", in: "media") != nil { done += 1 }
            }
            #expect(failures == [10001, 10043])
            #expect((1..<32).contains(done))
            await #expect(throws: R2Failure.self) { try await r2.head("k", in: "media") }
        }
    }

    @Test func `one call in ten waits, and no other`() async throws {
        try await withStores { stores in
            let simulation = stores.simulation { $0.latency = .milliseconds(500) }
            let kv = try stores.kvBinding(simulation, "w/KV")
            var waits: [Duration] = []
            for _ in 0..<200 {
                let start = stores.clock.now()
                _ = try await kv.get("k")
                if stores.clock.now() > start { waits.append(stores.clock.now() - start) }
            }
            #expect((5..<50).contains(waits.count))
            #expect(waits.allSatisfy { $0 <= .milliseconds(500) })
            #expect(stores.trace.lines.count == waits.count)
        }
    }

    // MARK: D1

    @Test func `a D1 session reads from a replica that lags; its bookmark, and calls without a session, don't`() async throws {
        try await withStores { stores in
            let db = stores.d1Binding(stores.simulation { $0.d1Lag = .seconds(10) })
            func count(_ rows: D1Result?) -> D1Value? { rows?.results.first?["n"] }
            _ = try await db.exec("CREATE TABLE t(x)")
            let lagging = db.withSession()
            let question = "SELECT count(*) AS n FROM t"
            #expect(count(try await lagging.prepare(question).all()) == .integer(0))
            let writer = db.withSession("first-primary")
            try await writer.prepare("INSERT INTO t VALUES (1)").run()
            let bookmark = try #require(writer.getBookmark())

            // Before any time has passed, the replica is where it was.
            let fresh = db.withSession("first-unconstrained")
            #expect(count(try await fresh.prepare(question).all()) == .integer(0))
            #expect(try #require(fresh.getBookmark()) < bookmark)
            #expect(count(try await db.prepare(question).all()) == .integer(1))
            #expect(count(try await db.withSession("first-primary").prepare(question).all()) == .integer(1))
            // Who has seen the write sees it here too: the replica follows.
            #expect(count(try await db.withSession(bookmark).prepare(question).all()) == .integer(1))

            // A session that writes sees what it wrote.
            let session = db.withSession()
            try await session.prepare("INSERT INTO t VALUES (2)").run()
            #expect(count(try await session.prepare(question).all()) == .integer(2))

            try await db.prepare("INSERT INTO t VALUES (3)").run()
            #expect(count(try await db.withSession().prepare(question).all()) == .integer(2))
            stores.clock.advance(by: .seconds(10))
            #expect(count(try await db.withSession().prepare(question).all()) == .integer(3))
        }
    }

    @Test func `a D1 replica refuses a future bookmark, and a database with one can be deleted and made anew`() async throws {
        try await withStores { stores in
            let db = stores.d1Binding(stores.simulation { $0.d1Lag = .seconds(60) })
            _ = try await db.exec("CREATE TABLE t(x)")
            #expect(try await db.withSession().prepare("SELECT * FROM t").all().results.isEmpty)
            let future = "ffffffff-00000000-00000000-00000000000000000000000000000000"
            #expect(
                await failure { _ = try await db.withSession(future).prepare("SELECT * FROM t").all() }
                    == "D1_ERROR: Invalid bookmark: \(future) is in the future")
            #expect(
                await failure { _ = try await db.withSession("nonsense").prepare("SELECT * FROM t").all() }
                    == "D1_ERROR: Invalid bookmark: nonsense")
            // Nothing waits for the replica's thread, which sleeps.
            try await stores.d1.delete("main")
            _ = try await db.exec("CREATE TABLE t(x)")
            #expect(try await db.withSession().prepare("SELECT count(*) AS n FROM t").first()?["n"] == .integer(0))
        }
    }

    // MARK: Queues

    @Test func `an acknowledged message comes again, once, and never beyond its last delivery`() async throws {
        try await withStores { stores in
            let simulation = stores.simulation { $0.queueDuplicatePercentage = 100 }
            let queue = try await stores.queueBinding(simulation)
            let consumer = simulation.wrapConsumer(stores.queues)
            func deliver(_ settings: QueueConsumerSettings) async throws -> [UInt32] {
                stores.clock.advance(by: .seconds(5))
                guard let lease = try await consumer.lease(QueueLeaseRequest("events", consumer: settings)) else { return [] }
                try await consumer.settle(lease, lease.messages.map { _ in .acknowledge }, consumer: settings)
                return lease.messages.map(\.item.attempts)
            }
            _ = try await queue.send("a")
            let settings = QueueConsumerSettings(retriesMax: 3)
            #expect(try await deliver(settings) == [1])
            #expect(try await deliver(settings) == [2])
            #expect(try await deliver(settings) == [])
            _ = try await queue.send("b")
            let once = QueueConsumerSettings(retriesMax: 0)
            #expect(try await deliver(once) == [1])
            #expect(try await deliver(once) == [])
        }
    }

    @Test func `messages overtake one another, and none is lost`() async throws {
        try await withStores { stores in
            let simulation = stores.simulation { $0.reordersQueues = true }
            let queue = try await stores.queueBinding(simulation)
            let consumer = simulation.wrapConsumer(stores.queues)
            let sent = (0..<64).map { "\($0)" }
            for text in sent { _ = try await queue.send(text, contentType: .text) }
            let settings = QueueConsumerSettings(batchSizeMax: 16)
            var received: [String] = []
            var firstBatches: [String] = []
            for _ in 0..<8 {
                while let lease = try await consumer.lease(QueueLeaseRequest("events", consumer: settings)) {
                    received += lease.messages.map { String(decoding: $0.item.body, as: UTF8.self) }
                    try await consumer.settle(lease, lease.messages.map { _ in .acknowledge }, consumer: settings)
                }
                if firstBatches.isEmpty { firstBatches = received }
                stores.clock.advance(by: .seconds(1))
            }
            // Some came later than all that was sent after them, and a batch isn't in order either.
            #expect(firstBatches.count < 64)
            #expect(Array(firstBatches.prefix(16)) != firstBatches.prefix(16).sorted { Int($0) ?? 0 < Int($1) ?? 0 })
            #expect(received.sorted { Int($0) ?? 0 < Int($1) ?? 0 } == sent)
        }
    }

    // MARK: Replay

    /// The same calls on fresh stores: what was simulated, when, and what came of it.
    private func run(seed: UInt64) async throws -> (trace: [String], outcomes: [String]) {
        let stores = try SimulationFixture()
        let simulation = stores.simulation(seed: seed) { settings in
            settings = SimulationSettings(seed: seed)
            settings.failurePercentage = 10
            settings.queueDuplicatePercentage = 20
        }
        let kv = try stores.kvBinding(simulation, "w/KV")
        let db = stores.d1Binding(simulation)
        let queue = try await stores.queueBinding(simulation)
        let consumer = simulation.wrapConsumer(stores.queues)
        try await stores.r2.createBucket("media")
        let r2 = simulation.wrap(stores.r2, binding: "w/R2")
        let settings = QueueConsumerSettings(batchSizeMax: 4)
        var outcomes: [String] = []
        func note(_ body: () async throws -> String) async {
            do { outcomes.append(try await body()) } catch { outcomes.append("\(error)") }
        }
        _ = try await db.exec("CREATE TABLE t(x)")
        for number in 0..<60 {
            stores.clock.advance(by: .milliseconds(700))
            await note { try await kv.get("k\(number % 7)") ?? "-" }
            await note {
                try await kv.put("k\(number % 5)", "\(number)")
                return "put"
            }
            await note { "\(try await kv.list(limit: 4).keys.count)" }
            await note { try await r2.put(R2PutMessage(key: "k", size: 0), body: nil, in: "media") == nil ? "-" : "r2" }
            await note { "\(try await db.prepare("INSERT INTO t VALUES (?)").bind(number).run().meta.changes)" }
            await note { "\(try await db.withSession().prepare("SELECT count(*) AS n FROM t").first()?["n"] ?? .null)" }
            await note { "\(try await queue.send(number).backlogCount)" }
            await note {
                guard let lease = try await consumer.lease(QueueLeaseRequest("events", consumer: settings)) else { return "-" }
                try await consumer.settle(lease, lease.messages.map { _ in .acknowledge }, consumer: settings)
                return lease.messages.map { "\($0.sequence):\($0.item.attempts)" }.joined(separator: " ")
            }
        }
        let trace = stores.trace.lines
        await stores.close()
        return (trace, outcomes)
    }

    @Test func `the same seed replays the same schedule, another one doesn't`() async throws {
        let first = try await run(seed: 42)
        let second = try await run(seed: 42)
        #expect(first.trace == second.trace)
        #expect(first.outcomes == second.outcomes)
        for operation in ["kv get fails", "kv put", "kv list", "r2 put", "d1 query is answered by a replica", "queue settle"] {
            #expect(first.trace.contains { $0.contains("simulated: \(operation)") }, "nothing of \(operation)")
        }
        #expect(first.trace.contains { $0.contains(" slow ") })
        let other = try await run(seed: 43)
        #expect(other.trace != first.trace)
    }
}
