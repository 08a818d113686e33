internal import HTTP

/// Reads the configuration of one worker in wrangler's format, with wrangler's inheritance between its top level and
/// its environments, into the same model as ours.
package struct WranglerReader {
    package struct Options: Sendable {
        /// `--env`; `nil` is the top level.
        package var environment: String?
        /// Where the worker gets its default host: `<worker>.<domain>`.
        package var domain: String
        package var today: CivilDate?

        package init(environment: String? = nil, domain: String = "localhost", today: CivilDate? = nil) {
            self.environment = environment
            self.domain = domain
            self.today = today
        }
    }

    /// In the order of the search.
    package static let fileNames = ["wrangler.json", "wrangler.jsonc", "wrangler.toml"]

    /// - Parameter source: TOML if its name ends so, else JSON with comments.
    /// - Returns: The configuration, if there is no error, and all findings.
    package static func read(
        _ source: SourceText, _ options: Options = Options()
    ) -> (configuration: EffectiveConfiguration?, diagnostics: [Diagnostic]) {
        let document: DocumentTable
        do throws(SyntaxError) {
            if source.name.hasSuffix(".toml") {
                document = try TOMLReader.read(source)
            } else {
                let value = try JSONReader.read(source)
                guard let table = value.table else {
                    throw SyntaxError(at: value.location, "expected an object, got \(value.described)")
                }
                document = table
            }
        } catch {
            return (nil, [error.diagnostic])
        }
        let collector = DiagnosticCollector(unknownKeySeverity: .warning)
        let layers = WranglerLayers(
            document, environment: options.environment, at: SourcePlace(source, 0..<0), collector)
        let worker = WranglerWorkerReader(layers: layers, options: options, collector: collector).read()
        let configuration = assemble(worker, document, tenant: tenant(layers, collector), options, collector)
        return (collector.hasErrors ? nil : configuration, collector.sorted)
    }

    /// The account, whose name is also that of a folder.
    private static func tenant(_ layers: WranglerLayers, _ collector: DiagnosticCollector) -> String {
        guard let account = layers.effective["account_id"] else { return "local" }
        let name = account.string ?? ""
        guard BindingReader.isResourceName(name), !TenantName.isReserved(name) else {
            collector.error(
                .invalidValue, at: account.location, path: "\(layers.prefix("account_id"))account_id",
                "\(account.described) is no name for a tenant",
                fix: "at most 63 lower-case letters, digits, \"_\" and inner \"-\"")
            return "local"
        }
        return name
    }

    private static func assemble(
        _ worker: WorkerConfiguration, _ document: DocumentTable, tenant: String, _ options: Options,
        _ collector: DiagnosticCollector
    ) -> EffectiveConfiguration? {
        var defaults = DocumentTable()
        if let builtIn = try? TOMLReader.read(BuiltInValues.source(for: .dev)) { defaults = builtIn }
        let place = worker.place
        let settings = EnvironmentReader(name: "dev", kind: .dev, collector: collector).read(
            defaults, at: place)
        var list = SettingList(DerivedSettings())
        list.add(document, path: "")
        var dev = WranglerTable(document, at: place, path: "", prefix: "", collector)
        var listen = settings.listen
        if var table = dev.table("dev") {
            let address = table.string("ip")?.value ?? "127.0.0.1"
            let port = table.integer("port", in: 0...65_535) ?? 8787
            listen = [ListenAddress(host: address == "localhost" ? "127.0.0.1" : address, port: UInt16(port))]
            for key in ["inspector_port", "local_protocol", "upstream_protocol", "host"] {
                _ = table.value(key)
            }
            table.finish()
        }
        var names = worker.consumers.flatMap { [$0.queue] + ($0.deadLetterQueue.map { [$0] } ?? []) }
        for binding in worker.bindings {
            if case .queue(let queue, _) = binding.target { names.append(queue) }
        }
        let configuration = EffectiveConfiguration(
            environment: options.environment ?? "dev", kind: .dev,
            tenant: tenant, domain: options.domain, listen: listen,
            tls: nil,
            trustedProxies: [], log: settings.log, errorPages: settings.errorPages,
            hasPreviewURLs: settings.hasPreviewURLs,
            keepWarm: settings.keepWarm, clientRateLimit: 0, webSocketIdleTimeout: nil,
            deploy: settings.deploy,
            durableObjects: settings.durableObjects, retention: settings.retention, hooks: [],
            workers: [worker],
            queues: Set(names).sorted().map {
                QueueSettings(name: $0, deliveryDelay: .zero, retention: settings.retention.queue)
            },
            settings: list.settings)
        return configuration
    }
}

/// The top level of a file and the environment that was asked for, put together by the rules of inheritance.
struct WranglerLayers {
    let top: DocumentTable
    let environment: DocumentTable?
    let environmentName: String?
    let place: SourcePlace
    /// What holds: an entry of each key, from wherever it comes.
    let effective: DocumentTable
    private let collector: DiagnosticCollector

    init(
        _ document: DocumentTable, environment name: String?, at place: SourcePlace,
        _ collector: DiagnosticCollector
    ) {
        top = document
        self.place = place
        self.collector = collector
        let environments = document["env"]?.table
        var found: DocumentTable?
        if let name {
            if let entry = environments?.entry(name) {
                found = entry.value.table
                if found == nil {
                    collector.error(
                        .wrongType, at: entry.value.location, path: "env.\(name)",
                        "Expected \"env.\(name)\" to be of type object but got \(entry.value.json ?? entry.value.tomlText)."
                    )
                }
            } else {
                let known = environments?.keys ?? []
                let message = "No environment found in configuration with name \"\(name)\"."
                if known.isEmpty {
                    collector.warning(
                        .environment, at: place, path: "env.\(name)", "\(message) The top level is used.",
                        fix: "add [env.\(name)]")
                } else {
                    collector.error(
                        .environment, at: document.entry("env")?.keyLocation ?? place, path: "env.\(name)",
                        "\(message) The available configured environment names are: \(known.map(JSONText.quoted).joined(separator: ","))",
                        fix: NearestName.of(name, among: known).map { "--env \($0)" } ?? "add [env.\(name)]")
                }
            }
        } else if let environments, !environments.isEmpty {
            collector.warning(
                .environment, at: document.entry("env")?.keyLocation ?? place, path: "env",
                "Multiple environments are defined, but no target environment was specified: the top level is used.",
                fix: "--env \(environments.keys[0])")
        }
        self.environment = found
        environmentName = found == nil ? nil : name
        effective = Self.inherit(document, found)
        check(document, label: "top-level", prefix: "")
        if let found, let name {
            check(found, label: "env.\(name)", prefix: "env.\(name).")
            checkRepeated(name, found)
        }
    }

    /// `env.staging.` for what an environment says itself, else nothing.
    func prefix(_ key: String) -> String {
        guard let environmentName, environment?[key] != nil, WranglerKeys.all[key]?.inheritance != .topLevel
        else { return "" }
        return "env.\(environmentName)."
    }

    private static func inherit(_ top: DocumentTable, _ environment: DocumentTable?) -> DocumentTable {
        guard let environment else { return top }
        var result = DocumentTable()
        for entry in top.entries {
            switch WranglerKeys.all[entry.key]?.inheritance {
            case .inherited:
                // `route` and `routes` are two spellings of one value.
                if entry.key == "route", environment["routes"] != nil { continue }
                if entry.key == "routes", environment["route"] != nil { continue }
                result.set(entry)
            case .topLevel: result.set(entry)
            case .repeated, nil: continue
            }
        }
        for entry in environment.entries where WranglerKeys.all[entry.key]?.inheritance != .topLevel {
            result.set(entry)
        }
        return result
    }

    private func check(_ table: DocumentTable, label: String, prefix: String) {
        for entry in table.entries {
            let path = prefix + entry.key
            guard let key = WranglerKeys.all[entry.key] else {
                let nearest = NearestName.of(entry.key, among: WranglerKeys.all.keys.sorted())
                collector.warning(
                    .unknownKey, at: entry.keyLocation, path: path,
                    "Unexpected fields found in \(label) field: \"\(entry.key)\"",
                    fix: nearest.map { "write \($0)" })
                continue
            }
            if key.inheritance == .topLevel, !prefix.isEmpty {
                collector.warning(
                    .notAllowedHere, at: entry.keyLocation, path: path,
                    "Unexpected fields found in \(label) field: \"\(entry.key)\"",
                    fix: "it can stand at the top level only")
                continue
            }
            switch key.support {
            case .read: continue
            case .ignored(let reason):
                collector.warning(
                    .ignored, at: entry.keyLocation, path: path, "\"\(entry.key)\" is ignored: \(reason)")
            case .refused(let reason):
                collector.error(
                    .unsupported, at: entry.keyLocation, path: path,
                    "\"\(entry.key)\" is not supported: \(reason)")
            }
        }
    }

    private func checkRepeated(_ name: String, _ environment: DocumentTable) {
        for entry in top.entries where WranglerKeys.all[entry.key]?.inheritance == .repeated {
            guard let own = environment[entry.key] else {
                warn(
                    entry, "\"\(entry.key)\"", "\"env.\(name)\"",
                    "\"\(entry.key)\" is not inherited by environments", name)
                continue
            }
            guard entry.key == "vars", let above = entry.value.table, let below = own.table else { continue }
            for variable in above.entries where below[variable.key] == nil {
                warn(
                    variable, "\"vars.\(variable.key)\"", "\"env.\(name).vars\"",
                    "\"vars\" is not inherited by environments",
                    name)
            }
        }
    }

    private func warn(
        _ entry: DocumentTable.Entry, _ what: String, _ place: String, _ reason: String, _ name: String
    ) {
        collector.warning(
            .notInherited, at: entry.keyLocation, path: "env.\(name).\(entry.key)",
            "\(what) exists at the top level, but not on \(place). This is not what you probably want, since \(reason). Please add \(what) to \"env.\(name)\"."
        )
    }
}
