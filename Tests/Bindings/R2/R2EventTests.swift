import Foundation
import Interfaces
import Observability
import StoresR2
import Synchronization
import System
import Testing

/// Stands for the queues: remembers what was sent, and can refuse or die.
final class QueueStandIn: Sendable {
    struct State: Sendable {
        var messages: [(queue: String, body: String)] = []
        var refusals: [String: R2EventPublisher.Refusal] = [:]
        var batchSizes: [Int] = []
    }
    let state = Mutex(State())

    func send(_ queue: String, _ bodies: [[UInt8]]) throws(R2EventPublisher.Refusal) {
        let refusal = state.withLock { state -> R2EventPublisher.Refusal? in
            if let refusal = state.refusals[queue] { return refusal }
            state.batchSizes.append(bodies.count)
            state.messages += bodies.map { (queue, String(decoding: $0, as: UTF8.self)) }
            return nil
        }
        if let refusal { throw refusal }
    }

    func refuse(_ queue: String, _ refusal: R2EventPublisher.Refusal?) {
        state.withLock { $0.refusals[queue] = refusal }
    }

    func bodies(of queue: String) -> [String] {
        state.withLock { $0.messages.filter { $0.queue == queue }.map(\.body) }
    }

    func publisher(of store: EmbeddedR2Store, _ clock: VirtualClock) -> R2EventPublisher {
        R2EventPublisher(
            store: store, account: "acme", clock: clock,
            logger: Logger(sink: DiscardingSink(), clock: clock, level: .error)
        ) { queue, bodies throws(R2EventPublisher.Refusal) in try self.send(queue, bodies) }
    }
}

@Suite struct `R2 events` {
    typealias Rule = R2NotificationRule

    private func publish(_ fixture: Fixture, _ queues: QueueStandIn = QueueStandIn()) async -> QueueStandIn {
        _ = await queues.publisher(of: fixture.store, fixture.clock).publish()
        return queues
    }

    @Test func `28: a rule on a prefix tells of a put with size and eTag, and of a delete without`() async throws {
        let fixture = try await Fixture()
        try await fixture.store.addNotificationRules(
            [Rule([.putObject, .deleteObject], prefix: "img/")], queue: "changes", of: "photos")
        try await fixture.bucket.put("img/1", "value")
        try await fixture.bucket.put("x", "value")
        fixture.clock.advance(by: .milliseconds(1_234))
        try await fixture.bucket.delete(["img/1", "img/missing", "x"])
        let queues = await publish(fixture)
        #expect(
            queues.bodies(of: "changes") == [
                """
                {"account":"acme","action":"PutObject","bucket":"photos","eventTime":"2026-01-01T00:00:00.000Z",\
                "object":{"eTag":"2063c1608d6e0baf80249c42e2be5804","key":"img/1","size":5}}
                """,
                """
                {"account":"acme","action":"DeleteObject","bucket":"photos","eventTime":"2026-01-01T00:00:01.234Z",\
                "object":{"key":"img/1"}}
                """,
            ])
        #expect(try fixture.store.pendingEventCount() == 0)
    }

    @Test func `a copy names its source`() throws {
        let event = R2ObjectEvent(
            .copyObject, bucket: "b", key: "a \"k\"/ü", size: 1, etag: "e", time: 0, copySource: .init(bucket: "s", key: "t"))
        #expect(
            String(decoding: try event.message(account: "a"), as: UTF8.self)
                == """
                {"account":"a","action":"CopyObject","bucket":"b","copySource":{"bucket":"s","object":"t"},\
                "eventTime":"1970-01-01T00:00:00.000Z","object":{"eTag":"e","key":"a \\"k\\"/ü","size":1}}
                """)
    }

    @Test func `each kind of change has its action, and suffixes choose`() async throws {
        let fixture = try await Fixture()
        for (action, queue) in zip(R2EventAction.allCases, ["put", "copy", "complete", "delete", "lifecycle"]) {
            try await fixture.store.addNotificationRules([Rule([action], suffix: ".png")], queue: queue, of: "photos")
        }
        let bucket = fixture.bucket
        try await bucket.put("a.png", "1")
        try await bucket.put("a.jpg", "1")
        let upload = try await bucket.createMultipartUpload("b.png")
        try await upload.complete([try await upload.uploadPart(1, "1")])
        try await bucket.delete("a.png")
        try await fixture.store.setLifecycleRules([R2LifecycleRule(id: "a", delete: .age(seconds: 1))], of: "photos")
        fixture.clock.advance(by: .seconds(1))
        #expect(try await fixture.store.applyLifecycle().deleted == 2)
        let queues = await publish(fixture)
        let keys = try queues.state.withLock { $0.messages }.map { queue, body in
            let message = try #require(try JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: Any])
            let object = try #require(message["object"] as? [String: Any])
            return [queue, try #require(message["action"] as? String), try #require(object["key"] as? String)]
        }
        #expect(
            Set(keys) == [
                ["put", "PutObject", "a.png"], ["complete", "CompleteMultipartUpload", "b.png"],
                ["delete", "DeleteObject", "a.png"], ["lifecycle", "LifecycleDeletion", "b.png"],
            ])
        #expect(keys.count == 4)
    }

    @Test func `what changes nothing is not told`() async throws {
        let fixture = try await Fixture()
        try await fixture.store.addNotificationRules([Rule(R2EventAction.allCases)], queue: "all", of: "photos")
        let bucket = fixture.bucket
        #expect(try await bucket.put("k", "v", onlyIf: try R2Conditional(etagMatches: "x")) == nil)
        _ = await failure { try await bucket.put("k", "v", checksum: R2Checksum(.md5, [UInt8](repeating: 0, count: 16))) }
        let upload = try await bucket.createMultipartUpload("k")
        _ = try await upload.uploadPart(1, "v")
        try await upload.abort()
        try await bucket.delete("missing")
        #expect(try fixture.store.pendingEventCount() == 0)
        // Nor what was before there was a rule, or comes when there is none any more.
        try await bucket.put("k", "v")
        #expect(try fixture.store.pendingEventCount() == 1)
        try await fixture.store.removeNotificationRules(queue: "all", of: "photos")
        try await bucket.put("k", "v")
        #expect(try fixture.store.pendingEventCount() == 1)
    }

    @Test func `rules may not overlap for an action, in no queue of the bucket`() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        try await store.addNotificationRules([Rule([.putObject], prefix: "a/", suffix: ".png")], queue: "one", of: "photos")
        for (rule, isFine) in [
            (Rule([.putObject]), false), (Rule([.putObject], prefix: "a/b"), false), (Rule([.putObject], suffix: "g"), false),
            (Rule([.putObject, .copyObject], prefix: "a", suffix: "x.png"), false), (Rule([.putObject], prefix: "b"), true),
            (Rule([.putObject], prefix: "a/", suffix: ".jpg"), true), (Rule([.deleteObject], prefix: "a/"), true),
        ] {
            for queue in ["one", "two"] {
                let before = try store.notifications(of: "photos")
                let message = await failure { try await store.addNotificationRules([rule], queue: queue, of: "photos") }
                #expect((message == "no failure") == isFine, "\(rule)")
                guard isFine else { continue }
                let added = try #require(store.notifications(of: "photos").queues.first { $0.queueName == queue }?.rules.last)
                try await store.removeNotificationRules([added.ruleId], queue: queue, of: "photos")
                #expect(try store.notifications(of: "photos") == before)
            }
        }
        await #expect(throws: R2Failure.noNotificationConfiguration) {
            try await store.removeNotificationRules(queue: "two", of: "photos")
        }
        await #expect(throws: R2Failure.self) { try await store.addNotificationRules([], queue: "two", of: "photos") }
        await #expect(throws: R2Failure.self) { try await store.addNotificationRules([Rule([])], queue: "two", of: "photos") }
    }

    @Test func `rules overlap when there is a key that both match`() {
        // All texts of up to four letters of two.
        var keys = [""]
        for _ in 0..<4 { keys += keys.flatMap { [$0 + "a", $0 + "b"] } }
        keys = Array(Set(keys))
        let ends = ["", "a", "b", "ab", "ba", "bb"]
        let rules = ends.flatMap { prefix in ends.map { Rule([.putObject], prefix: prefix, suffix: $0) } }
        for left in rules {
            let matched = keys.filter { left.matches(.putObject, key: $0) }
            for right in rules {
                let isMatched = matched.contains { right.matches(.putObject, key: $0) }
                #expect(left.overlaps(right) == isMatched, "\(left) and \(right)")
            }
        }
        #expect(!Rule([.putObject]).overlaps(Rule([.deleteObject])))
    }

    @Test func `when too many events wait, changes that must be told are refused`() async throws {
        var options = EmbeddedR2Store.Options()
        options.eventsMax = 2
        let fixture = try await Fixture(options)
        try await fixture.store.addNotificationRules([Rule([.putObject], prefix: "a")], queue: "all", of: "photos")
        try await fixture.bucket.put("a1", "v")
        try await fixture.bucket.put("a2", "v")
        #expect(await failure { try await fixture.bucket.put("a3", pattern(100_000)) }.hasSuffix("(10043)"))
        #expect(fixture.blobs.isEmpty)
        try await fixture.bucket.put("b", "v")
        try await fixture.bucket.delete("a1")
        let queues = await publish(fixture)
        #expect(queues.bodies(of: "all").count == 2)
        try await fixture.bucket.put("a3", "v")
        #expect(try await fixture.bucket.list().objects.map(\.key) == ["a2", "a3", "b"])
        #expect(try await fixture.store.verify().isSound)
    }

    @Test func `a bucket has at most a hundred rules`() async throws {
        let fixture = try await Fixture()
        let rules = (100..<200).map { Rule([.putObject], prefix: "\($0)/") }
        try await fixture.store.addNotificationRules(Array(rules.prefix(60)), queue: "one", of: "photos")
        try await fixture.store.addNotificationRules(Array(rules.dropFirst(60)), queue: "two", of: "photos")
        await #expect(throws: R2Failure.invalidRules("a bucket has at most 100 event notification rules, not 101")) {
            try await fixture.store.addNotificationRules([Rule([.putObject], prefix: "x")], queue: "two", of: "photos")
        }
        try await fixture.reopen()
        #expect(try fixture.store.notifications(of: "photos").queues.map(\.rules.count) == [60, 40])
    }

    @Test(arguments: [0, 1, 2, 3])
    func `whenever the process dies, a change and its event are there together or neither`(_ kind: Int) async throws {
        let faults = Faults()
        let fixture = try await Fixture()
        try await fixture.store.addNotificationRules([Rule(R2EventAction.allCases)], queue: "all", of: "photos")
        var changes = 0
        var died = 0
        for step in 0..<10 {
            try await fixture.reopen(hook: faults.hook)
            faults.die(before: nil)
            let key = "k\(step)"
            if kind == 1 {
                try await fixture.bucket.put(key, pattern(70_000))
                changes += 1
            }
            let upload = kind == 3 ? try await fixture.bucket.createMultipartUpload(key) : nil
            let part = try await upload?.uploadPart(1, pattern(70_000))
            faults.die(before: step)
            let message = await failure {
                switch kind {
                case 0: try await fixture.bucket.put(key, pattern(70_000))
                case 1: try await fixture.bucket.delete(key)
                case 2: try await fixture.bucket.put(key, "small")
                default: try await upload?.complete([try #require(part)])
                }
            }
            died += message == "no failure" ? 0 : 1
            await fixture.store.settle()
            try await fixture.reopen()
            let isThere = try await fixture.bucket.head(key) != nil
            if kind == 1 ? !isThere : isThere { changes += 1 }
            #expect(try fixture.store.pendingEventCount() == changes, "died before step \(step)")
        }
        #expect((1...9).contains(died))
        let queues = await publish(fixture)
        #expect(queues.bodies(of: "all").count == changes)
    }

    @Test func `events that were sent when the process died are sent again, and none is lost`() async throws {
        let faults = Faults()
        let fixture = try await Fixture()
        try await fixture.store.addNotificationRules([Rule([.putObject])], queue: "all", of: "photos")
        for number in 0..<250 { try await fixture.bucket.put("k\(number)", "v") }
        let queues = QueueStandIn()
        for step in [0, 1, 0, 100] {
            try await fixture.reopen(hook: faults.hook)
            faults.die(before: step)
            let isDone = await queues.publisher(of: fixture.store, fixture.clock).publish()
            #expect(isDone == (step == 100))
        }
        let bodies = queues.bodies(of: "all")
        #expect(Set(bodies).count == 250)
        #expect(bodies.count > 250)
        #expect(queues.state.withLock { $0.batchSizes.max() } == 100)
        #expect(try fixture.store.pendingEventCount() == 0)
    }

    @Test func `a queue that refuses holds up no other, and one that is gone loses its events`() async throws {
        let fixture = try await Fixture()
        for queue in ["a", "b", "c"] {
            try await fixture.store.addNotificationRules([Rule([.putObject], prefix: queue)], queue: queue, of: "photos")
        }
        for key in ["a1", "b1", "c1", "a2", "b2", "c2"] { try await fixture.bucket.put(key, "v") }
        let queues = QueueStandIn()
        queues.refuse("a", .unavailable("it is full"))
        queues.refuse("b", .noSuchQueue)
        #expect(await !queues.publisher(of: fixture.store, fixture.clock).publish())
        #expect(queues.state.withLock { $0.messages }.map(\.queue) == ["c", "c"])
        #expect(try fixture.store.pendingEventCount() == 2)
        queues.refuse("a", nil)
        queues.refuse("b", nil)
        #expect(await queues.publisher(of: fixture.store, fixture.clock).publish())
        #expect(queues.state.withLock { $0.messages }.map(\.queue) == ["c", "c", "a", "a"])
    }

    @Test func `events are published as they come, and again when the queue had refused`() async throws {
        let fixture = try await Fixture()
        try await fixture.store.addNotificationRules([Rule([.putObject])], queue: "all", of: "photos")
        let queues = QueueStandIn()
        let publisher = queues.publisher(of: fixture.store, fixture.clock)
        let task = Task { await publisher.run() }
        for number in 0..<20 {
            try await fixture.bucket.put("k\(number)", "v")
            while queues.bodies(of: "all").count <= number { await Task.yield() }
        }
        queues.refuse("all", .unavailable("it is full"))
        try await fixture.bucket.put("last", "v")
        queues.refuse("all", nil)
        while queues.bodies(of: "all").count < 21 {
            fixture.clock.advance(by: .seconds(1))
            await Task.yield()
        }
        task.cancel()
        await task.value
        #expect(queues.bodies(of: "all").count == 21)
    }

    @Test func `a batch fits into a message of the queues, however long the keys`() async throws {
        let fixture = try await Fixture()
        try await fixture.store.addNotificationRules([Rule([.putObject])], queue: "all", of: "photos")
        // Control characters take six bytes each in JSON.
        let tail = String(repeating: "\u{1}", count: 1000)
        for number in 0..<60 { try await fixture.bucket.put("\(number)\(tail)", "v") }
        let queues = await publish(fixture)
        #expect(queues.bodies(of: "all").count == 60)
        let sizes = queues.state.withLock { $0.batchSizes }
        #expect(sizes.count > 1 && sizes.allSatisfy { $0 * 6200 <= 256_000 })
    }
}
