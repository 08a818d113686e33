internal import Releases

/// The zones of tenants: the host suffixes that their workers have routes and domains on.
enum ZoneOperations {
    private static let zone = APISchema.object([
        .required("id", .string()), .required("name", .string()), .required("status", .choice(["active"])),
        .required("type", .choice(["full"])), .required("paused", .bool), .required("account", .any),
    ])

    static func all(_ services: APIServices) -> [APIOperation] {
        let accounts = services.accounts
        return [
            APIOperation(
                "GET", "/zones", id: "zones.list", "The zones of the accounts that the token may use", .everyToken,
                query: [
                    .init("name", .string(), "The zone's name."),
                    .init("account.id", .string(), "The account's id."),
                    .init("account.name", .string(), "The account's name."),
                ] + Page<JSON>.parameters, result: .json(.array(zone))
            ) { call in
                var zones: [JSON] = []
                for runner in accounts.runners where call.principal.knows(runner.tenant) && isWanted(runner.tenant, call) {
                    for name in await runner.zones where !name.isEmpty && name == (call.queryValue("name") ?? name) {
                        zones.append(json(runner, name))
                    }
                }
                return Page(zones, call).reply { $0 }
            },
            APIOperation(
                "GET", "/zones/{zone_id}", id: "zones.get", "A zone", .everyToken, result: .json(zone)
            ) { call in
                guard let zone = await accounts.zone(call.parameters["zone_id"] ?? ""), call.principal.knows(zone.tenant),
                    let runner = accounts.runners.first(where: { $0.tenant == zone.tenant })
                else { throw APIError.notAllowed }
                return .result(json(runner, zone.name))
            },
        ]
    }

    private static func isWanted(_ tenant: String, _ call: APICall) -> Bool {
        let id = call.queryValue("account.id")?.lowercased()
        return (id ?? Accounts.id(of: tenant)) == Accounts.id(of: tenant)
            && (call.queryValue("account.name") ?? tenant) == tenant
    }

    /// - Parameter name: `nil` for all zones of the tenant together, which have its id.
    static func id(of runner: ReleaseRunner, _ name: String?) -> String {
        name.map { Accounts.id(ofZone: $0, of: runner.tenant) } ?? Accounts.id(of: runner.tenant)
    }

    private static func json(_ runner: ReleaseRunner, _ name: String?) -> JSON {
        .object([
            "id": .string(id(of: runner, name)), "name": .string(name ?? runner.tenant), "status": "active", "type": "full",
            "paused": false, "development_mode": 0, "account": Accounts.json(runner.tenant),
            "name_servers": .array([]), "original_name_servers": .array([]), "permissions": .array([]), "meta": .object([]),
            "owner": .object([
                "id": .string(Accounts.id(of: runner.tenant)), "name": .string(runner.tenant), "type": "organization",
            ]),
        ])
    }
}
