package import Interfaces
internal import LMDB
internal import OpenSSL
package import Stores
internal import System

extension EmbeddedR2Store {
    typealias SuppliedChecksum = (algorithm: R2Checksum.Algorithm, bytes: [UInt8])

    package func put(
        _ request: R2PutMessage, body: (any BodySource)?, in bucket: String
    ) async throws(R2Failure) -> R2Object? {
        do throws(R2Failure) {
            try Self.check(key: request.key)
            try Self.check(request.attributes)
            guard request.size <= R2Limits.putBytesMax else { throw R2Failure.entityTooLarge }
            try admitWrite(of: request.key, in: bucket)
            // Decided again in the transaction; here it spares a body that could not be stored.
            let old = try stored(request.key, in: bucket, "put")
            // Before the condition, as the product does it.
            if let old { try refuseIfLocked(request.key, old, in: bucket) }
            guard Self.passes(request.onlyIf, old) else {
                body?.cancel()
                return nil
            }
            let share = try await reserveMemory(forBodyOf: request.size)
            defer { withExtendedLifetime(share) {} }
            let isSmall = request.size != R2PutMessage.sizeUnknown && request.size <= options.inlineBytesMax
            return isSmall
                ? try await putInline(request, body, bucket) : try await putBlob(request, body, bucket)
        } catch {
            body?.cancel()
            throw error
        }
    }

    package func delete(_ keys: [String], in bucket: String) async throws(R2Failure) {
        guard keys.count <= R2Limits.deletedKeysMax else { throw .tooManyKeys(keys.count) }
        for key in keys { try Self.check(key: key) }
        var rest = keys[...]
        let now = clock.wallTime().milliseconds
        repeat {
            // A transaction has a limit, and each of these objects may have ten thousand blobs: as many keys as
            // fit, then the next transaction.
            let pending = Array(rest)
            let blobsMax = options.deletedBlobsMax
            let byteCount = pending.reduce(0) { $0 + $1.utf8.count }
            let (count, leftovers) = try await commit("delete", byteCount: byteCount) { [index] transaction in
                guard let bucket = try index.bucket(bucket, transaction.reading) else {
                    throw R2Failure.noSuchBucket
                }
                try index.refuseIfAnyIsLocked(pending, bucket: bucket, at: now, transaction.reading)
                var leftovers: [ObjectIndex.Leftovers] = []
                var blobCount = 0
                for (position, key) in pending.enumerated() {
                    guard blobCount < blobsMax else { return (position, leftovers) }
                    if let old = try index.removeObject(key, bucket: bucket, as: .delete, at: now, transaction) {
                        leftovers.append(old)
                        blobCount += old.blobs.count
                    }
                }
                return (pending.count, leftovers)
            }
            for old in leftovers { discard(old) }
            rest = rest.dropFirst(count)
        } while !rest.isEmpty
    }

    static func passes(_ onlyIf: R2Conditional?, _ object: StoredObject?) -> Bool {
        guard let onlyIf else { return true }
        return object.map { onlyIf.passes(etag: $0.etag, uploaded: $0.uploaded) } ?? onlyIf.passesMissing
    }

    // MARK: Small objects

    private func putInline(
        _ request: R2PutMessage, _ body: (any BodySource)?, _ bucket: String
    ) async throws(R2Failure) -> R2Object? {
        var request = request
        let algorithm = request.checksum?.algorithm ?? Self.trailingAlgorithm(of: body)
        var bytes: [UInt8] = []
        _ = try await receive(body, size: request.size) { piece throws(R2Failure) in
            if bytes.isEmpty { bytes = piece } else { bytes.append(contentsOf: piece) }
        }
        request.checksum = request.checksum ?? Self.trailingChecksum(of: body)
        let content = bytes
        let supplied = Self.computed(algorithm)
        let digest: @Sendable () -> (md5: [UInt8], supplied: [UInt8]?) = {
            (Digest.hash(content, with: .md5), supplied.map { RunningChecksum.of(content, $0) })
        }
        // Some 2 µs per KiB: more than a little of it isn't for a reactor's thread.
        let digests = content.count <= 4096 ? digest() : await threads.run(digest)
        let object = try makeObject(request, .index, md5: digests.md5, supplied: digests.supplied)
        let stored = try await encrypt(content, request.ssecKey)
        return try await commit(object, request, .index(stored), bucket)
            ? object.object(key: request.key) : nil
    }

    private func encrypt(_ content: [UInt8], _ key: R2CustomerKey?) async throws(R2Failure) -> [UInt8] {
        guard let key, !content.isEmpty else { return content }
        do throws(OpenSSLError) {
            return try await threads.run { () throws(OpenSSLError) in try BlobCipher.seal(content, key) }
        } catch { throw report(error, "put") }
    }

    // MARK: Large objects

    private func putBlob(
        _ request: R2PutMessage, _ body: (any BodySource)?, _ bucket: String
    ) async throws(R2Failure) -> R2Object? {
        var request = request
        let algorithm = request.checksum?.algorithm ?? Self.trailingAlgorithm(of: body)
        let writer = makeWriter(supplied: Self.computed(algorithm), key: request.ssecKey)
        let object: StoredObject
        let isStored: Bool
        do throws(R2Failure) {
            let digests = try await receive(body, size: request.size, into: writer)
            request.size = digests.byteCount
            request.checksum = request.checksum ?? Self.trailingChecksum(of: body)
            var made = try makeObject(request, .blob, md5: digests.md5, supplied: digests.supplied)
            made.version = writer.blob
            object = made
            isStored = try await commit(object, request, .blob, bucket)
        } catch {
            await abandon(writer)
            throw error
        }
        guard isStored else {
            await abandon(writer)
            return nil
        }
        use.endWriting(writer.blob)
        return object.object(key: request.key)
    }

    /// A writer for a new blob, which no sweep touches before `abandon` or `use.endWriting`.
    func makeWriter(supplied: R2Checksum.Algorithm?, key: R2CustomerKey?) -> BlobWriter {
        let blob = Identifier.make(at: clock.wallTime())
        use.beginWriting(blob)
        return BlobWriter(blob, files: files, threads: threads, syncs: syncs, supplied: supplied, key: key)
    }

    /// Streams the whole body to the disk; its blob is durable, and named by nobody, when this returns.
    func receive(
        _ body: (any BodySource)?, size: Int64, into writer: BlobWriter
    ) async throws(R2Failure) -> (byteCount: Int64, md5: [UInt8], supplied: [UInt8]?) {
        let byteCount = try await receive(body, size: size) { piece throws(R2Failure) in
            do throws(SystemError) { try await writer.write(piece) } catch {
                throw self.report(error, "write")
            }
        }
        do throws(SystemError) {
            let digests = try await writer.finish()
            return (byteCount, digests.md5, digests.supplied)
        } catch { throw report(error, "write") }
    }

    /// Removes a blob that will not be committed.
    func abandon(_ writer: BlobWriter) async {
        // After a commit of which nobody knows whether it reached the disk, the file must stay: the next
        // start decides.
        if !isIndexUncertain.load(ordering: .relaxed) {
            do throws(SystemError) { try await writer.abandon() } catch {
                logger.log(.warning, "R2 blob not removed; the next sweep will", [("error", "\(error)")])
            }
        }
        use.endWriting(writer.blob)
    }

    // MARK: Parts of both

    /// What one body on its way in holds in memory, until the share is let go.
    func reserveMemory(forBodyOf byteCount: Int64) async throws(R2Failure) -> Budget.Share {
        // What a writer keeps, one more piece, and a block that waits to be encrypted.
        let most = Int64(BlobWriter.waitingBytesMax + 64 << 10 + BlobCipher.blockByteCount)
        do throws(Budget.Refused) {
            // Of unknown length, it may be any.
            return try await incoming.acquire(Int(byteCount < 0 ? most : min(most, byteCount + 4096)))
        } catch { throw .unavailable }
    }

    /// Hands each piece of the body to `take` and sees to it that there are `size` bytes, neither less nor
    /// more. Of unknown length, it has at most what one put may have.
    ///
    /// - Returns: how many there were.
    private func receive(
        _ body: (any BodySource)?, size: Int64, _ take: ([UInt8]) async throws(R2Failure) -> Void
    ) async throws(R2Failure) -> Int64 {
        let isUnknown = size == R2PutMessage.sizeUnknown
        let most = isUnknown ? R2Limits.putBytesMax : size
        var received: Int64 = 0
        while let body {
            let piece: [UInt8]?
            do { piece = try await body.next() } catch {
                throw .incompleteBody(expected: size, received: received)
            }
            guard let piece else { break }
            received += Int64(piece.count)
            guard received <= most else { break }
            try await take(piece)
        }
        if isUnknown {
            guard received <= most else { throw .entityTooLarge }
        } else {
            guard received == size else { throw .incompleteBody(expected: size, received: received) }
        }
        return received
    }

    /// The record of a put, whose content must match the checksum that came with it.
    private func makeObject(
        _ request: R2PutMessage, _ location: StoredObject.Location, md5: [UInt8], supplied: [UInt8]?
    ) throws(R2Failure) -> StoredObject {
        try Self.verify(request.checksum, md5: md5, supplied: supplied)
        let now = clock.wallTime()
        return StoredObject(
            version: Identifier.make(at: now), size: request.size, uploaded: now.milliseconds,
            location: location, md5: md5,
            supplied: request.checksum.flatMap { $0.algorithm == .md5 ? nil : $0 },
            attributes: request.attributes, ssecKeyMD5: request.ssecKey.map { Self.md5(of: $0) })
    }

    static func verify(
        _ checksum: SuppliedChecksum?, md5: [UInt8], supplied: [UInt8]?
    ) throws(R2Failure) {
        guard let checksum else { return }
        let actual = checksum.algorithm == .md5 ? md5 : supplied ?? []
        guard actual == checksum.bytes else {
            throw .badDigest(checksum.algorithm, expected: checksum.bytes, actual: actual)
        }
    }

    /// False when the condition doesn't hold (any more).
    private func commit(
        _ object: StoredObject, _ request: R2PutMessage, _ content: ObjectIndex.NewContent, _ bucket: String
    ) async throws(R2Failure) -> Bool {
        var byteCount = 1024 + request.key.utf8.count
        if case .index(let bytes) = content { byteCount += bytes.count }
        let key = request.key
        let onlyIf = request.onlyIf
        let outcome = try await commit("put", byteCount: byteCount) {
            [index] transaction -> (isStored: Bool, leftovers: ObjectIndex.Leftovers?) in
            guard let bucket = try index.bucket(bucket, transaction.reading) else {
                throw R2Failure.noSuchBucket
            }
            if onlyIf != nil {
                let old = try index.object(key, bucket: bucket, transaction.reading)
                guard Self.passes(onlyIf, old) else { return (false, nil) }
            }
            return (true, try index.put(key, bucket: bucket, object, content, as: .put, transaction))
        }
        discard(outcome.leftovers)
        return outcome.isStored
    }

    /// What to compute besides MD5.
    static func computed(_ algorithm: R2Checksum.Algorithm?) -> R2Checksum.Algorithm? {
        algorithm == .md5 ? nil : algorithm
    }
}
