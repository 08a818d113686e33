internal import FoundationEssentials

/// A message of a member (docs/realtime.md).
package enum RoomRequest: Equatable, Sendable {
    /// - Parameters:
    ///   - client: The identity that the client's operations are counted under.
    ///   - revision: What it has of the document; `nil` for nothing.
    case join(client: String, revision: Int?)
    case operation(sequence: Int, revision: Int, TextOperation)
    case cursor(revision: Int, Member.Cursor?)
    case presence(Member.State)
    case typing(Bool)
    case chat(id: String, text: String)
    case history(before: Int64?, limit: Int)
    case members(after: String?, limit: Int)
    case configure(name: String?, access: RoomRole?)
    /// A role of `nil` is what the room's `access` says.
    case grant(user: String, RoomRole?)
    case kick(user: String, seconds: Int)
    case mute(user: String, seconds: Int)
    case subscribe([String])
    case unsubscribe([String])
    case publish(topic: String, JSONValue)
    case ping

    enum Kind: String, Decodable {
        case join, operation, cursor, presence, typing, chat, history, members, configure, grant, kick, mute, subscribe,
            unsubscribe
        case publish, ping
    }

    private enum Key: String, CodingKey {
        case type, client, revision, sequence, operation, anchor, head, state, active, id, text, before, limit, after, name,
            access
        case user, role, seconds, topics, topic, data
    }

    /// Reads a message.
    ///
    /// - Throws: `RoomFailure`: `malformed_message`, `unknown_type`.
    package static func reading(_ text: String) throws(RoomFailure) -> RoomRequest {
        do {
            return try JSONDecoder().decode(RoomRequest.self, from: Data(text.utf8))
        } catch let failure as RoomFailure {
            throw failure
        } catch let error as DecodingError {
            throw .malformed(Self.description(of: error))
        } catch {
            throw .malformed("the message is not JSON")
        }
    }

    private static func description(of error: DecodingError) -> String {
        switch error {
        case .keyNotFound(let key, _): "\"\(key.stringValue)\" is missing"
        case .typeMismatch(_, let context), .valueNotFound(_, let context): "\(place(context)) has another type"
        case .dataCorrupted(let context):
            context.codingPath.isEmpty
                ? "the message is not JSON" : "\(place(context)) is malformed: \(context.debugDescription)"
        @unknown default: "the message is malformed"
        }
    }

    private static func place(_ context: DecodingError.Context) -> String {
        guard let key = context.codingPath.first else { return "the message" }
        return "\"\(key.stringValue)\""
    }
}

extension RoomRequest: Decodable {
    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        func value<Value: Decodable>(_ key: Key, _ type: Value.Type = Value.self) throws -> Value {
            try container.decode(Value.self, forKey: key)
        }
        func optional<Value: Decodable>(_ key: Key, _ type: Value.Type = Value.self) throws -> Value? {
            try container.decodeIfPresent(Value.self, forKey: key)
        }
        let type: String = try value(.type)
        guard let kind = Kind(rawValue: type) else { throw RoomFailure.unknownType(type) }
        switch kind {
        case .join: self = .join(client: try value(.client), revision: try optional(.revision))
        case .operation:
            self = .operation(sequence: try value(.sequence), revision: try value(.revision), try value(.operation))
        case .cursor:
            let anchor: Int? = try optional(.anchor)
            let cursor = try anchor.map { Member.Cursor(anchor: $0, head: try optional(.head) ?? $0) }
            self = .cursor(revision: try value(.revision), cursor)
        case .presence: self = .presence(try value(.state))
        case .typing: self = .typing(try value(.active))
        case .chat: self = .chat(id: try value(.id), text: try value(.text))
        case .history: self = .history(before: try optional(.before), limit: try optional(.limit) ?? 50)
        case .members: self = .members(after: try optional(.after), limit: try optional(.limit) ?? 100)
        case .configure: self = .configure(name: try optional(.name), access: try optional(.access))
        case .grant: self = .grant(user: try value(.user), try optional(.role))
        case .kick: self = .kick(user: try value(.user), seconds: try optional(.seconds) ?? 300)
        case .mute: self = .mute(user: try value(.user), seconds: try optional(.seconds) ?? 300)
        case .subscribe: self = .subscribe(try value(.topics))
        case .unsubscribe: self = .unsubscribe(try value(.topics))
        case .publish: self = .publish(topic: try value(.topic), try value(.data))
        case .ping: self = .ping
        }
    }

    /// As clients name it.
    var name: String {
        switch self {
        case .join: "join"
        case .operation: "operation"
        case .cursor: "cursor"
        case .presence: "presence"
        case .typing: "typing"
        case .chat: "chat"
        case .history: "history"
        case .members: "members"
        case .configure: "configure"
        case .grant: "grant"
        case .kick: "kick"
        case .mute: "mute"
        case .subscribe: "subscribe"
        case .unsubscribe: "unsubscribe"
        case .publish: "publish"
        case .ping: "ping"
        }
    }
}

/// Why a room doesn't do what was asked; the connection goes on.
package struct RoomFailure: Error, Equatable, Sendable {
    /// Stable, for programs.
    package var code: String
    package var message: String
    /// Milliseconds after which it may be tried again.
    package var retryAfter: Int64?

    package init(_ code: String, _ message: String, retryAfter: Int64? = nil) {
        self.code = code
        self.message = message
        self.retryAfter = retryAfter
    }

    static func malformed(_ message: String) -> RoomFailure { RoomFailure("malformed_message", message) }
    static func unknownType(_ type: String) -> RoomFailure {
        RoomFailure("unknown_type", "messages of type \"\(String(type.prefix(40)))\" are not known")
    }
    static let notJoined = RoomFailure("not_joined", "the first message of a connection must be \"join\"")
    static func forbidden(_ message: String) -> RoomFailure { RoomFailure("forbidden", message) }
    static func invalid(_ message: String) -> RoomFailure { RoomFailure("invalid", message) }
    static func rateLimited(_ retryAfter: Int64) -> RoomFailure {
        RoomFailure("rate_limited", "too many messages; try again in \(retryAfter) ms", retryAfter: retryAfter)
    }
}
