internal import HTTP
internal import Releases
internal import StoresD1
internal import System

/// D1 over REST (spec: d1, sections 10 and 11). Here: databases as such.
enum D1Operations {
    static let path = "/accounts/{account_id}/d1/database"
    static let onePath = path + "/{database_id}"

    static func all(_ services: APIServices) -> [APIOperation] {
        databases(services) + D1QueryOperations.all(services) + D1TransferOperations.all(services)
            + D1TimeTravelOperations.all(services) + D1MigrationOperations.all(services)
    }

    private static func databases(_ services: APIServices) -> [APIOperation] {
        let all = APISchema.array(shown)
        return [
            APIOperation(
                "POST", path, id: "d1.database.create", "Makes a database", .account(.d1, .edit), body: .jsonStream(created),
                result: .json(shown)
            ) { try await create(D1Call($0, services)) },
            APIOperation(
                "GET", path, id: "d1.database.list", "The databases, oldest first", .account(.d1, .read), query: pages,
                result: .json(all)
            ) { try await list(D1Call($0, services)) },
            APIOperation(
                "GET", onePath, id: "d1.database.get", "A database, by id or name", .account(.d1, .read),
                query: [.init("fields", .string(), "What to answer with: names with commas between, or repeated.")],
                result: .json(.object([]))
            ) { try await get(D1Call($0, services)) },
            APIOperation(
                "PUT", onePath, id: "d1.database.update", "Changes a database", .account(.d1, .edit),
                body: .jsonStream(changed),
                result: .json(shown)
            ) { try await update(D1Call($0, services)) },
            APIOperation(
                "PATCH", onePath, id: "d1.database.edit", "Changes a database", .account(.d1, .edit),
                body: .jsonStream(changed),
                result: .json(shown)
            ) { try await update(D1Call($0, services)) },
            APIOperation(
                "DELETE", onePath, id: "d1.database.delete", "Deletes a database with its history", .account(.d1, .edit),
                result: .json(.nullable(.any))
            ) { call in
                let d1 = try D1Call(call, services)
                _ = try await d1.entry()
                try await d1.asked { () throws(D1CatalogError) in try await d1.databases.delete(d1.database) }
                return .result(.null)
            },
        ]
    }

    // MARK: Shapes

    private static let replication = APISchema.object([.required("mode", .choice(["auto", "disabled"]))])

    private static let created = APISchema.object([
        .required("name", .string()),
        .optional("primary_location_hint", .nullable(.choice(["wnam", "enam", "weur", "eeur", "apac", "oc", "afr", "me"]))),
        .optional("jurisdiction", .nullable(.choice(["eu", "fedramp"]))),
        .optional("read_replication", .nullable(replication)),
    ])

    private static let changed = APISchema.object([
        .optional("name", .string()), .optional("read_replication", replication),
    ])

    private static let shown = APISchema.object([
        .required("uuid", .string(36...36)), .required("name", .string()), .required("version", .choice(["production"])),
        .required("created_at", .string()), .optional("num_tables", .integer(0...Int64.max)),
        .required("file_size", .integer(0...Int64.max)), .required("read_replication", replication),
        .required("running_in_region", .string()), .required("jurisdiction", .nullable(.string())),
    ])

    private static let pages: [APIOperation.Parameter] = [
        .init("name", .string(), "Only those whose name contains this."),
        .init("page", .integer(1...1_000_000), "The page, from 1."),
        .init("per_page", .integer(1...Int64(D1Catalog.pageCountMax)), "How many a page has; 1000."),
    ]

    private static func json(
        _ entry: D1DatabaseEntry, _ store: EmbeddedD1Store, _ facts: D1DatabaseFacts? = nil
    ) -> JSON {
        .object([
            "uuid": .string(entry.id), "name": .string(entry.name), "version": "production",
            "created_at": .string(time(entry.createdAt)), "num_tables": facts.map { .integer(Int64($0.tableCount)) },
            "file_size": .integer(facts?.byteCount ?? store.byteCount(of: entry.resource) ?? 0),
            "read_replication": .object(["mode": .string(entry.readReplication.rawValue)]),
            "running_in_region": .string(store.region), "jurisdiction": entry.jurisdiction.map { .string($0) } ?? .null,
        ])
    }

    /// `2030-01-31T00:00:00.123Z`
    private static func time(_ time: UnixTime) -> String {
        let milliseconds = String(1000 + time.milliseconds % 1000).dropFirst()
        return HTTPDate(unixSeconds: time.milliseconds / 1000).iso8601.dropLast() + ".\(milliseconds)Z"
    }

    // MARK: Verbs

    private static func create(_ d1: D1Call) async throws -> APIReply {
        let body = try await d1.json(created, bytesMax: 64 << 10)
        let mode = body["read_replication"]?["mode"]?.text.flatMap(D1ReadReplication.init) ?? .disabled
        let entry = try await d1.asked { () throws(D1CatalogError) in
            try await d1.databases.create(
                body["name"]?.text ?? "", readReplication: mode, jurisdiction: body["jurisdiction"]?.text)
        }
        return try await show(entry, d1)
    }

    private static func list(_ d1: D1Call) async throws -> APIReply {
        let page = d1.call.queryValue("page").flatMap(Int.init) ?? 1
        let count = d1.call.queryValue("per_page").flatMap(Int.init) ?? 1000
        let (entries, total) = try await d1.asked { () throws(D1CatalogError) in
            try await d1.databases.list(nameContaining: d1.call.queryValue("name") ?? "", page: page, count: count)
        }
        let info = JSON.object([
            "page": .integer(Int64(page)), "per_page": .integer(Int64(count)), "count": .integer(Int64(entries.count)),
            "total_count": .integer(Int64(total)), "total_pages": .integer(Int64((total + count - 1) / count)),
        ])
        return .result(.array(entries.map { json($0, d1.databases.store) }), info: info)
    }

    private static func get(_ d1: D1Call) async throws -> APIReply {
        let shown = try await show(try await d1.entry(), d1)
        let fields = Set(
            d1.call.query.filter { $0.name == "fields" || $0.name == "fields[]" }
                .flatMap { $0.value.split(separator: ",") }.map(String.init))
        guard !fields.isEmpty, case .result(.object(let members), _, _, _) = shown else { return shown }
        return .result(.object(members.filter { fields.contains($0.name) }))
    }

    private static func update(_ d1: D1Call) async throws -> APIReply {
        let entry = try await d1.entry()
        let body = try await d1.json(changed, bytesMax: 64 << 10)
        let changed = try await d1.asked { () throws(D1CatalogError) in
            try await d1.databases.update(
                entry.id, name: body["name"]?.text,
                readReplication: body["read_replication"]?["mode"]?.text.flatMap(D1ReadReplication.init))
        }
        return try await show(changed, d1)
    }

    private static func show(_ entry: D1DatabaseEntry, _ d1: D1Call) async throws -> APIReply {
        let facts = try await d1.asked { () throws(D1CatalogError) in try await d1.databases.facts(of: entry) }
        return .result(json(entry, d1.databases.store, facts))
    }
}
