internal import Interfaces
internal import Releases
internal import StoresD1

/// Ours: migrations of a database, applied where the database is, so that each one and its row in the table are one
/// transaction (spec: d1, section 9).
enum D1MigrationOperations {
    static func all(_ services: APIServices) -> [APIOperation] {
        [
            APIOperation(
                "GET", path, id: "d1.migrations.list", "The migrations that were applied, in their order",
                .account(.d1, .read), query: [.init("table", .string(1...128), "Where their names are kept; d1_migrations.")],
                result: .json(
                    .array(
                        .object([.required("id", .integer()), .required("name", .string()), .required("applied_at", .string())])
                    ))
            ) { try await list(D1Call($0, services)) },
            APIOperation(
                "POST", path, id: "d1.migrations.apply", "Applies what is pending of a set of migrations",
                .account(.d1, .edit), body: .jsonStream(body), result: .json(report)
            ) { try await apply(D1Call($0, services)) },
        ]
    }

    private static let path = D1Operations.onePath + "/migrations"
    private static let bytesMax = 16 << 20

    private static let body = APISchema.object([
        .required("files", .array(.object([.required("name", .string(1...512)), .required("sql", .string())]), 0...10_000)),
        .optional("table", .string(1...128)), .optional("scope", .choice(["all", "each"])),
        .optional("up_to", .string(1...512)),
        // Applied to a copy, which is gone afterwards.
        .optional("dry_run", .bool),
    ])

    private static let report = APISchema.object([
        .required("succeeded", .bool), .required("bookmark", .nullable(.string())), .required("warnings", .array(.string())),
        .required(
            "migrations",
            .array(
                .object([
                    .required("name", .string()), .required("status", .choice(["applied", "failed", "skipped"])),
                    .optional("error", .string()),
                ]))),
    ])

    private static func list(_ d1: D1Call) async throws -> APIReply {
        let entry = try await d1.entry()
        let migrator = D1Migrator(
            store: d1.databases.store, database: entry.resource, table: d1.call.queryValue("table") ?? "d1_migrations")
        let applied = try await d1.stored { () throws(D1Failure) in try await migrator.history() }
        return .result(
            .array(
                applied.map {
                    .object(["id": .integer($0.number), "name": .string($0.name), "applied_at": .string($0.appliedAt)])
                }))
    }

    private static func apply(_ d1: D1Call) async throws -> APIReply {
        let entry = try await d1.entry()
        let body = try await d1.json(body, bytesMax: bytesMax)
        let files = D1Migration.paired(
            (body["files"]?.items ?? []).map { D1Migration(file: $0["name"]?.text ?? "", text: $0["sql"]?.text ?? "") })
        guard Set(files.map(\.name)).count == files.count else {
            throw APIError(400, 7400, "Invalid property: files: two have one name", pointer: "/files")
        }
        let migrator = D1Migrator(
            store: d1.databases.store, database: entry.resource, table: body["table"]?.text ?? "d1_migrations")
        let scope: D1Migrator.Scope = body["scope"]?.text == "each" ? .each : .all
        let isDryRun = body["dry_run"]?.bool == true
        let report = try await d1.stored { () throws(D1Failure) in
            if isDryRun {
                let recorded = try await migrator.recorded()
                for file in files {
                    if let known = recorded[file.name] ?? nil, known != file.digest { throw changed(file.name) }
                }
                return try await migrator.dryRun(files, upTo: body["up_to"]?.text)
            }
            if let file = try await migrator.changed(files).first {
                throw changed(file)
            }
            return try await migrator.apply(files, as: scope, upTo: body["up_to"]?.text)
        }
        return .result(json(report))
    }

    private static func changed(_ file: String) -> D1Failure {
        D1Failure("migration \(file) has been applied, and its text is another one now", code: 7400)
    }

    private static func json(_ report: D1MigrationReport) -> JSON {
        .object([
            "succeeded": .bool(report.succeeded), "bookmark": report.bookmark.map { .string($0) } ?? .null,
            "warnings": .strings(report.warnings),
            "migrations": .array(
                report.items.map { item in
                    switch item.outcome {
                    case .applied, .reverted: .object(["name": .string(item.name), "status": "applied"])
                    case .skipped: .object(["name": .string(item.name), "status": "skipped"])
                    case .failed(let reason):
                        .object(["name": .string(item.name), "status": "failed", "error": .string(reason)])
                    }
                }),
        ])
    }
}
