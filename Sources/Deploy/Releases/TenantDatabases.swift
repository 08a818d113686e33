package import StoresD1
internal import Synchronization
internal import System

/// The D1 databases of one tenant: what a configuration names and what the API makes are one set, each with an id that stays.
///
/// All changes of the catalog go through here, so what was looked up is remembered until the next change. Safe on any thread.
package final class TenantDatabases: Sendable {
    private struct State {
        var isOpen = false
        var opening: Task<D1CatalogError?, Never>?
        /// By id and by name, as they were asked for.
        var known: [String: D1DatabaseEntry] = [:]
        /// Counts changes: what was read before one isn't remembered after it.
        var changeCount = 0
    }

    package let store: EmbeddedD1Store
    package let transfers: D1Transfers
    private let catalog: D1Catalog
    private let databasesMax: Int
    private let state = Mutex(State())

    private static let knownMax = 4096

    /// Empties the directory of transfers; blocks.
    init(
        store: EmbeddedD1Store, transfers directory: String, databasesMax: Int, clock: any NodeClock
    ) throws(SystemError) {
        self.store = store
        self.databasesMax = databasesMax
        catalog = D1Catalog(store: store, clock: clock, databasesMax: databasesMax)
        transfers = try D1Transfers(store: store, directory: directory, clock: clock)
    }

    // MARK: Looking

    /// - Parameter database: Its id or its name.
    /// - Throws: `.notFound`.
    package func find(_ database: String) async throws(D1CatalogError) -> D1DatabaseEntry {
        let catalog = try await opened()
        let (known, count) = state.withLock { ($0.known[database], $0.changeCount) }
        if let known { return known }
        let entry = try await catalog.find(database)
        state.withLock { state in
            guard state.changeCount == count else { return }
            if state.known.count >= Self.knownMax { state.known = [:] }
            state.known[database] = entry
        }
        return entry
    }

    /// As `D1Catalog.list`.
    package func list(
        nameContaining text: String, page: Int, count: Int
    ) async throws(D1CatalogError) -> (entries: [D1DatabaseEntry], totalCount: Int) {
        try await opened().list(nameContaining: text, page: page, count: count)
    }

    package func facts(of entry: D1DatabaseEntry) async throws(D1CatalogError) -> D1DatabaseFacts {
        try await catalog.facts(of: entry)
    }

    // MARK: Changing

    package func create(
        _ name: String, readReplication: D1ReadReplication, jurisdiction: String?
    ) async throws(D1CatalogError) -> D1DatabaseEntry {
        try await opened().create(name, readReplication: readReplication, jurisdiction: jurisdiction)
    }

    /// - Parameters: `nil` leaves it as it is.
    package func update(
        _ database: String, name: String?, readReplication: D1ReadReplication?
    ) async throws(D1CatalogError) -> D1DatabaseEntry {
        let catalog = try await opened()
        defer { forgetAll() }
        var entry = try await catalog.find(database)
        if let name { entry = try await catalog.rename(entry.id, to: name) }
        if let readReplication { entry = try await catalog.setReadReplication(readReplication, of: entry.id) }
        return entry
    }

    /// Removes a database with all that belongs to it. Calls of bindings that have it fail from now on.
    package func delete(_ database: String) async throws(D1CatalogError) {
        let catalog = try await opened()
        let entry = try await catalog.find(database)
        // First: a call that has found it must not make it anew, unknown to the catalog.
        store.retire(entry.resource)
        defer { forgetAll() }
        do throws(D1CatalogError) { try await catalog.delete(entry.id) } catch {
            // As long as it is in the catalog, it can be used.
            if (try? await catalog.find(entry.id)) != nil { store.reinstate(entry.resource) }
            throw error
        }
    }

    /// What a binding's database is called in the store; made when there is none.
    func resource(of database: String) async throws(D1CatalogError) -> String {
        let catalog = try await opened()
        let entry = try await catalog.adopt(database)
        forgetAll()
        store.reinstate(entry.resource)
        return entry.resource
    }

    /// Asks whether there may be databases of these names: nothing is made, and no place is taken.
    func checkRoom(for databases: Set<String>) async throws(D1CatalogError) {
        try await opened().checkRoom(for: databases)
    }

    private func forgetAll() {
        state.withLock { state in
            state.known = [:]
            state.changeCount += 1
        }
    }

    // MARK: Opening

    /// The catalog, once it is there: the first call opens it, and enters what the store had before there was one.
    private func opened() async throws(D1CatalogError) -> D1Catalog {
        let opening = state.withLock { state -> Task<D1CatalogError?, Never>? in
            if state.isOpen { return nil }
            if let opening = state.opening { return opening }
            // Of several first calls, one opens and all wait.
            let opening = Task { await self.open() }
            state.opening = opening
            return opening
        }
        if let failure = await opening?.value { throw failure }
        return catalog
    }

    private func names() throws(D1CatalogError) -> [String] {
        do throws(D1Failure) { return try store.databaseNames } catch { throw .failed(error) }
    }

    private func open() async -> D1CatalogError? {
        var failure: D1CatalogError?
        do throws(D1CatalogError) {
            try await catalog.open()
            try await catalog.enter(names())
        } catch { failure = error }
        state.withLock { state in
            state.isOpen = failure == nil
            state.opening = nil
        }
        return failure
    }
}
