internal import Host
internal import Releases
internal import Stores

/// A tenant's whole state: out, in, checked, emptied.
enum StateOperations {
    static func all(_ services: APIServices) -> [APIOperation] {
        let finding = APISchema.object([
            .required("store", .string()), .required("piece", .string()), .required("problem", .string()),
            .required("advice", .string()), .required("repaired", .bool),
        ])
        let report = APISchema.object([
            .required("sound", .bool), .required("finding_count", .integer()),
            .required("checked", .array(.object([.required("store", .string()), .required("what", .string())]))),
            .required("findings", .array(finding)),
        ])
        let done = APISchema.object([.required("tenants", .array(.string()))])
        let checksums = APIOperation.Parameter("checksums", .bool, "Also compares the bytes of objects with their checksums.")
        let secrets = APIOperation.Parameter(
            "secrets", .choice(["replace", "keep"]), "Whether secrets are taken over; replace.")
        return [
            APIOperation(
                "GET", "/accounts/{account_id}/state/export", id: "accounts.state.export",
                "All that a tenant has, as a tape archive with a digest of each member", .account(.tenants, .edit),
                result: .raw(about: "A tar archive; its last member, SHA256SUMS, has the digests.")
            ) { call in
                try await export([try services.accounts.runner(call)], services)
            },
            APIOperation(
                "GET", "/state/export", id: "state.export", "All that all tenants have, as one tape archive", .everyToken,
                result: .raw(about: "A tar archive; its last member, SHA256SUMS, has the digests.")
            ) { call in
                try requireAll(.edit, call)
                return try await export(services.accounts.runners, services)
            },
            APIOperation(
                "POST", "/accounts/{account_id}/state/import", id: "accounts.state.import",
                "Puts an exported archive into the place of all that a tenant has", .account(.tenants, .edit), query: [secrets],
                body: .stream(about: "An archive as the export gives it."), result: .json(done)
            ) { call in
                try await take(call, of: try services.accounts.runner(call).tenant, services)
            },
            APIOperation(
                "POST", "/state/import", id: "state.import", "The same for all tenants that the archive has", .everyToken,
                query: [secrets], body: .stream(about: "An archive as the export gives it."), result: .json(done)
            ) { call in
                try requireAll(.edit, call)
                return try await take(call, of: nil, services)
            },
            APIOperation(
                "GET", "/accounts/{account_id}/state/verification", id: "accounts.state.verify",
                "Looks for torn and missing pieces of all stores", .account(.tenants, .read), query: [checksums],
                result: .json(report)
            ) { call in
                try await verify(call, repairs: false, services)
            },
            APIOperation(
                "POST", "/accounts/{account_id}/state/verification", id: "accounts.state.repair",
                "The same, and mends what loses nothing", .account(.tenants, .edit), query: [checksums], result: .json(report),
                isIdempotent: true
            ) { call in
                try await verify(call, repairs: true, services)
            },
            APIOperation(
                "DELETE", "/accounts/{account_id}/state", id: "accounts.state.reset",
                "Empties all stores of a tenant; its secrets and workers stay", .account(.tenants, .edit), result: .json(done)
            ) { call in
                let runner = try services.accounts.runner(call)
                let empty = try StateImport.empty(runner.tenant, in: try host(services).state)
                return try await put(empty, services)
            },
        ]
    }

    private static func requireAll(_ level: APIOperation.Level, _ call: APICall) throws(APIError) {
        guard call.principal.covers(.init(tenant: nil, product: .tenants, level: level)) else { throw .notAllowed }
    }

    private static func host(_ services: APIServices) throws(APIError) -> TenantHost {
        guard let host = services.tenants else { throw APIError(503, 10013, "This node keeps no state of its own") }
        return host
    }

    private static func export(_ runners: [ReleaseRunner], _ services: APIServices) async throws -> APIReply {
        let archive = try await StateExport.begin(runners, in: try host(services).state)
        return .raw(
            LocalResponse(status: 200, headers: [("content-type", "application/x-tar")], body: .stream(archive)))
    }

    private static func take(_ call: APICall, of tenant: String?, _ services: APIServices) async throws -> APIReply {
        guard let body = call.body else { throw APIError(400, 10026, "The body must be an archive") }
        do {
            let archive = try await StateImport.receive(
                body, wanted: tenant, known: Set(services.accounts.runners.map(\.tenant)),
                secrets: call.queryValue("secrets") == "keep" ? .keep : .replace, in: try host(services).state)
            return try await put(archive, services)
        } catch let error as ArchiveError {
            throw APIError(400, 10026, "\(error)")
        }
    }

    private static func put(_ state: StateImport, _ services: APIServices) async throws -> APIReply {
        do { try await state.apply(to: services.accounts.runners) } catch let error as ReleaseError {
            throw APIError(409, 1102, "\(error)")
        }
        return .result(.object(["tenants": .strings(state.tenants)]))
    }

    private static func verify(_ call: APICall, repairs: Bool, _ services: APIServices) async throws -> APIReply {
        let (runner, host) = (try services.accounts.runner(call), try host(services))
        var report = try await runner.verify(
            VerificationDemand(comparesChecksums: call.queryValue("checksums") == "true", repairs: repairs))
        report.addControl(try await services.disk.run { () throws -> [String] in try host.controlProblems() })
        return .result(
            .object([
                "sound": .bool(report.isSound), "finding_count": .integer(Int64(report.findingCount)),
                "checked": .array(report.checked.map { .object(["store": .string($0.store), "what": .string($0.what)]) }),
                "findings": .array(
                    report.findings.map { finding in
                        .object([
                            "store": .string(finding.store), "piece": .string(finding.piece),
                            "problem": .string(finding.problem), "advice": .string(finding.advice),
                            "repaired": .bool(finding.isRepaired),
                        ])
                    }),
            ]))
    }
}
