internal import LMDB
internal import Synchronization

/// The environment's databases and what changes in them together: an entry, its place in the expiry index, the usage of its
/// namespace and tenant, the counts of the day. All steps of one write are in one transaction.
struct KVTables: Sendable {
    let catalog: KVCatalog
    let expiries: ExpiryIndex
    let quotas: KVQuotas

    /// A put that has passed all checks.
    struct Put: Sendable {
        var key: [UInt8]
        var value: ArraySlice<UInt8>
        var metadata: [UInt8]
        var expiration: Int64?
        var checksum: UInt32

        init(_ write: KVWrite, expiration: Int64?) {
            key = write.key
            value = write.value
            metadata = write.metadata.map { Array($0.utf8) } ?? []
            self.expiration = expiration
            checksum = RecordHeader.checksum(metadata: metadata, value: value)
        }

        var usage: KVUsage { KVUsage(keyCount: 1, byteCount: key.count + metadata.count + value.count) }
    }

    /// - Parameter spaces: Where room may be made, by the name of the space.
    func put(
        _ put: Put, in namespace: KVNamespaceState, spaces: [String: KVNamespaceState], at second: Int64,
        _ transaction: borrowing LMDBWriteTransaction
    ) throws {
        try check(namespace)
        var old = try present(put.key, in: namespace, transaction.reading)
        if let refusal = try refusal(of: put.usage - old.usage, in: namespace, transaction.reading) {
            guard try sweep(at: second, spaces: spaces, transaction) > 0 else { throw refusal }
            old = try present(put.key, in: namespace, transaction.reading)
            if let refusal = try self.refusal(of: put.usage - old.usage, in: namespace, transaction.reading) { throw refusal }
        }
        try count(.put, at: second, transaction)
        if let expiry = old.expiry { try expiries.remove(expiry, transaction) }
        var header = RecordHeader(expiry: nil, metadataByteCount: put.metadata.count, checksum: put.checksum)
        if let expiration = put.expiration {
            header.expiry = try expiries.insert(
                second: expiration, of: ExpiryIndex.Target(space: namespace.entry.space, key: put.key), transaction)
        }
        try namespace.keys.put(
            put.key, head: header.encoded(metadata: put.metadata, valueByteCount: put.value.count), tail: put.value,
            transaction)
        try charge(put.usage - old.usage, to: namespace, transaction)
    }

    func delete(
        _ key: [UInt8], in namespace: KVNamespaceState, at second: Int64, _ transaction: borrowing LMDBWriteTransaction
    ) throws {
        try check(namespace)
        try count(.delete, at: second, transaction)
        try remove(key, in: namespace, transaction)
    }

    private func remove(
        _ key: [UInt8], in namespace: KVNamespaceState, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        let old = try present(key, in: namespace, transaction.reading)
        if let expiry = old.expiry { try expiries.remove(expiry, transaction) }
        guard old.usage.keyCount > 0 else { return }
        try namespace.keys.delete(key, transaction)
        try charge(KVUsage() - old.usage, to: namespace, transaction)
    }

    /// Removes every entry of a namespace and all that speaks of them.
    func removeAll(
        in namespace: KVNamespaceState, _ transaction: borrowing LMDBWriteTransaction
    ) throws {
        try check(namespace)
        var places: [ExpiryEntry] = []
        try namespace.keys.visitAll(transaction.reading) { kind, _, record throws(LMDBError) in
            if kind != .bucket, let expiry = RecordHeader(record)?.expiry { places.append(expiry) }
            return true
        }
        for place in places {
            let target = try expiries.target(of: place, transaction.reading)
            if target?.space == namespace.entry.space { try expiries.remove(place, transaction) }
        }
        try transaction.removeAll(in: namespace.keys.database)
        let usage = try catalog.usage(of: namespace.entry.id, transaction.reading)
        try charge(KVUsage() - usage, to: namespace, transaction)
    }

    // MARK: Sweeping

    /// Removes what has expired, at most so many entries of the index.
    ///
    /// - Returns: how many it has removed. Those of namespaces that aren't in `spaces` stay.
    func sweep(
        at second: Int64, max: Int = 500, spaces: [String: KVNamespaceState],
        _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> Int {
        let due = try expiries.due(at: second, max: max, transaction.reading)
        var removedCount = 0
        for item in due {
            guard let target = item.target, let entry = item.entry else {
                try expiries.remove(at: item.place, transaction)  // Nobody can read it.
                removedCount += 1
                continue
            }
            guard let namespace = spaces[target.space], !namespace.isDeleted else {
                // Of a namespace that is gone: its entries are as well.
                if try catalog.owner(ofSpace: target.space, transaction.reading) == nil {
                    try expiries.remove(entry, transaction)
                    removedCount += 1
                }
                continue
            }
            removedCount += 1
            // The key may have been put anew since.
            if try present(target.key, in: namespace, transaction.reading).expiry == entry {
                try remove(target.key, in: namespace, transaction)
            } else {
                try expiries.remove(entry, transaction)
            }
        }
        return removedCount
    }

    // MARK: Accounts

    private func check(_ namespace: KVNamespaceState) throws(KVError) {
        if namespace.isDeleted { throw .namespaceNotFound }
    }

    /// What stands under `key` now, expired or not.
    private func present(
        _ key: [UInt8], in namespace: KVNamespaceState, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> (usage: KVUsage, expiry: ExpiryEntry?) {
        try namespace.keys.withRecord(of: key, transaction) { record throws(LMDBError) in
            (KVUsage(key: key, record), RecordHeader(record)?.expiry)
        } ?? (KVUsage(), nil)
    }

    private func refusal(
        of growth: KVUsage, in namespace: KVNamespaceState, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> KVError? {
        guard growth.byteCount > 0 else { return nil }
        for (id, bytesMax) in [(nil, quotas.tenantBytesMax), (namespace.entry.id, quotas.namespaceBytesMax)] {
            guard let bytesMax else { continue }
            let usage = try catalog.usage(of: id, transaction)
            if usage.byteCount + growth.byteCount > bytesMax { return .storageFull }
        }
        return nil
    }

    private func charge(
        _ change: KVUsage, to namespace: KVNamespaceState, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        guard change != KVUsage() else { return }
        for id in [nil, namespace.entry.id] {
            try catalog.setUsage(try catalog.usage(of: id, transaction.reading) + change, of: id, transaction)
        }
    }

    private func count(
        _ operation: DayCounts.Operation, at second: Int64, _ transaction: borrowing LMDBWriteTransaction
    ) throws {
        guard let max = quotas.max(operation) else { return }
        var counts = try catalog.counts(.writes, at: second, transaction.reading)
        guard counts[operation] < max else { throw KVError.dayFull }
        counts[operation] += 1
        try catalog.setCounts(.writes, counts, transaction)
    }
}

/// One namespace that is open. All who call it share the object.
final class KVNamespaceState: Sendable {
    let entry: KVCatalog.Entry
    let keys: KeySpace
    private let deleted = Atomic<Bool>(false)

    init(_ entry: KVCatalog.Entry, _ keys: KeySpace) {
        self.entry = entry
        self.keys = keys
    }

    /// Set before the commit that deletes it: who sees what came after the commit sees this too. Another namespace may have the
    /// space by then.
    var isDeleted: Bool { deleted.load(ordering: .acquiring) }
    func setDeleted(_ value: Bool) { deleted.store(value, ordering: .releasing) }
}

extension KVError {
    static let namespaceNotFound = KVError.refused(status: 404, text: "namespace not found")
    static let storageFull = KVError.refused(status: 507, text: "Storage Limit Exceeded")
    /// As the product says it, whose only such limits are those of its free plan.
    static let dayFull = KVError.refused(
        status: 429, text: "your account has reached the usage limit for this operation for today")
    static let tooFast = KVError.refused(status: 429, text: "Too Many Requests")
}
