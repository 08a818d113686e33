package import Configuration
internal import System

extension ReleaseBundle {
    /// What the bundle says of one environment of one tenant: read as a project's folder is, so that mistakes have their places.
    /// Blocks.
    ///
    /// - Parameters:
    ///   - secrets: Those that are set: each that a worker requires must be. `nil` asks for none.
    ///   - artifact: Where the executable with a hash lies.
    package func input(
        environment: String, tenant: String, secrets: (any SecretSource)?, artifact: (String) -> String,
        _ options: ProjectConfiguration.Options = .init()
    ) throws(DeploymentFailure) -> DeploymentInput {
        let configuration = try configuration(of: environment, options)
        guard configuration.tenant == tenant else {
            throw DeploymentFailure("the bundle is of the tenant \"\(configuration.tenant)\", not of \"\(tenant)\"")
        }
        if let secrets { try checkSecrets(configuration, secrets) }
        let hashes = try artifacts()
        let missing = configuration.workers.filter { $0.isEnabled && !$0.product.isEmpty && hashes[$0.product] == nil }
        guard missing.isEmpty else {
            throw DeploymentFailure(
                missing.map { "worker \"\($0.name)\" runs \($0.product), which had not been built when the bundle was made" })
        }
        let description: ReleaseDescription
        do {
            let loader = ConfigurationLoader(directory: directory)
            description = try ReleaseDescription(
                configuration, name: "\(environment)-\(hash.prefix(8))", executable: { artifact(hashes[$0] ?? "") },
                directory: { "\(directory)/\(BundleLayout.place(of: $0))" },
                migrations: { migrations in
                    try (loader.migrationFiles(migrations) ?? []).map { file in
                        let path = "\(directory)/\(migrations.directory)/\(file)"
                        return (file, String(decoding: try FileTree.read(path), as: UTF8.self))
                    }
                })
        } catch { throw DeploymentFailure("\(error)") }
        return DeploymentInput(
            description: description, settings: configuration.deploy, keepWarm: configuration.keepWarm,
            smokeTests: configuration.workers.filter(\.isEnabled).flatMap { worker in
                worker.smoke.map { (worker: worker.name, test: $0) }
            }, hooks: configuration.hooks)
    }

    /// The effective configuration of one environment.
    ///
    /// - Throws: with a line for each mistake in it, at its file, line and column.
    package func configuration(
        of environment: String, _ options: ProjectConfiguration.Options = .init()
    ) throws(DeploymentFailure) -> EffectiveConfiguration {
        let (found, diagnostics) = ConfigurationLoader(directory: directory).load(environment: environment, options)
        guard let found else {
            throw DeploymentFailure(diagnostics.filter { $0.severity == .error }.map(\.description))
        }
        return found
    }

    /// The hash of each executable, by product.
    package func artifacts() throws(DeploymentFailure) -> [String: String] {
        do {
            let text = try FileTree.readTextIfPresent("\(directory)/\(BundleLayout.products)") ?? ""
            return try BundleLayout.read(products: text)
        } catch { throw DeploymentFailure("\(error)") }
    }

    /// The files of its configuration, by name: what was deployed can be read again.
    package func configurationFiles() throws -> [(name: String, text: String)] {
        let names = ["wrangler-like.toml"] + FileTree.list(directory + "/environments").map { "environments/\($0)" }
        return try names.map { ($0, try FileTree.readTextIfPresent("\(directory)/\($0)") ?? "") }
    }

    private func checkSecrets(_ configuration: EffectiveConfiguration, _ secrets: any SecretSource) throws(DeploymentFailure) {
        var stored: [String: Set<String>] = [:]
        do {
            for worker in configuration.workers where worker.isEnabled {
                let names = worker.secrets.map(\.name) + worker.variables.map(\.name)
                stored[worker.name] = Set(try names.filter { try secrets.secret($0, of: worker.name) != nil })
            }
        } catch { throw DeploymentFailure("\(error)") }
        let mistakes = configuration.checkSecrets(stored: stored)
        guard mistakes.isEmpty else { throw DeploymentFailure(mistakes.map(\.description)) }
    }
}
