internal import Interfaces
internal import LMDB

/// Why an object comes or goes: decides what is told of it.
enum ObjectChange: Sendable {
    case put
    case copy(R2ObjectEvent.Source)
    case completeMultipart
    case delete
    case lifecycleDeletion

    var action: R2EventAction {
        switch self {
        case .put: .putObject
        case .copy: .copyObject
        case .completeMultipart: .completeMultipartUpload
        case .delete: .deleteObject
        case .lifecycleDeletion: .lifecycleDeletion
        }
    }
}

/// What every change of an object has to ask and to leave behind, in its own transaction: locks, usage, events.
extension ObjectIndex {
    struct Entry {
        var object: StoredObject
        var footprint: R2Usage
    }

    func entry(
        _ key: String, bucket: UInt32, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> Entry? {
        guard let record = try objects.value(of: Self.key(key, bucket), transaction) else { return nil }
        let object = try StoredObject(record: record)
        return Entry(object: object, footprint: Self.footprint(key, object, recordByteCount: record.count))
    }

    static func footprint(_ key: String, _ object: StoredObject, recordByteCount: Int) -> R2Usage {
        R2Usage(objectCount: 1, payloadSize: object.size, metadataSize: Int64(key.utf8.count + recordByteCount))
    }

    func refuseIfLocked(
        _ entry: Entry, _ key: String, bucket: UInt32, at now: Int64, _ transaction: borrowing LMDBReadTransaction
    ) throws {
        let locks = try bucketSettings.locks(of: bucket, transaction)
        if locks.isEmpty { return }
        guard !RetentionPolicy(locks).isLocked(key, uploaded: entry.object.uploaded, now: now) else {
            throw R2Failure.objectLocked
        }
    }

    /// The same for many, before the first of them is touched.
    func refuseIfAnyIsLocked(
        _ keys: [String], bucket: UInt32, at now: Int64, _ transaction: borrowing LMDBReadTransaction
    ) throws {
        let locks = try bucketSettings.locks(of: bucket, transaction)
        if locks.isEmpty { return }
        let policy = RetentionPolicy(locks)
        for key in keys {
            guard let object = try object(key, bucket: bucket, transaction) else { continue }
            guard !policy.isLocked(key, uploaded: object.uploaded, now: now) else { throw R2Failure.objectLocked }
        }
    }

    /// Leaves an event for the queue that wants to know.
    func tell(
        _ change: ObjectChange, _ key: String, _ object: StoredObject?, bucket: UInt32, at now: Int64,
        _ transaction: borrowing LMDBWriteTransaction
    ) throws {
        guard let notifications = try bucketSettings.notifications(of: bucket, transaction.reading),
            let queue = notifications.queue(for: change.action, key: key)
        else { return }
        var event = R2ObjectEvent(
            change.action, bucket: notifications.bucketName, key: key, size: object?.size, etag: object?.etag, time: now)
        if case .copy(let source) = change { event.copySource = source }
        try outbox.append(event, to: queue, transaction)
    }

    /// Moves an object to another storage class; its version, ETag and time stay.
    func setStorageClass(
        _ storageClass: R2StorageClass, of key: String, bucket: UInt32, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        guard let old = try entry(key, bucket: bucket, transaction.reading) else { return }
        var object = old.object
        object.attributes.storageClass = storageClass
        let record = object.encoded()
        try objects.put(Self.key(key, bucket), record, transaction)
        let new = Self.footprint(key, object, recordByteCount: record.count)
        try ledger.add(new + -old.footprint, to: bucket, transaction)
    }

    /// Counts bytes of an upload's parts.
    func count(
        _ byteCount: Int64, of upload: Identifier, _ transaction: borrowing LMDBWriteTransaction
    ) throws {
        guard let record = try transaction.value(of: upload.bytes, in: uploads) else { return }
        let bucket = try StoredUpload(record: record).bucket
        let change = R2Usage(uploadPartsSize: byteCount)
        try ledger.check(adding: change, to: bucket, bucketSettings, transaction.reading)
        try ledger.add(change, to: bucket, transaction)
    }

    // MARK: Counting

    private static let countedKey = Array("usage was counted".utf8)

    /// Counts what was stored before usage was kept.
    func countOnce() throws {
        let isCounted = try environment.read { transaction throws(LMDBError) in
            try transaction.contains(Self.countedKey, in: settings)
        }
        if isCounted { return }
        try environment.write { transaction in
            try recount(transaction)
            try transaction.put(Self.countedKey, [1], in: settings)
        }
    }

    /// Replaces the ledger by what there is.
    func recount(_ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) {
        let counted = try counted(transaction.reading)
        try ledger.removeAll(transaction)
        for (bucket, usage) in counted { try ledger.put(usage, of: bucket, transaction) }
        try ledger.put(counted.values.reduce(R2Usage(), +), of: BucketSettings.tenant, transaction)
    }

    /// What each bucket holds, counted one by one.
    func counted(_ transaction: borrowing LMDBReadTransaction) throws(LMDBError) -> [UInt32: R2Usage] {
        var counted: [UInt32: R2Usage] = [:]
        try objects.scan(from: [], transaction) { key, record throws(LMDBError) in
            let object = try StoredObject(record: record)
            let usage = R2Usage(
                objectCount: 1, payloadSize: object.size, metadataSize: Int64(key.count - 4 + record.count))
            counted[Self.number(key), default: R2Usage()] = counted[Self.number(key), default: R2Usage()] + usage
            return .next
        }
        for (id, upload) in try uploads(transaction, where: { _ in true }) {
            let size = try parts(of: id, transaction).values.reduce(0) { $0 + $1.size }
            let usage = R2Usage(uploadCount: 1, uploadPartsSize: size)
            counted[upload.bucket] = counted[upload.bucket, default: R2Usage()] + usage
        }
        return counted
    }
}
