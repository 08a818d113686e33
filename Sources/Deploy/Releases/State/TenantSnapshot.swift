internal import StoresD1
internal import StoresKV
internal import StoresQueues
internal import StoresR2
internal import System

/// A file of an archive: its place there, and where its bytes are.
struct ArchiveMember: Sendable {
    enum Content: Sendable {
        case bytes([UInt8])
        /// The file's first bytes, so many.
        case file(String, byteCount: Int64)
    }
    let path: String
    let content: Content

    var byteCount: Int64 {
        switch content {
        case .bytes(let bytes): Int64(bytes.count)
        case .file(_, let byteCount): byteCount
        }
    }
}

/// One tenant as an archive has it: each store as it was at one moment. Copies lie in a directory of their own; what never
/// changes is read where it is.
struct TenantSnapshot: Sendable {
    let tenant: String
    /// All but the files of buckets.
    fileprivate(set) var members: [ArchiveMember]
    private let buckets: R2Copy

    fileprivate init(tenant: String, members: [ArchiveMember], buckets: R2Copy) {
        self.tenant = tenant
        self.members = members
        self.buckets = buckets
    }

    /// The files of buckets come in so many portions.
    static let portionCount = R2Copy.shardCount

    /// Blocks.
    func members(inPortion portion: Int) throws -> [ArchiveMember] {
        try buckets.blobs(inShard: portion).map {
            ArchiveMember(path: "tenants/\(tenant)/r2/\($0.name)", content: .file($0.path, byteCount: $0.byteCount))
        }
    }

    func release() { buckets.release() }

    /// Durable objects are no store of the node's.
    mutating func add(_ objects: [ArchiveMember]) { members = (members + objects).sorted { $0.path < $1.path } }
}

extension TenantStores {
    /// Takes the stores as they are now; everything goes on meanwhile.
    ///
    /// - Parameter directory: A new one, for copies.
    func snapshot(to directory: String, control database: String) async throws -> TenantSnapshot {
        var members: [ArchiveMember] = []
        func add(_ name: String, _ path: String) throws {
            guard let status = FileTree.status(path) else { throw SystemError("open", errno: 2, on: path) }
            members.append(
                ArchiveMember(path: "tenants/\(tenant)/\(name)", content: .file(path, byteCount: Int64(status.byteCount))))
        }
        for name in ["kv", "d1", "queues"] { try FileTree.makeDirectory("\(directory)/\(name)", mode: 0o700) }
        try await kv.copy(to: directory + "/kv/data.mdb")
        try add("kv/data.mdb", directory + "/kv/data.mdb")
        try await queues.copy(to: directory + "/queues/data.mdb")
        try add("queues/data.mdb", directory + "/queues/data.mdb")
        for (number, database) in try d1.databasesOnDisk().enumerated() {
            let path = "\(directory)/d1/\(number)"
            try add("d1/" + (try await d1.copy(database, to: path)), path)
        }
        for part in try await analytics.parts() {
            members.append(
                ArchiveMember(
                    path: "tenants/\(tenant)/analytics/\(part.name)", content: .file(part.path, byteCount: part.byteCount)))
        }
        for store in Self.exported {
            members.append(
                ArchiveMember(
                    path: "tenants/\(tenant)/\(store.rawValue)/format", content: .bytes(Array((store.format + "\n").utf8))))
        }
        members.append(
            ArchiveMember(
                path: "tenants/\(tenant)/control.json", content: .bytes(try TenantRecords(of: tenant, from: database).json)))
        // Last: what it keeps from being removed costs space.
        let buckets = try await r2.copy(to: directory + "/r2")
        do { try add("r2/index/data.mdb", directory + "/r2/data.mdb") } catch {
            buckets.release()
            throw error
        }
        return TenantSnapshot(tenant: tenant, members: members.sorted { $0.path < $1.path }, buckets: buckets)
    }

    /// A cache may be lost at any time.
    static let exported: [StateDirectory.Store] = [.kv, .d1, .r2, .queues, .analytics]
}
