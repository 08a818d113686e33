package import Interfaces
internal import LMDB
internal import OpenSSL
internal import System

extension EmbeddedR2Store {
    /// The source of a copy, as one snapshot of the index has it.
    private enum Source {
        case noBucket
        case missing
        case conditionFailed
        case found(StoredObject, Bytes)

        enum Bytes {
            case index([UInt8])
            case blobs([StoredPiece])
        }
    }

    package func copy(
        _ request: R2CopyMessage, from sourceBucket: String, to bucket: String
    ) async throws(R2Failure) -> R2Object {
        try Self.check(key: request.sourceKey)
        try Self.check(key: request.key)
        try admitWrite(of: request.key, in: bucket)
        let old = try stored(request.key, in: bucket, "copy")
        if let old { try refuseIfLocked(request.key, old, in: bucket) }
        guard Self.passes(request.onlyIf, old) else { throw .preconditionFailed }
        // As for a get: between the look at the index and the blobs, another put may replace both.
        for _ in 0..<16 {
            let source = try read("copy") { transaction throws(LMDBError) in
                try locate(request, sourceBucket, transaction)
            }
            switch source {
            case .noBucket: throw .noSuchBucket
            case .missing: throw .noSuchKey
            case .conditionFailed: throw .preconditionFailed
            case .found(let object, let bytes):
                try Self.check(request.sourceSsecKey, for: object)
                var copy = object
                copy.attributes = request.metadata.applied(
                    to: object.attributes, storageClass: request.storageClass)
                try Self.check(copy.attributes)
                copy.ssecKeyMD5 = request.ssecKey.map { Self.md5(of: $0) }
                switch bytes {
                case .index(let content):
                    return try await copyContent(content, of: object, as: copy, request, from: sourceBucket, to: bucket)
                case .blobs(let pieces):
                    let copied = try await copyBlobs(
                        pieces, of: object, as: copy, request, from: sourceBucket, to: bucket)
                    guard let copied else { continue }
                    return copied
                }
            }
        }
        throw report(LMDBError("copy", .corrupted, on: "the index names blobs that are missing"), "copy")
    }

    private func locate(
        _ request: R2CopyMessage, _ bucket: String, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> Source {
        guard let bucket = try index.bucket(bucket, transaction) else { return .noBucket }
        guard let object = try index.object(request.sourceKey, bucket: bucket, transaction) else {
            return .missing
        }
        guard Self.passes(request.sourceOnlyIf, object) else { return .conditionFailed }
        switch object.location {
        case .index:
            let end = Int(object.storedByteCount)
            return .found(object, .index(try index.content(of: object.version, range: 0..<end, transaction)))
        case .blob:
            return .found(object, .blobs([StoredPiece(blob: object.version, size: object.size)]))
        case .pieces: return .found(object, .blobs(try index.pieces(of: object.version, transaction)))
        }
    }

    // MARK: Small objects

    private func copyContent(
        _ content: [UInt8], of source: StoredObject, as copy: StoredObject, _ request: R2CopyMessage,
        from sourceBucket: String, to bucket: String
    ) async throws(R2Failure) -> R2Object {
        var copy = copy
        copy.version = Identifier.make(at: clock.wallTime())
        guard request.sourceSsecKey != request.ssecKey, source.size > 0 else {
            return try await commitCopy(copy, .index(content), request, sourceBucket, bucket)
        }
        let transcoded: [UInt8]
        do throws(OpenSSLError) {
            transcoded = try await threads.run { () throws(OpenSSLError) in
                var bytes = content
                if let key = request.sourceSsecKey {
                    bytes = try BlobCipher.open(bytes, key, size: source.size, range: 0..<Int(source.size))
                }
                return try request.ssecKey.map { key throws(OpenSSLError) in try BlobCipher.seal(bytes, key) } ?? bytes
            }
        } catch { throw report(error, "copy") }
        return try await commitCopy(copy, .index(transcoded), request, sourceBucket, bucket)
    }

    // MARK: Large objects

    /// `nil` when the source was replaced and its blobs are going.
    private func copyBlobs(
        _ pieces: [StoredPiece], of source: StoredObject, as copy: StoredObject, _ request: R2CopyMessage,
        from sourceBucket: String, to bucket: String
    ) async throws(R2Failure) -> R2Object? {
        guard use.pin(source.version) else { return nil }
        defer { unlink(use.unpin(source.version), of: source.version) }
        let copies = pieces.map { _ in Identifier.make(at: clock.wallTime()) }
        for blob in copies { use.beginWriting(blob) }
        defer { for blob in copies { use.endWriting(blob) } }
        do throws(R2Failure) {
            let isComplete =
                request.sourceSsecKey == request.ssecKey
                ? try await link(pieces.map(\.blob), as: copies)
                : try await transcode(pieces, as: copies, request)
            guard isComplete else {
                await remove(copies)
                return nil
            }
            var copy = copy
            copy.version = source.location == .blob ? copies[0] : Identifier.make(at: clock.wallTime())
            let content: ObjectIndex.NewContent =
                source.location == .blob
                ? .blob : .copies(zip(copies, pieces).map { StoredPiece(blob: $0, size: $1.size) })
            return try await commitCopy(copy, content, request, sourceBucket, bucket)
        } catch {
            await remove(copies)
            throw error
        }
    }

    /// Gives the blobs further names, which live and die on their own: blobs never change, so no byte is moved.
    ///
    /// - Returns: false when one of them has gone.
    private func link(_ blobs: [Identifier], as copies: [Identifier]) async throws(R2Failure) -> Bool {
        let batchCount = 256  // Some milliseconds of one I/O thread.
        for start in stride(from: 0, to: blobs.count, by: batchCount) {
            let end = min(blobs.count, start + batchCount)
            let isThere = try await threads.run { () throws(R2Failure) -> Bool in
                for index in start..<end {
                    do throws(SystemError) { try self.files.link(blobs[index], as: copies[index]) } catch {
                        if error.errno == 2 { return false }  // ENOENT
                        throw self.report(error, "copy")
                    }
                }
                return true
            }
            guard isThere else { return false }
        }
        do throws(SystemError) {
            for shard in Set(copies.map(\.shard)) { try await syncs.sync(shard) }
        } catch { throw report(error, "copy") }
        return true
    }

    /// Writes each blob anew: encrypted, decrypted, or under another key.
    private func transcode(
        _ pieces: [StoredPiece], as copies: [Identifier], _ request: R2CopyMessage
    ) async throws(R2Failure) -> Bool {
        let share = try await reserveMemory(forBodyOf: pieces.map(\.size).max() ?? 0)
        defer { withExtendedLifetime(share) {} }
        for (piece, copy) in zip(pieces, copies) {
            let whole = PiecesSource.Stretch(
                blob: piece.blob, offset: 0, byteCount: piece.size, blobByteCount: piece.size)
            let source = makeSource([whole], key: request.sourceSsecKey) {}
            let writer = BlobWriter(
                copy, files: files, threads: threads, syncs: syncs, supplied: nil, key: request.ssecKey)
            do {
                while let block = try await source.next() { try await writer.write(block) }
                _ = try await writer.finish()
            } catch {
                source.cancel()
                try? await writer.abandon()  // What is left of it is removed with the other copies, or swept.
                if let error = error as? SystemError, error.errno == 2, error.call == "open" { return false }
                throw report(error, "copy")
            }
        }
        return true
    }

    /// Removes blobs that will not be committed.
    private func remove(_ blobs: [Identifier]) async {
        guard !isIndexUncertain.load(ordering: .relaxed) else { return }
        await threads.run {
            for blob in blobs {
                do throws(SystemError) { try self.files.unlink(blob) } catch {
                    self.logger.log(.warning, "R2 blob not removed; the next sweep will", [("error", "\(error)")])
                }
            }
        }
    }

    private func commitCopy(
        _ copy: StoredObject, _ content: ObjectIndex.NewContent, _ request: R2CopyMessage, _ sourceBucket: String,
        _ bucket: String
    ) async throws(R2Failure) -> R2Object {
        var copy = copy
        copy.uploaded = clock.wallTime().milliseconds
        let made = copy
        var byteCount = 1024 + request.key.utf8.count
        switch content {
        case .index(let bytes): byteCount += bytes.count
        case .copies(let list), .pieces(let list): byteCount += list.count * 64
        case .blob: break
        }
        let (key, onlyIf) = (request.key, request.onlyIf)
        let change = ObjectChange.copy(.init(bucket: sourceBucket, key: request.sourceKey))
        let leftovers = try await commit("copy", byteCount: byteCount) {
            [index] transaction -> ObjectIndex.Leftovers? in
            guard let bucket = try index.bucket(bucket, transaction.reading) else {
                throw R2Failure.noSuchBucket
            }
            if onlyIf != nil {
                let old = try index.object(key, bucket: bucket, transaction.reading)
                guard Self.passes(onlyIf, old) else { throw R2Failure.preconditionFailed }
            }
            return try index.put(key, bucket: bucket, made, content, as: change, transaction)
        }
        discard(leftovers)
        return made.object(key: key)
    }
}
