/// What a request says of who sent it (spec control-plane.md §2).
enum Credentials: Equatable, Sendable {
    case token(String)
    /// The older form. The Python SDK sends it in the place of a token when both are configured.
    case key(String, email: String)

    init(_ headers: [(name: String, value: String)]) throws(APIError) {
        func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
        let (key, email) = (header("x-auth-key"), header("x-auth-email"))
        if key != nil || email != nil {
            guard let key, Self.isPlain(key) else { throw .malformedHeader("X-Auth-Key", code: 6103) }
            guard let email, Self.isPlain(email), email.contains("@") else {
                throw .malformedHeader("X-Auth-Email", code: 6102)
            }
            self = .key(key, email: email)
            return
        }
        guard let authorization = header("authorization") else { throw .noCredentials }
        let parts = authorization.split(separator: " ", omittingEmptySubsequences: true)
        guard parts.count == 2, parts[0].lowercased() == "bearer", Self.isPlain(parts[1]) else {
            throw .malformedHeader("Authorization", code: 6111)
        }
        self = .token(String(parts[1]))
    }

    /// Visible ASCII of a length that any credential of ours has.
    private static func isPlain(_ text: some StringProtocol) -> Bool {
        (1...256).contains(text.utf8.count) && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
    }
}
