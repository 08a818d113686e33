import Foundation
import HTTP
import Interfaces
import Stores
import Testing

@testable import StoresR2

@Suite struct `R2 uploads in parts` {
    @Test func `complete only while a condition on the old object holds`() async throws {
        let fixture = try await Fixture()
        let bucket = fixture.bucket
        let old = try #require(try await bucket.put("k", "old"))
        let upload = try await bucket.createMultipartUpload("k")
        let part = try await upload.uploadPart(1, "new")
        let refusal =
            "completeMultipartUpload: At least one of the pre-conditions you specified did not hold. (10031)"
        for condition in [
            try R2Conditional(etagMatches: "x"), try R2Conditional(etagDoesNotMatch: old.etag),
            try R2Conditional(Headers([("if-none-match", "*")])),
        ] {
            #expect(await failure { try await upload.complete([part], onlyIf: condition) } == refusal)
        }
        #expect(try await bucket.get("k")?.text() == "old")
        // The upload is still there.
        try await upload.complete([part], onlyIf: R2Conditional(etagMatches: old.etag))
        #expect(try await bucket.get("k")?.text() == "new")
    }

    @Test func `with If-None-Match: * only one of many creates`() async throws {
        let fixture = try await Fixture()
        let bucket = fixture.bucket
        let onlyIf = try R2Conditional(etagDoesNotMatch: "*")
        let winners = try await withThrowingTaskGroup(of: Bool.self) { group in
            for number in 0..<16 {
                group.addTask {
                    let upload = try await bucket.createMultipartUpload("k")
                    let part = try await upload.uploadPart(1, "\(number)")
                    do {
                        try await upload.complete([part], onlyIf: onlyIf)
                        return true
                    } catch let failure as CallFailure where failure.code == 10031 {
                        try await upload.abort()
                        return false
                    }
                }
            }
            return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(winners == 1)
        await fixture.store.settle()
        #expect(fixture.blobs.count == 1)
    }

    @Test func `may have 5 TiB − 5 GiB in all, and 10,000 parts`() throws {
        func stored(_ sizes: [Int64]) -> ([R2UploadedPart], [Int: StoredPart]) {
            var parts: [Int: StoredPart] = [:]
            for (index, size) in sizes.enumerated() {
                let blob = Identifier(high: 1, low: UInt64(index))
                parts[index + 1] = StoredPart(blob: blob, size: size, md5: [UInt8](repeating: 0, count: 16))
            }
            let etag = String(repeating: "0", count: 32)
            return (parts.keys.sorted().map { R2UploadedPart(partNumber: $0, etag: etag) }, parts)
        }
        func choose(_ sizes: [Int64]) throws -> Int {
            let (named, parts) = stored(sizes)
            return try EmbeddedR2Store.choose(named, from: parts).count
        }
        let most = R2Limits.objectBytesMax
        #expect(most == 5_492_189_429_760)
        let (size, rest) = (most / 1024, most % 1024)
        #expect(rest == 0)
        #expect(try choose([Int64](repeating: size, count: 1024)) == 1024)
        #expect(throws: R2Failure.entityTooLarge) { try choose([Int64](repeating: size, count: 1024) + [1]) }
        #expect(try choose([Int64](repeating: 5 << 20, count: 10_000)) == 10_000)
        #expect(throws: R2Failure.invalidPart) { try choose([Int64](repeating: 5 << 20, count: 10_001)) }
        #expect(try choose([5 << 20, 5 << 20]) == 2)
        #expect(try choose([1]) == 1)
        #expect(throws: R2Failure.entityTooSmall) { try choose([(5 << 20) - 1, 1]) }
        #expect(throws: R2Failure.badUpload) { try choose([5 << 20, (5 << 20) + 1]) }
    }

    @Test func `the smallest size counts in the order of naming, equality in that of the numbers`() throws {
        let etag = String(repeating: "0", count: 32)
        func part(_ size: Int64) -> StoredPart {
            StoredPart(blob: Identifier(high: 1, low: UInt64(size)), size: size, md5: [UInt8](repeating: 0, count: 16))
        }
        let stored = [1: part(5 << 20), 2: part(5 << 20), 9: part(3)]
        func named(_ numbers: [Int]) -> [R2UploadedPart] { numbers.map { R2UploadedPart(partNumber: $0, etag: etag) } }
        #expect(try EmbeddedR2Store.choose(named([2, 1, 9]), from: stored).map(\.size) == [5 << 20, 5 << 20, 3])
        #expect(throws: R2Failure.entityTooSmall) { try EmbeddedR2Store.choose(named([9, 1, 2]), from: stored) }
        #expect(try EmbeddedR2Store.choose(named([1, 9]), from: stored).count == 2)
        #expect(throws: R2Failure.invalidPart) { try EmbeddedR2Store.choose(named([1, 3]), from: stored) }
    }

    @Test func `are listed in order of key and beginning, folded and in pages`() async throws {
        let fixture = try await Fixture()
        try await fixture.store.createBucket("other")
        let bucket = fixture.bucket
        _ = try await fixture.bind("other").createMultipartUpload("elsewhere")
        var ids: [String: [String]] = [:]
        let keys = ["b", "a/2", "a", "a/1", "b", "\u{e9}", "c/x", "b", "a\u{0}z"]
        for key in keys {
            fixture.clock.advance(by: .milliseconds(5))
            ids[key, default: []].append(try await bucket.createMultipartUpload(key, storageClass: .infrequentAccess).uploadId)
        }
        let sorted = ["a", "a\u{0}z", "a/1", "a/2", "b", "b", "b", "c/x", "\u{e9}"]
        let all = try await bucket.listMultipartUploads()
        #expect(all.uploads.map(\.key) == sorted && !all.truncated && all.delimitedPrefixes.isEmpty)
        #expect(all.uploads.filter { $0.key == "b" }.map(\.uploadId) == ids["b"])
        #expect(all.uploads.allSatisfy { $0.storageClass == .infrequentAccess && $0.initiated > 0 })
        for limit in 1...10 {
            for delimiter in ["", "/"] {
                var (texts, pages) = ([String](), 0)
                var after: R2Uploads.Marker?
                repeat {
                    let page = try await bucket.listMultipartUploads(limit: limit, delimiter: delimiter, after: after)
                    #expect(page.uploads.count + page.delimitedPrefixes.count <= limit)
                    texts += (page.uploads.map { "\($0.key) \($0.uploadId)" } + page.delimitedPrefixes)
                    after = page.next
                    pages += 1
                } while after != nil
                let folded = delimiter.isEmpty ? [] : ["a/", "c/"]
                let expected = sorted.filter { delimiter.isEmpty || !$0.contains("/") }
                #expect(texts.count == expected.count + folded.count, "limit \(limit)")
                #expect(Set(texts).count == texts.count && Set(folded).isSubset(of: texts))
                #expect(pages == (texts.count + limit - 1) / limit)
            }
        }
        let some = try await bucket.listMultipartUploads(prefix: "a/")
        #expect(some.uploads.map(\.key) == ["a/1", "a/2"])
        let behind = try await bucket.listMultipartUploads(after: R2Uploads.Marker(key: "b"))
        #expect(behind.uploads.map(\.key) == ["c/x", "\u{e9}"])
        try await bucket.resumeMultipartUpload("c/x", uploadId: try #require(ids["c/x"]?.first)).abort()
        #expect(try await bucket.listMultipartUploads(prefix: "c").uploads.isEmpty)
        for limit in [0, 1001] {
            #expect(
                await failure { _ = try await bucket.listMultipartUploads(limit: limit) }
                    == "listMultipartUploads: MaxKeys params must be positive integer <= 1000. (10022)")
        }
        #expect(await failure { _ = try await fixture.bind("none").listMultipartUploads() }.hasSuffix("(10006)"))
    }

    @Test func `list their parts, so that they can be resumed without a note`() async throws {
        let fixture = try await Fixture()
        let upload = try await fixture.bucket.createMultipartUpload("k")
        #expect(try await upload.listParts().parts.isEmpty)
        for number in [3, 1, 10_000, 2] { _ = try await upload.uploadPart(number, "old") }
        fixture.clock.advance(by: .seconds(1))
        _ = try await upload.uploadPart(2, "newer")
        try await fixture.reopen()
        // All that is known is the bucket.
        let found = try #require(try await fixture.bucket.listMultipartUploads().uploads.first)
        let resumed = fixture.bucket.resumeMultipartUpload(found.key, uploadId: found.uploadId)
        let all = try await resumed.listParts()
        #expect(all.parts.map(\.partNumber) == [1, 2, 3, 10_000] && !all.truncated)
        #expect(all.parts.map(\.size) == [3, 5, 3, 3])
        #expect(all.parts[1].uploaded - all.parts[0].uploaded == 1000)
        let first = try await resumed.listParts(limit: 2)
        #expect(first.parts == Array(all.parts.prefix(2)) && first.truncated)
        let rest = try await resumed.listParts(after: 2, limit: 2)
        #expect(rest.parts == Array(all.parts.suffix(2)) && !rest.truncated)
        #expect(try await resumed.listParts(after: 10_000).parts.isEmpty)
        #expect(try await resumed.listParts(after: -5).parts.count == 4)
        #expect(try await resumed.listParts(after: .max).parts.isEmpty)
        try await resumed.complete([all.parts[1].uploadedPart])
        #expect(try await fixture.bucket.get("k")?.text() == "newer")
        let gone = "listParts: The specified multipart upload does not exist. (10024)"
        #expect(await failure { _ = try await resumed.listParts() } == gone)
        #expect(await failure { _ = try await resumed.listParts(limit: 0) }.hasSuffix("(10022)"))
    }

    @Test func `an object of several pieces is handed out as files, of which one is open at a time`() async throws {
        var options = EmbeddedR2Store.Options()
        options.openFilesMax = 1
        let fixture = try await Fixture(options)
        let bucket = fixture.bucket
        let contents = [[UInt8](repeating: 1, count: 5 << 20), [UInt8](repeating: 2, count: 5 << 20), pattern(1000)]
        let upload = try await bucket.createMultipartUpload("k")
        var parts: [R2UploadedPart] = []
        for (index, content) in contents.enumerated() { parts.append(try await upload.uploadPart(index + 1, stream(content))) }
        try await upload.complete(parts)
        let range = R2Range.offset((5 << 20) - 10, length: (5 << 20) + 20)
        let message = R2GetMessage(key: "k", range: range)
        let found = try await fixture.store.get(message, in: "photos")
        guard case .withBody(_, .stream(let body), let byteCount) = found, let files = body as? any FileSequence else {
            Issue.record("no files")
            return
        }
        #expect(byteCount == (5 << 20) + 20)
        // No place for another open file: the next reader gets pieces.
        if case .withBody(_, .stream(let other), _) = try await fixture.store.get(message, in: "photos") {
            #expect(!(other is any FileSequence))
            other.cancel()
        }
        try await bucket.delete("k")  // What is read stays.
        var slices: [(Int64, Int)] = []
        while let slice = try await files.nextFile() { slices.append((slice.offset, slice.byteCount)) }
        #expect(slices.map(\.0) == [(5 << 20) - 10, 0, 0] && slices.map(\.1) == [10, 5 << 20, 10])
        await fixture.store.settle()
        #expect(fixture.blobs.isEmpty)
    }
}
