/// Puts one layer of a configuration over another. Tables merge key by key; arrays and scalars are replaced.
enum Layers {
    static func merge(_ weak: DocumentTable, _ strong: DocumentTable) -> DocumentTable {
        var result = weak
        for entry in strong.entries {
            guard let below = weak[entry.key]?.table, let above = entry.value.table else {
                result.set(entry)
                continue
            }
            result.set(
                .init(
                    key: entry.key, keyLocation: entry.keyLocation,
                    value: DocumentValue(.table(merge(below, above)), at: entry.value.location)))
        }
        return result
    }

    /// The key by which the elements of a worker's lists are addressed: `ratelimits.PER_IP`.
    static func identity(ofList path: String) -> String? {
        switch path {
        case "kv", "d1", "r2", "services", "ratelimits", "analytics", "vectorize", "durable_objects",
            "workflows", "email",
            "queues.produce":
            "binding"
        case "queues.consume": "queue"
        case "migrations": "tag"
        default: nil
        }
    }

    /// Puts an environment's values for single bindings into the shape's lists, so that `merge` finds lists on both
    /// sides. `strong` loses what the shape doesn't define: that is reported.
    static func addressBindings(
        in strong: DocumentTable, of worker: String, shape weak: DocumentTable,
        _ collector: DiagnosticCollector
    ) -> DocumentTable {
        var result = strong
        for path in ["ratelimits", "queues.produce", "queues.consume"] {
            guard let identity = identity(ofList: path), let entry = entry(path, in: strong) else { continue }
            let keyPath = "workers.\(worker).\(path)"
            guard let changes = entry.value.table else {
                collector.error(
                    .notAllowedHere, at: entry.keyLocation, path: keyPath,
                    "an environment can't replace a list of bindings",
                    fix: "address one by its name: \(path).NAME = { … }")
                result = replacing(path, in: result, by: nil)
                continue
            }
            let below = self.entry(path, in: weak)
            var elements = below?.value.array ?? []
            for change in changes.entries {
                let index = elements.firstIndex { $0.table?[identity]?.string == change.key }
                guard let index, let element = elements[index].table else {
                    let names = elements.compactMap { $0.table?[identity]?.string }
                    collector.error(
                        .unknownName, at: change.keyLocation, path: "\(keyPath).\(change.key)",
                        "worker \"\(worker)\" has no \(noun(path)) \"\(change.key)\""
                            + NearestName.phrase(change.key, among: names),
                        fix: names.isEmpty
                            ? "add it to wrangler-like.toml" : "known: \(names.joined(separator: ", "))")
                    continue
                }
                guard let values = change.value.table else {
                    collector.error(
                        .wrongType, at: change.value.location, path: "\(keyPath).\(change.key)",
                        "expected a table, got \(change.value.described)")
                    continue
                }
                for fixed in values.entries
                where isShapeOnly(fixed.key, path) {
                    collector.error(
                        .notAllowedHere, at: fixed.keyLocation, path: "\(keyPath).\(change.key).\(fixed.key)",
                        "\"\(fixed.key)\" of a \(noun(path)) is shape only: an environment can't change it",
                        fix: "set it in wrangler-like.toml")
                }
                elements[index] = DocumentValue(.table(merge(element, values)), at: elements[index].location)
            }
            result = replacing(
                path, in: result,
                by: DocumentValue(.array(elements), at: below?.value.location ?? entry.value.location))
        }
        return result
    }

    private static func noun(_ path: String) -> String {
        switch path {
        case "ratelimits": "rate limit"
        case "queues.produce": "queue producer"
        default: "consumed queue"
        }
    }

    /// Whether the shape alone may say it, and says it or not. Unknown keys are none: their reader reports them.
    private static func isShapeOnly(_ key: String, _ path: String) -> Bool {
        switch path {
        case "ratelimits": ["binding", "key", "namespace", "period"].contains(key)
        case "queues.produce": key == "binding" || key == "queue"
        default: key == "queue" || key == "dead_letter" || key == "type"
        }
    }

    private static func entry(_ path: String, in table: DocumentTable) -> DocumentTable.Entry? {
        let keys = path.split(separator: ".").map(String.init)
        return keys.count == 1 ? table.entry(keys[0]) : table[keys[0]]?.table?.entry(keys[1])
    }

    /// `table` with the entry at `path` replaced, or removed.
    private static func replacing(_ path: String, in table: DocumentTable, by value: DocumentValue?)
        -> DocumentTable
    {
        let keys = path.split(separator: ".", maxSplits: 1).map(String.init)
        guard let entry = table.entry(keys[0]) else { return table }
        var result = table
        var replacement = value
        if keys.count == 2, let inner = entry.value.table {
            replacement = DocumentValue(
                .table(replacing(keys[1], in: inner, by: value)), at: entry.value.location)
        }
        if let replacement {
            result.set(.init(key: entry.key, keyLocation: entry.keyLocation, value: replacement))
        } else {
            result.remove(keys[0])
        }
        return result
    }
}
