internal import HTTP
internal import OpenSSL
internal import Releases
internal import System

/// Workers, versions and deployments as the API shows them. Texts of secrets are nowhere near.
enum ScriptJSON {
    static func time(_ time: UnixTime) -> JSON { .string(HTTPDate(unixSeconds: time.seconds).iso8601) }

    /// Of the worker: the same for all its versions.
    static func tag(_ script: ScriptRecord, tenant: String) -> String {
        let text = "edge-script\u{0}\(tenant)\u{0}\(script.worker)\u{0}\(script.createdAt.milliseconds)"
        return TokenStore.hex(Array(Digest.hash(text, with: .sha256).prefix(16)))
    }

    static func setting(_ text: String, _ name: String) -> JSON? { JSON(Array(text.utf8))?[name] }

    /// The settings of a worker or a version, with the defaults of those that it hasn't.
    private static func setting(_ text: String, _ name: String, or value: JSON) -> JSON { setting(text, name) ?? value }

    private static let noObservability = JSON.object([JSON.Member(name: "enabled", value: false)])

    // MARK: Bindings

    /// Names and types of all.
    static func bindingTypes(_ snapshot: VersionSnapshot) -> [(name: String, type: String)] {
        snapshot.bindings.map { ($0.name, type($0.target)) }
            + snapshot.variables.map { ($0.name, $0.isJSON ? "json" : "plain_text") }
            + snapshot.secrets.map { ($0.name, "secret_text") }
    }

    private static func type(_ target: WorkerDescription.Binding) -> String {
        switch target {
        case .kv, .kvNamespace: "kv_namespace"
        case .d1: "d1"
        case .r2: "r2_bucket"
        case .queue: "queue"
        case .service, .entrypoint: "service"
        case .assets: "assets"
        case .rateLimit: "ratelimit"
        case .versionMetadata: "version_metadata"
        case .analytics: "analytics_engine"
        case .object: "durable_object_namespace"
        }
    }

    /// - Parameter namespaces: ids of KV namespaces by their titles.
    static func bindings(_ snapshot: VersionSnapshot, _ namespaces: [String: String]) -> JSON {
        var bindings: [JSON] = snapshot.bindings.map { binding -> JSON in
            if let upload = binding.upload, let json = JSON(Array(upload.utf8)) { return json }
            let common = [
                JSON.Member(name: "name", value: .string(binding.name)),
                JSON.Member(name: "type", value: .string(type(binding.target))),
            ]
            return .object(common + members(binding.target, namespaces))
        }
        for variable in snapshot.variables {
            let value = variable.isJSON ? JSON(Array(variable.value.utf8)) : .string(variable.value)
            bindings.append(
                .object([
                    JSON.Member(name: "name", value: .string(variable.name)),
                    JSON.Member(name: "type", value: variable.isJSON ? "json" : "plain_text"),
                    JSON.Member(name: variable.isJSON ? "json" : "text", value: value ?? .null),
                ]))
        }
        bindings += snapshot.secrets.map { secret($0.name) }
        return .array(bindings)
    }

    static func secret(_ name: String) -> JSON { .object(["name": .string(name), "type": "secret_text"]) }

    /// What the configuration bound.
    private static func members(_ target: WorkerDescription.Binding, _ namespaces: [String: String]) -> [JSON.Member] {
        func member(_ name: String, _ value: String) -> JSON.Member { .init(name: name, value: .string(value)) }
        switch target {
        case .kv(let title): return [member("namespace_id", namespaces[title] ?? title)]
        case .kvNamespace(let id): return [member("namespace_id", id)]
        case .d1(let database): return [member("id", database), member("database_id", database)]
        case .r2(let bucket): return [member("bucket_name", bucket)]
        case .queue(let queue, let delay):
            let name = member("queue_name", queue)
            guard let delay else { return [name] }
            return [name, JSON.Member(name: "delivery_delay", value: .integer(delay))]
        case .service(let worker): return [member("service", worker), member("environment", "production")]
        case .entrypoint(let worker, let name, _):
            return [member("service", worker), member("environment", "production")]
                + (name.isEmpty ? [] : [member("entrypoint", name)])
        case .rateLimit(let limit):
            let simple = JSON.object(["limit": .integer(Int64(limit.limit)), "period": .integer(Int64(limit.periodSeconds))])
            return [member("namespace_id", limit.namespace), JSON.Member(name: "simple", value: simple)]
        case .analytics(let dataset): return [member("dataset", dataset)]
        case .object(let name, let owner):
            return [member("class_name", name)] + (owner.map { [member("script_name", $0)] } ?? [])
        case .assets, .versionMetadata: return []
        }
    }

    // MARK: Workers

    static func script(_ state: ScriptState, tenant: String) -> JSON {
        let (script, version) = (state.script, state.live?.primary ?? state.version)
        var deployment = JSON.null
        if let live = state.live { deployment = .string(live.deployment.id) }
        return .object([
            "id": .string(script.worker), "tag": .string(tag(script, tenant: tenant)),
            "tags": setting(script.settings, "tags", or: .array([])),
            "etag": .string(version.artifact), "deployment_id": deployment,
            "handlers": .strings(version.handlers), "named_handlers": .array([]), "has_modules": true, "has_assets": false,
            "compatibility_date": .string(version.snapshot.compatibilityDate),
            "compatibility_flags": .strings(version.snapshot.compatibilityFlags),
            "usage_model": setting(version.snapshot.settings, "usage_model", or: "standard"),
            "placement": setting(version.snapshot.settings, "placement", or: JSON.object([JSON.Member]())),
            "logpush": setting(script.settings, "logpush", or: false),
            "tail_consumers": setting(script.settings, "tail_consumers", or: .array([])),
            "observability": setting(script.settings, "observability", or: noObservability),
            "migration_tag": state.migrationTag.map { .string($0) } ?? .null,
            "entry_point": .string(version.snapshot.mainModule),
            "startup_time_ms": .integer(version.startupMilliseconds), "last_deployed_from": .string(version.author.source),
            "created_on": time(script.createdAt), "modified_on": time(script.modifiedAt),
        ])
    }

    static let scriptSchema = APISchema.object([
        .required("id", .string()), .required("etag", .string()), .required("handlers", .array(.string())),
        .required("startup_time_ms", .integer()), .required("created_on", .string()), .required("modified_on", .string()),
    ])

    static func settings(_ state: ScriptState, _ namespaces: [String: String]) -> JSON {
        let version = state.version
        return .object([
            "bindings": bindings(version.snapshot, namespaces),
            "compatibility_date": .string(version.snapshot.compatibilityDate),
            "compatibility_flags": .strings(version.snapshot.compatibilityFlags),
            "usage_model": setting(version.snapshot.settings, "usage_model", or: "standard"),
            "placement": setting(version.snapshot.settings, "placement", or: JSON.object([JSON.Member]())),
            "limits": setting(version.snapshot.settings, "limits", or: JSON.object([JSON.Member]())),
            "annotations": annotations(version.annotations),
            "migration_tag": state.migrationTag.map { .string($0) } ?? .null,
            "tags": setting(state.script.settings, "tags", or: .array([])),
            "logpush": setting(state.script.settings, "logpush", or: false),
            "tail_consumers": setting(state.script.settings, "tail_consumers", or: .array([])),
            "observability": setting(state.script.settings, "observability", or: noObservability),
        ])
    }

    static let settingsSchema = APISchema.object([
        .required("bindings", .array(.any)), .required("compatibility_flags", .array(.string())),
        .required("usage_model", .string()),
    ])

    /// What holds for all versions.
    static func scriptSettings(_ script: ScriptRecord) -> JSON {
        .object([
            "tags": setting(script.settings, "tags", or: .array([])), "logpush": setting(script.settings, "logpush", or: false),
            "tail_consumers": setting(script.settings, "tail_consumers", or: .array([])),
            "observability": setting(script.settings, "observability", or: noObservability),
        ])
    }

    static let scriptSettingsSchema = APISchema.object([
        .required("tags", .nullable(.array(.string()))), .required("logpush", .nullable(.bool)),
        .required("tail_consumers", .nullable(.array(.any))),
    ])

    // MARK: Versions

    static func version(_ version: ScriptVersion, _ script: ScriptRecord, _ namespaces: [String: String]) -> JSON {
        .object([
            "id": .string(version.id), "number": .integer(version.number),
            "metadata": .object([
                "created_on": time(version.createdAt), "modified_on": time(version.createdAt),
                "source": .string(version.author.source), "author_id": .string(version.author.id),
                "author_email": .string(version.author.email), "hasPreview": false,
            ]),
            "annotations": annotations(version.annotations),
            "resources": .object([
                "bindings": bindings(version.snapshot, namespaces),
                "script": .object([
                    "etag": .string(version.artifact), "handlers": .strings(version.handlers), "named_handlers": .array([]),
                    "last_deployed_from": .string(version.author.source),
                ]),
                "script_runtime": .object([
                    "compatibility_date": .string(version.snapshot.compatibilityDate),
                    "compatibility_flags": .strings(version.snapshot.compatibilityFlags),
                    "usage_model": setting(version.snapshot.settings, "usage_model", or: "standard"),
                    "limits": setting(version.snapshot.settings, "limits", or: JSON.object([JSON.Member]())),
                    "migration_tag": version.snapshot.migrationTag.map { .string($0) } ?? .null,
                ]),
            ]),
            "startup_time_ms": .integer(version.startupMilliseconds),
        ])
    }

    static let versionSchema = APISchema.object([
        .required("id", .string()), .required("number", .integer()), .required("metadata", .any),
        .required("annotations", .any),
        .required("resources", .any), .required("startup_time_ms", .integer()),
    ])

    static func annotations(_ annotations: [String: String]) -> JSON {
        .object(annotations.sorted { $0.key < $1.key }.map { JSON.Member(name: $0.key, value: .string($0.value)) })
    }

    static func deployment(_ deployment: ScriptDeployment) -> JSON {
        .object([
            "id": .string(deployment.id), "created_on": time(deployment.createdAt), "source": .string(deployment.author.source),
            "strategy": "percentage", "author_email": .string(deployment.author.email),
            "annotations": annotations(deployment.annotations),
            "versions": .array(
                deployment.shares.map { share in
                    .object(["version_id": .string(share.versionID), "percentage": percentage(share.basisPoints)])
                }),
        ])
    }

    static let deploymentSchema = APISchema.object([
        .required("id", .string()), .required("created_on", .string()), .required("source", .string()),
        .required("strategy", .choice(["percentage"])), .required("versions", .array(.any)),
    ])

    private static func percentage(_ basisPoints: Int) -> JSON {
        basisPoints % 100 == 0 ? .integer(Int64(basisPoints / 100)) : .number(Double(basisPoints) / 100)
    }
}
