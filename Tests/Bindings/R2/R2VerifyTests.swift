import Foundation
import Interfaces
import LMDB
import StoresR2
import System
import Testing

@Suite struct `R2 verification` {
    /// A small object, a large one, one of two parts and an upload, none of them damaged.
    private func make() async throws -> (fixture: Fixture, blobs: [String: String]) {
        let fixture = try await Fixture()
        let bucket = fixture.bucket
        var blobs: [String: String] = [:]
        func name(_ what: String) { blobs[what] = fixture.blobs.first { path in !blobs.values.contains(path) } }
        try await bucket.put("small", "value")
        try await bucket.put("large", pattern(100_000))
        name("large")
        let parts = try await bucket.createMultipartUpload("parts")
        let first = try await parts.uploadPart(1, pattern(5 << 20))
        name("first")
        let second = try await parts.uploadPart(2, pattern(1000))
        name("second")
        try await parts.complete([first, second])
        _ = try await bucket.createMultipartUpload("upload").uploadPart(3, pattern(70_000))
        name("part")
        #expect(try await fixture.store.verify(.checksums) == expected(files: 4))
        return (fixture, blobs)
    }

    private func expected(files: Int) -> R2VerifyReport {
        var report = R2VerifyReport()
        (report.objectCount, report.partCount, report.fileCount) = (3, 1, files)
        return report
    }

    private func blob(_ path: String) -> String { String(path.suffix(32)) }

    @Test(arguments: ["large", "first", "second", "part"])
    func `a file that is missing, cut short or too long is found, and left alone`(_ what: String) async throws {
        let (fixture, blobs) = try await make()
        let path = fixture.directory + "/r2/blobs/" + (try #require(blobs[what]))
        let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        for count in [bytes.count - 1, 0, bytes.count + 1] {
            try (count > bytes.count ? bytes + [0] : bytes.prefix(count)).write(to: URL(fileURLWithPath: path))
            for repair in [R2Repair.none, .leftovers] {
                let report = try await fixture.store.verify(repairing: repair)
                #expect(report.damage.count == 1 && report.repairedCount == 0)
                guard case .wrongSize(let place, blob(path), Int64(bytes.count), Int64(count)) = report.damage.first else {
                    Issue.record("\(report.damage)")
                    continue
                }
                #expect(isRight(place, for: what))
            }
        }
        try FileManager.default.removeItem(atPath: path)
        let report = try await fixture.store.verify(repairing: .leftovers)
        guard report.damage.count == 1, case .missingFile(let place, blob(path)) = report.damage.first else {
            Issue.record("\(report.damage)")
            return
        }
        #expect(isRight(place, for: what))
        try bytes.write(to: URL(fileURLWithPath: path))
        #expect(try await fixture.store.verify(.checksums).isSound)
    }

    private func isRight(_ place: R2Damage.Place, for what: String) -> Bool {
        switch place {
        case .part(_, let number): what == "part" && number == 3
        case .object(let bucket, let key): bucket == "photos" && key == (what == "large" ? "large" : "parts")
        }
    }

    @Test(arguments: ["large", "first", "second", "part"])
    func `a changed byte is found by its checksum`(_ what: String) async throws {
        let (fixture, blobs) = try await make()
        let url = URL(fileURLWithPath: fixture.directory + "/r2/blobs/" + (try #require(blobs[what])))
        var bytes = try Data(contentsOf: url)
        bytes[bytes.count - 1] ^= 1
        try bytes.write(to: url)
        #expect(try await fixture.store.verify(.sizes).isSound)
        let report = try await fixture.store.verify(.checksums, repairing: .leftovers)
        guard report.damage.count == 1, case .wrongChecksum(let place) = report.damage.first else {
            Issue.record("\(report.damage)")
            return
        }
        #expect(isRight(place, for: what))
    }

    @Test func `a changed byte of an object in the index is found`() async throws {
        let (fixture, _) = try await make()
        try await change(fixture, "contents") { table, transaction in
            let version = try firstKey(table, transaction)
            try transaction.put(version, Array("valuE".utf8), in: table)
        }
        #expect(try await fixture.store.verify(.sizes).isSound)
        #expect(
            try await fixture.store.verify(.checksums).damage == [.wrongChecksum(.object(bucket: "photos", key: "small"))])
        try await change(fixture, "contents") { table, transaction in try transaction.removeAll(in: table) }
        #expect(
            try await fixture.store.verify(.sizes).damage == [.missingContent(.object(bucket: "photos", key: "small"))])
    }

    @Test func `files that belong to nothing are found and removed`() async throws {
        let (fixture, _) = try await make()
        let stray = "00000000000000000000000000000001"
        for path in ["blobs/00/", "tmp/"] {
            try Data([1]).write(to: URL(fileURLWithPath: fixture.directory + "/r2/" + path + stray))
        }
        let damage: [R2Damage] = [.temporaryFile(blob: stray), .orphanedFile(blob: stray)]
        #expect(try await fixture.store.verify().damage == damage)
        let report = try await fixture.store.verify(repairing: .leftovers)
        #expect(report.damage == damage && report.repairedCount == 2)
        #expect(try await fixture.store.verify(.checksums) == expected(files: 4))
    }

    @Test func `blobs whose marks are gone are kept, and marked again`() async throws {
        let (fixture, blobs) = try await make()
        try await change(fixture, "blobs") { table, transaction in try transaction.removeAll(in: table) }
        let report = try await fixture.store.verify()
        #expect(report.damageCount == 4)
        let marked = report.damage.compactMap { damage in
            if case .unmarkedBlob(_, let blob) = damage { blob } else { nil }
        }
        #expect(Set(marked) == Set(blobs.values.map(blob)))
        #expect(try await fixture.store.verify(repairing: .leftovers).repairedCount == 4)
        #expect(try await fixture.store.sweep().isEmpty)
        #expect(try await fixture.store.verify(.checksums) == expected(files: 4))
    }

    @Test func `entries without owners go, with their files`() async throws {
        let (fixture, blobs) = try await make()
        // The objects and uploads are lost, what they consisted of is not.
        for table in ["objects", "uploads"] {
            try await change(fixture, table) { table, transaction in try transaction.removeAll(in: table) }
        }
        let report = try await fixture.store.verify(repairing: .leftovers)
        let kinds = report.damage.map { damage in
            switch damage {
            case .strayMark: "mark"
            case .strayContent: "content"
            case .strayPart: "part"
            case .wrongUsage(let bucket): "usage of \(bucket ?? "all")"
            case .orphanedFile: "file"
            default: "\(damage)"
            }
        }
        let counts = Dictionary(kinds.map { ($0, 1) }, uniquingKeysWith: +)
        #expect(counts == ["mark": 4, "content": 2, "part": 1, "usage of photos": 1, "usage of all": 1, "file": 4])
        #expect(blobs.count == 4)
        #expect(fixture.blobs.isEmpty)
        let after = try await fixture.store.verify(.checksums)
        #expect(after == R2VerifyReport())
        #expect(try fixture.store.usage(of: nil) == R2Usage())
    }

    @Test func `a blob that two entries name is found`() async throws {
        let (fixture, blobs) = try await make()
        try await change(fixture, "objects") { table, transaction in
            let key = try firstKey(table, transaction)
            let record = try #require(try transaction.value(of: key, in: table))
            try transaction.put(key + Array("-twin".utf8), record, in: table)
        }
        let shared = R2Damage.sharedBlob(
            .object(bucket: "photos", key: "large-twin"), blob: blob(try #require(blobs["large"])))
        let report = try await fixture.store.verify(repairing: .leftovers)
        #expect(Set(report.damage) == [shared, .wrongUsage(bucket: "photos"), .wrongUsage(bucket: nil)])
        #expect(report.repairedCount == 2)
        let renewed = try #require(try await fixture.bucket.get("large-twin")?.bytes())
        try await fixture.bucket.put("large", renewed)
        try await fixture.bucket.put("large-twin", renewed)
        await fixture.store.settle()
        #expect(try await fixture.store.verify(.checksums).isSound)
    }

    @Test func `a wrong count is put right`() async throws {
        let (fixture, _) = try await make()
        let usage = try fixture.store.usage(of: "photos")
        try await change(fixture, "usage") { table, transaction in
            try transaction.put([0, 0, 0, 1], [UInt8](repeating: 1, count: 40), in: table)
        }
        #expect(try await fixture.store.verify().damage == [.wrongUsage(bucket: "photos")])
        #expect(try await fixture.store.verify(repairing: .leftovers).repairedCount == 1)
        #expect(try fixture.store.usage(of: "photos") == usage)
        #expect(try await fixture.store.verify().isSound)
    }

    @Test func `a record that can't be read is found, and nothing of it removed`() async throws {
        let (fixture, _) = try await make()
        let files = fixture.blobs
        try await change(fixture, "pieces") { table, transaction in
            try transaction.put(try firstKey(table, transaction), [9], in: table)
        }
        let damage: [R2Damage] = [.missingContent(.object(bucket: "photos", key: "parts"))]
        #expect(try await fixture.store.verify(.checksums).damage == damage)
        #expect(try await fixture.store.verify(repairing: .leftovers).repairedCount == 0)
        try await change(fixture, "parts") { table, transaction in
            try transaction.put(try firstKey(table, transaction), [9], in: table)
        }
        #expect(try await fixture.store.verify(repairing: .leftovers).damageCount == 2)
        try await change(fixture, "objects") { table, transaction in
            try transaction.put(try firstKey(table, transaction), [0, 9], in: table)
        }
        #expect(try await fixture.store.verify(repairing: .leftovers).damageCount == 3)
        #expect(fixture.blobs == files)
    }

    private func change(
        _ fixture: Fixture, _ table: String,
        _ edit: (LMDBDatabase, borrowing LMDBWriteTransaction) throws -> Void
    ) async throws {
        await fixture.store.close()
        try changeIndex(of: fixture) { environment in
            let database = try environment.openDatabase(table)
            try environment.write { transaction in try edit(database, transaction) }
        }
        try await fixture.reopen()
    }

    private func firstKey(
        _ table: LMDBDatabase, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> [UInt8] {
        try transaction.reading.withCursor(table) { cursor throws(LMDBError) in
            _ = try cursor.moveToFirst()
            return cursor.key
        }
    }
}
