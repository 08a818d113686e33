internal import Releases
internal import StoresKV

/// Making, listing, renaming and deleting namespaces.
enum KVNamespaceOperations {
    private static let title = APISchema.object([
        .required("title", .string(1...480)), .optional("jurisdiction", .nullable(.string())),
    ])

    static func all(_ services: APIServices) -> [APIOperation] {
        let root = KVOperations.root
        let (namespace, nothing) = (KVOperations.namespace, KVOperations.nothing)
        return [
            APIOperation(
                "POST", root, id: "kv.namespaces.create", "Makes a namespace", .account(.kv, .edit), body: .json(title),
                result: .json(namespace), mistakes: KVOperations.code
            ) { try await create(services, $0) },
            APIOperation(
                "GET", root, id: "kv.namespaces.list", "The account's namespaces", .account(.kv, .read),
                query: Page<String>.parameters + [
                    .init("order", .choice(["id", "title"]), "What they are ordered by."),
                    .init("direction", .choice(["asc", "desc"]), "Upwards or downwards."),
                ],
                result: .json(.array(namespace)), mistakes: KVOperations.code
            ) { try await list(services, $0) },
            APIOperation(
                "GET", root + "/{namespace_id}", id: "kv.namespaces.get", "A namespace", .account(.kv, .read),
                result: .json(namespace), mistakes: KVOperations.code
            ) { call in
                .result(json(try await perform(services, call, "get") { store, id in try await store.namespace(id: id) }))
            },
            APIOperation(
                "PUT", root + "/{namespace_id}", id: "kv.namespaces.update", "Gives a namespace another title",
                .account(.kv, .edit), body: .json(title), result: .json(namespace), mistakes: KVOperations.code
            ) { call in
                let title = call.json["title"]?.text ?? ""
                return .result(
                    json(
                        try await perform(services, call, "rename") { store, id in
                            try await store.renameNamespace(id: id, title: title)
                        }))
            },
            APIOperation(
                "DELETE", root + "/{namespace_id}", id: "kv.namespaces.delete", "Removes a namespace with all its keys",
                .account(.kv, .edit), result: .json(nothing), mistakes: KVOperations.code
            ) { call in
                try await perform(services, call, "remove") { store, id in try await store.deleteNamespace(id: id) }
                return .result(.object([:]))
            },
        ]
    }

    private static func perform<Value>(
        _ services: APIServices, _ call: APICall, _ verb: String,
        _ work: (any KVAdministration, String) async throws -> Value
    ) async throws -> Value {
        do { return try await work(KVOperations.store(services, call), KVOperations.id(call)) } catch let error
            as KVAdministrationError
        { throw KVOperations.failure(error, verb) }
    }

    private static func create(_ services: APIServices, _ call: APICall) async throws -> APIReply {
        let title = call.json["title"]?.text ?? ""
        return .result(
            json(
                try await perform(services, call, "create namespace") { store, _ in
                    try await store.createNamespace(title: title)
                }))
    }

    private static func list(_ services: APIServices, _ call: APICall) async throws -> APIReply {
        // In order of their ids.
        var all = try await perform(services, call, "list namespaces") { store, _ in try await store.namespaces() }
        if call.queryValue("order") == "title" {
            all.sort { $0.title.utf8.lexicographicallyPrecedes($1.title.utf8) }
        }
        if call.queryValue("direction") == "desc" { all.reverse() }
        return Page(all, call).reply(json)
    }

    private static func json(_ namespace: KVNamespaceDescription) -> JSON {
        .object([
            "id": .string(namespace.id), "title": .string(namespace.title), "supports_url_encoding": true,
            "first_title": namespace.firstTitle == namespace.title ? nil : .string(namespace.firstTitle),
        ])
    }
}
