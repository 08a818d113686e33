internal import Configuration
internal import ControlPlane
internal import Releases
internal import System

/// `edge secret put|list|delete|bulk|rotate-key`: the encrypted store of one environment.
enum SecretCommand: CommandGroup {
    static let name = "secret"
    static let summary = "Puts, lists and deletes an environment's secrets, and changes their key"
    static let discussion = """
        Secrets are a tenant's own: of the project's, unless --tenant names another. Values are encrypted (AES-256-GCM)
        under a key that is kept outside the state directory: --key-file, else EDGE_SECRET_KEY (64 hex digits), else systemd's
        credential edge-secret-key, else ~/.config/edge/ENVIRONMENT.key. A key file is made with the first secret. With
        EDGE_SECRET_KEY, rotate-key seals anew what EDGE_SECRET_KEY_PREVIOUS opens. Versions that are there keep the secrets
        that they were made with: a change counts from the next deployment on, which --deploy makes at once, on the node that
        runs. With --remote URL, a node elsewhere is asked. In dev, secrets come from .dev.vars instead.
        """
    static let commands: [any Command.Type] = [
        SecretPutCommand.self, SecretListCommand.self, SecretDeleteCommand.self, SecretBulkCommand.self,
        SecretRotateKeyCommand.self,
    ]

    /// Of all of them.
    static let shared: [Option] = [
        .value("env", "ENVIRONMENT", "whose secrets; required", aliases: ["environment"], .environments),
        .value(
            "project", "DIRECTORY", "the folder with wrangler-like.toml (this one, or the next above that has one)",
            .directories),
        .value("tenant", "TENANT", "whose secrets (the project's tenant)", .tenants),
        .value("state", "DIRECTORY", "the node's state (state/ENVIRONMENT)", .directories),
        .value("key-file", "FILE", "the key (~/.config/edge/ENVIRONMENT.key)", .files),
    ]
    static let worker = Option.value("worker", "WORKER", "for this worker alone (all workers)", .workers)

    static func key(_ environment: String, _ arguments: CommandLineArguments) -> SecretKeySource {
        SecretKeySource.find(named: arguments.value("key-file"), environment: environment)
    }
}

/// The store of secrets that a command line means.
struct SecretTarget {
    let state: String
    let tenant: String
    private let key: SecretKeySource

    init(_ arguments: CommandLineArguments) throws {
        let environment = try arguments.requiredValue("env", "ENVIRONMENT")
        let (tenant, base) = try Self.owner(environment, arguments)
        self.tenant = tenant
        state = arguments.value("state") ?? "\(base)state/\(environment)"
        key = SecretCommand.key(environment, arguments)
    }

    /// Whether nothing was ever kept here. Only a secret makes anything: a look at a state that isn't there finds nothing.
    var isNew: Bool { !FileTree.exists(database) }
    private var database: String { state + "/control.sqlite" }

    func open() throws -> SecretStore { try SecretStore(database: database, key: key, tenant: tenant) }

    /// The name of a secret on the command line.
    static func name(_ arguments: CommandLineArguments) throws(UsageError) -> String {
        let name = try arguments.required("NAME")
        guard isName(name) else {
            throw .invalidValue(option: "NAME", value: name, expected: "letters, digits and _, no digit first")
        }
        return name
    }

    /// The tenant, and where the project's paths begin. An environment that the project doesn't have is a mistake.
    private static func owner(
        _ environment: String, _ arguments: CommandLineArguments
    ) throws -> (tenant: String, base: String) {
        guard EnvironmentKind(name: environment) != .dev else { throw SecretMistake.dev }
        let project = try Project(arguments)
        let (files, _) = project.loader.read()
        guard let files, !project.isWrangler else {
            if let tenant = arguments.value("tenant"), arguments.value("project") == nil { return (tenant, "") }
            throw SecretMistake.noProject(project.directory)
        }
        guard files.environments[environment] != nil else {
            throw SecretMistake.noEnvironment(environment, known: files.environments.keys.sorted())
        }
        if let tenant = arguments.value("tenant") { return (tenant, project.base) }
        guard let tenant = (try? ShapeFile(files.shape))?.document["tenant"]?.string else {
            throw SecretMistake.noTenant(project.directory)
        }
        return (tenant, project.base)
    }

    static func isName(_ text: String) -> Bool {
        text.utf8.enumerated().allSatisfy { position, byte in
            switch byte {
            case 0x41...0x5A, 0x61...0x7A, 0x5F: true
            case 0x30...0x39: position > 0
            default: false
            }
        }
    }
}

enum SecretPutCommand: Command {
    static let name = "put"
    static let summary = "Stores standard input under a name, in the place of an older value"
    static let discussion = """
        Stores standard input, without one line end behind it, under NAME, in the place of an older value.

        example: edge secret put JWT_KEY --env staging <key.txt
        """
    // A value on the command line would be in the shell's history and in everybody's list of processes.
    static let operands: [Operand] = [.one("NAME")]
    static let options = [SecretCommand.worker] + SecretCommand.shared + SecretNode.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let name = try SecretTarget.name(arguments)
        guard arguments.value("remote") == nil else {
            let value = try standardInput()
            return try await SecretNode.change([(name, value)], arguments) { print("stored \(name)") }
        }
        let target = try SecretTarget(arguments)
        let value = try standardInput()
        try FileTree.makeDirectory(target.state, mode: 0o700)
        try target.open().put(name, of: arguments.value("worker") ?? "*", value: value, at: SystemClock().wallTime())
        print("stored \(name)")
        return try await SecretNode.deployIfAsked(target, arguments)
    }

    /// All of standard input, as keys in PEM have many lines; the line end that `echo` adds is none of it.
    private static func standardInput() throws -> String {
        var bytes = try InputFile("-").readAll(bytesMax: 1 << 20)
        if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
        if bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw UsageError.invalidValue(option: "standard input", value: "(not shown)", expected: "UTF-8 text")
        }
        guard !text.isEmpty else { throw UsageError.missingArgument("the value on standard input") }
        return text
    }
}

enum SecretListCommand: Command {
    static let name = "list"
    static let summary = "Prints the names and the worker that each is for; values are never shown"
    static let options =
        SecretCommand.shared + SecretNode.connection + [.flag("json", "prints the list as JSON")]

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let names: [(worker: String, name: String)]
        if arguments.value("remote") != nil {
            names = try await SecretNode.list(arguments)
        } else {
            let target = try SecretTarget(arguments)
            names = target.isNew ? [] : try target.open().list()
        }
        if arguments.has("json") {
            Output.json(
                .array(names.map { .object(["name": .string($0.name), "worker": .string($0.worker)]) }))
        } else {
            for entry in names { print("\(entry.name)\t\(entry.worker)") }
        }
        return ExitCode.success
    }
}

enum SecretDeleteCommand: Command {
    static let name = "delete"
    static let summary = "Removes a secret"
    static let operands: [Operand] = [.one("NAME")]
    static let options = [SecretCommand.worker] + SecretCommand.shared + SecretNode.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let name = try SecretTarget.name(arguments)
        guard arguments.value("remote") == nil else {
            return try await SecretNode.change([(name, nil)], arguments) { print("deleted \(name)") }
        }
        let target = try SecretTarget(arguments)
        guard !target.isNew, try target.open().delete(name, of: arguments.value("worker") ?? "*") else {
            Edge.complain("edge secret: there is no secret \(name)")
            return ExitCode.failure
        }
        print("deleted \(name)")
        return try await SecretNode.deployIfAsked(target, arguments)
    }
}

enum SecretRotateKeyCommand: Command {
    static let name = "rotate-key"
    static let summary = "Seals all secrets of an environment with a new key"
    static let discussion = """
        Seals all secrets of the environment, all tenants', with a new key, which takes the old one's place; what was
        interrupted goes on with the next rotate-key, and everything can be read meanwhile.
        """
    static let options = SecretCommand.shared

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let target = try SecretTarget(arguments)
        guard !target.isNew else {
            Edge.complain("edge secret: \(target.state) has no secrets")
            return ExitCode.failure
        }
        let count = try target.open().changeKey()
        print("sealed \(HumanText.count(count, "secret")) with a new key")
        return ExitCode.success
    }
}

/// Why it isn't known whose secrets are meant.
enum SecretMistake: Error, CustomStringConvertible {
    case dev
    case noProject(String)
    case noEnvironment(String, known: [String])
    case noTenant(String)

    var description: String {
        switch self {
        case .dev: "in dev, secrets come from .dev.vars"
        case .noProject(let directory):
            "can't read \(directory)/wrangler-like.toml: run edge in the project's folder, or name the --tenant"
        case .noEnvironment(let name, let known):
            "there is no environment \"\(name)\": environments/\(name).toml does not exist"
                + (Nearest.name(to: name, among: known).map { "; did you mean \"\($0)\"?" } ?? "")
        case .noTenant(let directory): "\(directory)/wrangler-like.toml names no tenant: see `edge check`"
        }
    }
}
