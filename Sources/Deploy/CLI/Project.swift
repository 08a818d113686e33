internal import Configuration
internal import Glibc
internal import Releases
internal import System

/// A platform's folder: its configuration, its sources, what was built of them.
struct Project: Sendable {
    let directory: String
    let loader: ConfigurationLoader
    /// The name of the configuration's file.
    let file: String
    /// The environment of a file in wrangler's format.
    let wranglerEnvironment: String?
    /// What stands before paths that default to something below the project: empty for the current folder.
    let base: String

    var isWrangler: Bool { file != ShapeFile.name }

    static let options: [Option] =
        [
            .value(
                "project", "DIRECTORY", "the folder with wrangler-like.toml (this one, or the next above that has one)",
                .directories)
        ]
        + loadingOptions
    /// For commands that serve several platforms at once.
    static let manyOptions: [Option] =
        [.values("project", "DIRECTORY", "a folder with wrangler-like.toml (here, or above); one per tenant", .directories)]
        + loadingOptions
    /// For commands that also take one worker in wrangler's format.
    static let wranglerOptions: [Option] = [
        .value("config", "FILE", "a wrangler.toml, wrangler.json or wrangler.jsonc in its place", short: "c", .files),
        .value("env", "NAME", "the environment of that file (its top level)"),
    ]

    private static let loadingOptions: [Option] = [
        .values("set", "KEY=VALUE", "replaces a value of the configuration; may be repeated; in dev alone"),
        .flag("lenient", "takes unknown keys for warnings, not for errors"),
    ]

    init(directory: String, file: String = ShapeFile.name, environment: String? = nil, base: String = "") {
        self.directory = directory
        self.file = file
        self.base = base
        wranglerEnvironment = environment
        loader = ConfigurationLoader(directory: directory)
    }

    /// What the command line names, else what the search from the current folder upwards finds.
    ///
    /// - Parameter environment: of a file in wrangler's format.
    init(_ arguments: CommandLineArguments, environment: String? = nil) throws(UsageError) {
        if let path = arguments.value("config") {
            guard arguments.value("project") == nil else { throw .unexpectedArgument("--project beside --config") }
            let slash = path.lastIndex(of: "/")
            let directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
            let file = slash.map { String(path[path.index(after: $0)...]) } ?? path
            self.init(directory: directory, file: file, environment: environment)
        } else if let directory = arguments.value("project") {
            self.init(directory: directory)
        } else if let found = ConfigurationLoader.findFromHere() {
            let directory = found.isHere ? "." : found.directory
            self.init(
                directory: directory, file: found.file, environment: environment, base: found.isHere ? "" : "\(directory)/")
        } else {
            self.init(directory: ".")
        }
    }

    /// Whether this folder, or one above it, is one.
    static var isHere: Bool { ConfigurationLoader.findFromHere() != nil }

    /// Refuses `--env` where no file has environments of its own.
    func refuseEnvironment(_ arguments: CommandLineArguments) throws(UsageError) {
        guard isWrangler || arguments.value("env") == nil else {
            throw .unexpectedArgument("--env: it goes with a file in wrangler's format")
        }
    }

    /// Wants the platform's own format, as commands do that need more than one worker or more than one environment.
    func requirePlatform() throws(UsageError) {
        if isWrangler { throw .wranglerFile("\(directory)/\(file)") }
    }

    static func loadOptions(_ arguments: CommandLineArguments) -> ProjectConfiguration.Options {
        ProjectConfiguration.Options(
            sets: arguments.all("set"), isLenient: arguments.has("lenient"),
            today: CivilDate(daysSinceEpoch: Int(SystemClock().wallTime().seconds / 86_400)),
            nodeMemoryByteCount: sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE)))
    }

    /// The effective configuration of an environment; prints what is wrong with it.
    func load(_ environment: String, _ arguments: CommandLineArguments) -> EffectiveConfiguration? {
        let (configuration, diagnostics) = read(environment, arguments)
        if !diagnostics.isEmpty { Edge.complain(diagnostics.rendered) }
        return configuration
    }

    /// That of dev, for commands that do without one where there is none, or a broken one.
    func loadIfValid(_ arguments: CommandLineArguments) -> EffectiveConfiguration? { read("dev", arguments).configuration }

    /// As `load`, for commands that only look names up: warnings aren't theirs to tell.
    func loadWithoutWarnings(_ environment: String, _ arguments: CommandLineArguments) -> EffectiveConfiguration? {
        let (configuration, diagnostics) = read(environment, arguments)
        if configuration == nil { Edge.complain(diagnostics.rendered) }
        return configuration
    }

    /// Where a directory is that the configuration names.
    func path(of directory: String) -> String {
        let path = directory.split(separator: "/").filter { $0 != "." }.joined(separator: "/")
        if directory.hasPrefix("/") { return "/" + path }
        return path.isEmpty ? self.directory : "\(self.directory)/\(path)"
    }

    func assetDirectories(_ configuration: EffectiveConfiguration) -> [String] {
        configuration.workers.filter(\.isEnabled).compactMap { $0.assets.map { path(of: $0.directory) } }
    }

    private func read(
        _ environment: String, _ arguments: CommandLineArguments
    ) -> (configuration: EffectiveConfiguration?, diagnostics: [Diagnostic]) {
        let options = Self.loadOptions(arguments)
        guard isWrangler else { return loader.load(environment: environment, options) }
        return loader.loadWrangler(file: file, .init(environment: wranglerEnvironment, today: options.today))
    }

    /// All findings: of all environments, or of the one worker in wrangler's format.
    func check(_ arguments: CommandLineArguments) -> [Diagnostic] {
        isWrangler ? read("dev", arguments).diagnostics : loader.checkAll(Self.loadOptions(arguments))
    }

    /// What a configuration asks for, with executables in `products`.
    func describe(
        _ configuration: EffectiveConfiguration, name: String, products: String
    ) throws -> ReleaseDescription {
        var description = try ReleaseDescription(
            configuration, name: name, executable: { "\(products)/\($0)" },
            directory: { path(of: $0) },
            migrations: { migrations in
                try (self.loader.migrationFiles(migrations) ?? []).map { file in
                    let path = "\(self.directory)/\(migrations.directory)/\(file)"
                    return (file, String(decoding: try FileTree.read(path), as: UTF8.self))
                }
            })
        if configuration.kind == .dev {
            let local = LocalValues(self, configuration)
            for index in description.workers.indices {
                let name = description.workers[index].name
                description.workers[index].setVariables(local.variables(of: name))
                description.workers[index].secrets += local.undeclared(of: name)
            }
        }
        return description
    }
}

/// What a developer's machine says: secrets, and other values for variables, in `.dev.vars` and its relatives.
struct LocalValues: SecretSource {
    private var values: [String: [String: String]] = [:]
    private var variables: [String: [(name: String, value: Variable.Value)]] = [:]
    private var undeclared: [String: [String]] = [:]

    init(_ project: Project, _ configuration: EffectiveConfiguration) {
        for worker in configuration.workers {
            let local = project.loader.localVariables(worker: worker.name, environment: configuration.environment)
            // In wrangler's world, a worker that declares no secrets gets all that are there.
            let resolved = local.resolve(worker, declaredOnly: !project.isWrangler)
            let declared = Set(worker.secrets.map(\.name))
            undeclared[worker.name] = resolved.secrets.map(\.name).filter { !declared.contains($0) }
            for secret in resolved.secrets { values[worker.name, default: [:]][secret.name] = secret.value }
            variables[worker.name] = resolved.variables
        }
    }

    func secret(_ name: String, of worker: String) -> String? { values[worker]?[name] }

    /// Secrets that the worker gets without having asked for them.
    func undeclared(of worker: String) -> [String] { undeclared[worker] ?? [] }

    func variables(of worker: String) -> [(name: String, value: Variable.Value)] { variables[worker] ?? [] }
}
