/// A failure as the API's clients read it (spec control-plane.md §3): they look at the status first, then at the code.
package struct APIError: Error, Equatable, Sendable {
    package let status: Int
    package let code: Int
    package let message: String
    /// Further causes, below the first.
    package var chain: [Cause] = []
    /// Where in the request's body, as a JSON pointer (RFC 6901).
    package var pointer: String?
    package var retryAfterSeconds: Int?

    package struct Cause: Equatable, Sendable {
        package let code: Int
        package let message: String
    }

    package init(
        _ status: Int, _ code: Int, _ message: String, chain: [Cause] = [], pointer: String? = nil,
        retryAfterSeconds: Int? = nil
    ) {
        self.status = status
        self.code = code
        self.message = message
        self.chain = chain
        self.pointer = pointer
        self.retryAfterSeconds = retryAfterSeconds
    }

    package static let noRoute = APIError(404, 7000, "No route for that URI")
    /// - Parameter ownCode: What the product that the path belongs to has for it.
    package static func noMethod(_ method: String, ownCode: Int? = nil) -> APIError {
        APIError(
            405, 7001, "Method \(method) not available for that URI",
            chain: ownCode.map { [Cause(code: $0, message: "Method not allowed for this authentication scheme")] } ?? [])
    }
    package static func badIdentifier(_ path: String) -> APIError {
        APIError(404, 7003, "Could not route to \(path), perhaps your object identifier is invalid?")
    }
    package static let noCredentials = APIError(
        400, 9106, "Missing X-Auth-Key, X-Auth-Email or Authorization headers")
    package static func malformedHeader(_ name: String, code: Int) -> APIError {
        APIError(
            400, 6003, "Invalid request headers", chain: [Cause(code: code, message: "Invalid format for \(name) header")])
    }
    package static let unknownToken = APIError(401, 10000, "Authentication error")
    package static let unknownKey = APIError(403, 9103, "Unknown X-Auth-Key or X-Auth-Email")
    /// The same for an account that isn't there: nobody learns which there are.
    package static let notAllowed = APIError(403, 10000, "Authentication error")
    package static let malformedBody = APIError(400, 6007, "Malformed JSON in request body")
    package static func internalError(_ reason: String) -> APIError { APIError(500, 10013, "Unknown error: \(reason)") }

    var json: JSON {
        .object([
            "code": .integer(Int64(code)), "message": .string(message),
            "source": pointer.map { .object(["pointer": .string($0)]) },
            "error_chain": chain.isEmpty
                ? nil : .array(chain.map { .object(["code": .integer(Int64($0.code)), "message": .string($0.message)]) }),
        ])
    }
}
