package import Interfaces
internal import LMDB

extension EmbeddedR2Store {
    /// One page of the bucket's uploads in progress.
    ///
    /// The index has uploads in the order of their ids, and they are given up after a week, so there are few: each page
    /// looks at all of them and keeps the first ones. Time is linear in the tenant's open uploads, memory in the limit.
    package func listUploads(
        _ request: R2ListUploadsMessage, in bucket: String
    ) async throws(R2Failure) -> R2Uploads {
        guard (1...Int64(R2Limits.listedMax)).contains(request.limit) else { throw .invalidMaxKeys }
        return try await threads.run { () throws(R2Failure) in
            let page = try self.read("listMultipartUploads") { transaction throws(LMDBError) -> R2Uploads? in
                guard let bucket = try self.index.bucket(bucket, transaction) else { return nil }
                var page = UploadsPage(request)
                try self.index.visitUploads(transaction) { id, upload in
                    if upload.bucket == bucket { page.add(id, upload) }
                }
                return page.result
            }
            guard let page else { throw R2Failure.noSuchBucket }
            return page
        }
    }

    /// One page of an upload's parts.
    package func listParts(
        _ request: R2ListPartsMessage, in bucket: String
    ) async throws(R2Failure) -> R2Parts {
        try Self.check(key: request.key)
        guard (1...Int64(R2Limits.listedMax)).contains(request.limit) else { throw .invalidMaxKeys }
        guard let id = Identifier(hexadecimal: request.uploadId) else { throw .noSuchUpload }
        return try await threads.run { () throws(R2Failure) in
            guard let upload = try self.upload(id, of: request.key, in: bucket, "listParts") else {
                throw R2Failure.noSuchUpload
            }
            let first = Int(min(max(0, request.afterPartNumber), Int64(R2Limits.partsMax))) + 1
            let limit = Int(request.limit)
            let found = try self.read("listParts") { transaction throws(LMDBError) in
                try self.index.parts(of: id, from: first, limit: limit + 1, transaction)
            }
            let parts = found.prefix(limit).map { number, part in
                var listed = R2ListedPart(
                    partNumber: number, etag: R2Hex.encode(part.md5), size: part.size,
                    uploaded: part.blob.milliseconds)
                listed.checksum = part.checksum
                return listed
            }
            var page = R2Parts(parts: parts, truncated: found.count > limit)
            page.checksumAlgorithm = upload.checksumAlgorithm
            return page
        }
    }
}

/// The first entries behind a place, of entries that come in any order.
private struct UploadsPage {
    private struct Entry {
        /// A key or a folded prefix.
        var text: [UInt8]
        /// `nil` for a prefix.
        var upload: (id: Identifier, upload: StoredUpload)?

        /// By key, then by id. A prefix that is a key as well can't be: a key that ends in it would be folded.
        func precedes(_ other: Entry) -> Bool {
            if text != other.text { return text.lexicographicallyPrecedes(other.text) }
            guard let left = upload?.id, let right = other.upload?.id else { return false }
            return (left.high, left.low) < (right.high, right.low)
        }
    }
    private let limit: Int
    private let prefix: [UInt8]
    private let delimiter: [UInt8]
    private let after: (text: [UInt8], id: Identifier?)?
    /// Sorted; one more than the limit at most.
    private var entries: [Entry] = []

    init(_ request: R2ListUploadsMessage) {
        limit = Int(request.limit)
        prefix = Array(request.prefix.utf8)
        delimiter = Array(request.delimiter.utf8)
        after = request.after.map { (Array($0.key.utf8), $0.uploadId.flatMap { Identifier(hexadecimal: $0) }) }
    }

    mutating func add(_ id: Identifier, _ upload: StoredUpload) {
        let key = Array(upload.key.utf8)
        guard key.starts(with: prefix) else { return }
        let entry: Entry
        if let end = EmbeddedR2Store.end(of: delimiter, in: key[...], behind: prefix.count) {
            entry = Entry(text: Array(key[..<end]), upload: nil)
        } else {
            entry = Entry(text: key, upload: (id, upload))
        }
        guard isBehindMarker(entry) else { return }
        let place = entries.partitioningIndex { !$0.precedes(entry) }
        if entry.upload == nil, place < entries.count, entries[place].text == entry.text { return }
        guard place <= limit else { return }
        entries.insert(entry, at: place)
        if entries.count > limit + 1 { entries.removeLast() }
    }

    private func isBehindMarker(_ entry: Entry) -> Bool {
        guard let after else { return true }
        if entry.text != after.text { return after.text.lexicographicallyPrecedes(entry.text) }
        guard let id = entry.upload?.id, let last = after.id else { return false }
        return (last.high, last.low) < (id.high, id.low)
    }

    var result: R2Uploads {
        var page = R2Uploads()
        for entry in entries.prefix(limit) {
            if let (id, upload) = entry.upload {
                var open = R2UploadInProgress(
                    key: upload.key, uploadId: id.hexadecimal, initiated: upload.created,
                    storageClass: upload.attributes.storageClass)
                open.checksumAlgorithm = upload.checksumAlgorithm
                page.uploads.append(open)
            } else {
                page.delimitedPrefixes.append(String(decoding: entry.text, as: UTF8.self))
            }
        }
        if entries.count > limit, let last = entries.prefix(limit).last {
            page.next = R2Uploads.Marker(
                key: String(decoding: last.text, as: UTF8.self), uploadId: last.upload?.id.hexadecimal)
        }
        return page
    }
}

extension Array {
    /// The first index whose element `isBehind`, which holds for all elements after one for which it holds.
    fileprivate func partitioningIndex(where isBehind: (Element) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if isBehind(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
