/// Reads the bindings of one worker, kind by kind; that order is the order of `Binding`s.
struct BindingReader {
    private let context: WorkerContext
    private(set) var bindings: [Binding] = []
    private(set) var consumers: [QueueConsumer] = []
    private(set) var assets: AssetSettings?
    /// The worker has no code: nothing but files.
    private var isAssetsOnly = false

    init(_ context: WorkerContext) { self.context = context }

    /// What a handler can say after `env.`: `^[A-Za-z_][A-Za-z0-9_]*$`.
    static func isName(_ text: String) -> Bool {
        guard let first = text.utf8.first, !(0x30...0x39).contains(first) else { return false }
        return text.utf8.allSatisfy { TOMLParser.isBareKeyByte($0) && $0 != UInt8(ascii: "-") }
    }

    /// The names of workers, queues and stores: lower-case letters, digits and dashes.
    static func isResourceName(_ text: String) -> Bool {
        guard (1...63).contains(text.utf8.count), !text.hasPrefix("-"), !text.hasSuffix("-") else {
            return false
        }
        return text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"),
                UInt8(ascii: "_"):
                true
            default: false
            }
        }
    }

    /// Queues have no `_`, as they have none at Cloudflare.
    static func isQueueName(_ text: String) -> Bool { isResourceName(text) && !text.contains("_") }

    /// The dataset of an analytics binding, which is also the name of a table: by default that of the binding.
    static func dataset(_ entry: inout TableReader) -> Binding.Target? {
        let written = entry.name("dataset")
        guard let name = written?.value ?? entry.table["binding"]?.string else { return nil }
        guard isDatasetName(name) else {
            entry.report(
                .invalidValue, written?.place ?? entry.place, "dataset", "\(JSONText.quoted(name)) is no name for a dataset",
                fix: datasetNameFix)
            return nil
        }
        return .analytics(dataset: name)
    }

    static func isDatasetName(_ name: String) -> Bool { isName(name) && name.utf8.count <= 64 }
    static let datasetNameFix = "at most 64 letters, digits and \"_\", and no digit at the beginning"

    static func checkUnique(
        _ named: [(name: String, kind: String, place: SourcePlace)], worker: String, path: String,
        _ collector: DiagnosticCollector
    ) {
        var seen: [String: (kind: String, place: SourcePlace)] = [:]
        for (name, kind, place) in named {
            guard let first = seen[name] else {
                seen[name] = (kind, place)
                continue
            }
            // The later place in the file is the mistake, whichever kind is read first.
            let isSwapped = place.file == first.place.file && place < first.place
            let current = (kind: kind, place: place)
            let (early, late) = isSwapped ? (current, first) : (first, current)
            collector.error(
                .duplicateName, at: late.place, path: "\(path).\(name)",
                "worker \"\(worker)\" has two things named \"\(name)\": \(article(early.kind)) (\(early.place)) and \(article(late.kind)) (\(late.place))",
                fix: "rename one: a handler reaches both as env.\(name)",
                related: [.init(early.place, "\(early.kind) \"\(name)\"")])
        }
    }

    private static func article(_ noun: String) -> String {
        "\("aeiou".contains(noun.lowercased().first ?? "b") ? "an" : "a") \(noun)"
    }

    mutating func read(_ reader: inout TableReader, _ table: DocumentTable) {
        isAssetsOnly = table["product"] == nil && !context.isPartial
        for entry in reader.tables("kv", identity: "binding") ?? [] {
            add(entry) { $0.resource("resource", "store").map { .kv(resource: $0) } }
        }
        for entry in reader.tables("d1", identity: "binding") ?? [] {
            add(entry) { entry in
                guard let resource = entry.resource("resource", "database") else { return nil }
                let directory = entry.name("migrations")
                let table = entry.name("migrations_table")
                let pattern = entry.name("migrations_pattern")
                if directory == nil, let extra = table ?? pattern {
                    entry.report(
                        .invalidValue, extra.place, "migrations", "\"migrations\" must name the directory")
                }
                return .d1(
                    resource: resource,
                    migrations: directory.map {
                        D1Migrations(
                            directory: $0.value, table: table?.value ?? "d1_migrations",
                            pattern: pattern?.value ?? "*.sql")
                    })
            }
        }
        for entry in reader.tables("r2", identity: "binding") ?? [] {
            add(entry) { entry in
                guard let resource = entry.resource("resource", "bucket") else { return nil }
                guard resource.utf8.count >= 3, !resource.contains("_") else {
                    entry.report(
                        .invalidValue, entry.table["resource"]?.location ?? entry.place, "resource",
                        "a bucket's name has 3…63 lower-case letters, digits and dashes, got \(JSONText.quoted(resource))"
                    )
                    return nil
                }
                return .r2(resource: resource)
            }
        }
        readQueues(&reader)
        for entry in reader.tables("services", identity: "binding") ?? [] {
            add(entry) { entry in
                let worker = entry.resource("worker", "worker")
                let entrypoint = entry.name("entrypoint")?.value
                let props = entry.table("props")
                guard let worker else { return nil }
                return .service(
                    worker: worker, entrypoint: entrypoint,
                    props: props.flatMap { DocumentValue(.table($0.table), at: $0.place).json })
            }
        }
        for entry in reader.tables("ratelimits", identity: "binding") ?? [] { add(entry, rateLimit) }
        for entry in reader.tables("analytics", identity: "binding") ?? [] {
            add(entry) { entry in
                Self.dataset(&entry)
            }
        }
        for entry in reader.tables("vectorize", identity: "binding") ?? [] {
            add(entry) { entry in
                let resource = entry.resource("resource", "index")
                let dimensions = entry.integer("dimensions", in: 1...1536)?.value
                let metric = entry.choice("metric", VectorMetric.self)?.value
                return resource.map { .vectorize(resource: $0, dimensions: dimensions, metric: metric) }
            }
        }
        for entry in reader.tables("durable_objects", identity: "binding") ?? [] {
            add(entry) { entry in
                let className = entry.required("class", "the class whose objects it makes")
                let worker = entry.name("worker")?.value
                return className.map { .durableObject(class: $0, worker: worker) }
            }
        }
        for entry in reader.tables("workflows", identity: "binding") ?? [] {
            add(entry) { entry in
                let className = entry.required("class", "the workflow's class")
                let name = entry.name("name")?.value
                let worker = entry.name("worker")?.value
                return className.map { .workflow(name: name ?? $0, class: $0, worker: worker) }
            }
        }
        for entry in reader.tables("email", identity: "binding") ?? [] {
            add(entry) { entry in
                .email(
                    to: entry.strings("to")?.map(\.value) ?? [],
                    from: entry.strings("from")?.map(\.value) ?? [])
            }
        }
        if let entry = reader.table("ai") { add(entry) { _ in .ai } }
        if let entry = reader.table("version_metadata") { add(entry) { _ in .versionMetadata } }
        if var entry = reader.table("assets") { readAssets(&entry) }
    }

    private mutating func add(_ entry: TableReader, _ target: (inout TableReader) -> Binding.Target?) {
        var entry = entry
        let name = entry.required("binding", "the name by which a handler reaches it")
        let place = entry.table["binding"]?.location ?? entry.place
        let found = target(&entry)
        entry.finish()
        guard let name, let found else { return }
        guard Self.isName(name) else {
            entry.report(
                .invalidValue, place, "binding", "\(JSONText.quoted(name)) is no name for a binding",
                fix: "a name has letters, digits and \"_\", and begins with no digit")
            return
        }
        bindings.append(Binding(name: name, target: found, place: place))
    }

    private func rateLimit(_ entry: inout TableReader) -> Binding.Target? {
        let keyText = entry.string("key")
        var key = RateLimit.Key.given
        if let keyText {
            guard keyText.value == "ip" else {
                entry.report(
                    .invalidValue, keyText.place, "key",
                    "expected \"ip\", got \(JSONText.quoted(keyText.value))",
                    fix: "leave key out to let the worker call limit(key:)")
                return nil
            }
            key = .clientAddress
        }
        let namespace = entry.name("namespace")?.value
        let limit = entry.integer("limit", in: 1...1_000_000_000)
        if limit == nil, entry.table["limit"] == nil { entry.missing("limit", "calls per period") }
        let period = entry.integer("period", in: 1...86_400)
        if period == nil, entry.table["period"] == nil { entry.missing("period", "10 or 60, in seconds") }
        guard let limit, let period else { return nil }
        guard period.value == 10 || period.value == 60 else {
            entry.report(
                .outOfRange, period.place, "period", "unsupported period: \(period.value)", fix: "10 or 60")
            return nil
        }
        var count = limit.value
        if context.kind == .dev, !context.isEnvironmentValue(limit.place) {
            // A developer's browser and test runs come from one address.
            count = min(count * 10, 1_000_000_000)
            context.derive(entry.path("limit"), String(count), note: "×10 in dev")
        }
        return .rateLimit(
            RateLimit(key: key, namespace: namespace, limit: count, periodSeconds: period.value))
    }

    private mutating func readQueues(_ reader: inout TableReader) {
        guard var queues = reader.table("queues") else { return }
        for entry in queues.tables("produce", identity: "binding") ?? [] {
            add(entry) { entry in
                let queue = entry.queue("queue")
                let delay = entry.duration("delivery_delay", in: .zero ... .seconds(43_200))?.value
                return queue.map { .queue($0, delay: delay) }
            }
        }
        for entry in queues.tables("consume", identity: "queue") ?? [] {
            var entry = entry
            let queue = entry.queue("queue")
            let place = entry.table["queue"]?.location ?? entry.place
            let kind = entry.choice("type", QueueConsumerKind.self)?.value ?? .worker
            let consumer = QueueConsumer(
                queue: queue ?? "", kind: kind,
                batchCountMax: entry.integer("batch", in: 1...100)?.value ?? kind.batchCountMax,
                batchTimeout: entry.duration("timeout", in: .zero ... .seconds(60))?.value ?? .seconds(5),
                retriesMax: entry.integer("retries", in: 0...100)?.value ?? 3,
                retryDelay: entry.duration("retry_delay", in: .zero ... .seconds(86_400))?.value ?? .zero,
                deadLetterQueue: entry.optionalQueue("dead_letter"),
                concurrencyMax: entry.integer("concurrency", in: 1...250)?.value,
                visibilityTimeout: entry.duration("visibility_timeout", in: .zero ... .seconds(43_200))?.value
                    ?? .seconds(30), place: place)
            entry.finish()
            guard queue != nil else { continue }
            if consumer.deadLetterQueue == queue {
                entry.report(
                    .invalidValue, entry.table["dead_letter"]?.location ?? place, "dead_letter",
                    "queue \"\(consumer.queue)\" can't be its own dead-letter queue")
            }
            consumers.append(consumer)
        }
        queues.finish()
    }

    private mutating func readAssets(_ entry: inout TableReader) {
        let directory = entry.required("directory", "where the files are")
        let binding = entry.name("binding")
        var workerFirst = AssetSettings.WorkerFirst.never
        if let value = entry.value("run_worker_first") {
            switch value.content {
            case .boolean(let isFirst): workerFirst = isFirst ? .always : .never
            case .array:
                let rules = entry.strings("run_worker_first") ?? []
                workerFirst = .paths(rules.map(\.value))
                for rule in rules where !rule.value.hasPrefix("/") && !rule.value.hasPrefix("!/") {
                    entry.report(
                        .invalidValue, rule.place, "run_worker_first",
                        "a rule begins with \"/\" or \"!/\", got \(JSONText.quoted(rule.value))")
                }
                for rule in rules where rule.value.utf8.count > 100 {
                    entry.report(
                        .outOfRange, rule.place, "run_worker_first",
                        "a rule has at most 100 characters, got \(rule.value.utf8.count)")
                }
                if rules.count > 100 || rules.allSatisfy({ $0.value.hasPrefix("!") }) {
                    entry.report(
                        .outOfRange, value.location, "run_worker_first",
                        "1…100 rules, at least one without \"!\"")
                }
            default:
                entry.report(
                    .wrongType, value.location, "run_worker_first",
                    "expected true, false or an array of paths, got \(value.described)")
            }
        }
        let settings = AssetSettings(
            directory: directory ?? "", binding: binding?.value,
            html: entry.choice("html", AssetSettings.HTMLHandling.self)?.value ?? .autoTrailingSlash,
            notFound: entry.choice("not_found", AssetSettings.NotFound.self)?.value ?? .none,
            workerFirst: workerFirst)
        entry.finish()
        guard directory != nil else { return }
        assets = settings
        if isAssetsOnly, let binding {
            entry.report(
                .invalidValue, binding.place, "binding", "a worker without a product can't use a binding",
                fix: "name its product, or delete the binding")
        }
        if isAssetsOnly, workerFirst != .never, let place = entry.table["run_worker_first"]?.location {
            entry.report(
                .invalidValue, place, "run_worker_first", "there is no worker that could run first",
                fix: "name its product, or delete run_worker_first")
        }
        guard let binding else { return }
        guard Self.isName(binding.value) else {
            entry.report(
                .invalidValue, binding.place, "binding",
                "\(JSONText.quoted(binding.value)) is no name for a binding")
            return
        }
        bindings.append(Binding(name: binding.value, target: .assets, place: binding.place))
    }
}

extension TableReader {
    /// A string that must be there.
    mutating func required(_ key: String, _ meaning: String) -> String? {
        if let text = name(key) { return text.value }
        if table[key] == nil { missing(key, meaning) }
        return nil
    }

    /// The name of a worker, queue or store, which must be there.
    mutating func resource(_ key: String, _ kind: String) -> String? {
        if table[key] == nil { missing(key, "the name of the \(kind)") }
        return optionalResource(key)
    }

    /// The name of a queue, which must be there.
    mutating func queue(_ key: String) -> String? {
        if table[key] == nil { missing(key, "the name of the queue") }
        return optionalQueue(key)
    }

    mutating func optionalQueue(_ key: String) -> String? {
        guard let text = name(key) else { return nil }
        guard BindingReader.isQueueName(text.value) else {
            report(
                .invalidValue, text.place, key, "\(JSONText.quoted(text.value)) is no name for a queue",
                fix: "at most 63 lower-case letters, digits and inner \"-\"")
            return nil
        }
        return text.value
    }

    mutating func optionalResource(_ key: String) -> String? {
        guard let text = name(key) else { return nil }
        guard BindingReader.isResourceName(text.value) else {
            report(
                .invalidValue, text.place, key, "\(JSONText.quoted(text.value)) is no valid name",
                fix: "at most 63 lower-case letters, digits, \"_\" and inner \"-\"")
            return nil
        }
        return text.value
    }
}
