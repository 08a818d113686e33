internal import HTTP
internal import Releases
internal import System

/// Making, changing and removing tenants. Reading which there are is `UserOperations`' part.
enum TenantOperations {
    static func all(_ services: APIServices) -> [APIOperation] {
        let limits = APISchema.object(fields.map { .optional($0.name, .nullable(.integer(0...Int64.max))) })
        let plan = APISchema.choice(TenantSettings.plans)
        let account = APISchema.object([.required("id", .string()), .required("name", .string()), .required("type", .string())])
        let tenant = APISchema.object([
            .required("id", .string()), .required("name", .string()), .required("source", .choice(["api", "configuration"])),
            .optional("created_on", .string()), .optional("plan", plan), .optional("limits", limits),
            .required("contents", .map(.integer())),
        ])
        return [
            APIOperation(
                "POST", "/accounts", id: "accounts.create", "Makes a tenant", .everyToken,
                body: .json(
                    .object([.required("name", .string(1...63)), .optional("plan", plan), .optional("limits", limits)])),
                result: .json(account)
            ) { call in
                try await create(call, services)
            },
            APIOperation(
                "GET", "/accounts/{account_id}/tenant", id: "accounts.tenant.get",
                "Where a tenant comes from, what it may have, and how much it has", .account(.tenants, .read),
                result: .json(tenant)
            ) { call in
                try await describe(call, services)
            },
            APIOperation(
                "PUT", "/accounts/{account_id}", id: "accounts.update", "Changes what a tenant may have",
                .account(.tenants, .edit),
                body: .json(
                    .object([.optional("name", .nullable(.string())), .optional("plan", plan), .optional("limits", limits)])),
                result: .json(account)
            ) { call in
                try await update(call, services)
            },
            APIOperation(
                "DELETE", "/accounts/{account_id}", id: "accounts.delete", "Removes a tenant", .account(.tenants, .edit),
                query: [.init("force", .bool, "Also one that has workers or data, with all of it.")],
                result: .json(.object([.required("id", .string())]))
            ) { call in
                try await remove(call, services)
            },
        ]
    }

    private static func create(_ call: APICall, _ services: APIServices) async throws -> APIReply {
        // Who makes tenants decides about all of the node.
        guard call.principal.covers(.init(tenant: nil, product: .tenants, level: .edit)) else { throw APIError.notAllowed }
        let name = call.json["name"]?.text ?? ""
        guard services.accounts.tenant(name) == nil else { throw error(TenantError.exists(name)) }
        var settings = TenantSettings()
        apply(call.json, to: &settings)
        do {
            let runner = try await host(services).create(name, settings)
            services.accounts.attach(runner)
        } catch let failure as TenantError { throw error(failure) }
        return .result(Accounts.json(name))
    }

    private static func describe(_ call: APICall, _ services: APIServices) async throws -> APIReply {
        let runner = try services.accounts.runner(call)
        let entry = try await services.tenants?.entry(runner.tenant)
        let contents = try await runner.contents()
        return .result(
            .object([
                "id": .string(Accounts.id(of: runner.tenant)), "name": .string(runner.tenant),
                "source": entry == nil ? "configuration" : "api",
                "created_on": entry.map { .string(HTTPDate(unixSeconds: $0.createdAt.seconds).iso8601) },
                "plan": entry.map { .string($0.settings.plan) },
                "limits": entry.map { entry in
                    .object(
                        fields.compactMap { field in
                            entry.settings[keyPath: field.path].map {
                                JSON.Member(name: field.name, value: .integer(Int64($0)))
                            }
                        })
                },
                "contents": .object(contents.map { JSON.Member(name: $0.kind, value: .integer(Int64($0.count))) }),
            ]))
    }

    private static func update(_ call: APICall, _ services: APIServices) async throws -> APIReply {
        let runner = try services.accounts.runner(call)
        if let name = call.json["name"]?.text, name != runner.tenant {
            throw APIError(400, 1001, "A tenant's name never changes", pointer: "/name")
        }
        let host = try host(services)
        do {
            guard let entry = try await host.entry(runner.tenant) else { throw TenantError.isConfigured(runner.tenant) }
            var settings = entry.settings
            apply(call.json, to: &settings)
            if settings != entry.settings { try await host.update(runner, settings) }
        } catch let failure as TenantError { throw error(failure) }
        return .result(Accounts.json(runner.tenant))
    }

    private static func remove(_ call: APICall, _ services: APIServices) async throws -> APIReply {
        let runner = try services.accounts.runner(call)
        do {
            try await host(services).remove(runner, call.queryValue("force") == "true" ? .any : .emptyOne)
        } catch let failure as TenantError { throw error(failure) }
        services.accounts.remove(runner.tenant)
        return .result(.object(["id": .string(Accounts.id(of: runner.tenant))]))
    }

    private static func host(_ services: APIServices) throws(APIError) -> TenantHost {
        guard let host = services.tenants else { throw APIError(503, 10013, "This node makes no tenants") }
        return host
    }

    private static func error(_ failure: TenantError) -> APIError {
        switch failure {
        case .badName: APIError(400, 1001, "\(failure)", pointer: "/name")
        case .exists, .isConfigured, .notEmpty, .busy: APIError(409, 1102, "\(failure)")
        }
    }

    // MARK: Limits

    private struct Field: Sendable {
        let name: String
        let path: any WritableKeyPath<TenantSettings, Int?> & Sendable
    }

    private static let fields: [Field] = [
        Field(name: "kv_bytes_max", path: \.kvBytesMax),
        Field(name: "kv_namespace_bytes_max", path: \.kvNamespaceBytesMax),
        Field(name: "kv_reads_per_day_max", path: \.kvReadsPerDayMax),
        Field(name: "kv_puts_per_day_max", path: \.kvPutsPerDayMax),
        Field(name: "kv_deletes_per_day_max", path: \.kvDeletesPerDayMax),
        Field(name: "kv_lists_per_day_max", path: \.kvListsPerDayMax),
        Field(name: "cache_bytes_max", path: \.cacheBytesMax),
        Field(name: "time_travel_seconds", path: \.timeTravelSeconds),
    ]

    /// What the request names changes; `null` is what the plan has.
    private static func apply(_ json: JSON, to settings: inout TenantSettings) {
        if let plan = json["plan"]?.text { settings.plan = plan }
        for field in fields {
            guard let value = json["limits"]?[field.name] else { continue }
            settings[keyPath: field.path] = value.integer.map { Int($0) }
        }
    }
}
