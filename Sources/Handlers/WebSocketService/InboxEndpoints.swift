import Collaboration
import DurableObjects
import Platform
import Workers

/// `/api/v1/realtime/notifications`: those of who asks.
enum InboxEndpoints {
    /// `GET …/notifications?before=N&limit=N` → 200 `{notifications, hasMore, unread}`, newest first.
    static func list(_ exchange: Exchange) async throws -> Response {
        var validation = Validation()
        let limit = validation.number("limit", exchange.request.query("limit"), in: 1...100, default: 50)
        let before = validation.number("before", exchange.request.query("before"), in: 1...Int.max, default: .max)
        try validation.finish()
        let request = InboxPageRequest(before: before == .max ? nil : Int64(before), limit: limit)
        return try .json(try await stub(exchange).call(InboxCalls.page, request).value)
    }

    private struct Seen: Decodable {
        var upTo: Int64
    }

    private struct Unread: Encodable {
        var unread: Int
    }

    /// `POST …/notifications/read {upTo}` → 200 `{unread}`.
    static func markRead(_ exchange: Exchange) async throws -> Response {
        let input: Seen = try await exchange.request.decodeJSON(upTo: 1 << 10)
        return try .json(Unread(unread: try await stub(exchange).call(InboxCalls.read, input.upTo)))
    }

    /// `GET …/notifications/socket`: docs/realtime.md.
    static func connect(_ exchange: Exchange) async throws -> Response {
        try await Upgrade.forward(exchange, to: try stub(exchange))
    }

    private static func stub(_ exchange: Exchange) throws -> DurableObjectStub {
        try exchange.env.durableObjects("INBOXES").getByName(try exchange.identity.userID)
    }
}
