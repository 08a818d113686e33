internal import HTTP

/// Reads the worker of a wrangler file, after inheritance.
struct WranglerWorkerReader {
    let layers: WranglerLayers
    let options: WranglerReader.Options
    let collector: DiagnosticCollector

    private var table: DocumentTable { layers.effective }

    /// A reader for one key, whose findings name the layer that the key comes from.
    private func reader(_ key: String) -> WranglerTable {
        WranglerTable(table, at: layers.place, path: "", prefix: layers.prefix(key), collector)
    }

    func read() -> WorkerConfiguration {
        let name = readName()
        let main = string("main")
        let assets = readAssets(hasMain: main != nil)
        if main == nil, table["main"] == nil, assets == nil {
            collector.error(
                .missingKey, at: layers.place, path: "main", "\"main\" is a required field.",
                fix: "main = \"PRODUCT\", the SwiftPM executable")
        }
        var bindings = WranglerBindingReader(layers: layers, worker: name, collector: collector)
        bindings.read()
        if let binding = assets?.binding, let place = table["assets"]?.table?["binding"]?.location {
            bindings.add(Binding(name: binding, target: .assets, place: place))
        }
        let variables = readVariables()
        let secrets = readSecrets()
        BindingReader.checkUnique(
            bindings.bindings.map { ($0.name, $0.kindName, $0.place) }
                + variables.map { ($0.name, "variable", $0.place) }
                + secrets.map { ($0.name, "secret", $0.place) },
            worker: name, path: String(layers.environmentName.map { "env.\($0)" } ?? "env"), collector)
        let (routes, domains) = readRoutes(name)
        let hasDefaultHost =
            reader("workers_dev").copy { $0.boolean("workers_dev") } ?? (routes.isEmpty && domains.isEmpty)
        var hosts = domains
        if hasDefaultHost, let domain = try? CustomDomain("\(name).\(options.domain)", for: name) {
            hosts.append(WorkerDomain(domain: domain, place: table["workers_dev"]?.location ?? layers.place))
        }
        let (limits, cache) = (readLimits(), readCache())
        let (crons, keepsCrons) = readCrons()
        let worker = WorkerConfiguration(
            name: name, product: main.map { Self.product(of: $0.value) } ?? "", isEnabled: true, compatibilityDate: readDate(),
            compatibilityFlags: reader("compatibility_flags").copy { $0.strings("compatibility_flags") }?.map(
                \.value) ?? [],
            routes: routes, customDomains: hosts, hasDefaultHost: hasDefaultHost, origin: nil,
            bindings: bindings.bindings,
            consumers: bindings.consumers, crons: crons, keepsDeployedCrons: keepsCrons, variables: variables,
            secrets: secrets, limits: limits,
            isolates: IsolateSettings(countMin: 0, countMax: 1, concurrency: 64, idleTimeout: .seconds(300)),
            cache: cache,
            observability: readObservability(), smoke: [], migrations: readMigrations(), assets: assets,
            // In wrangler's world a worker may fetch what it likes from the internet; the node's private side it may not.
            outbound: OutboundSettings(allow: [OutboundRule("*")].compactMap { $0 }, isPrivateAllowed: false),
            tailConsumers: readTailConsumers(), build: readBuild(),
            place: table["name"]?.location ?? layers.place)
        checkClasses(worker)
        return worker
    }

    /// `main` names the product, its executable, or a file of its sources: `Api`, `.build/debug/Api`,
    /// `Sources/Api/main.swift`.
    static func product(of main: String) -> String {
        let parts = main.split(separator: "/").map(String.init)
        guard let last = parts.last else { return main }
        if last.hasSuffix(".swift"), parts.count > 1 { return parts[parts.count - 2] }
        return last.split(separator: ".").first.map(String.init) ?? last
    }

    private func string(_ key: String) -> Located<String>? { reader(key).copy { $0.string(key) } }

    // MARK: Identity

    private func readName() -> String {
        guard let text = string("name") else {
            if table["name"] == nil {
                collector.error(.missingKey, at: layers.place, path: "name", "\"name\" is a required field.")
            }
            return "worker"
        }
        var name = text.value
        // An environment is a worker of its own, unless it names itself.
        if let environment = layers.environmentName, layers.environment?["name"] == nil {
            name += "-\(environment)"
        }
        let prefix = layers.prefix("name")
        if WorkerName.problem(String(name.prefix(63))) != nil {
            collector.error(
                .invalidValue, at: text.place, path: "\(prefix)name",
                "Expected \"name\" to be of type string, alphanumeric and lowercase with dashes only but got \(JSONText.quoted(name))."
            )
        } else if name.utf8.count > 63 {
            collector.error(
                .outOfRange, at: text.place, path: "\(prefix)name",
                "Expected \"name\" to have at most 63 characters but got \(name.utf8.count).")
        }
        return name
    }

    private func readDate() -> CivilDate {
        let fallback = options.today ?? CompatibilityDate.newest
        guard let value = table["compatibility_date"] else {
            collector.warning(
                .missingKey, at: layers.place, path: "compatibility_date",
                "no compatibility_date: the newest behaviour is used, \(fallback)",
                fix: "compatibility_date = \"\(fallback)\"")
            return fallback
        }
        return CompatibilityDate.read(
            value, path: "\(layers.prefix("compatibility_date"))compatibility_date", today: options.today,
            collector) ?? fallback
    }

    // MARK: Routes

    private func readRoutes(_ name: String) -> ([WorkerRoute], [WorkerDomain]) {
        var routes: [WorkerRoute] = []
        var domains: [WorkerDomain] = []
        if let route = table.entry("route"), let list = table.entry("routes") {
            let later = max(route.keyLocation, list.keyLocation)
            collector.error(
                .duplicateName, at: later, path: "\(layers.prefix("routes"))routes",
                "Expected exactly one of the following fields [\"routes\",\"route\"].",
                fix: "delete one of them",
                related: [.init(min(route.keyLocation, list.keyLocation), "the other one")])
        }
        var elements: [(value: DocumentValue, path: String)] = []
        if let value = table["route"] { elements.append((value, "\(layers.prefix("route"))route")) }
        if let value = table["routes"] {
            if let list = value.array {
                let prefix = layers.prefix("routes")
                elements += list.enumerated().map { (value: $1, path: "\(prefix)routes[\($0)]") }
            } else {
                _ = reader("routes").copy { $0.strings("routes") }
            }
        }
        for (value, path) in elements {
            var text = value.string.map { Located($0, at: value.location) }
            var isDomain = false
            if let inner = value.table {
                text = inner["pattern"]?.string.map {
                    Located($0, at: inner["pattern"]?.location ?? value.location)
                }
                isDomain = inner["custom_domain"]?.boolean ?? false
                for entry in inner.entries
                where !["pattern", "custom_domain", "zone_name", "zone_id", "enabled", "previews_enabled"]
                    .contains(entry.key)
                {
                    collector.warning(
                        .unknownKey, at: entry.keyLocation, path: "\(path).\(entry.key)",
                        "Unexpected fields found in \(path) field: \"\(entry.key)\"")
                }
            }
            guard let text else {
                collector.error(
                    .wrongType, at: value.location, path: path,
                    "Expected \"\(path)\" to be either a string, or an object with shape { pattern, custom_domain, zone_id | zone_name } but got \(value.json ?? value.tomlText)."
                )
                continue
            }
            do throws(RoutePatternError) {
                if isDomain {
                    domains.append(
                        WorkerDomain(domain: try CustomDomain(text.value, for: name), place: text.place))
                } else {
                    routes.append(
                        WorkerRoute(pattern: try RoutePattern(text.value, for: name), place: text.place))
                }
            } catch {
                collector.error(.route, at: text.place, path: path, error.description, fix: error.fix)
            }
        }
        checkOwnership(domains)
        return (routes, domains)
    }

    /// A custom domain has one worker: an environment that inherits one takes it from the top level's worker.
    private func checkOwnership(_ domains: [WorkerDomain]) {
        guard layers.environmentName != nil, layers.environment?["routes"] == nil,
            layers.environment?["route"] == nil
        else {
            return
        }
        for domain in domains {
            collector.error(
                .routeConflict, at: domain.place, path: "env.\(layers.environmentName ?? "").routes",
                "the environment inherits the custom domain \"\(domain.domain)\", and two environments of one node can't own one host",
                fix: "give the environment routes of its own")
        }
    }

    // MARK: Variables

    private func readVariables() -> [Variable] {
        guard let value = table["vars"] else { return [] }
        guard let inner = value.table else {
            _ = reader("vars").copy { $0.table("vars") }
            return []
        }
        let known = WranglerKeys.all.keys.filter {
            $0 != "env" && $0 != "dev" && $0 != "site" && $0 != "rules"
        }
        return VariableReader(collector: collector, workerKeys: known.sorted())
            .read(TableReader(inner, path: "\(layers.prefix("vars"))vars", at: value.location, collector))
    }

    private func readSecrets() -> [SecretName] {
        guard var secrets = reader("secrets").copy({ $0.table("secrets") }) else { return [] }
        let names = secrets.strings("required") ?? []
        secrets.finish()
        return names.map { SecretName(name: $0.value, place: $0.place) }
    }

    // MARK: Values

    private func readCrons() -> ([CronExpression], keepsDeployed: Bool) {
        guard var triggers = reader("triggers").copy({ $0.table("triggers") }) else { return ([], true) }
        let list = triggers.strings("crons")
        triggers.finish()
        var crons: [CronExpression] = []
        for text in list ?? [] {
            do {
                crons.append(try CronExpression(text.value))
            } catch {
                triggers.report(.invalidValue, text.place, "crons", error.description)
            }
        }
        return (crons, list == nil)
    }

    private func readLimits() -> WorkerLimits {
        let paid = PlatformLimits.paid
        var limits = reader("limits").copy { $0.table("limits") }
        let result = WorkerLimits(
            profile: .paid,
            cpu: limits?.integer("cpu_ms", in: 1...300_000).map { .milliseconds($0) } ?? paid.cpu.standard,
            wall: paid.wall.standard,
            memoryByteCount: limits?.integer("memory_mb", in: 16...1024).map { $0 << 20 }
                ?? paid.memoryByteCount.standard,
            subrequests: limits?.integer("subrequests", in: 1...300_000) ?? paid.subrequests.standard,
            bodyByteCount: paid.bodyByteCount.standard)
        limits?.finish()
        return result
    }

    private func readCache() -> CacheSettings {
        var cache = reader("cache").copy { $0.table("cache") }
        let result = CacheSettings(
            isEnabled: cache?.boolean("enabled") ?? false, timeToLive: .zero,
            isSharedByVersions: cache?.boolean("cross_version_cache") ?? false)
        cache?.finish()
        return result
    }

    private func readObservability() -> ObservabilitySettings {
        var reader = reader("observability").copy { $0.table("observability") }
        let isEnabled = reader?.boolean("enabled")
        let sampling = reader?.number("head_sampling_rate", in: 0...1)
        var logs = reader?.table("logs")
        var traces = reader?.table("traces")
        let result = ObservabilitySettings(
            sampling: sampling ?? logs?.number("head_sampling_rate", in: 0...1) ?? 1,
            logs: logs?.boolean("enabled") ?? isEnabled ?? true, traces: traces?.boolean("enabled") ?? false)
        for key in ["invocation_logs", "persist", "destinations", "head_sampling_rate"] {
            _ = logs?.value(key)
            _ = traces?.value(key)
        }
        reader?.finish()
        logs?.finish()
        traces?.finish()
        return result
    }

    private func readAssets(hasMain: Bool) -> AssetSettings? {
        guard var assets = reader("assets").copy({ $0.table("assets") }) else { return nil }
        let directory = assets.string("directory")
        let binding = assets.string("binding")
        var workerFirst = AssetSettings.WorkerFirst.never
        if let value = assets.value("run_worker_first") {
            if let isFirst = value.boolean {
                workerFirst = isFirst ? .always : .never
            } else {
                let rules = assets.strings("run_worker_first") ?? []
                workerFirst = .paths(rules.map(\.value))
                for rule in rules
                where !(rule.value.hasPrefix("/") || rule.value.hasPrefix("!/")) || rule.value.utf8.count > 100 {
                    assets.report(
                        .invalidValue, rule.place, "run_worker_first",
                        "a rule begins with \"/\" or \"!/\" and has at most 100 characters, got \(JSONText.quoted(rule.value))")
                }
                if rules.count > 100 || rules.allSatisfy({ $0.value.hasPrefix("!") }) {
                    assets.report(
                        .outOfRange, value.location, "run_worker_first", "1…100 rules, at least one without \"!\"")
                }
            }
        }
        let settings = AssetSettings(
            directory: directory?.value ?? "public", binding: binding?.value,
            html: assets.choice("html_handling", AssetSettings.HTMLHandling.self) ?? .autoTrailingSlash,
            notFound: assets.choice("not_found_handling", AssetSettings.NotFound.self) ?? .none,
            workerFirst: workerFirst)
        assets.finish()
        if !hasMain, let binding {
            assets.report(
                .invalidValue, binding.place, "binding",
                "Cannot use assets with a binding in an assets-only Worker.",
                fix: "add main, or delete the binding")
        }
        if !hasMain, workerFirst != .never, let place = assets.table["run_worker_first"]?.location {
            assets.report(
                .invalidValue, place, "run_worker_first",
                "Cannot set run_worker_first without a Worker script.",
                fix: "add main, or delete run_worker_first")
        }
        return settings
    }

    private func readMigrations() -> [ClassMigration] {
        guard let list = reader("migrations").copy({ $0.tables("migrations") }) else { return [] }
        var history = ClassMigrationReader.History()
        return list.compactMap { entry in
            ClassMigrationReader.read(
                TableReader(entry.table, path: entry.prefix + entry.path, at: entry.place, collector),
                after: &history, collector)
        }
    }

    private func readTailConsumers() -> [String] {
        (reader("tail_consumers").copy { $0.tables("tail_consumers") } ?? []).compactMap { entry in
            var entry = entry
            let service = entry.required("service")?.value
            let environment = entry.string("environment")?.value
            entry.finish()
            return service.map { WranglerBindingReader.worker($0, in: environment) }
        }
    }

    private func readBuild() -> BuildSettings? {
        guard var build = reader("build").copy({ $0.table("build") }) else { return nil }
        let command = build.string("command")?.value
        let directory = build.string("cwd")?.value
        var watch: [String] = []
        if let value = build.value("watch_dir") {
            watch = value.string.map { [$0] } ?? build.strings("watch_dir")?.map(\.value) ?? []
        }
        build.finish()
        return BuildSettings(command: command, directory: directory, watch: watch)
    }

    private func checkClasses(_ worker: WorkerConfiguration) {
        let classes = ClassMigrationReader.classes(after: worker.migrations)
        for binding in worker.bindings {
            guard case .durableObject(let className, nil) = binding.target, !classes.contains(className)
            else { continue }
            guard !ClassMigrationReader.classes(deletedBy: worker.migrations).contains(className) else {
                collector.error(
                    .invalidValue, at: binding.place,
                    path: "\(layers.prefix("durable_objects"))durable_objects.\(binding.name)",
                    "\(ClassMigrationRefusal.stillBound(className, binding: binding.name, worker: worker.name))",
                    fix: "delete the binding")
                continue
            }
            collector.error(
                .unknownName, at: binding.place,
                path: "\(layers.prefix("durable_objects"))durable_objects.\(binding.name)",
                "the class \"\(className)\" of \"\(binding.name)\" is created by no migration"
                    + NearestName.phrase(className, among: classes.sorted()),
                fix: "add a migration with new_sqlite_classes = [\"\(className)\"]")
        }
    }
}

extension WranglerTable {
    /// Asks one question of a reader that is thrown away.
    func copy<Answer>(_ ask: (inout WranglerTable) -> Answer) -> Answer {
        var copy = self
        return ask(&copy)
    }
}
