internal import OpenSSL
internal import Synchronization

/// The tenants of a node as the API knows them: accounts with an id of 32 hexadecimal digits. The id follows from the name, so
/// it is the same on every node. People may write the name in its place.
package final class Accounts: Sendable {
    private let names: Mutex<[String]>

    package init(_ tenants: [String]) { names = Mutex(tenants.sorted()) }

    package func add(_ tenant: String) {
        names.withLock { names in if !names.contains(tenant) { names = (names + [tenant]).sorted() } }
    }

    package var all: [String] { names.withLock { $0 } }

    package static func id(of tenant: String) -> String {
        TokenStore.hex(Array(Digest.hash("edge-account\u{0}" + tenant, with: .sha256).prefix(16)))
    }

    /// The tenant that a path's segment means.
    package func tenant(_ text: String) -> String? {
        all.first { Self.id(of: $0) == text.lowercased() } ?? all.first { $0 == text }
    }

    static func json(_ tenant: String) -> JSON {
        .object(["id": .string(id(of: tenant)), "name": .string(tenant), "type": "standard"])
    }
}
