internal import FoundationEssentials

// What a room says (docs/realtime.md). `nil` members are left out.

struct JoinedMessage: Encodable {
    struct Room: Encodable {
        var id: String
        var name: String
        var access: RoomRole

        init(_ settings: RoomSettings) {
            id = settings.id
            name = settings.name
            access = settings.access
        }
    }

    struct Step: Encodable {
        var revision: Int
        var operation: TextOperation?
        var acknowledges: Int?
    }

    struct Chat: Encodable {
        var messages: [ChatMessage]
        var hasMore: Bool
    }

    struct Limits: Encodable {
        var messageBytes: Int
        var documentLength: Int
        var chatLength: Int
    }

    let type = "joined"
    let version = 1
    var you: MemberView
    var room: Room
    var revision: Int
    /// Either the whole text or what has to be done to the client's.
    var text: String?
    var steps: [Step]?
    /// The client's last operation that is in the text; `nil` when nothing is known of the client.
    var acknowledged: Int?
    var members: [MemberView]
    var memberCount: Int
    var chat: Chat
    var mutedUntil: Int64?
    var limits: Limits
}

struct MemberView: Encodable, Equatable {
    var id: String
    var user: String
    var name: String
    var role: RoomRole
    var state: Member.State
    var cursor: Member.Cursor?

    init(_ member: Member, cursor: Member.Cursor? = nil) {
        id = member.id
        user = member.user
        name = member.name
        role = member.role
        state = member.state
        self.cursor = cursor
    }
}

struct OperationMessage: Encodable {
    let type = "operation"
    var revision: Int
    var operation: TextOperation
    var member: String
    var user: String
    /// Which of its own a client sees when it has connected anew.
    var client: String
    var sequence: Int
}

struct AcknowledgementMessage: Encodable {
    let type = "ack"
    var sequence: Int
    /// `nil` for an older one that came again.
    var revision: Int?
}

struct PresenceMessage: Encodable {
    let type = "presence"
    var count: Int
    /// New members and those whose name, role or state changed.
    var present: [MemberView]?
    var left: [String]?
}

struct CursorsMessage: Encodable {
    struct Item: Encodable {
        var member: String
        /// Left out when the member shows none any more.
        var anchor: Int?
        var head: Int?
    }
    let type = "cursors"
    var revision: Int
    var cursors: [Item]
}

struct TypingMessage: Encodable {
    struct Person: Encodable, Equatable {
        var user: String
        var name: String
    }
    let type = "typing"
    var people: [Person]
}

struct ChatEvent: Encodable {
    let type = "chat"
    var message: ChatMessage
}

struct HistoryMessage: Encodable {
    let type = "history"
    var messages: [ChatMessage]
    var hasMore: Bool
}

struct MembersMessage: Encodable {
    let type = "members"
    var members: [MemberView]
    /// What to ask for the next page with; left out on the last.
    var next: String?
}

struct RoomMessage: Encodable {
    let type = "room"
    var room: JoinedMessage.Room
}

struct RoleMessage: Encodable {
    let type = "role"
    var role: RoomRole
}

struct MutedMessage: Encodable {
    let type = "muted"
    /// 0: no longer.
    var until: Int64
}

struct StandingMessage: Encodable {
    let type = "standing"
    var user: String
    var role: RoomRole?
    var kickedUntil: Int64
    var mutedUntil: Int64
}

struct TopicMessage: Encodable {
    let type = "topic"
    var topic: String
    var version: Int64
    var at: Int64
    var data: JSONValue
}

struct SubscribedMessage: Encodable {
    let type = "subscribed"
    var topics: [String]
}

struct PongMessage: Encodable { let type = "pong" }

struct ErrorMessage: Encodable {
    let type = "error"
    var code: String
    var message: String
    /// The type of the message that failed.
    var request: String?
    var sequence: Int?
    var id: String?
    var retryAfter: Int64?
}

func roomText(_ message: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(message), as: UTF8.self)
}
