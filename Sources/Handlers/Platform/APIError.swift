package import Workers

/// What a client of the API is told when its request isn't done.
///
/// `{"error":{"code":"validation_failed","message":"…","requestId":"…","fields":{"email":"…"}}}`
package struct APIError: Error, Equatable, Sendable, CustomStringConvertible {
    package var status: Int
    /// Stable, for programs: lower-case words and underscores.
    package var code: String
    /// For people; may change.
    package var message: String
    /// One text per field of the request that is wrong.
    package var fields: [String: String]?
    /// What the answer's head tells besides, names in lower case: `retry-after`, `allow`.
    package var headers: [String: String]

    package init(
        _ status: Int, _ code: String, _ message: String, fields: [String: String]? = nil,
        headers: [String: String] = [:]
    ) {
        self.status = status
        self.code = code
        self.message = message
        self.fields = fields
        self.headers = headers
    }

    package var description: String { "\(status) \(code): \(message)" }

    package static func badRequest(_ message: String, code: String = "bad_request") -> APIError {
        APIError(400, code, message)
    }
    package static func unauthorized(
        _ message: String = "a valid access token is required", code: String = "unauthorized"
    ) -> APIError { APIError(401, code, message) }
    package static let sessionEnded = APIError(401, "session_ended", "the session has ended; sign in again")
    package static func forbidden(_ message: String) -> APIError { APIError(403, "forbidden", message) }
    package static func notFound(_ what: String = "resource") -> APIError {
        APIError(404, "not_found", "\(what) does not exist")
    }
    /// - Parameter allowed: The methods that the path takes, as `Allow` lists them.
    package static func methodNotAllowed(_ allowed: String) -> APIError {
        APIError(405, "method_not_allowed", "this path takes \(allowed)", headers: ["allow": allowed])
    }
    package static func conflict(_ message: String, fields: [String: String]? = nil) -> APIError {
        APIError(409, "conflict", message, fields: fields)
    }
    package static let lengthRequired = APIError(411, "length_required", "Content-Length is required")
    package static func tooLarge(limit: Int) -> APIError {
        APIError(413, "payload_too_large", "the body is larger than \(limit) bytes")
    }
    package static func unsupportedMediaType(_ message: String) -> APIError {
        APIError(415, "unsupported_media_type", message)
    }
    package static func validation(_ fields: [String: String]) -> APIError {
        let names = fields.keys.sorted().joined(separator: ", ")
        return APIError(422, "validation_failed", "these fields are not valid: \(names)", fields: fields)
    }
    package static func rateLimited(retryAfterSeconds: Int) -> APIError {
        APIError(
            429, "rate_limited", "too many requests; try again in \(retryAfterSeconds) s",
            headers: ["retry-after": String(retryAfterSeconds)])
    }
    package static let internalError = APIError(500, "internal_error", "something went wrong on our side")
    package static func unavailable(_ service: String) -> APIError {
        APIError(
            503, "service_unavailable", "\(service) is not available now", headers: ["retry-after": "5"])
    }
    package static func timedOut(_ service: String) -> APIError {
        APIError(504, "service_timeout", "\(service) did not answer in time")
    }

    /// The answer as the API documents it.
    package func response(requestID: String) -> Response {
        let envelope = ErrorEnvelope(
            error: .init(code: code, message: message, requestId: requestID, fields: fields))
        var response = (try? Response.json(envelope, status: status)) ?? .text(message, status: status)
        response.headers = response.headers.changing { changes in
            changes["cache-control"] = "no-store"
            if status == 401 { changes["www-authenticate"] = "Bearer" }
            for (name, value) in headers { changes[name] = value }
        }
        return response
    }
}

private struct ErrorEnvelope: Encodable {
    struct Content: Encodable {
        var code: String
        var message: String
        var requestId: String
        var fields: [String: String]?
    }
    var error: Content
}
