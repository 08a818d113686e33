import HTTP
import Interfaces
import Stores
import StoresR2
import Testing

/// The probes of spec r2, section 6, that a handler can reach; each test carries the probe's number.
@Suite struct `R2 probes` {
    @Test func `1: put, head and get agree on ETag and checksum`() async throws {
        let bucket = try await Fixture().bucket
        let put = try #require(try await bucket.put("k", "value"))
        #expect(put.etag == "2063c1608d6e0baf80249c42e2be5804")
        #expect(put.httpEtag == "\"2063c1608d6e0baf80249c42e2be5804\"")
        #expect(put.checksums.hexadecimal == ["md5": "2063c1608d6e0baf80249c42e2be5804"])
        #expect(put.version.utf8.count == 32 && put.size == 5)
        #expect(try await bucket.head("k") == put)
        let got = try #require(try await bucket.get("k"))
        #expect(got.object == put && got.etag == put.etag)
        #expect(!got.bodyUsed)
        #expect(try await got.text() == "value")
        #expect(got.bodyUsed)
        #expect(
            await failure { _ = try await got.text() }.hasPrefix("TypeError: Body has already been used."))
    }

    @Test func `2: what is missing is nil, and deleting it is fine`() async throws {
        let bucket = try await Fixture().bucket
        #expect(try await bucket.get("k") == nil)
        #expect(try await bucket.head("k") == nil)
        try await bucket.delete("k")
        try await bucket.delete((0..<1000).map { "k\($0)" })
        let message = await failure { try await bucket.delete((0..<1001).map { "k\($0)" }) }
        #expect(message.hasPrefix("delete: ") && message.hasSuffix("(10029)"))
    }

    @Test(arguments: [5, 100_000])
    func `3: a wrong checksum stores nothing`(_ size: Int) async throws {
        let fixture = try await Fixture()
        let bucket = fixture.bucket
        let old = try await bucket.put("k", "value")
        let content = [UInt8](repeating: UInt8(ascii: "x"), count: size)
        let wrong = String(repeating: "0", count: 32)
        let actual = size == 5 ? "fb0e22c79ac75679e9881e6ba183b354" : "c24a9d7b1a3ccd9f7d4e9d2d2d0a5d5f"
        let message = await failure { try await bucket.put("k", content, checksum: .md5(wrong)) }
        let lines = message.split(separator: "\n").map(String.init)
        #expect(lines.count == 3)
        #expect(lines.first == "put: The MD5 checksum you specified did not match what we received.")
        #expect(lines.dropFirst().first == "You provided a MD5 checksum with value: \(wrong)")
        if size == 5 { #expect(lines.last == "Actual MD5 was: \(actual) (10037)") }
        #expect(try await bucket.head("k") == old)
        #expect(fixture.blobs.isEmpty && fixture.temporaries.isEmpty)
    }

    @Test func `3: each algorithm is verified and kept`() async throws {
        let bucket = try await Fixture().bucket
        let sha1 = "f32b67c7e26342af42efabc674d441dca0a281c5"
        let sha256 = "cd42404d52ad55ccfa9aca4adc828aa5800ad9d385a0671fbcbf724118320619"
        for content in [[UInt8]("value".utf8)] {
            let one = try #require(try await bucket.put("k", content, checksum: .sha1(sha1)))
            #expect(one.checksums.hexadecimal == ["md5": one.etag, "sha1": sha1])
            let two = try #require(try await bucket.put("k", content, checksum: .sha256(sha256)))
            #expect(two.checksums.hexadecimal == ["md5": one.etag, "sha256": sha256])
            let message = await failure {
                try await bucket.put("k", content, checksum: .sha256(String(repeating: "1", count: 64)))
            }
            #expect(message.contains("The SHA-256 checksum you specified") && message.hasSuffix("(10037)"))
        }
        let large = pattern(200_000)
        let first = try #require(try await bucket.put("l", large))
        let again = try await bucket.put("l", large, checksum: .md5(first.etag))
        #expect(again?.checksums.hexadecimal == ["md5": first.etag])
    }

    @Test(arguments: [10, 300_000])
    func `4: ranges`(_ size: Int) async throws {
        let bucket = try await Fixture().bucket
        let content = pattern(size)
        try await bucket.put("k", content)
        let all = Int64(size)
        func get(_ range: R2Range) async throws -> (R2ResolvedRange?, [UInt8]) {
            let got = try #require(try await bucket.get("k", range: range))
            #expect(got.size == all)
            return (got.range, try await got.bytes())
        }
        var (range, bytes) = try await get(.suffix(3))
        #expect(range == R2ResolvedRange(offset: all - 3, length: 3))
        #expect(bytes == Array(content.suffix(3)))
        (range, bytes) = try await get(.offset(all - 2, length: 100))
        #expect(range == R2ResolvedRange(offset: all - 2, length: 2))
        #expect(bytes == Array(content.suffix(2)))
        (range, bytes) = try await get(.header("bytes=2-5"))
        #expect(bytes == Array(content[2...5]))
        (range, bytes) = try await get(.header("bytes=2-5,7-8"))
        #expect(range == nil && bytes == content)
        let expected = "get: The requested range is not satisfiable (10039)"
        #expect(await failure { _ = try await bucket.get("k", range: .offset(all + 1)) } == expected)
        #expect(await failure { _ = try await bucket.get("k", range: .suffix(0)) } == expected)
        #expect(
            await failure { _ = try await bucket.get("k", range: .offset(-1)) }
                == "RangeError: Invalid range. Starting offset (-1) must be greater than or equal to 0.")
    }

    @Test(arguments: [5, 100_000])
    func `5: conditions of get and put`(_ size: Int) async throws {
        let bucket = try await Fixture().bucket
        let put = try #require(try await bucket.put("k", pattern(size)))
        let got = try #require(try await bucket.get("k", onlyIf: R2Conditional(etagDoesNotMatch: put.etag)))
        #expect(got.body == nil && got.object == put)
        #expect(
            try await bucket.put("k", pattern(size, seed: 2), onlyIf: R2Conditional(etagMatches: "x")) == nil)
        #expect(try await bucket.head("k") == put)
        let message = await failure {
            try await bucket.put("k", "v", onlyIf: R2Conditional(etagMatches: "\"x\""))
        }
        #expect(message == "TypeError: Conditional ETag should not be wrapped in quotes (\"x\").")
    }

    @Test func `6: If-None-Match: * creates once`() async throws {
        let bucket = try await Fixture().bucket
        let onlyIf = try R2Conditional(Headers([("if-none-match", "*")]))
        #expect(try await bucket.put("k", "one", onlyIf: onlyIf) != nil)
        #expect(try await bucket.put("k", "two", onlyIf: onlyIf) == nil)
        #expect(try await bucket.get("k")?.text() == "one")
    }

    @Test func `7: a matching ETag outweighs uploadedBefore`() async throws {
        let bucket = try await Fixture().bucket
        let put = try #require(try await bucket.put("k", "v"))
        let onlyIf = try R2Conditional(etagMatches: put.etag, uploadedBefore: put.uploaded - 1000)
        #expect(try await bucket.get("k", onlyIf: onlyIf)?.body != nil)
    }

    @Test func `8: metadata of 8192 counted bytes`() async throws {
        let bucket = try await Fixture().bucket
        let fits = ["k": String(repeating: "a", count: 8191)]
        #expect(try await bucket.put("k", "v", customMetadata: fits)?.customMetadata == fits)
        #expect(try await bucket.head("k")?.customMetadata == fits)
        let message = "Your metadata headers exceed the maximum allowed metadata size. (10012)"
        let over = ["k": String(repeating: "a", count: 8192)]
        #expect(await failure { try await bucket.put("k", "v", customMetadata: over) } == "put: \(message)")
        let wide = ["k": String(repeating: "€", count: 4096)]
        #expect(await failure { try await bucket.put("k", "v", customMetadata: wide) } == "put: \(message)")
        #expect(
            await failure { _ = try await bucket.createMultipartUpload("k", customMetadata: over) }
                == "createMultipartUpload: \(message)")
    }

    @Test func `9: keys of 1024 bytes`() async throws {
        let bucket = try await Fixture().bucket
        let key = String(repeating: "é", count: 512)
        #expect(try await bucket.put(key, "v")?.key == key)
        #expect(try await bucket.get(key)?.text() == "v")
        let message = "The specified object name is not valid. (10020)"
        #expect(await failure { try await bucket.put(key + "a", "v") } == "put: \(message)")
        #expect(await failure { try await bucket.put("", "v") } == "put: \(message)")
        #expect(await failure { _ = try await bucket.get(key + "a") } == "get: \(message)")
        #expect(await failure { _ = try await bucket.head("") } == "head: \(message)")
        #expect(await failure { try await bucket.delete(["a", ""]) } == "delete: \(message)")
    }

    @Test func `10: folding and paging`() async throws {
        let bucket = try await Fixture().bucket
        for key in ["a/1", "a/2", "b", "c/x"] { try await bucket.put(key, "v") }
        let all = try await bucket.list(delimiter: "/")
        #expect(all.objects.map(\.key) == ["b"] && all.delimitedPrefixes == ["a/", "c/"])
        #expect(!all.truncated && all.cursor == nil)
        var pages: [[String]] = []
        var cursor: String?
        repeat {
            let page = try await bucket.list(limit: 1, cursor: cursor, delimiter: "/")
            pages.append(page.objects.map(\.key) + page.delimitedPrefixes)
            #expect(page.truncated == (page.cursor != nil))
            cursor = page.cursor
        } while cursor != nil
        #expect(pages == [["a/"], ["b"], ["c/"]])
    }

    @Test(arguments: [0, 1001, -1])
    func `11: list limits outside 1...1000`(_ limit: Int) async throws {
        let bucket = try await Fixture().bucket
        #expect(
            await failure { _ = try await bucket.list(limit: limit) }
                == "list: MaxKeys params must be positive integer <= 1000. (10022)")
    }

    @Test func `12: an upload in parts`() async throws {
        let fixture = try await Fixture()
        let bucket = fixture.bucket
        let content = pattern(2 * (5 << 20) + 1)
        let upload = try await bucket.createMultipartUpload(
            "k", httpMetadata: R2HTTPMetadata(contentType: "a/b"), customMetadata: ["m": "n"])
        var parts: [R2UploadedPart] = []
        for (number, start) in [(3, 2 * (5 << 20)), (1, 0), (2, 5 << 20)] {
            let bytes = Array(content[start..<min(content.count, start + (5 << 20))])
            parts.append(try await upload.uploadPart(number, stream(bytes)))
        }
        #expect(try await bucket.head("k") == nil)
        let again = bucket.resumeMultipartUpload("k", uploadId: upload.uploadId)
        let object = try await again.complete(parts.sorted { $0.partNumber < $1.partNumber })
        #expect(
            object.etag.hasSuffix("-3") && object.checksums.isEmpty && object.size == Int64(content.count))
        #expect(object.httpMetadata.contentType == "a/b" && object.customMetadata == ["m": "n"])
        #expect(try await bucket.head("k") == object)
        #expect(try await bucket.get("k")?.bytes() == content)
        // Across a seam, inside one part, and the last byte.
        for (offset, length) in [((5 << 20) - 3, 6), (7, 9), ((5 << 20), 5 << 20), (2 * (5 << 20), 1)] {
            let got = try #require(
                try await bucket.get("k", range: .offset(Int64(offset), length: Int64(length))))
            #expect(try await got.bytes() == Array(content[offset..<(offset + length)]))
        }
        try await bucket.delete("k")
        await fixture.store.settle()
        #expect(fixture.blobs.isEmpty)
    }

    @Test func `13: what completing and aborting refuse`() async throws {
        let fixture = try await Fixture()
        let bucket = fixture.bucket
        let five = [UInt8](repeating: 1, count: 5 << 20)
        let six = [UInt8](repeating: 2, count: 6 << 20)
        func complete(_ contents: [[UInt8]]) async throws -> (R2MultipartUpload, String) {
            let upload = try await bucket.createMultipartUpload("k")
            var parts: [R2UploadedPart] = []
            for (index, bytes) in contents.enumerated() {
                parts.append(try await upload.uploadPart(index + 1, bytes))
            }
            return (upload, await failure { try await upload.complete(parts) })
        }
        let prefix = "completeMultipartUpload: "
        let (small, tooSmall) = try await complete([[1], five])
        #expect(
            tooSmall == prefix
                + "Your proposed upload is smaller than the minimum allowed object size. (10011)")
        let (uneven, bad) = try await complete([five, six, [1]])
        #expect(bad == prefix + "There was a problem with the multipart upload. (10048)")
        let (rising, badLast) = try await complete([five, six])
        #expect(badLast == prefix + "There was a problem with the multipart upload. (10048)")
        for upload in [small, uneven, rising] { try await upload.abort() }

        let missing = "One or more of the specified parts could not be found. (10025)"
        let upload = try await bucket.createMultipartUpload("k")
        let part = try await upload.uploadPart(1, "only")
        for parts in [
            [R2UploadedPart(partNumber: 1, etag: "x")], [R2UploadedPart(partNumber: 2, etag: part.etag)],
            [part, part], [],
        ] {
            #expect(await failure { try await upload.complete(parts) } == prefix + missing)
        }
        let object = try await upload.complete([part])
        let gone = "The specified multipart upload does not exist. (10024)"
        #expect(await failure { try await upload.complete([part]) } == prefix + gone)
        #expect(await failure { _ = try await upload.uploadPart(2, "x") } == "uploadPart: " + gone)
        try await upload.abort()
        #expect(try await bucket.head("k") == object)
        let other = bucket.resumeMultipartUpload("k", uploadId: "no such upload")
        #expect(await failure { try await other.complete([part]) } == prefix + gone)
        try await other.abort()
        await fixture.store.settle()
        #expect(fixture.blobs.count == 1)
    }

    @Test func `13: part numbers outside 1...10000 are TypeErrors`() async throws {
        let upload = try await Fixture().bucket.createMultipartUpload("k")
        for number in [0, 10_001, -5] {
            #expect(
                await failure { _ = try await upload.uploadPart(number, "x") }
                    == "TypeError: Part number must be between 1 and 10000 (inclusive). Actual value was: \(number)"
            )
        }
    }
}

@Suite struct `R2 bucket` {
    @Test(arguments: [0, 1, 65_536, 65_537, 1_000_000])
    func `returns what was put, in whichever form it came`(_ size: Int) async throws {
        let fixture = try await Fixture()
        let bucket = fixture.bucket
        let content = pattern(size)
        try await bucket.put("bytes", content)
        try await bucket.put("stream", stream(content, piece: 10_000))
        for key in ["bytes", "stream"] {
            let got = try #require(try await bucket.get(key))
            #expect(got.body?.length == size)
            #expect(try await got.bytes() == content)
        }
        #expect(fixture.blobs.count == (size > 65_536 ? 2 : 0))
    }

    @Test func `replaces metadata as a whole`() async throws {
        let bucket = try await Fixture().bucket
        let metadata = R2HTTPMetadata(contentType: "text/css", cacheControl: "no-cache")
        let first = try #require(
            try await bucket.put(
                "k", "v", httpMetadata: metadata, customMetadata: ["a": "b"], storageClass: .infrequentAccess)
        )
        #expect(first.storageClass.name == "InfrequentAccess")
        #expect(try await bucket.head("k")?.httpMetadata == metadata)
        let second = try #require(try await bucket.put("k", "v"))
        #expect(second.version != first.version)
        #expect(second.httpMetadata == R2HTTPMetadata() && second.customMetadata.isEmpty)
        #expect(second.storageClass == .standard)
    }

    @Test func `refuses a stream of unknown length before it asks the node`() async throws {
        let bucket = try await Fixture().bucket
        let message = await failure { try await bucket.put("k", ByteStream { nil }) }
        #expect(message.hasPrefix("TypeError: Provided readable stream must have a known length"))
    }

    @Test(arguments: [100, 200_000])
    func `keeps nothing of a body that is shorter or longer than declared`(_ size: Int) async throws {
        let fixture = try await Fixture()
        let bucket = fixture.bucket
        for declared in [size - 1, size + 1] {
            let message = await failure {
                try await bucket.put("k", stream(pattern(size), piece: 4096, length: declared))
            }
            #expect(message.hasPrefix("put: The body ended after") && message.hasSuffix("(10013)"))
        }
        #expect(try await bucket.head("k") == nil)
        #expect(fixture.blobs.isEmpty && fixture.temporaries.isEmpty)
    }

    @Test(arguments: [100, 200_000])
    func `keeps nothing of a body whose sender gave up`(_ size: Int) async throws {
        struct GaveUp: Error {}
        let fixture = try await Fixture()
        let bucket = fixture.bucket
        nonisolated(unsafe) var isFirst = true  // One reader at a time.
        let body = ByteStream(length: size) {
            guard unsafe isFirst else { throw GaveUp() }
            unsafe isFirst = false
            return pattern(size - 1)
        }
        _ = await failure { try await bucket.put("k", body) }
        #expect(try await bucket.head("k") == nil)
        #expect(fixture.blobs.isEmpty && fixture.temporaries.isEmpty)
    }

    @Test func `refuses what is larger than 5 GiB − 5 MiB without reading it`() async throws {
        let bucket = try await Fixture().bucket
        let body = ByteStream(length: Int(R2Limits.putBytesMax) + 1) {
            Issue.record("read")
            return nil
        }
        #expect(
            await failure { try await bucket.put("k", body) }
                == "put: Your proposed upload exceeds the maximum allowed object size. (100100)")
    }

    @Test func `does not see another bucket's keys`() async throws {
        let fixture = try await Fixture()
        try await fixture.store.createBucket("other")
        let other = fixture.bind("other")
        try await fixture.bucket.put("k", "mine")
        try await other.put("a", "theirs")
        #expect(try await other.head("k") == nil)
        #expect(try await other.list().objects.map(\.key) == ["a"])
        #expect(try await fixture.bucket.list().objects.map(\.key) == ["k"])
        #expect(try await fixture.store.bucketNames() == ["other", "photos"])
        let upload = try await fixture.bucket.createMultipartUpload("u")
        let stolen = other.resumeMultipartUpload("u", uploadId: upload.uploadId)
        #expect(await failure { _ = try await stolen.uploadPart(1, "x") }.hasSuffix("(10024)"))
    }

    @Test func `that doesn't exist answers 10006, and one that holds objects stays`() async throws {
        let fixture = try await Fixture()
        let none = fixture.bind("none")
        for message in [
            await failure { _ = try await none.head("k") }, await failure { _ = try await none.get("k") },
            await failure { try await none.put("k", "v") }, await failure { try await none.delete("k") },
            await failure { _ = try await none.list() },
        ] {
            #expect(message.hasSuffix("The specified bucket does not exist. (10006)"))
        }
        try await fixture.bucket.put("k", "v")
        await #expect(throws: R2Failure.bucketNotEmpty) { try await fixture.store.deleteBucket("photos") }
        try await fixture.bucket.delete("k")
        try await fixture.store.deleteBucket("photos")
        #expect(try await fixture.store.bucketNames().isEmpty)
        for name in ["ab", "-abc", "abc-", "aBc", "a_c", String(repeating: "a", count: 64)] {
            await #expect(throws: R2Failure.invalidBucketName) { try await fixture.store.createBucket(name) }
        }
    }

    @Test func `reading goes on after the object was replaced`() async throws {
        let fixture = try await Fixture()
        let bucket = fixture.bucket
        let old = pattern(300_000)
        try await bucket.put("file", old)
        let upload = try await bucket.createMultipartUpload("parts")
        let parts = [
            try await upload.uploadPart(1, pattern(5 << 20)),
            try await upload.uploadPart(2, pattern(5 << 20, seed: 2)),
        ]
        try await upload.complete(parts)
        let file = try #require(try await bucket.get("file"))
        let pieces = try #require(try await bucket.get("parts"))
        _ = try await pieces.body?.next()
        try await bucket.put("file", "new")
        try await bucket.put("parts", "new")
        await fixture.store.settle()
        #expect(try await file.bytes() == old)
        var count = 64 << 10
        while let piece = try await pieces.body?.next() { count += piece.count }
        #expect(count == 10 << 20)
        await fixture.store.settle()
        #expect(fixture.blobs.isEmpty)
    }

    @Test func `lets one of many concurrent creators win`() async throws {
        let bucket = try await Fixture().bucket
        for size in [10, 100_000] {
            let winners = try await withThrowingTaskGroup(of: Bool.self) { group in
                for seed in 0..<32 {
                    group.addTask {
                        let onlyIf = try R2Conditional(etagDoesNotMatch: "*")
                        return try await bucket.put(
                            "k\(size)", pattern(size, seed: UInt64(seed)), onlyIf: onlyIf) != nil
                    }
                }
                return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(winners == 1)
        }
    }

    @Test func `keeps one whole object under concurrent overwrites and reads`() async throws {
        let fixture = try await Fixture()
        let bucket = fixture.bucket
        try await bucket.put("k", pattern(100_000, seed: 0))
        let contents = (0..<8).map { pattern(100_000, seed: UInt64($0)) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for content in contents {
                group.addTask { for _ in 0..<4 { try await bucket.put("k", content) } }
                group.addTask {
                    for _ in 0..<16 {
                        let bytes = try await bucket.get("k")?.bytes() ?? []
                        #expect(contents.contains(bytes))
                    }
                }
            }
            try await group.waitForAll()
        }
        await fixture.store.settle()
        #expect(fixture.blobs.count == 1)
    }

    @Test func `answers a call it doesn't know, and a message it can't read`() async throws {
        let fixture = try await Fixture()
        let service = R2Service(store: fixture.store, bucket: "photos")
        for kind in [CallKind.kvGet, .r2Put, .r2Get, .r2List, .r2UploadPart] {
            let body = StreamBody(ByteStream("x"))
            await #expect(throws: CallFailure.self) {
                _ = try await service.answer(StoreCall(kind, message: [255], body: body))
            }
            #expect(body.wasCancelled)
        }
    }
}
