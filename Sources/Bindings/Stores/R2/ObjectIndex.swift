internal import Interfaces
internal import LMDB

/// The tables of the index, and what a transaction does to them. It knows no file: what it takes out of use
/// it returns.
struct ObjectIndex: Sendable {
    /// 2: objects may be encrypted, uploads have checksums. What version 1 wrote is read as it is.
    static let format = "r2 2"

    let environment: LMDBEnvironment
    /// The number of the last bucket made; whether what there is was counted.
    let settings: LMDBDatabase
    /// Bucket name → number, four bytes, big-endian.
    let buckets: LMDBDatabase
    /// Bucket number, key → `StoredObject`.
    let objects: LongKeys
    /// Version → bytes of an object that lives in the index.
    let contents: LMDBDatabase
    /// Version → `[StoredPiece]`.
    let pieces: LMDBDatabase
    /// Blobs in use. A file whose name isn't here, and that nobody is writing, is an orphan.
    let blobs: LMDBDatabase
    /// Upload → `StoredUpload`.
    let uploads: LMDBDatabase
    /// Upload, part number (two bytes, big-endian) → `StoredPart`.
    let parts: LMDBDatabase
    let bucketSettings: BucketSettings
    let domains: BucketDomains
    let ledger: UsageLedger
    let outbox: EventOutbox

    /// - Parameter eventsMax: How many events may wait for their queues.
    init(_ environment: LMDBEnvironment, eventsMax: Int) throws {
        try environment.requireFormat(Self.format, upgrading: ["r2 1"])
        self.environment = environment
        settings = try environment.openDatabase("settings")
        buckets = try environment.openDatabase("buckets")
        objects = try LongKeys(environment, name: "objects")
        contents = try environment.openDatabase("contents")
        pieces = try environment.openDatabase("pieces")
        blobs = try environment.openDatabase("blobs")
        uploads = try environment.openDatabase("uploads")
        parts = try environment.openDatabase("parts")
        bucketSettings = try BucketSettings(environment)
        domains = try BucketDomains(environment)
        ledger = try UsageLedger(environment)
        outbox = try EventOutbox(environment, countMax: eventsMax)
        try countOnce()
    }

    private static let lastBucketKey = Array("last bucket".utf8)

    // MARK: Buckets

    func bucket(_ name: String, _ transaction: borrowing LMDBReadTransaction) throws(LMDBError) -> UInt32? {
        try transaction.value(of: Array(name.utf8), in: buckets).map(Self.number)
    }

    func makeBucket(_ name: String, _ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) {
        guard try bucket(name, transaction.reading) == nil else { return }
        let last = try transaction.value(of: Self.lastBucketKey, in: settings).map(Self.number) ?? 0
        try transaction.put(Self.lastBucketKey, Self.bytes(last + 1), in: settings)
        try transaction.put(Array(name.utf8), Self.bytes(last + 1), in: buckets)
    }

    /// The caller has seen that the bucket holds no object and no upload.
    func removeBucket(_ name: String, _ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) {
        guard let number = try bucket(name, transaction.reading) else { return }
        try bucketSettings.removeAll(of: number, transaction)
        try domains.removeAll(of: name, transaction)
        try transaction.delete(Array(name.utf8), in: buckets)
    }

    func bucketNames(_ transaction: borrowing LMDBReadTransaction) throws(LMDBError) -> [String] {
        try transaction.withCursor(buckets) { cursor throws(LMDBError) in
            var names: [String] = []
            var isThere = try cursor.moveToFirst()
            while isThere {
                names.append(String(decoding: cursor.key, as: UTF8.self))
                isThere = try cursor.moveToNext()
            }
            return names
        }
    }

    func bucketCount(_ transaction: borrowing LMDBReadTransaction) throws(LMDBError) -> Int {
        try transaction.count(of: buckets)
    }

    func isEmpty(bucket: UInt32, _ transaction: borrowing LMDBReadTransaction) throws(LMDBError) -> Bool {
        let prefix = Self.bytes(bucket)
        var isEmpty = true
        try objects.scan(from: prefix, transaction) { key, _ in
            isEmpty = !key.starts(with: prefix)
            return .stop
        }
        return isEmpty
    }

    // MARK: Objects

    func object(
        _ key: String, bucket: UInt32, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> StoredObject? {
        guard let record = try objects.value(of: Self.key(key, bucket), transaction) else { return nil }
        return try StoredObject(record: record)
    }

    /// Copies the part of an object's bytes that lives in the index.
    func content(
        of version: Identifier, range: Range<Int>, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> [UInt8] {
        if range.isEmpty { return [] }
        let copy = try transaction.withValue(of: version.bytes, in: contents) {
            value throws(LMDBError) -> [UInt8]? in
            guard range.upperBound <= value.byteCount else { return nil }
            let part = value.extracting(range)
            // SAFETY: copied while the span lives.
            return unsafe part.withUnsafeBytes { bytes in unsafe Array(bytes) }
        }
        guard let copy, let copy else {
            throw LMDBError("read", .corrupted, on: "content of \(version.hexadecimal)")
        }
        return copy
    }

    func pieces(
        of version: Identifier, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> [StoredPiece] {
        guard let record = try transaction.value(of: version.bytes, in: pieces) else {
            throw LMDBError("read", .corrupted, on: "pieces of \(version.hexadecimal)")
        }
        return try StoredPiece.decode(record)
    }

    enum NewContent: Sendable {
        case index([UInt8])
        /// The blob of the version's name, which is durable by now.
        case blob
        /// Blobs that are in use already: parts of an upload.
        case pieces([StoredPiece])
        /// Blobs that are durable by now and not in use: copies of others.
        case copies([StoredPiece])
    }

    /// Stores an object; whatever was under its key is taken out of use. Counts it, and writes what must be told of it.
    ///
    /// - Returns: what replaced objects leave behind.
    /// - Throws: `LMDBError`; `R2Failure` when the old object is locked, or the new one is more than may be stored.
    func put(
        _ key: String, bucket: UInt32, _ object: StoredObject, _ content: NewContent, as change: ObjectChange,
        _ transaction: borrowing LMDBWriteTransaction
    ) throws -> Leftovers? {
        let record = object.encoded()
        let old = try entry(key, bucket: bucket, transaction.reading)
        if let old { try refuseIfLocked(old, key, bucket: bucket, at: object.uploaded, transaction.reading) }
        let usage = Self.footprint(key, object, recordByteCount: record.count) + -(old?.footprint ?? R2Usage())
        // The parts that a completed upload is made of were counted when they came.
        let added = if case .completeMultipart = change { R2Usage(objectCount: usage.objectCount) } else { usage }
        try ledger.check(adding: added, to: bucket, bucketSettings, transaction.reading)
        let leftovers = try old.flatMap { old throws(LMDBError) in
            try takeOut(old.object, key, bucket: bucket, transaction)
        }
        let version = object.version.bytes
        switch content {
        case .index(let bytes):
            if !bytes.isEmpty { try transaction.put(version, bytes, in: contents) }
        case .blob: try transaction.put(version, [1], in: blobs)
        case .pieces(let list): try transaction.put(version, StoredPiece.encode(list), in: pieces)
        case .copies(let list):
            try transaction.put(version, StoredPiece.encode(list), in: pieces)
            for piece in list { try transaction.put(piece.blob.bytes, [1], in: blobs) }
        }
        try objects.put(Self.key(key, bucket), record, transaction)
        try ledger.add(usage, to: bucket, transaction)
        try tell(change, key, object, bucket: bucket, at: object.uploaded, transaction)
        return leftovers
    }

    /// Blobs that nothing in the index names any more; they can be unlinked once this is committed.
    struct Leftovers: Sendable {
        /// Who reads them has pinned this.
        var version: Identifier
        var blobs: [Identifier]
    }

    /// Removes the object, if there is one.
    ///
    /// - Throws: `LMDBError`; `R2Failure.objectLocked`.
    func removeObject(
        _ key: String, bucket: UInt32, as change: ObjectChange, at now: Int64,
        _ transaction: borrowing LMDBWriteTransaction
    ) throws -> Leftovers? {
        guard let old = try entry(key, bucket: bucket, transaction.reading) else { return nil }
        try refuseIfLocked(old, key, bucket: bucket, at: now, transaction.reading)
        let leftovers = try takeOut(old.object, key, bucket: bucket, transaction)
        try ledger.add(-old.footprint, to: bucket, transaction)
        try tell(change, key, nil, bucket: bucket, at: now, transaction)
        return leftovers
    }

    private func takeOut(
        _ old: StoredObject, _ key: String, bucket: UInt32, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> Leftovers? {
        let version = old.version.bytes
        try objects.delete(Self.key(key, bucket), transaction)
        switch old.location {
        case .index:
            try transaction.delete(version, in: contents)
            return nil
        case .blob:
            try transaction.delete(version, in: blobs)
            return Leftovers(version: old.version, blobs: [old.version])
        case .pieces:
            let list = try pieces(of: old.version, transaction.reading)
            try transaction.delete(version, in: pieces)
            for piece in list { try transaction.delete(piece.blob.bytes, in: blobs) }
            return Leftovers(version: old.version, blobs: list.map(\.blob))
        }
    }

    /// Visits the bucket's objects from `bound` on in the order of their keys' bytes.
    func scan(
        bucket: UInt32, from bound: [UInt8], _ transaction: borrowing LMDBReadTransaction,
        _ visit: (_ key: ArraySlice<UInt8>, _ record: [UInt8]) throws(LMDBError) -> LongKeys.Step
    ) throws(LMDBError) {
        let prefix = Self.bytes(bucket)
        try objects.scan(from: prefix + bound, transaction) { key, record throws(LMDBError) in
            guard key.starts(with: prefix) else { return .stop }
            switch try visit(key[prefix.count...], record) {
            case .next: return .next
            case .seek(let next): return .seek(prefix + next)
            case .stop: return .stop
            }
        }
    }

    func isUsed(_ blob: Identifier, _ transaction: borrowing LMDBReadTransaction) throws(LMDBError) -> Bool {
        try transaction.contains(blob.bytes, in: blobs)
    }

    // MARK: Uploads

    func putUpload(
        _ id: Identifier, _ upload: StoredUpload, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        try transaction.put(id.bytes, upload.encoded(), in: uploads)
        try ledger.add(R2Usage(uploadCount: 1), to: upload.bucket, transaction)
    }

    /// The upload, if it is one of this key.
    func upload(
        _ id: Identifier, key: String, bucket: UInt32, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> StoredUpload? {
        guard let record = try transaction.value(of: id.bytes, in: uploads) else { return nil }
        let upload = try StoredUpload(record: record)
        // By bytes: `==` takes different spellings of a character for the same.
        return upload.bucket == bucket && upload.key.utf8.elementsEqual(key.utf8) ? upload : nil
    }

    /// Shows each upload, in the order of their ids.
    func visitUploads(
        _ transaction: borrowing LMDBReadTransaction, _ visit: (Identifier, StoredUpload) -> Void
    ) throws(LMDBError) {
        try transaction.withCursor(uploads) { cursor throws(LMDBError) in
            var isThere = try cursor.moveToFirst()
            while isThere {
                if let id = Identifier(cursor.key) { visit(id, try StoredUpload(record: cursor.value)) }
                isThere = try cursor.moveToNext()
            }
        }
    }

    /// All uploads that `isWanted` picks.
    func uploads(
        _ transaction: borrowing LMDBReadTransaction, where isWanted: (StoredUpload) -> Bool
    ) throws(LMDBError) -> [(id: Identifier, upload: StoredUpload)] {
        try transaction.withCursor(uploads) { cursor throws(LMDBError) in
            var found: [(id: Identifier, upload: StoredUpload)] = []
            var isThere = try cursor.moveToFirst()
            while isThere {
                let upload = try StoredUpload(record: cursor.value)
                if isWanted(upload), let id = Identifier(cursor.key) { found.append((id, upload)) }
                isThere = try cursor.moveToNext()
            }
            return found
        }
    }

    /// Stores a part whose blob is durable; returns the blob of the part that it replaces.
    func putPart(
        _ number: Int, of upload: Identifier, _ part: StoredPart,
        _ transaction: borrowing LMDBWriteTransaction
    ) throws -> Identifier? {
        let key = Self.partKey(number, upload)
        let old = try transaction.value(of: key, in: parts)
        let replaced = try old.map { record throws(LMDBError) in try StoredPart(record: record) }
        try count(part.size - (replaced?.size ?? 0), of: upload, transaction)
        try transaction.put(key, part.encoded(), in: parts)
        try transaction.put(part.blob.bytes, [1], in: blobs)
        if let replaced { try transaction.delete(replaced.blob.bytes, in: blobs) }
        return replaced?.blob
    }

    func parts(
        of upload: Identifier, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> [Int: StoredPart] {
        let prefix = upload.bytes
        return try transaction.withCursor(parts) { cursor throws(LMDBError) in
            var found: [Int: StoredPart] = [:]
            var isThere = try cursor.seek(prefix)
            while isThere, cursor.keyStarts(with: prefix) {
                let number = cursor.key.dropFirst(prefix.count).reduce(0) { $0 << 8 | Int($1) }
                found[number] = try StoredPart(record: cursor.value)
                isThere = try cursor.moveToNext()
            }
            return found
        }
    }

    /// At most `limit` parts from number `first` on, in order of their numbers.
    func parts(
        of upload: Identifier, from first: Int, limit: Int, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> [(number: Int, part: StoredPart)] {
        let prefix = upload.bytes
        return try transaction.withCursor(parts) { cursor throws(LMDBError) in
            var found: [(number: Int, part: StoredPart)] = []
            var isThere = try cursor.seek(Self.partKey(first, upload))
            while isThere, found.count < limit, cursor.keyStarts(with: prefix) {
                let number = cursor.key.dropFirst(prefix.count).reduce(0) { $0 << 8 | Int($1) }
                found.append((number, try StoredPart(record: cursor.value)))
                isThere = try cursor.moveToNext()
            }
            return found
        }
    }

    /// Forgets the upload. Blobs of parts other than `kept` are taken out of use and returned.
    func removeUpload(
        _ id: Identifier, keeping kept: Set<Identifier> = [], _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> [Identifier] {
        var leftovers: [Identifier] = []
        let record = try transaction.value(of: id.bytes, in: uploads)
        let upload = try record.map { record throws(LMDBError) in try StoredUpload(record: record) }
        var usage = R2Usage(uploadCount: -1)
        for (number, part) in try parts(of: id, transaction.reading) {
            usage.uploadPartsSize -= part.size
            try transaction.delete(Self.partKey(number, id), in: parts)
            guard !kept.contains(part.blob) else { continue }
            try transaction.delete(part.blob.bytes, in: blobs)
            leftovers.append(part.blob)
        }
        try transaction.delete(id.bytes, in: uploads)
        if let upload { try ledger.add(usage, to: upload.bucket, transaction) }
        return leftovers
    }

    // MARK: Keys

    static func bytes(_ number: UInt32) -> [UInt8] {
        stride(from: 24, through: 0, by: -8).map { UInt8(truncatingIfNeeded: number >> $0) }
    }

    static func number(_ bytes: [UInt8]) -> UInt32 {
        bytes.prefix(4).reduce(0) { $0 << 8 | UInt32($1) }
    }

    static func key(_ key: String, _ bucket: UInt32) -> [UInt8] { bytes(bucket) + key.utf8 }

    private static func partKey(_ number: Int, _ upload: Identifier) -> [UInt8] {
        upload.bytes + [UInt8(truncatingIfNeeded: number >> 8), UInt8(truncatingIfNeeded: number)]
    }
}
