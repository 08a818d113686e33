import Foundation
import Interfaces
import StoresR2
import System
import Testing

/// Ten thousand random operations on few keys, while the process dies again and again between two of its steps.
@Suite struct `R2 mayhem` {
    /// What may be under a key: what was acknowledged last, and what was on its way when the process died.
    private struct Model {
        var possible: [String: Set<UInt64?>] = [:]

        mutating func set(_ key: String, _ seed: UInt64?) { possible[key] = [seed] }
        mutating func may(_ key: String, _ seed: UInt64?) { possible[key, default: [nil]].insert(seed) }
    }

    static func content(_ seed: UInt64) -> [UInt8] { pattern(Int(seed % 3 == 0 ? 100 : 700 + seed % 1000), seed: seed) }

    @Test func `nothing is lost, mixed or leaked`() async throws {
        let seed = ProcessInfo.processInfo.environment["EDGE_SEED"].flatMap { UInt64($0) } ?? 20_261_121
        var generator = SeededGenerator(seed: seed)
        let faults = Faults()
        var options = EmbeddedR2Store.Options()
        options.inlineBytesMax = 256
        options.diskHook = faults.hook
        let fixture = try await Fixture(options)
        let store = { fixture.store }
        try await store().addNotificationRules(
            [R2NotificationRule(R2EventAction.allCases)], queue: "all", of: "photos")
        try await store().setLifecycleRules(
            [R2LifecycleRule(id: "a", prefix: "old/", delete: .age(seconds: 500), abortUploads: .age(seconds: 500))],
            of: "photos")
        var model = Model()
        var (next, kills, operations) = (UInt64(1), 0, 0)
        var uploads: [(upload: R2MultipartUpload, parts: [Int: (part: R2UploadedPart, seed: UInt64)])] = []

        while operations < 10_000 {
            try await fixture.reopen(hook: faults.hook)
            faults.die(before: nil)
            try await check(fixture, model, seed, isDeep: kills.isMultiple(of: 20))
            uploads = uploads.map { known in
                let id = known.upload.uploadId
                return (fixture.bucket.resumeMultipartUpload(known.upload.key, uploadId: id), known.parts)
            }
            faults.die(before: Int.random(in: 0..<400, using: &generator))
            kills += 1
            var isAlive = true
            while isAlive, operations < 10_000 {
                operations += 1
                fixture.clock.advance(by: .seconds(1))
                let key = "\(Bool.random(using: &generator) ? "old/" : "")k\(Int.random(in: 0..<20, using: &generator))"
                next += 1
                let mark = next
                do {
                    switch Int.random(in: 0..<100, using: &generator) {
                    case 0..<45:
                        model.may(key, mark)
                        try await fixture.bucket.put(key, Self.content(mark))
                        model.set(key, mark)
                    case 45..<60:
                        model.may(key, nil)
                        try await fixture.bucket.delete(key)
                        model.set(key, nil)
                    case 60..<65:
                        let keys = (0..<20).map { "k\($0)" }
                        for key in keys { model.may(key, nil) }
                        try await fixture.bucket.delete(keys)
                        for key in keys { model.set(key, nil) }
                    case 65..<70:
                        uploads.append((try await fixture.bucket.createMultipartUpload(key), [:]))
                    case 70..<85:
                        guard !uploads.isEmpty else { continue }
                        let place = Int.random(in: 0..<uploads.count, using: &generator)
                        let number = Int.random(in: 1...2, using: &generator)
                        uploads[place].parts[number] = nil
                        let part = try await uploads[place].upload.uploadPart(number, Self.content(mark))
                        uploads[place].parts[number] = (part, mark)
                    case 85..<92:
                        guard !uploads.isEmpty else { continue }
                        let (upload, parts) = uploads.remove(at: Int.random(in: 0..<uploads.count, using: &generator))
                        guard let chosen = parts.values.first else {
                            try await upload.abort()
                            continue
                        }
                        model.may(upload.key, chosen.seed)
                        try await upload.complete([chosen.part])
                        model.set(upload.key, chosen.seed)
                    case 92..<96:
                        for key in model.possible.keys where key.hasPrefix("old/") { model.may(key, nil) }
                        _ = try await store().applyLifecycle()
                    default: _ = try await store().sweep()
                    }
                } catch {
                    let message = "\(error)"
                    // An upload that the lifecycle or a lost completion ended is no death.
                    isAlive = message.hasSuffix("(10024)") || message.hasSuffix("(10025)")
                    if isAlive { uploads.removeAll() }
                }
            }
            await store().settle()
        }
        try await fixture.reopen()
        try await check(fixture, model, seed, isDeep: true)
        #expect(kills > 20)
        // When all objects and uploads are gone, so is everything else.
        try await fixture.store.setLifecycleRules(
            [R2LifecycleRule(id: "a", delete: .age(seconds: 1), abortUploads: .age(seconds: 1))], of: "photos")
        fixture.clock.advance(by: .seconds(1))
        _ = try await fixture.store.applyLifecycle()
        await fixture.store.settle()
        #expect(fixture.blobs.isEmpty && fixture.temporaries.isEmpty, "EDGE_SEED=\(seed)")
        #expect(try fixture.store.usage(of: nil) == R2Usage(), "EDGE_SEED=\(seed)")
        #expect(try await fixture.store.verify() == R2VerifyReport(), "EDGE_SEED=\(seed)")
    }

    /// After a start: one sweep, and everything is as it should be.
    private func check(_ fixture: Fixture, _ model: Model, _ seed: UInt64, isDeep: Bool) async throws {
        _ = try await fixture.store.sweep()
        await fixture.store.settle()
        let report = try await fixture.store.verify(isDeep ? .checksums : .sizes)
        #expect(report.isSound, "\(report.damage), EDGE_SEED=\(seed)")
        #expect(fixture.temporaries.isEmpty)
        guard isDeep else { return }
        for (key, possible) in model.possible {
            let found = try await fixture.bucket.get(key)?.bytes()
            #expect(
                possible.contains { $0.map { Self.content($0) } == found },
                "\(key): \(found.map { "\($0.count) bytes" } ?? "nothing"), EDGE_SEED=\(seed)")
        }
    }
}
