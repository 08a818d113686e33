internal import HTTP
internal import System

/// Reading the audit log, the newest first.
enum AuditOperations {
    static func all(_ services: APIServices) -> [APIOperation] {
        let (audit, disk) = (services.audit, services.disk)
        let entry = APISchema.object([
            .required("id", .string()), .required("when", .string()), .required("action", .any), .required("actor", .any),
            .required("resource", .any), .required("metadata", .any),
        ])
        let query: [APIOperation.Parameter] = [
            .init("per_page", .integer(1...1000), "How many entries; 100 when not given."),
            .init("before", .integer(1...Int64.max), "Entries older than the one of this id."),
        ]
        return [
            APIOperation(
                "GET", "/accounts/{account_id}/audit_logs", id: "accounts.audit_logs.list",
                "What was changed in an account over this API", .account(.audit, .read), query: query,
                result: .json(.array(entry))
            ) { call in
                let countMax = call.queryValue("per_page").flatMap(Int.init) ?? 100
                let (tenant, before) = (call.tenant, call.queryValue("before").flatMap { Int64($0) })
                let entries = try await disk.run { () throws -> [AuditLog.Entry] in
                    try audit.list(tenant: tenant, before: before, countMax: countMax)
                }
                return .result(.array(entries.map(json)))
            }
        ]
    }

    private static func json(_ entry: AuditLog.Entry) -> JSON {
        .object([
            "id": .string(String(entry.number)),
            "when": .string(HTTPDate(unixSeconds: entry.time.seconds).iso8601),
            "action": .object(["type": .string(entry.operation), "result": .bool(entry.status < 400)]),
            "actor": .object([
                "id": .string(entry.tokenID), "name": .string(entry.tokenName), "ip": .string(entry.client), "type": "token",
            ]),
            "resource": .object(["type": "path", "id": .string(entry.path)]),
            "metadata": .object([
                "method": .string(entry.method), "status": .integer(Int64(entry.status)),
                "code": entry.code.map { .integer(Int64($0)) },
            ]),
        ])
    }
}
