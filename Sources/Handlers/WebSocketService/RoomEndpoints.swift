import Collaboration
import DurableObjects
import Platform
import Workers

/// `/api/v1/realtime/rooms`.
enum RoomEndpoints {
    private struct Envelope: Encodable {
        var room: RoomView
    }

    private struct NewRoom: Decodable {
        var name: String?
        var access: String?
    }

    /// `POST …/rooms {name, access?}` → 201 `{room}`. Who makes it owns it.
    static func create(_ exchange: Exchange) async throws -> Response {
        let identity = try exchange.identity
        let input: NewRoom = try await exchange.request.decodeJSON(upTo: 4 << 10)
        var validation = Validation()
        let name = validation.text("name", input.name, counts: 1...100)
        let access = validation.choice("access", input.access ?? RoomRole.none.rawValue, RoomRole.self)
        if access == .owner { validation.refuse("access", "must not be owner") }
        try validation.finish()
        guard let name, let access else { throw APIError.internalError }
        let now = exchange.context.now
        let settings = RoomSettings(
            id: Identifier(now: now).text, name: name, access: access, createdBy: identity.userID, createdAt: now)
        let room = try await stub(settings.id, exchange).call(RoomCalls.create, settings).value
        var response = try Response.json(Envelope(room: room), status: 201)
        try response.headers.set("location", "/api/v1/realtime/rooms/\(room.id)")
        return response
    }

    /// `GET …/rooms/ID` → 200 `{room}`; 403 for who may not enter.
    static func show(_ exchange: Exchange) async throws -> Response {
        let visitor = RoomVisitor(try exchange.identity)
        return try .json(Envelope(room: try await stub(try id(exchange), exchange).call(RoomCalls.show, visitor).value))
    }

    /// `GET …/rooms/ID/socket`: docs/realtime.md.
    static func connect(_ exchange: Exchange) async throws -> Response {
        try await Upgrade.forward(exchange, to: try stub(try id(exchange), exchange))
    }

    /// `GET …/rooms/ID/messages?before=N&limit=N` → 200 `{messages, hasMore}`, the newest before a number, oldest first.
    static func messages(_ exchange: Exchange) async throws -> Response {
        var validation = Validation()
        let limit = validation.number("limit", exchange.request.query("limit"), in: 1...100, default: 50)
        let before = validation.number("before", exchange.request.query("before"), in: 1...Int.max, default: .max)
        try validation.finish()
        let request = MessagesRequest(
            visitor: RoomVisitor(try exchange.identity), before: before == .max ? nil : Int64(before), limit: limit)
        return try .json(try await stub(try id(exchange), exchange).call(RoomCalls.messages, request).value)
    }

    private struct NewValue: Decodable {
        var data: JSONValue
    }

    /// `PUT …/rooms/ID/topics/TOPIC {data}` → 204: tells all who subscribe. For editors.
    static func publish(_ exchange: Exchange) async throws -> Response {
        let input: NewValue = try await exchange.request.decodeJSON(upTo: 16 << 10)
        let publication = Publication(
            visitor: RoomVisitor(try exchange.identity), topic: exchange.parameters.get("topic") ?? "", data: input.data)
        _ = try await stub(try id(exchange), exchange).call(RoomCalls.publish, publication).value
        return try Response(status: 204)
    }

    private static func id(_ exchange: Exchange) throws(APIError) -> String {
        guard let id = exchange.parameters.get("id").flatMap(Identifier.init) else { throw .notFound("this room") }
        return id.text
    }

    private static func stub(_ id: String, _ exchange: Exchange) throws -> DurableObjectStub {
        try exchange.env.durableObjects("ROOMS").getByName(id)
    }
}
