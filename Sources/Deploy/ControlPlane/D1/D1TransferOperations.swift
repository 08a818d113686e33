internal import Glibc
internal import Host
internal import Interfaces
internal import Releases
internal import Stores
internal import StoresD1
internal import System

/// Exports and imports: begun and watched with a token, their files sent and fetched by URLs that need none (spec: d1,
/// section 10).
enum D1TransferOperations {
    static func all(_ services: APIServices) -> [APIOperation] {
        [
            APIOperation(
                "POST", D1Operations.onePath + "/export", id: "d1.database.export",
                "Writes a dump of SQL, or says how far it is",
                .account(.d1, .edit), body: .jsonStream(exportBody), result: .json(.object(status)), isAudited: false
            ) { try await export(D1Call($0, services)) },
            APIOperation(
                "POST", D1Operations.onePath + "/import", id: "d1.database.import",
                "Announces a file of SQL, runs it, or says how far it is", .account(.d1, .edit), body: .jsonStream(importBody),
                result: .json(.object([]))
            ) { try await take(D1Call($0, services)) },
            APIOperation(
                "GET", filePath, id: "d1.files.get", "A dump, for whoever has its URL", .everybody,
                result: .raw(about: "SQL.")
            ) { try send($0, services) },
            APIOperation(
                "PUT", filePath, id: "d1.files.put", "Takes the file of an import, from whoever has its URL", .everybody,
                body: .stream(about: "SQL."), result: .raw(about: "Nothing; the ETag is the file's MD5.")
            ) { try await receive($0, services) },
        ]
    }

    private static let filePath = "/d1/files/{account_id}/{file_name}"

    // MARK: Shapes

    private static let exportBody = APISchema.object([
        .required("output_format", .choice(["polling"])), .optional("current_bookmark", .nullable(.string())),
        .optional(
            "dump_options",
            .nullable(
                .object([
                    .optional("no_data", .nullable(.bool)), .optional("no_schema", .nullable(.bool)),
                    .optional("tables", .nullable(.array(.string()))),
                ]))),
    ])

    private static let importBody = APISchema.object([
        .required("action", .choice(["init", "ingest", "poll"])), .optional("etag", .nullable(.string())),
        .optional("filename", .nullable(.string())), .optional("current_bookmark", .nullable(.string())),
    ])

    private static let status: [APISchema.Field] = [
        .required("success", .bool), .required("type", .choice(["export", "import"])),
        .required("status", .choice(["active", "complete", "error"])), .required("at_bookmark", .string()),
        .required("messages", .array(.string())), .optional("error", .string()), .optional("errors", .array(.string())),
        .optional("result", .object([])),
    ]

    /// - Parameter bookmark: The newest state: a status that is not at its end has none of its own.
    private static func json(_ type: String, _ status: D1TransferStatus, at bookmark: String, result: JSON?) -> JSON {
        .object([
            "success": .bool(status.success), "type": .string(type), "status": .string(status.phase.rawValue),
            "at_bookmark": .string(status.bookmark ?? bookmark), "messages": .strings(status.messages),
            "error": status.error.map { .string($0) }, "errors": status.error.map { .strings([$0]) }, "result": result,
        ])
    }

    /// Where `file` is sent to or fetched from: at the address that this call came to.
    private static func url(of file: String, _ d1: D1Call) -> String {
        let host = d1.call.header("host") ?? "localhost"
        let scheme = d1.call.header("x-forwarded-proto") == "https" ? "https" : "http"
        return "\(scheme)://\(host)\(API.prefix)/d1/files/\(Accounts.id(of: d1.call.tenant ?? ""))/\(file)"
    }

    // MARK: Export

    private static func export(_ d1: D1Call) async throws -> APIReply {
        let entry = try await d1.entry()
        let body = try await d1.json(exportBody, bytesMax: 1 << 20)
        let transfers = d1.databases.transfers
        let bookmark = try await bookmark(of: entry, d1)
        let status: D1TransferStatus
        if let text = body["current_bookmark"]?.text, !text.isEmpty {
            status = transfers.exportStatus(of: entry.resource)
        } else {
            let options = try options(body["dump_options"] ?? .null)
            status = try await d1.transferred { () throws(D1TransferError) in
                try transfers.beginExport(of: entry.resource, options, at: bookmark)
            }
        }
        let result = status.fileName.map { file -> JSON in
            .object(["filename": .string(file), "signed_url": .string(url(of: file, d1))])
        }
        return .result(json("export", status, at: bookmark, result: result))
    }

    private static func options(_ json: JSON) throws(APIError) -> D1DumpOptions {
        let part: D1DumpOptions.Part
        switch (json["no_data"]?.bool ?? false, json["no_schema"]?.bool ?? false) {
        case (false, false): part = .all
        case (true, false): part = .schema
        case (false, true): part = .data
        case (true, true):
            throw APIError(
                400, 7400, "Invalid property: dump_options: without data and schema nothing is left", pointer: "/dump_options")
        }
        return D1DumpOptions(part, tables: (json["tables"]?.items ?? []).compactMap(\.text))
    }

    private static func bookmark(of entry: D1DatabaseEntry, _ d1: D1Call) async throws(APIError) -> String {
        try await d1.stored { () throws(D1Failure) in try await d1.databases.store.bookmark(of: entry.resource) }
    }

    // MARK: Import

    private static func take(_ d1: D1Call) async throws -> APIReply {
        let entry = try await d1.entry()
        let body = try await d1.json(importBody, bytesMax: 64 << 10)
        let transfers = d1.databases.transfers
        func text(_ name: String) throws(APIError) -> String {
            guard let text = body[name]?.text else {
                throw APIError(400, 7400, "Invalid property: \(name) must be a string", pointer: "/\(name)")
            }
            return text
        }
        let status: D1TransferStatus
        switch body["action"]?.text {
        case "init":
            let etag = try text("etag")
            let start = try await d1.transferred { () throws(D1TransferError) in
                try transfers.beginImport(etag: etag, into: entry.resource)
            }
            switch start {
            case .underWay(let running): status = running
            case .upload(let file):
                return .result(.object(["filename": .string(file), "upload_url": .string(url(of: file, d1))]))
            }
        case "ingest":
            let (etag, file) = (try text("etag"), try text("filename"))
            status = try await d1.transferred { () throws(D1TransferError) in
                try transfers.ingest(file, etag: etag, into: entry.resource)
            }
        default: status = transfers.importStatus(of: entry.resource)
        }
        let result = status.imported.map { imported -> JSON in
            .object([
                "final_bookmark": .string(imported.bookmark), "num_queries": .integer(Int64(imported.statementCount)),
                "meta": json(imported.meta),
            ])
        }
        return .result(json("import", status, at: try await bookmark(of: entry, d1), result: result))
    }

    private static func json(_ meta: D1Meta) -> JSON {
        .object([
            "served_by": .string(meta.servedBy), "served_by_region": .string(meta.servedByRegion),
            "served_by_primary": .bool(meta.servedByPrimary),
            "timings": .object(["sql_duration_ms": .number(meta.sqlDurationMilliseconds)]),
            "duration": .number(meta.duration), "changes": .integer(meta.changes), "last_row_id": .integer(meta.lastRowID),
            "changed_db": .bool(meta.changedDB), "size_after": .integer(meta.sizeAfter),
            "rows_read": .integer(meta.rowsRead), "rows_written": .integer(meta.rowsWritten),
        ])
    }

    // MARK: Files

    /// The transfers of the account that a file's URL names: the name of the file is all the right that it takes.
    private static func transfers(_ call: APICall, _ services: APIServices) throws(APIError) -> D1Transfers {
        let tenant = services.accounts.tenant(call.parameters["account_id"] ?? "")
        guard let runner = services.accounts.runners.first(where: { $0.tenant == tenant }) else {
            throw APIError(D1TransferError.noFile(call.parameters["file_name"] ?? ""))
        }
        return runner.databases.transfers
    }

    private static func send(_ call: APICall, _ services: APIServices) throws -> APIReply {
        let name = call.parameters["file_name"] ?? ""
        do {
            let path = try transfers(call, services).dump(name)
            let file = try FileTree.openFile(path, flags: O_RDONLY)
            let byteCount = FileTree.status(path)?.byteCount ?? 0
            return .raw(
                LocalResponse(
                    status: 200,
                    headers: [
                        ("content-type", "application/sql"),
                        ("content-disposition", "attachment; filename=\"\(name)\""), ("cache-control", "private, no-store"),
                    ], body: .file(FileSlice(file, offset: 0, byteCount: byteCount))))
        } catch let error as D1TransferError {
            throw APIError(error)
        }
    }

    private static func receive(_ call: APICall, _ services: APIServices) async throws -> APIReply {
        guard let body = call.body else { throw APIError(400, 7400, "The file is missing") }
        do {
            let etag = try await transfers(call, services).receive(call.parameters["file_name"] ?? "", body)
            return .raw(LocalResponse(status: 200, headers: [("etag", "\"\(etag)\"")]))
        } catch let error as D1TransferError {
            throw APIError(error)
        }
    }
}
