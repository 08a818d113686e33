internal import FoundationEssentials
internal import Interfaces
internal import LMDB
internal import Synchronization
internal import System

/// What is set for each bucket: lifecycle, locks, notifications, limits, CORS and what was said when it was made. A table of the index, so that a write and
/// what the settings make of it are one transaction.
///
/// A setting is stored as JSON, as the API shows it, under the bucket's number and the setting's kind. Bucket number
/// zero, which no bucket has, stands for the tenant.
struct BucketSettings: Sendable {
    enum Kind: UInt8, CaseIterable {
        case lifecycle = 1
        case locks = 2
        case notifications = 3
        case limits = 4
        case cors = 5
        case properties = 6
    }
    static let tenant: UInt32 = 0

    private let table: LMDBDatabase
    private let decoded = DecodedSettings()

    init(_ environment: LMDBEnvironment) throws(LMDBError) {
        table = try environment.openDatabase("bucket-settings")
    }

    /// Never set: the rules that new buckets have.
    func lifecycle(
        of bucket: UInt32, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> [R2LifecycleRule] {
        let rules: R2RuleSet<R2LifecycleRule>? = try get(.lifecycle, bucket, transaction)
        return rules?.rules ?? R2LifecycleRule.ofNewBuckets
    }

    func locks(of bucket: UInt32, _ transaction: borrowing LMDBReadTransaction) throws(LMDBError) -> [R2LockRule] {
        let rules: R2RuleSet<R2LockRule>? = try get(.locks, bucket, transaction)
        return rules?.rules ?? []
    }

    func notifications(
        of bucket: UInt32, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> R2Notifications? {
        try get(.notifications, bucket, transaction)
    }

    func limits(
        of bucket: UInt32, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> R2StorageLimits? {
        try get(.limits, bucket, transaction)
    }

    func cors(of bucket: UInt32, _ transaction: borrowing LMDBReadTransaction) throws(LMDBError) -> [R2CorsRule] {
        let rules: R2CorsRules? = try get(.cors, bucket, transaction)
        return rules?.rules ?? []
    }

    func properties(
        of bucket: UInt32, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> R2BucketProperties {
        try get(.properties, bucket, transaction) ?? R2BucketProperties()
    }

    /// Stores `value`; `nil` goes back to what a new bucket has.
    func put(
        _ value: (any Encodable)?, as kind: Kind, of bucket: UInt32, _ transaction: borrowing LMDBWriteTransaction
    ) throws {
        let key = Self.key(kind, bucket)
        guard let value else {
            try transaction.delete(key, in: table)
            return
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        try transaction.put(key, Array(encoder.encode(value)), in: table)
    }

    func removeAll(of bucket: UInt32, _ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) {
        for kind in Kind.allCases { try transaction.delete(Self.key(kind, bucket), in: table) }
    }

    private func get<Value: Decodable & Sendable>(
        _ kind: Kind, _ bucket: UInt32, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> Value? {
        let key = Self.key(kind, bucket)
        guard let json = try transaction.value(of: key, in: table) else { return nil }
        return try decoded.value(of: key, json)
    }

    private static func key(_ kind: Kind, _ bucket: UInt32) -> [UInt8] {
        var key: [UInt8] = []
        key.append(bigEndian: bucket)
        return key + [kind.rawValue]
    }
}

/// Keeps what settings were decoded to, since every write asks for them. What the table says counts: an entry is used only
/// for the very bytes that it was made from, in whatever transaction they are found.
private final class DecodedSettings: Sendable {
    private struct Entry {
        var json: [UInt8]
        var value: any Sendable
    }
    private static let entriesMax = 256
    private let entries = Mutex<[[UInt8]: Entry]>([:])

    func value<Value: Decodable & Sendable>(of key: [UInt8], _ json: [UInt8]) throws(LMDBError) -> Value {
        if let known = entries.withLock({ $0[key] }), known.json == json, let value = known.value as? Value {
            return value
        }
        let value: Value
        do {
            value = try JSONDecoder().decode(Value.self, from: Data(json))
        } catch {
            throw LMDBError("decode", .corrupted, on: "bucket settings: \(error)")
        }
        entries.withLock { entries in
            if entries.count >= Self.entriesMax { entries.removeAll() }
            entries[key] = Entry(json: json, value: value)
        }
        return value
    }
}
