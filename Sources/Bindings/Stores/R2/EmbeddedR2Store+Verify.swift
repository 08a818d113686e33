package import Interfaces
internal import LMDB
internal import OpenSSL
internal import Stores
internal import System

/// Looks for damage: entries without files, files without entries, cut and changed files, tables that disagree.
///
/// The index is checked in one snapshot; files one after the other, in steps on the I/O threads, beside any other call:
/// what seems wrong is looked up again, since it may have been replaced meanwhile.
extension EmbeddedR2Store {
    package func verify(
        _ depth: R2VerifyDepth = .sizes, repairing repair: R2Repair = .none
    ) async throws(R2Failure) -> R2VerifyReport {
        var report = R2VerifyReport()
        let (repairs, count) = try await checkIndex(&report)
        // Before files without entries are looked for: what is unmarked only would be taken for one of them.
        if repair == .leftovers {
            for portion in repairs.split(into: 2000) {
                try await commit("repair") { [index] transaction in try index.repair(portion, transaction) }
            }
            report.repairedCount += count
        }
        try await checkObjects(depth, &report)
        try await checkParts(depth, &report)
        try await checkFiles(repair, except: repairs, &report)
        return report
    }

    /// - Returns: what can be repaired, and how much that is.
    private func checkIndex(
        _ report: inout R2VerifyReport
    ) async throws(R2Failure) -> (repairs: IndexCheck.Repairs, count: Int) {
        let (damage, damageCount, repairs, count) = try await threads.run { () throws(R2Failure) in
            try self.read("verify") { transaction throws(LMDBError) in
                var check = try IndexCheck(self.index, transaction)
                try check.run(transaction)
                return (check.damage, check.damageCount, check.repairs, check.repairableCount)
            }
        }
        report.add(damage, count: damageCount)
        return (repairs, count)
    }

    // MARK: Entries

    /// What an entry of the index says of the disk.
    private struct Claim: Sendable {
        var place: R2Damage.Place
        /// Where it is looked up again: a bucket and a key, or an upload.
        var owner: IndexCheck.Owner
        var blobs: [(blob: Identifier, size: Int64)]
        /// Of the bytes; `nil` when they are encrypted: only who has the key can tell.
        var md5: [UInt8]?
        /// The parts' digests are what `md5` is made of.
        var isOfParts: Bool
        /// An object in the index, whose bytes are checked there.
        var content: [UInt8]?
    }

    private func checkObjects(_ depth: R2VerifyDepth, _ report: inout R2VerifyReport) async throws(R2Failure) {
        var bound: [UInt8] = []
        while let bucket = try read("verify", { transaction throws(LMDBError) in try index.bucket(from: bound, transaction) }) {
            let name = String(decoding: bucket.name, as: UTF8.self)
            var next: [UInt8]? = []
            while let from = next {
                let step = try await threads.run { () throws(R2Failure) in
                    try self.claims(of: name, bucket.number, from: from, depth)
                }
                report.objectCount += step.count
                for claim in step.claims { try await check(claim, depth, &report) }
                next = step.next
            }
            bound = bucket.name + [0]
        }
    }

    private func claims(
        of name: String, _ bucket: UInt32, from bound: [UInt8], _ depth: R2VerifyDepth
    ) throws(R2Failure) -> (claims: [Claim], count: Int, next: [UInt8]?) {
        try read("verify") { transaction throws(LMDBError) in
            var claims: [Claim] = []
            var count = 0
            var byteCount = 0
            var next: [UInt8]?
            try index.scan(bucket: bucket, from: bound, transaction) { key, record throws(LMDBError) in
                guard count < options.lifecycleStepMax, byteCount < 4 << 20 else {
                    next = Array(key)
                    return .stop
                }
                count += 1
                guard let object = try? StoredObject(record: record) else { return .next }
                let text = String(decoding: key, as: UTF8.self)
                var claim = Claim(
                    place: .object(bucket: name, key: text),
                    owner: .object(bucket: bucket, key: text, version: object.version), blobs: [],
                    md5: object.ssecKeyMD5 == nil ? object.md5 : nil, isOfParts: object.partCount > 0)
                switch object.location {
                case .index:
                    guard depth == .checksums, claim.md5 != nil else { return .next }
                    claim.content = try transaction.value(of: object.version.bytes, in: index.contents) ?? []
                    byteCount += claim.content?.count ?? 0
                case .blob: claim.blobs = [(object.version, object.storedByteCount)]
                case .pieces:
                    guard let pieces = try? index.pieces(of: object.version, transaction) else { return .next }
                    claim.blobs = pieces.map { piece in
                        (piece.blob, StoredObject.storedByteCount(of: piece.size, isEncrypted: object.ssecKeyMD5 != nil))
                    }
                    byteCount += pieces.count * 32
                }
                claims.append(claim)
                return .next
            }
            return (claims, count, next)
        }
    }

    private func checkParts(_ depth: R2VerifyDepth, _ report: inout R2VerifyReport) async throws(R2Failure) {
        var bound: [UInt8]? = []
        while let from = bound {
            let step = try await threads.run { () throws(R2Failure) in try self.partClaims(from: from) }
            report.partCount += step.claims.count
            for claim in step.claims { try await check(claim, depth, &report) }
            bound = step.next
        }
    }

    private func partClaims(from bound: [UInt8]) throws(R2Failure) -> (claims: [Claim], next: [UInt8]?) {
        try read("verify") { transaction throws(LMDBError) in
            try transaction.withCursor(index.parts) { cursor throws(LMDBError) in
                var claims: [Claim] = []
                var isThere = try cursor.seek(bound)
                while isThere {
                    let key = cursor.key
                    if claims.count == options.lifecycleStepMax { return (claims, key) }
                    if let part = try? StoredPart(record: cursor.value),
                        let id = Identifier(key.prefix(Identifier.byteCount))
                    {
                        let upload = try? transaction.value(of: id.bytes, in: index.uploads).map(StoredUpload.init(record:))
                        let isEncrypted = upload?.ssecKeyMD5 != nil
                        let number = key.dropFirst(Identifier.byteCount).reduce(0) { $0 << 8 | Int($1) }
                        claims.append(
                            Claim(
                                place: .part(upload: id.hexadecimal, number: number), owner: .part(key),
                                blobs: [(part.blob, StoredObject.storedByteCount(of: part.size, isEncrypted: isEncrypted))],
                                md5: isEncrypted ? nil : part.md5, isOfParts: false))
                    }
                    isThere = try cursor.moveToNext()
                }
                return (claims, nil)
            }
        }
    }

    private func check(
        _ claim: Claim, _ depth: R2VerifyDepth, _ report: inout R2VerifyReport
    ) async throws(R2Failure) {
        var damage: [R2Damage] = try await threads.run { () throws(R2Failure) in
            claim.blobs.compactMap { blob, size in
                guard let found = self.files.byteCount(of: blob) else {
                    return .missingFile(claim.place, blob: blob.hexadecimal)
                }
                return found == size
                    ? nil : .wrongSize(claim.place, blob: blob.hexadecimal, expected: size, found: found)
            }
        }
        if damage.isEmpty, depth == .checksums, let md5 = claim.md5, try await digest(of: claim) != md5 {
            damage = [.wrongChecksum(claim.place)]
        }
        guard !damage.isEmpty, try isCurrent(claim) else { return }
        report.add(damage)
    }

    /// The digest that the claim's bytes have; `nil` when they can't be read.
    private func digest(of claim: Claim) async throws(R2Failure) -> [UInt8]? {
        if let content = claim.content { return await threads.run { Digest.hash(content, with: .md5) } }
        var digests: [[UInt8]] = []
        for (blob, size) in claim.blobs {
            guard let digest = try await digest(of: blob, size: size) else { return nil }
            digests.append(digest)
        }
        return claim.isOfParts ? Digest.hash(digests.flatMap { $0 }, with: .md5) : digests.first
    }

    /// One block per turn of an I/O thread: a large blob must not keep it from others for long.
    private func digest(of blob: Identifier, size: Int64) async throws(R2Failure) -> [UInt8]? {
        let blockByteCount = 4 << 20
        let reader = BlobDigest()
        var offset: Int64 = 0
        while offset < size {
            let start = offset
            let count = Int(min(Int64(blockByteCount), size - offset))
            let isRead = await threads.run { [files, logger] in
                do throws(SystemError) {
                    let block = try files.open(blob).read(at: start, count: count)
                    reader.digest.update(block)
                    return block.count == count
                } catch {
                    logger.log(.error, "R2 blob can't be read", [("error", "\(error)")])
                    return false
                }
            }
            guard isRead else { return nil }
            offset += Int64(count)
        }
        return reader.digest.current()
    }

    /// Whether the index still says what was checked.
    private func isCurrent(_ claim: Claim) throws(R2Failure) -> Bool {
        try read("verify") { transaction throws(LMDBError) in
            switch claim.owner {
            case .object(let bucket, let key, let version):
                try index.object(key, bucket: bucket, transaction)?.version == version
            case .part(let key):
                try transaction.value(of: key, in: index.parts).map { record throws(LMDBError) in
                    try StoredPart(record: record).blob
                } == claim.blobs.first?.blob
            }
        }
    }

    // MARK: Files

    private func checkFiles(
        _ repair: R2Repair, except repairs: IndexCheck.Repairs, _ report: inout R2VerifyReport
    ) async throws(R2Failure) {
        // An entry names it, and was reported: not an orphan, whatever the marks say.
        let unmarked = Set(repairs.unmarked.map(\.blob))
        let temporaries = try await threads.run { () throws(R2Failure) in
            try self.diskCall { () throws(SystemError) in
                try self.files.temporaries().filter { !self.use.isHeld($0) }
            }
        }
        report.add(temporaries.map { .temporaryFile(blob: $0.hexadecimal) })
        for shard in 0...UInt8.max {
            let (count, orphans) = try await threads.run { () throws(R2Failure) in try self.orphans(inShard: shard) }
            report.fileCount += count
            report.add(orphans.filter { !unmarked.contains($0) }.map { .orphanedFile(blob: $0.hexadecimal) })
        }
        guard repair == .leftovers else { return }
        let swept = try await sweep()
        report.repairedCount += swept.orphans + swept.temporaries
    }
}

/// A digest that several blocks go into, one after the other.
private final class BlobDigest: @unchecked Sendable {  // Blocks are awaited one by one.
    var digest = Digest(.md5)
}
