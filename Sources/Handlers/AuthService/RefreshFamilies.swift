import Platform
import Workers

/// The refresh tokens in D1, in families: one family per login, one unused token per family (RFC 9700
/// §4.14.2).
///
/// Whatever ends a family (a logout, a token used twice, a disabled account, age) leaves its id in
/// `ended_sessions`, in the same transaction (migrations/platform/0005_sessions.sql). Who ends one removes its
/// session from KV at once; `closeEnded` does it for those who couldn't.
struct RefreshFamilies {
    private static let tokenLifetime = 30 * Timestamp.dayMilliseconds
    private static let familyLifetime = Int64(Sessions.lifetimeSeconds) * 1000
    /// Logins beyond end the oldest ones.
    private static let familiesPerUserMax = 20
    /// How long a used token is remembered: one that comes again within this time ends its family, a later
    /// one is unknown.
    private static let reuseWindow = 7 * Timestamp.dayMilliseconds
    /// Revoked families stay so long, for whoever asks what happened.
    private static let revokedKept = 7 * Timestamp.dayMilliseconds
    /// Rows per transaction when many are worked off.
    private static let rowsPerRound = 200

    private let database: D1Database

    init(_ database: D1Database) { self.database = database }

    /// Begins `family` with its first token.
    ///
    /// - Returns: the families that ended to make room; `nil` when the account isn't active, and nothing was
    ///   begun then.
    func begin(
        _ family: Identifier, user: String, token: RefreshToken, now: Int64
    ) async throws -> [String]? {
        let results = try await database.batch([
            database.prepare(
                """
                INSERT INTO refresh_families (id, user_id, created_at, expires_at)
                SELECT ?1, id, ?3, ?4 FROM users WHERE id = ?2 AND status = 'active' RETURNING id
                """
            ).bind(family.text, user, now, now + Self.familyLifetime),
            database.prepare(
                """
                INSERT INTO refresh_tokens (hash, family_id, issued_at, expires_at)
                SELECT ?1, id, ?3, ?4 FROM refresh_families WHERE id = ?2
                """
            ).bind(token.hash, family.text, now, now + Self.tokenLifetime),
            database.prepare(
                """
                DELETE FROM refresh_families WHERE user_id = ?1 AND (expires_at < ?2 OR id NOT IN (
                    SELECT id FROM refresh_families WHERE user_id = ?1 ORDER BY created_at DESC, id DESC LIMIT ?3))
                RETURNING id
                """
            ).bind(user, now, Self.familiesPerUserMax),
        ])
        guard !results[0].results.isEmpty else { return nil }
        return results[2].results.compactMap { $0["id"]?.text }
    }

    enum Rotation {
        case rotated(family: String, user: UserRecord)
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
                SELECT \(UserRecord.columns), family_id, used_at, revoked_at
                FROM refresh_tokens JOIN refresh_families ON refresh_families.id = family_id
                    JOIN users ON users.id = user_id
                WHERE hash = ?1
                """
            ).bind(old.hash),
            // Tokens that are remembered no longer, of a family that has just got a new one.
            database.prepare(
                """
                DELETE FROM refresh_tokens
                WHERE family_id = (SELECT family_id FROM refresh_tokens WHERE hash = ?1) AND used_at <= ?2
                """
            ).bind(new.hash, now - Self.reuseWindow),
        ])
        guard let row = results[2].results.first, let family = row["family_id"]?.text else { return .unknown }
        if !results[0].results.isEmpty {
            return .rotated(family: family, user: try row.decode(UserRecord.self))
        }
        let wasUsed = row["used_at"].map { !$0.isNull } ?? false
        let wasRevoked = row["revoked_at"].map { !$0.isNull } ?? false
        guard wasUsed, !wasRevoked else { return .expired }
        try await revoke(family, reason: .reuse, now: now)
        return .reused(family: family)
    }

    /// Why a family was ended by somebody; `disabled` is written by the database itself.
    enum RevokeReason: String { case logout, reuse }

    /// Ends a family; its refresh tokens are refused from now on.
    func revoke(_ family: String, reason: RevokeReason, now: Int64) async throws {
        try await database.prepare(
            "UPDATE refresh_families SET revoked_at = ?2, revoke_reason = ?3 WHERE id = ?1 AND revoked_at IS NULL"
        ).bind(family, now, reason.rawValue).run()
    }

    struct Details {
        var user: UserRecord
        /// Milliseconds since 1970.
        var createdAt: Int64
        var refreshedAt: Int64
        var expiresAt: Int64
    }

    /// What there is to know of a live family of `user`; `nil` when it has ended.
    func details(_ family: String, user: String, now: Int64) async throws -> Details? {
        let row = try await database.prepare(
            """
            SELECT \(UserRecord.columns), family.created_at AS family_created_at, token.issued_at,
                min(token.expires_at, family.expires_at) AS ends_at
            FROM refresh_families AS family JOIN users ON users.id = family.user_id
                JOIN refresh_tokens AS token ON token.family_id = family.id AND token.used_at IS NULL
            WHERE family.id = ?1 AND users.id = ?2 AND family.revoked_at IS NULL
                AND users.status = 'active' AND ends_at > ?3
            """
        ).bind(family, user, now).first()
        guard let row, let createdAt = row["family_created_at"]?.integer,
            let refreshedAt = row["issued_at"]?.integer, let expiresAt = row["ends_at"]?.integer
        else { return nil }
        return Details(
            user: try row.decode(UserRecord.self), createdAt: createdAt, refreshedAt: refreshedAt,
            expiresAt: expiresAt)
    }

    // MARK: Cleaning

    /// Removes the sessions of families that ended from KV. What is interrupted goes on with the next call.
    ///
    /// - Parameter end: Ends one session; may be called again for one that has ended.
    func closeEnded(_ end: (_ family: String) async throws -> Void) async throws {
        while true {
            let rows = try await database.prepare("SELECT id FROM ended_sessions LIMIT ?1")
                .bind(Self.rowsPerRound).all().results
            let families = rows.compactMap { $0["id"]?.text }
            guard !families.isEmpty else { return }
            for family in families { try await end(family) }
            try await database.prepare(
                "DELETE FROM ended_sessions WHERE id IN (SELECT value FROM json_each(?1))"
            ).bind(try JSONText.of(families)).run()
        }
    }

    /// Removes families that nobody can use any more, with their tokens.
    ///
    /// - Returns: how many.
    func removeOver(now: Int64) async throws -> Int {
        var count = 0
        while true {
            let removed = try await database.prepare(
                """
                DELETE FROM refresh_families WHERE id IN (
                    SELECT id FROM refresh_families AS family
                    WHERE expires_at <= ?1 OR revoked_at <= ?2 OR NOT EXISTS (
                        SELECT 1 FROM refresh_tokens
                        WHERE family_id = family.id AND used_at IS NULL AND expires_at > ?1)
                    LIMIT ?3)
                RETURNING id
                """
            ).bind(now, now - Self.revokedKept, Self.rowsPerRound).all().results.count
            count += removed
            if removed < Self.rowsPerRound { return count }
        }
    }
}
