internal import Glibc
internal import OpenSSL
internal import SQLite
internal import Synchronization
package import System

/// One tenant's secrets at rest: AES-256-GCM in `control.sqlite`, under a key that lies outside the state directory. Names
/// are readable, values are not; no tenant gets another's. Safe on any thread; blocks.
package final class SecretStore: SecretSource {
    private let tenant: String
    private let keyFile: String
    private let connection: Mutex<Connection>

    /// SQLite's connections are used by one thread at a time; the lock sees to that.
    private struct Connection: @unchecked Sendable {
        let sqlite: SQLiteConnection
    }

    /// - Parameters:
    ///   - database: the path of `control.sqlite`, which all tenants of an environment share.
    ///   - keyFile: 32 bytes, mode 0600. Made with the first secret; read when a value is.
    package init(database: String, keyFile: String, tenant: String) throws {
        self.tenant = tenant
        self.keyFile = keyFile
        let sqlite = try SQLiteConnection(path: database, .create)
        try sqlite.execute(
            """
            PRAGMA journal_mode = WAL;
            PRAGMA synchronous = FULL;
            CREATE TABLE IF NOT EXISTS tenant_secrets (
                tenant TEXT NOT NULL, worker TEXT NOT NULL, name TEXT NOT NULL, nonce BLOB NOT NULL,
                sealed BLOB NOT NULL, modified_at INTEGER NOT NULL, PRIMARY KEY (tenant, worker, name)
            ) WITHOUT ROWID;
            """)
        connection = Mutex(Connection(sqlite: sqlite))
    }

    private func readKey() throws -> [UInt8] {
        guard FileTree.exists(keyFile) else { throw SecretError.missingKey(keyFile) }
        var status = stat()
        // SAFETY: stat fills the struct whose address it is given.
        guard unsafe stat(keyFile, &status) == 0 else { throw SystemError("stat", errno: errno, on: keyFile) }
        guard status.st_mode & 0o077 == 0 else { throw SecretError.readableByOthers(keyFile) }
        let key = try FileTree.read(keyFile)
        guard key.count == AuthenticatedCipher.keyByteCount else {
            throw SecretError.wrongKeyLength(keyFile, key.count)
        }
        return key
    }

    /// Makes the key, unless something is stored that only a lost one would open.
    private func makeKeyIfNeeded() throws {
        guard !FileTree.exists(keyFile) else { return }
        let isEmpty = try connection.withLock { connection in
            try !connection.sqlite.prepare("SELECT 1 FROM tenant_secrets LIMIT 1").step()
        }
        guard isEmpty else { throw SecretError.missingKey(keyFile) }
        if let slash = keyFile.lastIndex(of: "/"), slash > keyFile.startIndex {
            try FileTree.makeDirectory(String(keyFile[..<slash]), mode: 0o700)
        }
        try FileTree.replaceFile(keyFile, with: SecureRandom.bytes(AuthenticatedCipher.keyByteCount), mode: 0o600)
    }

    /// Sets or replaces a secret. Durable when it returns.
    package func put(_ name: String, of worker: String, value: String, at time: UnixTime) throws {
        guard value.utf8.count <= 5 * 1024 else { throw SecretError.tooLong(name, value.utf8.count) }
        try makeKeyIfNeeded()
        let nonce = SecureRandom.bytes(AuthenticatedCipher.nonceByteCount)
        let sealed = try AuthenticatedCipher.seal(
            Array(value.utf8), key: try readKey(), nonce: nonce, authenticating: context(name, worker))
        try connection.withLock { connection in
            let statement = try connection.sqlite.prepare(
                """
                INSERT OR REPLACE INTO tenant_secrets (tenant, worker, name, nonce, sealed, modified_at)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                """)
            try statement.bind(tenant, at: 1)
            try statement.bind(worker, at: 2)
            try statement.bind(name, at: 3)
            try statement.bind(nonce, at: 4)
            try statement.bind(sealed.ciphertext + sealed.tag, at: 5)
            try statement.bind(time.milliseconds, at: 6)
            _ = try statement.step()
        }
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
                "SELECT worker, name FROM tenant_secrets WHERE tenant = ?1 ORDER BY worker, name")
            try statement.bind(tenant, at: 1)
            var names: [(worker: String, name: String)] = []
            while try statement.step() { names.append((statement.text(0) ?? "", statement.text(1) ?? "")) }
            return names
        }
    }

    /// The value of a worker's own secret, else of the one that all workers share (worker `*`).
    package func secret(_ name: String, of worker: String) throws -> String? {
        for owner in [worker, "*"] {
            guard let (nonce, sealed) = try find(name, of: owner) else { continue }
            let key = try readKey()
            do {
                let opened = try AuthenticatedCipher.open(
                    Array(sealed.dropLast(AuthenticatedCipher.tagByteCount)),
                    tag: Array(sealed.suffix(AuthenticatedCipher.tagByteCount)), key: key, nonce: nonce,
                    authenticating: context(name, owner))
                return String(decoding: opened, as: UTF8.self)
            } catch { throw SecretError.wrongKey(keyFile, name) }
        }
        return nil
    }

    private func find(_ name: String, of owner: String) throws -> (nonce: [UInt8], sealed: [UInt8])? {
        try connection.withLock { connection in
            let statement = try connection.sqlite.prepare(
                "SELECT nonce, sealed FROM tenant_secrets WHERE tenant = ?1 AND worker = ?2 AND name = ?3")
            try statement.bind(tenant, at: 1)
            try statement.bind(owner, at: 2)
            try statement.bind(name, at: 3)
            return try statement.step() ? (statement.blob(0), statement.blob(1)) : nil
        }
    }

    /// A sealed value opens only for the tenant, and under the name, that it was stored for.
    private func context(_ name: String, _ worker: String) -> [UInt8] {
        Array("\(tenant)\u{0}\(worker)\u{0}\(name)".utf8)
    }
}

package enum SecretError: Error, Sendable, CustomStringConvertible {
    case missingKey(String)
    case readableByOthers(String)
    case wrongKeyLength(String, Int)
    case wrongKey(String, String)
    case tooLong(String, Int)

    package var description: String {
        switch self {
        case .missingKey(let path):
            "\(path), the key of the stored secrets, does not exist: put it back, or name it with --key-file"
        case .readableByOthers(let path): "\(path) holds the key of all secrets and can be read by others: chmod 600 \(path)"
        case .wrongKeyLength(let path, let count):
            "\(path) must hold \(AuthenticatedCipher.keyByteCount) bytes and has \(count)"
        case .wrongKey(let path, let name):
            "the secret \(name) can't be opened with the key in \(path): it was stored under another key"
        case .tooLong(let name, let count): "the secret \(name) has \(count) bytes; 5120 are possible"
        }
    }
}
