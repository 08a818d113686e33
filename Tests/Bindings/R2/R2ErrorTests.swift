import HTTP
import Interfaces
import Stores
import StoresR2
import Testing

@Suite struct `R2 errors` {
    /// Number, S3's name and status, as the table of spec r2, "Codes", has them.
    static let table: [(code: Int, name: String?, status: Int)] = [
        (10001, "InternalError", 500), (10002, "Unauthorized", 401), (10003, "AccessDenied", 403),
        (10004, "BucketAlreadyExists", 409), (10005, "InvalidBucketName", 400), (10006, "NoSuchBucket", 404),
        (10007, "NoSuchKey", 404), (10008, "BucketNotEmpty", 409), (10009, "TooManyBuckets", 400),
        (10011, "EntityTooSmall", 400), (100100, "EntityTooLarge", 400), (10012, "MetadataTooLarge", 400),
        (10013, "IncompleteBody", 400), (10014, "InvalidDigest", 400), (10037, "BadDigest", 400),
        (10018, "ExpiredRequest", 403), (10035, "SignatureDoesNotMatch", 403), (10020, "InvalidObjectName", 400),
        (10022, "InvalidMaxKeys", 400), (10029, "InvalidArgument", 400), (10024, "NoSuchUpload", 404),
        (10025, "InvalidPart", 400), (10048, "InvalidPart", 400), (10031, "PreconditionFailed", 412),
        (10039, "InvalidRange", 416), (10033, "MissingContentLength", 411), (10043, "ServiceUnavailable", 503),
        (10058, "TooManyRequests", 429), (10040, nil, 400), (10062, "InvalidStorageClass", 400),
        (10069, "ObjectLockedByBucketPolicy", 403), (10059, "NoCorsConfiguration", 404), (10085, nil, 404),
        (11015, nil, 404), (10073, "BucketConflict", 409),
    ]

    @Test func `the table of codes is that of the specification`() {
        #expect(Set(R2ErrorCode.allCases.map(\.rawValue)) == Set(Self.table.map(\.code)))
        for row in Self.table {
            let code = R2ErrorCode(rawValue: row.code)
            #expect(code?.s3Name == row.name && code?.status == row.status, "\(row.code)")
        }
    }

    static let failures: [R2Failure] = [
        .internalError, .invalidBucketName, .noSuchBucket, .bucketNotEmpty, .entityTooSmall, .metadataTooLarge,
        .incompleteBody(expected: 2, received: 1), .invalidObjectName, .invalidMaxKeys, .tooManyKeys(1001),
        .invalidCursor, .noSuchUpload, .invalidPart, .badDigest(.crc32, expected: [1], actual: [2]), .invalidRange,
        .badUpload, .entityTooLarge, .noSuchKey, .tooManyBuckets(1), .preconditionFailed, .tooManyRequests,
        .invalidStorageClass("Glacier"), .partChecksumAlgorithm(.sha1, upload: .crc32c), .encryption(.keyMissing),
        .encryption(.keyNotApplicable), .encryption(.keyMismatch), .encryption(.partKeyMissing),
        .encryption(.partKeyMismatch), .unavailable,
    ]

    @Test(arguments: failures)
    func `each failure has a documented code, and its text where one is documented`(_ failure: R2Failure) throws {
        let code = try #require(R2ErrorCode(rawValue: failure.code))
        if let text = code.text { #expect(failure.message == text) }
        #expect(!failure.message.isEmpty)
        #expect("\(failure.failure(of: .put))" == "put: \(failure.message) (\(failure.code))")
        #expect(failure.failure(of: .get).code == failure.code)
    }

    /// Each call has several things wrong: the one that is to be reported first, then those that would be next.
    @Test func `what is wrong first is reported first`() async throws {
        var options = EmbeddedR2Store.Options()
        options.keyWriteInterval = .seconds(1)
        let fixture = try await Fixture(options)
        let (bucket, none) = (fixture.bucket, fixture.bind("none"))
        let long = String(repeating: "k", count: 1025)
        let heavy = ["k": String(repeating: "v", count: 9000)]
        let key = try R2CustomerKey([UInt8](repeating: 1, count: 32))
        let huge = ByteStream(length: Int(R2Limits.putBytesMax) + 1) { nil }
        func code(_ body: () async throws -> Void) async -> Int {
            do { try await body() } catch let failure as CallFailure { return failure.code } catch { return -1 }
            return 0
        }
        #expect(await code { try await none.put(long, huge, customMetadata: heavy) } == 10020)
        #expect(await code { try await none.put("k", huge, customMetadata: heavy) } == 10012)
        #expect(await code { try await none.put("k", ByteStream(length: Int(R2Limits.putBytesMax) + 1) { nil }) } == 100100)
        #expect(await code { try await none.put("k", "v", checksum: .crc32("00000000")) } == 10006)
        try await bucket.put("k", "v")
        #expect(await code { try await bucket.put("k", "v", onlyIf: R2Conditional(etagMatches: "x")) } == 10058)
        fixture.clock.advance(by: .seconds(1))
        // A condition that doesn't hold is no error, whatever the body is.
        let stored = try await bucket.put(
            "k", "v", onlyIf: R2Conditional(etagMatches: "x"), checksum: .crc32("00000000"))
        #expect(stored == nil)
        #expect(await code { try await bucket.put("n", "v", checksum: .crc32("00000000")) } == 10037)

        #expect(await code { _ = try await none.get(long, range: .offset(9)) } == 10020)
        #expect(await code { _ = try await none.get("k", range: .offset(9)) } == 10006)
        #expect(await code { _ = try await bucket.get("k", range: .offset(9), ssecKey: key) } == 10029)
        #expect(await code { _ = try await bucket.get("k", range: .offset(9)) } == 10039)
        let condition = try R2Conditional(etagMatches: "x")
        #expect(try await bucket.get("k", onlyIf: condition, range: .offset(9), ssecKey: key)?.body == nil)

        #expect(await code { _ = try await none.list(limit: 0, cursor: "x") } == 10022)
        #expect(await code { _ = try await none.list(cursor: "x") } == 10029)
        #expect(await code { _ = try await none.list() } == 10006)
        #expect(await code { try await none.delete((0..<1001).map { _ in long }) } == 10029)
        #expect(await code { try await none.delete([long]) } == 10020)

        #expect(await code { _ = try await none.createMultipartUpload(long, customMetadata: heavy) } == 10020)
        #expect(await code { _ = try await none.createMultipartUpload("k", customMetadata: heavy) } == 10012)
        #expect(await code { _ = try await none.createMultipartUpload("k") } == 10006)
        let gone = none.resumeMultipartUpload("k", uploadId: "x")
        #expect(await code { try await gone.complete([]) } == 10024)
        let upload = try await bucket.createMultipartUpload("u")
        #expect(await code { _ = try await upload.uploadPart(1, "v", ssecKey: key, checksum: .crc32("00000000")) } == 10029)
        #expect(await code { _ = try await upload.uploadPart(1, "v", checksum: .crc32("00000000")) } == 10037)
        #expect(await code { try await upload.complete([], onlyIf: condition) } == 10025)

        #expect(await code { try await none.copy(long, to: "t") } == 10020)
        #expect(await code { try await none.copy("k", to: "t") } == 10006)
        #expect(await code { try await bucket.copy("missing", to: "t2", onlyIf: condition) } == 10031)
        #expect(await code { try await bucket.copy("missing", to: "t3", sourceSsecKey: key) } == 10007)
        #expect(await code { try await bucket.copy("k", to: "t4", sourceOnlyIf: condition, sourceSsecKey: key) } == 10031)
        #expect(
            await code {
                try await bucket.copy("k", to: "t5", metadata: .replace(customMetadata: heavy), sourceSsecKey: key)
            } == 10029)
        #expect(await code { try await bucket.copy("k", to: "t6", metadata: .replace(customMetadata: heavy)) } == 10012)
    }

    @Test func `as many buckets as may be, and none that is there counts twice`() async throws {
        var options = EmbeddedR2Store.Options()
        options.bucketsMax = 2
        let fixture = try await Fixture(options)
        try await fixture.store.createBucket("second")
        await #expect(throws: R2Failure.tooManyBuckets(2)) { try await fixture.store.createBucket("third") }
        try await fixture.store.createBucket("photos")
        try await fixture.store.deleteBucket("second")
        try await fixture.store.createBucket("third")
        #expect(R2Failure.tooManyBuckets(2).code == 10009)
    }

    @Test func `a storage class has a name that is known`() throws {
        #expect(try R2StorageClass(named: "InfrequentAccess") == .infrequentAccess)
        #expect(try R2StorageClass(named: "Standard") == .standard)
        for name in ["", "standard", "STANDARD_IA", "Glacier"] {
            #expect(throws: R2Failure.invalidStorageClass(name).failure(of: .put)) {
                try R2StorageClass(named: name)
            }
        }
        #expect(R2Failure.invalidStorageClass("x").code == 10062)
    }

    @Test(arguments: [10, 100_000])
    func `one write per key and second, where that is asked for`(_ size: Int) async throws {
        var options = EmbeddedR2Store.Options()
        options.keyWriteInterval = .seconds(1)
        let fixture = try await Fixture(options)
        try await fixture.store.createBucket("other")
        let bucket = fixture.bucket
        try await bucket.put("k", pattern(size))
        let refusal = "put: \(R2Failure.tooManyRequests.message) (10058)"
        #expect(await failure { try await bucket.put("k", pattern(size, seed: 2)) } == refusal)
        #expect(await failure { try await bucket.copy("k", to: "k") }.hasSuffix("(10058)"))
        #expect(try await bucket.get("k")?.bytes() == pattern(size))
        // Other keys, other buckets, equal spellings, reads, parts and deletes are free.
        try await bucket.put("caf\u{e9}", "v")
        try await bucket.put("cafe\u{301}", "v")
        try await fixture.bind("other").put("k", "v")
        let upload = try await bucket.createMultipartUpload("k")
        var part = try await upload.uploadPart(1, "one")
        part = try await upload.uploadPart(1, "two")
        #expect(await failure { try await upload.complete([part]) }.hasSuffix("(10058)"))
        fixture.clock.advance(by: .milliseconds(999))
        #expect(await failure { try await bucket.put("k", "v") } == refusal)
        fixture.clock.advance(by: .milliseconds(1))
        try await upload.complete([part])
        #expect(await failure { try await bucket.put("k", "v") } == refusal)
        try await bucket.delete("k")
    }

    @Test func `writes of a key aren't limited unless that is asked for`() async throws {
        let bucket = try await Fixture().bucket
        for number in 0..<20 { try await bucket.put("k", "\(number)") }
        #expect(try await bucket.get("k")?.text() == "19")
    }
}
