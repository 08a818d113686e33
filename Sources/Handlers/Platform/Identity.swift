package import Workers

/// Who a request acts for, as the gateway verified it.
///
/// The gateway removes these headers from what clients send and sets them after checking the access token.
/// Services are reachable through service bindings alone, so they may trust them.
package struct Identity: Equatable, Sendable {
    package enum Role: String, Codable, Sendable, CaseIterable { case user, admin }

    package static let userHeader = "x-edge-user-id"
    package static let roleHeader = "x-edge-user-role"
    package static let sessionHeader = "x-edge-session-id"
    /// What no client may send.
    package static let reservedPrefix = "x-edge-"

    package var userID: String
    package var role: Role
    package var sessionID: String

    package init(userID: String, role: Role, sessionID: String) {
        self.userID = userID
        self.role = role
        self.sessionID = sessionID
    }

    /// - Throws: 401 when the request carries no identity.
    package init(of request: Request) throws(APIError) {
        guard let user = request.headers[Self.userHeader].flatMap(Identifier.init),
            let role = request.headers[Self.roleHeader].flatMap(Role.init),
            let session = request.headers[Self.sessionHeader].flatMap(Identifier.init)
        else { throw .unauthorized() }
        self.init(userID: user.text, role: role, sessionID: session.text)
    }

    package func write(to headers: inout HeaderChanges) {
        headers[Self.userHeader] = userID
        headers[Self.roleHeader] = role.rawValue
        headers[Self.sessionHeader] = sessionID
    }
}
