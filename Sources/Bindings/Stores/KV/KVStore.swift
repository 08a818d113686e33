package import Stores

/// A tenant's key-value engine: namespaces by name.
///
/// Every operation may be repeated with the same outcome, so that a caller can retry over a network.
package protocol KVStore: Sendable {
    /// The namespace called `name`, made when it is missing. May wait for a disk: not for a reactor.
    func openNamespace(_ name: String) throws -> any KVStoreNamespace
}

/// One key space. Keys are UTF-8 bytes; times are whole seconds since 1970.
package protocol KVStoreNamespace: Sendable {
    /// What the tenant's calls may hold in memory.
    var memory: KVMemory { get }

    /// Copies a value of at most `byteCountMax` bytes; of a larger one, says only how large it is.
    ///
    /// - Throws: `.refused` for a key or a `cacheTtl` outside its limits.
    func get(_ key: [UInt8], cacheTtl: Int64?, byteCountMax: Int) async throws(KVError) -> KVLookup<KVRecord>

    /// One answer per key, in order, all from one snapshot; or only how large the values are together.
    func getMany(
        _ request: KVBulkRequest, byteCountMax: Int
    ) async throws(KVError) -> KVLookup<[KVRecord?]>

    /// Replaces all that was stored under the key. Durable when it returns.
    func put(_ write: KVWrite) async throws(KVError)

    /// Does nothing when there is no such key. Durable when it returns.
    func delete(_ key: [UInt8]) async throws(KVError)

    func list(prefix: [UInt8], limit: Int64?, cursor: String?) async throws(KVError) -> KVPage

    /// Removes every entry. Durable when it returns.
    func removeAll() async throws(KVError)
}

/// A namespace whose engine reads without waiting: a reactor asks it in place, without a task.
package protocol InPlaceKVNamespace: KVStoreNamespace {
    /// As `get`. Microseconds, unless the page has to come from the disk.
    func getInPlace(_ key: [UInt8], cacheTtl: Int64?, byteCountMax: Int) throws(KVError) -> KVLookup<KVRecord>
}

/// What was found.
package enum KVLookup<Found: Equatable & Sendable>: Equatable, Sendable {
    case missing
    case found(Found)
    /// More than was asked for: nothing was copied.
    case larger(byteCount: Int)
}

/// What one tenant's calls may hold in the node's memory. Two budgets: values that arrive slowly don't keep others
/// from being read.
package struct KVMemory: Sendable {
    /// Values on their way in, each counted with the most it may become until its end is seen.
    package let incoming: Budget
    /// Values that were read and that isolates haven't taken yet.
    package let outgoing: Budget

    package init(incoming: Budget, outgoing: Budget) {
        self.incoming = incoming
        self.outgoing = outgoing
    }
}

package struct KVRecord: Equatable, Sendable {
    package var value: [UInt8]
    /// JSON text.
    package var metadata: String?
    package var expiration: Int64?
}

package struct KVBulkRequest: Sendable {
    package var keys: [[UInt8]]
    /// `text` or `json`: with the latter, every value must be JSON.
    package var type: String
    package var cacheTtl: Int64?

    package init(keys: [[UInt8]], type: String, cacheTtl: Int64? = nil) {
        self.keys = keys
        self.type = type
        self.cacheTtl = cacheTtl
    }
}

package struct KVWrite: Sendable {
    package var key: [UInt8]
    package var value: ArraySlice<UInt8>
    package var expiration: Int64?
    /// Wins over `expiration`.
    package var expirationTtl: Int64?
    /// JSON text.
    package var metadata: String?
    /// The value's full length: more than `value` has when it was too long to be kept.
    package var valueByteCount: Int

    package init(
        key: [UInt8], value: ArraySlice<UInt8>, expiration: Int64? = nil, expirationTtl: Int64? = nil,
        metadata: String? = nil, valueByteCount: Int? = nil
    ) {
        self.key = key
        self.value = value
        self.expiration = expiration
        self.expirationTtl = expirationTtl
        self.metadata = metadata
        self.valueByteCount = valueByteCount ?? value.count
    }
}

package struct KVPage: Equatable, Sendable {
    package struct Key: Equatable, Sendable {
        package var name: [UInt8]
        package var expiration: Int64?
        /// JSON text.
        package var metadata: [UInt8]?
    }
    package var keys: [Key]
    /// `nil`: nothing follows.
    package var cursor: String?
}

package enum KVError: Error, Equatable, Sendable {
    /// The caller's mistake, with the product's number and text.
    case refused(status: Int, text: String)
    /// More waits than may wait; nothing was written.
    case overloaded
    /// The disk's or the engine's failure; it stands in the log. Nothing was written.
    case failed
}
