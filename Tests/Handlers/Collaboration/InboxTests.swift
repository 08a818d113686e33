import Foundation
import Testing

@testable import Collaboration

private final class MemoryInboxStorage: InboxStorage {
    private var items: [InboxItem] = []
    private var seen: Int64 = 0

    func append(_ notification: RoomNotification, keeping count: Int) -> InboxItem? {
        guard !items.contains(where: { $0.id == notification.id }) else { return nil }
        let item = InboxItem(number: (items.last?.number ?? 0) + 1, notification)
        items.append(item)
        items.removeFirst(max(0, items.count - count))
        return item
    }
    func notifications(before number: Int64?, limit: Int) -> [InboxItem] {
        Array(items.reversed().filter { $0.number < number ?? .max }.prefix(limit))
    }
    func unreadCount() -> Int { items.count { $0.number > seen } }
    func readUpTo() -> Int64 { seen }
    func markRead(upTo number: Int64) { seen = max(seen, min(number, items.last?.number ?? 0)) }
}

@Suite struct `An inbox` {
    private static func notification(_ number: Int) -> RoomNotification {
        RoomNotification(
            id: "n\(number)", user: String(repeating: "u", count: 36), kind: "room.mentioned", at: Int64(number),
            data: ["by": "a"])
    }

    private static func read(_ text: String?) throws -> [String: JSONValue] {
        try JSONDecoder().decode([String: JSONValue].self, from: Data(try #require(text).utf8))
    }

    private static func answer(_ answer: Inbox<MemoryInboxStorage>.Answer) throws -> [String: JSONValue] {
        switch answer {
        case .toSender(let text), .toAll(let text): try read(text)
        case .close: throw PeerError(text: "closed")
        }
    }

    @Test func `tells each happening once`() throws {
        let inbox = Inbox(MemoryInboxStorage())
        let told = try Self.read(try inbox.deliver(Self.notification(1)))
        #expect(told["type"] == .string("notification") && told["unread"] == .integer(1))
        #expect(try inbox.deliver(Self.notification(1)) == nil)
        #expect(try Self.read(try inbox.deliver(Self.notification(2)))["unread"] == .integer(2))
        let greeting = try Self.read(try inbox.greeting(connections: 0))
        guard case .array(let items)? = greeting["notifications"], case .object(let newest)? = items.first else {
            throw PeerError(text: "\(greeting)")
        }
        #expect(items.count == 2 && newest["id"] == .string("n2") && greeting["unread"] == .integer(2))
    }

    @Test func `knows what was seen, on all devices`() throws {
        let inbox = Inbox(MemoryInboxStorage())
        for number in 1...5 { _ = try inbox.deliver(Self.notification(number)) }
        let answer = try inbox.receive(#"{"type":"read","upTo":3}"#, from: "m1", now: 0)
        guard case .toAll = answer else { throw PeerError(text: "told to one alone") }
        #expect(try Self.answer(answer)["unread"] == .integer(2))
        #expect(try Self.read(try inbox.read(upTo: 1))["upTo"] == .integer(3), "never back")
        #expect(try Self.read(try inbox.read(upTo: 99))["upTo"] == .integer(5), "no further than there is")
    }

    @Test func `is read in pages`() throws {
        let inbox = Inbox(MemoryInboxStorage())
        for number in 1...5 { _ = try inbox.deliver(Self.notification(number)) }
        let page = try inbox.page(before: nil, limit: 3)
        #expect(page.notifications.map(\.number) == [5, 4, 3] && page.hasMore && page.unread == 5)
        #expect(try inbox.page(before: 3, limit: 3).notifications.map(\.number) == [2, 1])
        #expect(throws: RoomFailure.self) { try inbox.page(before: nil, limit: 0) }
        let history = try Self.answer(try inbox.receive(#"{"type":"history","before":3,"limit":1}"#, from: "m1", now: 0))
        #expect(history["type"] == .string("history") && history["hasMore"] == .bool(true))
    }

    @Test func `is bounded`() throws {
        var limits = Inbox<MemoryInboxStorage>.Limits()
        (limits.notificationsKept, limits.connectionsMax) = (3, 1)
        limits.messages = RateLimit(perSecond: 1, burst: 2)
        let inbox = Inbox(MemoryInboxStorage(), limits: limits)
        for number in 1...5 { _ = try inbox.deliver(Self.notification(number)) }
        #expect(try inbox.page(before: nil, limit: 100).notifications.count == 3)
        #expect { try inbox.greeting(connections: 1) } throws: { ($0 as? RoomFailure)?.code == "too_many_connections" }
        #expect(try Self.answer(try inbox.receive("nonsense", from: "m1", now: 0))["code"] == .string("malformed_message"))
        #expect(try Self.answer(try inbox.receive(#"{"type":"x"}"#, from: "m1", now: 0))["code"] == .string("unknown_type"))
        #expect(try inbox.receive(#"{"type":"ping"}"#, from: "m1", now: 0) == .close(.tooFast))
        #expect(try Self.answer(try inbox.receive(#"{"type":"ping"}"#, from: "m2", now: 0))["type"] == .string("pong"))
        #expect(try inbox.receive(String(repeating: "x", count: 4097), from: "m2", now: 0) == .close(.tooLarge))
    }

    @Test func `takes nothing from the queue that it can't keep`() {
        #expect(Self.notification(1).flaw == nil)
        var bad = Self.notification(1)
        bad.user = "x"
        #expect(bad.flaw != nil)
        bad = Self.notification(1)
        bad.data["text"] = String(repeating: "x", count: 9000)
        #expect(bad.flaw != nil)
        bad = Self.notification(1)
        bad.id = ""
        #expect(bad.flaw != nil)
    }
}
