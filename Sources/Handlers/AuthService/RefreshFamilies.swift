import Platform
import Workers
import WorkersCrypto

/// A refresh token: 32 random bytes for the client, their digest for us.
struct RefreshToken: Sendable {
    let text: String
    let hash: String

    init() { self.init(unchecked: SecureBytes.token()) }

    init?(_ text: String) {
        guard text.utf8.count == 43, Base64URL.decode(text) != nil else { return nil }
        self.init(unchecked: text)
    }

    private init(unchecked text: String) {
        self.text = text
        // 256 random bits need no salt and no slow hash.
        hash = Base64URL.encode(HashFunction.sha256.hash(text))
    }
}

/// The refresh tokens in D1, in families: one family per login, one unused token per family (RFC 9700
/// §4.14.2).
struct RefreshFamilies {
    private static let tokenLifetime: Int64 = 30 * 86_400_000
    private static let familyLifetime: Int64 = 90 * 86_400_000
    /// Logins beyond end the oldest ones.
    private static let familiesPerUserMax = 20

    private let database: D1Database

    init(_ database: D1Database) { self.database = database }

    /// Begins a family with its first token.
    ///
    /// - Returns: the family, and those that ended to make room.
    func begin(user: String, token: RefreshToken, now: Int64) async throws -> (
        family: String, ended: [String]
    ) {
        let family = Identifier(now: now).text
        let results = try await database.batch([
            database.prepare(
                "INSERT INTO refresh_families (id, user_id, created_at, expires_at) VALUES (?1, ?2, ?3, ?4)"
            ).bind(family, user, now, now + Self.familyLifetime),
            database.prepare(
                "INSERT INTO refresh_tokens (hash, family_id, issued_at, expires_at) VALUES (?1, ?2, ?3, ?4)"
            ).bind(token.hash, family, now, now + Self.tokenLifetime),
            database.prepare(
                """
                DELETE FROM refresh_families WHERE user_id = ?1 AND (expires_at < ?2 OR id NOT IN (
                    SELECT id FROM refresh_families WHERE user_id = ?1 ORDER BY created_at DESC, id DESC LIMIT ?3))
                RETURNING id
                """
            ).bind(user, now, Self.familiesPerUserMax),
        ])
        return (family, results[2].results.compactMap { $0["id"]?.text })
    }

    enum Rotation {
        case rotated(family: String, createdAt: Int64, user: UserRecord)
        case unknown
        case expired
        /// The token was used before: somebody has a copy. The family is revoked now.
        case reused(family: String)
    }

    /// Replaces `old` by `new`: exactly one of several that try it at once succeeds.
    func rotate(_ old: RefreshToken, to new: RefreshToken, now: Int64) async throws -> Rotation {
        let results = try await database.batch([
            database.prepare(
                """
                UPDATE refresh_tokens SET used_at = ?2, replaced_by = ?3
                WHERE hash = ?1 AND used_at IS NULL AND expires_at > ?2 AND family_id IN (
                    SELECT refresh_families.id FROM refresh_families JOIN users ON users.id = user_id
                    WHERE revoked_at IS NULL AND expires_at > ?2 AND users.status = 'active')
                RETURNING family_id
                """
            ).bind(old.hash, now, new.hash),
            // Nothing is inserted unless the statement before took the old token.
            database.prepare(
                """
                INSERT INTO refresh_tokens (hash, family_id, issued_at, expires_at)
                SELECT ?2, family_id, ?3, ?4 FROM refresh_tokens WHERE hash = ?1 AND replaced_by = ?2
                """
            ).bind(old.hash, new.hash, now, now + Self.tokenLifetime),
            database.prepare(
                """
                SELECT \(UserRecord.columns), family_id, used_at,
                    refresh_families.created_at AS family_created_at, revoked_at
                FROM refresh_tokens JOIN refresh_families ON refresh_families.id = family_id
                    JOIN users ON users.id = user_id
                WHERE hash = ?1
                """
            ).bind(old.hash),
        ])
        guard let row = results[2].results.first, let family = row["family_id"]?.text else { return .unknown }
        if !results[0].results.isEmpty {
            return .rotated(
                family: family, createdAt: row["family_created_at"]?.integer ?? now,
                user: try row.decode(UserRecord.self))
        }
        let wasUsed = row["used_at"].map { !$0.isNull } ?? false
        let wasRevoked = row["revoked_at"].map { !$0.isNull } ?? false
        guard wasUsed, !wasRevoked else { return .expired }
        try await revoke(family, reason: "reuse", now: now)
        return .reused(family: family)
    }

    /// Ends a family; its tokens are refused from now on.
    func revoke(_ family: String, reason: String, now: Int64) async throws {
        try await database.prepare(
            "UPDATE refresh_families SET revoked_at = ?2, revoke_reason = ?3 WHERE id = ?1 AND revoked_at IS NULL"
        ).bind(family, now, reason).run()
    }
}
