internal import FoundationEssentials
internal import SQLite
internal import System

/// What `control.sqlite` knows of one tenant and its stores don't: secrets, as they are sealed. As a member of an archive.
struct TenantRecords: Codable, Equatable, Sendable {
    struct Secret: Codable, Equatable, Sendable {
        var worker: String
        var name: String
        var nonce: String
        var sealed: String
        var modifiedAt: Int64
        /// Which key opens it.
        var keyID: String
    }
    var secrets: [Secret] = []

    init() {}

    /// Reads them; blocks.
    init(of tenant: String, from database: String) throws {
        guard FileTree.exists(database) else { return }
        let sqlite = try Self.open(database)
        guard try Self.hasSecrets(sqlite) else { return }
        let statement = try sqlite.prepare(
            """
            SELECT worker, name, nonce, sealed, modified_at, key_id FROM tenant_secrets WHERE tenant = ?1 ORDER BY worker, name
            """)
        try statement.bind(tenant, at: 1)
        while try statement.step() {
            secrets.append(
                Secret(
                    worker: statement.text(0) ?? "", name: statement.text(1) ?? "", nonce: Hexadecimal.text(statement.blob(2)),
                    sealed: Hexadecimal.text(statement.blob(3)), modifiedAt: statement.integer(4),
                    keyID: Hexadecimal.text(statement.blob(5))))
        }
    }

    init(json: [UInt8]) throws(ArchiveError) {
        do { self = try JSONDecoder().decode(Self.self, from: Data(json)) } catch {
            throw .notOurs("control.json can't be read")
        }
        for secret in secrets {
            guard [secret.nonce, secret.sealed, secret.keyID].allSatisfy({ Self.bytes($0) != nil }) else {
                throw .notOurs("control.json has a secret that is none")
            }
        }
    }

    var json: [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Texts and numbers always encode.
        return (try? encoder.encode(self)).map { Array($0) + [0x0A] } ?? []
    }

    /// Keys that must be at hand for these secrets, and that this node's secrets are not sealed with; blocks.
    func foreignKeys(in database: String) throws -> [String] {
        let wanted = Set(secrets.map(\.keyID))
        guard !wanted.isEmpty, FileTree.exists(database) else { return [] }
        let sqlite = try Self.open(database)
        guard try Self.hasSecrets(sqlite) else { return [] }
        let statement = try sqlite.prepare("SELECT id FROM secret_key UNION SELECT DISTINCT key_id FROM tenant_secrets")
        var known: Set<String> = []
        while try statement.step() { known.insert(Hexadecimal.text(statement.blob(0))) }
        return known.isEmpty ? [] : wanted.subtracting(known).sorted()
    }

    /// Puts them in the place of those that are there; blocks. Durable when it returns; may be done again.
    func replace(of tenant: String, in database: String) throws {
        // Makes the tables, and brings them up to date; no key is needed for that.
        _ = try SecretStore(database: database, key: .values(present: "", previous: nil), tenant: tenant)
        let sqlite = try Self.open(database)
        try SecretStore.transaction(sqlite) {
            let removal = try sqlite.prepare("DELETE FROM tenant_secrets WHERE tenant = ?1")
            try removal.bind(tenant, at: 1)
            _ = try removal.step()
            for secret in secrets {
                let statement = try sqlite.prepare(
                    """
                    INSERT INTO tenant_secrets (tenant, worker, name, nonce, sealed, modified_at, key_id)
                    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                    """)
                for (index, text) in [tenant, secret.worker, secret.name].enumerated() {
                    try statement.bind(text, at: index + 1)
                }
                try statement.bind(Self.bytes(secret.nonce) ?? [], at: 4)
                try statement.bind(Self.bytes(secret.sealed) ?? [], at: 5)
                try statement.bind(secret.modifiedAt, at: 6)
                try statement.bind(Self.bytes(secret.keyID) ?? [], at: 7)
                _ = try statement.step()
            }
        }
    }

    private static func open(_ database: String) throws -> SQLiteConnection {
        let sqlite = try SQLiteConnection(path: database, .readWrite)
        sqlite.setBusyTimeout(milliseconds: 10_000)
        return sqlite
    }

    private static func hasSecrets(_ sqlite: SQLiteConnection) throws -> Bool {
        try sqlite.prepare("SELECT 1 FROM pragma_table_info('tenant_secrets') WHERE name = 'key_id'").step()
    }

    private static func bytes(_ text: String) -> [UInt8]? {
        let digits = Array(text.utf8)
        guard digits.count % 2 == 0 else { return nil }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let byte = UInt8(String(decoding: digits[index...index + 1], as: UTF8.self), radix: 16) else { return nil }
            bytes.append(byte)
        }
        return bytes
    }
}
