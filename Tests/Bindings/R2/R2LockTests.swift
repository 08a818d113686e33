import Interfaces
import StoresR2
import System
import Testing

@Suite struct `R2 locks` {
    typealias Rule = R2LockRule
    static let refused = "The object is locked by the bucket policy. (10069)"

    @Test func `a locked object is neither overwritten nor deleted, whatever the call`() async throws {
        let fixture = try await Fixture()
        let bucket = fixture.bucket
        let old = try await bucket.put("keep/k", pattern(100_000))
        let upload = try await bucket.createMultipartUpload("keep/k")
        let part = try await upload.uploadPart(1, "part")
        try await bucket.put("free", "1")
        try await fixture.store.setLockRules([Rule(id: "a", prefix: "keep/", .indefinite)], of: "photos")
        for round in 0..<2 {
            if round == 1 { try await fixture.reopen() }
            let bucket = fixture.bucket
            let upload = bucket.resumeMultipartUpload("keep/k", uploadId: upload.uploadId)
            #expect(await failure { try await bucket.put("keep/k", "new") } == "put: " + Self.refused)
            #expect(await failure { try await bucket.put("keep/k", pattern(100_000)) } == "put: " + Self.refused)
            // As the product does it, whether or not the condition would hold.
            let isNew = try R2Conditional(etagDoesNotMatch: "*")
            #expect(await failure { try await bucket.put("keep/k", "new", onlyIf: isNew) } == "put: " + Self.refused)
            #expect(await failure { try await bucket.delete("keep/k") } == "delete: " + Self.refused)
            #expect(await failure { try await bucket.delete(["free", "keep/k"]) } == "delete: " + Self.refused)
            #expect(await failure { try await upload.complete([part]) } == "completeMultipartUpload: " + Self.refused)
            #expect(try await bucket.head("keep/k") == old)
            #expect(try await bucket.get("keep/k")?.bytes() == pattern(100_000))
            #expect(try await bucket.get("free")?.text() == "1")
        }
        #expect(fixture.blobs.count == 2)
        // What isn't there yet can be written, once; what is below no rule is free.
        try await fixture.bucket.put("keep/new", "1")
        #expect(await failure { try await fixture.bucket.put("keep/new", "2") } == "put: " + Self.refused)
        try await fixture.bucket.put("free", "2")
        try await fixture.bucket.delete(["free", "keep/missing"])
        try await fixture.store.setLockRules([], of: "photos")
        try await fixture.bucket.resumeMultipartUpload("keep/k", uploadId: upload.uploadId).complete([part])
        try await fixture.bucket.delete(["keep/k", "keep/new"])
        #expect(try await fixture.store.verify().isSound)
    }

    @Test func `a retention by age ends for each object at its time`() async throws {
        let fixture = try await Fixture()
        try await fixture.store.setLockRules([Rule(id: "a", .age(seconds: 60))], of: "photos")
        try await fixture.bucket.put("k", "1")
        fixture.clock.advance(by: .milliseconds(59_999))
        #expect(await failure { try await fixture.bucket.put("k", "2") }.hasSuffix("(10069)"))
        fixture.clock.advance(by: .milliseconds(1))
        try await fixture.bucket.put("k", "2")
        #expect(await failure { try await fixture.bucket.delete("k") }.hasSuffix("(10069)"))
        fixture.clock.advance(by: .seconds(60))
        try await fixture.bucket.delete("k")
    }

    @Test func `a retention until a date ends for all at once`() async throws {
        let fixture = try await Fixture()
        try await fixture.bucket.put("before", "1")
        let end = fixture.clock.wallTime().milliseconds + 1000
        try await fixture.store.setLockRules([Rule(id: "a", .date(end))], of: "photos")
        try await fixture.bucket.put("after", "1")
        for key in ["before", "after"] {
            #expect(await failure { try await fixture.bucket.delete(key) }.hasSuffix("(10069)"))
        }
        fixture.clock.advance(by: .seconds(1))
        try await fixture.bucket.delete(["before", "after"])
        #expect(try await fixture.bucket.list().objects.isEmpty)
    }

    @Test func `of several rules the longest holds, and disabled ones don't`() async throws {
        let fixture = try await Fixture()
        try await fixture.store.setLockRules(
            [
                Rule(id: "short", prefix: "a", .age(seconds: 1)), Rule(id: "long", prefix: "a/b", .age(seconds: 100)),
                Rule(id: "off", isEnabled: false, .indefinite),
            ], of: "photos")
        try await fixture.bucket.put("a/a", "1")
        try await fixture.bucket.put("a/b", "1")
        try await fixture.bucket.put("c", "1")
        try await fixture.bucket.put("c", "2")
        fixture.clock.advance(by: .seconds(1))
        try await fixture.bucket.delete("a/a")
        #expect(await failure { try await fixture.bucket.delete("a/b") }.hasSuffix("(10069)"))
        fixture.clock.advance(by: .seconds(99))
        try await fixture.bucket.delete("a/b")
    }

    @Test func `the lifecycle waits for the lock`() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        try await store.setLifecycleRules(
            [R2LifecycleRule(id: "a", delete: .age(seconds: 30), transition: .age(seconds: 20))], of: "photos")
        try await store.setLockRules(
            [Rule(id: "a", .age(seconds: 90)), Rule(id: "b", prefix: "ever", .indefinite)], of: "photos")
        try await fixture.bucket.put("k", "v")
        try await fixture.bucket.put("ever", "v")
        fixture.clock.advance(by: .seconds(89))
        // To be stored elsewhere changes nothing about an object.
        #expect(try await store.applyLifecycle() == R2LifecycleReport(transitioned: 2))
        fixture.clock.advance(by: .seconds(1))
        #expect(try await store.applyLifecycle() == R2LifecycleReport(deleted: 1))
        fixture.clock.advance(by: .seconds(86_400 * 365))
        #expect(try await store.applyLifecycle().isEmpty)
        try await store.setLockRules([], of: "photos")
        #expect(try await store.applyLifecycle() == R2LifecycleReport(deleted: 1))
    }

    @Test func `a lock doesn't keep an upload from being aborted`() async throws {
        let fixture = try await Fixture()
        try await fixture.store.setLockRules([Rule(id: "a", .indefinite)], of: "photos")
        let upload = try await fixture.bucket.createMultipartUpload("k")
        _ = try await upload.uploadPart(1, "x")
        _ = try await upload.uploadPart(1, "y")
        try await upload.abort()
        #expect(try fixture.store.usage(of: "photos") == R2Usage())
    }

    @Test(arguments: [
        ("{\"type\":\"Indefinite\"}", nil), ("{\"type\":\"Age\",\"maxAgeSeconds\":1}", nil),
        ("{\"type\":\"Date\",\"date\":\"2026-01-01T00:00:00Z\"}", nil),
        ("{\"type\":\"Age\",\"maxAgeSeconds\":0}", 10029), ("{\"type\":\"Age\",\"maxAge\":1}", 10040),
        ("{\"type\":\"Date\",\"date\":\"\"}", 10029), ("{\"type\":\"Never\"}", 10029), ("{}", 10040), ("1", 10040),
    ])
    func `rules are read as documented`(_ condition: String, _ code: Int?) {
        let json = "{\"rules\":[{\"id\":\"a\",\"enabled\":true,\"prefix\":\"p\",\"condition\":\(condition)}]}"
        do throws(R2Failure) {
            let set = try R2RuleSet<Rule>(json: Array(json.utf8))
            #expect(code == nil)
            #expect((try? R2RuleSet<Rule>(json: set.json)) == set)
        } catch {
            #expect(error.code == code)
        }
    }

    @Test func `a bucket has at most a thousand rules`() async throws {
        let fixture = try await Fixture()
        let rules = (0..<1001).map { Rule(id: "\($0)", .age(seconds: 1)) }
        try await fixture.store.setLockRules(Array(rules.dropLast()), of: "photos")
        await #expect(throws: R2Failure.invalidRules("a bucket has at most 1000 lock rules, not 1001")) {
            try await fixture.store.setLockRules(rules, of: "photos")
        }
    }
}
