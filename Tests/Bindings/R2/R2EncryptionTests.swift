import Foundation
import HTTP
import Interfaces
import Stores
import Testing

@testable import StoresR2

@Suite struct `R2 encryption` {
    static func key(_ seed: UInt8) throws -> R2CustomerKey { try R2CustomerKey((0..<32).map { $0 &+ seed }) }
    static let missing =
        "The object was stored using a form of Server Side Encryption. The correct parameters must be "
        + "provided to retrieve the object. (10029)"

    @Test func `a key has 32 bytes or 64 lower-case digits, and shows nothing of them`() throws {
        func message(_ body: () throws(CallFailure) -> Void) -> String {
            do throws(CallFailure) { try body() } catch { return "\(error)" }
            return "no failure"
        }
        for count in [0, 31, 33, 64] {
            #expect(
                message { () throws(CallFailure) in _ = try R2CustomerKey([UInt8](repeating: 0, count: count)) }
                    == "TypeError: SSE-C Key must be 32 bytes in length")
        }
        let digits = String(repeating: "0a", count: 32)
        for text in ["", "0a", digits + "0a", digits.uppercased(), "zz" + digits.dropFirst(2)] {
            #expect(
                message { () throws(CallFailure) in _ = try R2CustomerKey(hexadecimal: text) }
                    == "TypeError: SSE-C Key has invalid format")
        }
        let key = try R2CustomerKey(hexadecimal: digits)
        #expect(try key == R2CustomerKey([UInt8](repeating: 10, count: 32)))
        var dumped = ""
        dump(key, to: &dumped)
        for text in ["\(key)", String(reflecting: key), dumped, "\([key])"] {
            #expect(!text.contains("10") && !text.contains("0a"), "\(text)")
        }
    }

    @Test(arguments: [0, 1, 10, 65_535, 65_536, 65_537, 131_072, 131_073, 300_000])
    func `what was encrypted comes back with its key, whole and in ranges`(_ size: Int) async throws {
        let fixture = try await Fixture()
        let (bucket, key) = (fixture.bucket, try Self.key(1))
        let content = pattern(size)
        let plain = try #require(try await bucket.put("plain", content))
        let put = try #require(
            try await bucket.put("k", stream(content, piece: 10_000), customMetadata: ["a": "b"], ssecKey: key))
        #expect(put.ssecKeyMd5 == "5985331bcec971b262122aa1ca5ad411")  // The MD5 of the bytes 1...32.
        #expect(put.etag == plain.etag && put.size == Int64(size) && plain.ssecKeyMd5 == nil)
        #expect(try await bucket.head("k") == put)
        #expect(try await bucket.list(include: .customMetadata).objects.first?.ssecKeyMd5 == put.ssecKeyMd5)
        try await fixture.reopen()
        let again = fixture.bucket
        let got = try #require(try await again.get("k", ssecKey: key))
        #expect(got.object == put)
        #expect(try await got.bytes() == content)
        let edges = [0, 1, 65_535, 65_536, 65_537, 131_071, 131_072, size - 1].filter { (0..<size).contains($0) }
        for first in edges {
            for last in edges where last >= first {
                let range = R2Range.offset(Int64(first), length: Int64(last - first + 1))
                let part = try #require(try await again.get("k", range: range, ssecKey: key))
                #expect(try await part.bytes() == Array(content[first...last]), "\(first)...\(last)")
            }
        }
    }

    @Test(arguments: [10, 300_000])
    func `without its key, or with another, nobody reads an object`(_ size: Int) async throws {
        let fixture = try await Fixture()
        let (bucket, key, other) = (fixture.bucket, try Self.key(1), try Self.key(2))
        let put = try #require(try await bucket.put("k", pattern(size), ssecKey: key))
        try await bucket.put("plain", pattern(size))
        #expect(await failure { _ = try await bucket.get("k") } == "get: \(Self.missing)")
        #expect(await failure { _ = try await bucket.get("k", ssecKey: other) } == "get: Access Denied (10003)")
        #expect(
            await failure { _ = try await bucket.get("plain", ssecKey: key) }
                == "get: The encryption parameters are not applicable to this object. (10029)")
        #expect(await failure { _ = try await bucket.get("k", range: .suffix(1)) } == "get: \(Self.missing)")
        // Metadata is none of the key's business, and what replaces the object isn't either.
        #expect(try await bucket.head("k") == put)
        let metadata = try await bucket.get("k", onlyIf: R2Conditional(etagDoesNotMatch: put.etag))
        #expect(metadata?.object == put && metadata?.body == nil)
        try await bucket.put("k", "clear")
        #expect(try await bucket.get("k")?.text() == "clear")
    }

    @Test func `neither the bytes nor the key are on the disk`() async throws {
        let fixture = try await Fixture()
        let key = try Self.key(1)
        let text = Array("a sentence that would be found".utf8)
        try await fixture.bucket.put("small", text, ssecKey: key)
        try await fixture.bucket.put("large", Array(repeatElement(text, count: 10_000).joined()), ssecKey: key)
        try await fixture.bucket.put("clear", Array("a sentence that is found".utf8))
        await fixture.store.close()
        var all: [UInt8] = []
        for file in FileManager.default.enumerator(atPath: fixture.directory)?.compactMap({ $0 as? String }) ?? [] {
            all += FileManager.default.contents(atPath: fixture.directory + "/" + file).map { [UInt8]($0) } ?? []
        }
        func holds(_ bytes: [UInt8]) -> Bool { Data(all).range(of: Data(bytes)) != nil }
        #expect(holds(Array("a sentence that is found".utf8)))
        #expect(!holds(Array("a sentence that would".utf8)))
        #expect(!holds(key.bytes))
    }

    @Test func `equal objects under equal keys are stored differently`() async throws {
        let fixture = try await Fixture()
        let key = try Self.key(1)
        for name in ["one", "two"] { try await fixture.bucket.put(name, pattern(100_000), ssecKey: key) }
        let files = fixture.blobs.map { fixture.directory + "/r2/blobs/" + $0 }
        let contents = files.compactMap { FileManager.default.contents(atPath: $0) }
        #expect(contents.count == 2 && contents.first != contents.last)
        #expect(contents.allSatisfy { Int64($0.count) == BlobCipher.storedByteCount(of: 100_000) })
    }

    @Test(arguments: ["bit", "swap", "cut", "block", "salt"])
    func `a file that was changed gives no byte of the changed block`(_ damage: String) async throws {
        let fixture = try await Fixture()
        let (bucket, key) = (fixture.bucket, try Self.key(1))
        let content = pattern(4 * BlobCipher.blockByteCount)
        try await bucket.put("k", content, ssecKey: key)
        let path = fixture.directory + "/r2/blobs/" + (try #require(fixture.blobs.first))
        var bytes = [UInt8](try #require(FileManager.default.contents(atPath: path)))
        let sealed = BlobCipher.sealedBlockByteCount
        let second = BlobCipher.saltByteCount + sealed
        switch damage {
        case "bit": bytes[second + 77] ^= 1
        case "swap":
            let (left, right) = (
                Array(bytes[second..<(second + sealed)]), Array(bytes[(second + sealed)..<(second + 2 * sealed)])
            )
            bytes.replaceSubrange(second..<(second + 2 * sealed), with: right + left)
        case "cut": bytes.removeLast(sealed)
        case "block": bytes.replaceSubrange(second..<(second + sealed), with: bytes[(second - sealed)..<second])
        default: bytes[0] ^= 1
        }
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        let got = try #require(try await bucket.get("k", ssecKey: key))
        var read: [UInt8] = []
        do {
            while let piece = try await got.body?.next() { read += piece }
            Issue.record("read to the end")
        } catch {}
        let intact = damage == "salt" ? 0 : damage == "cut" ? 3 : 1
        #expect(read == Array(content.prefix(intact * BlobCipher.blockByteCount)))
    }

    @Test func `a changed record in the index gives nothing`() async throws {
        let key = try Self.key(1)
        let content = pattern(100)
        var stored = try BlobCipher.seal(content, key)
        #expect(try BlobCipher.open(stored, key, size: 100, range: 3..<9) == Array(content[3..<9]))
        for position in [0, 40, stored.count - 1] {
            stored[position] ^= 1
            #expect(throws: (any Error).self) { try BlobCipher.open(stored, key, size: 100, range: 0..<100) }
            stored[position] ^= 1
        }
        #expect(throws: (any Error).self) { try BlobCipher.open(stored, key, size: 99, range: 0..<99) }
        #expect(throws: (any Error).self) { try BlobCipher.open(Array(stored.dropLast()), key, size: 100, range: 0..<9) }
    }

    @Test func `each part of an upload comes with the upload's key`() async throws {
        let fixture = try await Fixture()
        let (bucket, key) = (fixture.bucket, try Self.key(1))
        let other = try Self.key(2)
        let content = pattern((5 << 20) + 100_000)
        let upload = try await bucket.createMultipartUpload("k", ssecKey: key)
        let prefix = "uploadPart: "
        #expect(
            await failure { _ = try await upload.uploadPart(1, "x") } == prefix
                + "The multipart upload initiate requested encryption. Subsequent part requests must include the "
                + "appropriate encryption parameters. (10029)")
        let mismatch = prefix + "The provided encryption parameters did not match the ones used originally. (10029)"
        #expect(await failure { _ = try await upload.uploadPart(1, "x", ssecKey: other) } == mismatch)
        let plain = try await bucket.createMultipartUpload("k")
        #expect(await failure { _ = try await plain.uploadPart(1, "x", ssecKey: key) } == mismatch)
        #expect(fixture.temporaries.isEmpty && fixture.blobs.isEmpty)
        let parts = [
            try await upload.uploadPart(1, Array(content.prefix(5 << 20)), ssecKey: key),
            try await upload.uploadPart(2, Array(content.dropFirst(5 << 20)), ssecKey: key),
        ]
        let object = try await upload.complete(parts)
        #expect(object.ssecKeyMd5?.utf8.count == 32 && object.etag.hasSuffix("-2"))
        #expect(await failure { _ = try await bucket.get("k") } == "get: \(Self.missing)")
        #expect(try await bucket.get("k", ssecKey: key)?.bytes() == content)
        let seam = try await bucket.get("k", range: .offset((5 << 20) - 3, length: 70_000), ssecKey: key)
        #expect(try await seam?.bytes() == Array(content[((5 << 20) - 3)..<((5 << 20) + 69_997)]))
    }

    @Test(arguments: [10, 300_000])
    func `a copy is encrypted as it is asked for`(_ size: Int) async throws {
        let fixture = try await Fixture()
        let (bucket, one, two) = (fixture.bucket, try Self.key(1), try Self.key(2))
        let content = pattern(size)
        let source = try #require(try await bucket.put("clear", content))
        try await bucket.copy("clear", to: "sealed", ssecKey: one)
        try await bucket.copy("sealed", to: "same", sourceSsecKey: one, ssecKey: one)
        try await bucket.copy("sealed", to: "other", sourceSsecKey: one, ssecKey: two)
        try await bucket.copy("other", to: "open", sourceSsecKey: two)
        #expect(await failure { try await bucket.copy("sealed", to: "x") } == "copy: \(Self.missing)")
        #expect(
            await failure { try await bucket.copy("sealed", to: "x", sourceSsecKey: two) }
                == "copy: Access Denied (10003)")
        #expect(await failure { try await bucket.copy("clear", to: "x", sourceSsecKey: one) }.hasSuffix("(10029)"))
        try await bucket.delete(["clear", "sealed"])
        await fixture.store.settle()
        for (name, key) in [("same", one), ("other", two), ("open", nil)] {
            let got = try #require(try await bucket.get(name, ssecKey: key))
            #expect(got.etag == source.etag && (got.ssecKeyMd5 == nil) == (key == nil))
            #expect(try await got.bytes() == content)
        }
        #expect(try await fixture.store.sweep().isEmpty)
        #expect(fixture.temporaries.isEmpty && fixture.blobs.count == (size > 65_536 ? 3 : 0))
    }
}
