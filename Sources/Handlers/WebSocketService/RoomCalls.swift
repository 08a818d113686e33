import Collaboration
import DurableObjects
import Platform

/// What the worker asks of a room besides connecting to it.
enum RoomCalls {
    static let create = RPCMethod<RoomSettings, RoomReply<RoomView>>("create")
    static let show = RPCMethod<RoomVisitor, RoomReply<RoomView>>("show")
    static let messages = RPCMethod<MessagesRequest, RoomReply<MessagesPage>>("messages")
    static let publish = RPCMethod<Publication, RoomReply<RoomView>>("publish")
}

/// Who asks; the gateway has verified it.
struct RoomVisitor: Codable, Sendable {
    var user: String
    var isAdmin: Bool

    init(_ identity: Identity) {
        user = identity.userID
        isAdmin = identity.role == .admin
    }
}

struct RoomView: Codable, Sendable {
    var id: String
    var name: String
    var access: RoomRole
    /// What who asks may do.
    var role: RoomRole
    var memberCount: Int
    var createdAt: String
}

struct MessagesRequest: Codable, Sendable {
    var visitor: RoomVisitor
    var before: Int64?
    var limit: Int
}

struct MessagesPage: Codable, Sendable {
    var messages: [ChatMessage]
    var hasMore: Bool
}

struct Publication: Codable, Sendable {
    var visitor: RoomVisitor
    var topic: String
    var data: JSONValue
}

/// What a room says, or why it doesn't: a refusal is an answer, and no failure of the call.
enum RoomReply<Value: Codable & Sendable>: Codable, Sendable {
    case success(Value)
    case refused(code: String, message: String, retryAfter: Int64?)
    case missing

    init(_ body: () throws -> Value) throws {
        do { self = .success(try body()) } catch let failure as RoomFailure {
            self = .refused(code: failure.code, message: failure.message, retryAfter: failure.retryAfter)
        } catch is RoomMissing { self = .missing }
    }

    /// - Throws: `APIError`.
    var value: Value {
        get throws {
            switch self {
            case .success(let value): return value
            case .refused(let code, let message, let retryAfter):
                throw RoomFailure(code, message, retryAfter: retryAfter).apiError
            case .missing: throw APIError.notFound("this room")
            }
        }
    }
}
