internal import Configuration
internal import System

/// The migrations of a database on this machine.
struct MigrationFolder {
    /// The database's name or id.
    let database: String
    let table: String
    let path: String
    private let loader: ConfigurationLoader
    private let migrations: D1Migrations

    /// What the command line names, else what the project's configuration does, else `migrations/`.
    init(_ arguments: CommandLineArguments) throws {
        let asked = try arguments.required("DATABASE")
        let project = try Project(arguments)
        let found = Self.configured(asked, project, arguments)
        database = found?.resource ?? asked
        if let directory = arguments.value("dir") {
            loader = ConfigurationLoader(directory: directory)
            migrations = D1Migrations(directory: ".", table: found?.migrations?.table ?? Self.table, pattern: "*.sql")
            path = directory
        } else {
            loader = project.loader
            migrations = found?.migrations ?? D1Migrations(directory: "migrations", table: Self.table, pattern: "*.sql")
            path = project.path(of: migrations.directory)
        }
        table = arguments.value("table") ?? migrations.table
    }

    private static let table = "d1_migrations"

    private init(_ loader: ConfigurationLoader, _ migrations: D1Migrations, path: String) {
        database = ""
        self.loader = loader
        self.migrations = migrations
        self.path = path
        table = migrations.table
    }

    /// The folder that the command line names, else all that the project's configuration does, else `migrations/`.
    static func all(_ arguments: CommandLineArguments) throws -> [MigrationFolder] {
        if let directory = arguments.operand("DIRECTORY") ?? arguments.value("dir") {
            let loader = ConfigurationLoader(directory: directory)
            // Of the two ways to name files, the one that finds some.
            let patterns = ["*.sql", "*/migration.sql"].map { D1Migrations(directory: ".", table: table, pattern: $0) }
            let found = patterns.first { loader.migrationFiles($0)?.isEmpty == false } ?? patterns[0]
            return [MigrationFolder(loader, found, path: directory)]
        }
        let project = try Project(arguments)
        var seen: Set<String> = []
        let sets = bindings(project, arguments).compactMap { $0.migrations }.filter { seen.insert($0.directory).inserted }
        let standard = D1Migrations(directory: "migrations", table: table, pattern: "*.sql")
        return (sets.isEmpty ? [standard] : sets).map {
            MigrationFolder(project.loader, $0, path: project.path(of: $0.directory))
        }
    }

    /// What the configuration has under this name, which may be that of a binding.
    private static func configured(
        _ name: String, _ project: Project, _ arguments: CommandLineArguments
    ) -> (resource: String, migrations: D1Migrations?)? {
        var byBinding: (resource: String, migrations: D1Migrations?)?
        for binding in bindings(project, arguments) {
            if binding.resource == name { return (name, binding.migrations) }
            if binding.name == name, byBinding == nil { byBinding = (binding.resource, binding.migrations) }
        }
        return byBinding
    }

    private static func bindings(
        _ project: Project, _ arguments: CommandLineArguments
    ) -> [(name: String, resource: String, migrations: D1Migrations?)] {
        let options = Project.loadOptions(arguments)
        let configuration =
            project.isWrangler
            ? project.loader.loadWrangler(file: project.file, .init(environment: nil, today: options.today)).configuration
            : project.loader.load(environment: "dev", options).configuration
        return (configuration?.workers.flatMap(\.bindings) ?? []).compactMap { binding in
            guard case .d1(let resource, let migrations) = binding.target else { return nil }
            return (binding.name, resource, migrations)
        }
    }

    /// The files, as they are named in the table.
    ///
    /// - Throws: when there is no such folder.
    var names: [String] { get throws { try allNames.filter { !$0.hasSuffix(".down.sql") } } }

    /// Also of those that take others back.
    var allNames: [String] {
        get throws {
            guard let names = loader.migrationFiles(migrations) else {
                throw APIFailure("there is no folder \(path): `edge d1 migrations create` makes one")
            }
            return names
        }
    }

    func text(of name: String) throws -> String {
        let bytes = try FileTree.read("\(path)/\(name)")
        guard let text = String(validating: bytes, as: UTF8.self) else { throw APIFailure("\(path)/\(name) isn't UTF-8") }
        return text
    }

    /// One more than the highest that a file has.
    var nextNumber: Int {
        get throws {
            let names = loader.migrationFiles(migrations) ?? []
            return 1 + (names.compactMap { Int($0.prefix { $0.isASCII && $0.isNumber }) }.max() ?? 0)
        }
    }
}
