internal import Glibc
package import Interfaces
internal import LMDB
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
        case unsatisfiable
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
            case .unsatisfiable: throw .invalidRange
            case .bytes(let object, let range, let bytes):
                return .withBody(
                    object.object(key: request.key, range: range), .bytes(bytes),
                    byteCount: Int64(bytes.count))
            case .blob(let object, let range):
                let (offset, length) = (range?.offset ?? 0, range?.length ?? object.size)
                let whole = PiecesSource.Stretch(blob: object.version, offset: offset, byteCount: length)
                guard let body = try body(of: [whole], object.version) else { continue }
                return .withBody(object.object(key: request.key, range: range), body, byteCount: length)
            case .pieces(let object, let range, let pieces):
                guard let body = try body(of: pieces, object, range) else { continue }
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
            range = try request.range?.resolve(size: object.size)
        } catch { return .unsatisfiable }
        switch object.location {
        case .index:
            let start = Int(range?.offset ?? 0)
            let end = start + Int(range?.length ?? object.size)
            return .bytes(
                object, range, try index.content(of: object.version, range: start..<end, transaction))
        case .blob: return .blob(object, range)
        case .pieces: return .pieces(object, range, try index.pieces(of: object.version, transaction))
        }
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
        of pieces: [StoredPiece], _ object: StoredObject, _ range: R2ResolvedRange?
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
                stretches.append(PiecesSource.Stretch(blob: piece.blob, offset: start, byteCount: count))
            }
        }
        return try body(of: stretches, object.version)
    }

    /// A file that is open already, for the kernel to send, while there are few of them; otherwise a source that
    /// opens its files whenever a piece of them is wanted, and holds the version's blobs meanwhile.
    private func body(
        of stretches: [PiecesSource.Stretch], _ version: Identifier
    ) throws(R2Failure) -> StoreBody? {
        guard let first = stretches.first(where: { $0.byteCount > 0 }) else { return .bytes([]) }
        if stretches.count == 1, let share = openFiles.tryAcquire(1) {
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
        return .stream(
            PiecesSource(stretches, files: files, threads: threads) { [weak self, use] in
                let blobs = use.unpin(version)
                if let self { self.unlink(blobs, of: version) } else { use.endUnlinking(version) }
            })
    }
}
