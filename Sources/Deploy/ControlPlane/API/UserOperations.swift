/// Who am I, and which accounts are mine: what clients ask first.
enum UserOperations {
    static func all(_ services: APIServices) -> [APIOperation] {
        let (accounts, tokens) = (services.accounts, services.tokens)
        let account = APISchema.object([.required("id", .string()), .required("name", .string()), .required("type", .string())])
        let verified = APISchema.object([.required("id", .string()), .required("status", .choice(["active"]))])
        @Sendable func verify(_ call: APICall) -> APIReply {
            .result(
                .object(["id": .string(call.principal.tokenID), "status": "active"]),
                messages: [.init(code: 10000, message: "This API Token is valid and active")])
        }
        @Sendable func mine(_ call: APICall) -> [String] { accounts.all.filter(call.principal.knows) }
        return [
            APIOperation(
                "GET", "/user/tokens/verify", id: "user.tokens.verify", "Whether the token is valid", .everyToken,
                result: .json(verified)
            ) { verify($0) },
            APIOperation(
                "GET", "/accounts/{account_id}/tokens/verify", id: "accounts.tokens.verify", "Whether the token is valid",
                .everyToken, result: .json(verified)
            ) { call in
                guard let tenant = accounts.tenant(call.parameters["account_id"] ?? ""), call.principal.knows(tenant) else {
                    throw APIError.notAllowed
                }
                return verify(call)
            },
            APIOperation(
                "GET", "/user", id: "user.get", "Who the token belongs to", .everyToken,
                result: .json(.object([.required("id", .string()), .required("email", .string())]))
            ) { call in
                .result(
                    .object([
                        "id": .string(call.principal.tokenID),
                        "email": .string(tokens.email(of: call.principal.tokenID) ?? "\(call.principal.tokenID)@edge.invalid"),
                    ]))
            },
            APIOperation(
                "GET", "/memberships", id: "memberships.list", "The accounts that the token may use", .everyToken,
                query: Page<String>.parameters,
                result: .json(.array(.object([.required("id", .string()), .required("account", account)])))
            ) { call in
                Page(mine(call), call).reply { tenant in
                    .object([
                        "id": .string(Accounts.id(of: tenant)), "status": "accepted", "account": Accounts.json(tenant),
                    ])
                }
            },
            APIOperation(
                "GET", "/accounts", id: "accounts.list", "The accounts that the token may use", .everyToken,
                query: Page<String>.parameters,
                result: .json(.array(account))
            ) { call in Page(mine(call), call).reply(Accounts.json) },
            APIOperation(
                "GET", "/accounts/{account_id}", id: "accounts.get", "An account", .everyToken, result: .json(account)
            ) { call in
                guard let tenant = accounts.tenant(call.parameters["account_id"] ?? ""), call.principal.knows(tenant) else {
                    throw APIError.notAllowed
                }
                return .result(Accounts.json(tenant))
            },
        ]
    }
}
