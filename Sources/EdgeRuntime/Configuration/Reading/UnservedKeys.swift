/// Reports what a configuration may say and this version of the node doesn't do. It has no effect, and whoever wrote it
/// should know. Built-in values are nobody's words.
enum UnservedKeys {
    private static let ignored: Set<String> = [
        "retention.logs",
        // Of wrangler's format, whose top level is a worker.
        "observability", "tail_consumers",
    ]
    private static let ignoredOfWorkers: Set<String> = [
        "observability", "tail", "compatibility_flags",
    ]

    static func check(_ configuration: EffectiveConfiguration, _ collector: DiagnosticCollector) {
        // A default is a setting of every worker, and one line of a file.
        var seen: Set<SourcePlace> = []
        var told: Set<String> = []
        for setting in configuration.settings {
            guard let place = setting.place, let (path, key) = classify(setting) else { continue }
            guard told.insert(path).inserted, seen.insert(place).inserted else { continue }
            collector.warning(
                .ignored, at: place, path: path, "\"\(key)\" has no effect in this version", fix: "delete it")
        }
        checkBindings(configuration, collector)
    }

    /// The path and name of the unserved key that a setting belongs to.
    private static func classify(_ setting: Setting) -> (path: String, key: String)? {
        let parts = setting.path.split(separator: ".").map { String($0.prefix { $0 != "[" }) }
        if parts[0] == "workers", parts.count > 2 {
            guard ignoredOfWorkers.contains(parts[2]) else { return nil }
            return (parts[...2].joined(separator: "."), parts[2])
        }
        for key in [parts[0], parts.prefix(2).joined(separator: ".")] where ignored.contains(key) {
            return (key, key)
        }
        return nil
    }

    private static func checkBindings(_ configuration: EffectiveConfiguration, _ collector: DiagnosticCollector) {
        for worker in configuration.workers where worker.isEnabled {
            for binding in worker.bindings where !binding.isServed {
                collector.error(
                    .unsupported, at: binding.place, path: "workers.\(worker.name).\(binding.name)",
                    "worker \"\(worker.name)\" binds \"\(binding.name)\" (\(binding.kindName)), which this node can't serve yet",
                    fix: "remove the binding")
            }
        }
    }
}

extension Binding {
    /// Whether this version of the node has an engine for it.
    package var isServed: Bool {
        switch target {
        case .kv, .d1, .r2, .queue, .service, .rateLimit, .analytics, .versionMetadata, .assets, .durableObject:
            true
        case .vectorize, .workflow, .ai, .email, .hyperdrive, .dispatch: false
        }
    }
}
