internal import Caching
internal import Releases

/// Custom domains: hosts of which a worker is the origin.
enum DomainOperations {
    static func all(_ services: APIServices) -> [APIOperation] {
        let domains = "/accounts/{account_id}/workers/domains"
        let shown = APISchema.object([
            .required("id", .string()), .required("hostname", .string()), .required("service", .string()),
        ])
        let filters = ["hostname", "service", "zone_id", "zone_name", "environment"].map {
            APIOperation.Parameter($0, .string(), "Only these.")
        }
        return [
            APIOperation(
                "GET", domains, id: "workers.domains.list", "The account's custom domains", .account(.workers, .read),
                query: filters, result: .json(.array(shown))
            ) { call in
                let all = try await list(call, services).filter { domain in
                    filters.allSatisfy { filter in
                        call.queryValue(filter.name).map { domain[filter.name]?.text == $0 } ?? true
                    }
                }
                return .result(.array(all))
            },
            APIOperation(
                "PUT", domains, id: "workers.domains.update", "Gives a host to a Worker", .account(.workers, .edit),
                body: .json(
                    .object([
                        .required("hostname", .string(1...253)), .required("service", .string(1...63)),
                        .optional("zone_id", .nullable(.string())), .optional("zone_name", .nullable(.string())),
                        .optional("environment", .nullable(.string())),
                    ])), result: .json(shown)
            ) { call in
                let (host, service) = (call.json["hostname"]?.text ?? "", call.json["service"]?.text ?? "")
                let domain = try await WorkerOperations.on(services, call) { try await $0.setDomain(host, to: service) }
                return .result(json(domain, tenant: call.tenant ?? ""))
            },
            APIOperation(
                "GET", domains + "/{domain_id}", id: "workers.domains.get", "A custom domain", .account(.workers, .read),
                result: .json(shown)
            ) { call in
                guard
                    let domain = try await list(call, services).first(where: { $0["id"]?.text == call.parameters["domain_id"] })
                else { throw APIError(404, 10013, "Domain not found") }
                return .result(domain)
            },
            APIOperation(
                "DELETE", domains + "/{domain_id}", id: "workers.domains.delete", "Takes a host from its Worker",
                .account(.workers, .edit), result: .json(.any)
            ) { call in
                let id = call.parameters["domain_id"] ?? ""
                try await WorkerOperations.on(services, call) { try await $0.removeDomain(id) }
                return .noResult
            },
        ]
    }

    private static func list(_ call: APICall, _ services: APIServices) async throws -> [JSON] {
        let triggers = try await WorkerOperations.on(services, call) { try await $0.triggers() }
        return triggers.filter { $0.kind == .domain }.map { json($0, tenant: call.tenant ?? "") }
    }

    private static func json(_ domain: ScriptTrigger, tenant: String) -> JSON {
        let zone = ZoneName.of(host: domain.value)
        return .object([
            "id": .string(domain.id), "hostname": .string(domain.value), "service": .string(domain.worker ?? ""),
            "zone_id": .string(Accounts.id(ofZone: zone, of: tenant)), "zone_name": .string(zone), "environment": "production",
            "cert_id": .string(domain.id),
        ])
    }
}

/// What holds for all Workers of an account.
enum WorkerAccountOperations {
    private static let usageModel = "default_usage_model"
    private static let subdomain = "subdomain"

    static func all(_ services: APIServices) -> [APIOperation] {
        let settings = "/accounts/{account_id}/workers/account-settings"
        let path = "/accounts/{account_id}/workers/subdomain"
        let shown = APISchema.object([.required("default_usage_model", .string())])
        let named = APISchema.object([.required("subdomain", .string(1...63))])
        return [
            APIOperation(
                "GET", settings, id: "workers.account_settings.get", "What holds for all Workers", .account(.workers, .read),
                result: .json(shown)
            ) { call in
                let model = try await WorkerOperations.on(services, call) { await $0.accountSetting(usageModel) }
                return .result(.object(["default_usage_model": .string(model ?? "standard"), "green_compute": false]))
            },
            APIOperation(
                "PUT", settings, id: "workers.account_settings.update", "Sets what holds for all Workers",
                .account(.workers, .edit),
                body: .json(.object([.optional("default_usage_model", .nullable(.string(1...64)))])), result: .json(shown)
            ) { call in
                let model = try await WorkerOperations.on(services, call) { runner in
                    if let model = call.json["default_usage_model"]?.text { try await runner.setAccount(usageModel, model) }
                    return await runner.accountSetting(usageModel)
                }
                return .result(.object(["default_usage_model": .string(model ?? "standard"), "green_compute": false]))
            },
            APIOperation(
                "GET", path, id: "workers.subdomains.get", "Under which name Workers have default hosts",
                .account(.workers, .read), result: .json(named)
            ) { call in
                guard let name = try await WorkerOperations.on(services, call, { await $0.accountSetting(subdomain) }) else {
                    throw APIError(404, 10063, "The account has no workers.dev subdomain: Workers answer below its name")
                }
                return .result(.object(["subdomain": .string(name)]))
            },
            APIOperation(
                "PUT", path, id: "workers.subdomains.update", "Names the default hosts of all Workers",
                .account(.workers, .edit), body: .json(named), result: .json(named)
            ) { call in
                let name = (call.json["subdomain"]?.text ?? "").lowercased()
                guard isLabel(name) else {
                    throw APIError(400, 10030, "A subdomain has small letters, digits and -, at most 63 of them")
                }
                for runner in services.accounts.runners where runner.tenant != call.tenant {
                    let taken = await runner.accountSetting(subdomain) ?? runner.tenant
                    if taken == name { throw APIError(409, 10031, "The subdomain \(name) is taken") }
                }
                try await WorkerOperations.on(services, call) { try await $0.setAccount(subdomain, name) }
                return .result(.object(["subdomain": .string(name)]))
            },
        ]
    }

    private static func isLabel(_ name: String) -> Bool {
        !name.isEmpty && !name.hasPrefix("-") && !name.hasSuffix("-")
            && name.utf8.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == UInt8(ascii: "-") }
    }
}
