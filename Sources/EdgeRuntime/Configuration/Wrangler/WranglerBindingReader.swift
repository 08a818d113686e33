/// Reads the bindings of a wrangler file, kind by kind.
struct WranglerBindingReader {
    let layers: WranglerLayers
    let worker: String
    let collector: DiagnosticCollector
    private(set) var bindings: [Binding] = []
    private(set) var consumers: [QueueConsumer] = []

    init(layers: WranglerLayers, worker: String, collector: DiagnosticCollector) {
        self.layers = layers
        self.worker = worker
        self.collector = collector
    }

    private func reader(_ key: String) -> WranglerTable {
        WranglerTable(layers.effective, at: layers.place, path: "", prefix: layers.prefix(key), collector)
    }

    mutating func add(_ binding: Binding) {
        guard BindingReader.isName(binding.name) else {
            collector.error(
                .invalidValue, at: binding.place, path: "env.\(binding.name)",
                "\(JSONText.quoted(binding.name)) is no name for a binding",
                fix: "a name has letters, digits and \"_\", and begins with no digit")
            return
        }
        bindings.append(binding)
    }

    private mutating func each(
        _ key: String, name nameKey: String = "binding", _ target: (inout WranglerTable) -> Binding.Target?
    ) {
        each(in: reader(key).copy { $0.tables(key) } ?? [], name: nameKey, target)
    }

    private mutating func each(
        in list: [WranglerTable], name nameKey: String, _ target: (inout WranglerTable) -> Binding.Target?
    ) {
        for entry in list {
            var entry = entry
            let name = entry.required(nameKey)
            let found = target(&entry)
            entry.finish()
            let preview = ["preview_id", "preview_database_id"].lazy.compactMap { entry.table[$0]?.string }.first
            if let name, let found { add(Binding(name: name.value, target: found, place: name.place, preview: preview)) }
        }
    }

    /// Stores are made when they are missing, under a name of their own.
    private func resource(_ binding: String) -> String { "\(worker)-\(binding.lowercased())" }

    /// A name by which this node keeps a store; others would be no names of files.
    private static func store(_ name: Located<String>?, _ key: String, _ entry: WranglerTable) -> String? {
        guard let name else { return nil }
        guard BindingReader.isResourceName(name.value) else {
            entry.report(
                .invalidValue, name.place, key, "\(JSONText.quoted(name.value)) is no name for a store here",
                fix: "at most 63 lower-case letters, digits, \"_\" and inner \"-\"")
            return nil
        }
        return name.value
    }

    private static func queue(_ name: Located<String>?, _ key: String, _ entry: WranglerTable) -> String? {
        guard let name else { return nil }
        guard BindingReader.isQueueName(name.value) else {
            entry.report(
                .invalidValue, name.place, key, "\(JSONText.quoted(name.value)) is no name for a queue",
                fix: "at most 63 lower-case letters, digits and inner \"-\"")
            return nil
        }
        return name.value
    }

    mutating func read() {
        let own = self
        each("kv_namespaces") { entry in
            let identifier = entry.string("id")
            _ = entry.string("preview_id")
            _ = entry.boolean("remote")
            if identifier != nil { return Self.store(identifier, "id", entry).map { .kv(resource: $0) } }
            return entry.table["binding"]?.string.map { .kv(resource: own.resource($0)) }
        }
        each("d1_databases") { entry in
            let name = entry.string("database_name")
            _ = entry.string("database_id")
            _ = entry.string("preview_database_id")
            _ = entry.boolean("remote")
            let migrations = D1Migrations(
                directory: entry.string("migrations_dir")?.value ?? "./migrations",
                table: entry.string("migrations_table")?.value ?? "d1_migrations",
                pattern: entry.string("migrations_pattern")?.value ?? "*.sql")
            let resource =
                name == nil
                ? entry.table["binding"]?.string.map(own.resource) : Self.store(name, "database_name", entry)
            return resource.map {
                .d1(resource: $0, migrations: migrations)
            }
        }
        each("r2_buckets") { entry in
            guard let name = entry.required("bucket_name") else { return nil }
            _ = entry.string("preview_bucket_name")
            _ = entry.string("jurisdiction")
            _ = entry.boolean("remote")
            let isValid =
                (3...63).contains(name.value.utf8.count) && BindingReader.isResourceName(name.value)
                && !name.value.contains("_")
            guard isValid else {
                entry.report(
                    .invalidValue, name.place, "bucket_name",
                    "Expected \"\(entry.field("bucket_name"))\" to match ^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$ but got \(JSONText.quoted(name.value))."
                )
                return nil
            }
            return .r2(resource: name.value)
        }
        readQueues()
        each("services") { entry in
            let service = entry.required("service")?.value
            let environment = entry.string("environment")?.value
            let entrypoint = entry.string("entrypoint")?.value
            let props = entry.value("props")?.json
            _ = entry.boolean("remote")
            guard let service else { return nil }
            return .service(
                worker: Self.worker(service, in: environment), entrypoint: entrypoint, props: props)
        }
        each("ratelimits", name: "name") { entry in
            let namespace = entry.required("namespace_id")?.value
            guard var simple = entry.table("simple") else {
                entry.report(
                    .missingKey, entry.place, "simple",
                    "\"\(entry.path)\" bindings should have a \"simple\" object.")
                return nil
            }
            let limit = simple.integer("limit", in: 1...1_000_000_000)
            let period = simple.integer("period", in: 1...86_400)
            simple.finish()
            guard let namespace, let limit, let period else { return nil }
            guard period == 10 || period == 60 else {
                simple.report(
                    .outOfRange, simple.table["period"]?.location ?? simple.place, "period",
                    "unsupported period: \(period)",
                    fix: "10 or 60")
                return nil
            }
            return .rateLimit(
                RateLimit(key: .given, namespace: namespace, limit: limit, periodSeconds: period))
        }
        each("analytics_engine_datasets") { entry in
            let written = entry.string("dataset")
            guard let name = written?.value ?? entry.table["binding"]?.string else { return nil }
            guard BindingReader.isDatasetName(name) else {
                entry.report(
                    .invalidValue, written?.place ?? entry.place, "dataset",
                    "\(JSONText.quoted(name)) is no name for a dataset", fix: BindingReader.datasetNameFix)
                return nil
            }
            return .analytics(dataset: name)
        }
        each("vectorize") { entry in
            _ = entry.boolean("remote")
            return entry.required("index_name").map {
                .vectorize(resource: $0.value, dimensions: nil, metric: nil)
            }
        }
        if var objects = reader("durable_objects").copy({ $0.table("durable_objects") }) {
            let list = objects.tables("bindings") ?? []
            objects.finish()
            each(in: list, name: "name") { entry in
                let className = entry.required("class_name")?.value
                let script = entry.string("script_name")?.value
                let environment = entry.string("environment")?.value
                let owner = script.map { Self.worker($0, in: environment) }
                return className.map { .durableObject(class: $0, worker: owner) }
            }
        }
        each("workflows") { entry in
            let name = entry.required("name")
            let className = entry.required("class_name")?.value
            let script = entry.string("script_name")?.value
            _ = entry.table("limits")
            _ = entry.value("schedules")
            if let name, name.value.count > 64 {
                entry.report(.outOfRange, name.place, "name", "a workflow's name has at most 64 characters")
            }
            guard let name, let className else { return nil }
            return .workflow(name: name.value, class: className, worker: script)
        }
        each("send_email", name: "name") { entry in
            let single = entry.string("destination_address")?.value
            let several = entry.strings("allowed_destination_addresses")?.map(\.value)
            let senders = entry.strings("allowed_sender_addresses")?.map(\.value) ?? []
            if single != nil, several != nil {
                entry.report(
                    .invalidValue, entry.place, "destination_address",
                    "Expected exactly one of the following fields [\"destination_address\",\"allowed_destination_addresses\"]."
                )
            }
            return .email(to: single.map { [$0] } ?? several ?? [], from: senders)
        }
        each("hyperdrive") { entry in
            let identifier = entry.string("id")?.value
            let local = entry.string("localConnectionString")?.value
            return (local ?? identifier).map { .hyperdrive(resource: $0) }
        }
        each("dispatch_namespaces") { entry in
            _ = entry.table("outbound")
            return entry.required("namespace").map { .dispatch(namespace: $0.value) }
        }
        single("ai", .ai)
        single("version_metadata", .versionMetadata)
    }

    /// The environment of a worker is a worker of its own.
    static func worker(_ name: String, in environment: String?) -> String {
        environment.map { "\(name)-\($0)" } ?? name
    }

    private mutating func single(_ key: String, _ target: Binding.Target) {
        guard var entry = reader(key).copy({ $0.table(key) }) else { return }
        let name = entry.required("binding")
        _ = entry.boolean("remote")
        entry.finish()
        if let name { add(Binding(name: name.value, target: target, place: name.place)) }
    }

    private static func consumerKind(_ type: Located<String>?, _ entry: WranglerTable) -> QueueConsumerKind {
        guard let type else { return .worker }
        if let kind = QueueConsumerKind(rawValue: type.value) { return kind }
        entry.report(
            .invalidValue, type.place, "type",
            "expected one of \"worker\", \"http_pull\", got \(JSONText.quoted(type.value))")
        return .worker
    }

    private mutating func readQueues() {
        guard var queues = reader("queues").copy({ $0.table("queues") }) else { return }
        let producers = queues.tables("producers") ?? []
        let list = queues.tables("consumers") ?? []
        queues.finish()
        each(in: producers, name: "binding") { entry in
            let queue = Self.queue(entry.required("queue"), "queue", entry)
            let delay = entry.integer("delivery_delay", in: 0...43_200)
            return queue.map { .queue($0, delay: delay.map { .seconds($0) }) }
        }
        var seen: [String: SourcePlace] = [:]
        for entry in list {
            var entry = entry
            let queue = entry.required("queue")
            let kind = Self.consumerKind(entry.string("type"), entry)
            let consumer = QueueConsumer(
                queue: queue?.value ?? "", kind: kind,
                batchCountMax: max(1, entry.integer("max_batch_size", in: 0...100) ?? kind.batchCountMax),
                batchTimeout: .seconds(entry.integer("max_batch_timeout", in: 0...60) ?? 5),
                retriesMax: entry.integer("max_retries", in: 0...100) ?? 3,
                retryDelay: .seconds(entry.integer("retry_delay", in: 0...86_400) ?? 0),
                deadLetterQueue: Self.queue(entry.string("dead_letter_queue"), "dead_letter_queue", entry),
                concurrencyMax: entry.integer("max_concurrency", in: 1...250),
                visibilityTimeout: .milliseconds(entry.integer("visibility_timeout_ms", in: 0...43_200_000) ?? 30_000),
                place: queue?.place ?? entry.place)
            entry.finish()
            guard let queue, Self.queue(queue, "queue", entry) != nil else { continue }
            if let first = seen[queue.value] {
                collector.error(
                    .duplicateName, at: queue.place, path: entry.prefix + entry.field("queue"),
                    "queue \"\(queue.value)\" has two consumers", related: [.init(first, "the first one")])
            }
            seen[queue.value] = queue.place
            if consumer.deadLetterQueue == queue.value {
                entry.report(
                    .invalidValue, entry.table["dead_letter_queue"]?.location ?? entry.place,
                    "dead_letter_queue",
                    "queue \"\(queue.value)\" can't be its own dead-letter queue")
            }
            consumers.append(consumer)
        }
    }
}
