/// Reads the merged table of an environment, its workers apart.
struct EnvironmentReader {
    let name: String
    let kind: EnvironmentKind
    let collector: DiagnosticCollector

    /// What was read of the addresses; `nil` is absent or wrong.
    struct Settings {
        var domain: Located<String>?
        var listen: [ListenAddress] = []
        var tls: TLSSettings?
        var s3: S3Settings?
        var trustedProxies: [AddressRange] = []
        var log = LogSettings(level: .info, format: .json)
        var errorPages = ErrorPages.plain
        var hasPreviewURLs = false
        var keepWarm: Duration = .zero
        var clientRateLimit = 0
        var webSocketIdleTimeout: Duration?
        var deploy: DeploySettings
        var promoteFromPlace: SourcePlace?
        var durableObjects: DurableObjectSettings
        var retention: RetentionSettings
        var r2 = R2Settings()
        var kv = KVSettings()
        var cache = CacheStoreSettings()
        var monitoring = Monitoring.full
        var clientRateLimitOverTime: ClientRateLimit?
        var drain = DrainSettings()
        var hooks: [Hook] = []
        var deployKeys: [String] = []
        var nodes: [String: String] = [:]
        var simulate: SimulateSettings?
    }

    private static let year: Duration = .seconds(365 * 86_400)
    private static let day: Duration = .seconds(86_400)

    func read(_ table: DocumentTable, at place: SourcePlace) -> Settings {
        var reader = TableReader(table, path: "", at: place, collector)
        ShapeFile.checkFormat(&reader)
        _ = reader.value("workers")
        _ = reader.value("defaults")
        _ = reader.duration("cache_ttl", in: .zero...Self.year)
        let (deploy, promoteFromPlace) = readDeploy(&reader)
        var settings = Settings(
            deploy: deploy, promoteFromPlace: promoteFromPlace, durableObjects: readDurableObjects(&reader),
            retention: readRetention(&reader))
        settings.kv = readKV(&reader)
        settings.domain = readDomain(&reader)
        settings.listen = readListen(&reader)
        settings.tls = TLSReader(plain: settings.listen).read(&reader)
        settings.s3 = readS3(&reader, hasCertificates: settings.tls != nil)
        settings.trustedProxies = readProxies(&reader)
        if var log = reader.table("log") {
            settings.log = LogSettings(
                level: log.choice("level", LogSettings.Level.self)?.value ?? .info,
                format: log.choice("format", LogSettings.Format.self)?.value ?? .json)
            log.finish()
        }
        settings.errorPages = reader.choice("error_pages", ErrorPages.self)?.value ?? .plain
        settings.hasPreviewURLs = reader.boolean("preview_urls")?.value ?? false
        settings.keepWarm = reader.duration("keep_warm", in: .zero...Self.day * 7)?.value ?? .zero
        settings.clientRateLimit = reader.integer("ratelimit_global", in: 0...1_000_000_000)?.value ?? 0
        settings.clientRateLimitOverTime = readClientRateLimit(&reader)
        settings.monitoring = reader.choice("monitoring", Monitoring.self)?.value ?? .full
        let idle = reader.duration("websocket_idle_timeout", in: .zero...Self.day)?.value ?? .zero
        settings.webSocketIdleTimeout = idle == .zero ? nil : idle
        settings.r2 = readR2(&reader)
        settings.cache = readCache(&reader)
        settings.drain = readDrain(&reader)
        settings.hooks = readHooks(&reader)
        settings.deployKeys = (reader.strings("deploy_keys") ?? []).map(\.value)
        settings.nodes = readNodes(&reader)
        settings.simulate = readSimulate(&reader)
        reader.finish { key in
            switch key {
            case "tenant", "compatibility_date", "queues":
                "\"\(key)\" is shape only: set it in wrangler-like.toml"
            case "env": "one file per environment: environments/NAME.toml"
            case _ where WorkerReader.shapeKeys.contains(key) || WorkerReader.environmentKeys.contains(key):
                "write it under [workers.NAME]"
            default: nil
            }
        }
        return settings
    }

    private func readClientRateLimit(_ reader: inout TableReader) -> ClientRateLimit? {
        guard var table = reader.table("ratelimit_client") else { return nil }
        let limit = table.integer("limit", in: 1...1_000_000)
        let period = table.duration("period", in: .seconds(1)...Self.day)
        if table.table["limit"] == nil { table.missing("limit", "required, such as limit = 1000") }
        if table.table["period"] == nil { table.missing("period", "required, such as period = \"1h\"") }
        if let period, period.value.components.attoseconds != 0 {
            table.report(
                .invalidValue, period.place, "period", "expected whole seconds, got \(DurationText.text(period.value))")
            return nil
        }
        table.finish()
        guard let limit, let period else { return nil }
        return ClientRateLimit(limit: limit.value, period: period.value)
    }

    private func readDomain(_ reader: inout TableReader) -> Located<String>? {
        guard let domain = reader.string("domain") else { return nil }
        let labels = domain.value.split(separator: ".", omittingEmptySubsequences: false)
        let isHost =
            domain.value.utf8.count <= 200
            && labels.allSatisfy { label in
                !label.isEmpty && label.utf8.count <= 63
                    && label.unicodeScalars.allSatisfy {
                        $0.value >= 0x80 || $0 == "-" || $0 == "_" || ("0"..."9").contains($0)
                            || ("a"..."z").contains($0)
                            || ("A"..."Z").contains($0)
                    }
            }
        guard isHost else {
            reader.report(
                .invalidValue, domain.place, "domain",
                "expected a host name, got \(JSONText.quoted(domain.value))",
                fix: "domain = \"example.com\", without scheme, port and path")
            return nil
        }
        return domain
    }

    private func readListen(_ reader: inout TableReader) -> [ListenAddress] {
        guard let texts = reader.strings("listen") else {
            if reader.table["listen"] == nil {
                reader.missing("listen", "required in \(name), such as listen = [\"0.0.0.0:8080\"]")
            }
            return []
        }
        if texts.isEmpty, let place = reader.table["listen"]?.location {
            reader.report(.outOfRange, place, "listen", "at least one address is needed")
        }
        return Self.addresses(texts, of: "listen", reader).map(\.value)
    }

    private func readS3(_ reader: inout TableReader, hasCertificates: Bool) -> S3Settings? {
        guard var s3 = reader.table("s3") else { return nil }
        let listen = Self.addresses(s3.strings("listen") ?? [], of: "listen", s3).map(\.value)
        if s3.table["listen"] == nil { s3.missing("listen", "required, such as listen = [\"0.0.0.0:9000\"]") }
        let domain = s3.string("domain")
        if let domain, domain.value.isEmpty || domain.value.hasPrefix(".") || domain.value.contains("/") {
            s3.report(.invalidValue, domain.place, "domain", "expected a host name", fix: "\"s3.example.com\"")
        }
        let isSecure = s3.boolean("tls")
        if let isSecure, isSecure.value, !hasCertificates {
            s3.report(
                .invalidValue, isSecure.place, "tls", "there are no certificates", fix: "name them in the environment's [tls]")
        }
        let isStrict = s3.boolean("strict")?.value ?? false
        s3.finish()
        guard !listen.isEmpty else { return nil }
        return S3Settings(
            listen: listen, domain: domain?.value, isSecure: isSecure?.value ?? false, isStrict: isStrict)
    }

    /// The addresses of a list; what is none is reported.
    static func addresses(
        _ texts: [Located<String>], of key: String, _ reader: TableReader
    ) -> [Located<ListenAddress>] {
        texts.enumerated().compactMap { index, text in
            guard let address = ListenAddress(text.value) else {
                reader.report(
                    .invalidValue, text.place, key, element: index,
                    "expected address:port, got \(JSONText.quoted(text.value))",
                    fix: "\"0.0.0.0:8080\" or \"[::]:8080\"")
                return nil
            }
            return Located(address, at: text.place)
        }
    }

    private func readProxies(_ reader: inout TableReader) -> [AddressRange] {
        (reader.strings("trusted_proxies") ?? []).enumerated().compactMap { index, text in
            guard let range = AddressRange(text.value) else {
                reader.report(
                    .invalidValue, text.place, "trusted_proxies", element: index,
                    "expected an address or a range, got \(JSONText.quoted(text.value))",
                    fix: "\"10.0.0.0/8\"")
                return nil
            }
            return range
        }
    }

    private func readDeploy(_ reader: inout TableReader) -> (DeploySettings, SourcePlace?) {
        var table =
            reader.table("deploy")
            ?? TableReader(DocumentTable(), path: "deploy", at: reader.place, collector)
        let promoteFrom = table.name("promote_from")
        func time(_ key: String, _ most: Duration, _ fallback: Duration) -> Duration {
            table.duration(key, in: .zero...most)?.value ?? fallback
        }
        let settings = DeploySettings(
            steps: readSteps(&table), bake: time("bake", Self.day, .zero),
            monitor: time("monitor", Self.day, .zero),
            smoke: table.choice("smoke", DeploySettings.Smoke.self)?.value ?? .required,
            backup: table.choice("backup", DeploySettings.Backup.self)?.value ?? .bookmark,
            affinity: readAffinity(&table),
            noTraffic: table.choice("no_traffic", DeploySettings.NoTraffic.self)?.value ?? .pause,
            promoteFrom: promoteFrom?.value, drain: time("drain", .seconds(3600), .seconds(30)),
            drainStreams: time("drain_streams", Self.day, .seconds(300)),
            drainJobs: time("drain_jobs", Self.day, .seconds(900)),
            drainWebSockets: time("drain_websockets", Self.day, .seconds(300)),
            switchHold: time("switch_hold", .seconds(60), .seconds(1)),
            lockTimeout: time("lock_timeout", .seconds(600), .seconds(5)),
            keepReleases: table.integer("keep_releases", in: 2...10_000)?.value ?? 100,
            keepBackups: time("keep_backups", Self.year, Self.day * 7),
            freeze: table.boolean("freeze")?.value ?? false, resume: table.boolean("resume")?.value ?? true,
            shadowPercent: readShadow(&table), warmup: readWarmup(&table), dryRun: readDryRun(&table),
            metrics: readMetrics(&table))
        table.finish { $0 == "keep_warm" ? "keep_warm stands at the top level" : nil }
        return (settings, promoteFrom?.place)
    }

    /// `warmup = [{ worker = "front", get = "/" }]`
    private func readWarmup(_ table: inout TableReader) -> [WarmupRequest] {
        (table.tables("warmup") ?? []).compactMap { entry in
            var entry = entry
            let worker = entry.name("worker")
            if entry.table["worker"] == nil { entry.missing("worker", "whose request it is, such as worker = \"front\"") }
            guard let request = WorkerReader.readRequest(&entry, "a warm-up request"), let worker else { return nil }
            return WarmupRequest(worker: worker.value, request: request)
        }
    }

    /// What the judge looks at (`ReleaseJudge.Metric`).
    private static let judged = [
        "crashes", "failed_starts", "error_burst", "health", "error_rate", "latency", "cpu", "memory", "queue_retries",
        "call_errors",
    ]

    private func readDryRun(_ table: inout TableReader) -> [String] {
        (table.strings("dry_run") ?? []).enumerated().compactMap { index, name in
            guard Self.judged.contains(name.value) else {
                table.report(
                    .invalidValue, name.place, "dry_run", element: index,
                    "expected one of \(Self.judged.joined(separator: ", ")), got \(JSONText.quoted(name.value))")
                return nil
            }
            return name.value
        }
    }

    /// `metrics = [{ name = "lost carts", query = "SELECT …", max = 5 }]`
    private func readMetrics(_ table: inout TableReader) -> [DeployMetric] {
        (table.tables("metrics", identity: "name") ?? []).compactMap { entry in
            var entry = entry
            let (name, query) = (entry.name("name"), entry.name("query"))
            let most = entry.number("max", in: -1e15...1e15)
            let isDryRun = entry.boolean("dry_run")?.value ?? false
            for (key, example) in [("name", "\"lost carts\""), ("query", "\"SELECT …\""), ("max", "5")]
            where entry.table[key] == nil {
                entry.missing(key, "required, such as \(key) = \(example)")
            }
            entry.finish()
            guard let name, let query, let most else { return nil }
            return DeployMetric(name: name.value, query: query.value, max: most.value, isDryRun: isDryRun)
        }
    }

    /// `shadow = { percent = 5 }`
    private func readShadow(_ table: inout TableReader) -> Int {
        guard var shadow = table.table("shadow") else { return 0 }
        let percent = shadow.integer("percent", in: 0...100)?.value ?? 0
        shadow.finish()
        return percent
    }

    private func readSteps(_ table: inout TableReader) -> [Int] {
        guard let value = table.value("steps") else { return [100] }
        guard let elements = value.array else {
            table.report(
                .wrongType, value.location, "steps",
                "expected an array of percentages, got \(value.described)")
            return [100]
        }
        var steps: [Int] = []
        for (index, element) in elements.enumerated() {
            guard let number = element.integer, (1...100).contains(number) else {
                table.report(
                    .outOfRange, element.location, "steps", element: index,
                    "expected integer 1…100, got \(element.described)")
                return [100]
            }
            if let last = steps.last, number <= last {
                table.report(
                    .invalidValue, element.location, "steps", element: index,
                    "steps must rise: \(number) follows \(last)")
                return [100]
            }
            steps.append(Int(number))
        }
        if steps.last != 100 {
            table.report(
                .invalidValue, elements.last?.location ?? value.location, "steps", "steps must end in 100",
                fix: "steps = [\((steps + [100]).map(String.init).joined(separator: ", "))]")
        }
        return steps
    }

    private func readAffinity(_ table: inout TableReader) -> DeploySettings.Affinity {
        guard let text = table.string("affinity") else { return .none }
        switch text.value {
        case "ip": return .clientAddress
        case "none": return .none
        case _ where text.value.hasPrefix("cookie:") && BindingReader.isName(String(text.value.dropFirst(7))):
            return .cookie(String(text.value.dropFirst(7)))
        default:
            table.report(
                .invalidValue, text.place, "affinity",
                "expected \"cookie:NAME\", \"ip\" or \"none\", got \(JSONText.quoted(text.value))")
            return .none
        }
    }

    private func readDurableObjects(_ reader: inout TableReader) -> DurableObjectSettings {
        var table = reader.table("durable_objects")
        let settings = DurableObjectSettings(
            hibernateAfter: table?.duration("hibernate_after", in: .zero...Self.day)?.value ?? .seconds(10),
            evictAfter: table?.duration("evict_after", in: .zero...Self.day)?.value ?? .seconds(70),
            onDeploy: table?.choice("on_deploy", DurableObjectSettings.OnDeploy.self)?.value ?? .keep,
            objectsPerIsolate: table?.integer("objects_per_isolate", in: 1...10_000)?.value ?? 64,
            isolatesMax: table?.integer("isolates", in: 1...256)?.value ?? 32,
            timeTravel: table?.duration("time_travel", in: .zero...Self.year)?.value ?? Self.day * 30)
        table?.finish()
        return settings
    }

    private func readRetention(_ reader: inout TableReader) -> RetentionSettings {
        var table = reader.table("retention")
        let settings = RetentionSettings(
            logs: table?.duration("logs", in: .zero...Self.year * 10)?.value ?? Self.day * 7,
            timeTravel: table?.duration("time_travel", in: .zero...Self.year)?.value ?? Self.day * 7,
            queue: table?.duration("queue", in: .seconds(60) ... .seconds(1_209_600))?.value ?? Self.day * 4,
            analytics: table?.duration("analytics", in: .zero...Self.year * 10)?.value ?? Self.day * 90)
        table?.finish()
        return settings
    }

    private func readR2(_ reader: inout TableReader) -> R2Settings {
        guard var table = reader.table("r2") else { return R2Settings() }
        var settings = R2Settings()
        settings.limitsWriteRate = table.boolean("write_rate_limit")?.value ?? false
        table.finish()
        return settings
    }

    private func readCache(_ reader: inout TableReader) -> CacheStoreSettings {
        guard var table = reader.table("cache") else { return CacheStoreSettings() }
        var settings = CacheStoreSettings()
        let sizes = (1 << 20)...(1 << 50)
        settings.diskBytesMax = table.size("disk", in: sizes)?.value ?? settings.diskBytesMax
        settings.memoryBytesMax = table.size("memory", in: 0...(1 << 40))?.value ?? settings.memoryBytesMax
        table.finish()
        return settings
    }

    private func readDrain(_ reader: inout TableReader) -> DrainSettings {
        guard var table = reader.table("drain") else { return DrainSettings() }
        var settings = DrainSettings()
        settings.delay = table.duration("delay", in: .zero...Duration.seconds(3600))?.value ?? settings.delay
        settings.timeout = table.duration("timeout", in: .zero...Self.day)?.value ?? settings.timeout
        table.finish()
        return settings
    }

    /// `nodes = { a = "https://10.0.0.1:8788" }`
    private func readNodes(_ reader: inout TableReader) -> [String: String] {
        guard var table = reader.table("nodes") else { return [:] }
        var nodes: [String: String] = [:]
        for entry in table.table.entries {
            guard let url = table.name(entry.key) else { continue }
            if !BindingReader.isName(entry.key) {
                table.report(.invalidValue, entry.keyLocation, entry.key, "a node's name has letters, digits and \"_\"")
            }
            if !url.value.hasPrefix("http://"), !url.value.hasPrefix("https://") {
                table.report(
                    .invalidValue, url.place, entry.key,
                    "expected the control URL of a node, got \(JSONText.quoted(url.value))",
                    fix: "\"https://10.0.0.1:8788\"")
            }
            nodes[entry.key] = url.value
        }
        table.finish()
        return nodes
    }

    private func readKV(_ reader: inout TableReader) -> KVSettings {
        guard var table = reader.table("kv") else { return KVSettings() }
        var settings = KVSettings()
        settings.limitsWriteRate = table.boolean("write_rate_limit")?.value ?? false
        settings.hasShortPages = table.boolean("short_pages")?.value ?? false
        settings.tenantBytesMax = table.size("bytes_max", in: 0...Int.max)?.value ?? 0
        settings.namespaceBytesMax = table.size("namespace_bytes_max", in: 0...Int.max)?.value ?? 0
        settings.readsPerDayMax = table.integer("reads_per_day", in: 0...Int.max)?.value ?? 0
        settings.putsPerDayMax = table.integer("puts_per_day", in: 0...Int.max)?.value ?? 0
        settings.deletesPerDayMax = table.integer("deletes_per_day", in: 0...Int.max)?.value ?? 0
        settings.listsPerDayMax = table.integer("lists_per_day", in: 0...Int.max)?.value ?? 0
        table.finish()
        return settings
    }

    private func readSimulate(_ reader: inout TableReader) -> SimulateSettings? {
        guard var table = reader.table("simulate") else { return nil }
        guard kind != .production else {
            reader.report(
                .notAllowedHere, table.place, "simulate",
                "\"simulate\" makes stores late and lets calls fail: production refuses it",
                fix: "delete [simulate], or set it in environments/dev.toml")
            return nil
        }
        let minute = Duration.seconds(60)
        let seed = table.integer("seed", in: 0...Int.max)
        if seed == nil, table.table["seed"] == nil {
            table.missing("seed", "the same seed gives the same schedule, such as seed = 1")
        }
        let settings = SimulateSettings(
            seed: UInt64(seed?.value ?? 0),
            kvStaleness: table.duration("kv_stale", in: .zero...minute * 60)?.value ?? minute,
            limitsKVWrites: table.boolean("kv_write_rate_limit")?.value ?? false,
            d1Lag: table.duration("d1_lag", in: .zero...minute)?.value ?? .seconds(5),
            failurePercentage: table.integer("failures", in: 0...100)?.value ?? 1,
            latency: table.duration("latency", in: .zero...minute)?.value ?? .milliseconds(250),
            queueDuplicatePercentage: table.integer("queue_duplicates", in: 0...100)?.value ?? 5,
            reordersQueues: table.boolean("queue_reordering")?.value ?? true)
        table.finish()
        return seed == nil ? nil : settings
    }

    private func readHooks(_ reader: inout TableReader) -> [Hook] {
        guard var table = reader.table("hooks") else { return [] }
        var hooks: [Hook] = []
        for point in Hook.Point.allCases {
            guard let value = table.value(point.rawValue) else { continue }
            if let text = value.string, !text.isEmpty {
                hooks.append(Hook(point: point, action: Self.action(text), timeout: .seconds(60)))
                continue
            }
            guard var entry = table.table(point.rawValue) else { continue }
            let command = entry.name("command")
            let url = entry.name("url")
            let timeout =
                entry.duration("timeout", in: .milliseconds(1) ... .seconds(3600))?.value ?? .seconds(60)
            entry.finish()
            switch (command, url) {
            case (let command?, nil):
                hooks.append(Hook(point: point, action: .command(command.value), timeout: timeout))
            case (nil, let url?): hooks.append(Hook(point: point, action: .url(url.value), timeout: timeout))
            case (.some, let url?):
                entry.report(.invalidValue, url.place, "url", "a hook is either a command or a URL")
            case (nil, nil): entry.missing("command", "a hook is a command or a URL")
            }
        }
        table.finish()
        return hooks
    }

    private static func action(_ text: String) -> Hook.Action {
        text.hasPrefix("http://") || text.hasPrefix("https://") ? .url(text) : .command(text)
    }
}
