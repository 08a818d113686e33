internal import Configuration
internal import ControlPlane
internal import Glibc
internal import Releases
internal import System

/// A project on its way to a node: its archive in a file of its own, so that what changes meanwhile changes nothing.
struct ProjectBundle {
    private let archive: BundleArchive

    init(
        _ project: Project, _ configuration: EffectiveConfiguration, products: String, _ arguments: CommandLineArguments
    ) throws {
        let (files, _) = project.loader.read()
        // What another environment lacks is its own affair.
        let others = (files?.environments.keys.sorted() ?? []).filter { $0 != configuration.environment }.compactMap {
            project.loader.load(environment: $0, Project.loadOptions(arguments)).configuration
        }
        archive = try BundleArchive.make(
            project: project.directory, for: configuration, others: others, executable: { "\(products)/\($0)" },
            to: TemporaryFile.path("bundle"))
    }

    var hash: String { archive.hash }
    var path: String { archive.path }

    func remove() {
        // It lies in a directory that is emptied anyway.
        try? FileTree.remove(archive.path)
    }

    /// Whether the executables are those that are active in another environment.
    func check(
        against source: String, _ configuration: EffectiveConfiguration, _ arguments: CommandLineArguments, tenant: String?
    ) async throws {
        let wanted = Set(configuration.workers.filter(\.isEnabled).map(\.product))
        try await PromotionProof.check(archive.products, wanted: wanted, against: source, arguments, tenant: tenant)
    }

    /// Sends what the node doesn't have, and asks for the deployment.
    ///
    /// - Returns: the node's answer.
    func send(to node: NodeReleases, _ request: DeploymentRequest) async throws -> JSON {
        for product in archive.products {
            try await ArtifactTransfer.send(product.hash, product.name, product.path, to: node)
        }
        return try await BundleTransfer.send(archive.path, hash: archive.hash, to: node, request)
    }
}

enum TemporaryFile {
    /// Of nobody else's.
    static func path(_ purpose: String) -> String {
        // SAFETY: getenv's result is copied at once.
        let folder = unsafe getenv("TMPDIR").map { unsafe String(cString: $0) } ?? "/tmp"
        return "\(folder)/edge-\(purpose)-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
    }
}

/// Brings executables to a node that doesn't have them.
enum ArtifactTransfer {
    static func isThere(_ hash: String, on node: NodeReleases) async throws -> Bool {
        do {
            _ = try await node.client.call("GET", "\(node.account)/edge/artifacts/\(hash)")
            return true
        } catch let failure as APIFailure where failure.status == 404 { return false }
    }

    static func send(_ hash: String, _ name: String, _ path: String, to node: NodeReleases) async throws {
        guard try await !isThere(hash, on: node) else { return }
        _ = try await node.client.upload(
            "PUT", "\(node.account)/edge/artifacts/\(hash)", .file(try InputFile(path)), title: name)
    }
}

enum BundleTransfer {
    /// Asks for a deployment of the bundle; its archive is sent only where the node doesn't have it.
    static func send(
        _ path: String, hash: String, to node: NodeReleases, _ request: DeploymentRequest
    ) async throws -> JSON {
        let target: APIPath = "\(node.account)/edge/deployments"
        if try await isThere(hash, on: node) {
            return try await node.client.result("POST", target, request.with("bundle", .string(hash)).json)
        }
        var form = MultipartForm()
        form.add("options", String(decoding: request.json.bytes, as: UTF8.self), contentType: "application/json")
        form.add("bundle", try InputFile(path), filename: "bundle.tar", contentType: "application/x-tar")
        return try await node.client.upload("POST", target, form.body, title: nil)["result"] ?? .null
    }

    private static func isThere(_ hash: String, on node: NodeReleases) async throws -> Bool {
        do {
            _ = try await node.client.call("GET", "\(node.account)/edge/bundles/\(hash)")
            return true
        } catch let failure as APIFailure where failure.status == 404 { return false }
    }
}
