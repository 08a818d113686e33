import Platform
import Workers

/// The accounts in D1.
struct UserRepository {
    private let database: D1Database

    init(_ database: D1Database) { self.database = database }

    /// `nil` when e-mail or username were taken meanwhile.
    func insert(
        id: String, email: String, username: String, passwordHash: String, now: Int64
    ) async throws -> UserRecord? {
        try await database.prepare(
            """
            INSERT INTO users (id, email, username, password_hash, created_at, updated_at)
            VALUES (?1, ?2, ?3, ?4, ?5, ?5) ON CONFLICT DO NOTHING RETURNING \(UserRecord.columns)
            """
        ).bind(id, email, username, passwordHash, now).first(as: UserRecord.self)
    }

    /// - Throws: 409 naming the fields that another account has.
    func refuseTaken(email: String, username: String) async throws {
        let taken = try await database.prepare(
            "SELECT email, username FROM users WHERE email = ?1 OR username = ?2 LIMIT 2"
        ).bind(email, username).all().decode(TakenNames.self)
        guard !taken.isEmpty else { return }
        var fields: [String: String] = [:]
        for names in taken {
            if names.email == email { fields["email"] = "is taken" }
            if names.username.lowercased() == username.lowercased() { fields["username"] = "is taken" }
        }
        throw APIError.conflict(
            fields.keys.sorted().joined(separator: " and ") + " taken by another account", fields: fields)
    }

    private struct TakenNames: Decodable {
        var email: String
        var username: String
    }

    func find(email: String) async throws -> (user: UserRecord, passwordHash: String)? {
        let row = try await database.prepare(
            "SELECT \(UserRecord.columns), users.password_hash FROM users WHERE email = ?1"
        ).bind(email).first()
        guard let row, let hash = row["password_hash"]?.text else { return nil }
        return (try row.decode(UserRecord.self), hash)
    }

    func find(id: String) async throws -> UserRecord? {
        try await database.prepare("SELECT \(UserRecord.columns) FROM users WHERE id = ?1")
            .bind(id).first(as: UserRecord.self)
    }
}
