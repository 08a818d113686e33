import Platform
import Workers

enum Profile {
    /// `GET /api/v1/users/me` → 200 `{user}`.
    static func show(_ exchange: Exchange) async throws -> Response {
        let identity = try exchange.identity
        let user = try await exchange.env.d1("DB")
            .prepare("SELECT \(UserRecord.columns) FROM users WHERE id = ?1")
            .bind(identity.userID).first(as: UserRecord.self)
        guard let user, user.status == .active else { throw APIError.notFound("this user") }
        return try .json(UserEnvelope(user))
    }

    private struct Changes: Decodable {
        var username: PatchField<String>
        var displayName: PatchField<String>
        var bio: PatchField<String>
        var avatarUrl: PatchField<String>
    }

    /// `PATCH /api/v1/users/me {username?, displayName?, bio?, avatarUrl?}` → 200 `{user}`. What is left
    /// out stays, `null` clears all but the username.
    static func change(_ exchange: Exchange) async throws -> Response {
        let identity = try exchange.identity
        let changes: Changes = try await exchange.request.decodeJSON(upTo: 16 << 10)
        let assignments = try Self.assignments(changes)
        guard !assignments.isEmpty else { return try await show(exchange) }

        // Column names are ours; values are bound.
        let columns = assignments.enumerated().map { "\($1.column) = ?\($0 + 3)" }.joined(separator: ", ")
        let statement = try exchange.database.prepare(
            """
            UPDATE OR IGNORE users SET \(columns), updated_at = ?2
            WHERE id = ?1 AND status = 'active' RETURNING \(UserRecord.columns)
            """)
        let values: [D1Value] =
            [.text(identity.userID), .integer(exchange.context.now)]
            + assignments.map { $0.value.map(D1Value.text) ?? .null }
        if let user = try await statement.bind(values: values).first(as: UserRecord.self) {
            return try .json(UserEnvelope(user))
        }
        // Either there is no such user, which `show` says, or the unique index refused the name.
        _ = try await show(exchange)
        throw APIError.conflict("username taken by another account", fields: ["username": "is taken"])
    }

    private static func assignments(_ changes: Changes) throws(APIError) -> [(column: String, value: String?)] {
        var validation = Validation()
        var assignments: [(column: String, value: String?)] = []
        switch changes.username {
        case .keep: break
        case .clear: validation.refuse("username", "must not be null")
        case .replace(let text):
            assignments.append(("username", validation.username("username", text)))
        }
        for (field, column, change, counts, form) in [
            ("displayName", "display_name", changes.displayName, 1...80, Validation.TextForm.line),
            ("bio", "bio", changes.bio, 0...2000, .body),
        ] {
            switch change {
            case .keep: break
            case .clear: assignments.append((column, nil))
            case .replace(let text):
                assignments.append(
                    (column, validation.text(field, text, counts: counts, as: form)))
            }
        }
        switch changes.avatarUrl {
        case .keep: break
        case .clear: assignments.append(("avatar_url", nil))
        case .replace(let text):
            // Shown to others as the source of an image: nothing but https.
            let url = WebURL(text)
            if let url, text.utf8.count <= 1024, text.lowercased().hasPrefix("https://") {
                assignments.append(("avatar_url", "\(url)"))
            } else {
                validation.refuse("avatarUrl", "must be an https URL of at most 1024 bytes")
            }
        }
        try validation.finish()
        return assignments
    }
}
