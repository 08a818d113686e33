import Interfaces
import Stores
import StoresR2
import Synchronization
import System
import Testing

/// Random calls against a bucket and a model of it; after each, both must have answered and hold the same. A failing run
/// names its seed, and the same seed makes the same calls.
@Suite struct `R2 model` {
    @Test(arguments: [1, 2, 3, UInt64.random(in: 4...UInt64.max)])
    func `a bucket does what its model does`(_ seed: UInt64) async throws {
        let run = try await Run(seed: seed)
        for _ in 0..<160 { try await run.step() }
        try await run.checkAll()
    }

    /// The process dies before some step of a call, and a new one finds what was before the call or what the call was to
    /// make, never anything else; an acknowledged call is never undone.
    @Test(arguments: [11, 12, UInt64.random(in: 13...UInt64.max)])
    func `a crash inside any call leaves the state before it or after it`(_ seed: UInt64) async throws {
        let run = try await Run(seed: seed)
        for _ in 0..<20 { try await run.step() }
        for _ in 0..<50 { try await run.crash() }
        try await run.checkAll()
        #expect(run.crashed > 5 && run.survived > 5, "seed \(seed)")
    }

    final class Run {
        let seed: UInt64
        let fixture: Fixture
        let faults = Faults()
        var generator: SeededGenerator
        var model = R2Model()
        var number = 0
        var (crashed, survived) = (0, 0)
        let contents: [[UInt8]]
        let parts: [[UInt8]]
        let keys = ["a", "a/1", "a/2", "a/b/c", "b", "caf\u{e9}", "cafe\u{301}", String(repeating: "long/", count: 150), "z"]
        let ssecKeys: [R2CustomerKey?]

        init(seed: UInt64) async throws {
            self.seed = seed
            generator = SeededGenerator(seed: seed)
            var options = EmbeddedR2Store.Options()
            options.diskHook = faults.hook
            fixture = try await Fixture(options)
            contents = [0, 1, 1000, 65_536, 65_537, 150_000].map { pattern($0, seed: seed) }
            // Two of the smallest size that may be followed by another, one larger, and ends.
            parts =
                [5 << 20, 5 << 20, (5 << 20) + 1].enumerated().map { index, size in
                    [UInt8](repeating: UInt8(index), count: size - 1) + [UInt8(truncatingIfNeeded: seed)]
                } + [pattern(10, seed: seed), pattern(70_000, seed: seed)]
            ssecKeys = [
                nil, nil, try R2CustomerKey([UInt8](repeating: 1, count: 32)),
                try R2CustomerKey([UInt8](repeating: 2, count: 32)),
            ]
        }

        var bucket: R2Bucket { fixture.bucket }
        var place: Comment { "seed \(seed), call \(number)" }

        func pick<Element>(_ elements: [Element]) -> Element { elements[Int(generator.next() % UInt64(elements.count))] }
        func chance(_ one: UInt64, in total: UInt64) -> Bool { generator.next() % total < one }

        /// A call that writes: what it makes of the model, and the code that it is refused with.
        struct Write {
            var name: String
            var after: R2Model
            var code: Int?
            var call: (R2Bucket) async throws -> Void
        }

        func step() async throws {
            number += 1
            switch generator.next() % 16 {
            case 0...2: try await get()
            case 3: try await head()
            case 4: try await list()
            case 5:
                if chance(1, in: 3) { try await create() } else { try await reopenOrSweep() }
            case 6: try await create()
            default:
                let write = makeWrite()
                let code = await Self.code { try await write.call(self.bucket) }
                #expect(code == write.code, "\(write.name), \(place)")
                model = write.after
                fixture.clock.advance(by: .milliseconds(Int64(generator.next() % 3)))
            }
            if number % 10 == 0 { try await check() }
        }

        func crash() async throws {
            number += 1
            if chance(1, in: 6) { try await create() }
            let write = makeWrite()
            faults.die(before: Int(generator.next() % 9))
            let code = await Self.code { try await write.call(self.bucket) }
            let isDead = faults.state.withLock { $0.isDead }
            await fixture.store.settle()
            faults.die(before: nil)
            try await fixture.reopen(hook: faults.hook)
            let lines = try await R2Model.lines(of: bucket)
            if code == write.code {
                #expect(lines == write.after.lines, "\(write.name), \(place)")
                model = write.after
                survived += 1
            } else {
                #expect(code == 10001 && isDead, "\(write.name), \(place)")
                #expect(lines == model.lines || lines == write.after.lines, "\(write.name), \(place)")
                if lines == write.after.lines { model = write.after }
                crashed += 1
            }
            _ = try await fixture.store.sweep()
            #expect(fixture.blobs.count == model.blobCount && fixture.temporaries.isEmpty, "\(write.name), \(place)")
        }

        // MARK: What is compared

        func check() async throws {
            let lines = try await R2Model.lines(of: bucket)
            #expect(lines == model.lines, place)
            await fixture.store.settle()
            #expect(fixture.blobs.count == model.blobCount && fixture.temporaries.isEmpty, place)
        }

        func checkAll() async throws {
            try await check()
            #expect(try await fixture.store.sweep().isEmpty, place)
            for (key, object) in model.objects {
                let bytes = try await bucket.get(R2Model.text(key), ssecKey: object.key)?.bytes()
                #expect(bytes == object.content, "\(R2Model.text(key)), \(place)")
            }
        }

        static func code(_ body: () async throws -> Void) async -> Int? {
            do { try await body() } catch let failure as CallFailure { return failure.code } catch { return -1 }
            return nil
        }
    }
}

extension `R2 model`.Run {
    // MARK: Calls that read

    func get() async throws {
        let key = pick(keys)
        let object = model.objects[Array(key.utf8)]
        let ssecKey = chance(1, in: 10) ? pick(ssecKeys) : object?.key
        let size = Int64(object?.content.count ?? 0)
        func some() -> Int64 { Int64(generator.next() % UInt64(size + size / 8 + 2)) }
        let range: R2Range? =
            switch generator.next() % 6 {
            case 0: .offset(some())
            case 1: .offset(some(), length: some())
            case 2: .suffix(some())
            case 3: .length(some())
            default: nil
            }
        let onlyIf =
            chance(1, in: 4) ? try R2Conditional(etagMatches: chance(1, in: 2) ? object?.etag ?? "x" : "y") : nil
        var code: Int?
        var bytes: [UInt8]??
        if let object {
            bytes = .some(object.content)
            if onlyIf?.passes(etag: object.etag, uploaded: 0) == false {
                bytes = .some(nil)
            } else if ssecKey != object.key {
                code = object.key == nil || ssecKey == nil ? 10029 : 10003
            } else if let range {
                switch range {
                case .offset(let offset, let length):
                    let end = length.map { min(size, offset + $0) } ?? size
                    if offset < end { bytes = .some(Array(object.content[Int(offset)..<Int(end)])) } else { code = 10039 }
                case .length(let length):
                    if length > 0, size > 0 { bytes = .some(Array(object.content.prefix(Int(length)))) } else { code = 10039 }
                case .suffix(let suffix):
                    if suffix > 0, size > 0 { bytes = .some(Array(object.content.suffix(Int(suffix)))) } else { code = 10039 }
                case .header: break
                }
            }
        }
        var got: [UInt8]??
        let actual = await Self.code {
            guard let found = try await self.bucket.get(key, onlyIf: onlyIf, range: range, ssecKey: ssecKey) else { return }
            got = .some(found.body == nil ? nil : try await found.bytes())
        }
        #expect(actual == code, "get \(key) \(String(describing: range)), \(place)")
        if code == nil { #expect(got == bytes, "get \(key) \(String(describing: range)), \(place)") }
    }

    func head() async throws {
        let key = pick(keys)
        let object = try await bucket.head(key)
        #expect(object?.etag == model.objects[Array(key.utf8)]?.etag, "head \(key), \(place)")
    }

    func list() async throws {
        let prefix = pick(["", "a", "a/", "caf", "long/", "x"])
        let delimiter = pick(["", "/"])
        let limit = pick([1, 2, 1000])
        var texts: [String] = []
        var cursor: String?
        repeat {
            let page = try await bucket.list(limit: limit, prefix: prefix, cursor: cursor, delimiter: delimiter)
            let found = page.objects.map(\.key) + page.delimitedPrefixes.map { $0 + "…" }
            #expect(found.count <= limit && (page.cursor == nil || found.count == limit), "list, \(place)")
            texts += found
            cursor = page.cursor
        } while cursor != nil
        // Objects and prefixes of one page aren't mixed, so only their set is compared; the order is `lines`' business.
        #expect(
            Set(texts.map { Array($0.utf8) }) == Set(model.list(prefix: prefix, delimiter: delimiter).map { Array($0.utf8) }))
    }

    func reopenOrSweep() async throws {
        if chance(1, in: 2) {
            try await fixture.reopen(hook: faults.hook)
        } else {
            #expect(try await fixture.store.sweep().isEmpty, place)
        }
    }

    /// Not among the others, since the id that a crashed call made would be unknown.
    func create() async throws {
        let (key, ssecKey) = (pick(keys), pick(ssecKeys))
        let upload = try await bucket.createMultipartUpload(key, customMetadata: ["n": "\(number)"], ssecKey: ssecKey)
        model.uploads[upload.uploadId] = R2Model.Upload(key: key, metadata: ["n": "\(number)"], ssecKey: ssecKey)
    }

    // MARK: Calls that write

    func makeWrite() -> Write {
        var after = model
        let key = pick(keys)
        let existing = model.objects[Array(key.utf8)]
        switch generator.next() % 12 {
        case 0, 1: return delete()
        case 2, 3: return copy(to: key)
        case 4...6 where !model.uploads.isEmpty: return uploadPart()
        case 7...8 where !model.uploads.isEmpty: return complete()
        case 9 where !model.uploads.isEmpty && chance(1, in: 2):
            let id = pick(model.uploads.keys.sorted())
            let uploadKey = model.uploads[id]?.key ?? ""
            after.uploads[id] = nil
            return Write(name: "abort", after: after) {
                try await $0.resumeMultipartUpload(uploadKey, uploadId: id).abort()
            }
        default:
            let content = pick(contents)
            let ssecKey = pick(ssecKeys)
            let storageClass: R2StorageClass = chance(1, in: 4) ? .infrequentAccess : .standard
            let metadata = ["n": "\(number)"]
            let condition: (etag: String, isMatch: Bool)? =
                chance(1, in: 3) ? (pick(["x", "*", existing?.etag ?? "*"]), chance(1, in: 2)) : nil
            let isWrong = chance(1, in: 12)
            let holds =
                condition.map { condition in
                    let isEqual = existing.map { condition.etag == "*" || $0.etag == condition.etag }
                    return condition.isMatch ? isEqual == true : isEqual != true
                } ?? true
            if holds, !isWrong {
                after.put(
                    key, content, metadata: metadata, contentType: "a/b", storageClass: storageClass, ssecKey: ssecKey)
            }
            return Write(name: "put \(key) \(content.count)", after: after, code: holds && isWrong ? 10037 : nil) { bucket in
                let onlyIf = try condition.map {
                    try $0.isMatch ? R2Conditional(etagMatches: $0.etag) : R2Conditional(etagDoesNotMatch: $0.etag)
                }
                let put = try await bucket.put(
                    key, stream(content, piece: 50_000), onlyIf: onlyIf,
                    httpMetadata: R2HTTPMetadata(contentType: "a/b"), customMetadata: metadata,
                    checksum: isWrong ? .crc32("00000001") : nil, storageClass: storageClass, ssecKey: ssecKey)
                #expect((put != nil) == holds, "put \(key)")
            }
        }
    }

    private func delete() -> Write {
        var after = model
        let doomed = (0..<Int(generator.next() % 3)).map { _ in pick(keys) }
        for key in doomed { after.objects[Array(key.utf8)] = nil }
        return Write(name: "delete \(doomed)", after: after) { try await $0.delete(doomed) }
    }

    private func copy(to key: String) -> Write {
        var after = model
        let sourceKey = pick(keys)
        let source = model.objects[Array(sourceKey.utf8)]
        let ssecKey = pick(ssecKeys)
        let metadata: R2CopyMetadata = pick([
            .copy, .replace(customMetadata: ["c": "\(number)"]), .merge(customMetadata: ["m": "1"]),
        ])
        if var object = source {
            switch metadata {
            case .copy: break
            case .replace(_, let custom):
                object.metadata = custom
                object.contentType = nil
            case .merge(_, let custom): object.metadata.merge(custom) { $1 }
            }
            object.key = ssecKey
            after.objects[Array(key.utf8)] = object
        }
        return Write(name: "copy \(sourceKey) to \(key)", after: after, code: source == nil ? 10007 : nil) {
            try await $0.copy(sourceKey, to: key, metadata: metadata, sourceSsecKey: source?.key, ssecKey: ssecKey)
        }
    }

    private func uploadPart() -> Write {
        var after = model
        let id = pick(model.uploads.keys.sorted())
        let upload = model.uploads[id] ?? R2Model.Upload(key: "", metadata: [:])
        let (part, content) = (Int(generator.next() % 4) + 1, pick(parts))
        after.uploads[id]?.parts[part] = content
        return Write(name: "part \(part) of \(upload.key), \(content.count)", after: after) {
            _ = try await $0.resumeMultipartUpload(upload.key, uploadId: id).uploadPart(
                part, stream(content, piece: 1 << 20), ssecKey: upload.ssecKey)
        }
    }

    private func complete() -> Write {
        var after = model
        let id = pick(model.uploads.keys.sorted())
        let upload = model.uploads[id] ?? R2Model.Upload(key: "", metadata: [:])
        var named: [R2UploadedPart] = []
        for (number, bytes) in upload.parts.sorted(by: { $0.key < $1.key }) where !chance(1, in: 4) {
            named.append(R2UploadedPart(partNumber: number, etag: R2Hex.encode(R2Model.md5(bytes))))
        }
        if chance(1, in: 6) { named.append(R2UploadedPart(partNumber: 4, etag: "x")) }
        let code = after.complete(id, named)
        return Write(name: "complete \(upload.key)", after: after, code: code) {
            try await $0.resumeMultipartUpload(upload.key, uploadId: id).complete(named)
        }
    }
}
