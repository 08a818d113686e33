import Interfaces
import Observability
import Stores
import StoresR2
import Synchronization
import System
import Testing

@Suite struct `R2 lifecycle` {
    typealias Rule = R2LifecycleRule

    @Test func `a new bucket gives up uploads after seven days, and keeps its objects`() async throws {
        let fixture = try await Fixture()
        #expect(
            try fixture.store.lifecycleRules(of: "photos") == [
                Rule(id: "Default Multipart Abort Rule", abortUploads: .age(seconds: 604_800))
            ])
        try await fixture.bucket.put("k", "v")
        _ = try await fixture.bucket.createMultipartUpload("u")
        fixture.clock.advance(by: .seconds(604_799))
        #expect(try await fixture.store.applyLifecycle().isEmpty)
        fixture.clock.advance(by: .seconds(3650 * 86_400))
        #expect(try await fixture.store.applyLifecycle() == R2LifecycleReport(abortedUploads: 1))
        #expect(try await fixture.bucket.get("k")?.text() == "v")
    }

    @Test func `objects below a prefix go when they have their age`() async throws {
        let fixture = try await Fixture()
        let bucket = fixture.bucket
        try await fixture.store.setLifecycleRules(
            [Rule(id: "logs", prefix: "logs/", delete: .age(seconds: 3600))], of: "photos")
        try await bucket.put("logs/a", pattern(100_000))
        try await bucket.put("log", "not below it")
        fixture.clock.advance(by: .seconds(1800))
        try await bucket.put("logs/b", "later")
        fixture.clock.advance(by: .milliseconds(1_799_999))
        #expect(try await fixture.store.applyLifecycle().isEmpty)
        fixture.clock.advance(by: .milliseconds(1))
        #expect(try await fixture.store.applyLifecycle() == R2LifecycleReport(deleted: 1))
        #expect(try await bucket.list().objects.map(\.key) == ["log", "logs/b"])
        await fixture.store.settle()
        #expect(fixture.blobs.isEmpty)
        // What was looked at before is due in its turn, and so is what came since.
        try await bucket.put("logs/c", "last")
        fixture.clock.advance(by: .seconds(1800))
        #expect(try await fixture.store.applyLifecycle() == R2LifecycleReport(deleted: 1))
        // An object that is written anew is young again.
        fixture.clock.advance(by: .seconds(1799))
        try await bucket.put("logs/c", "once more")
        fixture.clock.advance(by: .seconds(3599))
        #expect(try await fixture.store.applyLifecycle().isEmpty)
        fixture.clock.advance(by: .seconds(1))
        #expect(try await fixture.store.applyLifecycle() == R2LifecycleReport(deleted: 1))
        #expect(try await bucket.list().objects.map(\.key) == ["log"])
    }

    @Test func `at a date all objects go, and those that come later`() async throws {
        let fixture = try await Fixture()
        let date = fixture.clock.wallTime().milliseconds + 86_400_000
        try await fixture.store.setLifecycleRules([Rule(id: "end", delete: .date(date))], of: "photos")
        try await fixture.bucket.put("a", "1")
        fixture.clock.advance(by: .milliseconds(86_399_999))
        try await fixture.bucket.put("b", "2")
        #expect(try await fixture.store.applyLifecycle().isEmpty)
        fixture.clock.advance(by: .milliseconds(1))
        #expect(try await fixture.store.applyLifecycle().deleted == 2)
        try await fixture.bucket.put("c", "3")
        #expect(try await fixture.store.applyLifecycle().deleted == 1)
        #expect(try await fixture.bucket.list().objects.isEmpty)
    }

    @Test func `objects move to infrequent access and stay the same otherwise`() async throws {
        let fixture = try await Fixture()
        let old = try #require(try await fixture.bucket.put("k", "value", customMetadata: ["a": "b"]))
        try await fixture.store.setLifecycleRules(
            [
                Rule(id: "cool", transition: .age(seconds: 60)),
                Rule(id: "drop", delete: .age(seconds: 120)),
            ], of: "photos")
        fixture.clock.advance(by: .seconds(60))
        #expect(try await fixture.store.applyLifecycle() == R2LifecycleReport(transitioned: 1))
        var expected = old
        expected.storageClass = .infrequentAccess
        #expect(try await fixture.bucket.head("k") == expected)
        #expect(try await fixture.store.applyLifecycle().isEmpty)
        #expect(try await fixture.store.verify().isSound)
        fixture.clock.advance(by: .seconds(60))
        #expect(try await fixture.store.applyLifecycle() == R2LifecycleReport(deleted: 1))
    }

    @Test func `uploads are aborted by their age and prefix alone`() async throws {
        let fixture = try await Fixture()
        try await fixture.store.setLifecycleRules(
            [
                Rule(id: "tmp", prefix: "tmp/", abortUploads: .age(seconds: 60)),
                Rule(id: "off", isEnabled: false, abortUploads: .age(seconds: 1)),
            ], of: "photos")
        let going = try await fixture.bucket.createMultipartUpload("tmp/a")
        let part = try await going.uploadPart(1, pattern(100_000))
        let staying = try await fixture.bucket.createMultipartUpload("b")
        fixture.clock.advance(by: .seconds(86_400 * 365))
        #expect(try await fixture.store.applyLifecycle() == R2LifecycleReport(abortedUploads: 1))
        await fixture.store.settle()
        #expect(fixture.blobs.isEmpty)
        #expect(await failure { try await going.complete([part]) }.hasSuffix("(10024)"))
        _ = try await staying.uploadPart(1, "x")
        // Without rules, uploads wait for ever.
        try await fixture.store.setLifecycleRules([], of: "photos")
        #expect(try fixture.store.lifecycleRules(of: "photos").isEmpty)
        fixture.clock.advance(by: .seconds(86_400 * 3650))
        #expect(try await fixture.store.sweep().isEmpty)
    }

    @Test func `rules are durable, belong to one bucket, and go with it`() async throws {
        let fixture = try await Fixture()
        let rules = [Rule(id: "a", prefix: "x/", delete: .date(1_800_000_000_123), transition: .age(seconds: 5))]
        try await fixture.store.createBucket("other")
        try await fixture.store.setLifecycleRules(rules, of: "other")
        try await fixture.reopen()
        #expect(try fixture.store.lifecycleRules(of: "other") == rules)
        #expect(try fixture.store.lifecycleRules(of: "photos") == Rule.ofNewBuckets)
        try await fixture.store.deleteBucket("other")
        #expect(throws: R2Failure.noSuchBucket) { try fixture.store.lifecycleRules(of: "other") }
        try await fixture.store.createBucket("other")
        #expect(try fixture.store.lifecycleRules(of: "other") == Rule.ofNewBuckets)
    }

    @Test func `rules that change count at once`() async throws {
        let fixture = try await Fixture()
        try await fixture.bucket.put("k", "v")
        fixture.clock.advance(by: .seconds(100))
        try await fixture.store.setLifecycleRules([Rule(id: "a", delete: .age(seconds: 1000))], of: "photos")
        #expect(try await fixture.store.applyLifecycle().isEmpty)
        try await fixture.store.setLifecycleRules([Rule(id: "a", delete: .age(seconds: 100))], of: "photos")
        #expect(try await fixture.store.applyLifecycle().deleted == 1)
    }

    @Test(arguments: [
        ("{\"rules\":[]}", nil),
        (
            """
            {"rules":[{"id":"a","enabled":true,"conditions":{"prefix":"x"},
            "deleteObjectsTransition":{"condition":{"type":"Age","maxAge":1}}}]}
            """, nil
        ),
        (
            """
            {"rules":[{"id":"a","enabled":true,"conditions":{},
            "storageClassTransitions":[{"condition":{"type":"Date","date":"2026-02-28"},"storageClass":"InfrequentAccess"}]}]}
            """, nil
        ),
        ("{\"rules\":", 10040), ("{}", 10040), ("{\"rules\":[{\"id\":\"a\",\"conditions\":{}}]}", 10040),
        ("{\"rules\":[{\"id\":1,\"enabled\":true,\"conditions\":{}}]}", 10040),
        ("{\"rules\":[{\"id\":\"a\",\"enabled\":true,\"conditions\":{}}]}", 10029),  // It does nothing.
        (rule("", "Age\",\"maxAge\":1"), 10029), (rule(String(repeating: "i", count: 256), "Age\",\"maxAge\":1"), 10029),
        (rule("a", "Age\",\"maxAge\":0"), 10029), (rule("a", "Age\",\"maxAge\":-1"), 10029),
        (rule("a", "Age\",\"maxAge\":9223372036854775807"), 10029), (rule("a", "Age\",\"maxAge\":1.5"), 10040),
        (rule("a", "Age\",\"maxAge\":\"1\""), 10040), (rule("a", "Age\""), 10040),
        (rule("a", "Date\",\"date\":\"2026-02-29\""), 10029), (rule("a", "Date\",\"date\":\"tomorrow\""), 10029),
        (rule("a", "Moon\""), 10029),
        (
            """
            {"rules":[{"id":"a","enabled":true,"conditions":{},
            "abortMultipartUploadsTransition":{"condition":{"type":"Date","date":"2026-01-01"}}}]}
            """, 10029
        ),
        (
            """
            {"rules":[{"id":"a","enabled":true,"conditions":{},
            "storageClassTransitions":[{"condition":{"type":"Age","maxAge":1},"storageClass":"Standard"}]}]}
            """, 10029
        ),
        (
            """
            {"rules":[{"id":"a","enabled":true,"conditions":{"prefix":"\(String(repeating: "p", count: 1025))"},
            "deleteObjectsTransition":{"condition":{"type":"Age","maxAge":1}}}]}
            """, 10029
        ),
    ])
    func `rules are read as documented, and refused with a reason`(_ json: String, _ code: Int?) {
        do throws(R2Failure) {
            let set = try R2RuleSet<Rule>(json: Array(json.utf8))
            #expect(code == nil)
            #expect((try? R2RuleSet<Rule>(json: set.json)) == set)
        } catch {
            #expect(error.code == code)
        }
    }

    /// With one deletion, whose condition's type and rest is `condition`.
    static func rule(_ id: String, _ condition: String) -> String {
        "{\"rules\":[{\"id\":\"\(id)\",\"enabled\":true,\"conditions\":{},"
            + "\"deleteObjectsTransition\":{\"condition\":{\"type\":\"\(condition)}}}]}"
    }

    @Test func `a bucket has at most a thousand rules, each with an id of its own`() async throws {
        let fixture = try await Fixture()
        let rules = (0..<1001).map { Rule(id: "rule \($0)", prefix: "p\($0)/", delete: .age(seconds: 1)) }
        try await fixture.store.setLifecycleRules(Array(rules.prefix(1000)), of: "photos")
        await #expect(throws: R2Failure.invalidRules("a bucket has at most 1000 lifecycle rules, not 1001")) {
            try await fixture.store.setLifecycleRules(rules, of: "photos")
        }
        await #expect(throws: R2Failure.invalidRules("two lifecycle rules have the id \"rule 0\"")) {
            try await fixture.store.setLifecycleRules([rules[0], rules[0]], of: "photos")
        }
        #expect(try fixture.store.lifecycleRules(of: "photos").count == 1000)
        try await fixture.bucket.put("p999/x", "v")
        fixture.clock.advance(by: .seconds(1))
        #expect(try await fixture.store.applyLifecycle().deleted == 1)
    }

    @Test func `many objects go in steps`() async throws {
        let faults = Faults()
        var options = EmbeddedR2Store.Options()
        options.diskHook = faults.hook
        options.lifecycleStepMax = 7
        options.deletedBlobsMax = 3
        let fixture = try await Fixture(options)
        for number in 0..<20 { try await fixture.bucket.put("k\(number)", pattern(number < 10 ? 100 : 70_000)) }
        try await fixture.store.setLifecycleRules(
            [Rule(id: "a", prefix: "k", delete: .age(seconds: 1)), Rule(id: "b", prefix: "k1", delete: .age(seconds: 1))],
            of: "photos")
        fixture.clock.advance(by: .seconds(1))
        faults.fail(nil)
        #expect(try await fixture.store.applyLifecycle().deleted == 20)
        // Three steps; the files of the two that have more than three of them go in further transactions.
        #expect((5...7).contains(faults.steps.count { $0 == .commit }))
        await fixture.store.settle()
        #expect(fixture.blobs.isEmpty)
        #expect(try fixture.store.usage(of: nil) == R2Usage())
    }

    private final class Replacement: Sendable {
        let isDone = Atomic<Bool>(false)
        private let bucket: R2Bucket

        init(bucket: R2Bucket) { self.bucket = bucket }

        func run() async throws {
            try await bucket.put("k", "new")
            isDone.store(true, ordering: .releasing)
        }
    }

    @Test func `an object that is replaced in the last moment stays`() async throws {
        let bucket = Mutex<R2Bucket?>(nil)
        var options = EmbeddedR2Store.Options()
        options.diskHook = DiskHook { operation, subject in
            guard operation == .commit, subject == "lifecycle", let target = bucket.withLock({ $0 }) else { return nil }
            let replacement = Replacement(bucket: target)
            Task { try await replacement.run() }
            while !replacement.isDone.load(ordering: .acquiring) {}
            return nil
        }
        let fixture = try await Fixture(options)
        try await fixture.bucket.put("k", "old")
        try await fixture.store.setLifecycleRules([Rule(id: "a", delete: .age(seconds: 10))], of: "photos")
        fixture.clock.advance(by: .seconds(10))
        bucket.withLock { $0 = fixture.bucket }
        #expect(try await fixture.store.applyLifecycle().isEmpty)
        #expect(try await fixture.bucket.get("k")?.text() == "new")
    }

    @Test func `whenever the process dies, nothing is half done and the next run finishes it`() async throws {
        let faults = Faults()
        var finished = 0
        for step in 0..<14 {
            var options = EmbeddedR2Store.Options()
            options.lifecycleStepMax = 2
            let fixture = try await Fixture(options)
            let keys = (0..<5).map { "k\($0)" }
            for (number, key) in keys.enumerated() {
                try await fixture.bucket.put(key, pattern(number.isMultiple(of: 2) ? 70_000 : 10))
            }
            let upload = try await fixture.bucket.createMultipartUpload("upload")
            _ = try await upload.uploadPart(1, pattern(70_000))
            try await fixture.store.setLifecycleRules(
                [Rule(id: "a", delete: .age(seconds: 10), abortUploads: .age(seconds: 10))], of: "photos")
            try await fixture.store.addNotificationRules(
                [R2NotificationRule([.lifecycleDeletion])], queue: "gone", of: "photos")
            try await fixture.reopen(hook: faults.hook)
            fixture.clock.advance(by: .seconds(10))
            faults.die(before: step)
            let message = await failure { _ = try await fixture.store.applyLifecycle() }
            await fixture.store.settle()
            finished += message == "no failure" ? 1 : 0
            try await fixture.reopen()
            // Gone with its event, or there as a whole.
            let left = try await fixture.bucket.list().objects.map(\.key)
            for key in left { #expect(try await fixture.bucket.get(key)?.bytes().isEmpty == false) }
            #expect(try fixture.store.pendingEventCount() == keys.count - left.count, "died before step \(step)")
            #expect(try fixture.store.usage(of: "photos").objectCount == Int64(left.count))
            _ = try await fixture.store.applyLifecycle()
            await fixture.store.settle()
            _ = try await fixture.store.sweep()
            #expect(try await fixture.bucket.list().objects.isEmpty)
            #expect(fixture.blobs.isEmpty && fixture.temporaries.isEmpty)
            #expect(try fixture.store.pendingEventCount() == keys.count)
            #expect(try await fixture.store.verify(.checksums).isSound)
        }
        #expect((1..<14).contains(finished))
    }

    @Test func `the store applies its rules by itself`() async throws {
        let fresh = try FreshDirectory()
        let clock = VirtualClock()
        var options = EmbeddedR2Store.Options()
        options.sweepInterval = nil
        let store = try EmbeddedR2Store(
            directory: fresh.path + "/r2", clock: clock,
            logger: Logger(sink: DiscardingSink(), clock: clock, level: .error), options: options)
        try await store.createBucket("photos")
        try await store.setLifecycleRules([Rule(id: "a", delete: .age(seconds: 90))], of: "photos")
        let stored = try await store.put(R2PutMessage(key: "k", size: 0), body: nil, in: "photos")
        let uploaded = try #require(stored).uploaded
        while try await store.head("k", in: "photos") != nil {
            #expect(clock.wallTime().milliseconds - uploaded < 86_400_000)
            clock.advance(by: .seconds(1))
            await Task.yield()
        }
        #expect(clock.wallTime().milliseconds - uploaded >= 90_000)
        await store.close()
    }
}
