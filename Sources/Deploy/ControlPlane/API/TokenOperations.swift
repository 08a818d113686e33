internal import HTTP
internal import System

/// Making, listing and revoking tokens. They belong to the node rather than to an account: only a token that may do so on all
/// accounts is let in.
enum TokenOperations {
    static func all(_ services: APIServices) -> [APIOperation] {
        let (accounts, tokens, disk, clock) = (services.accounts, services.tokens, services.disk, services.clock)
        let shown = APISchema.object([
            .required("id", .string()), .required("name", .string()), .required("status", .string()),
            .required("issued_on", .string()), .optional("expires_on", .string()), .required("policies", .array(.any)),
            .optional("value", .string()),
        ])
        @Sendable func require(_ level: APIOperation.Level, _ call: APICall) throws(APIError) {
            guard call.principal.covers(.init(tenant: nil, product: .tokens, level: level)) else { throw .notAllowed }
        }
        @Sendable func find(_ call: APICall) throws(APIError) -> TokenStore.Token {
            guard let token = tokens.list().first(where: { $0.id == call.parameters["token_id"]?.lowercased() }) else {
                throw APIError(404, 1001, "Token not found")
            }
            return token
        }
        return [
            APIOperation(
                "GET", "/user/tokens/permission_groups", id: "user.tokens.permission_groups.list",
                "What tokens may be allowed", .everyToken, result: .json(.array(.any))
            ) { _ in .result(.array(Permissions.groups.map(Permissions.json))) },
            APIOperation(
                "GET", "/user/tokens", id: "user.tokens.list", "All tokens, without their texts", .everyToken,
                query: Page<TokenStore.Token>.parameters, result: .json(.array(shown))
            ) { call in
                try require(.read, call)
                let now = clock.wallTime()
                return Page(tokens.list(), call).reply { json($0, now) }
            },
            APIOperation(
                "POST", "/user/tokens", id: "user.tokens.create", "Makes a token. Its text is told this once", .everyToken,
                body: .json(
                    .object([
                        .required("name", .string(1...120)), .required("policies", .array(Permissions.policySchema, 1...100)),
                        .optional("expires_on", .nullable(.string())), .optional("email", .nullable(.string(3...254))),
                    ])),
                result: .json(shown)
            ) { call in
                try require(.edit, call)
                let grants = try Permissions.grants(call.json["policies"] ?? .null, accounts)
                guard grants.allSatisfy(call.principal.covers) else {
                    throw APIError(403, 1001, "A token can't give more than it has")
                }
                let now = clock.wallTime()
                var expiry: UnixTime?
                if let text = call.json["expires_on"]?.text {
                    guard let date = HTTPDate(iso8601: text), date.unixSeconds > now.seconds else {
                        throw APIError(
                            400, 1001, "expires_on must be a time to come, as 2030-01-31T00:00:00Z", pointer: "/expires_on")
                    }
                    expiry = UnixTime(milliseconds: date.unixSeconds * 1000)
                }
                let (name, email, expiresAt) = (call.json["name"]?.text ?? "", call.json["email"]?.text, expiry)
                let made = try await disk.run { () throws -> (token: TokenStore.Token, text: String) in
                    try tokens.create(name: name, grants: grants, email: email, at: now, expiresAt: expiresAt)
                }
                return .result(json(made.token, now, value: made.text))
            },
            APIOperation(
                "GET", "/user/tokens/{token_id}", id: "user.tokens.get", "A token, without its text", .everyToken,
                result: .json(shown)
            ) { call in
                try require(.read, call)
                return .result(json(try find(call), clock.wallTime()))
            },
            APIOperation(
                "DELETE", "/user/tokens/{token_id}", id: "user.tokens.delete", "Revokes a token, at once and for good",
                .everyToken, result: .json(.object([.required("id", .string())]))
            ) { call in
                try require(.edit, call)
                let (id, now) = (try find(call).id, clock.wallTime())
                _ = try await disk.run { () throws -> Bool in try tokens.revoke(id, at: now) }
                return .result(.object(["id": .string(id)]))
            },
        ]
    }

    private static func json(_ token: TokenStore.Token, _ now: UnixTime, value: String? = nil) -> JSON {
        .object([
            "id": .string(token.id), "name": .string(token.name),
            "status": .string(token.isActive(at: now) ? "active" : token.revokedAt != nil ? "disabled" : "expired"),
            "issued_on": .string(HTTPDate(unixSeconds: token.createdAt.seconds).iso8601),
            "expires_on": token.expiresAt.map { .string(HTTPDate(unixSeconds: $0.seconds).iso8601) },
            "email": token.email.map { .string($0) }, "policies": Permissions.policies(token.grants),
            "value": value.map { .string($0) },
        ])
    }
}
