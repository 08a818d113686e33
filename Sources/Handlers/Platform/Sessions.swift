package import Workers

/// What is known of a login besides its tokens.
package struct Session: Codable, Equatable, Sendable {
    package var userId: String
    /// Milliseconds since 1970.
    package var createdAt: Int64

    package init(userID: String, createdAt: Int64) {
        userId = userID
        self.createdAt = createdAt
    }
}

/// The live sessions in KV: a session that isn't here has ended, whatever a token says.
///
/// An entry is written once, before its session has a token, and from then on only removed. So nothing that
/// runs at the same time as a logout can bring a session back.
package struct Sessions {
    /// As long as a session can be refreshed; `RefreshFamilies` ends most much sooner.
    package static let lifetimeSeconds = 90 * 86_400

    private let namespace: KVNamespace

    package init(_ env: Env) throws { namespace = try env.kv("SESSIONS") }

    /// - Parameter id: One that no session had before.
    package func begin(_ id: Identifier, _ session: Session) async throws {
        try await namespace.put(
            Self.key(id.text), try JSONText.of(session), expirationTtl: Self.lifetimeSeconds)
    }

    package func isLive(_ id: String) async throws -> Bool { try await namespace.get(Self.key(id)) != nil }

    /// It is no error when the session has ended already.
    package func end(_ id: String) async throws { try await namespace.delete(Self.key(id)) }

    private static func key(_ id: String) -> String { "session:" + id }
}
