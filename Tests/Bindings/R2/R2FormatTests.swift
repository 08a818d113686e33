import Interfaces
import LMDB
import Testing
import Wire

@testable import StoresR2

@Suite struct `R2 format` {
    private static func mark(_ fixture: Fixture, _ format: String) throws {
        let environment = try LMDBEnvironment(directory: fixture.directory + "/r2/index", options: LMDBEnvironment.Options())
        let database = try environment.openDatabase("edge.format")
        try environment.write { try $0.put(Array("format".utf8), Array(format.utf8), in: database) }
        environment.close()
    }

    private static func format(_ fixture: Fixture) throws -> String {
        let environment = try LMDBEnvironment(directory: fixture.directory + "/r2/index", options: LMDBEnvironment.Options())
        defer { environment.close() }
        let database = try environment.openDatabase("edge.format")
        let bytes = try environment.read { transaction throws(LMDBError) in
            try transaction.value(of: Array("format".utf8), in: database)
        }
        return String(decoding: bytes ?? [], as: UTF8.self)
    }

    @Test func `what the version before wrote is read, and older nodes refuse it from then on`() async throws {
        let fixture = try await Fixture()
        let small = try await fixture.bucket.put("small", "value")
        let large = try await fixture.bucket.put("large", pattern(100_000))
        await fixture.store.close()
        try Self.mark(fixture, "r2 1")
        try await fixture.reopen()
        #expect(try await fixture.bucket.head("small") == small)
        #expect(try await fixture.bucket.get("large")?.object == large)
        await fixture.store.close()
        #expect(try Self.format(fixture) == ObjectIndex.format)
    }

    @Test(arguments: ["r2 9", "kv 1", ""])
    func `what another program wrote is refused`(_ format: String) async throws {
        let fixture = try await Fixture()
        await fixture.store.close()
        try Self.mark(fixture, format)
        await #expect(throws: LMDBFormatError.self) { try await fixture.reopen() }
        #expect(try Self.format(fixture) == format)
    }

    @Test func `records of uploads and parts end where they ended before`() throws {
        let blob = Identifier(high: 1, low: 2)
        var upload = WireEncoder()
        upload.put(UInt32(7))
        upload.put("key")
        upload.put(Int64(5))
        R2Attributes(customMetadata: ["a": "b"]).encode(into: &upload)
        let oldUpload = try StoredUpload(record: upload.bytes)
        #expect(oldUpload.bucket == 7 && oldUpload.key == "key" && oldUpload.attributes.customMetadata == ["a": "b"])
        #expect(oldUpload.ssecKeyMD5 == nil && oldUpload.checksumAlgorithm == nil)
        var part = WireEncoder()
        part.put(blob.high)
        part.put(blob.low)
        part.put(Int64(9))
        part.put([1, 2, 3] as [UInt8])
        #expect(try StoredPart(record: part.bytes) == StoredPart(blob: blob, size: 9, md5: [1, 2, 3]))
        // And back: what is written now is read with all that it has.
        let sealed = StoredUpload(
            bucket: 7, key: "key", created: 5, attributes: R2Attributes(), ssecKeyMD5: [4, 5], checksumAlgorithm: .crc32c)
        let again = try StoredUpload(record: sealed.encoded())
        #expect(again.ssecKeyMD5 == [4, 5] && again.checksumAlgorithm == .crc32c)
        let object = StoredObject(
            version: blob, size: 1, uploaded: 2, location: .pieces, md5: [6], partCount: 3, supplied: (.crc32, [1, 2, 3, 4]),
            checksumKind: .composite, attributes: R2Attributes(), ssecKeyMD5: [4, 5])
        #expect(try StoredObject(record: object.encoded()) == object)
        for count in 0..<object.encoded().count {
            #expect(throws: LMDBError.self) { try StoredObject(record: Array(object.encoded().prefix(count))) }
        }
    }
}
