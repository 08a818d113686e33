import Interfaces
import Stores
import StoresR2
import System
import Testing

/// What a disk can do to an upload in parts: one call gets an error, no acknowledged part is lost, and the same upload is
/// completed afterwards.
@Suite struct `R2 uploads in parts on a bad disk` {
    struct Case: Sendable, CustomTestStringConvertible {
        var operation: DiskOperation
        var errno: Int32
        /// Steps of this kind that succeed before.
        var spared = 0
        var testDescription: String { "\(operation.rawValue), errno \(errno), after \(spared)" }
    }

    @Test(
        arguments: [
            Case(operation: .create, errno: 24), Case(operation: .write, errno: 28),
            Case(operation: .write, errno: 28, spared: 3),
            Case(operation: .write, errno: 5, spared: 1), Case(operation: .syncFile, errno: 5),
            Case(operation: .rename, errno: 28), Case(operation: .syncDirectory, errno: 5), Case(operation: .commit, errno: 28),
        ], [false, true])
    func `a part that fails costs that part alone`(_ fault: Case, _ isEncrypted: Bool) async throws {
        let faults = Faults()
        var options = EmbeddedR2Store.Options()
        options.diskHook = faults.hook
        let fixture = try await Fixture(options)
        let key = isEncrypted ? try R2CustomerKey([UInt8](repeating: 3, count: 32)) : nil
        let (first, second) = (pattern(5 << 20), pattern(300_000, seed: 2))
        let upload = try await fixture.bucket.createMultipartUpload("k", ssecKey: key)
        let one = try await upload.uploadPart(1, stream(first), ssecKey: key)
        let two = try await upload.uploadPart(2, stream(second), ssecKey: key)
        // Both as a new part and in place of one that is there.
        for number in [3, 2] {
            faults.fail(fault.operation, errno: fault.errno, after: fault.spared)
            #expect(
                await failure { _ = try await upload.uploadPart(number, stream(pattern(300_000, seed: 3)), ssecKey: key) }
                    == "uploadPart: We encountered an internal error. Please try again. (10001)")
            faults.fail(nil)
        }
        #expect(fixture.temporaries.isEmpty && fixture.blobs.count == 2)
        #expect(try await upload.listParts().parts.map(\.etag) == [one.etag, two.etag])
        try await upload.complete([one, two])
        #expect(try await fixture.bucket.get("k", ssecKey: key)?.bytes() == first + second)
        #expect(try await fixture.store.sweep().isEmpty)
    }

    @Test(arguments: [5 as Int32, 28])
    func `a completion that can't be committed can be repeated`(_ errno: Int32) async throws {
        let faults = Faults()
        var options = EmbeddedR2Store.Options()
        options.diskHook = faults.hook
        let fixture = try await Fixture(options)
        let old = try await fixture.bucket.put("k", pattern(100_000))
        let upload = try await fixture.bucket.createMultipartUpload("k")
        let part = try await upload.uploadPart(1, "new")
        faults.fail(.commit, errno: errno)
        #expect(await failure { try await upload.complete([part]) }.hasSuffix("(10001)"))
        #expect(await failure { try await upload.abort() }.hasSuffix("(10001)"))
        faults.fail(nil)
        #expect(try await fixture.bucket.head("k") == old)
        try await upload.complete([part])
        #expect(try await fixture.bucket.get("k")?.text() == "new")
        await fixture.store.settle()
        #expect(fixture.blobs.count == 1)
    }

    @Test func `old blobs that can't be removed are removed by the next sweep`() async throws {
        let faults = Faults()
        var options = EmbeddedR2Store.Options()
        options.diskHook = faults.hook
        let fixture = try await Fixture(options)
        let upload = try await fixture.bucket.createMultipartUpload("k")
        _ = try await upload.uploadPart(1, "old")
        _ = try await upload.uploadPart(2, "unused")
        faults.fail(.unlink)
        let part = try await upload.uploadPart(1, "new")
        try await upload.complete([part])
        await fixture.store.settle()
        #expect(fixture.blobs.count == 3)
        faults.fail(nil)
        #expect(try await fixture.store.sweep().orphans == 2)
        #expect(try await fixture.bucket.get("k")?.text() == "new")
    }

    @Test(arguments: [7, 4096], [false, true])
    func `a disk that takes little at a time gets all of it`(_ most: Int, _ isEncrypted: Bool) async throws {
        var options = EmbeddedR2Store.Options()
        options.diskHook = DiskHook(writable: { min($0, most) }) { _, _ in nil }
        let fixture = try await Fixture(options)
        let key = isEncrypted ? try R2CustomerKey([UInt8](repeating: 3, count: 32)) : nil
        let content = pattern(most == 7 ? 70_000 : 300_000)
        try await fixture.bucket.put("k", stream(content), ssecKey: key)
        let upload = try await fixture.bucket.createMultipartUpload("u", ssecKey: key)
        try await upload.complete([try await upload.uploadPart(1, stream(content), ssecKey: key)])
        for name in ["k", "u"] { #expect(try await fixture.bucket.get(name, ssecKey: key)?.bytes() == content) }
    }
}
