internal import Glibc
package import Interfaces
internal import LMDB
internal import OpenSSL
internal import Stores
internal import System

extension EmbeddedR2Store {
    package func head(_ key: String, in bucket: String) async throws(R2Failure) -> R2Object? {
        try Self.check(key: key)
        return try stored(key, in: bucket, "head")?.object(key: key)
    }

    /// The record of `key`, as committed now.
    func stored(_ key: String, in bucket: String, _ what: String) throws(R2Failure) -> StoredObject? {
        let found = try read(what) { transaction throws(LMDBError) -> StoredObject?? in
            guard let bucket = try index.bucket(bucket, transaction) else { return nil }
            return .some(try index.object(key, bucket: bucket, transaction))
        }
        guard let found else { throw .noSuchBucket }
        return found
    }

    /// What one snapshot of the index says of a get.
    private enum Located {
        case noBucket
        case missing
        case conditionFailed(StoredObject)
        case refused(R2Failure)
        /// What is stored in the index: the bytes of the range, or all of it when it is encrypted.
        case bytes(StoredObject, R2ResolvedRange?, [UInt8])
        case blob(StoredObject, R2ResolvedRange?)
        case pieces(StoredObject, R2ResolvedRange?, [StoredPiece])
    }

    package func get(_ request: R2GetMessage, in bucket: String) async throws(R2Failure) -> R2Found {
        try Self.check(key: request.key)
        // Between the look at the index and the opening of the file, another put may replace both: then the
        // new index is asked. Each round needs a whole durable put in between, so a few rounds always
        // suffice.
        for _ in 0..<16 {
            let located = try read("get") { transaction throws(LMDBError) in
                try locate(request, bucket, transaction)
            }
            switch located {
            case .noBucket: throw .noSuchBucket
            case .missing: return .missing
            case .conditionFailed(let object): return .withoutBody(object.object(key: request.key))
            case .refused(let failure): throw failure
            case .bytes(let object, let range, let stored):
                let bytes = try await decrypt(stored, of: object, range, request.ssecKey)
                return .withBody(
                    object.object(key: request.key, range: range), .bytes(bytes),
                    byteCount: Int64(bytes.count))
            case .blob(let object, let range):
                let (offset, length) = (range?.offset ?? 0, range?.length ?? object.size)
                let part = PiecesSource.Stretch(
                    blob: object.version, offset: offset, byteCount: length, blobByteCount: object.size)
                guard let body = try body(of: [part], object.version, request.ssecKey) else { continue }
                return .withBody(object.object(key: request.key, range: range), body, byteCount: length)
            case .pieces(let object, let range, let pieces):
                guard let body = try body(of: pieces, object, range, request.ssecKey) else { continue }
                return .withBody(
                    object.object(key: request.key, range: range), body,
                    byteCount: range?.length ?? object.size)
            }
        }
        throw report(LMDBError("get", .corrupted, on: "the index names blobs that are missing"), "get")
    }

    private func locate(
        _ request: R2GetMessage, _ bucket: String, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> Located {
        guard let bucket = try index.bucket(bucket, transaction) else { return .noBucket }
        guard let object = try index.object(request.key, bucket: bucket, transaction) else { return .missing }
        if let onlyIf = request.onlyIf, !onlyIf.passes(etag: object.etag, uploaded: object.uploaded) {
            return .conditionFailed(object)
        }
        let range: R2ResolvedRange?
        do throws(R2Failure) {
            try Self.check(request.ssecKey, for: object)
            range = try request.range?.resolve(size: object.size)
        } catch { return .refused(error) }
        switch object.location {
        case .index where object.ssecKeyMD5 != nil:
            let all = 0..<Int(object.storedByteCount)
            return .bytes(object, range, try index.content(of: object.version, range: all, transaction))
        case .index:
            let start = Int(range?.offset ?? 0)
            let end = start + Int(range?.length ?? object.size)
            return .bytes(
                object, range, try index.content(of: object.version, range: start..<end, transaction))
        case .blob: return .blob(object, range)
        case .pieces: return .pieces(object, range, try index.pieces(of: object.version, transaction))
        }
    }

    private func decrypt(
        _ stored: [UInt8], of object: StoredObject, _ range: R2ResolvedRange?, _ key: R2CustomerKey?
    ) async throws(R2Failure) -> [UInt8] {
        guard let key else { return stored }
        let start = Int(range?.offset ?? 0)
        let wanted = start..<(start + Int(range?.length ?? object.size))
        let open: @Sendable () throws(OpenSSLError) -> [UInt8] = { () throws(OpenSSLError) in
            try BlobCipher.open(stored, key, size: object.size, range: wanted)
        }
        do throws(OpenSSLError) {
            // As for a put: more than a little of it isn't for a reactor's thread.
            return stored.count <= 4096 ? try open() : try await threads.run(open)
        } catch { throw report(error, "get") }
    }

    /// The blob's file; `nil` when it was unlinked.
    private func openIfPresent(_ blob: Identifier) throws(R2Failure) -> Descriptor? {
        do throws(SystemError) {
            return try files.open(blob)
        } catch {
            if error.errno == ENOENT { return nil }
            throw report(error, "get")
        }
    }

    /// `nil` when the object was replaced and its blobs are going.
    private func body(
        of pieces: [StoredPiece], _ object: StoredObject, _ range: R2ResolvedRange?, _ key: R2CustomerKey?
    ) throws(R2Failure) -> StoreBody? {
        var skipped = range?.offset ?? 0
        var left = range?.length ?? object.size
        var stretches: [PiecesSource.Stretch] = []
        for piece in pieces where left > 0 {
            let start = min(skipped, piece.size)
            skipped -= start
            let count = min(piece.size - start, left)
            left -= count
            if count > 0 {
                stretches.append(
                    PiecesSource.Stretch(
                        blob: piece.blob, offset: start, byteCount: count, blobByteCount: piece.size))
            }
        }
        return try body(of: stretches, object.version, key)
    }

    /// While few files are open, one for the kernel to send, or a sequence of them, of which one is open at a time;
    /// otherwise, and for what must be decrypted, a source that opens a file whenever a piece of it is wanted. What
    /// isn't open already holds the version's blobs.
    private func body(
        of stretches: [PiecesSource.Stretch], _ version: Identifier, _ key: R2CustomerKey?
    ) throws(R2Failure) -> StoreBody? {
        guard let first = stretches.first(where: { $0.byteCount > 0 }) else { return .bytes([]) }
        let share = key == nil ? openFiles.tryAcquire(1) : nil
        if stretches.count == 1, let share {
            guard let file = try openIfPresent(first.blob) else { return nil }
            return .file(
                FileSlice(file, offset: first.offset, byteCount: Int(first.byteCount), share: share))
        }
        guard use.pin(version) else { return nil }
        // Pinned after the index was read: the blobs may have gone in between, and then all of them have.
        let isCurrent: Bool
        do throws(R2Failure) {
            isCurrent = try openIfPresent(first.blob) != nil
        } catch {
            unlink(use.unpin(version), of: version)
            throw error
        }
        guard isCurrent else {
            unlink(use.unpin(version), of: version)
            return nil
        }
        let source = makeSource(stretches, key: key) { [weak self, use] in
            let blobs = use.unpin(version)
            if let self { self.unlink(blobs, of: version) } else { use.endUnlinking(version) }
        }
        if let share, let pieces = source as? PiecesSource { return .stream(PieceFiles(pieces, share: share)) }
        return .stream(source)
    }
}
