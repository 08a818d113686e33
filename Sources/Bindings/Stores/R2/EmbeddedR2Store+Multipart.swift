package import Interfaces
internal import LMDB
internal import OpenSSL
package import Stores

extension EmbeddedR2Store {
    package func createMultipart(
        _ request: R2CreateMultipartMessage, in bucket: String
    ) async throws(R2Failure) -> String {
        try Self.check(key: request.key)
        try Self.check(request.attributes)
        let now = clock.wallTime()
        let id = Identifier.make(at: now)
        let keyMD5 = request.ssecKey.map { Self.md5(of: $0) }
        try await commit("createMultipartUpload") { [index] transaction in
            guard let bucket = try index.bucket(bucket, transaction.reading) else {
                throw R2Failure.noSuchBucket
            }
            let upload = StoredUpload(
                bucket: bucket, key: request.key, created: now.milliseconds, attributes: request.attributes,
                ssecKeyMD5: keyMD5, checksumAlgorithm: request.checksumAlgorithm)
            try index.putUpload(id, upload, transaction)
        }
        return id.hexadecimal
    }

    package func uploadPart(
        _ request: R2UploadPartMessage, body: (any BodySource)?, in bucket: String
    ) async throws(R2Failure) -> String {
        do throws(R2Failure) {
            guard (1...Int64(R2Limits.partsMax)).contains(request.partNumber) else {
                throw R2Failure.partNumberOutOfRange(request.partNumber)
            }
            guard request.size <= R2Limits.putBytesMax else { throw R2Failure.entityTooLarge }
            guard let id = Identifier(hexadecimal: request.uploadId),
                let upload = try upload(id, of: request.key, in: bucket, "uploadPart")
            else { throw R2Failure.noSuchUpload }
            try Self.check(request.ssecKey, for: upload)
            let share = try await reserveMemory(forBodyOf: request.size)
            defer { withExtendedLifetime(share) {} }
            return try await storePart(request, of: id, upload, body, bucket)
        } catch {
            body?.cancel()
            throw error
        }
    }

    private func storePart(
        _ request: R2UploadPartMessage, of id: Identifier, _ upload: StoredUpload, _ body: (any BodySource)?,
        _ bucket: String
    ) async throws(R2Failure) -> String {
        // A part's own checksum is verified; the upload's is kept. They are the same one.
        let wanted = Self.computed(request.checksum?.algorithm ?? Self.trailingAlgorithm(of: body))
        let kept = Self.computed(upload.checksumAlgorithm)
        if let wanted, let kept, wanted != kept { throw .partChecksumAlgorithm(wanted, upload: kept) }
        let writer = makeWriter(supplied: kept ?? wanted, key: request.ssecKey)
        do throws(R2Failure) {
            let digests = try await receive(body, size: request.size, into: writer)
            let checksum = request.checksum ?? Self.trailingChecksum(of: body)
            try Self.verify(checksum, md5: digests.md5, supplied: digests.supplied)
            let part = StoredPart(
                blob: writer.blob, size: digests.byteCount, md5: digests.md5,
                checksum: upload.checksumAlgorithm == .md5 ? digests.md5 : kept.flatMap { _ in digests.supplied })
            let replaced = try await commit("uploadPart") { [index] transaction in
                guard let bucket = try index.bucket(bucket, transaction.reading),
                    try index.upload(id, key: request.key, bucket: bucket, transaction.reading) != nil
                else { throw R2Failure.noSuchUpload }
                return try index.putPart(Int(request.partNumber), of: id, part, transaction)
            }
            use.endWriting(writer.blob)
            if let replaced { discard(ObjectIndex.Leftovers(version: replaced, blobs: [replaced])) }
            return R2Hex.encode(part.md5)
        } catch {
            await abandon(writer)
            throw error
        }
    }

    package func completeMultipart(
        _ request: R2CompleteMultipartMessage, in bucket: String
    ) async throws(R2Failure) -> R2Object {
        try Self.check(key: request.key)
        guard let id = Identifier(hexadecimal: request.uploadId) else { throw .noSuchUpload }
        try admitWrite(of: request.key, in: bucket)
        let now = clock.wallTime()
        let version = Identifier.make(at: now)
        let byteCount = request.parts.count * 64
        let outcome = try await commit("completeMultipartUpload", byteCount: byteCount) {
            [index] transaction -> (StoredObject, ObjectIndex.Leftovers?, unused: [Identifier]) in
            guard let bucket = try index.bucket(bucket, transaction.reading),
                let upload = try index.upload(id, key: request.key, bucket: bucket, transaction.reading)
            else { throw R2Failure.noSuchUpload }
            let parts = try Self.choose(request.parts, from: index.parts(of: id, transaction.reading))
            if request.onlyIf != nil {
                let old = try index.object(request.key, bucket: bucket, transaction.reading)
                guard Self.passes(request.onlyIf, old) else { throw R2Failure.preconditionFailed }
            }
            var object = StoredObject(
                version: version, size: parts.reduce(0) { $0 + $1.size }, uploaded: now.milliseconds,
                location: .pieces, md5: Digest.hash(parts.flatMap(\.md5), with: .md5),
                partCount: UInt32(parts.count), attributes: upload.attributes, ssecKeyMD5: upload.ssecKeyMD5)
            if let algorithm = upload.checksumAlgorithm {
                let combined = RunningChecksum.combine(
                    parts.map { ($0.checksum ?? [], $0.size) }, algorithm)
                object.supplied = (algorithm, combined.bytes)
                object.checksumKind = combined.kind
            }
            try Self.compare(request, parts, with: object, upload.checksumAlgorithm)
            let pieces = parts.map { StoredPiece(blob: $0.blob, size: $0.size) }
            let unused = try index.removeUpload(id, keeping: Set(pieces.map(\.blob)), transaction)
            let leftovers = try index.put(
                request.key, bucket: bucket, object, .pieces(pieces), as: .completeMultipart, transaction)
            return (object, leftovers, unused)
        }
        discard(outcome.1)
        discard(ObjectIndex.Leftovers(version: id, blobs: outcome.unused))
        return outcome.0.object(key: request.key)
    }

    /// - Parameter parts: In order of their numbers.
    private static func compare(
        _ request: R2CompleteMultipartMessage, _ parts: [StoredPart], with object: StoredObject,
        _ algorithm: R2Checksum.Algorithm?
    ) throws(R2Failure) {
        let checks = request.checks
        if let size = checks.size, size != object.size { throw .completion(.size(given: size, actual: object.size)) }
        // Without an algorithm of the upload, parts were compared when they came, and their ETags are their digests.
        if let algorithm {
            for (part, number) in zip(parts, request.parts.map(\.partNumber).sorted()) {
                guard let given = checks.parts[number] else { continue }
                guard given.algorithm == algorithm else {
                    throw .completion(.algorithm(given.algorithm, upload: algorithm))
                }
                guard given.bytes == part.checksum else { throw .invalidPart }
            }
            if let kind = checks.kind, kind != object.checksumKind { throw .completion(.kind(object.checksumKind)) }
        }
        guard let given = checks.object else { return }
        guard given.algorithm == algorithm else { throw .completion(.algorithm(given.algorithm, upload: algorithm)) }
        guard given.bytes == object.supplied?.bytes, checks.partCount ?? parts.count == parts.count else {
            throw .completion(.digest(given.algorithm))
        }
    }

    package func abortMultipart(
        _ request: R2AbortMultipartMessage, in bucket: String
    ) async throws(R2Failure) {
        // Aborting what is completed, aborted or was never begun is fine.
        guard let id = Identifier(hexadecimal: request.uploadId),
            try upload(id, of: request.key, in: bucket, "abort") != nil
        else { return }
        try await removeUpload(id)
    }

    /// - Returns: false when another call was faster.
    @discardableResult
    func removeUpload(_ id: Identifier) async throws(R2Failure) -> Bool {
        let (isThere, unused) = try await commit("abortMultipartUpload") { [index] transaction in
            (try transaction.contains(id.bytes, in: index.uploads), try index.removeUpload(id, transaction))
        }
        discard(ObjectIndex.Leftovers(version: id, blobs: unused))
        return isThere
    }

    func upload(
        _ id: Identifier, of key: String, in bucket: String, _ what: String
    ) throws(R2Failure) -> StoredUpload? {
        let found = try read(what) { transaction throws(LMDBError) -> StoredUpload?? in
            guard let bucket = try index.bucket(bucket, transaction) else { return nil }
            return .some(try index.upload(id, key: key, bucket: bucket, transaction))
        }
        guard let found else { throw .noSuchBucket }
        return found
    }

    /// The parts that a completion names, in order of their numbers (spec: r2, "Multipart"). The smallest
    /// size is checked in the order in which they were named, the rest in that of their numbers.
    static func choose(
        _ named: [R2UploadedPart], from stored: [Int: StoredPart]
    ) throws(R2Failure) -> [StoredPart] {
        guard !named.isEmpty, named.count <= R2Limits.partsMax,
            Set(named.map(\.partNumber)).count == named.count
        else { throw .invalidPart }
        for part in named {
            guard let found = stored[part.partNumber], R2Hex.encode(found.md5) == part.etag else {
                throw .invalidPart
            }
        }
        for part in named.dropLast() {
            guard let found = stored[part.partNumber], found.size >= R2Limits.partBytesMin else {
                throw .entityTooSmall
            }
        }
        let total = named.reduce(0) { $0 + (stored[$1.partNumber]?.size ?? 0) }
        guard total <= R2Limits.objectBytesMax else { throw .entityTooLarge }
        let sorted = named.sorted { $0.partNumber < $1.partNumber }.compactMap { stored[$0.partNumber] }
        if let first = sorted.first, let last = sorted.last, sorted.count > 1 {
            guard sorted.dropLast().allSatisfy({ $0.size == first.size }), last.size <= first.size else {
                throw .badUpload
            }
        }
        return sorted
    }
}
