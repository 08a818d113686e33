internal import OpenSSL
internal import SQLite
internal import System

/// Namespaces of durable objects, and the migrations that made them what they are.
///
///     object_namespaces  a row per namespace: its id and key never change, what it is called and whether it is in service do
///     object_migrations  the tags that were applied, by worker, in their order
extension ReleaseStore {
    static let objectTables = """
        CREATE TABLE IF NOT EXISTS object_namespaces (
            tenant TEXT NOT NULL, environment TEXT NOT NULL, id TEXT NOT NULL, key TEXT NOT NULL, worker TEXT NOT NULL,
            class TEXT NOT NULL, storage TEXT NOT NULL, former_names TEXT NOT NULL, state TEXT NOT NULL,
            created_at INTEGER NOT NULL, modified_at INTEGER NOT NULL, PRIMARY KEY (tenant, environment, id)
        ) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS object_migrations (
            tenant TEXT NOT NULL, environment TEXT NOT NULL, worker TEXT NOT NULL, position INTEGER NOT NULL,
            tag TEXT NOT NULL, applied_at INTEGER NOT NULL, PRIMARY KEY (tenant, environment, worker, position)
        ) WITHOUT ROWID;
        """

    /// Where a namespace is in its life.
    ///
    ///     planned ──▶ live ◀──▶ suspended
    ///                  │▲
    ///                  ▼│
    ///                deleted ──▶ (purged: no row)
    enum NamespaceState: String, Sendable {
        /// A deployment that isn't active yet brings it.
        case planned
        case live
        /// A rollback took it out of service; the deployment of the same migration brings it back with all that it has.
        case suspended
        /// A migration deleted it. Its files are kept as long as somebody may go back.
        case deleted
    }

    /// What becomes of those that the catalog of a change doesn't have any more.
    enum NamespaceRemoval: Sendable { case delete, suspend }

    /// A namespace that is made with a change.
    package struct NewNamespace: Sendable {
        var namespace: ObjectCatalog.Namespace
        /// 32 bytes.
        var key: [UInt8]
    }

    private var objectPlace: [Value] { [.text(tenant), .text(environment)] }

    // MARK: Writing

    /// Part of a transaction.
    func write(_ new: [NewNamespace], at time: UnixTime, _ sqlite: SQLiteConnection) throws {
        for item in new {
            try run(
                """
                INSERT INTO object_namespaces (tenant, environment, id, key, worker, class, storage, former_names, state,
                    created_at, modified_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'planned', ?9, ?9)
                """,
                objectPlace + [
                    .text(item.namespace.id), .text(Hexadecimal.text(item.key)), .text(item.namespace.class.worker),
                    .text(item.namespace.class.name), .text(item.namespace.storage.rawValue),
                    .text(try Self.text(item.namespace.formerNames)), .integer(time.milliseconds),
                ], sqlite)
        }
    }

    /// Part of a transaction: makes `catalog` what holds.
    func write(
        _ catalog: ObjectCatalog, removing removal: NamespaceRemoval, at time: UnixTime, _ sqlite: SQLiteConnection
    ) throws {
        let kept = Set(catalog.namespaces.map(\.id))
        let removed: NamespaceState = removal == .delete ? .deleted : .suspended
        for (id, state) in try namespaceStates(sqlite) where state == .live && !kept.contains(id) {
            try run(
                """
                UPDATE object_namespaces SET state = ?4, modified_at = ?5 WHERE tenant = ?1 AND environment = ?2 AND id = ?3
                """, objectPlace + [.text(id), .text(removed.rawValue), .integer(time.milliseconds)], sqlite)
        }
        for namespace in catalog.namespaces {
            try run(
                """
                UPDATE object_namespaces SET state = 'live', worker = ?4, class = ?5, former_names = ?6,
                    modified_at = CASE WHEN state = 'live' AND worker = ?4 AND class = ?5 THEN modified_at ELSE ?7 END
                WHERE tenant = ?1 AND environment = ?2 AND id = ?3
                """,
                objectPlace + [
                    .text(namespace.id), .text(namespace.class.worker), .text(namespace.class.name),
                    .text(try Self.text(namespace.formerNames)), .integer(time.milliseconds),
                ], sqlite)
        }
        let known = try loadTags(sqlite)
        for worker in Set(known.keys).union(catalog.tags.keys) where known[worker] != catalog.tags[worker] {
            let (old, new) = (known[worker] ?? [], catalog.tags[worker] ?? [])
            let same = zip(old, new).prefix { $0 == $1 }.count
            try run(
                "DELETE FROM object_migrations WHERE tenant = ?1 AND environment = ?2 AND worker = ?3 AND position >= ?4",
                objectPlace + [.text(worker), .integer(Int64(same))], sqlite)
            for (position, tag) in new.enumerated().dropFirst(same) {
                try run(
                    """
                    INSERT INTO object_migrations (tenant, environment, worker, position, tag, applied_at)
                    VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                    """,
                    objectPlace + [.text(worker), .integer(Int64(position)), .text(tag), .integer(time.milliseconds)], sqlite)
            }
        }
    }

    /// Forgets namespaces whose files are gone, or that never had any.
    func forget(namespaces ids: [String]) throws {
        guard !ids.isEmpty else { return }
        try withConnection { sqlite in
            try SecretStore.transaction(sqlite) {
                for id in ids {
                    try run(
                        """
                        DELETE FROM object_namespaces WHERE tenant = ?1 AND environment = ?2 AND id = ?3
                            AND state IN ('planned', 'deleted')
                        """, objectPlace + [.text(id)], sqlite)
                }
            }
        }
    }

    // MARK: Reading

    /// A namespace as its row has it.
    struct NamespaceRow: Sendable {
        var namespace: ObjectCatalog.Namespace
        var state: NamespaceState
        var key: [UInt8]
        var createdAt: UnixTime
    }

    /// All of the tenant's, by id.
    func namespaceRows() throws -> [NamespaceRow] { try withConnection { try namespaceRows($0) } }

    private func namespaceRows(_ sqlite: SQLiteConnection) throws -> [NamespaceRow] {
        let rows = try prepare(
            """
            SELECT id, key, worker, class, storage, former_names, state, created_at FROM object_namespaces
            WHERE tenant = ?1 AND environment = ?2 ORDER BY id
            """, objectPlace, sqlite)
        var found: [NamespaceRow] = []
        while try rows.step() {
            let id = rows.text(0) ?? ""
            guard let key = Hexadecimal.bytes(rows.text(1) ?? ""), key.count == 32,
                let storage = ObjectCatalog.Storage(rawValue: rows.text(4) ?? ""),
                let state = NamespaceState(rawValue: rows.text(6) ?? "")
            else { throw ReleaseStoreError.damagedNamespace(id) }
            found.append(
                NamespaceRow(
                    namespace: .init(
                        id: id, class: .init(worker: rows.text(2) ?? "", name: rows.text(3) ?? ""), storage: storage,
                        formerNames: try Self.value(rows.text(5), [ObjectCatalog.ClassName].self)), state: state, key: key,
                    createdAt: UnixTime(milliseconds: rows.integer(7))))
        }
        return found
    }

    private func namespaceStates(_ sqlite: SQLiteConnection) throws -> [(id: String, state: NamespaceState)] {
        try namespaceRows(sqlite).map { ($0.namespace.id, $0.state) }
    }

    private func loadTags(_ sqlite: SQLiteConnection) throws -> [String: [String]] {
        let rows = try prepare(
            "SELECT worker, tag FROM object_migrations WHERE tenant = ?1 AND environment = ?2 ORDER BY worker, position",
            objectPlace, sqlite)
        var tags: [String: [String]] = [:]
        while try rows.step() { tags[rows.text(0) ?? "", default: []].append(rows.text(1) ?? "") }
        return tags
    }

    /// Part of `load`.
    func loadObjects(into stored: inout Stored, _ sqlite: SQLiteConnection) throws {
        for row in try namespaceRows(sqlite) {
            stored.objectKeys[row.namespace.id] = row.key
            switch row.state {
            case .live: stored.objects.namespaces.append(row.namespace)
            case .suspended: stored.suspendedNamespaces.append(row.namespace)
            case .planned, .deleted: break
            }
        }
        stored.objects.tags = try loadTags(sqlite)
    }
}
