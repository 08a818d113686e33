internal import Configuration
internal import ControlPlane

/// `edge diff A B`: in what two environments of the project differ, or two releases.
enum DiffCommand: Command {
    static let name = "diff"
    static let summary = "Prints in what two environments, or two releases, differ; exit code 1 when they do"
    static let discussion = """
        A and B are environments of the project, or the numbers of two releases of a node: then their versions and executables are
        compared, too. A line for each value: `- ` what A has, `+ ` what B has.

        examples: edge diff staging production
                  edge diff 16 17 --environment production
        """
    static let operands: [Operand] = [.one("A", .environments), .one("B", .environments)]
    static let options: [Option] =
        [
            DeployCommand.environment,
            .value(
                "project", "DIRECTORY", "the folder with wrangler-like.toml (this one, or the next above that has one)",
                .directories), .flag("lenient", "takes unknown keys for warnings, not for errors"),
        ] + APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let (a, b) = (try arguments.required("A"), try arguments.required("B"))
        let difference: ReleaseDifference
        switch (Int64(a), Int64(b)) {
        case (let first?, let second?):
            let node = try await NodeReleases(APIClient(arguments))
            _ = try node.environment(arguments)
            difference = ReleaseDifference(
                try await values(of: ReleasesCommand.number("\(first)"), node),
                try await values(of: ReleasesCommand.number("\(second)"), node))
        case (nil, nil):
            let project = try Project(arguments)
            try project.requirePlatform()
            guard let first = project.load(a, arguments), let second = project.load(b, arguments) else {
                return ExitCode.refused
            }
            difference = ReleaseDifference(values(of: first), values(of: second))
        case (_, nil): throw UsageError.invalidValue(option: "B", value: b, expected: "the number of a release, as A is one")
        case (nil, _): throw UsageError.invalidValue(option: "B", value: b, expected: "an environment, as A is one")
        }
        if arguments.has("json") { Output.json(difference.json) } else { difference.print() }
        return difference.isEmpty ? ExitCode.success : ExitCode.failure
    }

    private static func values(of configuration: EffectiveConfiguration) -> [String: String] {
        var values: [String: String] = [:]
        for setting in configuration.settings { values[setting.path] = setting.value }
        for route in configuration.routes { values["workers.\(route.worker).route \(route.pattern.text)"] = "served" }
        return values
    }

    private static func values(of release: Int64, _ node: NodeReleases) async throws -> [String: String] {
        let found = try await node.client.result("GET", "\(node.account)/edge/releases/\(release)")
        var values: [String: String] = [:]
        for worker in found["versions"]?.members ?? [] {
            values["workers.\(worker.name).version"] = worker.value.text ?? ""
        }
        // One that changes of single workers made is its versions.
        guard found["bundle"]?.text != nil else { return values }
        let made = try await node.client.result("GET", "\(node.account)/edge/releases/\(release)/configuration")
        for setting in made["settings"]?.items ?? [] {
            values[setting["path"]?.text ?? ""] = ReleaseDifference.text(setting["value"])
        }
        for product in made["artifacts"]?.members ?? [] { values["products.\(product.name)"] = product.value.text ?? "" }
        return values
    }
}

/// What two releases have, value by value.
struct ReleaseDifference {
    private let changes: [(path: String, old: String?, new: String?)]

    init(_ old: [String: String], _ new: [String: String]) {
        changes = Set(old.keys).union(new.keys).sorted().compactMap { path in
            old[path] == new[path] ? nil : (path, old[path], new[path])
        }
    }

    var isEmpty: Bool { changes.isEmpty }

    func print() {
        for change in changes {
            if let old = change.old { Swift.print(Terminal.printable("- \(change.path) = \(old)")) }
            if let new = change.new { Swift.print(Terminal.printable("+ \(change.path) = \(new)")) }
        }
    }

    var json: JSON {
        .array(
            changes.map { change in
                .object([
                    "path": .string(change.path), "old": change.old.map { .string($0) } ?? .null,
                    "new": change.new.map { .string($0) } ?? .null,
                ])
            })
    }

    /// A value as it stands in a file.
    static func text(_ value: JSON?) -> String { value.map { String(decoding: $0.bytes, as: UTF8.self) } ?? "" }
}
