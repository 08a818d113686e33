internal import Configuration
internal import ControlPlane

/// A store that the command line names as wrangler's users do: by the binding that the project's configuration has for it.
struct BoundStore {
    enum Kind {
        case kv, d1
    }
    /// The name that the configuration has for the store.
    let resource: String
    /// What `--preview` means in its place.
    let preview: String?

    /// Which configuration, where a command may read one.
    static let options: [Option] = [
        .value("worker", "WORKER", "whose binding, where several workers have one of that name", .workers),
        .value(
            "environment", "NAME", "whose configuration, in wrangler's format too (dev, or its top level)", short: "e",
            aliases: ["env"], .environments),
        .value(
            "project", "DIRECTORY", "the folder with the configuration (this one, or the next above that has one)", .directories
        ),
        .value("config", "FILE", "a wrangler.toml, wrangler.json or wrangler.jsonc in its place", short: "c", .files),
    ]

    /// Follows the binding `name`.
    ///
    /// - Parameter arguments: get the tenant of the configuration, and the state of the environment, where they name none.
    /// - Throws: when no configuration is there, or it doesn't say which store is meant.
    static func find(_ name: String, _ kind: Kind, _ arguments: inout CommandLineArguments) throws -> BoundStore {
        let environment = arguments.value("environment")
        let project = try Project(arguments, environment: environment)
        guard let configuration = project.loadWithoutWarnings(environment ?? "dev", arguments) else {
            throw APIFailure("without a configuration, nobody knows the binding \"\(name)\": give the store's own name")
        }
        var found: [(worker: String, store: BoundStore)] = []
        var others: [String] = []
        for worker in configuration.workers where arguments.value("worker").map({ $0 == worker.name }) ?? true {
            for binding in worker.bindings {
                guard let resource = resource(binding.target, kind) else { continue }
                others.append(binding.name)
                guard binding.name == name else { continue }
                found.append((worker.name, BoundStore(resource: resource, preview: binding.preview)))
            }
        }
        guard let first = found.first else {
            let nearest = Nearest.name(to: name, among: others)
            let whose = arguments.value("worker").map { "the worker \"\($0)\"" } ?? "the configuration"
            throw APIFailure(
                "\(whose) has no \(kind.word) binding \"\(name)\"" + (nearest.map { "; did you mean \"\($0)\"?" } ?? ""))
        }
        guard found.allSatisfy({ $0.store.resource == first.store.resource }) else {
            throw UsageError.missingArgument(
                "--worker (several have a binding \"\(name)\": \(found.map(\.worker).joined(separator: ", ")))")
        }
        fill(&arguments, configuration, project)
        return first.store
    }

    /// The database that is bound as `name`, or that the configuration has under this name of its own.
    ///
    /// - Parameter isAsked: The command line speaks of the configuration, which then must have it.
    static func findDatabase(_ name: String, isAsked: Bool, _ arguments: inout CommandLineArguments) throws -> String? {
        let project = try Project(arguments, environment: arguments.value("environment"))
        let configuration =
            isAsked
            ? project.loadWithoutWarnings(arguments.value("environment") ?? "dev", arguments) : project.loadIfValid(arguments)
        let targets = (configuration?.workers ?? []).flatMap(\.bindings).map { ($0.name, resource($0.target, .d1)) }
        guard targets.contains(where: { $0.0 == name && $0.1 != nil }) else {
            // By its own name, the configuration still says whose it is, and where.
            guard isAsked else { return nil }
            if targets.contains(where: { $0.1 == name }), let configuration {
                fill(&arguments, configuration, project)
                return name
            }
            return try find(name, .d1, &arguments).resource
        }
        if !isAsked, targets.contains(where: { $0.1 == name }) { return nil }
        return try find(name, .d1, &arguments).resource
    }

    /// What `--preview` means in place of the database that the configuration has under this name, its own or a binding's.
    static func findPreview(of name: String, _ arguments: inout CommandLineArguments) throws -> String {
        let project = try Project(arguments, environment: arguments.value("environment"))
        guard let configuration = project.loadWithoutWarnings(arguments.value("environment") ?? "dev", arguments) else {
            throw APIFailure("without a configuration, nobody knows what --preview means")
        }
        let bindings = configuration.workers.flatMap(\.bindings).filter { resource($0.target, .d1) != nil }
        let found = bindings.filter { $0.name == name } + bindings.filter { resource($0.target, .d1) == name }
        guard !found.isEmpty else {
            let nearest = Nearest.name(to: name, among: bindings.map(\.name))
            throw APIFailure(
                "the configuration has no D1 database \"\(name)\"" + (nearest.map { "; did you mean \"\($0)\"?" } ?? ""))
        }
        guard let preview = found.lazy.compactMap(\.preview).first else {
            throw APIFailure("the database \"\(name)\" has no preview_database_id in the configuration")
        }
        fill(&arguments, configuration, project)
        return preview
    }

    /// Whose stores these are, and where.
    private static func fill(
        _ arguments: inout CommandLineArguments, _ configuration: EffectiveConfiguration, _ project: Project
    ) {
        arguments.fill("tenant", configuration.tenant)
        guard let environment = arguments.value("environment"), !project.isWrangler, arguments.value("remote") == nil else {
            return
        }
        arguments.fill("state", "\(project.base)state/\(environment)")
    }

    private static func resource(_ target: Binding.Target, _ kind: Kind) -> String? {
        switch (target, kind) {
        case (.kv(let resource), .kv), (.d1(let resource, _), .d1): resource
        default: nil
        }
    }
}

extension BoundStore.Kind {
    fileprivate var word: String {
        switch self {
        case .kv: "KV"
        case .d1: "D1"
        }
    }
}
