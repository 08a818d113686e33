internal import FoundationEssentials

/// What one user should hear of, wherever they are: kept until it is old, told at once to whoever is connected.
///
/// Owner: the object's thread, as for `Room`.
package final class Inbox<Storage: InboxStorage> {
    package struct Limits: Sendable {
        package var connectionsMax = 50
        package var notificationsKept = 1_000
        package var pageMax = 100
        package var messageByteCountMax = 4 << 10
        package var messages = RateLimit(perSecond: 10, burst: 40)

        package init() {}
    }

    private let storage: Storage
    private let limits: Limits
    private var budgets: [String: TokenBucket] = [:]

    package init(_ storage: Storage, limits: Limits = Limits()) {
        self.storage = storage
        self.limits = limits
    }

    /// What a new connection is told.
    ///
    /// - Parameter count: Of connections that there are already.
    /// - Throws: `RoomFailure` `too_many_connections`; what the storage throws.
    package func greeting(connections count: Int) throws -> String {
        guard count < limits.connectionsMax else {
            throw RoomFailure("too_many_connections", "a user has at most \(limits.connectionsMax) connections")
        }
        let page = try storage.notifications(before: nil, limit: 51)
        return try roomText(
            InboxMessage(
                unread: storage.unreadCount(), notifications: Array(page.prefix(50)), hasMore: page.count > 50))
    }

    package func disconnect(_ id: String) { budgets[id] = nil }

    /// Takes what happened.
    ///
    /// - Returns: what all connections are to be told; `nil` for what came before.
    package func deliver(_ notification: RoomNotification) throws -> String? {
        guard let item = try storage.append(notification, keeping: limits.notificationsKept) else { return nil }
        return try roomText(NotificationMessage(notification: item, unread: storage.unreadCount()))
    }

    /// Notes what the user has seen.
    ///
    /// - Returns: what all connections are to be told.
    package func read(upTo number: Int64) throws -> String {
        try storage.markRead(upTo: number)
        return try roomText(ReadMessage(upTo: storage.readUpTo(), unread: storage.unreadCount()))
    }

    /// - Throws: `RoomFailure` `invalid`.
    package func page(before number: Int64?, limit: Int) throws -> InboxPage {
        guard (1...limits.pageMax).contains(limit) else {
            throw RoomFailure.invalid("\"limit\" must be from 1 to \(limits.pageMax)")
        }
        let page = try storage.notifications(before: number, limit: limit + 1)
        return InboxPage(
            notifications: Array(page.prefix(limit)), hasMore: page.count > limit, unread: try storage.unreadCount())
    }

    // MARK: Messages

    package enum Answer: Equatable, Sendable {
        case toSender(String)
        case toAll(String)
        case close(RoomClosing)
    }

    private struct Request: Decodable {
        var type: String
        var upTo: Int64?
        var before: Int64?
        var limit: Int?
    }

    /// A text message of a connection.
    package func receive(_ text: String, from id: String, now: Int64) throws -> Answer {
        guard text.utf8.count <= limits.messageByteCountMax else { return .close(.tooLarge) }
        var budget = budgets[id] ?? TokenBucket(limits.messages, now: now)
        let wait = budget.take(limits.messages, now: now)
        budgets[id] = budget
        guard wait == nil else { return .close(.tooFast) }
        do {
            guard let request = try? JSONDecoder().decode(Request.self, from: Data(text.utf8)) else {
                throw RoomFailure.malformed("the message is not one of this protocol")
            }
            switch request.type {
            case "ping": return .toSender(try roomText(PongMessage()))
            case "read":
                guard let number = request.upTo else { throw RoomFailure.malformed("\"upTo\" is missing") }
                return .toAll(try read(upTo: number))
            case "history":
                let page = try page(before: request.before, limit: request.limit ?? 50)
                return .toSender(
                    try roomText(InboxHistoryMessage(notifications: page.notifications, hasMore: page.hasMore)))
            default: throw RoomFailure.unknownType(request.type)
            }
        } catch let failure as RoomFailure {
            return .toSender(try roomText(ErrorMessage(code: failure.code, message: failure.message)))
        }
    }
}

/// What an inbox keeps.
package protocol InboxStorage: AnyObject {
    /// Keeps a notification and gives it the next number; `nil` when one with its id came before.
    func append(_ notification: RoomNotification, keeping count: Int) throws -> InboxItem?
    /// The newest before a number, newest first.
    func notifications(before number: Int64?, limit: Int) throws -> [InboxItem]
    func unreadCount() throws -> Int
    func readUpTo() throws -> Int64
    /// Never goes back, and no further than the newest.
    func markRead(upTo number: Int64) throws
}

package struct InboxItem: Codable, Equatable, Sendable {
    package var number: Int64
    package var id: String
    package var kind: String
    package var at: Int64
    package var data: [String: String]

    package init(number: Int64, _ notification: RoomNotification) {
        self.number = number
        id = notification.id
        kind = notification.kind
        at = notification.at
        data = notification.data
    }
}

package struct InboxPage: Codable, Equatable, Sendable {
    package var notifications: [InboxItem]
    package var hasMore: Bool
    package var unread: Int
}

private struct InboxMessage: Encodable {
    let type = "inbox"
    let version = 1
    var unread: Int
    var notifications: [InboxItem]
    var hasMore: Bool
}

private struct NotificationMessage: Encodable {
    let type = "notification"
    var notification: InboxItem
    var unread: Int
}

private struct ReadMessage: Encodable {
    let type = "read"
    var upTo: Int64
    var unread: Int
}

private struct InboxHistoryMessage: Encodable {
    let type = "history"
    var notifications: [InboxItem]
    var hasMore: Bool
}
