internal import OpenSSL
package import Releases
internal import SQLite
internal import Synchronization
package import System

/// The API tokens of an environment, in `control.sqlite`. Kept as digests: who reads the file has no token. Each has 256 bits
/// of chance, so a plain digest is enough. All are held in memory; `find` never waits for the disk.
package final class TokenStore: Sendable {
    package struct Token: Equatable, Sendable {
        package let id: String
        package let name: String
        /// Set when it may be used as `X-Auth-Key` beside this address too.
        package let email: String?
        package let grants: [Principal.Grant]
        package let createdAt: UnixTime
        package let expiresAt: UnixTime?
        package fileprivate(set) var revokedAt: UnixTime?

        package var principal: Principal { Principal(tokenID: id, name: name, grants: grants) }

        package func isActive(at time: UnixTime) -> Bool {
            revokedAt == nil && expiresAt.map { time < $0 } ?? true
        }
    }

    /// SQLite's connections are used by one thread at a time; the lock sees to that.
    private struct Connection: @unchecked Sendable {
        let sqlite: SQLiteConnection
    }

    /// Taken before `known`: what is durable is known next.
    private let connection: Mutex<Connection>
    private let known: Mutex<[[UInt8]: Token]>
    /// What requests of the S3 API are signed with, by the tokens' ids.
    private let accessKeys = Mutex<[String: (digest: [UInt8], secret: String)]>([:])
    private let vault: SecretStore?
    /// Hears why a token is no access key.
    private let onSealFailure: @Sendable (_ name: String, any Error) -> Void

    /// Opens or makes the table in `database`; blocks.
    ///
    /// - Parameters:
    ///   - vault: Seals what must be had again in the clear; without it no token is an access key of the S3 API.
    ///   - onSealFailure: Hears of tokens that are none because of the vault: they are good for all else.
    package init(
        database: String, vault: SecretStore? = nil,
        onSealFailure: @escaping @Sendable (_ name: String, any Error) -> Void = { _, _ in }
    ) throws {
        self.vault = vault
        self.onSealFailure = onSealFailure
        let sqlite = try SQLiteConnection(path: database, .create)
        try sqlite.execute(
            """
            PRAGMA journal_mode = WAL;
            PRAGMA synchronous = FULL;
            PRAGMA busy_timeout = 5000;
            CREATE TABLE IF NOT EXISTS api_tokens (
                id TEXT NOT NULL PRIMARY KEY, digest BLOB NOT NULL UNIQUE, name TEXT NOT NULL, email TEXT,
                grants TEXT NOT NULL, created_at INTEGER NOT NULL, expires_at INTEGER, revoked_at INTEGER
            ) WITHOUT ROWID;
            """)
        var tokens: [[UInt8]: Token] = [:]
        let statement = try sqlite.prepare(
            "SELECT digest, id, name, email, grants, created_at, expires_at, revoked_at FROM api_tokens")
        while try statement.step() {
            func time(_ column: Int) -> UnixTime? {
                statement.columnKind(column) == .null ? nil : UnixTime(milliseconds: statement.integer(column))
            }
            tokens[statement.blob(0)] = Token(
                id: statement.text(1) ?? "", name: statement.text(2) ?? "", email: statement.text(3),
                grants: Self.grants(statement.text(4) ?? ""), createdAt: UnixTime(milliseconds: statement.integer(5)),
                expiresAt: time(6), revokedAt: time(7))
        }
        connection = Mutex(Connection(sqlite: sqlite))
        known = Mutex(tokens)
        guard let vault else { return }
        for (digest, token) in tokens where token.revokedAt == nil {
            do {
                guard let secret = try vault.secret(token.id, of: Self.vaultFolder) else { continue }
                accessKeys.withLock { $0[token.id] = (digest, secret) }
            } catch { onSealFailure(token.name, error) }
        }
    }

    // MARK: Access keys

    private static let vaultFolder = "s3"

    /// The token that is this access key, if it is active, and the secret of the key.
    package func accessKey(_ id: String, at time: UnixTime) -> (token: Token, secret: String)? {
        guard let (digest, secret) = accessKeys.withLock({ $0[id] }), let token = known.withLock({ $0[digest] }),
            token.isActive(at: time)
        else { return nil }
        return (token, secret)
    }

    /// Makes the token an access key: its secret is the SHA-256 of the token's text, as the product has it. That is no digest
    /// to look tokens up by, so it is kept sealed.
    private func seal(_ token: Token, _ text: String, _ digest: [UInt8], at time: UnixTime) {
        guard let vault else { return }
        let secret = Self.hex(Digest.hash(text, with: .sha256))
        do {
            try vault.put(token.id, of: Self.vaultFolder, value: secret, at: time)
            accessKeys.withLock { $0[token.id] = (digest, secret) }
        } catch { onSealFailure(token.name, error) }
    }

    /// Makes an access key of a token that was made without.
    func sealIfNeeded(_ token: Token, _ text: String, at time: UnixTime) {
        guard accessKeys.withLock({ $0[token.id] }) == nil else { return }
        seal(token, text, Self.digest(text), at: time)
    }

    /// Makes a token. Durable when it returns; blocks.
    ///
    /// - Returns: The token, and its text, which can't be had again.
    package func create(
        name: String, grants: [Principal.Grant], email: String? = nil, at time: UnixTime, expiresAt: UnixTime? = nil
    ) throws -> (token: Token, text: String) {
        let text = Self.text(SecureRandom.bytes(30))
        let token = Token(
            id: Self.hex(SecureRandom.bytes(16)), name: name, email: email, grants: grants, createdAt: time,
            expiresAt: expiresAt, revokedAt: nil)
        let digest = Self.digest(text)
        try connection.withLock { connection in
            let statement = try connection.sqlite.prepare(
                """
                INSERT INTO api_tokens (id, digest, name, email, grants, created_at, expires_at)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                """)
            try statement.bind(token.id, at: 1)
            try statement.bind(digest, at: 2)
            try statement.bind(name, at: 3)
            if let email { try statement.bind(email, at: 4) } else { try statement.bindNull(at: 4) }
            try statement.bind(String(decoding: Self.json(grants).bytes, as: UTF8.self), at: 5)
            try statement.bind(time.milliseconds, at: 6)
            if let expiresAt { try statement.bind(expiresAt.milliseconds, at: 7) } else { try statement.bindNull(at: 7) }
            _ = try statement.step()
            known.withLock { $0[digest] = token }
        }
        seal(token, text, digest, at: time)
        return (token, text)
    }

    /// Ends a token for good. Durable when it returns; blocks.
    ///
    /// - Returns: whether there is such a token.
    package func revoke(_ id: String, at time: UnixTime) throws -> Bool {
        guard try end(id, at: time) else { return false }
        // It is no key any more, whether or not its secret can be removed.
        if accessKeys.withLock({ $0.removeValue(forKey: id) }) != nil {
            do { _ = try vault?.delete(id, of: Self.vaultFolder) } catch { onSealFailure(id, error) }
        }
        return true
    }

    private func end(_ id: String, at time: UnixTime) throws -> Bool {
        try connection.withLock { connection in
            let digest = known.withLock { known in known.first { $0.value.id == id }?.key }
            guard let digest else { return false }
            let statement = try connection.sqlite.prepare(
                "UPDATE api_tokens SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL")
            try statement.bind(id, at: 1)
            try statement.bind(time.milliseconds, at: 2)
            _ = try statement.step()
            known.withLock { known in
                if known[digest]?.revokedAt == nil { known[digest]?.revokedAt = time }
            }
            return true
        }
    }

    /// All there ever were, the newest first.
    package func list() -> [Token] {
        known.withLock { Array($0.values) }.sorted { ($1.createdAt, $0.id) < ($0.createdAt, $1.id) }
    }

    func email(of id: String) -> String? { known.withLock { known in known.values.first { $0.id == id }?.email } }

    /// The token that these credentials are, if it is active.
    func find(_ credentials: Credentials, at time: UnixTime) -> Token? {
        let text =
            switch credentials {
            case .token(let text), .key(let text, _): text
            }
        // What is compared is a digest, of which a caller can't choose the first bytes.
        guard let token = known.withLock({ $0[Self.digest(text)] }), token.isActive(at: time) else { return nil }
        if case .key(_, let email) = credentials {
            guard token.email?.lowercased() == email.lowercased() else { return nil }
        }
        return token
    }

    // MARK: Forms

    /// Digested under a name of its own, so that no other use of a token's SHA-256 is found here.
    private static func digest(_ text: String) -> [UInt8] { Digest.hash("edge-token\u{0}" + text, with: .sha256) }

    /// 40 characters, as the product's are.
    private static func text(_ bytes: [UInt8]) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
        var text: [UInt8] = []
        var (bits, count) = (0, 0)
        for byte in bytes {
            bits = bits << 8 | Int(byte)
            count += 8
            while count >= 6 {
                text.append(alphabet[bits >> (count - 6) & 63])
                count -= 6
            }
            bits &= (1 << count) - 1
        }
        return String(decoding: text, as: UTF8.self)
    }

    static func hex(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    private static func json(_ grants: [Principal.Grant]) -> JSON {
        .array(
            grants.map { grant in
                .object([
                    "tenant": grant.tenant.map { .string($0) }, "product": grant.product.map { .string($0.rawValue) },
                    "level": .string(grant.level.rawValue), "bucket": grant.bucket.map { .string($0) },
                ])
            })
    }

    private static func grants(_ text: String) -> [Principal.Grant] {
        (JSON(Array(text.utf8))?.items ?? []).compactMap { item in
            guard let level = item["level"]?.text.flatMap(APIOperation.Level.init(rawValue:)) else { return nil }
            let product = item["product"]?.text.map { APIOperation.Product(rawValue: $0) }
            // A product of a later version grants nothing here.
            if let product, product == nil { return nil }
            return Principal.Grant(
                tenant: item["tenant"]?.text, product: product ?? nil, level: level, bucket: item["bucket"]?.text)
        }
    }
}
