import Interfaces
import LMDB
import StoresR2
import System
import Testing

@Suite struct `R2 usage` {
    @Test func `objects, their bytes and metadata, uploads and their parts are counted`() async throws {
        let fixture = try await Fixture()
        let (store, bucket) = (fixture.store, fixture.bucket)
        try await store.createBucket("other")
        #expect(try store.usage(of: "photos") == R2Usage())
        try await bucket.put("key", "12345")
        let one = try store.usage(of: "photos")
        #expect((one.objectCount, one.payloadSize, one.uploadCount) == (1, 5, 0))
        #expect((50...200).contains(one.metadataSize))
        // Metadata and keys count byte by byte.
        try await bucket.put("key", "12345", customMetadata: ["n": "value"])
        #expect(try store.usage(of: "photos").metadataSize == one.metadataSize + 4 + 1 + 4 + 5)
        try await bucket.put("keys", pattern(100_000))
        try await fixture.bind("other").put("k", "x")
        let upload = try await bucket.createMultipartUpload("large")
        _ = try await upload.uploadPart(1, pattern(70_000))
        _ = try await upload.uploadPart(2, "old")
        let last = try await upload.uploadPart(2, "renewed")
        var usage = try store.usage(of: "photos")
        #expect((usage.objectCount, usage.payloadSize, usage.uploadCount, usage.uploadPartsSize) == (2, 100_005, 1, 70_007))
        #expect(try store.usage(of: nil) == usage + store.usage(of: "other"))
        try await upload.complete([last])
        usage = try store.usage(of: "photos")
        #expect((usage.objectCount, usage.payloadSize, usage.uploadCount, usage.uploadPartsSize) == (3, 100_012, 0, 0))
        try await fixture.reopen()
        #expect(try fixture.store.usage(of: "photos") == usage)
        try await fixture.bucket.delete(["key", "keys", "large", "missing"])
        #expect(try fixture.store.usage(of: "photos") == R2Usage())
        #expect(try fixture.store.usage(of: nil) == fixture.store.usage(of: "other"))
        #expect(throws: R2Failure.noSuchBucket) { try fixture.store.usage(of: "missing") }
    }

    @Test func `a write that fails counts nothing`() async throws {
        let faults = Faults()
        var options = EmbeddedR2Store.Options()
        options.diskHook = faults.hook
        let fixture = try await Fixture(options)
        try await fixture.bucket.put("k", "v")
        let usage = try fixture.store.usage(of: nil)
        faults.fail(.commit)
        #expect(await failure { try await fixture.bucket.put("k", "larger") } != "no failure")
        faults.fail(nil)
        #expect(await failure { try await fixture.bucket.put("k", "x", checksum: R2Checksum(.md5, hexadecimal: "00")) } != "")
        #expect(try await fixture.bucket.put("k", "larger", onlyIf: try R2Conditional(etagMatches: "x")) == nil)
        #expect(try fixture.store.usage(of: nil) == usage)
    }

    @Test func `a bucket that is full refuses what makes it larger, and takes the rest`() async throws {
        let fixture = try await Fixture()
        let (store, bucket) = (fixture.store, fixture.bucket)
        try await bucket.put("a", pattern(1000))
        let full = try store.usage(of: "photos").storedSize
        try await store.setLimits(R2StorageLimits(storedSizeMax: full), of: "photos")
        let message = "Storage limit exceeded: the bucket may hold \(full) bytes. (100101)"
        #expect(await failure { try await bucket.put("a", pattern(1001)) } == "put: " + message)
        #expect(await failure { try await bucket.put("b", "") } == "put: " + message)
        #expect(await failure { try await bucket.put("b", pattern(100_000)) } == "put: " + message)
        #expect(fixture.blobs.isEmpty && fixture.temporaries.isEmpty)
        let upload = try await bucket.createMultipartUpload("c")
        #expect(await failure { _ = try await upload.uploadPart(1, "x") } == "uploadPart: " + message)
        #expect(fixture.blobs.isEmpty)
        try await bucket.put("a", pattern(1000, seed: 2))
        try await bucket.put("a", pattern(400))
        // What the parts were allowed to take, the object may keep.
        let part = try await upload.uploadPart(1, pattern(600))
        #expect(await failure { _ = try await upload.uploadPart(1, pattern(601)) }.hasSuffix("(100101)"))
        try await upload.complete([part])
        #expect(try await bucket.get("c")?.bytes() == pattern(600))
        // A lower limit takes nothing away, and lets things become smaller.
        try await store.setLimits(R2StorageLimits(storedSizeMax: 0), of: "photos")
        try await bucket.put("a", pattern(300))
        try await bucket.delete("c")
        try await fixture.reopen()
        #expect(try fixture.store.limits(of: "photos") == R2StorageLimits(storedSizeMax: 0))
        #expect(await failure { try await fixture.bucket.put("d", "") }.hasSuffix("(100101)"))
        try await fixture.store.setLimits(R2StorageLimits(), of: "photos")
        try await fixture.bucket.put("d", pattern(100_000))
        #expect(try await fixture.store.verify().isSound)
    }

    @Test func `a limit of objects, and those of the tenant, hold over all buckets`() async throws {
        let fixture = try await Fixture()
        try await fixture.store.createBucket("other")
        let other = fixture.bind("other")
        try await fixture.store.setLimits(R2StorageLimits(objectCountMax: 1), of: "photos")
        try await fixture.bucket.put("a", "1")
        try await fixture.bucket.put("a", "2")
        #expect(
            await failure { try await fixture.bucket.put("b", "1") }
                == "put: Storage limit exceeded: the bucket may hold 1 objects. (100101)")
        try await fixture.store.setLimits(R2StorageLimits(objectCountMax: 2), of: nil)
        try await other.put("a", "1")
        let message = "Storage limit exceeded: the account may hold 2 objects. (100101)"
        #expect(await failure { try await other.put("b", "1") } == "put: " + message)
        let upload = try await other.createMultipartUpload("c")
        let part = try await upload.uploadPart(1, "1")
        #expect(await failure { try await upload.complete([part]) } == "completeMultipartUpload: " + message)
        try await fixture.bucket.delete("a")
        try await upload.complete([part])
        #expect(try await other.list().objects.map(\.key) == ["a", "c"])
        #expect(try fixture.store.usage(of: nil).objectCount == 2)
        await #expect(throws: R2Failure.self) {
            try await fixture.store.setLimits(R2StorageLimits(storedSizeMax: -1), of: nil)
        }
    }

    @Test func `what was stored before usage was kept is counted when the store is opened`() async throws {
        let fixture = try await Fixture()
        try await fixture.bucket.put("a", pattern(100_000), customMetadata: ["k": "v"])
        try await fixture.bucket.put(String(repeating: "k", count: 1000), "v")
        _ = try await fixture.bucket.createMultipartUpload("u").uploadPart(1, "part")
        let usage = try fixture.store.usage(of: "photos")
        await fixture.store.close()
        try changeIndex(of: fixture) { environment in
            let (usage, settings) = (try environment.openDatabase("usage"), try environment.openDatabase("settings"))
            try environment.write { transaction in
                try transaction.removeAll(in: usage)
                try transaction.delete(Array("usage was counted".utf8), in: settings)
            }
        }
        try await fixture.reopen()
        #expect(try fixture.store.usage(of: "photos") == usage)
        #expect(try fixture.store.usage(of: nil) == usage)
    }
}

/// Opens the index of a store that is closed.
func changeIndex(of fixture: Fixture, _ change: (LMDBEnvironment) throws -> Void) throws {
    let environment = try LMDBEnvironment(directory: fixture.directory + "/r2/index")
    defer { environment.close() }
    try change(environment)
}
