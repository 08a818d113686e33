internal import SQLite
internal import System

/// A name for a version of a worker, under which it can be looked at: `NAME-WORKER.preview.DOMAIN`.
package struct VersionAlias: Equatable, Sendable {
    package let worker: String
    package let name: String
    package let version: String

    /// Both make one label of a host name (RFC 1035 §2.3.4).
    package static let labelBytesMax = 63

    /// What is wrong with `name` as an alias of versions of `worker`; `nil`: nothing.
    package static func problem(with name: String, of worker: String) -> String? {
        guard let first = name.utf8.first, (0x61...0x7A).contains(first),
            name.utf8.allSatisfy({ (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2D })
        else {
            return "alias \"\(name.prefix(80))\" must start with a small letter and have only small letters, digits and dashes"
        }
        let byteCount = name.utf8.count + 1 + worker.utf8.count
        guard byteCount <= labelBytesMax else {
            return "alias and worker make the host name \"\(name)-\(worker)\" of \(byteCount) bytes, which may have "
                + "\(labelBytesMax)"
        }
        return nil
    }
}

/// Names that versions were given.
extension ReleaseStore {
    /// So many of a worker's are kept, those that were given last.
    package static let aliasesMax: Int64 = 1000

    static let aliasTable = """
        CREATE TABLE IF NOT EXISTS version_aliases (
            number INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL, worker TEXT NOT NULL, name TEXT NOT NULL,
            version TEXT NOT NULL, UNIQUE (tenant, worker, name)
        );
        """

    /// Within a transaction.
    func write(_ alias: VersionAlias, _ sqlite: SQLiteConnection) throws {
        try run(
            "INSERT OR REPLACE INTO version_aliases (tenant, worker, name, version) VALUES (?1, ?2, ?3, ?4)",
            [.text(tenant), .text(alias.worker), .text(alias.name), .text(alias.version)], sqlite)
        try run(
            """
            DELETE FROM version_aliases WHERE tenant = ?1 AND worker = ?2 AND number <= (
                SELECT number FROM version_aliases WHERE tenant = ?1 AND worker = ?2 ORDER BY number DESC LIMIT 1 OFFSET ?3)
            """, [.text(tenant), .text(alias.worker), .integer(Self.aliasesMax)], sqlite)
    }

    /// The version of `worker` that `name` means: the first eight digits of its id, or an alias.
    package func version(named name: String, of worker: String) throws -> ScriptVersion? {
        try withConnection { sqlite in
            if name.utf8.count == 8, name.allSatisfy(\.isHexDigit) {
                // UUIDs are in small letters, and so is the name; the range takes all that start with it.
                let found = try versions(
                    "WHERE tenant = ?1 AND worker = ?2 AND id >= ?3 AND id < ?4 ORDER BY number DESC LIMIT 1",
                    [.text(worker), .text(name), .text(name + "~")], sqlite)
                if let version = found.first { return version }
            }
            return try versions(
                """
                WHERE tenant = ?1 AND worker = ?2 AND id = (
                    SELECT version FROM version_aliases WHERE tenant = ?1 AND worker = ?2 AND name = ?3)
                """, [.text(worker), .text(name)], sqlite
            ).first
        }
    }
}
