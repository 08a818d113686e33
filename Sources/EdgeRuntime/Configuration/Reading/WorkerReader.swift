internal import HTTP

/// What reading a worker needs to know of its environment.
struct WorkerContext {
    let kind: EnvironmentKind
    /// `nil` when the environment has none, which is reported where it's read.
    let domain: String?
    let compatibilityDate: CivilDate
    let today: CivilDate?
    /// Whether only a part of the layers is there, read for the mistakes in it alone.
    var isPartial = false
    /// Whether a value at a place was set for this environment, rather than by the shape or built in.
    let isEnvironmentValue: (SourcePlace) -> Bool
    let collector: DiagnosticCollector
    let uses: PlaceholderUses
    let derived: DerivedSettings

    /// Records a value that no layer holds as it is.
    func derive(_ path: String, _ text: String, note: String?) {
        if !isPartial { derived.set(path, text, note: note) }
    }
}

/// Where `{domain}` was met first.
final class PlaceholderUses {
    var first: Located<String>?
}

/// Values that no layer holds as they are: computed from others, or taken from a table of limits.
final class DerivedSettings {
    struct Value {
        let text: String
        let note: String?
    }
    private(set) var values: [(path: String, value: Value)] = []

    func set(_ path: String, _ text: String, note: String? = nil) {
        values.append((path, Value(text: text, note: note)))
    }
}

/// Reads the merged table of one worker.
struct WorkerReader {
    let context: WorkerContext
    let name: String
    private let path: String

    /// The entries of a worker's table that only `wrangler-like.toml` may have.
    static let shapeKeys = [
        "product", "routes", "kv", "d1", "r2", "queues", "services", "ratelimits", "analytics", "vectorize",
        "durable_objects", "workflows", "ai", "email", "version_metadata", "assets", "crons", "secrets",
        "smoke",
        "migrations", "workers_dev", "tail", "compatibility_date", "compatibility_flags",
    ]
    /// Those that an environment may have.
    static let environmentKeys = [
        "enabled", "vars", "domains", "origin", "isolates", "limits", "cache", "observability", "ratelimits",
        "queues",
        "outbound",
    ]
    /// Those that may stand in `[defaults]`.
    static let defaultKeys = ["limits", "isolates", "observability", "cache", "outbound"]

    init(_ context: WorkerContext, name: String, path: String) {
        self.context = context
        self.name = name
        self.path = path
    }

    private var collector: DiagnosticCollector { context.collector }

    func read(_ table: DocumentTable, at place: SourcePlace) -> WorkerConfiguration {
        var reader = TableReader(table, path: path, at: place, collector)
        let product = reader.name("product")
        // Files need no code.
        if product == nil, table["product"] == nil, !context.isPartial, !isAssetsAlone(table) {
            reader.missing(
                "product", "name the SwiftPM executable, such as product = \"\(Self.exampleProduct(name))\"")
        }
        var bindings = BindingReader(context)
        bindings.read(&reader, table)
        let (routes, domains, hasDefaultHost) = readRoutes(&reader)
        let variables = readVariables(&reader)
        let secrets = readSecrets(&reader)
        let limits = readLimits(&reader)
        let worker = WorkerConfiguration(
            name: name, product: product?.value ?? "", isEnabled: reader.boolean("enabled")?.value ?? true,
            compatibilityDate: readCompatibilityDate(&reader),
            compatibilityFlags: reader.strings("compatibility_flags")?.map(\.value) ?? [],
            routes: routes, customDomains: domains, hasDefaultHost: hasDefaultHost,
            origin: readOrigin(&reader),
            bindings: bindings.bindings, consumers: bindings.consumers, crons: readCrons(&reader),
            keepsDeployedCrons: false, variables: variables, secrets: secrets, limits: limits,
            isolates: readIsolates(&reader),
            cache: readCache(&reader), observability: readObservability(&reader), smoke: readSmoke(&reader),
            migrations: readMigrations(&reader), assets: bindings.assets, outbound: readOutbound(&reader),
            tailConsumers: reader.strings("tail")?.map(\.value) ?? [], build: nil, place: place)
        reader.finish { key in
            key == "kv_namespaces" || key == "d1_databases" || key == "r2_buckets"
                ? "this format writes \(key.prefix { $0 != "_" }) = [{ binding = …, resource = … }]" : nil
        }
        checkNames(worker)
        return worker
    }

    /// Whether a worker has assets and nothing that its code would have to use.
    private func isAssetsAlone(_ table: DocumentTable) -> Bool {
        let coded = [
            "kv", "d1", "r2", "queues", "services", "ratelimits", "analytics", "vectorize", "durable_objects", "workflows",
            "ai", "email", "version_metadata", "crons", "secrets", "vars", "tail",
        ]
        return table["assets"] != nil && !coded.contains { table[$0] != nil }
    }

    private static func exampleProduct(_ name: String) -> String {
        name.split { $0 == "-" || $0 == "_" }.map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
    }

    // MARK: Hosts

    private func readRoutes(
        _ reader: inout TableReader
    ) -> (routes: [WorkerRoute], domains: [WorkerDomain], hasDefaultHost: Bool) {
        var routes: [WorkerRoute] = []
        var domains: [WorkerDomain] = []
        let list = reader.value("routes")
        if let list, list.array == nil {
            reader.report(.wrongType, list.location, "routes", "expected an array, got \(list.described)")
        }
        for (index, element) in (list?.array ?? []).enumerated() {
            let key = "routes[\(index)]"
            if let text = element.string {
                if let route = route(Located(text, at: element.location), key) { routes.append(route) }
            } else if let table = element.table {
                var entry = TableReader(table, path: "\(path).\(key)", at: element.location, collector)
                let host = entry.name("host")
                let pattern = entry.name("pattern")
                switch (host, pattern) {
                case (let host?, nil): if let domain = domain(host, "\(key).host") { domains.append(domain) }
                case (nil, let pattern?):
                    if let route = route(pattern, "\(key).pattern") { routes.append(route) }
                case (let host?, .some):
                    entry.report(
                        .invalidValue, host.place, "host", "a route is either a host or a pattern, not both")
                case (nil, nil):
                    if table["host"] == nil, table["pattern"] == nil {
                        entry.missing(
                            "host", "a table in routes is a custom domain: { host = \"api.{domain}\" }")
                    }
                }
                entry.finish()
            } else {
                collector.error(
                    .wrongType, at: element.location, path: "\(path).\(key)",
                    "expected a pattern or { host = … }, got \(element.described)")
            }
        }
        for (index, host) in (reader.strings("domains") ?? []).enumerated() {
            if let domain = domain(host, "domains[\(index)]") { domains.append(domain) }
        }
        let isDefault = reader.boolean("workers_dev")
        if let isDefault, isDefault.value, !context.isPartial,
            let domain = domain(Located("\(name).{domain}", at: isDefault.place), "workers_dev")
        {
            domains.append(domain)
        }
        return (routes, domains, isDefault?.value ?? false)
    }

    private func route(_ text: Located<String>, _ key: String) -> WorkerRoute? {
        guard let expanded = expand(text, key) else { return nil }
        do {
            return WorkerRoute(pattern: try RoutePattern(expanded, for: name), place: text.place)
        } catch {
            collector.error(.route, at: text.place, path: "\(path).\(key)", error.description, fix: error.fix)
            return nil
        }
    }

    private func domain(_ text: Located<String>, _ key: String) -> WorkerDomain? {
        guard let expanded = expand(text, key) else { return nil }
        do {
            return WorkerDomain(domain: try CustomDomain(expanded, for: name), place: text.place)
        } catch {
            collector.error(.route, at: text.place, path: "\(path).\(key)", error.description, fix: error.fix)
            return nil
        }
    }

    /// Replaces `{domain}`. `nil` when that can't be done now; the reason is reported where it belongs.
    private func expand(_ text: Located<String>, _ key: String) -> String? {
        var result = ""
        var rest = text.value[...]
        while let open = rest.firstIndex(of: "{") {
            guard let close = rest[open...].firstIndex(of: "}") else { break }
            let placeholder = rest[rest.index(after: open)..<close]
            guard placeholder == "domain" else {
                collector.error(
                    .unknownName, at: text.place, path: "\(path).\(key)",
                    "unknown placeholder \"{\(placeholder)}\"",
                    fix: "the only placeholder is {domain}")
                return nil
            }
            if context.uses.first == nil { context.uses.first = text }
            guard let domain = context.domain else { return nil }
            result += rest[..<open] + domain
            rest = rest[rest.index(after: close)...]
        }
        return context.isPartial ? nil : result + rest
    }

    private func readOrigin(_ reader: inout TableReader) -> String? {
        guard let origin = reader.string("origin") else { return nil }
        guard origin.value.hasPrefix("http://") || origin.value.hasPrefix("https://"), origin.value.count > 8
        else {
            reader.report(
                .invalidValue, origin.place, "origin", "expected a URL, got \(JSONText.quoted(origin.value))",
                fix: "origin = \"http://127.0.0.1:3000\"")
            return nil
        }
        return origin.value
    }

    // MARK: Variables and secrets

    private func readVariables(_ reader: inout TableReader) -> [Variable] {
        guard let vars = reader.table("vars") else { return [] }
        return VariableReader(collector: collector, workerKeys: Self.shapeKeys + Self.environmentKeys).read(
            vars)
    }

    private func readSecrets(_ reader: inout TableReader) -> [SecretName] {
        var secrets: [SecretName] = []
        for (index, secret) in (reader.strings("secrets") ?? []).enumerated() {
            guard BindingReader.isName(secret.value) else {
                reader.report(
                    .invalidValue, secret.place, "secrets", element: index,
                    "\(JSONText.quoted(secret.value)) is no name for a secret",
                    fix: "a name has letters, digits and \"_\", and begins with no digit")
                continue
            }
            secrets.append(SecretName(name: secret.value, place: secret.place))
        }
        return secrets
    }

    /// Bindings, variables and secrets share one name space: a handler reaches them through one `env`.
    private func checkNames(_ worker: WorkerConfiguration) {
        let named =
            worker.bindings.map { ($0.name, $0.kindName, $0.place) }
            + worker.variables.map { ($0.name, "variable", $0.place) }
            + worker.secrets.map { ($0.name, "secret", $0.place) }
        BindingReader.checkUnique(named, worker: name, path: path, collector)
        let countMax = worker.limits.profile.table.variableCountMax
        if worker.variables.count + worker.secrets.count > countMax {
            collector.error(
                .outOfRange, at: worker.variables.first?.place ?? worker.place, path: "\(path).vars",
                "worker \"\(name)\" has \(worker.variables.count + worker.secrets.count) variables and secrets; \(worker.limits.profile.rawValue) allows \(countMax)"
            )
        }
    }

    // MARK: Values

    private func readCompatibilityDate(_ reader: inout TableReader) -> CivilDate {
        guard let value = reader.value("compatibility_date") else { return context.compatibilityDate }
        return CompatibilityDate.read(
            value, path: reader.path("compatibility_date"), today: context.today, collector)
            ?? context.compatibilityDate
    }

    private func readCrons(_ reader: inout TableReader) -> [CronExpression] {
        var crons: [CronExpression] = []
        for (index, text) in (reader.strings("crons") ?? []).enumerated() {
            do {
                let cron = try CronExpression(text.value)
                if crons.contains(cron) {
                    reader.report(
                        .duplicateName, text.place, "crons", element: index,
                        "cron expression \"\(text.value)\" is there twice")
                }
                crons.append(cron)
            } catch {
                reader.report(.invalidValue, text.place, "crons", element: index, error.description)
            }
        }
        return crons
    }

    private func readLimits(_ reader: inout TableReader) -> WorkerLimits {
        var limits = reader.table("limits")
        let profile = limits?.choice("profile", LimitProfile.self)?.value ?? .paid
        let table = profile.table
        let cpu = limits?.duration("cpu", in: .milliseconds(1)...table.cpu.most)
        var result = WorkerLimits(
            profile: profile, cpu: cpu?.value ?? table.cpu.standard,
            wall: limits?.duration("wall", in: .milliseconds(1)...table.wall.most)?.value
                ?? table.wall.standard,
            memoryByteCount: limits?.size("memory", in: 16 << 20...table.memoryByteCount.most)?.value
                ?? table.memoryByteCount.standard,
            subrequests: limits?.integer("subrequests", in: 0...table.subrequests.most)?.value
                ?? table.subrequests.standard,
            bodyByteCount: limits?.size("body", in: 0...table.bodyByteCount.most)?.value
                ?? table.bodyByteCount.standard)
        if context.kind == .dev, !(cpu.map { context.isEnvironmentValue($0.place) } ?? false) {
            // Debug builds compute several times slower; the cap stays what the table says.
            result.cpu = min(result.cpu * 4, PlatformLimits.custom.cpu.most)
            context.derive(
                "\(path).limits.cpu", JSONText.quoted(DurationText.text(result.cpu)), note: "×4 in dev")
        }
        let written = limits?.table
        func derive(_ key: String, _ text: String) {
            if written?[key] == nil { context.derive("\(path).limits.\(key)", text, note: profile.rawValue) }
        }
        if context.kind != .dev { derive("cpu", JSONText.quoted(DurationText.text(result.cpu))) }
        derive("wall", JSONText.quoted(DurationText.text(result.wall)))
        derive("memory", JSONText.quoted(SizeText.text(result.memoryByteCount)))
        derive("subrequests", String(result.subrequests))
        derive("body", JSONText.quoted(SizeText.text(result.bodyByteCount)))
        limits?.finish()
        return result
    }

    private func readIsolates(_ reader: inout TableReader) -> IsolateSettings {
        var isolates = reader.table("isolates")
        let minimum = isolates?.integer("min", in: 0...256)
        let maximum = isolates?.integer("max", in: 1...256)
        let settings = IsolateSettings(
            countMin: minimum?.value ?? 0, countMax: maximum?.value ?? max(1, minimum?.value ?? 1),
            concurrency: isolates?.integer("concurrency", in: 1...1024)?.value ?? 64,
            idleTimeout: isolates?.duration("idle_timeout", in: .seconds(1) ... .seconds(86_400))?.value
                ?? .seconds(300))
        if let minimum, let maximum, minimum.value > maximum.value, !context.isPartial {
            isolates?.report(
                .outOfRange, minimum.place, "min", "min \(minimum.value) is above max \(maximum.value)",
                related: [.init(maximum.place, "max is set here")])
        }
        isolates?.finish()
        return settings
    }

    private func readCacheRules(_ cache: inout TableReader?) -> [CacheSettings.Rule] {
        (cache?.tables("rules") ?? []).compactMap { table in
            var table = table
            defer { table.finish() }
            let path = table.string("path")
            let rule = CacheSettings.Rule(
                path: path?.value ?? "",
                timeToLive: table.duration("ttl", in: .zero ... .seconds(365 * 86_400))?.value,
                bypasses: table.boolean("bypass")?.value ?? false)
            guard let path else {
                table.missing("path", "a path such as \"/api/*\"")
                return nil
            }
            guard path.value.hasPrefix("/"), !path.value.dropLast().contains("*") else {
                table.report(
                    .invalidValue, path.place, "path",
                    "a path starts with a slash and may have a * at its end, got \"\(path.value)\"")
                return nil
            }
            return rule
        }
    }

    private func readCache(_ reader: inout TableReader) -> CacheSettings {
        var cache = reader.table("cache")
        let settings = CacheSettings(
            isEnabled: cache?.boolean("enabled")?.value ?? false,
            timeToLive: cache?.duration("ttl", in: .zero ... .seconds(365 * 86_400))?.value ?? .zero,
            isSharedByVersions: cache?.boolean("cross_version")?.value ?? false, rules: readCacheRules(&cache))
        cache?.finish()
        return settings
    }

    private func readObservability(_ reader: inout TableReader) -> ObservabilitySettings {
        var table = reader.table("observability")
        let settings = ObservabilitySettings(
            sampling: table?.number("sampling", in: 0...1)?.value ?? 1,
            logs: table?.boolean("logs")?.value ?? true,
            traces: table?.boolean("traces")?.value ?? false)
        table?.finish()
        return settings
    }

    private func readOutbound(_ reader: inout TableReader) -> OutboundSettings {
        var table = reader.table("outbound")
        var rules: [OutboundRule] = []
        for (index, text) in (table?.strings("allow") ?? []).enumerated() {
            guard let rule = OutboundRule(text.value) else {
                table?.report(
                    .invalidValue, text.place, "allow", element: index,
                    "\(JSONText.quoted(text.value)) names no host",
                    fix: "api.example.com, *.example.com, example.com:8443, or * for all")
                continue
            }
            rules.append(rule)
        }
        let settings = OutboundSettings(
            allow: rules, isPrivateAllowed: table?.boolean("private")?.value ?? false)
        table?.finish()
        return settings
    }

    private func readSmoke(_ reader: inout TableReader) -> [SmokeTest] {
        (reader.tables("smoke") ?? []).compactMap { entry in
            var entry = entry
            let methods = ["get", "head", "post", "put", "patch", "delete", "options"]
            let given = methods.compactMap { method in entry.string(method).map { (method: method, path: $0) }
            }
            let headers = readHeaders("headers", &entry)
            var test = SmokeTest(
                method: given.first?.method.uppercased() ?? "GET", path: given.first?.path.value ?? "/",
                headers: headers,
                body: entry.string("body")?.value,
                status: entry.integer("status", in: 100...599)?.value ?? 200,
                deadline: entry.duration("within", in: .milliseconds(1) ... .seconds(120))?.value
                    ?? .seconds(5),
                contains: entry.string("contains")?.value)
            test.responseHeaders = readHeaders("response_headers", &entry)
            test.json = readExpectedJSON(&entry)
            entry.finish()
            guard given.count == 1 else {
                if given.isEmpty { entry.missing("get", "a smoke test names its request: get = \"/path\"") }
                if given.count > 1 {
                    entry.report(
                        .invalidValue, given[1].path.place, given[1].method, "a smoke test makes one request")
                }
                return nil
            }
            guard given[0].path.value.hasPrefix("/") else {
                entry.report(
                    .invalidValue, given[0].path.place, given[0].method,
                    "expected a path that begins with \"/\"")
                return nil
            }
            guard given[0].path.value.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "#") }) else {
                entry.report(
                    .invalidValue, given[0].path.place, given[0].method,
                    "expected a path as a client sends it: no spaces, no \"#\", percent-encoded where it isn't ASCII")
                return nil
            }
            return test
        }
    }

    /// Names and values as they may stand in a message.
    private func readHeaders(_ key: String, _ entry: inout TableReader) -> [String: String] {
        guard var table = entry.table(key) else { return [:] }
        var headers: [String: String] = [:]
        for name in table.table.keys {
            guard let value = table.string(name) else { continue }
            guard unsafe HeaderRules.isValidName(Array(name.utf8).span.bytes),
                unsafe HeaderRules.isValidValue(Array(value.value.utf8).span.bytes)
            else {
                table.report(.invalidValue, value.place, name, "\(JSONText.quoted(name)) can't be sent as a header like this")
                continue
            }
            headers[name] = value.value
        }
        return headers
    }

    private func readExpectedJSON(_ entry: inout TableReader) -> [String: String] {
        guard var table = entry.table("json") else { return [:] }
        var expected: [String: String] = [:]
        for pointer in table.table.keys {
            guard let value = table.value(pointer) else { continue }
            guard pointer.isEmpty || pointer.hasPrefix("/") else {
                table.report(
                    .invalidValue, value.location, pointer,
                    "expected a JSON pointer, which begins with \"/\", got \(JSONText.quoted(pointer))",
                    fix: JSONText.quoted("/" + pointer))
                continue
            }
            guard let json = value.json else {
                table.report(.invalidValue, value.location, pointer, "JSON has no dates and no infinite numbers")
                continue
            }
            expected[pointer] = json
        }
        return expected
    }

    private func readMigrations(_ reader: inout TableReader) -> [ClassMigration] {
        var history = ClassMigrationReader.History()
        return (reader.tables("migrations", identity: "tag") ?? []).compactMap { entry in
            ClassMigrationReader.read(entry, after: &history, collector)
        }
    }
}
