internal import FoundationEssentials
internal import Glibc
internal import Host
internal import Isolates
internal import SQLite
internal import System

/// The durable objects of a tenant as an archive has them: `objects/NAMESPACE/ab/ID.sqlite`, and `objects/namespaces.json`, which
/// says whose they are. Where it is taken over, classes of the same names get these objects, and the key that their ids were
/// made with: ids stay what they are.
struct ObjectArchive: Codable, Equatable, Sendable {
    struct Namespace: Codable, Equatable, Sendable {
        /// Its directory in the archive.
        var id: String
        var worker: String
        var `class`: String
        var storage: String
        var key: String
    }
    var namespaces: [Namespace] = []

    static let fileName = "namespaces.json"

    var json: [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Texts always encode.
        return (try? encoder.encode(self)).map { Array($0) + [0x0A] } ?? []
    }

    init() {}

    /// Reads what lies in a tenant's directory; blocks.
    ///
    /// - Returns: `nil` when nothing was taken over, or all of it has its place.
    static func find(in directory: String) throws(ArchiveError) -> ObjectArchive? {
        let path = "\(directory)/objects/\(fileName)"
        guard FileTree.exists(path) else { return nil }
        guard let bytes = try? FileTree.read(path), let found = try? JSONDecoder().decode(Self.self, from: Data(bytes)) else {
            throw .notOurs("objects/\(fileName) can't be read")
        }
        for namespace in found.namespaces {
            guard namespace.id.utf8.count == 32, Hexadecimal.bytes(namespace.id) != nil,
                Hexadecimal.bytes(namespace.key)?.count == 32
            else { throw .notOurs("objects/\(fileName) has a namespace that is none") }
        }
        return found
    }

    /// Makes sure that the classes are here; blocks.
    func check(_ tenant: String, in database: String) throws {
        guard !namespaces.isEmpty else { return }
        let sqlite = try Self.open(database)
        for namespace in namespaces where try Self.present(namespace, of: tenant, sqlite) == nil {
            throw ArchiveError.noClass(namespace.class, worker: namespace.worker)
        }
    }

    /// Gives the objects to the classes that are here; blocks. May be done again.
    func takePlace(of tenant: String, in directory: String, _ database: String) throws {
        let objects = directory + "/objects"
        let sqlite = try Self.open(database)
        for namespace in namespaces {
            guard let id = try Self.present(namespace, of: tenant, sqlite) else {
                throw ArchiveError.noClass(namespace.class, worker: namespace.worker)
            }
            let statement = try sqlite.prepare("UPDATE object_namespaces SET key = ?3 WHERE tenant = ?1 AND id = ?2")
            try statement.bind(tenant, at: 1)
            try statement.bind(id, at: 2)
            try statement.bind(namespace.key, at: 3)
            _ = try statement.step()
            let (source, target) = ("\(objects)/\(namespace.id)", "\(objects)/\(id)")
            if id != namespace.id, FileTree.exists(source) { try FileTree.rename(source, to: target) }
        }
        try FileTree.remove("\(objects)/\(Self.fileName)")
    }

    /// Gives files that the node has written to the tenant, whose isolates open them; blocks. For a node that is root.
    static func give(_ directory: String, to identity: TenantIdentity) throws(SystemError) {
        func give(_ path: String) throws(SystemError) {
            guard unsafe lchown(path, identity.userID, identity.groupID) == 0 else {
                throw SystemError("chown", errno: errno, on: path)
            }
            for name in FileTree.isDirectory(path) ? FileTree.list(path) : [] { try give("\(path)/\(name)") }
        }
        for name in FileTree.list(directory) where name.utf8.count == 32 { try give("\(directory)/\(name)") }
    }

    private static func open(_ database: String) throws -> SQLiteConnection {
        let sqlite = try SQLiteConnection(path: database, .readWrite)
        sqlite.setBusyTimeout(milliseconds: 10_000)
        return sqlite
    }

    /// The id that the class has here.
    private static func present(_ namespace: Namespace, of tenant: String, _ sqlite: SQLiteConnection) throws -> String? {
        let statement = try sqlite.prepare(
            """
            SELECT id FROM object_namespaces
            WHERE tenant = ?1 AND worker = ?2 AND class = ?3 AND storage = ?4 AND state = 'live'
            """)
        for (index, text) in [tenant, namespace.worker, namespace.class, namespace.storage].enumerated() {
            try statement.bind(text, at: index + 1)
        }
        return try statement.step() ? statement.text(0) : nil
    }
}

extension ReleaseRunner {
    /// Copies all objects, each as it is at one moment; everything goes on meanwhile.
    ///
    /// - Parameter directory: A new one, for the copies.
    func snapshotObjects(to directory: String) async throws -> [ArchiveMember] {
        guard isReady else { return [] }
        var archive = ObjectArchive()
        var members: [ArchiveMember] = []
        func path(_ name: String) -> String { "tenants/\(tenant)/objects/\(name)" }
        for status in try await objectNamespaces() {
            let namespace = try objectNamespace(status.namespace.id)
            archive.namespaces.append(
                .init(
                    id: namespace.id, worker: namespace.worker, class: namespace.className,
                    storage: status.namespace.storage.rawValue, key: Hexadecimal.text(namespace.key)))
            var cursor: String?
            repeat {
                let page = try await objects.list(namespace, after: cursor, limit: 1000)
                for item in page {
                    let folder = "\(namespace.id)/\(item.id.prefix(2))"
                    let place = "\(directory)/\(folder)"
                    try FileTree.makeDirectory(directory + "/" + namespace.id, mode: 0o700)
                    try FileTree.makeDirectory(place, mode: 0o700)
                    for name in try await objects.copy(namespace, item.id, to: place) {
                        guard let status = FileTree.status("\(place)/\(name)") else { continue }
                        members.append(
                            ArchiveMember(
                                path: path("\(folder)/\(name)"),
                                content: .file("\(place)/\(name)", byteCount: Int64(status.byteCount))))
                    }
                }
                cursor = page.count == 1000 ? page.last?.id : nil
            } while cursor != nil
        }
        members.append(ArchiveMember(path: path(ObjectArchive.fileName), content: .bytes(archive.json)))
        members.append(
            ArchiveMember(path: path("format"), content: .bytes(Array((StateDirectory.Store.objects.format + "\n").utf8))))
        return members
    }
}
