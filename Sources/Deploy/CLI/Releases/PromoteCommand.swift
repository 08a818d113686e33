internal import ControlPlane
internal import Configuration
internal import Releases
internal import System

/// `edge promote staging production`: what serves on one node, on another one: the same files and the same executables.
enum PromoteCommand: Command {
    static let name = "promote"
    static let summary = "Deploys what is active in one environment to another: the very same files and executables"
    static let discussion = """
        Takes the bundle and the executables of the release that is active on the node of SOURCE, and deploys them to the node
        of TARGET with that environment's values. The nodes are those of this machine, unless --from and --remote say other
        ones. What was changed over the API alone, worker by worker, has no bundle and can't be promoted.

        example: edge promote staging production --pause-at 25
        """
    static let operands: [Operand] = [.one("SOURCE", .environments), .one("TARGET", .environments)]
    static let options: [Option] =
        [
            .value("from", "URL", "the control URL of the node of SOURCE (the one on this machine)"),
            .value("from-token", "TOKEN", "who asks there ($EDGE_API_TOKEN, else the operator's, from --from-state)"),
            .value("from-state", "DIRECTORY", "the state of the node of SOURCE (state/SOURCE)", .directories),
        ] + DeployCommand.rollout + [
            .flag("dry-run", "prints what it would do"),
            .flag("allow-breaking", "also with migrations that the code which serves can't live with; writes wait meanwhile"),
            .flag("contract", "also runs contract migrations, once the release before it is gone"),
        ] + APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let (from, to) = (try arguments.required("SOURCE"), try arguments.required("TARGET"))
        guard from != to else { throw UsageError.unexpectedArgument("\(to): it is the same environment") }
        let request = try DeploymentRequest(arguments)
        let target = try await NodeReleases(try APIClient(arguments, environment: to))
        try check(target, is: to)
        let source = try await PromotionSource(arguments, environment: from, tenant: target.client.tenantName)
        let promoted = request.with("trigger", "promotion")
        return try await ReleaseFailures.explained {
            try await DeploymentStart(node: target, request: promoted, arguments: arguments).run {
                try await source.send(to: target, promoted)
            }
        }
    }

    static func check(_ node: NodeReleases, is environment: String) throws {
        guard node.ownEnvironment == environment else {
            throw APIFailure("\(node.client.node.address.origin) is a node of \(node.ownEnvironment), not of \(environment)")
        }
    }
}

/// What is active on another node.
struct PromotionSource {
    private let node: NodeReleases
    let release: Int64
    private let bundle: String
    /// Product → hash.
    let artifacts: [String: String]

    init(_ arguments: CommandLineArguments, environment: String, tenant: String?) async throws {
        let client = try APIClient(
            source: environment, url: arguments.value("from"), state: arguments.value("from-state"),
            token: arguments.value("from-token"), authorities: arguments.value("ca"), tenant: tenant)
        node = try await NodeReleases(client)
        try PromoteCommand.check(node, is: environment)
        guard let active = node.active else { throw APIFailure("nothing is active in \(environment)") }
        release = active
        let found = try await client.result("GET", "\(node.account)/edge/releases/\(active)")
        guard let hash = found["bundle"]?.text else {
            throw APIFailure(
                "release \(active) of \(environment) was made by changes of single workers: deploy it there with `edge deploy` first")
        }
        bundle = hash
        let known = try await client.result("GET", "\(node.account)/edge/bundles/\(hash)")
        artifacts = Dictionary((known["artifacts"]?.members ?? []).map { ($0.name, $0.value.text ?? "") }) { first, _ in first }
    }

    func send(to target: NodeReleases, _ request: DeploymentRequest) async throws -> JSON {
        for (product, hash) in artifacts.sorted(by: { $0.key < $1.key }) {
            guard try await !ArtifactTransfer.isThere(hash, on: target) else { continue }
            try await withDownload("\(node.account)/edge/artifacts/\(hash)/content", title: product) { path in
                try await ArtifactTransfer.send(hash, product, path, to: target)
            }
        }
        let message = request.json["message"] == nil ? "promoted release \(release) of \(node.ownEnvironment)" : nil
        let request = message.map { request.with("message", .string($0)) } ?? request
        return try await withDownload("\(node.account)/edge/bundles/\(bundle)/archive", title: nil) { path in
            try await BundleTransfer.send(path, hash: bundle, to: target, request)
        }
    }

    private func withDownload<Result>(
        _ path: APIPath, title: String?, _ body: (String) async throws -> Result
    ) async throws -> Result {
        let file = TemporaryFile.path("promotion")
        let output = try OutputFile(file)
        try await node.client.download(path, to: output, title: title)
        // It lies in a directory that is emptied anyway.
        defer { try? FileTree.remove(file) }
        return try await body(file)
    }
}

/// What `promote_from` asks for: executables that serve elsewhere already.
enum PromotionProof {
    /// Compares what is to be deployed with what is active on the node of `environment`.
    ///
    /// - Throws: when that can't be found, or is something else.
    static func check(
        _ products: [BundleArchive.Product], wanted: Set<String>, against environment: String, _ arguments: CommandLineArguments,
        tenant: String?
    ) async throws {
        let way = "`edge promote \(environment) TARGET` deploys what is active there, and --allow-unpromoted asks for none of it"
        let source: PromotionSource
        do { source = try await PromotionSource(arguments, environment: environment, tenant: tenant) } catch {
            throw DeploymentFailure("promote_from = \"\(environment)\", and that node can't be asked: \(error); \(way)")
        }
        let other = products.filter { wanted.contains($0.name) && source.artifacts[$0.name] != $0.hash }
        guard other.isEmpty else {
            throw DeploymentFailure(
                "\(other.map(\.name).joined(separator: ", ")): not what is active in \(environment), which promote_from wants; "
                    + way)
        }
    }
}
