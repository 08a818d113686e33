/// One making of an effective configuration: reads the layers, puts them over each other, reads the result.
///
/// Weakest first: built-in values, `[defaults]` of the shape, `[workers.X]` of the shape, the environment's top
/// level, its `[defaults]`, its `[workers.X]`, `--set`.
struct Assembly {
    private let project: ProjectConfiguration
    private let options: ProjectConfiguration.Options
    private let collector: DiagnosticCollector

    init(
        _ project: ProjectConfiguration, _ options: ProjectConfiguration.Options,
        _ collector: DiagnosticCollector
    ) {
        self.project = project
        self.options = options
        self.collector = collector
    }

    /// `nil` when a file isn't even TOML. Else a value that may be used only if the collector has no error.
    func assemble(_ environment: String) -> EffectiveConfiguration? {
        let kind = EnvironmentKind(name: environment)
        let shape = readShape()
        let header = shape?.readHeader(today: options.today, collector)
        let file = readEnvironment(environment, kind)
        guard let builtIn = try? TOMLReader.read(BuiltInValues.source(for: kind)) else {
            preconditionFailure("the built-in values are TOML; a test reads those of every environment")
        }
        let own = Layers.merge(file?.document ?? DocumentTable(), readSets(kind))
        let merged = Layers.merge(builtIn, own)
        let place = file.map { SourcePlace($0.source, 0..<0) } ?? SourcePlace(project.shape, 0..<0)
        let settings = EnvironmentReader(name: environment, kind: kind, collector: collector).read(
            merged, at: place)
        guard let shape, let header else { return nil }

        let uses = PlaceholderUses()
        let derived = DerivedSettings()
        func isEnvironmentValue(_ place: SourcePlace) -> Bool {
            place.file != shape.source.name && place.file != BuiltInValues.sourceName
        }
        var context = WorkerContext(
            kind: kind, domain: settings.domain?.value, compatibilityDate: header.compatibilityDate,
            today: options.today,
            isEnvironmentValue: isEnvironmentValue, collector: collector, uses: uses, derived: derived)
        checkParts(shape, header, own, context)

        let (ownDefaults, ownWorkers) = EnvironmentFile.checkWorkers(own, shape: header, collector)
        var workers: [WorkerConfiguration] = []
        var tables: [(name: String, table: DocumentTable)] = []
        context.isPartial = false
        for entry in header.workers.sorted(by: { $0.key < $1.key }) {
            let written = entry.value.table ?? DocumentTable()
            let changes = Layers.addressBindings(
                in: ownWorkers[entry.key] ?? DocumentTable(), of: entry.key, shape: written, collector)
            let layers = [
                Self.cacheDefault(builtIn), header.defaults, written, Self.cacheDefault(own), ownDefaults,
                changes,
            ]
            let table = layers.reduce(builtIn["defaults"]?.table ?? DocumentTable(), Layers.merge)
            let path = "workers.\(DocumentValue.tomlKey(entry.key))"
            workers.append(
                WorkerReader(context, name: entry.key, path: path).read(table, at: entry.value.location))
            tables.append((path, table))
        }
        if merged["domain"] == nil { checkDomain(uses, environment, place) }
        let queues = readQueues(header, workers, settings.retention.queue)
        var list = SettingList(derived)
        list.add(
            DocumentTable(["tenant", "compatibility_date", "queues"].compactMap(shape.document.entry)),
            path: "")
        list.add(Self.top(merged), path: "")
        for (path, table) in tables {
            list.add(table, path: path)
            list.addDerived(path)
        }
        var configuration = EffectiveConfiguration(
            environment: environment, kind: kind, tenant: header.tenant, domain: settings.domain?.value ?? "",
            listen: settings.listen, tls: settings.tls, s3: settings.s3, trustedProxies: settings.trustedProxies,
            log: settings.log,
            errorPages: settings.errorPages, hasPreviewURLs: settings.hasPreviewURLs,
            keepWarm: settings.keepWarm,
            clientRateLimit: settings.clientRateLimit, webSocketIdleTimeout: settings.webSocketIdleTimeout,
            deploy: settings.deploy, durableObjects: settings.durableObjects, retention: settings.retention,
            r2: settings.r2, kv: settings.kv, cache: settings.cache, monitoring: settings.monitoring,
            clientRateLimitOverTime: settings.clientRateLimitOverTime, drain: settings.drain, hooks: settings.hooks,
            simulate: settings.simulate,
            workers: workers,
            queues: queues, settings: list.settings)
        configuration.deployKeys = settings.deployKeys
        configuration.nodes = settings.nodes
        checkPromotion(configuration, settings.promoteFromPlace)
        PlatformCheck(
            configuration: configuration,
            declaredQueues: Dictionary(header.queues.map { ($0.name, $0.place) }) { first, _ in first },
            collector: collector, path: { "workers.\(DocumentValue.tomlKey($0))" }
        ).run(nodeMemoryByteCount: options.nodeMemoryByteCount)
        return configuration
    }

    // MARK: Layers

    private func readShape() -> ShapeFile? {
        do {
            return try ShapeFile(project.shape)
        } catch {
            collector.add(error.diagnostic)
            return nil
        }
    }

    private func readEnvironment(_ name: String, _ kind: EnvironmentKind) -> EnvironmentFile? {
        guard let source = project.environments[name] else {
            // A developer's machine needs no file: the built-in values are made for it.
            if kind == .dev { return nil }
            let names = project.environments.keys.sorted()
            collector.error(
                .environment, at: nil, path: "",
                "there is no environment \"\(name)\": \(EnvironmentFile.path(name)) does not exist"
                    + NearestName.phrase(name, among: names),
                fix: names.isEmpty ? nil : "known: \(names.joined(separator: ", "))")
            return nil
        }
        do {
            return try EnvironmentFile(name: name, source)
        } catch {
            collector.add(error.diagnostic)
            return nil
        }
    }

    /// `--set a.b=1`: each is a line of TOML; a bare word is taken as a string.
    private func readSets(_ kind: EnvironmentKind) -> DocumentTable {
        var result = DocumentTable()
        for text in options.sets {
            let source = SourceText(name: "--set", text: text)
            guard kind == .dev else {
                collector.error(
                    .notAllowedHere, at: SourcePlace(source, 0..<source.bytes.count), path: "",
                    "--set works in dev only", fix: "change the environment's file")
                continue
            }
            do {
                result = Layers.merge(result, try TOMLReader.read(source))
            } catch {
                if let word = Self.quoted(text),
                    let table = try? TOMLReader.read(SourceText(name: "--set", text: word))
                {
                    result = Layers.merge(result, table)
                } else {
                    collector.add(error.diagnostic)
                }
            }
        }
        return result
    }

    private static func quoted(_ text: String) -> String? {
        guard let equals = text.firstIndex(of: "=") else { return nil }
        let value = text[text.index(after: equals)...]
        let isWord = !value.isEmpty && !value.contains { "\"'[]{}#\n".contains($0) }
        return isWord ? "\(text[...equals])\(JSONText.quoted(String(value)))" : nil
    }

    /// `cache_ttl` at the top level, as the layer that it stands for.
    private static func cacheDefault(_ table: DocumentTable) -> DocumentTable {
        guard let entry = table.entry("cache_ttl") else { return DocumentTable() }
        let cache = DocumentTable([.init(key: "ttl", keyLocation: entry.keyLocation, value: entry.value)])
        return DocumentTable([
            .init(
                key: "cache", keyLocation: entry.keyLocation,
                value: DocumentValue(.table(cache), at: entry.value.location))
        ])
    }

    /// Without what is listed worker by worker.
    private static func top(_ table: DocumentTable) -> DocumentTable {
        DocumentTable(
            table.entries.filter { $0.key != "workers" && $0.key != "defaults" && $0.key != "format" })
    }

    // MARK: Checks

    /// Reads parts of the layers alone, for mistakes in values that a stronger layer replaces.
    private func checkParts(
        _ shape: ShapeFile, _ header: ShapeFile.Header, _ own: DocumentTable, _ context: WorkerContext
    ) {
        var context = context
        context.isPartial = true
        for (table, place) in [
            (header.defaults, header.defaultsPlace),
            (own["defaults"]?.table ?? DocumentTable(), own["defaults"]?.location),
        ] {
            guard let place else { continue }
            for entry in table.entries where !WorkerReader.defaultKeys.contains(entry.key) {
                let isKnown = (WorkerReader.shapeKeys + WorkerReader.environmentKeys).contains(entry.key)
                guard isKnown else { continue }
                collector.error(
                    .notAllowedHere, at: entry.keyLocation, path: "defaults.\(entry.key)",
                    "\"\(entry.key)\" can't be a default", fix: "write it under [workers.NAME]")
            }
            let partial = DocumentTable(
                table.entries.filter { entry in
                    !(WorkerReader.shapeKeys + WorkerReader.environmentKeys).contains(entry.key)
                        || WorkerReader.defaultKeys.contains(entry.key)
                })
            _ = WorkerReader(context, name: "", path: "defaults").read(partial, at: place)
        }
        for entry in header.workers {
            guard let table = entry.value.table else { continue }
            let path = "workers.\(DocumentValue.tomlKey(entry.key))"
            _ = WorkerReader(context, name: entry.key, path: path).read(table, at: entry.value.location)
        }
    }

    private func checkDomain(_ uses: PlaceholderUses, _ environment: String, _ place: SourcePlace) {
        if let first = uses.first {
            collector.error(
                .missingKey, at: place, path: "domain",
                "\"domain\" is missing in \(environment); {domain} is used first at \(first.place), in \(JSONText.quoted(first.value))",
                fix: "domain = \"example.com\"", related: [.init(first.place, "{domain} is used here")])
        } else {
            collector.error(
                .missingKey, at: place, path: "domain", "\"domain\" is missing: required in \(environment)",
                fix: "domain = \"example.com\"")
        }
    }

    private func readQueues(
        _ header: ShapeFile.Header, _ workers: [WorkerConfiguration], _ retention: Duration
    ) -> [QueueSettings] {
        var queues: [String: QueueSettings] = [:]
        for (name, _, reader) in header.queues {
            var reader = reader
            queues[name] = QueueSettings(
                name: name,
                deliveryDelay: reader.duration("delivery_delay", in: .zero ... .seconds(43_200))?.value
                    ?? .zero,
                retention: reader.duration("retention", in: .seconds(60) ... .seconds(1_209_600))?.value
                    ?? retention,
                messagesPerSecondMax: reader.integer("messages_per_second", in: 1...1_000_000)?.value,
                backlogBytesMax: reader.size("backlog", in: 1...(1 << 40))?.value)
            reader.finish()
        }
        for worker in workers {
            var names = worker.consumers.flatMap { [$0.queue] + ($0.deadLetterQueue.map { [$0] } ?? []) }
            for binding in worker.bindings {
                if case .queue(let queue, _) = binding.target { names.append(queue) }
            }
            for name in names where queues[name] == nil {
                queues[name] = QueueSettings(name: name, deliveryDelay: .zero, retention: retention)
            }
        }
        return queues.values.sorted { $0.name < $1.name }
    }

    /// `promote_from` names another environment, and following it comes to an end.
    private func checkPromotion(_ configuration: EffectiveConfiguration, _ place: SourcePlace?) {
        guard let first = configuration.deploy.promoteFrom else { return }
        var trail = [configuration.environment]
        var next: String? = first
        while let name = next {
            guard project.environments[name] != nil || name == "dev" else {
                if name == first {
                    collector.error(
                        .unknownName, at: place, path: "deploy.promote_from",
                        "there is no environment \"\(name)\""
                            + NearestName.phrase(name, among: project.environments.keys.sorted()))
                }
                return
            }
            guard !trail.contains(name) else {
                collector.error(
                    .invalidValue, at: place, path: "deploy.promote_from",
                    "promotion goes in a circle: \((trail + [name]).joined(separator: " → "))")
                return
            }
            trail.append(name)
            let document = project.environments[name].flatMap { try? TOMLReader.read($0) }
            next = document?["deploy"]?.table?["promote_from"]?.string
        }
    }
}
