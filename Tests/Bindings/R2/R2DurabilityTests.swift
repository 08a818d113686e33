import Foundation
import Interfaces
import Observability
import Stores
import StoresR2
import Synchronization
import System
import Testing

/// Fails chosen steps, and remembers all.
final class Faults: Sendable {
    struct State: Sendable {
        var steps: [DiskOperation] = []
        var failing: DiskOperation?
        var errno: Int32 = 5
        /// Steps of `failing` that still succeed.
        var spared = 0
        /// All further steps fail: the process is dead.
        var isDead = false
        var diesBefore: Int?
    }
    let state = Mutex(State())

    var hook: DiskHook {
        DiskHook { [self] operation, subject in
            state.withLock { state in
                if state.isDead { return SystemError("dead", errno: 5, on: subject) }
                if let count = state.diesBefore, state.steps.count >= count {
                    state.isDead = true
                    return SystemError("dead", errno: 5, on: subject)
                }
                state.steps.append(operation)
                guard operation == state.failing else { return nil }
                state.spared -= 1
                return state.spared < 0
                    ? SystemError(operation.rawValue, errno: state.errno, on: subject) : nil
            }
        }
    }

    func fail(_ operation: DiskOperation?, errno: Int32 = 5, after spared: Int = 0) {
        state.withLock {
            $0.failing = operation
            $0.errno = errno
            $0.spared = spared
            $0.steps = []
        }
    }

    func die(before step: Int?) {
        state.withLock {
            $0.steps = []
            $0.diesBefore = step
            $0.isDead = false
        }
    }

    var steps: [DiskOperation] { state.withLock { $0.steps } }
}

@Suite struct `R2 durability` {
    static let large = 300_000

    @Test func `objects, uploads and buckets are there after the store was opened again`() async throws {
        let fixture = try await Fixture()
        let small = try await fixture.bucket.put("small", "value", customMetadata: ["a": "b"])
        let large = try await fixture.bucket.put("large", pattern(Self.large))
        let upload = try await fixture.bucket.createMultipartUpload("parts")
        let part = try await upload.uploadPart(1, "part")
        try await fixture.reopen()
        #expect(try await fixture.bucket.head("small") == small)
        #expect(try await fixture.bucket.head("large") == large)
        #expect(try await fixture.bucket.get("large")?.bytes() == pattern(Self.large))
        let resumed = fixture.bucket.resumeMultipartUpload("parts", uploadId: upload.uploadId)
        try await resumed.complete([part])
        #expect(try await fixture.bucket.get("parts")?.text() == "part")
        #expect(try await fixture.store.sweep().isEmpty)
    }

    @Test func `a put takes its steps in the order that makes it safe`() async throws {
        let faults = Faults()
        var options = EmbeddedR2Store.Options()
        options.diskHook = faults.hook
        let fixture = try await Fixture(options)
        try await fixture.bucket.put("k", pattern(Self.large))
        faults.fail(nil)
        try await fixture.bucket.put("k", pattern(Self.large, seed: 2))
        await fixture.store.settle()
        var steps = faults.steps
        steps.removeAll { $0 == .write }
        #expect(steps == [.create, .syncFile, .rename, .syncDirectory, .commit, .unlink])
        faults.fail(nil)
        try await fixture.bucket.put("small", "value")
        #expect(faults.steps == [.commit])
    }

    @Test(
        arguments: [DiskOperation.create, .write, .syncFile, .rename, .syncDirectory, .commit], [false, true])
    func `when a step fails, one call fails and nothing is left of it`(
        _ operation: DiskOperation, _ isPart: Bool
    ) async throws {
        let faults = Faults()
        var options = EmbeddedR2Store.Options()
        options.diskHook = faults.hook
        let fixture = try await Fixture(options)
        let bucket = fixture.bucket
        let old = try await bucket.put("k", pattern(Self.large))
        let upload = try await bucket.createMultipartUpload("k")
        // The third write fails with a full disk: a part of the file is there by then.
        faults.fail(operation, errno: operation == .write ? 28 : 5, after: operation == .write ? 2 : 0)
        let message = await failure {
            if isPart {
                _ = try await upload.uploadPart(1, stream(pattern(Self.large, seed: 2)))
            } else {
                try await bucket.put("k", stream(pattern(Self.large, seed: 2)))
            }
        }
        #expect(
            message
                == "\(isPart ? "uploadPart" : "put"): We encountered an internal error. Please try again. (10001)"
        )
        #expect(fixture.temporaries.isEmpty && fixture.blobs.count == 1)
        faults.fail(nil)
        #expect(try await bucket.head("k") == old)
        #expect(try await bucket.get("k")?.bytes() == pattern(Self.large))
        try await bucket.put("k", stream(pattern(Self.large, seed: 3)))
        #expect(try await bucket.get("k")?.bytes() == pattern(Self.large, seed: 3))
        #expect(try await fixture.store.sweep().orphans == 0)
    }

    @Test func `a failed step of one put leaves concurrent puts alone`() async throws {
        let faults = Faults()
        var options = EmbeddedR2Store.Options()
        options.diskHook = faults.hook
        let fixture = try await Fixture(options)
        let bucket = fixture.bucket
        faults.fail(.syncFile, after: 15)  // The last of sixteen.
        let stored = try await withThrowingTaskGroup(of: Bool.self) { group in
            for number in 0..<16 {
                group.addTask {
                    do {
                        return try await bucket.put("k\(number)", pattern(100_000, seed: UInt64(number)))
                            != nil
                    } catch {
                        return false
                    }
                }
            }
            return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(stored == 15 && fixture.blobs.count == 15)
        #expect(try await bucket.list().objects.count == 15)
    }

    @Test(arguments: [0, 1, 2])
    func `14: a crash between any two steps leaves the old object or the new one`(_ kind: Int) async throws {
        let faults = Faults()
        let fixture = try await Fixture()
        try await fixture.bucket.put("k", pattern(Self.large))
        var storedSeed: UInt64? = 1
        var acknowledged = 0
        for step in 0..<20 {
            // Each round starts without leftovers and dies before its step number `step`.
            try await fixture.reopen(hook: faults.hook)
            faults.die(before: nil)
            let seed = UInt64(step + 2)
            let upload = kind == 1 ? try await fixture.bucket.createMultipartUpload("k") : nil
            faults.die(before: step)
            let message = await failure {
                switch kind {
                case 0: try await fixture.bucket.put("k", stream(pattern(Self.large, seed: seed)))
                case 1:
                    let part = try #require(try await upload?.uploadPart(1, pattern(Self.large, seed: seed)))
                    try await upload?.complete([part])
                default: try await fixture.bucket.delete("k")
                }
            }
            await fixture.store.settle()
            if message == "no failure" {
                acknowledged += 1
                storedSeed = kind == 2 ? nil : seed
            }
            try await fixture.reopen()
            let content = try await fixture.bucket.get("k")?.bytes()
            #expect(content == storedSeed.map { pattern(Self.large, seed: $0) }, "died before step \(step)")
            if let upload {
                try await fixture.bucket.resumeMultipartUpload("k", uploadId: upload.uploadId).abort()
            }
            await fixture.store.settle()
            _ = try await fixture.store.sweep()
            #expect(fixture.temporaries.isEmpty)
            #expect(fixture.blobs.count == (storedSeed == nil ? 0 : 1))
            if storedSeed == nil {
                try await fixture.bucket.put("k", pattern(Self.large))
                storedSeed = 1
            }
        }
        #expect((1..<20).contains(acknowledged))
    }

    @Test func `a body is read no faster than the disk takes it`() async throws {
        let (pieceByteCount, pieceCount) = (64 << 10, 40)
        let produced = Atomic<Int>(0)
        let written = Atomic<Int>(0)
        var options = EmbeddedR2Store.Options()
        options.diskHook = DiskHook { operation, _ in
            guard operation == .write else { return nil }
            // The disk stands still until as much waits as may wait: four pieces, and the one that is written.
            while written.load(ordering: .relaxed) == 0, produced.load(ordering: .relaxed) < 5 {}
            written.add(1, ordering: .relaxed)
            return nil
        }
        let fixture = try await Fixture(options)
        let body = ByteStream(length: pieceByteCount * pieceCount) {
            let number = produced.load(ordering: .relaxed)
            guard number < pieceCount else { return nil }
            #expect(number - written.load(ordering: .relaxed) <= 6)
            produced.add(1, ordering: .relaxed)
            return [UInt8](repeating: UInt8(number), count: pieceByteCount)
        }
        try await fixture.bucket.put("k", body)
        #expect(written.load(ordering: .relaxed) == pieceCount)
        #expect(try await fixture.bucket.head("k")?.size == Int64(pieceByteCount * pieceCount))
    }

    @Test func `a sweep leaves alone what is being written`() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let content = pattern(400_000)
        let position = Atomic<Int>(0)
        let body = ByteStream(length: content.count) {
            let start = position.load(ordering: .relaxed)
            guard start < content.count else { return nil }
            let report = try await store.sweep()  // Between any two pieces.
            #expect(report.isEmpty)
            position.store(start + 50_000, ordering: .relaxed)
            return Array(content[start..<(start + 50_000)])
        }
        try await fixture.bucket.put("k", body)
        #expect(try await store.sweep().isEmpty)
        #expect(try await fixture.bucket.get("k")?.bytes() == content)
    }

    @Test func `uploads in parts are given up after seven days`() async throws {
        let fixture = try await Fixture()
        let upload = try await fixture.bucket.createMultipartUpload("k")
        _ = try await upload.uploadPart(1, pattern(100_000))
        fixture.clock.advance(by: .seconds(7 * 86_400 - 1))
        #expect(try await fixture.store.sweep().isEmpty)
        fixture.clock.advance(by: .seconds(1))
        #expect(try await fixture.store.sweep().uploads == 1)
        await fixture.store.settle()
        #expect(fixture.blobs.isEmpty)
        #expect(await failure { _ = try await upload.uploadPart(2, "x") }.hasSuffix("(10024)"))
    }

    @Test func `a sweep that fails waits before it tries again`() async throws {
        let fresh = try FreshDirectory()
        let clock = VirtualClock()
        let faults = Faults()
        var options = EmbeddedR2Store.Options()
        options.diskHook = faults.hook
        options.sweepInterval = nil
        let first = try EmbeddedR2Store(
            directory: fresh.path + "/r2", clock: clock, logger: Self.logger(clock), options: options)
        await first.close()
        // A temporary file of a dead process, which can't be removed.
        let stale = fresh.path + "/r2/tmp/" + String(repeating: "0", count: 32)
        try #require(FileManager.default.createFile(atPath: stale, contents: nil))
        faults.fail(.removeTemporary)
        options.sweepInterval = .seconds(3600)
        let store = try EmbeddedR2Store(
            directory: fresh.path + "/r2", clock: clock, logger: Self.logger(clock), options: options)
        func attempts() -> Int { faults.steps.count { $0 == .removeTemporary } }
        while attempts() == 0 { await Task.yield() }
        // Much happens, but no time passes.
        for number in 0..<50 { try await store.createBucket("bucket-\(number)") }
        #expect(attempts() == 1)
        while attempts() == 1 {
            clock.advance(by: .seconds(1))
            await Task.yield()
        }
        await store.close()
    }

    private static func logger(_ clock: VirtualClock) -> Logger {
        Logger(sink: DiscardingSink(), clock: clock, level: .error)
    }

    @Test func `calls after the end are answered with an error`() async throws {
        let fixture = try await Fixture()
        let bucket = fixture.bucket
        try await bucket.put("k", "v")
        await fixture.store.close()
        for message in [
            await failure { _ = try await bucket.list() }, await failure { _ = try await bucket.get("k") },
            await failure { try await bucket.put("k", pattern(300_000)) },
            await failure { try await bucket.put("k", pattern(10_000)) },
        ] { #expect(message.hasSuffix("(10001)")) }
    }

    @Test func `many objects of many parts are deleted in several transactions`() async throws {
        var options = EmbeddedR2Store.Options()
        options.deletedBlobsMax = 3
        let faults = Faults()
        options.diskHook = faults.hook
        let fixture = try await Fixture(options)
        let keys = (0..<10).map { "k\($0)" }
        for key in keys { try await fixture.bucket.put(key, pattern(100_000)) }
        try await fixture.bucket.put("inline", "x")
        faults.fail(nil)
        try await fixture.bucket.delete(keys + ["inline", "missing"])
        #expect(faults.steps.count { $0 == .commit } == 4)
        #expect(try await fixture.bucket.list().objects.isEmpty)
        await fixture.store.settle()
        #expect(fixture.blobs.isEmpty)
    }

    @Test func `replies hold no more files open than they may, and lose nothing`() async throws {
        var options = EmbeddedR2Store.Options()
        options.openFilesMax = 2
        let fixture = try await Fixture(options)
        let bytes = pattern(300_000)
        try await fixture.bucket.put("k", bytes)
        let message = R2GetMessage(key: "k", range: nil)
        var held: [R2Found] = []
        for _ in 0..<5 { held.append(try await fixture.store.get(message, in: "photos")) }
        let kinds = held.map { found in
            if case .withBody(_, .file, _) = found { "file" } else { "stream" }
        }
        #expect(kinds == ["file", "file", "stream", "stream", "stream"])
        // Unread, they outlive the object.
        try await fixture.bucket.put("k", "new")
        await fixture.store.settle()
        #expect(fixture.blobs.count == 1)
        for case .withBody(_, .stream(let source), _) in held {
            var read: [UInt8] = []
            while let piece = try await source.next() { read += piece }
            #expect(read == bytes)
        }
        await fixture.store.settle()
        #expect(fixture.blobs.isEmpty)
        held = []
        try await fixture.bucket.put("k", bytes)
        if case .withBody(_, .file, _) = try await fixture.store.get(message, in: "photos") {
        } else {
            Issue.record("files that were given up are there again")
        }
    }

    @Test func `keys of an upload are compared byte by byte`() async throws {
        let fixture = try await Fixture()
        let upload = try await fixture.bucket.createMultipartUpload("caf\u{e9}")
        let other = fixture.bucket.resumeMultipartUpload("cafe\u{301}", uploadId: upload.uploadId)
        #expect(await failure { _ = try await other.uploadPart(1, "x") }.hasSuffix("(10024)"))
        _ = try await upload.uploadPart(1, "x")
    }

    @Test func `a replaced part's blob goes`() async throws {
        let fixture = try await Fixture()
        let upload = try await fixture.bucket.createMultipartUpload("k")
        _ = try await upload.uploadPart(1, pattern(100_000))
        let part = try await upload.uploadPart(1, pattern(100_000, seed: 2))
        _ = try await upload.uploadPart(2, pattern(100_000, seed: 3))  // Not named when it is completed.
        await fixture.store.settle()
        #expect(fixture.blobs.count == 2)
        try await upload.complete([part])
        await fixture.store.settle()
        #expect(fixture.blobs.count == 1)
        #expect(try await fixture.bucket.get("k")?.bytes() == pattern(100_000, seed: 2))
    }
}
