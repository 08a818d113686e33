internal import Releases

/// What brings events to several workers, replaced at once.
enum TriggerSetOperations {
    static func all(_ services: APIServices) -> [APIOperation] {
        let list = APISchema.array(.string(1...512), 0...1000)
        let wanted = APISchema.object([
            .optional("routes", list), .optional("domains", list), .optional("crons", list),
        ])
        return [
            APIOperation(
                "PUT", "/accounts/{account_id}/edge/triggers", id: "edge.triggers.update",
                "Replaces the routes, domains and crons of the Workers that are named, all or none", .account(.workers, .edit),
                body: .json(.object([.required("workers", .map(wanted))])),
                result: .json(.object([.required("changes", .array(.string()))]))
            ) { call in
                try await WorkerOperations.on(services, call) { runner in
                    let sets = (call.json["workers"]?.members ?? []).map { worker in
                        TriggerSet(
                            worker: worker.name, routes: texts(worker.value["routes"]), domains: texts(worker.value["domains"]),
                            crons: texts(worker.value["crons"]))
                    }
                    return .result(.object(["changes": .strings(try await runner.setTriggers(sets))]))
                }
            }
        ]
    }

    private static func texts(_ json: JSON?) -> [String] { json?.items?.compactMap(\.text) ?? [] }
}
