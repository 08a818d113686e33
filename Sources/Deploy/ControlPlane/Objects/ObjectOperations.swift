internal import Host
internal import HTTP
internal import Releases
internal import System

/// Durable objects: the namespaces that classes have, and the objects in them. Listing is the product's; looking at one, having it
/// leave memory and deleting it are ours.
enum ObjectOperations {
    private static let root = "/accounts/{account_id}/workers/durable_objects/namespaces"
    private static let own = "/accounts/{account_id}/edge/durable_objects/namespaces/{namespace_id}"

    private static let namespaceSchema = APISchema.object([
        .required("id", .string(32...32)), .required("name", .string()), .required("script", .string()),
        .required("class", .string()), .required("use_sqlite", .bool), .required("created_on", .string()),
    ])
    private static let objectSchema = APISchema.object([.required("id", .string(64...64)), .required("hasStoredData", .bool)])
    private static let statusSchema = APISchema.object([
        .required("id", .string(64...64)), .required("name", .nullable(.string())),
        .required("state", .choice(["absent", "opening", "open", "closing"])),
        .required("process", .nullable(.integer())), .required("version", .nullable(.string())),
        .required("events", .integer()), .required("waiting", .integer()), .required("sockets", .integer()),
        .required("alarm", .nullable(.string())), .required("stored_bytes", .integer()), .required("hasStoredData", .bool),
    ])

    static func all(_ services: APIServices) -> [APIOperation] {
        [
            APIOperation(
                "GET", root, id: "durableObjects.namespaces.list", "The account's namespaces of durable objects",
                .account(.workers, .read), query: Page<String>.parameters, result: .json(.array(namespaceSchema))
            ) { call in
                let all = try await on(services, call) { try await $0.objectNamespaces() }
                return Page(all, call).reply(json)
            },
            APIOperation(
                "GET", root + "/{namespace_id}/objects", id: "durableObjects.namespaces.objects.list",
                "The objects of a namespace that have been written to", .account(.workers, .read),
                query: [
                    .init("limit", .integer(1...10_000), "How many a page has; 1000."),
                    .init("cursor", .string(0...64), "Where the page begins: what `result_info` of the one before said."),
                ], result: .json(.array(objectSchema))
            ) { call in try await list(call, services) },
            APIOperation(
                "GET", own + "/id", id: "edge.durableObjects.id", "The id of the object with a name",
                .account(.workers, .read), query: [.init("name", .string(0...2048), "What `idFromName` is given.")],
                result: .json(.object([.required("id", .string(64...64))]))
            ) { call in
                let namespace = try await namespace(call, services)
                return .result(.object(["id": .string(namespace.id(ofName: call.queryValue("name") ?? ""))]))
            },
            APIOperation(
                "GET", own + "/objects/{object_id}", id: "edge.durableObjects.get",
                "One object: where it is, what it is at, its alarm, its WebSockets and its size", .account(.workers, .read),
                result: .json(statusSchema)
            ) { call in
                let namespace = try await namespace(call, services)
                return .result(
                    json(
                        try await act(call) { id throws(ObjectSpaceError) in try await namespace.space.inspect(namespace, id) })
                )
            },
            APIOperation(
                "POST", own + "/objects/{object_id}/evict", id: "edge.durableObjects.evict",
                "Has an object leave memory, once what it is at is done", .account(.workers, .edit),
                result: .json(.object([.required("evicted", .bool)]))
            ) { call in
                let namespace = try await namespace(call, services)
                let isEvicted = try await act(call) { id throws(ObjectSpaceError) in
                    try await namespace.space.evict(namespace, id)
                }
                return .result(.object(["evicted": .bool(isEvicted)]))
            },
            APIOperation(
                "DELETE", own + "/objects/{object_id}", id: "edge.durableObjects.delete",
                "Removes an object with all that it has stored, its alarm and its WebSockets", .account(.workers, .edit),
                result: .json(.nullable(.any))
            ) { call in
                let namespace = try await namespace(call, services)
                try await act(call) { id throws(ObjectSpaceError) in try await namespace.space.delete(namespace, id) }
                return .result(.null)
            },
        ]
    }

    private static func on<Result>(
        _ services: APIServices, _ call: APICall, _ body: (ReleaseRunner) async throws -> Result
    ) async throws -> Result {
        do { return try await WorkerOperations.on(services, call, body) } catch let error as ObjectSpaceError {
            throw failure(error)
        }
    }

    private static func namespace(_ call: APICall, _ services: APIServices) async throws -> ObjectNamespace {
        let id = (call.parameters["namespace_id"] ?? "").lowercased()
        return try await on(services, call) { try await $0.objectNamespace(id) }
    }

    private static func act<Result>(
        _ call: APICall, _ body: (String) async throws(ObjectSpaceError) -> Result
    ) async throws -> Result {
        do throws(ObjectSpaceError) { return try await body((call.parameters["object_id"] ?? "").lowercased()) } catch {
            throw failure(error)
        }
    }

    private static func failure(_ error: ObjectSpaceError) -> APIError {
        switch error {
        case .unknownNamespace: APIError(404, 10066, "\(error)")
        case .badID: APIError(400, 10021, "\(error)")
        case .stillInUse, .notClosed: APIError(409, 10021, "\(error)")
        case .system: APIError(500, 10013, "\(error)")
        }
    }

    private static func list(_ call: APICall, _ services: APIServices) async throws -> APIReply {
        let namespace = try await namespace(call, services)
        let limit = call.queryValue("limit").flatMap(Int.init) ?? 1000
        let cursor = call.queryValue("cursor").flatMap { $0.isEmpty ? nil : $0.lowercased() }
        let found: [(id: String, hasStoredData: Bool)]
        do throws(ObjectSpaceError) {
            found = try await namespace.space.list(namespace, after: cursor, limit: limit)
        } catch { throw failure(error) }
        let objects = found.map { JSON.object(["id": .string($0.id), "hasStoredData": .bool($0.hasStoredData)]) }
        // A page that isn't full is the last one.
        let next = found.count == limit ? found.last?.id ?? "" : ""
        return .result(
            .array(objects),
            info: .object(["count": .integer(Int64(found.count)), "per_page": .integer(Int64(limit)), "cursor": .string(next)]))
    }

    private static func json(_ status: ObjectNamespaceStatus) -> JSON {
        let name = status.namespace.class
        return .object([
            "id": .string(status.namespace.id), "name": .string("\(name.worker)_\(name.name)"), "script": .string(name.worker),
            "class": .string(name.name), "use_sqlite": .bool(status.namespace.storage == .sqlite),
            "created_on": ScriptJSON.time(status.createdAt),
        ])
    }

    private static func json(_ status: ObjectStatus) -> JSON {
        .object([
            "id": .string(status.id), "name": status.name.map { .string($0) } ?? .null,
            "state": .string(status.phase.rawValue), "process": status.processID.map { .integer(Int64($0)) } ?? .null,
            "version": status.version.map { .string($0) } ?? .null, "events": .integer(Int64(status.eventCount)),
            "waiting": .integer(Int64(status.waitingCount)), "sockets": .integer(Int64(status.socketCount)),
            "alarm": status.alarm.map(DeploymentJSON.time) ?? .null,
            "stored_bytes": .integer(Int64(status.storedByteCount)), "hasStoredData": .bool(status.hasStoredData),
        ])
    }
}
