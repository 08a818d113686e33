/// What the dotenv files of a developer's machine say to one worker.
///
/// `.dev.vars.<environment>` is read instead of `.dev.vars`, not over it. Without either, `.env`, `.env.local`,
/// `.env.<environment>` and `.env.<environment>.local` are read, later over earlier. `.dev.vars.<worker>` comes
/// last.
package struct LocalVariables: Sendable {
    /// By name. A description would show secrets: there is none.
    package private(set) var values: [String: (value: String, place: SourcePlace)] = [:]
    package private(set) var diagnostics: [Diagnostic] = []
    /// The files that were read, in order.
    package private(set) var files: [String] = []

    /// - Parameter open: The text of a file, `nil` if there is none of that name.
    package static func load(
        worker: String, environment: String?, open: (String) -> SourceText?
    ) -> LocalVariables {
        var result = LocalVariables()
        let named = environment.flatMap { open(".dev.vars.\($0)") }
        if let source = named ?? open(".dev.vars") {
            result.add(source)
        } else {
            var names = [".env", ".env.local"]
            if let environment { names += [".env.\(environment)", ".env.\(environment).local"] }
            for source in names.compactMap(open) { result.add(source) }
        }
        if worker != environment, let own = open(".dev.vars.\(worker)") { result.add(own) }
        return result
    }

    private mutating func add(_ source: SourceText) {
        files.append(source.name)
        let (entries, found) = DotenvReader.read(source)
        for entry in entries { values[entry.key] = (entry.value, entry.place) }
        diagnostics += found
    }

    /// What a worker starts with.
    package struct Resolved: Sendable {
        package var variables: [(name: String, value: Variable.Value)]
        package var secrets: [(name: String, value: String)]
        /// Declared, and in no file.
        package var missing: [String]

        /// `nil` when nothing is missing.
        package var warning: String? {
            missing.isEmpty ? nil : "Missing required secrets: \(missing.joined(separator: ", "))"
        }
    }

    /// Gives a worker its declared secrets, and variables of its own whose value a file overrides.
    ///
    /// - Parameter declaredOnly: Whether other names in the files stay out. A file is shared by all workers of a
    ///   platform, each of which gets only what it declares; a project of one worker that declares nothing gets all.
    package func resolve(_ worker: WorkerConfiguration, declaredOnly: Bool = true) -> Resolved {
        var resolved = Resolved(variables: [], secrets: [], missing: [])
        for variable in worker.variables {
            let override = values[variable.name].map { Variable.Value.text($0.value) }
            resolved.variables.append((variable.name, override ?? variable.value))
        }
        for secret in worker.secrets {
            if let found = values[secret.name] {
                resolved.secrets.append((secret.name, found.value))
            } else {
                resolved.missing.append(secret.name)
            }
        }
        if !declaredOnly, worker.secrets.isEmpty {
            let own = Set(worker.variables.map(\.name))
            for (name, found) in values.sorted(by: { $0.key < $1.key }) where !own.contains(name) {
                resolved.secrets.append((name, found.value))
            }
        }
        return resolved
    }
}
