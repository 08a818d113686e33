/// Writes one worker as `wrangler-like.toml`: what `edge config import` makes of a file in wrangler's format. Says only
/// what differs from the values that hold without it; keys that this version doesn't serve are left out, bindings aren't.
package struct ShapeText {
    private let configuration: EffectiveConfiguration
    /// Whether a folder of D1 migrations is there: wrangler's format names one by default.
    private let hasFolder: (D1Migrations) -> Bool

    package init(_ configuration: EffectiveConfiguration, hasFolder: @escaping (D1Migrations) -> Bool) {
        self.configuration = configuration
        self.hasFolder = hasFolder
    }

    package var text: String {
        var lines = ["format = 1", line("tenant", quoted(configuration.tenant))]
        if let worker = configuration.workers.first {
            lines.append(line("compatibility_date", quoted("\(worker.compatibilityDate)")))
        }
        for worker in configuration.workers { lines += ["", "[workers.\(worker.name)]"] + self.lines(of: worker) }
        for queue in configuration.queues { lines += ["", "[queues.\(queue.name)]"] }
        return lines.joined(separator: "\n") + "\n"
    }

    private func lines(of worker: WorkerConfiguration) -> [String] {
        var lines = [line("product", quoted(worker.product))]
        let own = "\(worker.name).\(configuration.domain)"
        let hosts = worker.customDomains.filter { !worker.hasDefaultHost || $0.domain.host != own }
        let routes =
            worker.routes.map { quoted($0.pattern.text) } + hosts.map { table([("host", quoted($0.domain.host))]) }
        if !routes.isEmpty { lines.append(line("routes", list(routes))) }
        if worker.hasDefaultHost { lines.append("workers_dev = true") }
        if !worker.crons.isEmpty { lines.append(line("crons", list(worker.crons.map { quoted($0.text) }))) }
        if !worker.secrets.isEmpty { lines.append(line("secrets", list(worker.secrets.map { quoted($0.name) }))) }
        lines += limits(worker.limits)
        if !worker.outbound.allow.isEmpty {
            lines.append(line("outbound", table([("allow", list(worker.outbound.allow.map { quoted("\($0)") }))])))
        }
        // A list of a kind stands where its first binding does.
        var lists: [(key: String, items: [String])] = []
        var singles: [String] = []
        for binding in worker.bindings {
            let (key, values, isSingle) = entry(binding, worker)
            let item = table([("binding", quoted(binding.name))] + values)
            if isSingle {
                singles.append(line(key, item))
            } else if let index = lists.firstIndex(where: { $0.key == key }) {
                lists[index].items.append(item)
            } else {
                lists.append((key, [item]))
            }
        }
        if !worker.consumers.isEmpty { lists.append(("queues.consume", worker.consumers.map(consumer))) }
        if !worker.migrations.isEmpty { lists.append(("migrations", worker.migrations.map(migration))) }
        lines += lists.map { line($0.key, list($0.items)) } + singles
        let variables = worker.variables.map { (DocumentValue.tomlKey($0.name), value($0.value)) }
        if !variables.isEmpty { lines += ["", "[workers.\(worker.name).vars]"] + variables.map(line) }
        return lines
    }

    private func entry(
        _ binding: Binding, _ worker: WorkerConfiguration
    ) -> (key: String, values: [(String, String)], isSingle: Bool) {
        func optional(_ key: String, _ text: String?) -> [(String, String)] { text.map { [(key, quoted($0))] } ?? [] }
        switch binding.target {
        case .kv(let resource): return ("kv", [("resource", quoted(resource))], false)
        case .r2(let resource): return ("r2", [("resource", quoted(resource))], false)
        case .d1(let resource, let migrations):
            var values = [("resource", quoted(resource))]
            if let migrations, hasFolder(migrations) {
                values.append(("migrations", quoted(migrations.directory)))
                if migrations.table != "d1_migrations" { values.append(("migrations_table", quoted(migrations.table))) }
                if migrations.pattern != "*.sql" { values.append(("migrations_pattern", quoted(migrations.pattern))) }
            }
            return ("d1", values, false)
        case .queue(let queue, let delay):
            let values = [("queue", quoted(queue))] + (delay.map { [("delivery_delay", duration($0))] } ?? [])
            return ("queues.produce", values, false)
        case .service(let target, let entrypoint, let props):
            let values = [("worker", quoted(target))] + optional("entrypoint", entrypoint)
            return ("services", values + (props.map { [("props", value(.json($0)))] } ?? []), false)
        case .rateLimit(let limit):
            let values = [("limit", String(limit.limit)), ("period", String(limit.periodSeconds))]
            return ("ratelimits", values + optional("namespace", limit.namespace), false)
        case .analytics(let dataset): return ("analytics", [("dataset", quoted(dataset))], false)
        case .vectorize(let resource, _, _): return ("vectorize", [("resource", quoted(resource))], false)
        case .durableObject(let name, let owner):
            return ("durable_objects", [("class", quoted(name))] + optional("worker", owner), false)
        case .workflow(let name, let className, let owner):
            let values = [("name", quoted(name)), ("class", quoted(className))]
            return ("workflows", values + optional("worker", owner), false)
        case .email(let to, let from):
            return ("email", [("to", list(to.map(quoted))), ("from", list(from.map(quoted)))], false)
        case .hyperdrive(let resource): return ("hyperdrive", [("resource", quoted(resource))], false)
        case .dispatch(let namespace): return ("dispatch", [("namespace", quoted(namespace))], false)
        case .assets:
            return ("assets", [("directory", quoted(worker.assets?.directory ?? "public"))], true)
        case .ai: return ("ai", [], true)
        case .versionMetadata: return ("version_metadata", [], true)
        }
    }

    private func limits(_ limits: WorkerLimits) -> [String] {
        let standard = limits.profile.table
        var values: [(String, String)] = []
        if limits.cpu != standard.cpu.standard { values.append(("cpu", duration(limits.cpu))) }
        if limits.memoryByteCount != standard.memoryByteCount.standard {
            values.append(("memory", quoted(SizeText.text(limits.memoryByteCount))))
        }
        if limits.subrequests != standard.subrequests.standard {
            values.append(("subrequests", String(limits.subrequests)))
        }
        return values.isEmpty ? [] : [line("limits", table(values))]
    }

    private func consumer(_ consumer: QueueConsumer) -> String {
        var values = [
            ("queue", quoted(consumer.queue)), ("batch", String(consumer.batchCountMax)),
            ("timeout", duration(consumer.batchTimeout)), ("retries", String(consumer.retriesMax)),
        ]
        if consumer.kind != .worker { values.append(("type", quoted(consumer.kind.rawValue))) }
        if consumer.visibilityTimeout != .seconds(30) {
            values.append(("visibility_timeout", duration(consumer.visibilityTimeout)))
        }
        if consumer.retryDelay != .zero { values.append(("retry_delay", duration(consumer.retryDelay))) }
        if let queue = consumer.deadLetterQueue { values.append(("dead_letter", quoted(queue))) }
        if let count = consumer.concurrencyMax { values.append(("concurrency", String(count))) }
        return table(values)
    }

    private func migration(_ migration: ClassMigration) -> String {
        var values = [("tag", quoted(migration.tag))]
        func names(_ key: String, _ classes: [String]) {
            if !classes.isEmpty { values.append((key, list(classes.map(quoted)))) }
        }
        names("new_sqlite_classes", migration.newSQLiteClasses)
        names("new_classes", migration.newClasses)
        names("deleted_classes", migration.deletedClasses)
        if !migration.renamedClasses.isEmpty {
            let items = migration.renamedClasses.map { table([("from", quoted($0.from)), ("to", quoted($0.to))]) }
            values.append(("renamed_classes", list(items)))
        }
        if !migration.transferredClasses.isEmpty {
            let items = migration.transferredClasses.map {
                table([("from", quoted($0.from)), ("from_script", quoted($0.fromWorker)), ("to", quoted($0.to))])
            }
            values.append(("transferred_classes", list(items)))
        }
        return table(values)
    }

    // MARK: TOML

    private func line(_ key: String, _ value: String) -> String { "\(key) = \(value)" }
    private func quoted(_ text: String) -> String { JSONText.quoted(text) }
    private func duration(_ duration: Duration) -> String { quoted(DurationText.text(duration)) }
    private func list(_ items: [String]) -> String { "[\(items.joined(separator: ", "))]" }
    private func table(_ values: [(String, String)]) -> String {
        values.isEmpty ? "{}" : "{ \(values.map { "\($0.0) = \($0.1)" }.joined(separator: ", ")) }"
    }

    private func value(_ value: Variable.Value) -> String {
        switch value {
        case .text(let text): quoted(text)
        // It was written from a document: it can be read.
        case .json(let json): (try? JSONReader.read(SourceText(name: "value", text: json)))?.tomlText ?? quoted(json)
        }
    }
}
