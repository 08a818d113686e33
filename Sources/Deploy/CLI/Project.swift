internal import Configuration
internal import Glibc
internal import Interfaces
internal import Releases
internal import System

/// A platform's folder: its configuration, its sources, what was built of them.
struct Project {
    let directory: String
    let loader: ConfigurationLoader

    static let options: [Option] =
        [.value("project", "DIRECTORY", "the folder with wrangler-like.toml (the current one)")] + loadingOptions
    /// For commands that serve several platforms at once.
    static let manyOptions: [Option] =
        [.values("project", "DIRECTORY", "a folder with wrangler-like.toml (here); one per tenant")] + loadingOptions

    private static let loadingOptions: [Option] = [
        .values("set", "KEY=VALUE", "replaces a value of the configuration; may be repeated; in dev alone"),
        .flag("lenient", "takes unknown keys for warnings, not for errors"),
    ]

    init(directory: String) {
        self.directory = directory
        loader = ConfigurationLoader(directory: directory)
    }

    init(_ arguments: CommandLineArguments) { self.init(directory: arguments.value("project") ?? ".") }

    static func loadOptions(_ arguments: CommandLineArguments) -> ProjectConfiguration.Options {
        ProjectConfiguration.Options(
            sets: arguments.all("set"), isLenient: arguments.has("lenient"),
            today: CivilDate(daysSinceEpoch: Int(SystemClock().wallTime().seconds / 86_400)),
            nodeMemoryByteCount: sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE)))
    }

    /// The effective configuration of an environment; prints what is wrong with it.
    func load(_ environment: String, _ arguments: CommandLineArguments) -> EffectiveConfiguration? {
        let (configuration, diagnostics) = loader.load(
            environment: environment, Self.loadOptions(arguments))
        if !diagnostics.isEmpty { Edge.complain(diagnostics.rendered) }
        return configuration
    }

    /// Where a directory is that the configuration names.
    func path(of directory: String) -> String {
        let name = directory.hasPrefix("./") ? String(directory.dropFirst(2)) : directory
        let path = name.hasPrefix("/") ? name : "\(self.directory)/\(name)"
        return path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
    }

    func assetDirectories(_ configuration: EffectiveConfiguration) -> [String] {
        configuration.workers.filter(\.isEnabled).compactMap { $0.assets.map { path(of: $0.directory) } }
    }

    /// What a configuration asks for, with executables in `products`.
    func describe(
        _ configuration: EffectiveConfiguration, name: String, products: String
    ) throws -> ReleaseDescription {
        var description = try ReleaseDescription(
            configuration, name: name, executable: { "\(products)/\($0)" },
            directory: { path(of: $0) },
            migrations: { directory in
                let path = "\(self.directory)/\(directory)"
                return try FileTree.list(path).filter { $0.hasSuffix(".sql") }.map { file in
                    (file, String(decoding: try FileTree.read("\(path)/\(file)"), as: UTF8.self))
                }
            })
        if configuration.environment == "dev" {
            let local = LocalValues(self, configuration)
            for index in description.workers.indices {
                description.workers[index].variables = local.variables(of: description.workers[index].name)
            }
        }
        return description
    }
}

/// What a developer's machine says: secrets, and other values for variables, in `.dev.vars` and its relatives.
struct LocalValues: SecretSource {
    private var values: [String: [String: String]] = [:]
    private var variables: [String: [(name: String, value: Variable.Value)]] = [:]

    init(_ project: Project, _ configuration: EffectiveConfiguration) {
        for worker in configuration.workers {
            let local = project.loader.localVariables(worker: worker.name, environment: configuration.environment)
            let resolved = local.resolve(worker)
            for secret in resolved.secrets { values[worker.name, default: [:]][secret.name] = secret.value }
            variables[worker.name] = resolved.variables
        }
    }

    func secret(_ name: String, of worker: String) -> String? { values[worker]?[name] }

    func variables(of worker: String) -> [(name: String, value: IsolateConfiguration.Variable)] {
        (variables[worker] ?? []).map { variable in
            switch variable.value {
            case .text(let text): (variable.name, .text(text))
            case .json(let text): (variable.name, .json(text))
            }
        }
    }
}
