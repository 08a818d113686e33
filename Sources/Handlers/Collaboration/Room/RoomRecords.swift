/// What people may do in a room; each may do what those before may.
package enum RoomRole: String, Codable, Sendable, CaseIterable, Comparable {
    case none, viewer, commenter, editor, owner

    package static func < (left: RoomRole, right: RoomRole) -> Bool { left.rank < right.rank }
    private var rank: Int { Self.allCases.firstIndex(of: self) ?? 0 }
}

package struct RoomSettings: Codable, Equatable, Sendable {
    package var id: String
    package var name: String
    /// What people may do whom nobody has given a role.
    package var access: RoomRole
    package var createdBy: String
    package var createdAt: Int64

    package init(id: String, name: String, access: RoomRole, createdBy: String, createdAt: Int64) {
        self.id = id
        self.name = name
        self.access = access
        self.createdBy = createdBy
        self.createdAt = createdAt
    }
}

/// What is known of one user in one room.
package struct Standing: Codable, Equatable, Sendable {
    /// `nil`: as the room's `access` says.
    package var role: RoomRole?
    /// Milliseconds since 1970; 0 for never.
    package var kickedUntil: Int64
    package var mutedUntil: Int64

    package init(role: RoomRole? = nil, kickedUntil: Int64 = 0, mutedUntil: Int64 = 0) {
        self.role = role
        self.kickedUntil = kickedUntil
        self.mutedUntil = mutedUntil
    }
}

package struct ChatDraft: Equatable, Sendable {
    /// The author's client made it: a second message with it is the same message.
    package var id: String
    package var user: String
    package var name: String
    package var text: String
    package var at: Int64

    package init(id: String, user: String, name: String, text: String, at: Int64) {
        self.id = id
        self.user = user
        self.name = name
        self.text = text
        self.at = at
    }
}

package struct ChatMessage: Codable, Equatable, Sendable {
    /// Grows by one with each message of the room.
    package var number: Int64
    package var id: String
    package var user: String
    package var name: String
    package var text: String
    package var at: Int64

    package init(number: Int64, _ draft: ChatDraft) {
        self.number = number
        id = draft.id
        user = draft.user
        name = draft.name
        text = draft.text
        at = draft.at
    }
}

package struct TopicValue: Equatable, Sendable {
    package var name: String
    package var version: Int64
    /// JSON.
    package var data: String
    package var at: Int64

    package init(name: String, version: Int64, data: String, at: Int64) {
        self.name = name
        self.version = version
        self.data = data
        self.at = at
    }
}

/// A connection to a room, as it is kept with its socket while the object is out of memory.
package struct Member: Codable, Equatable, Sendable {
    package struct Cursor: Codable, Equatable, Sendable {
        /// The place where the selection began, and the one where it ends now.
        package var anchor: Int
        package var head: Int

        package init(anchor: Int, head: Int) {
            self.anchor = anchor
            self.head = head
        }
    }

    package enum State: String, Codable, Sendable { case active, away }

    package var id: String
    package var user: String
    package var name: String
    /// The login that the connection was made with.
    package var session: String
    /// The platform's role `admin`: an owner of every room.
    package var isAdmin: Bool
    package var role: RoomRole
    package var connectedAt: Int64
    /// `nil` until it has joined.
    package var client: String?
    package var state = State.active
    package var cursor: Cursor?
    /// The revision that the cursor belongs to.
    package var cursorRevision = 0
    package var topics: [String] = []

    package init(
        id: String, user: String, name: String, session: String, isAdmin: Bool, role: RoomRole, connectedAt: Int64
    ) {
        self.id = id
        self.user = user
        self.name = name
        self.session = session
        self.isAdmin = isAdmin
        self.role = role
        self.connectedAt = connectedAt
    }
}
