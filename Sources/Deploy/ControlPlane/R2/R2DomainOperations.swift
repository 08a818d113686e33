internal import Caching
internal import HTTP
internal import Interfaces
internal import Releases
internal import StoresR2

/// Under which host names a bucket is public: the node's own (`pub-….r2.DOMAIN`), and domains of its owner.
enum R2DomainOperations {
    private static let managed = APISchema.object([
        .required("bucketId", .string()), .required("domain", .string()), .required("enabled", .bool),
    ])
    private static let status = APISchema.object([.required("ownership", .string()), .required("ssl", .string())])
    private static let custom = APISchema.object([
        .required("domain", .string()), .required("enabled", .bool), .required("status", status),
        .required("minTLS", .string()), .required("zoneId", .string()), .required("zoneName", .string()),
        .optional("ciphers", .array(.string())),
    ])
    /// What a change answers: what was set, without what follows from it.
    private static let changed = APISchema.object([
        .required("domain", .string()), .required("enabled", .bool), .required("minTLS", .string()),
        .optional("ciphers", .array(.string())),
    ])
    private static let versions = ["1.0", "1.1", "1.2", "1.3"]
    private static let settings: [APISchema.Field] = [
        .optional("minTLS", .nullable(.choice(versions))), .optional("ciphers", .nullable(.array(.string(1...64)))),
    ]
    private static let domains = R2Operations.bucket + "/domains"

    static func all(_ services: APIServices) -> [APIOperation] { ofTheNode(services) + ofOwners(services) }

    private static func ofTheNode(_ services: APIServices) -> [APIOperation] {
        [
            APIOperation(
                "GET", domains + "/managed", id: "r2.buckets.domains.managed.list",
                "Whether the bucket is public under a name of the node's", .account(.r2, .read), result: .json(managed),
                mistakes: R2Operations.code
            ) { call in
                let (subject, runner) = (try R2Operations.subject(services, call), try services.accounts.runner(call))
                let label = runner.publicLabel(of: subject.name)
                let all = try await R2Operations.perform { () throws(R2Failure) in try subject.store.domains(of: subject.name) }
                return .result(json(runner, subject.name, isEnabled: all.first { $0.name == label }?.isEnabled ?? false))
            },
            APIOperation(
                "PUT", domains + "/managed", id: "r2.buckets.domains.managed.update",
                "Makes the bucket public under a name of the node's, or ends that", .account(.r2, .edit),
                body: .json(.object([.required("enabled", .bool)])), result: .json(managed), mistakes: R2Operations.code
            ) { call in
                let subject = try R2Operations.subject(services, call)
                let isEnabled = call.json["enabled"] == true
                let runner = try services.accounts.runner(call)
                _ = try await on { try await runner.setBucketDomain(nil, of: subject.name) { $0.isEnabled = isEnabled } }
                return .result(json(runner, subject.name, isEnabled: isEnabled))
            },
        ]
    }

    private static func ofOwners(_ services: APIServices) -> [APIOperation] {
        let one = domains + "/custom/{domain}"
        return [
            APIOperation(
                "GET", domains + "/custom", id: "r2.buckets.domains.custom.list", "The domains that the bucket is public under",
                .account(.r2, .read), result: .json(.object([.required("domains", .array(custom))])),
                mistakes: R2Operations.code
            ) { call in
                let all = try await list(services, call)
                return .result(.object(["domains": .array(all.map { json($0, call) })]))
            },
            APIOperation(
                "POST", domains + "/custom", id: "r2.buckets.domains.custom.create", "Makes the bucket public under a domain",
                .account(.r2, .edit),
                body: .json(
                    .object(
                        [
                            .required("domain", .string(1...253)), .optional("enabled", .nullable(.bool)),
                            .optional("zoneId", .nullable(.string())),
                        ] + settings)), result: .json(changed), mistakes: R2Operations.code
            ) { call in
                let subject = try R2Operations.subject(services, call)
                return .result(try await set(call.json["domain"]?.text ?? "", of: subject.name, services, call, isNew: true))
            },
            APIOperation(
                "GET", one, id: "r2.buckets.domains.custom.get", "A domain of the bucket", .account(.r2, .read),
                result: .json(custom), mistakes: R2Operations.code
            ) { call in .result(json(try await find(services, call), call)) },
            APIOperation(
                "PUT", one, id: "r2.buckets.domains.custom.update", "Changes a domain of the bucket", .account(.r2, .edit),
                body: .json(
                    .object([.optional("domain", .nullable(.string())), .optional("enabled", .nullable(.bool))] + settings)),
                result: .json(changed), mistakes: R2Operations.code
            ) { call in
                let known = try await find(services, call)
                return .result(try await set(known.name, of: known.bucket, services, call, isNew: false))
            },
            APIOperation(
                "DELETE", one, id: "r2.buckets.domains.custom.delete", "Takes a domain from the bucket", .account(.r2, .edit),
                result: .json(.object([.required("domain", .string())])), mistakes: R2Operations.code
            ) { call in
                let known = try await find(services, call)
                let runner = try services.accounts.runner(call)
                try await on { try await runner.removeBucketDomain(known.name, of: known.bucket) }
                return .result(.object(["domain": .string(known.name)]))
            },
        ]
    }

    // MARK: Finding and setting

    private static func list(_ services: APIServices, _ call: APICall) async throws -> [R2BucketDomain] {
        let subject = try R2Operations.subject(services, call)
        return try await R2Operations.perform { () throws(R2Failure) in
            try subject.store.domains(of: subject.name)
        }.filter { !$0.isManaged }
    }

    private static func find(_ services: APIServices, _ call: APICall) async throws -> R2BucketDomain {
        let wanted = (call.parameters["domain"] ?? "").lowercased()
        guard let found = try await list(services, call).first(where: { $0.name == wanted }) else {
            throw failure(.domain(.unknown(wanted)))
        }
        return found
    }

    private static func set(
        _ name: String, of bucket: String, _ services: APIServices, _ call: APICall, isNew: Bool
    ) async throws -> JSON {
        let (enabled, minimum) = (call.json["enabled"], call.json["minTLS"]?.text)
        let ciphers = call.json["ciphers"]?.items?.compactMap(\.text)
        let runner = try services.accounts.runner(call)
        let domain = try await on {
            try await runner.setBucketDomain(name, of: bucket) { domain in
                if enabled == true || enabled == false {
                    domain.isEnabled = enabled == true
                } else if isNew {
                    domain.isEnabled = true
                }
                if let minimum { domain.minimumTLS = minimum }
                if let ciphers { domain.ciphers = ciphers }
            }
        }
        return .object([
            "domain": .string(domain.name), "enabled": domain.isEnabled ? true : false,
            "minTLS": .string(domain.minimumTLS ?? "1.0"), "ciphers": names(domain.ciphers),
        ])
    }

    /// Runs `work`, and gives what it throws the numbers that clients know.
    private static func on<Value>(_ work: () async throws -> Value) async throws -> Value {
        do {
            return try await work()
        } catch let error as R2Failure {
            throw failure(error)
        } catch let error as RoutingConflict {
            throw APIError(409, R2ErrorCode.bucketConflict.rawValue, "\(error)")
        } catch let error as RoutePatternError {
            throw APIError(400, R2ErrorCode.invalidArgument.rawValue, "\(error)")
        }
    }

    private static func failure(_ failure: R2Failure) -> APIError {
        switch failure {
        case .domain(.taken): APIError(409, R2ErrorCode.bucketConflict.rawValue, failure.message)
        case .domain(.unknown): APIError(404, R2ErrorCode.noSuchKey.rawValue, failure.message)
        default: R2Operations.failure(failure)
        }
    }

    // MARK: Forms

    private static func json(_ runner: ReleaseRunner, _ bucket: String, isEnabled: Bool) -> JSON {
        .object([
            "bucketId": .string(runner.publicID(of: bucket)), "domain": .string(runner.publicHost(of: bucket)),
            "enabled": isEnabled ? true : false,
        ])
    }

    private static func json(_ domain: R2BucketDomain, _ call: APICall) -> JSON {
        let zone = ZoneName.of(host: domain.name)
        // Nothing has to be verified elsewhere: who may write here owns the name here, and certificates are the node's.
        let state: JSON = domain.isEnabled ? "active" : "deactivated"
        return .object([
            "domain": .string(domain.name), "enabled": domain.isEnabled ? true : false,
            "status": .object(["ownership": state, "ssl": state]), "minTLS": .string(domain.minimumTLS ?? "1.0"),
            "ciphers": names(domain.ciphers), "zoneName": .string(zone),
            "zoneId": .string(Accounts.id(ofZone: zone, of: call.tenant ?? "")),
        ])
    }

    private static func names(_ ciphers: [String]) -> JSON? { ciphers.isEmpty ? nil : .array(ciphers.map { .string($0) }) }
}
