internal import Interfaces
internal import LMDB
internal import System

/// How much each bucket holds, and all of them together. Changed in the transactions that change what it counts.
///
/// Bucket number, four bytes, big-endian → five little-endian integers. Number zero is the tenant.
struct UsageLedger: Sendable {
    private let table: LMDBDatabase

    init(_ environment: LMDBEnvironment) throws(LMDBError) { table = try environment.openDatabase("usage") }

    func usage(of bucket: UInt32, _ transaction: borrowing LMDBReadTransaction) throws(LMDBError) -> R2Usage {
        guard let row = try transaction.value(of: Self.key(bucket), in: table) else { return R2Usage() }
        guard row.count == 40 else { throw LMDBError("decode", .corrupted, on: "usage of bucket \(bucket)") }
        return R2Usage(
            objectCount: row.littleEndian(at: 0), payloadSize: row.littleEndian(at: 8),
            metadataSize: row.littleEndian(at: 16), uploadCount: row.littleEndian(at: 24),
            uploadPartsSize: row.littleEndian(at: 32))
    }

    func add(
        _ change: R2Usage, to bucket: UInt32, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        guard change != R2Usage() else { return }
        for number in [bucket, BucketSettings.tenant] {
            try put(try usage(of: number, transaction.reading) + change, of: number, transaction)
        }
    }

    func put(
        _ usage: R2Usage, of bucket: UInt32, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        guard usage != R2Usage() else {
            try transaction.delete(Self.key(bucket), in: table)
            return
        }
        var row: [UInt8] = []
        row.reserveCapacity(40)
        row.append(littleEndian: usage.objectCount)
        row.append(littleEndian: usage.payloadSize)
        row.append(littleEndian: usage.metadataSize)
        row.append(littleEndian: usage.uploadCount)
        row.append(littleEndian: usage.uploadPartsSize)
        try transaction.put(Self.key(bucket), row, in: table)
    }

    func removeAll(_ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) {
        try transaction.removeAll(in: table)
    }

    /// Throws when what is to be added is more than `limits` allow; what takes away always may.
    func check(
        adding change: R2Usage, to bucket: UInt32, _ settings: BucketSettings,
        _ transaction: borrowing LMDBReadTransaction
    ) throws {
        for number in [bucket, BucketSettings.tenant] {
            guard let limits = try settings.limits(of: number, transaction) else { continue }
            let usage = try usage(of: number, transaction) + change
            let ofTenant = number == BucketSettings.tenant
            if let most = limits.storedSizeMax, change.storedSize > 0, usage.storedSize > most {
                throw R2Failure.storageLimitExceeded(.bytes(most, ofTenant: ofTenant))
            }
            if let most = limits.objectCountMax, change.objectCount > 0, usage.objectCount > most {
                throw R2Failure.storageLimitExceeded(.objects(most, ofTenant: ofTenant))
            }
        }
    }

    private static func key(_ bucket: UInt32) -> [UInt8] {
        var key: [UInt8] = []
        key.append(bigEndian: bucket)
        return key
    }
}
