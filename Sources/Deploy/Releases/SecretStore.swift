internal import OpenSSL
internal import SQLite
internal import Synchronization
package import System

/// One tenant's secrets at rest: AES-256-GCM in `control.sqlite`, under a key that lies outside the state directory. Names
/// are readable, values are not; no tenant gets another's. Safe on any thread; blocks.
///
/// Each row names the key that it is sealed with, and the database the one that new rows get: so a change of the key
/// (`SecretStore+KeyChange.swift`) can end at any moment, and other processes may read and write meanwhile.
package final class SecretStore: SecretSource {
    private let tenant: String
    let source: SecretKeySource
    let connection: Mutex<Connection>

    /// SQLite's connections are used by one thread at a time; the lock sees to that.
    struct Connection: @unchecked Sendable {
        let sqlite: SQLiteConnection
    }

    /// - Parameter database: the path of `control.sqlite`, which all tenants of an environment share.
    package init(database: String, key source: SecretKeySource, tenant: String) throws {
        self.tenant = tenant
        self.source = source
        let sqlite = try SQLiteConnection(path: database, .create)
        sqlite.setBusyTimeout(milliseconds: 10_000)
        try sqlite.execute(
            """
            PRAGMA journal_mode = WAL;
            PRAGMA synchronous = FULL;
            CREATE TABLE IF NOT EXISTS tenant_secrets (
                tenant TEXT NOT NULL, worker TEXT NOT NULL, name TEXT NOT NULL, nonce BLOB NOT NULL,
                sealed BLOB NOT NULL, modified_at INTEGER NOT NULL, PRIMARY KEY (tenant, worker, name)
            ) WITHOUT ROWID;
            CREATE TABLE IF NOT EXISTS secret_key (present INTEGER PRIMARY KEY CHECK (present = 1), id BLOB NOT NULL);
            """)
        // Rows from before have no id: whichever key opens them is theirs. Another process may be adding it.
        if try !Self.hasKeyID(sqlite) {
            try Self.transaction(sqlite) {
                if try !Self.hasKeyID(sqlite) { try sqlite.execute("ALTER TABLE tenant_secrets ADD COLUMN key_id BLOB") }
            }
        }
        connection = Mutex(Connection(sqlite: sqlite))
    }

    private static func hasKeyID(_ sqlite: SQLiteConnection) throws -> Bool {
        try sqlite.prepare("SELECT 1 FROM pragma_table_info('tenant_secrets') WHERE name = 'key_id'").step()
    }

    package convenience init(database: String, keyFile: String, tenant: String) throws {
        try self.init(database: database, key: .file(keyFile), tenant: tenant)
    }

    /// Makes the key, unless something is stored that only a lost one would open.
    private func makeKeyIfNeeded(_ sqlite: SQLiteConnection) throws {
        guard case .file(let path) = source, !FileTree.exists(path) else { return }
        guard try !sqlite.prepare("SELECT 1 FROM tenant_secrets LIMIT 1").step() else { throw SecretError.missingKey(path) }
        try Self.makeKey(path)
        // Whatever key was named before has sealed nothing.
        try sqlite.execute("DELETE FROM secret_key")
    }

    static func makeKey(_ path: String) throws {
        if let slash = path.lastIndex(of: "/"), slash > path.startIndex {
            try FileTree.makeDirectory(String(path[..<slash]), mode: 0o700)
        }
        try FileTree.makeFile(path, with: SecureRandom.bytes(AuthenticatedCipher.keyByteCount), mode: 0o600)
    }

    /// Runs `body` as one transaction, which holds off others that write.
    static func transaction<Result>(_ sqlite: SQLiteConnection, _ body: () throws -> Result) throws -> Result {
        try sqlite.execute("BEGIN IMMEDIATE")
        do {
            let result = try body()
            try sqlite.execute("COMMIT")
            return result
        } catch {
            // A failed COMMIT may have ended it already; what failed first is what counts.
            try? sqlite.execute("ROLLBACK")
            throw error
        }
    }

    /// The key that new rows are sealed with. Inside of a transaction.
    func presentKey(_ sqlite: SQLiteConnection) throws -> SecretKey {
        let known = try sqlite.prepare("SELECT id FROM secret_key")
        let id = try known.step() ? known.blob(0) : nil
        // A change of the key may put the next file in the first one's place between the two looks.
        for _ in 0..<2 {
            let keys = try source.keys()
            guard let first = keys.first else { throw SecretError.missingKey(source.place) }
            guard let id else {
                try setPresentKey(first, sqlite)
                return first
            }
            if let key = keys.first(where: { $0.id == id }) { return key }
        }
        // Nothing is sealed with the one that is named: whoever replaced an unused key meant to.
        guard try !sqlite.prepare("SELECT 1 FROM tenant_secrets LIMIT 1").step(), let first = try source.keys().first else {
            throw SecretError.unknownKey(source.place)
        }
        try setPresentKey(first, sqlite)
        return first
    }

    func setPresentKey(_ key: SecretKey, _ sqlite: SQLiteConnection) throws {
        let statement = try sqlite.prepare("INSERT OR REPLACE INTO secret_key (present, id) VALUES (1, ?1)")
        try statement.bind(key.id, at: 1)
        _ = try statement.step()
    }

    /// Sets or replaces a secret. Durable when it returns.
    package func put(_ name: String, of worker: String, value: String, at time: UnixTime) throws {
        _ = try change([(name, value)], of: worker, at: time)
    }

    /// Sets, replaces or deletes secrets, all or none. Durable when it returns.
    ///
    /// - Parameter values: `nil` deletes.
    /// - Returns: those that were to be deleted and aren't there; nothing is changed where there are some.
    package func change(
        _ values: [(name: String, value: String?)], of worker: String, at time: UnixTime
    ) throws -> [String] {
        for (name, value) in values {
            if let count = value?.utf8.count, count > 5 * 1024 { throw SecretError.tooLong(name, count) }
        }
        return try connection.withLock { connection in
            let sqlite = connection.sqlite
            return try Self.transaction(sqlite) {
                let rows = values.map { (row: Row(tenant: tenant, worker: worker, name: $0.name), value: $0.value) }
                let missing = try rows.filter { try $0.value == nil && !has($0.row, sqlite) }.map(\.row.name)
                guard missing.isEmpty else { return missing }
                for (row, value) in rows where value == nil { try delete(row, sqlite) }
                guard rows.contains(where: { $0.value != nil }) else { return [] }
                try makeKeyIfNeeded(sqlite)
                let key = try presentKey(sqlite)
                for (row, value) in rows {
                    if let value { try write(row, Array(value.utf8), key, at: time, sqlite) }
                }
                return []
            }
        }
    }

    private func has(_ row: Row, _ sqlite: SQLiteConnection) throws -> Bool {
        let statement = try sqlite.prepare(
            "SELECT 1 FROM tenant_secrets WHERE tenant = ?1 AND worker = ?2 AND name = ?3")
        for (index, text) in [row.tenant, row.worker, row.name].enumerated() { try statement.bind(text, at: index + 1) }
        return try statement.step()
    }

    private func delete(_ row: Row, _ sqlite: SQLiteConnection) throws {
        let statement = try sqlite.prepare(
            "DELETE FROM tenant_secrets WHERE tenant = ?1 AND worker = ?2 AND name = ?3")
        for (index, text) in [row.tenant, row.worker, row.name].enumerated() { try statement.bind(text, at: index + 1) }
        _ = try statement.step()
    }

    struct Row {
        var tenant: String
        var worker: String
        var name: String

        /// A sealed value opens only for the tenant, and under the name, that it was stored for.
        var context: [UInt8] { Array("\(tenant)\u{0}\(worker)\u{0}\(name)".utf8) }
    }

    func write(_ row: Row, _ value: [UInt8], _ key: SecretKey, at time: UnixTime, _ sqlite: SQLiteConnection) throws {
        let nonce = SecureRandom.bytes(AuthenticatedCipher.nonceByteCount)
        let sealed = try AuthenticatedCipher.seal(value, key: key.bytes, nonce: nonce, authenticating: row.context)
        let statement = try sqlite.prepare(
            """
            INSERT OR REPLACE INTO tenant_secrets (tenant, worker, name, nonce, sealed, modified_at, key_id)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
            """)
        for (index, text) in [row.tenant, row.worker, row.name].enumerated() { try statement.bind(text, at: index + 1) }
        try statement.bind(nonce, at: 4)
        try statement.bind(sealed.ciphertext + sealed.tag, at: 5)
        try statement.bind(time.milliseconds, at: 6)
        try statement.bind(key.id, at: 7)
        _ = try statement.step()
    }

    /// - Returns: whether there was one.
    package func delete(_ name: String, of worker: String) throws -> Bool {
        try connection.withLock { connection in
            let statement = try connection.sqlite.prepare(
                "DELETE FROM tenant_secrets WHERE tenant = ?1 AND worker = ?2 AND name = ?3 RETURNING name")
            try statement.bind(tenant, at: 1)
            try statement.bind(worker, at: 2)
            try statement.bind(name, at: 3)
            let existed = try statement.step()
            while try existed && statement.step() {}
            return existed
        }
    }

    /// Names only: values can't be read back.
    package func list() throws -> [(worker: String, name: String)] {
        try connection.withLock { connection in
            let statement = try connection.sqlite.prepare(
                // Those of versions are no one's to name: see `VersionSecrets`.
                "SELECT worker, name FROM tenant_secrets WHERE tenant = ?1 AND instr(worker, '@') = 0 ORDER BY worker, name")
            try statement.bind(tenant, at: 1)
            var names: [(worker: String, name: String)] = []
            while try statement.step() { names.append((statement.text(0) ?? "", statement.text(1) ?? "")) }
            return names
        }
    }

    /// The value of a worker's own secret, else of the one that all workers share (worker `*`).
    package func secret(_ name: String, of worker: String) throws -> String? {
        for owner in [worker, "*"] {
            let row = Row(tenant: tenant, worker: owner, name: name)
            guard let sealed = try find(row) else { continue }
            return String(decoding: try open(sealed, row), as: UTF8.self)
        }
        return nil
    }

    struct Sealed {
        var nonce: [UInt8]
        var bytes: [UInt8]
        /// Empty for rows from before.
        var keyID: [UInt8]
    }

    private func find(_ row: Row) throws -> Sealed? {
        try connection.withLock { connection in
            let statement = try connection.sqlite.prepare(
                "SELECT nonce, sealed, key_id FROM tenant_secrets WHERE tenant = ?1 AND worker = ?2 AND name = ?3")
            try statement.bind(row.tenant, at: 1)
            try statement.bind(row.worker, at: 2)
            try statement.bind(row.name, at: 3)
            guard try statement.step() else { return nil }
            return Sealed(nonce: statement.blob(0), bytes: statement.blob(1), keyID: statement.blob(2))
        }
    }

    /// - Throws: when no key that is at hand has sealed it.
    func open(_ sealed: Sealed, _ row: Row) throws -> [UInt8] {
        for _ in 0..<2 {
            let keys = try source.keys()
            if keys.isEmpty { throw SecretError.missingKey(source.place) }
            for key in keys where sealed.keyID.isEmpty || sealed.keyID == key.id {
                let opened = try? AuthenticatedCipher.open(
                    Array(sealed.bytes.dropLast(AuthenticatedCipher.tagByteCount)),
                    tag: Array(sealed.bytes.suffix(AuthenticatedCipher.tagByteCount)), key: key.bytes,
                    nonce: sealed.nonce, authenticating: row.context)
                if let opened { return opened }
            }
        }
        throw SecretError.wrongKey(source.place, row.name)
    }
}

package enum SecretError: Error, Sendable, CustomStringConvertible {
    case missingKey(String)
    case readableByOthers(String)
    case wrongKeyLength(String, Int)
    case badKeyText(String)
    case wrongKey(String, String)
    case unknownKey(String)
    case noNextKey(String)
    case tooLong(String, Int)

    package var description: String {
        switch self {
        case .missingKey(let path):
            "\(path), the key of the stored secrets, does not exist: put it back, or name it with --key-file"
        case .readableByOthers(let path): "\(path) holds the key of all secrets and can be read by others: chmod 600 \(path)"
        case .wrongKeyLength(let path, let count):
            "\(path) must hold \(AuthenticatedCipher.keyByteCount) bytes and has \(count)"
        case .badKeyText(let name):
            "\(name) must have \(2 * AuthenticatedCipher.keyByteCount) hex digits, such as `openssl rand -hex 32` prints"
        case .wrongKey(let path, let name):
            "the secret \(name) can't be opened with the key in \(path): it was stored under another key"
        case .unknownKey(let path):
            "secrets are stored under another key than \(path): put that one back, or name it with --key-file"
        case .noNextKey(let place):
            "\(place) is no file that edge can replace: set EDGE_SECRET_KEY to the new key and EDGE_SECRET_KEY_PREVIOUS to the "
                + "old one, and change the key then"
        case .tooLong(let name, let count): "the secret \(name) has \(count) bytes; 5120 are possible"
        }
    }
}
