internal import OpenSSL
package import Releases
internal import Synchronization

/// The tenants of a node as the API knows them: accounts with an id of 32 hexadecimal digits. The id follows from the name, so
/// it is the same on every node. People may write the name in its place. Each has its runner as soon as its stores are open.
package final class Accounts: Sendable {
    private let tenants: Mutex<[String: ReleaseRunner?]>

    package init(_ names: [String] = []) {
        tenants = Mutex(Dictionary(names.map { ($0, nil) }) { first, _ in first })
    }

    package func add(_ names: [String]) {
        tenants.withLock { tenants in
            for name in names where tenants[name] == nil { tenants.updateValue(nil, forKey: name) }
        }
    }

    package func attach(_ runner: ReleaseRunner) { tenants.withLock { $0[runner.tenant] = runner } }

    package func remove(_ name: String) { tenants.withLock { _ = $0.removeValue(forKey: name) } }

    package var all: [String] { tenants.withLock { $0.keys.sorted() } }

    /// Of the tenants whose stores are open, by name.
    package var runners: [ReleaseRunner] {
        tenants.withLock { tenants in tenants.values.compactMap { $0 } }.sorted { $0.tenant < $1.tenant }
    }

    /// The runner of the account that a call's path names.
    ///
    /// - Throws: 503 while the node is still opening the tenant's stores.
    package func runner(_ call: APICall) throws(APIError) -> ReleaseRunner {
        guard let runner = tenants.withLock({ tenants in call.tenant.flatMap { tenants[$0] ?? nil } }) else {
            throw APIError(503, 10013, "The account's stores are being opened: try again", retryAfterSeconds: 1)
        }
        return runner
    }

    package static func id(of tenant: String) -> String {
        TokenStore.hex(Array(Digest.hash("edge-account\u{0}" + tenant, with: .sha256).prefix(16)))
    }

    /// The tenant that a path's segment means.
    package func tenant(_ text: String) -> String? {
        all.first { Self.id(of: $0) == text.lowercased() } ?? all.first { $0 == text }
    }

    package struct Zone: Equatable, Sendable {
        package let tenant: String
        /// A host suffix; `nil` for all that the tenant has.
        package let name: String?
    }

    /// Of a zone: follows from its name and its tenant's.
    package static func id(ofZone name: String, of tenant: String) -> String {
        TokenStore.hex(Array(Digest.hash("edge-zone\u{0}\(tenant)\u{0}\(name)", with: .sha256).prefix(16)))
    }

    /// The zone that a path's segment means: by id or name, or by a tenant's for all its zones.
    package func zone(_ text: String) async -> Zone? {
        if let tenant = tenant(text) { return Zone(tenant: tenant, name: nil) }
        let wanted = text.lowercased()
        for runner in runners {
            for name in await runner.zones where name == wanted || Self.id(ofZone: name, of: runner.tenant) == wanted {
                return Zone(tenant: runner.tenant, name: name)
            }
        }
        return nil
    }

    static func json(_ tenant: String) -> JSON {
        .object(["id": .string(id(of: tenant)), "name": .string(tenant), "type": "standard"])
    }
}
