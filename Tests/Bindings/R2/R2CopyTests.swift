import Foundation
import HTTP
import Interfaces
import Stores
import StoresR2
import System
import Testing

@Suite struct `R2 copies` {
    @Test(arguments: [0, 10, 300_000])
    func `have the bytes, and a life of their own`(_ size: Int) async throws {
        let fixture = try await Fixture()
        let bucket = fixture.bucket
        let content = pattern(size)
        let metadata = R2HTTPMetadata(contentType: "a/b", cacheControl: "no-store")
        let source = try #require(
            try await bucket.put(
                "source", content, httpMetadata: metadata, customMetadata: ["a": "b"],
                storageClass: .infrequentAccess))
        fixture.clock.advance(by: .seconds(5))
        let copy = try await bucket.copy("source", to: "copy")
        #expect(copy.key == "copy" && copy.version != source.version)
        #expect(copy.uploaded == source.uploaded + 5000)
        #expect(copy.etag == source.etag && copy.size == source.size && copy.checksums == source.checksums)
        #expect(copy.httpMetadata == metadata && copy.customMetadata == ["a": "b"])
        #expect(copy.storageClass == .infrequentAccess)
        #expect(try await bucket.head("copy") == copy)
        try await bucket.delete("source")
        await fixture.store.settle()
        try await fixture.reopen()
        #expect(try await fixture.bucket.get("copy")?.bytes() == content)
        #expect(fixture.blobs.count == (size > 65_536 ? 1 : 0) && fixture.temporaries.isEmpty)
        #expect(try await fixture.store.sweep().isEmpty)
    }

    @Test func `take metadata over, replace it or merge it`() async throws {
        let bucket = try await Fixture().bucket
        try await bucket.put(
            "s", "v", httpMetadata: R2HTTPMetadata(contentType: "a/b", contentLanguage: "de"),
            customMetadata: ["a": "1", "b": "2"])
        let replaced = try await bucket.copy(
            "s", to: "r", metadata: .replace(httpMetadata: R2HTTPMetadata(contentType: "c/d"), customMetadata: ["x": "y"]),
            storageClass: .infrequentAccess)
        #expect(replaced.httpMetadata == R2HTTPMetadata(contentType: "c/d") && replaced.customMetadata == ["x": "y"])
        #expect(replaced.storageClass == .infrequentAccess)
        let emptied = try await bucket.copy("s", to: "e", metadata: .replace())
        #expect(emptied.httpMetadata == R2HTTPMetadata() && emptied.customMetadata.isEmpty)
        let merged = try await bucket.copy(
            "s", to: "m", metadata: .merge(httpMetadata: R2HTTPMetadata(contentType: "c/d"), customMetadata: ["b": "3"]))
        #expect(merged.httpMetadata == R2HTTPMetadata(contentType: "c/d", contentLanguage: "de"))
        #expect(merged.customMetadata == ["a": "1", "b": "3"] && merged.storageClass == .standard)
    }

    @Test(arguments: [10, 300_000])
    func `onto itself change metadata alone`(_ size: Int) async throws {
        let fixture = try await Fixture()
        let bucket = fixture.bucket
        try await bucket.put("k", pattern(size), customMetadata: ["a": "b"])
        try await bucket.copy("k", to: "k", metadata: .replace(customMetadata: ["c": "d"]))
        await fixture.store.settle()
        let got = try #require(try await bucket.get("k"))
        #expect(got.customMetadata == ["c": "d"])
        #expect(try await got.bytes() == pattern(size))
        #expect(fixture.blobs.count == (size > 65_536 ? 1 : 0))
        #expect(try await fixture.store.sweep().isEmpty)
    }

    @Test func `of uploads in parts move no byte and keep the ETag`() async throws {
        let faults = Faults()
        var options = EmbeddedR2Store.Options()
        options.diskHook = faults.hook
        let fixture = try await Fixture(options)
        let bucket = fixture.bucket
        let upload = try await bucket.createMultipartUpload("s")
        let parts = [
            try await upload.uploadPart(1, [UInt8](repeating: 1, count: 5 << 20)), try await upload.uploadPart(2, "end"),
        ]
        let source = try await upload.complete(parts)
        faults.fail(nil)
        let copy = try await bucket.copy("s", to: "c")
        #expect(faults.steps == [.link, .link, .syncDirectory, .commit])
        #expect(copy.etag == source.etag && copy.checksums.isEmpty)
        try await bucket.put("s", "gone")
        await fixture.store.settle()
        #expect(try await bucket.get("c", range: .suffix(5))?.bytes() == [1, 1] + Array("end".utf8))
        #expect(fixture.blobs.count == 2)
        try await bucket.delete("c")
        await fixture.store.settle()
        #expect(fixture.blobs.isEmpty)
    }

    @Test func `stand under conditions on source and target`() async throws {
        let bucket = try await Fixture().bucket
        let source = try #require(try await bucket.put("s", "new"))
        try await bucket.put("t", "old")
        let refusal = "copy: At least one of the pre-conditions you specified did not hold. (10031)"
        let other = try R2Conditional(etagMatches: "x")
        #expect(await failure { try await bucket.copy("s", to: "t", sourceOnlyIf: other) } == refusal)
        #expect(await failure { try await bucket.copy("s", to: "t", onlyIf: other) } == refusal)
        let create = try R2Conditional(etagDoesNotMatch: "*")
        #expect(await failure { try await bucket.copy("s", to: "t", onlyIf: create) } == refusal)
        #expect(try await bucket.get("t")?.text() == "old")
        try await bucket.copy("s", to: "u", sourceOnlyIf: R2Conditional(etagMatches: source.etag), onlyIf: create)
        #expect(try await bucket.get("u")?.text() == "new")
        #expect(
            await failure { try await bucket.copy("missing", to: "t") }
                == "copy: The specified key does not exist. (10007)")
    }

    @Test func `go from bucket to bucket for those who reach both`() async throws {
        let fixture = try await Fixture()
        try await fixture.store.createBucket("other")
        try await fixture.bucket.put("k", pattern(100_000))
        let message = R2CopyMessage(sourceKey: "k", key: "c")
        _ = try await fixture.store.copy(message, from: "photos", to: "other")
        #expect(try await fixture.bind("other").get("c")?.bytes() == pattern(100_000))
        await #expect(throws: R2Failure.noSuchBucket) {
            try await fixture.store.copy(message, from: "none", to: "other")
        }
        await #expect(throws: R2Failure.noSuchBucket) {
            try await fixture.store.copy(message, from: "photos", to: "none")
        }
        await fixture.store.settle()
        #expect(fixture.blobs.count == 2)
    }

    @Test func `while the source is replaced are whole, the old one or a new one`() async throws {
        let fixture = try await Fixture()
        let bucket = fixture.bucket
        let contents = (0..<4).map { pattern(100_000, seed: UInt64($0)) }
        try await bucket.put("s", contents[0])
        try await withThrowingTaskGroup(of: Void.self) { group in
            for content in contents {
                group.addTask { for _ in 0..<10 { try await bucket.put("s", content) } }
                group.addTask {
                    for number in 0..<10 {
                        try await bucket.copy("s", to: "c\(number)")
                        let bytes = try await bucket.get("c\(number)")?.bytes() ?? []
                        #expect(contents.contains(bytes))
                    }
                }
            }
            try await group.waitForAll()
        }
        await fixture.store.settle()
        #expect(fixture.blobs.count == 11 && fixture.temporaries.isEmpty)
        #expect(try await fixture.store.sweep().isEmpty)
    }

    /// EMLINK is 31: the file has as many names as the file system allows.
    @Test(arguments: [1 as Int32, 31])
    func `are made byte by byte where no link is to be had`(_ errno: Int32) async throws {
        let fixture = try await Fixture()
        try await fixture.bucket.put("s", pattern(3_000_000))
        let faults = Faults()
        try await fixture.reopen(hook: faults.hook)
        faults.fail(.link, errno: errno)
        try await fixture.bucket.copy("s", to: "c")
        #expect(faults.steps.contains(.syncFile) && faults.steps.contains(.rename))
        faults.fail(nil)
        #expect(try await fixture.bucket.get("c")?.bytes() == pattern(3_000_000))
        #expect(fixture.blobs.count == 2 && fixture.temporaries.isEmpty)
    }

    @Test(arguments: [DiskOperation.create, .write, .syncFile, .rename, .syncDirectory, .commit])
    func `that must be encrypted and fail leave nothing behind`(_ operation: DiskOperation) async throws {
        let faults = Faults()
        var options = EmbeddedR2Store.Options()
        options.diskHook = faults.hook
        let fixture = try await Fixture(options)
        let (bucket, key) = (fixture.bucket, try R2CustomerKey([UInt8](repeating: 1, count: 32)))
        let upload = try await bucket.createMultipartUpload("s")
        let parts = [
            try await upload.uploadPart(1, [UInt8](repeating: 1, count: 5 << 20)), try await upload.uploadPart(2, "end"),
        ]
        try await upload.complete(parts)
        // The second blob's step: the first copy is complete by then.
        faults.fail(operation, errno: 28, after: operation == .commit ? 0 : operation == .write ? 81 : 1)
        #expect(await failure { try await bucket.copy("s", to: "t", ssecKey: key) }.hasSuffix("(10001)"))
        faults.fail(nil)
        #expect(try await bucket.head("t") == nil)
        #expect(fixture.blobs.count == 2 && fixture.temporaries.isEmpty)
        try await bucket.copy("s", to: "t", ssecKey: key)
        #expect(try await bucket.get("t", range: .suffix(4), ssecKey: key)?.bytes() == [1] + Array("end".utf8))
        #expect(try await fixture.store.sweep().isEmpty)
    }

    @Test(arguments: [DiskOperation.link, .syncDirectory, .commit])
    func `that fail leave the target as it was`(_ operation: DiskOperation) async throws {
        let faults = Faults()
        var options = EmbeddedR2Store.Options()
        options.diskHook = faults.hook
        let fixture = try await Fixture(options)
        let bucket = fixture.bucket
        try await bucket.put("s", pattern(100_000))
        let old = try await bucket.put("t", pattern(100_000, seed: 2))
        faults.fail(operation, errno: 28)
        #expect(await failure { try await bucket.copy("s", to: "t") }.hasSuffix("(10001)"))
        faults.fail(nil)
        #expect(try await bucket.head("t") == old)
        #expect(fixture.blobs.count == 2)
        try await bucket.copy("s", to: "t")
        #expect(try await bucket.get("t")?.bytes() == pattern(100_000))
        await fixture.store.settle()
        #expect(try await fixture.store.sweep().isEmpty)
    }
}
