internal import FoundationEssentials
internal import LMDB

/// A name under which everybody may read the objects of a bucket.
package struct R2BucketDomain: Codable, Equatable, Sendable {
    /// A host name in small letters; of the node's own names the first label alone (`pub-…`).
    package var name: String
    package var bucket: String
    /// Whether it is one of the node's own names, under its domain.
    package var isManaged: Bool
    package var isEnabled: Bool
    /// The oldest TLS that clients may speak, as `1.2`; `nil`: all that the node speaks.
    package var minimumTLS: String?
    /// The names of the cipher suites of TLS 1.2 that clients may use; empty: all.
    package var ciphers: [String]
    /// Milliseconds since 1970.
    package var createdAt: Int64

    package init(
        name: String, bucket: String, isManaged: Bool = false, isEnabled: Bool = true, minimumTLS: String? = nil,
        ciphers: [String] = [], createdAt: Int64 = 0
    ) {
        self.name = name
        self.bucket = bucket
        self.isManaged = isManaged
        self.isEnabled = isEnabled
        self.minimumTLS = minimumTLS
        self.ciphers = ciphers
        self.createdAt = createdAt
    }

    /// As it is stored.
    package var record: [UInt8] {
        get throws {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            return Array(try encoder.encode(self))
        }
    }
}

/// The domains of all buckets of a tenant, by name: a table of the index, so that a bucket that is deleted has none.
struct BucketDomains: Sendable {
    /// As the product's, of one bucket. With those of all buckets a tenant can't fill the node's routing table.
    static let countMaxOfBucket = 50
    static let countMax = 2_000

    private let table: LMDBDatabase

    init(_ environment: LMDBEnvironment) throws(LMDBError) { table = try environment.openDatabase("bucket-domains") }

    /// In byte order of their names.
    func all(_ transaction: borrowing LMDBReadTransaction) throws(LMDBError) -> [R2BucketDomain] {
        try transaction.withCursor(table) { cursor throws(LMDBError) in
            var found: [R2BucketDomain] = []
            var isThere = try cursor.moveToFirst()
            while isThere {
                found.append(try Self.decode(cursor.value))
                isThere = try cursor.moveToNext()
            }
            return found
        }
    }

    func domain(_ name: String, _ transaction: borrowing LMDBReadTransaction) throws(LMDBError) -> R2BucketDomain? {
        try record(name, transaction).map { json throws(LMDBError) in try Self.decode(json) }
    }

    func record(_ name: String, _ transaction: borrowing LMDBReadTransaction) throws(LMDBError) -> [UInt8]? {
        try transaction.value(of: Array(name.utf8), in: table)
    }

    func put(_ domain: R2BucketDomain, _ transaction: borrowing LMDBWriteTransaction) throws {
        try transaction.put(Array(domain.name.utf8), domain.record, in: table)
    }

    func remove(_ name: String, _ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) {
        try transaction.delete(Array(name.utf8), in: table)
    }

    func removeAll(of bucket: String, _ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) {
        for domain in try all(transaction.reading) where domain.bucket == bucket { try remove(domain.name, transaction) }
    }

    private static func decode(_ json: [UInt8]) throws(LMDBError) -> R2BucketDomain {
        do { return try JSONDecoder().decode(R2BucketDomain.self, from: Data(json)) } catch {
            throw LMDBError("decode", .corrupted, on: "bucket domains: \(error)")
        }
    }
}
