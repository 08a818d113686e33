/// A row of `users`, without the password's hash.
package struct UserRecord: Decodable, Sendable {
    package static let columns =
        "users.id, users.email, users.username, users.role, users.status, users.display_name, users.bio, "
        + "users.avatar_url, users.created_at, users.updated_at"

    package enum Status: String, Codable, Sendable { case active, disabled }

    package var id: String
    package var email: String
    package var username: String
    package var role: Identity.Role
    package var status: Status
    package var displayName: String?
    package var bio: String?
    package var avatarURL: String?
    /// Milliseconds since 1970.
    package var createdAt: Int64
    package var updatedAt: Int64

    private enum CodingKeys: String, CodingKey {
        case id, email, username, role, status, bio
        case displayName = "display_name"
        case avatarURL = "avatar_url"
        case createdAt = "created_at"
        case updatedAt = "updated_at"
    }

    package var view: UserView { UserView(self) }
}

/// A user as the API shows them to themselves.
package struct UserView: Encodable, Sendable {
    package var id: String
    package var email: String
    package var username: String
    package var role: Identity.Role
    package var displayName: String?
    package var bio: String?
    package var avatarUrl: String?
    package var createdAt: String
    package var updatedAt: String

    package init(_ record: UserRecord) {
        id = record.id
        email = record.email
        username = record.username
        role = record.role
        displayName = record.displayName
        bio = record.bio
        avatarUrl = record.avatarURL
        createdAt = Timestamp.text(record.createdAt)
        updatedAt = Timestamp.text(record.updatedAt)
    }
}

/// `{"user":{…}}`
package struct UserEnvelope: Encodable, Sendable {
    package var user: UserView
    package init(_ record: UserRecord) { user = record.view }
}
