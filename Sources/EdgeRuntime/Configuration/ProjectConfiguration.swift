/// The texts of a platform's configuration, and what can be made of them. It opens nothing.
package struct ProjectConfiguration: Sendable {
    package struct Options: Sendable {
        /// `key.path=value`, stronger than all files; for dev only.
        package var sets: [String]
        /// Makes unknown keys warnings.
        package var isLenient: Bool
        /// For dates that may not lie in the future; `nil` leaves that unchecked.
        package var today: CivilDate?
        /// For the sum of what the isolates may use; `nil` leaves that unchecked.
        package var nodeMemoryByteCount: Int?

        package init(
            sets: [String] = [], isLenient: Bool = false, today: CivilDate? = nil,
            nodeMemoryByteCount: Int? = nil
        ) {
            self.sets = sets
            self.isLenient = isLenient
            self.today = today
            self.nodeMemoryByteCount = nodeMemoryByteCount
        }
    }

    /// `wrangler-like.toml`
    package let shape: SourceText
    /// `environments/NAME.toml`, by name.
    package let environments: [String: SourceText]

    package init(shape: SourceText, environments: [String: SourceText]) {
        self.shape = shape
        self.environments = environments
    }

    /// The effective configuration of one environment, if there is no error, and all findings.
    package func load(
        environment: String, _ options: Options = Options()
    ) -> (configuration: EffectiveConfiguration?, diagnostics: [Diagnostic]) {
        let collector = Self.collector(options)
        let configuration = read(environment, options, collector)
        return (collector.hasErrors ? nil : configuration, collector.sorted)
    }

    /// The findings of all environments, and of those between them.
    package func checkAll(_ options: Options = Options()) -> [Diagnostic] {
        let collector = Self.collector(options)
        _ = readAll(options, collector)
        return collector.sorted
    }

    static func collector(_ options: Options) -> DiagnosticCollector {
        DiagnosticCollector(unknownKeySeverity: options.isLenient ? .warning : .error)
    }

    /// What can be read of an environment, with errors too: for checks that go on from there.
    func read(
        _ environment: String, _ options: Options, _ collector: DiagnosticCollector
    ) -> EffectiveConfiguration? {
        Assembly(self, options, collector).assemble(environment)
    }

    /// As `read`, for all environments; dev is one of them, with or without a file.
    func readAll(_ options: Options, _ collector: DiagnosticCollector) -> [EffectiveConfiguration] {
        let assembled = Set(environments.keys).union(["dev"]).sorted().compactMap { name in
            var options = options
            if EnvironmentKind(name: name) != .dev { options.sets = [] }
            return read(name, options, collector)
        }
        checkHosts(assembled, collector)
        return assembled
    }

    /// Two environments on one node can't both own a host. They are taken to be on one node when they listen at
    /// the same address.
    private func checkHosts(_ configurations: [EffectiveConfiguration], _ collector: DiagnosticCollector) {
        for (index, second) in configurations.enumerated() {
            for first in configurations[..<index] {
                let shared = Set(first.listen.filter { $0.port != 0 }).intersection(second.listen)
                guard let address = shared.min(by: { $0.description < $1.description }) else { continue }
                let hosts = Self.hosts(first).intersection(Self.hosts(second)).sorted()
                guard !hosts.isEmpty else { continue }
                collector.error(
                    .routeConflict, at: second.setting("domain")?.place ?? second.setting("listen")?.place,
                    path: "domain",
                    "\(first.environment) and \(second.environment) both own \(hosts.map(JSONText.quoted).joined(separator: ", ")) at \(address)",
                    fix: "give one of them another domain, or another address to listen on",
                    related: (first.setting("domain")?.place).map { [.init($0, "the other environment")] }
                        ?? [])
            }
        }
    }

    private static func hosts(_ configuration: EffectiveConfiguration) -> Set<String> {
        var hosts: Set<String> = []
        for worker in configuration.workers where worker.isEnabled {
            for route in worker.routes {
                hosts.insert((route.pattern.hostHasWildcard ? "*" : "") + route.pattern.host)
            }
            for domain in worker.customDomains { hosts.insert(domain.domain.host) }
        }
        return hosts
    }
}
