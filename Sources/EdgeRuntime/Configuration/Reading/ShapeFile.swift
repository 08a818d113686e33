/// `wrangler-like.toml` as it stands: what the platform is, equal in all environments.
package struct ShapeFile: Sendable {
    package static let name = "wrangler-like.toml"

    package let source: SourceText
    package let document: DocumentTable

    package init(_ source: SourceText) throws(SyntaxError) {
        self.source = source
        document = try TOMLReader.read(source)
    }

    var place: SourcePlace { SourcePlace(source, 0..<0) }

    /// The top level, its workers apart.
    struct Header {
        var tenant = ""
        var compatibilityDate = CompatibilityDate.newest
        var defaults = DocumentTable()
        var defaultsPlace: SourcePlace?
        /// Names and tables, as written.
        var workers: [DocumentTable.Entry] = []
        var queues: [(name: String, place: SourcePlace, reader: TableReader)] = []
    }

    static func checkFormat(_ reader: inout TableReader) {
        guard let format = reader.integer("format", in: 0...Int(Int32.max)), format.value != 1 else { return }
        reader.report(
            .outOfRange, format.place, "format",
            "format \(format.value) is not known to this version of edge; it reads format 1")
    }

    func readHeader(today: CivilDate?, _ collector: DiagnosticCollector) -> Header {
        var reader = TableReader(document, path: "", at: place, collector)
        var header = Header()
        Self.checkFormat(&reader)
        header.tenant = reader.resource("tenant", "account that owns the workers") ?? ""
        if let place = reader.table["tenant"]?.location, TenantName.isReserved(header.tenant) {
            reader.report(.invalidValue, place, "tenant", TenantName.problem(header.tenant), fix: "choose another name")
        }
        if let value = reader.value("compatibility_date") {
            header.compatibilityDate =
                CompatibilityDate.read(value, path: "compatibility_date", today: today, collector)
                ?? CompatibilityDate.newest
        } else {
            header.compatibilityDate = today ?? CompatibilityDate.newest
            collector.warning(
                .missingKey, at: place, path: "compatibility_date",
                "no compatibility_date: the newest behaviour is used, \(header.compatibilityDate)",
                fix: "compatibility_date = \"\(header.compatibilityDate)\"")
        }
        if let defaults = reader.table("defaults") {
            header.defaults = defaults.table
            header.defaultsPlace = defaults.place
        }
        if let workers = reader.table("workers") { header.workers = Self.checkedWorkers(workers) }
        if let queues = reader.table("queues") {
            for entry in queues.table.entries {
                guard let table = entry.value.table else {
                    queues.report(
                        .wrongType, entry.value.location, entry.key,
                        "expected a table, got \(entry.value.described)")
                    continue
                }
                guard BindingReader.isQueueName(entry.key) else {
                    queues.report(
                        .invalidValue, entry.keyLocation, entry.key,
                        "\(JSONText.quoted(entry.key)) is no name for a queue",
                        fix: "at most 63 lower-case letters, digits and inner \"-\"")
                    continue
                }
                header.queues.append(
                    (
                        entry.key, entry.keyLocation,
                        TableReader(table, path: queues.path(entry.key), at: entry.value.location, collector)
                    ))
            }
        }
        if let environments = document.entry("env") {
            _ = reader.value("env")
            let names = environments.value.table?.keys ?? []
            for name in names.isEmpty ? ["NAME"] : names {
                let place = environments.value.table?.entry(name)?.keyLocation ?? environments.keyLocation
                collector.error(
                    .notAllowedHere, at: place, path: "env.\(name)",
                    "[env.\(name)] has no place in wrangler-like.toml",
                    fix: "move to environments/\(name).toml")
            }
        }
        reader.finish { key in
            switch key {
            case "domain", "listen", "tls", "s3", "log", "deploy", "cache_ttl", "trusted_proxies", "deploy_keys", "retention",
                "hooks", "nodes":
                "\"\(key)\" belongs to environments/NAME.toml"
            case _ where WorkerReader.shapeKeys.contains(key): "write it under [workers.NAME]"
            default: nil
            }
        }
        return header
    }

    private static func checkedWorkers(_ workers: TableReader) -> [DocumentTable.Entry] {
        workers.table.entries.filter { entry in
            guard entry.value.table != nil else {
                workers.report(
                    .wrongType, entry.value.location, entry.key,
                    "expected a table, got \(entry.value.described)")
                return false
            }
            guard let problem = WorkerName.problem(entry.key) else { return true }
            workers.report(
                .invalidValue, entry.keyLocation, entry.key,
                "\(JSONText.quoted(entry.key)) is no name for a worker: \(problem)")
            return false
        }
    }
}

/// A tenant's stores lie in a folder of its name, beside what the node keeps for itself.
enum TenantName {
    static func isReserved(_ name: String) -> Bool {
        ["artifacts", "assets", "tenants", "lock", "format", "control"].contains(name)
    }

    static func problem(_ name: String) -> String {
        "\(JSONText.quoted(name)) is no name for a tenant: the node keeps things of its own under it"
    }
}

/// `^[a-z0-9_][a-z0-9-_]*$`, at most 63 bytes: a worker's name becomes a label of a host name.
enum WorkerName {
    static func problem(_ name: String) -> String? {
        guard !name.isEmpty, !name.hasPrefix("-"),
            name.utf8.allSatisfy({ byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                    UInt8(ascii: "-"),
                    UInt8(ascii: "_"):
                    true
                default: false
                }
            })
        else { return "lower-case letters, digits, \"-\" and \"_\" only, and no \"-\" at the start" }
        return name.utf8.count <= 63 ? nil : "it has \(name.utf8.count) characters, at most 63 are allowed"
    }
}

/// `environments/NAME.toml` as it stands: how much, where, how strict.
package struct EnvironmentFile: Sendable {
    package let name: String
    package let source: SourceText
    package let document: DocumentTable

    package init(name: String, _ source: SourceText) throws(SyntaxError) {
        self.name = name
        self.source = source
        document = try TOMLReader.read(source)
    }

    package static func path(_ name: String) -> String { "environments/\(name).toml" }

    /// Reports what an environment may not say about workers, and takes it out.
    static func checkWorkers(
        _ document: DocumentTable, shape: ShapeFile.Header, _ collector: DiagnosticCollector
    ) -> (defaults: DocumentTable, workers: [String: DocumentTable]) {
        var defaults = DocumentTable()
        if let entry = document.entry("defaults") {
            if let table = entry.value.table {
                defaults = table
            } else {
                collector.error(
                    .wrongType, at: entry.value.location, path: "defaults",
                    "expected a table, got \(entry.value.described)")
            }
        }
        var workers: [String: DocumentTable] = [:]
        guard let entry = document.entry("workers") else { return (defaults, workers) }
        guard let table = entry.value.table else {
            collector.error(
                .wrongType, at: entry.value.location, path: "workers",
                "expected a table, got \(entry.value.described)")
            return (defaults, workers)
        }
        let known = shape.workers.map(\.key)
        for worker in table.entries {
            let path = "workers.\(DocumentValue.tomlKey(worker.key))"
            guard known.contains(worker.key) else {
                let nearest = NearestName.of(worker.key, among: known)
                collector.error(
                    .unknownName, at: worker.keyLocation, path: path,
                    "unknown worker \"\(worker.key)\"" + (nearest.map { "; did you mean \"\($0)\"?" } ?? ""),
                    fix: nearest.map { "write \($0)" }
                        ?? "define it in wrangler-like.toml: an environment can't add a worker")
                continue
            }
            guard let values = worker.value.table else {
                collector.error(
                    .wrongType, at: worker.value.location, path: path,
                    "expected a table, got \(worker.value.described)")
                continue
            }
            workers[worker.key] = DocumentTable(
                values.entries.filter { entry in
                    guard WorkerReader.shapeKeys.contains(entry.key),
                        !WorkerReader.environmentKeys.contains(entry.key)
                    else { return true }
                    collector.error(
                        .notAllowedHere, at: entry.keyLocation, path: "\(path).\(entry.key)",
                        "\"\(entry.key)\" is shape only: an environment can't set it",
                        fix: "set it in wrangler-like.toml")
                    return false
                })
        }
        return (defaults, workers)
    }
}
