internal import Releases

/// Which worker gets which requests, as the node routes them now.
enum EffectiveRouteOperations {
    static func all(_ services: APIServices) -> [APIOperation] {
        let route = APISchema.object([
            .required("host", .string()), .required("path", .string()), .required("worker", .string()),
            .required("tenant", .string()), .required("kind", .choice(["route", "custom_domain"])),
            .required("source", .string()), .optional("pattern", .string()),
        ])
        return [
            APIOperation(
                "GET", "/accounts/{account_id}/workers/effective_routes", id: "workers.effective_routes.list",
                "The routes and domains in service, those that win first", .account(.workers, .read),
                result: .json(.array(route))
            ) { call in
                let runner = try services.accounts.runner(call)
                return .result(.array(await runner.routes.map { json($0, tenant: runner.tenant) }))
            }
        ]
    }

    private static func json(_ route: EffectiveRoute, tenant: String) -> JSON {
        .object([
            "host": .string(route.host), "path": .string(route.path), "worker": .string(route.worker),
            "tenant": .string(tenant),
            "kind": route.pattern == nil ? "custom_domain" : "route", "source": "configuration",
            "pattern": route.pattern.map { .string($0) },
        ])
    }
}
