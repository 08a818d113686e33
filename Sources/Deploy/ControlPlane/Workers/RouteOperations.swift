internal import Releases

/// Routes: patterns of host and path that lead to a worker, or to none.
enum RouteOperations {
    private static let shown = APISchema.object([.required("id", .string()), .required("pattern", .string())])

    static func all(_ services: APIServices) -> [APIOperation] {
        let routes = "/zones/{zone_id}/workers/routes"
        let wanted = APISchema.object([
            .required("pattern", .string(1...2048)), .optional("script", .nullable(.string(0...63))),
        ])
        return [
            APIOperation(
                "GET", routes, id: "workers.routes.list", "The zone's routes", .zone(.workers, .read),
                result: .json(.array(shown))
            ) { call in
                let routes = try await WorkerOperations.on(services, call) { try await $0.routes(in: call.zone) }
                return .result(.array(routes.map(json)))
            },
            APIOperation(
                "POST", routes, id: "workers.routes.create", "Adds a route", .zone(.workers, .edit), body: .json(wanted),
                result: .json(shown)
            ) { call in
                try await WorkerOperations.on(services, call) { runner in
                    let (pattern, script) = values(call)
                    return .result(json(try await runner.addRoute(pattern, to: script, in: call.zone)))
                }
            },
            APIOperation(
                "GET", routes + "/{route_id}", id: "workers.routes.get", "A route", .zone(.workers, .read),
                result: .json(shown)
            ) { call in
                let routes = try await WorkerOperations.on(services, call) { try await $0.routes(in: call.zone) }
                guard let route = routes.first(where: { $0.id == id(call) }) else {
                    throw APIError(404, 10009, "Route not found")
                }
                return .result(json(route))
            },
            APIOperation(
                "PUT", routes + "/{route_id}", id: "workers.routes.update", "Changes a route", .zone(.workers, .edit),
                body: .json(wanted), result: .json(shown)
            ) { call in
                try await WorkerOperations.on(services, call) { runner in
                    let (pattern, script) = values(call)
                    return .result(json(try await runner.changeRoute(id(call), pattern, to: script, in: call.zone)))
                }
            },
            APIOperation(
                "DELETE", routes + "/{route_id}", id: "workers.routes.delete", "Removes a route", .zone(.workers, .edit),
                result: .json(.object([.required("id", .string())]))
            ) { call in
                try await WorkerOperations.on(services, call) { try await $0.removeRoute(id(call), in: call.zone) }
                return .result(.object(["id": .string(id(call))]))
            },
        ]
    }

    private static func id(_ call: APICall) -> String { (call.parameters["route_id"] ?? "").lowercased() }

    /// An empty name is no worker.
    private static func values(_ call: APICall) -> (pattern: String, script: String?) {
        let script = call.json["script"]?.text
        return (call.json["pattern"]?.text ?? "", script?.isEmpty == true ? nil : script)
    }

    private static func json(_ route: ScriptTrigger) -> JSON {
        .object([
            "id": .string(route.id), "pattern": .string(route.value),
            "script": route.worker.map { JSON.string($0) } ?? JSON.null,
            "request_limit_fail_open": false,
        ])
    }
}
