internal import Glibc
internal import OpenSSL
internal import SQLite
internal import Synchronization
package import System

/// Secrets at rest: AES-256-GCM in `control.sqlite`, under a key that lies outside the state directory. Names are readable,
/// values are not. Safe on any thread; blocks.
package final class SecretStore: SecretSource {
    private let key: [UInt8]
    private let connection: Mutex<Connection>

    /// SQLite's connections are used by one thread at a time; the lock sees to that.
    private struct Connection: @unchecked Sendable {
        let sqlite: SQLiteConnection
    }

    /// - Parameters:
    ///   - database: the path of `control.sqlite`.
    ///   - keyFile: 32 bytes, mode 0600; made when missing.
    package init(database: String, keyFile: String) throws {
        key = try Self.readKey(keyFile)
        let sqlite = try SQLiteConnection(path: database, .create)
        try sqlite.execute(
            """
            PRAGMA journal_mode = WAL;
            PRAGMA synchronous = FULL;
            CREATE TABLE IF NOT EXISTS secrets (
                worker TEXT NOT NULL, name TEXT NOT NULL, nonce BLOB NOT NULL, sealed BLOB NOT NULL,
                modified_at INTEGER NOT NULL, PRIMARY KEY (worker, name)
            ) WITHOUT ROWID;
            """)
        connection = Mutex(Connection(sqlite: sqlite))
    }

    private static func readKey(_ path: String) throws -> [UInt8] {
        if !FileTree.exists(path) {
            if let slash = path.lastIndex(of: "/") { try FileTree.makeDirectory(String(path[..<slash]), mode: 0o700) }
            try FileTree.replaceFile(path, with: SecureRandom.bytes(AuthenticatedCipher.keyByteCount), mode: 0o600)
        }
        var status = stat()
        // SAFETY: stat fills the struct whose address it is given.
        guard unsafe stat(path, &status) == 0 else { throw SystemError("stat", errno: errno, on: path) }
        guard status.st_mode & 0o077 == 0 else { throw SecretError.readableByOthers(path) }
        let key = try FileTree.read(path)
        guard key.count == AuthenticatedCipher.keyByteCount else { throw SecretError.wrongKeyLength(path, key.count) }
        return key
    }

    /// Sets or replaces a secret. Durable when it returns.
    package func put(_ name: String, of worker: String, value: String, at time: UnixTime) throws {
        guard value.utf8.count <= 5 * 1024 else { throw SecretError.tooLong(name, value.utf8.count) }
        let nonce = SecureRandom.bytes(AuthenticatedCipher.nonceByteCount)
        let sealed = try AuthenticatedCipher.seal(
            Array(value.utf8), key: key, nonce: nonce, authenticating: Self.context(name, worker))
        try connection.withLock { connection in
            let statement = try connection.sqlite.prepare(
                "INSERT OR REPLACE INTO secrets (worker, name, nonce, sealed, modified_at) VALUES (?1, ?2, ?3, ?4, ?5)")
            try statement.bind(worker, at: 1)
            try statement.bind(name, at: 2)
            try statement.bind(nonce, at: 3)
            try statement.bind(sealed.ciphertext + sealed.tag, at: 4)
            try statement.bind(time.milliseconds, at: 5)
            _ = try statement.step()
        }
    }

    /// - Returns: whether there was one.
    package func delete(_ name: String, of worker: String) throws -> Bool {
        try connection.withLock { connection in
            let statement = try connection.sqlite.prepare(
                "DELETE FROM secrets WHERE worker = ?1 AND name = ?2 RETURNING name")
            try statement.bind(worker, at: 1)
            try statement.bind(name, at: 2)
            let existed = try statement.step()
            while try existed && statement.step() {}
            return existed
        }
    }

    /// Names only: values can't be read back.
    package func list() throws -> [(worker: String, name: String)] {
        try connection.withLock { connection in
            let statement = try connection.sqlite.prepare("SELECT worker, name FROM secrets ORDER BY worker, name")
            var names: [(worker: String, name: String)] = []
            while try statement.step() { names.append((statement.text(0) ?? "", statement.text(1) ?? "")) }
            return names
        }
    }

    /// The value of a worker's own secret, else of the one that all workers share (worker `*`).
    package func secret(_ name: String, of worker: String) throws -> String? {
        try connection.withLock { connection in
            for owner in [worker, "*"] {
                let statement = try connection.sqlite.prepare(
                    "SELECT nonce, sealed FROM secrets WHERE worker = ?1 AND name = ?2")
                try statement.bind(owner, at: 1)
                try statement.bind(name, at: 2)
                guard try statement.step() else { continue }
                let sealed = statement.blob(1)
                let opened = try AuthenticatedCipher.open(
                    Array(sealed.dropLast(AuthenticatedCipher.tagByteCount)),
                    tag: Array(sealed.suffix(AuthenticatedCipher.tagByteCount)), key: key, nonce: statement.blob(0),
                    authenticating: Self.context(name, owner))
                return String(decoding: opened, as: UTF8.self)
            }
            return nil
        }
    }

    /// A sealed value opens only under the name that it was stored for.
    private static func context(_ name: String, _ worker: String) -> [UInt8] { Array("\(worker)\u{0}\(name)".utf8) }
}

package enum SecretError: Error, Sendable, CustomStringConvertible {
    case readableByOthers(String)
    case wrongKeyLength(String, Int)
    case tooLong(String, Int)

    package var description: String {
        switch self {
        case .readableByOthers(let path): "\(path) holds the key of all secrets and can be read by others: chmod 600 \(path)"
        case .wrongKeyLength(let path, let count):
            "\(path) must hold \(AuthenticatedCipher.keyByteCount) bytes and has \(count)"
        case .tooLong(let name, let count): "the secret \(name) has \(count) bytes; 5120 are possible"
        }
    }
}
