internal import Configuration
internal import ControlPlane
internal import Releases
internal import System

/// `edge deploy`: brings what the project's folder says into service on a running node, and follows how that goes.
enum DeployCommand: CommandGroup {
    static let name = "deploy"
    static let summary = "Brings the project's workers into service on a running node, and goes back when they do badly"
    static let isCommand = true
    static let discussion = """
        Sends what the project's folder says, and the executables that the node doesn't have, to the node of --environment
        on this machine, or to --remote; then shows each step until the new release is active. Ctrl-C leaves the
        deployment going on in the node; once more aborts it.

        With --nodes, several nodes prepare the release, switch once all of them are prepared, and keep it once all serve it; when one
        fails, all go back. Nodes that don't hear of this command for --lease come to one release by themselves: they go back, unless
        one of them was told to keep it. Ctrl-C takes all back.

        Exit codes: 0 active, 1 rolled back, 2 refused, 3 it waits for `edge deploy resume` or `promote`, 75 another one
        is in progress.
        """
    static let commands: [any Command.Type] = [
        DeployStatusCommand.self, DeployAttachCommand.self, DeployAbortCommand.self, DeployResumeCommand.self,
        DeployPromoteCommand.self,
    ]

    static let environment = Option.value(
        "environment", "ENVIRONMENT", "which environment; the node's own where one is named (dev)", aliases: ["env"],
        .environments)

    /// How a release is brought into service; what isn't given is as the environment's [deploy] says.
    static let rollout: [Option] = [
        .value("steps", "PERCENTAGES", "the shares of requests that it gets one after the other, as 10,50,100"),
        .value("bake", "DURATION", "how long each share is watched, as 30s"),
        .value("monitor", "DURATION", "how long it is watched behind the switch, as 5m"),
        .value("pause-at", "PERCENTAGE", "waits there for `edge deploy resume` or `promote`"),
        .value("message", "TEXT", "why, for the lists", short: "m"), .value("tag", "TEXT", "a name of yours"),
        .value("sign-key", "FILE", "an Ed25519 key in PEM that signs it, where the environment has deploy_keys", .files),
        .flag("wait", "waits for a deployment that is in progress"),
        .flag("force", "also when what serves now isn't healthy"),
        .flag("detach", "returns when it has begun"),
        .flag("follow", "stays until it has been watched behind the switch, too"),
    ]

    static let options: [Option] =
        [environment]
        + [
            .value(
                "project", "DIRECTORY", "the folder with wrangler-like.toml (this one, or the next above that has one)",
                .directories),
            .value("products", "DIRECTORY", "where the workers' executables are (where edge is)", .directories),
            .flag("lenient", "takes unknown keys for warnings, not for errors"),
        ] + rollout + [
            .flag("dry-run", "prints what it would do"),
            .flag("allow-breaking", "also with migrations that the code which serves can't live with; writes wait meanwhile"),
            .flag("force-migrations", "also with class migrations that don't follow those that were applied last"),
            .flag("contract", "also runs contract migrations, once the release before it is gone"),
            .flag("allow-unpromoted", "also with executables that don't serve in the environment which promote_from names"),
            .value("from", "URL", "the control URL of a node of that environment (the one on this machine)"),
            .value("from-token", "TOKEN", "who asks there ($EDGE_API_TOKEN, else the operator's, from --from-state)"),
            .value("from-state", "DIRECTORY", "the state of that node (state/ENVIRONMENT)", .directories),
        ] + CoordinatedDeployment.options + APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let project = try Project(arguments)
        try project.requirePlatform()
        let options = try DeploymentRequest(arguments)
        guard arguments.value("nodes") == nil else { return try await deployToNodes(project, options, arguments) }
        if arguments.has("lease") { throw UsageError.unexpectedArgument("--lease without --nodes") }
        let client = try APIClient(arguments)
        let node = try await NodeReleases(client)
        let environment = try node.environment(arguments)
        guard let configuration = project.load(environment, arguments) else { return ExitCode.refused }
        let bundle = try ProjectBundle(
            project, configuration, products: arguments.value("products") ?? OwnExecutable.directory, arguments)
        defer { bundle.remove() }
        var request = options.with(revision: GitRevision.find(from: project.directory))
        return try await ReleaseFailures.explained {
            if let source = configuration.deploy.promoteFrom, !arguments.has("allow-unpromoted") {
                try await bundle.check(against: source, configuration, arguments, tenant: client.tenantName)
                request = request.with("trigger", "promotion")
            }
            let request = try request.signed(bundle.hash, arguments)
            return try await DeploymentStart(node: node, request: request, arguments: arguments).run {
                try await bundle.send(to: node, request)
            }
        }
    }
}

extension DeployCommand {
    private static func deployToNodes(
        _ project: Project, _ options: DeploymentRequest, _ arguments: CommandLineArguments
    ) async throws -> Int32 {
        try CoordinatedDeployment.check(arguments)
        let environment = arguments.value("environment") ?? "dev"
        guard let configuration = project.load(environment, arguments) else { return ExitCode.refused }
        guard let list = try NodeList(arguments, nodes: configuration.nodes, environment: environment) else {
            return ExitCode.usage
        }
        let (id, lease) = (RandomID.uuid(), try CoordinatedDeployment.lease(arguments))
        let leader = try await CoordinatedDeployment(
            list, environment: environment, id: id, lease: lease, isJSON: arguments.has("json"))
        let bundle = try ProjectBundle(
            project, configuration, products: arguments.value("products") ?? OwnExecutable.directory, arguments)
        defer { bundle.remove() }
        var request = options.with(revision: GitRevision.find(from: project.directory))
        return try await ReleaseFailures.explained {
            if let source = configuration.deploy.promoteFrom, !arguments.has("allow-unpromoted") {
                try await bundle.check(against: source, configuration, arguments, tenant: arguments.value("tenant"))
                request = request.with("trigger", "promotion")
            }
            let signed = try request.signed(bundle.hash, arguments)
            return await leader.run { try await bundle.send(to: $0, signed.with("coordination", $1)) }
        }
    }
}

/// What the command line says of how a release is brought into service.
struct DeploymentRequest {
    private(set) var members: [JSON.Member] = []

    init(_ arguments: CommandLineArguments) throws(UsageError) {
        if let text = arguments.value("steps") {
            let steps = text.split(separator: ",", omittingEmptySubsequences: false).map { Int64($0) ?? -1 }
            let isRising = zip(steps, steps.dropFirst()).allSatisfy { $0 < $1 }
            guard steps.last == 100, isRising, steps.allSatisfy({ (1...100).contains($0) }) else {
                throw .invalidValue(
                    option: "--steps", value: text, expected: "percentages that rise and end in 100, as 10,50,100")
            }
            add("steps", .array(steps.map { .integer($0) }))
        }
        for name in ["bake", "monitor"] {
            guard let duration = try arguments.duration(name) else { continue }
            add("\(name)_seconds", .number(Double(duration.wholeNanoseconds) / 1e9))
        }
        if let pause = try arguments.integer("pause-at", 0...100) { add("pause_at", .integer(Int64(pause))) }
        for name in ["message", "tag"] { if let text = arguments.value(name) { add(name, .string(text)) } }
        for name in ["dry-run", "force", "allow-breaking", "contract", "allow-unpromoted", "restore-data", "force-migrations"]
        where arguments.has(name) {
            add(name.replacing("-", with: "_"), true)
        }
    }

    private mutating func add(_ name: String, _ value: JSON) { members.append(JSON.Member(name: name, value: value)) }

    func signed(_ bundle: String, _ arguments: CommandLineArguments) throws(DeploymentFailure) -> DeploymentRequest {
        guard let file = arguments.value("sign-key") else { return self }
        return with("signature", .string(try BundleSignature.sign(bundle, keyFile: file)))
    }

    func with(revision: String?) -> DeploymentRequest {
        var request = self
        if let revision { request.add("revision", .string(revision)) }
        return request
    }

    func with(_ name: String, _ value: JSON) -> DeploymentRequest {
        var request = self
        request.add(name, value)
        return request
    }

    var json: JSON { .object(members) }
}

/// The releases of one tenant on a node.
struct NodeReleases {
    let client: APIClient
    let account: APIPath
    /// What the node says of itself.
    private let slots: JSON

    init(_ client: APIClient) async throws {
        self.client = client
        account = try await client.account()
        slots = try await client.result("GET", "\(account)/edge/slots")
    }

    private init(_ client: APIClient, _ account: APIPath, _ slots: JSON) {
        (self.client, self.account, self.slots) = (client, account, slots)
    }

    /// The same node, at another address.
    func reached(by client: APIClient) -> NodeReleases { NodeReleases(client, account, slots) }

    var ownEnvironment: String { slots["environment"]?.text ?? "" }
    var active: Int64? { slots["active"]?.integer }

    /// The node's environment, which the command line must mean, if it means any.
    func environment(_ arguments: CommandLineArguments) throws -> String {
        if let asked = arguments.value("environment"), asked != ownEnvironment {
            throw APIFailure("\(client.node.address.origin) is a node of \(ownEnvironment), not of \(asked)")
        }
        return ownEnvironment
    }

    func deployment(_ number: Int64) async throws -> JSON {
        try await client.result("GET", "\(account)/edge/deployments/\(number)")
    }

    func events(of number: Int64, after: Int64, wait: Bool) async throws -> [JSON] {
        try await client.result(
            "GET", "\(account)/edge/deployments/\(number)/events",
            query: [("after", "\(after)"), ("wait", wait ? "true" : nil)]
        ).items ?? []
    }

    /// The number on the command line, else that of the newest deployment.
    func number(_ arguments: CommandLineArguments, _ operand: String) async throws -> Int64 {
        if let word = arguments.operand(operand) {
            guard let number = Int64(word), number > 0 else {
                throw UsageError.invalidValue(option: operand, value: word, expected: "the number of a deployment")
            }
            return number
        }
        guard let newest = try await newest else { throw APIFailure("there is no deployment") }
        return newest
    }

    private var newest: Int64? {
        get async throws {
            try await client.result("GET", "\(account)/edge/deployments", query: [("per_page", "1")]).items?.first?["number"]?
                .integer
        }
    }
}

/// The commit that a folder is at.
enum GitRevision {
    /// - Returns: `nil` where no `.git` tells.
    static func find(from directory: String) -> String? {
        guard var folder = try? FileTree.realPath(directory) else { return nil }
        while true {
            let git = folder == "/" ? "/.git" : folder + "/.git"
            if FileTree.isDirectory(git) { return read(git) }
            guard folder != "/", let slash = folder.lastIndex(of: "/") else { return nil }
            folder = slash == folder.startIndex ? "/" : String(folder[..<slash])
        }
    }

    private static func read(_ git: String) -> String? {
        // A repository that can't be read is none of a deployment's business.
        guard let head = try? FileTree.readTextIfPresent(git + "/HEAD") else { return nil }
        let line = head.prefix { $0 != "\n" }
        guard line.hasPrefix("ref: ") else { return hash(line) }
        let name = line.dropFirst(5)
        if let text = try? FileTree.readTextIfPresent("\(git)/\(name)") { return hash(text.prefix { $0 != "\n" }) }
        guard let packed = try? FileTree.readTextIfPresent(git + "/packed-refs") else { return nil }
        let found = packed.split(separator: "\n").first { $0.hasSuffix(" \(name)") }
        return found.flatMap { hash($0.prefix { $0 != " " }) }
    }

    private static func hash(_ text: Substring) -> String? {
        (40...64).contains(text.utf8.count) && text.utf8.allSatisfy { UInt8(ascii: "0")...UInt8(ascii: "f") ~= $0 }
            ? String(text) : nil
    }
}
