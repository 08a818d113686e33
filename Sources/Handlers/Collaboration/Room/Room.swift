/// A room: what its members send goes in, what they are to be told comes out. It decides; the object around it has the sockets, the
/// timer and the storage.
///
/// What must last is in the storage. What is of the moment (who is typing, whose cursor moved) is here and may be lost, as
/// the object leaves memory when nobody says anything; members come back from what is kept with their sockets.
///
/// Owner: the object's thread. An error of the storage is thrown on: the object is built anew from what is durable.
package final class Room<Storage: RoomStorage> {
    package internal(set) var settings: RoomSettings
    /// All connections, joined or not.
    package internal(set) var members: [String: Member]
    package internal(set) var history: DocumentHistory<Storage>
    let storage: Storage
    let limits: RoomLimits
    var budgets: [String: Budget] = [:]
    var news: News
    /// By user, until when they count as typing.
    var typists: [String: Int64] = [:]
    /// When those connected who haven't joined.
    var arrivals: [String: Int64] = [:]
    var joinedCount: Int
    /// The connection of each client that has joined.
    var clients: [ClientKey: String] = [:]
    /// Who came last, the newest last; some may have left.
    var latest: [String] = []

    struct ClientKey: Hashable {
        var user: String
        var client: String
    }

    /// What a connection may still send.
    struct Budget {
        var messages: TokenBucket
        var operations: TokenBucket
        var chat: TokenBucket
        var excess = 0
    }

    /// What is told to all at once, a moment later.
    struct News {
        var present: Set<String> = []
        var left: [String] = []
        var cursors: Set<String> = []
        var hasPresence = false
        var hasTyping = false
        /// When it is told; `nil` while there is none.
        var due: Int64?
    }

    /// - Parameter members: Those whose sockets outlived the object's memory.
    /// - Throws: `RoomMissing`; what the storage throws.
    package init(
        _ storage: Storage, members: [Member] = [], limits: RoomLimits = RoomLimits(), retention: DocumentRetention = .init()
    ) throws {
        guard let settings = try storage.settings() else { throw RoomMissing() }
        self.settings = settings
        self.storage = storage
        self.limits = limits
        self.members = Dictionary(members.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        history = try DocumentHistory(storage, retention: retention)
        news = News()
        joinedCount = members.count { $0.client != nil }
        for member in members.sorted(by: { ($0.connectedAt, $0.id) < ($1.connectedAt, $1.id) }) {
            guard let client = member.client else {
                arrivals[member.id] = member.connectedAt
                continue
            }
            clients[ClientKey(user: member.user, client: client)] = member.id
            latest.append(member.id)
        }
    }

    /// Makes the room, or leaves it as it is when it is there.
    package static func create(_ settings: RoomSettings, in storage: Storage) throws -> RoomSettings {
        if let existing = try storage.settings() { return existing }
        try storage.save(settings)
        try storage.save(Standing(role: .owner), of: settings.createdBy)
        return settings
    }

    // MARK: Connections

    /// What a person may do here.
    ///
    /// - Throws: `RoomFailure`: `forbidden`, `kicked`.
    package func admit(user: String, isAdmin: Bool, now: Int64) throws -> RoomRole {
        let standing = try storage.standing(of: user) ?? Standing()
        let role = isAdmin ? .owner : standing.role ?? settings.access
        guard role > .none else { throw RoomFailure.forbidden("you have no access to this room") }
        guard standing.kickedUntil <= now || isAdmin else {
            throw RoomFailure(
                "kicked", "an owner has removed you from this room for a while", retryAfter: standing.kickedUntil - now)
        }
        return role
    }

    /// Takes a connection in.
    ///
    /// - Throws: as `admit`, and `RoomFailure` `room_full`.
    package func connect(
        _ id: String, user: String, name: String, session: String = "", isAdmin: Bool, now: Int64
    ) throws -> [RoomOutput] {
        let role = try admit(user: user, isAdmin: isAdmin, now: now)
        guard members.count < limits.membersMax else {
            throw RoomFailure("room_full", "the room has \(limits.membersMax) members, and no place for more")
        }
        let member = Member(
            id: id, user: user, name: name, session: session, isAdmin: isAdmin, role: role, connectedAt: now)
        members[id] = member
        arrivals[id] = now
        try storage.remember(name: name, of: user)
        return [.keep(member)]
    }

    package func disconnect(_ id: String, now: Int64) -> [RoomOutput] {
        remove(id, now: now)
        return []
    }

    func remove(_ id: String, now: Int64) {
        budgets[id] = nil
        arrivals[id] = nil
        guard let member = members.removeValue(forKey: id), let client = member.client else { return }
        joinedCount -= 1
        let key = ClientKey(user: member.user, client: client)
        if clients[key] == id { clients[key] = nil }
        news.present.remove(id)
        news.cursors.remove(id)
        news.left.append(id)
        news.hasPresence = true
        if typists[member.user] != nil, !members.values.contains(where: { $0.user == member.user && $0.client != nil }) {
            typists[member.user] = nil
            news.hasTyping = true
        }
        schedule(now)
    }

    /// Ends the connections of logins that have ended.
    package func expel(sessions: Set<String>, now: Int64) -> [RoomOutput] {
        members.values.filter { sessions.contains($0.session) }.map(\.id).sorted().flatMap { end($0, .sessionEnded, now) }
    }

    /// Ends all connections of a user.
    func expel(_ user: String, code: RoomClosing, now: Int64) -> [RoomOutput] {
        let ids = members.values.filter { $0.user == user }.map(\.id).sorted()
        for id in ids { remove(id, now: now) }
        return ids.map { .close($0, code) }
    }

    // MARK: Messages

    /// A text message of a connection.
    package func receive(_ text: String, from id: String, now: Int64) throws -> [RoomOutput] {
        // What was on its way when the connection was ended.
        guard members[id] != nil else { return [] }
        guard text.utf8.count <= limits.messageByteCountMax else { return end(id, .tooLarge, now) }
        if let wait = spend(id, \.messages, limits.messages, now) {
            budgets[id]?.excess += 1
            if budgets[id]?.excess ?? 0 > limits.excessMax { return end(id, .tooFast, now) }
            return [try failure(.rateLimited(wait), of: try? RoomRequest.reading(text), to: id)]
        }
        do {
            let request = try RoomRequest.reading(text)
            do {
                return try respond(to: request, from: id, now: now)
            } catch let refusal as RoomFailure {
                return [try failure(refusal, of: request, to: id)]
            }
        } catch let refusal as RoomFailure {
            return [try failure(refusal, of: nil, to: id)]
        }
    }

    /// A binary message, which this protocol has none of.
    package func receiveBytes(from id: String, now: Int64) -> [RoomOutput] {
        members[id] == nil ? [] : end(id, .unsupported, now)
    }

    private func respond(to request: RoomRequest, from id: String, now: Int64) throws -> [RoomOutput] {
        guard let member = members[id] else { return [] }
        if case .join(let client, let revision) = request { return try join(member, client: client, revision: revision, now) }
        if case .ping = request { return [.send(try roomText(PongMessage()), to: .one(id))] }
        guard member.client != nil else { throw RoomFailure.notJoined }
        switch request {
        case .join, .ping: return []
        case .operation(let sequence, let revision, let operation):
            return try submit(operation, sequence: sequence, revision: revision, member, now)
        case .cursor(let revision, let cursor): return try move(cursor, revision: revision, member, now)
        case .presence(let state): return present(state, member, now)
        case .typing(let isTyping): return try type(isTyping, member, now)
        case .chat(let messageID, let text): return try say(text, id: messageID, member, now)
        case .history(let before, let limit): return try page(before: before, limit: limit, member)
        case .members(let after, let limit): return try list(after: after, limit: limit, member)
        case .configure(let name, let access): return try configure(name: name, access: access, member)
        case .grant(let user, let role): return try grant(role, to: user, by: member, now)
        case .kick(let user, let seconds): return try kick(user, seconds: seconds, by: member, now)
        case .mute(let user, let seconds): return try mute(user, seconds: seconds, by: member, now)
        case .subscribe(let topics): return try subscribe(to: topics, member)
        case .unsubscribe(let topics): return try unsubscribe(from: topics, member)
        case .publish(let topic, let data): return try publish(data, topic: topic, member, now)
        }
    }

    // MARK: Helpers of all topics

    /// - Returns: the milliseconds to wait if there is nothing left.
    func spend(_ id: String, _ bucket: WritableKeyPath<Budget, TokenBucket>, _ limit: RateLimit, _ now: Int64) -> Int64? {
        var budget =
            budgets[id]
            ?? Budget(
                messages: TokenBucket(limits.messages, now: now), operations: TokenBucket(limits.operations, now: now),
                chat: TokenBucket(limits.chat, now: now))
        let wait = budget[keyPath: bucket].take(limit, now: now)
        budgets[id] = budget
        return wait
    }

    func end(_ id: String, _ code: RoomClosing, _ now: Int64) -> [RoomOutput] {
        remove(id, now: now)
        return [.close(id, code)]
    }

    func require(_ role: RoomRole, _ member: Member, to purpose: String) throws(RoomFailure) {
        guard member.role >= role else {
            throw .forbidden(
                "your role here is \"\(member.role.rawValue)\"; to \(purpose) it must be at least \"\(role.rawValue)\"")
        }
    }

    private func failure(_ failure: RoomFailure, of request: RoomRequest?, to id: String) throws -> RoomOutput {
        var message = ErrorMessage(code: failure.code, message: failure.message, request: request?.name)
        message.retryAfter = failure.retryAfter
        switch request {
        case .operation(let sequence, _, _): message.sequence = sequence
        case .chat(let id, _): message.id = String(id.prefix(100))
        default: break
        }
        return .send(try roomText(message), to: .one(id))
    }
}

/// There is no such room.
package struct RoomMissing: Error, Equatable, Sendable {
    package init() {}
}

/// What the object around a room is to do, in order.
package enum RoomOutput: Equatable, Sendable {
    package enum Recipients: Equatable, Sendable {
        case one(String)
        case some([String])
        /// All who have joined.
        case all(except: String?)
    }

    case send(String, to: Recipients)
    case close(String, RoomClosing)
    /// Keep this with the member's socket.
    case keep(Member)
    case notify(RoomNotification)
}

extension RoomNotification {
    /// Why it can't be delivered, or `nil`: it came through a queue.
    package var flaw: String? {
        if !(1...200).contains(id.utf8.count) { return "id has \(id.utf8.count) bytes" }
        if user.utf8.count != 36 { return "user is not an id" }
        if !(1...64).contains(kind.utf8.count) { return "kind has \(kind.utf8.count) bytes" }
        let byteCount = data.reduce(0) { $0 + $1.key.utf8.count + $1.value.utf8.count }
        return byteCount > 8 << 10 ? "data has \(byteCount) bytes" : nil
    }
}

/// Something that a person should hear of who may not be here.
package struct RoomNotification: Codable, Equatable, Sendable {
    /// The same for the same happening: a second one with it is no news.
    package var id: String
    package var user: String
    /// `room.mentioned`, `room.role_changed`.
    package var kind: String
    package var at: Int64
    package var data: [String: String]

    package init(id: String, user: String, kind: String, at: Int64, data: [String: String]) {
        self.id = id
        self.user = user
        self.kind = kind
        self.at = at
        self.data = data
    }
}

/// Why a room ends a connection (RFC 6455 §7.4.2: codes from 4000 are the application's).
package enum RoomClosing: Int, Sendable {
    case unsupported = 4400
    case sessionEnded = 4401
    case removed = 4403
    case joinTimedOut = 4408
    /// The same client has connected anew.
    case replaced = 4409
    /// The room doesn't know the connection any more; a new one is welcome.
    case unknown = 4410
    case tooLarge = 4413
    case tooFast = 4429

    package var reason: String {
        switch self {
        case .unsupported: "messages must be text"
        case .sessionEnded: "the session has ended"
        case .removed: "you were removed from this room"
        case .joinTimedOut: "no \"join\" came in time"
        case .replaced: "this client has connected anew"
        case .unknown: "join again"
        case .tooLarge: "the message is too large"
        case .tooFast: "too many messages"
        }
    }
}
