import Collaboration
import DurableObjects
import Platform
import Workers

/// The WebSockets of this service: one protocol, spoken by people whom the gateway knows.
enum Upgrade {
    static let subprotocol = "edge.realtime.v1"
    /// What the worker tells its objects about who connects.
    static let nameHeader = Identity.reservedPrefix + "user-name"
    static let pingText = #"{"type":"ping"}"#
    static let pongText = #"{"type":"pong"}"#

    /// - Throws: 426 for a plain request, 400 when the client doesn't offer the protocol.
    static func check(_ request: Request) throws(APIError) {
        guard request.headers["upgrade"]?.lowercased() == "websocket" else {
            throw APIError(
                426, "upgrade_required", "this path is for WebSockets", headers: ["upgrade": "websocket"])
        }
        let offered = request.headers["sec-websocket-protocol"] ?? ""
        guard offered.split(separator: ",").contains(where: { String($0).trimmingWhitespace() == subprotocol }) else {
            throw .badRequest("Sec-WebSocket-Protocol must offer \(subprotocol)", code: "unknown_protocol")
        }
    }

    /// Hands an upgrade to an object, with who asks.
    static func forward(_ exchange: Exchange, to stub: DurableObjectStub) async throws -> Response {
        try check(exchange.request)
        let identity = try exchange.identity
        let name = try await People.name(of: identity.userID, exchange)
        var request = exchange.request
        request.headers = request.headers.changing { headers in
            headers[nameHeader] = name
        }
        return try await stub.fetch(request)
    }

    static func response(_ socket: WebSocket) throws -> Response {
        var headers = Headers()
        try headers.set("sec-websocket-protocol", subprotocol)
        return .webSocket(socket, headers: headers)
    }
}

/// What this service reads of the platform's users.
enum People {
    private struct Row: Decodable {
        var username: String
    }

    /// - Throws: 401 for a user who is gone or disabled.
    static func name(of user: String, _ exchange: Exchange) async throws -> String {
        let row = try await exchange.database
            .prepare("SELECT username FROM users WHERE id = ?1 AND status = 'active'")
            .bind(user).first(as: Row.self)
        guard let row else { throw APIError.unauthorized() }
        return row.username
    }
}

extension RoomFailure {
    /// As the API answers it.
    var apiError: APIError {
        let seconds = (retryAfter ?? 1000) / 1000 + 1
        return switch code {
        case "forbidden", "kicked", "muted": APIError(403, code, message)
        case "room_full": APIError(503, code, message, headers: ["retry-after": "30"])
        case "rate_limited", "too_many_connections":
            APIError(429, code, message, headers: ["retry-after": String(seconds)])
        default: APIError(422, code, message)
        }
    }
}
