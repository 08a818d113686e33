import Interfaces
import Stores
import StoresR2
import Synchronization
import Testing

@Suite struct `R2 CORS rules` {
    private static let rule = R2CorsRule(
        allowed: .init(methods: ["GET", "PUT"], origins: ["https://a.test", "https://*.b.test"], headers: ["X-*", "range"]),
        id: "one", exposeHeaders: ["etag"], maxAgeSeconds: 60)

    @Test func `are kept with the bucket, and go with it`() async throws {
        let fixture = try await Fixture()
        #expect(try fixture.store.corsRules(of: "photos") == [])
        try await fixture.store.setCorsRules([Self.rule], of: "photos")
        #expect(try fixture.store.corsRules(of: "photos") == [Self.rule])
        try await fixture.store.setCorsRules([], of: "photos")
        #expect(try fixture.store.corsRules(of: "photos") == [])
        #expect(throws: R2Failure.noSuchBucket) { try fixture.store.corsRules(of: "missing") }
    }

    @Test(arguments: [
        ("https://a.test", "GET", [], true), ("https://x.b.test", "PUT", ["x-one", "range"], true),
        ("https://a.test", "DELETE", [], false), ("https://a.test", "GET", ["authorization"], false),
        ("https://b.test", "GET", [], false), ("http://a.test", "GET", [], false), ("https://a.test.evil", "GET", [], false),
    ])
    func `allow what they name`(_ origin: String, _ method: String, _ headers: [String], _ isAllowed: Bool) {
        #expect(Self.rule.allows(origin: origin, method: method, headers: headers) == isAllowed)
    }

    @Test(arguments: [
        R2CorsRule(allowed: .init(methods: [], origins: ["*"])), R2CorsRule(allowed: .init(methods: ["GET"], origins: [])),
        R2CorsRule(allowed: .init(methods: ["PATCH"], origins: ["*"])),
        R2CorsRule(allowed: .init(methods: ["GET"], origins: ["https://a.test/path"])),
        R2CorsRule(allowed: .init(methods: ["GET"], origins: ["a.test"])),
        R2CorsRule(allowed: .init(methods: ["GET"], origins: ["*"], headers: ["a b"])),
        R2CorsRule(allowed: .init(methods: ["GET"], origins: ["*"]), maxAgeSeconds: 86_401),
    ])
    func `that can't be meant are refused`(_ rule: R2CorsRule) {
        #expect(throws: R2Failure.self) { try R2CorsRule.check([rule]) }
    }
}

@Suite struct `R2 domains` {
    private func set(_ name: String, of bucket: String, in store: EmbeddedR2Store) async throws -> R2BucketDomain {
        try await store.setDomain(name, of: bucket) { $0.isEnabled = true }
    }

    @Test func `are kept with the bucket, and go with it`() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        _ = try await store.createBucket("other", as: R2BucketProperties())
        let first = try await set("a.test", of: "other", in: store)
        let second = try await set("b.test", of: "photos", in: store)
        #expect(try store.domains(of: nil) == [first, second])
        #expect(try store.domains(of: "photos") == [second])
        #expect(store.hasDomain("a.test", recordedAs: try first.record))
        #expect(throws: R2Failure.noSuchBucket) { try store.domains(of: "missing") }
        await #expect(throws: R2Failure.noSuchBucket) { _ = try await set("c.test", of: "missing", in: store) }
        await #expect(throws: R2Failure.domain(.taken("a.test"))) { _ = try await set("a.test", of: "photos", in: store) }
        try await store.deleteBucket("other")
        _ = try await store.createBucket("other", as: R2BucketProperties())
        #expect(try store.domains(of: nil) == [second])
        #expect(!store.hasDomain("a.test", recordedAs: try first.record))
        try await store.removeDomain("b.test", of: "photos")
        await #expect(throws: R2Failure.domain(.unknown("b.test"))) {
            try await store.removeDomain("b.test", of: "photos")
        }
    }

    @Test func `are changed in place`() async throws {
        let fixture = try await Fixture()
        let before = try await set("a.test", of: "photos", in: fixture.store)
        let after = try await fixture.store.setDomain("a.test", of: "photos") { $0.minimumTLS = "1.3" }
        var expected = before
        expected.minimumTLS = "1.3"
        #expect(after == expected)
        #expect(!fixture.store.hasDomain("a.test", recordedAs: try before.record))
        await #expect(throws: R2Failure.domain(.unknown("a.test"))) {
            _ = try await fixture.store.createBucket("other", as: R2BucketProperties())
            try await fixture.store.removeDomain("a.test", of: "other")
        }
    }

    @Test func `are at most fifty of a bucket`() async throws {
        let fixture = try await Fixture()
        for number in 0..<50 { _ = try await set("\(number).test", of: "photos", in: fixture.store) }
        await #expect(throws: R2Failure.domain(.tooMany(50, ofTenant: false))) {
            _ = try await set("50.test", of: "photos", in: fixture.store)
        }
        _ = try await set("49.test", of: "photos", in: fixture.store)
    }
}

@Suite struct `R2 ranges of HTTP` {
    @Test(
        arguments: [
            ("bytes=0-3", R2Range.offset(0, length: 4)), ("Bytes=2-", .offset(2)), ("bytes=-5", .suffix(5)),
            ("bytes=3-9223372036854775807", .offset(3, length: .max - 1 - 3 + 1)), ("bytes=4-2", nil), ("bytes=0-1,3-4", nil),
            ("lines=0-1", nil), ("bytes=", nil), ("bytes=-", nil), ("bytes=a-b", nil), ("bytes=+1-2", nil), ("bytes", nil),
        ] as [(String, R2Range?)])
    func `are single ones of bytes`(_ text: String, _ range: R2Range?) { #expect(R2Range(asking: text) == range) }
}

@Suite struct `R2 buckets` {
    @Test func `remember what was said when they were made`() async throws {
        let fixture = try await Fixture()
        let properties = R2BucketProperties(locationHint: "weur", jurisdiction: "eu", storageClass: .infrequentAccess)
        #expect(try await fixture.store.createBucket("other", as: properties))
        #expect(try await !fixture.store.createBucket("other", as: R2BucketProperties()))
        var kept = try fixture.store.properties(of: "other")
        #expect(kept.createdAt != nil)
        kept.createdAt = nil
        #expect(kept == properties)
        try await fixture.store.setStorageClass(.standard, of: "other")
        #expect(try fixture.store.properties(of: "other").storageClass == .standard)
    }

    @Test func `are listed in pages, either way`() async throws {
        let fixture = try await Fixture()
        for name in ["a-1", "a-2", "b-1"] {
            _ = try await fixture.store.createBucket(
                name, as: R2BucketProperties(jurisdiction: name == "a-2" ? "eu" : "default"))
        }
        func names(_ change: (inout R2BucketQuery) -> Void) async throws -> ([String], Bool) {
            var query = R2BucketQuery()
            change(&query)
            let page = try await fixture.store.buckets(query)
            return (page.buckets.map(\.name), page.hasMore)
        }
        #expect(try await names { $0.limit = 2 } == (["a-1", "a-2"], true))
        #expect(try await names { ($0.startAfter, $0.limit) = ("a-2", 2) } == (["b-1", "photos"], false))
        #expect(try await names { $0.nameContains = "-1" } == (["a-1", "b-1"], false))
        #expect(try await names { ($0.isDescending, $0.startAfter) = (true, "b-1") } == (["a-2", "a-1"], false))
        #expect(try await names { $0.jurisdiction = "eu" } == (["a-2"], false))
    }

    @Test func `are counted by storage class, object by object`() async throws {
        let fixture = try await Fixture()
        #expect(try await fixture.store.metrics() == R2Metrics())
        try await fixture.bucket.put("a", "12345")
        try await fixture.bucket.put("b", "123", storageClass: .infrequentAccess)
        let metrics = try await fixture.store.metrics()
        #expect(metrics.standard.objectCount == 1 && metrics.standard.payloadSize == 5)
        #expect(metrics.infrequentAccess.objectCount == 1 && metrics.infrequentAccess.payloadSize == 3)
        #expect(try fixture.store.usage(of: nil) == metrics.standard + metrics.infrequentAccess)
    }
}

@Suite struct `R2 put of unknown length` {
    private final class Pieces: BodySource {
        private let pieces: Mutex<[[UInt8]]>
        private let failsAtEnd: Bool

        init(_ pieces: [[UInt8]], failsAtEnd: Bool = false) {
            self.pieces = Mutex(pieces)
            self.failsAtEnd = failsAtEnd
        }

        struct Broken: Error {}

        func next() async throws -> [UInt8]? {
            let piece = pieces.withLock { $0.isEmpty ? nil : $0.removeFirst() }
            if piece == nil, failsAtEnd { throw Broken() }
            return piece
        }
        func cancel() {}
    }

    @Test(arguments: [[], [1], [3, 100_000, 5], [300_000, 300_000]])
    func `stores what came`(_ counts: [Int]) async throws {
        let fixture = try await Fixture()
        let pieces = counts.map { pattern($0) }
        let request = R2PutMessage(key: "k", size: R2PutMessage.sizeUnknown)
        let object = try await fixture.store.put(request, body: Pieces(pieces), in: "photos")
        #expect(object?.size == Int64(counts.reduce(0, +)))
        #expect(try await fixture.bucket.get("k")?.bytes() == pieces.flatMap { $0 })
        #expect(try await fixture.store.verify(.checksums).damageCount == 0)
    }

    @Test func `keeps nothing of what broke off`() async throws {
        let fixture = try await Fixture()
        try await fixture.bucket.put("k", "old")
        let request = R2PutMessage(key: "k", size: R2PutMessage.sizeUnknown)
        await #expect(throws: R2Failure.self) {
            try await fixture.store.put(request, body: Pieces([pattern(200_000)], failsAtEnd: true), in: "photos")
        }
        #expect(try await fixture.bucket.get("k")?.text() == "old")
        #expect(fixture.blobs.isEmpty)
    }
}
