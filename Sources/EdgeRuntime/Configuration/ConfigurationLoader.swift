internal import FoundationEssentials

/// Reads a project's configuration files. The one place of this room that opens anything.
package struct ConfigurationLoader: Sendable {
    /// The folder that holds `wrangler-like.toml`.
    package let directory: String

    package init(directory: String) { self.directory = directory }

    /// The effective configuration of one environment, `nil` if there is any error, and all findings.
    ///
    /// - Parameter environment: The name of a file in `environments/`; `dev` needs none.
    package func load(
        environment: String, _ options: ProjectConfiguration.Options = .init()
    ) -> (configuration: EffectiveConfiguration?, diagnostics: [Diagnostic]) {
        let (project, failures) = read()
        guard let project else { return (nil, failures) }
        let (configuration, diagnostics) = project.load(environment: environment, options)
        let migrations = configuration.map { checkMigrations([$0]) } ?? []
        let all = failures + diagnostics + migrations
        return (all.hasErrors ? nil : configuration, all)
    }

    /// The findings of all environments.
    package func checkAll(_ options: ProjectConfiguration.Options = .init()) -> [Diagnostic] {
        let (project, failures) = read()
        guard let project else { return failures }
        let names = project.environments.isEmpty ? ["dev"] : project.environments.keys.sorted()
        let configurations = names.compactMap { project.load(environment: $0, options).configuration }
        return failures + project.checkAll(options) + checkMigrations(configurations)
    }

    /// The texts, for those who keep them (a release) or compare them. `nil` without `wrangler-like.toml`.
    package func read() -> (project: ProjectConfiguration?, failures: [Diagnostic]) {
        guard let shape = source(ShapeFile.name) else {
            return (
                nil,
                [
                    Diagnostic(
                        .error, .unreadableFile, at: nil, "can't read \(directory)/\(ShapeFile.name)",
                        fix: "run edge in the project's folder")
                ]
            )
        }
        var environments: [String: SourceText] = [:]
        var failures: [Diagnostic] = []
        for name in fileNames(in: "environments") where name.hasSuffix(".toml") && !name.hasPrefix(".") {
            let path = "environments/\(name)"
            if let source = source(path) {
                environments[String(name.dropLast(5))] = source
            } else {
                failures.append(
                    Diagnostic(.error, .unreadableFile, at: nil, "can't read \(directory)/\(path)"))
            }
        }
        return (ProjectConfiguration(shape: shape, environments: environments), failures)
    }

    /// The nearest folder at or above `start` that holds a configuration, and the name of the file. In one folder,
    /// ours comes before wrangler's.
    package static func find(from start: String) -> (directory: String, file: String)? {
        var parts = start.split(separator: "/").map(String.init)
        while true {
            let directory = "/" + parts.joined(separator: "/")
            for name in [ShapeFile.name] + WranglerReader.fileNames
            where FileManager.default.fileExists(atPath: "\(directory)/\(name)") {
                return (directory, name)
            }
            guard parts.popLast() != nil else { return nil }
        }
    }

    /// Reads one worker in wrangler's format.
    ///
    /// - Parameter file: A path relative to the directory.
    package func loadWrangler(
        file: String, _ options: WranglerReader.Options = .init()
    ) -> (configuration: EffectiveConfiguration?, diagnostics: [Diagnostic]) {
        guard let source = source(file) else {
            return (nil, [Diagnostic(.error, .unreadableFile, at: nil, "can't read \(directory)/\(file)")])
        }
        return WranglerReader.read(source, options)
    }

    /// The files whose change changes an environment, relative to the directory.
    package static func watchedPaths(environment: String) -> [String] {
        [ShapeFile.name, EnvironmentFile.path(environment)]
    }

    /// The secrets and variables for a worker on a developer's machine.
    package func localVariables(worker: String, environment: String?) -> LocalVariables {
        LocalVariables.load(worker: worker, environment: environment) { source($0, isConfidential: true) }
    }

    private func source(_ path: String, isConfidential: Bool = false) -> SourceText? {
        guard let data = FileManager.default.contents(atPath: "\(directory)/\(path)") else { return nil }
        return SourceText(name: path, bytes: Array(data), isConfidential: isConfidential)
    }

    private func fileNames(in path: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: "\(directory)/\(path)")) ?? []).sorted()
    }

    private func checkMigrations(_ configurations: [EffectiveConfiguration]) -> [Diagnostic] {
        let collector = DiagnosticCollector()
        for configuration in configurations {
            for worker in configuration.workers {
                for binding in worker.bindings {
                    guard case .d1(_, let migrations?) = binding.target else { continue }
                    var isDirectory = false
                    let exists = FileManager.default.fileExists(
                        atPath: "\(directory)/\(migrations.directory)", isDirectory: &isDirectory)
                    MigrationDirectory.check(
                        exists && isDirectory ? fileNames(in: migrations.directory) : nil,
                        migrations.directory,
                        at: binding.place, path: "workers.\(worker.name).d1.\(binding.name).migrations",
                        collector)
                }
            }
        }
        return collector.sorted
    }
}

/// The names in a folder of D1 migrations: `0001_users.sql`, `0002_content.sql`, … without gaps.
package enum MigrationDirectory {
    /// - Parameter names: `nil` when there is no such folder.
    static func check(
        _ names: [String]?, _ directory: String, at place: SourcePlace, path: String,
        _ collector: DiagnosticCollector
    ) {
        guard let names else {
            collector.error(
                .migration, at: place, path: path, "there is no folder \"\(directory)\"",
                fix: "mkdir -p \(directory)")
            return
        }
        var last: (number: Int, name: String)?
        var problems: [String] = []
        let numbered = names.filter { $0.hasSuffix(".sql") }.map { name in
            (number: Int(name.prefix { $0.isASCII && $0.isNumber }), name: name)
        }
        for file in numbered where file.number == nil {
            problems.append("\"\(file.name)\" doesn't begin with a number, such as 0001_")
        }
        let sorted = numbered.compactMap { file in file.number.map { (number: $0, name: file.name) } }
            .sorted { ($0.number, $0.name) < ($1.number, $1.name) }
        for file in sorted {
            if let last, file.number == last.number {
                problems.append("\"\(last.name)\" and \"\(file.name)\" have the same number")
            } else if let last, file.number != last.number + 1 {
                problems.append("number \(last.number + 1) is missing before \"\(file.name)\"")
            }
            last = file
        }
        guard !problems.isEmpty else { return }
        collector.error(
            .migration, at: place, path: path, "\(directory): \(problems.joined(separator: "; "))")
    }
}
