/// What `verify` found: the damage, and where.
package struct KVFinding: Equatable, Sendable, CustomStringConvertible {
    package enum Kind: String, Equatable, Sendable {
        /// Shorter or longer than its header says, or without one. Gets of it fail.
        case tornRecord = "torn record"
        /// Whole, but not what was written.
        case changedRecord = "changed record"
        /// A key that no put could have made.
        case badKey = "bad key"
        /// The keys of one bucket are out of order, doubled, or cut off.
        case brokenBucket = "broken bucket"
        /// A long key whose record is gone: it reads as missing.
        case lostRecord = "lost record"
        /// A record that no long key leads to: nobody can read it.
        case unreachableRecord = "unreachable record"
        /// It expires, and the sweeper doesn't know: its space would never be freed.
        case missingExpiry = "missing expiry"
        /// An entry of the expiry index that stands for nothing.
        case strayExpiry = "stray expiry"
        /// Keys or bytes are counted wrongly.
        case wrongUsage = "wrong usage"
        /// A title or space leads nowhere, or to another namespace.
        case brokenCatalog = "broken catalog"
        /// Entries that no namespace has.
        case lostNamespace = "lost namespace"
    }
    package let kind: Kind
    /// The namespace's title, or its space where it has none; empty for what concerns all.
    package let namespace: String
    package let detail: String
    /// Whether `repair` mends it. It loses nothing that could still be read.
    package let isRepairable: Bool

    package var description: String {
        "\(kind.rawValue)\(namespace.isEmpty ? "" : " in \(namespace)"): \(detail)"
    }
}

package struct KVVerification: Equatable, Sendable {
    /// The first thousand.
    package internal(set) var findings: [KVFinding] = []
    /// How many there are in all.
    package internal(set) var findingCount = 0
    package internal(set) var namespaceCount = 0
    package internal(set) var keyCount = 0
    /// What `repair` has mended before.
    package internal(set) var repairedCount = 0

    package var isClean: Bool { findingCount == 0 }
}

/// How a finding is mended. Each looks again before it changes anything: the store is in use meanwhile.
enum KVRepair: Sendable {
    case addExpiry(space: String, key: [UInt8])
    case removeExpiry(place: [UInt8])
    case rewriteBucket(space: String, key: [UInt8])
    case writeCatalog(id: String)
    case removeTitle(String)
    case adoptSpace(String)
    case recount
}
