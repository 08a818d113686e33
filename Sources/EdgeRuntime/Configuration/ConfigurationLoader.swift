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
        let collector = ProjectConfiguration.collector(options)
        let configuration = project.read(environment, options, collector)
        if let configuration { check(configuration, collector) }
        let all = failures + collector.sorted
        return (all.hasErrors ? nil : configuration, all)
    }

    /// The findings of all environments.
    package func checkAll(_ options: ProjectConfiguration.Options = .init()) -> [Diagnostic] {
        let (project, failures) = read()
        guard let project else { return failures }
        let collector = ProjectConfiguration.collector(options)
        for configuration in project.readAll(options, collector) { check(configuration, collector) }
        return failures + collector.sorted
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

    /// As `find`, from the folder that the process is in. `isHere`: it is that very folder.
    package static func findFromHere() -> (directory: String, file: String, isHere: Bool)? {
        let here = FileManager.default.currentDirectoryPath
        return find(from: here).map { ($0.directory, $0.file, $0.directory == here) }
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
        let (configuration, diagnostics) = WranglerReader.read(source, options)
        let collector = DiagnosticCollector()
        for diagnostic in diagnostics { collector.add(diagnostic) }
        if let configuration {
            UnservedKeys.check(configuration, collector)
            checkLocalVariables(configuration, collector)
        }
        return (collector.hasErrors ? nil : configuration, collector.sorted)
    }

    /// The files of a folder of migrations that its pattern takes, relative to the folder and in the order of their names;
    /// `nil` when there is no such folder.
    package func migrationFiles(_ migrations: D1Migrations) -> [String]? {
        let root = "\(directory)/\(migrations.directory)"
        var isDirectory = false
        guard FileManager.default.fileExists(atPath: root, isDirectory: &isDirectory), isDirectory else { return nil }
        let pattern = FilePattern(migrations.pattern)
        // No deeper than the pattern reaches.
        var folders = [""]
        for _ in 1..<max(1, pattern.partCount) {
            folders = folders.flatMap { folder in
                fileNames(in: "\(migrations.directory)/\(folder)").map { "\(folder)\($0)/" }
            }
        }
        return folders.flatMap { folder in
            fileNames(in: "\(migrations.directory)/\(folder)").map { folder + $0 }.filter(pattern.matches)
        }
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

    /// What the texts alone can't tell: the files they name, and what this version does with them.
    private func check(_ configuration: EffectiveConfiguration, _ collector: DiagnosticCollector) {
        UnservedKeys.check(configuration, collector)
        checkMigrations(configuration, collector)
        if configuration.kind == .dev { checkLocalVariables(configuration, collector) }
    }

    private func checkMigrations(_ configuration: EffectiveConfiguration, _ collector: DiagnosticCollector) {
        for worker in configuration.workers {
            for binding in worker.bindings {
                guard case .d1(_, let migrations?) = binding.target else { continue }
                MigrationDirectory.check(
                    migrationFiles(migrations), migrations, at: binding.place,
                    path: "workers.\(worker.name).d1.\(binding.name).migrations", collector)
            }
        }
    }

    private func checkLocalVariables(_ configuration: EffectiveConfiguration, _ collector: DiagnosticCollector) {
        for worker in configuration.workers {
            let local = localVariables(worker: worker.name, environment: configuration.environment)
            for diagnostic in local.diagnostics { collector.add(diagnostic) }
        }
    }
}
