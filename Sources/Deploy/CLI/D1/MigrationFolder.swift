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
        let project = try Project(arguments, environment: arguments.value("environment"))
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

    /// What the configuration has under this name, which may be that of a binding.
    private static func configured(
        _ name: String, _ project: Project, _ arguments: CommandLineArguments
    ) -> (resource: String, migrations: D1Migrations?)? {
        let options = Project.loadOptions(arguments)
        let configuration =
            project.isWrangler
            ? project.loader.loadWrangler(
                file: project.file, .init(environment: project.wranglerEnvironment, today: options.today)
            ).configuration
            : project.loader.load(environment: arguments.value("environment") ?? "dev", options).configuration
        var byBinding: (resource: String, migrations: D1Migrations?)?
        for binding in configuration?.workers.flatMap(\.bindings) ?? [] {
            guard case .d1(let resource, let migrations) = binding.target else { continue }
            if resource == name { return (resource, migrations) }
            if binding.name == name, byBinding == nil { byBinding = (resource, migrations) }
        }
        return byBinding
    }

    /// The files, as they are named in the table.
    ///
    /// - Throws: when there is no such folder.
    var names: [String] {
        get throws {
            guard let names = loader.migrationFiles(migrations) else {
                throw APIFailure("there is no folder \(path): `edge d1 migrations create` makes one")
            }
            return names.filter { !$0.hasSuffix(".down.sql") }
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
