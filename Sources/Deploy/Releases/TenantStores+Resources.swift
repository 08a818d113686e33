internal import Stores
internal import StoresD1
internal import StoresKV
internal import StoresQueues
internal import StoresR2
internal import StoresSimulation

/// What uploads may bind, by the names that the API has for it.
extension ReleaseRunner {
    package nonisolated func hasKVNamespace(_ id: String) async -> Bool { (try? await stores.kv.namespace(id: id)) != nil }

    /// The files of a database; `nil`: there is no such one.
    ///
    /// - Parameter id: its id or its name.
    package nonisolated func d1Resource(_ id: String) async throws -> String? { try await stores.d1Resource(id) }

    package nonisolated func hasBucket(_ name: String) async throws -> Bool { try await stores.bucketNames().contains(name) }

    package nonisolated func hasQueue(_ name: String) throws -> Bool { try stores.queues.queues().contains { $0.name == name } }

    /// Whether a worker can be called, one that is nothing but files among them.
    package func hasWorker(_ name: String) -> Bool {
        stored?.live[name] != nil || configured?.workers.contains { $0.name == name && $0.executable == nil } == true
    }

    /// The ids of KV namespaces by the titles that a configuration names them by.
    package nonisolated func kvNamespaceIDs() async throws -> [String: String] {
        Dictionary(try await stores.kv.namespaces().map { ($0.title, $0.id) }) { first, _ in first }
    }
}

extension TenantStores {
    func kvService(id: String, for binding: String, _ simulation: StoreSimulation?) async throws -> any StoreService {
        let store: any KVStoreNamespace = try await kv.openNamespace(id: id)
        return KVService(simulation?.wrap(store, binding: binding) ?? store)
    }
}
