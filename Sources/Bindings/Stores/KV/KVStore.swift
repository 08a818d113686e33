internal import Interfaces
package import Stores
package import System

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

    /// The checks that `put` begins with, for a value whose bytes aren't there yet.
    func check(_ write: KVWrite) throws(KVError)

    /// Replaces all that was stored under the key. Durable when it returns.
    func put(_ write: KVWrite) async throws(KVError)

    /// Does nothing when there is no such key. Durable when it returns.
    func delete(_ key: [UInt8]) async throws(KVError)

    func list(prefix: [UInt8], limit: Int64?, cursor: String?) async throws(KVError) -> KVPage

    /// Removes every entry. Durable when it returns.
    func removeAll() async throws(KVError)
}

/// What the control plane asks of a tenant's engine beyond what workers do (spec: kv, section 6).
package protocol KVAdministration: KVStore {
    /// All namespaces, in byte order of their ids.
    func namespaces() async throws(KVAdministrationError) -> [KVNamespaceDescription]
    func namespace(id: String) async throws(KVAdministrationError) -> KVNamespaceDescription
    /// Durable when it returns. Other than `openNamespace`, it never takes one that is there.
    func createNamespace(title: String) async throws(KVAdministrationError) -> KVNamespaceDescription
    /// Who has it open keeps it. Configurations that name the old title find it as long as no other has that title.
    func renameNamespace(id: String, title: String) async throws(KVAdministrationError) -> KVNamespaceDescription
    /// Removes it with all its entries. Who has it open is refused from then on.
    func deleteNamespace(id: String) async throws(KVAdministrationError)
    /// For the entries of one namespace; never makes it.
    func openNamespace(id: String) async throws(KVAdministrationError) -> any KVBulkNamespace
    /// What all namespaces hold together.
    func usage() async throws(KVAdministrationError) -> KVUsage
}

package struct KVNamespaceDescription: Equatable, Sendable {
    /// 32 lowercase hex digits; never changes.
    package let id: String
    package let title: String
    /// The title that it was made with: configurations go on calling it so.
    package let firstTitle: String
    package let createdAt: UnixTime
    package let usage: KVUsage
}

package enum KVAdministrationError: Error, Equatable, Sendable, CustomStringConvertible {
    case notFound
    case titleTaken
    /// Empty, or more than 480 bytes.
    case badTitle
    case tooManyNamespaces
    case overloaded
    /// The disk's or the engine's failure; it stands in the log.
    case failed

    package var description: String {
        switch self {
        case .notFound: "namespace not found"
        case .titleTaken: "a namespace with this account ID and title already exists"
        case .badTitle: "a namespace's title has 1 to \(KVCatalog.titleByteCountMax) bytes"
        case .tooManyNamespaces: "an account has at most \(KVLimits.namespacesMax) namespaces"
        case .overloaded: "too much waits to be written; try again"
        case .failed: "internal error"
        }
    }
}

/// Many writes in one transaction: all are acknowledged together, each is refused for itself.
package protocol KVBulkNamespace: KVStoreNamespace {
    /// Puts at most 10,000 pairs of 100 MB in all, in order: of two with the same key the later one stays. Durable when it returns.
    ///
    /// - Throws: `.refused` when it is too much at once, or the namespace is gone; `.overloaded` and `.failed` as `put`. Nothing is
    ///   written then.
    func put(_ writes: [KVWrite]) async throws(KVError) -> KVBulkOutcome
    /// As above, for at most 10,000 keys.
    func delete(_ keys: [[UInt8]]) async throws(KVError) -> KVBulkOutcome
    func usage() async throws(KVError) -> KVUsage
    /// What stands beside a value, without the value; `nil` when the key is missing.
    func head(_ key: [UInt8]) async throws(KVError) -> KVEntryHead?
}

package struct KVEntryHead: Equatable, Sendable {
    /// JSON text.
    package var metadata: String?
    package var expiration: Int64?
}

/// `{successful_key_count, unsuccessful_keys}` of the REST API.
package struct KVBulkOutcome: Equatable, Sendable {
    package struct Failure: Equatable, Sendable {
        package var key: [UInt8]
        /// `.refused`, always.
        package var error: KVError
    }
    package var successfulKeyCount = 0
    /// In the request's order.
    package var failures: [Failure] = []

    package init() {}
}

extension KVStoreNamespace {
    package func check(_ write: KVWrite) throws(KVError) {}
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
