internal import Configuration
internal import Glibc
internal import Releases
internal import System

/// `edge secret put|list|delete`: the encrypted store of one environment.
enum SecretCommand: Command {
    static let name = "secret"
    static let summary = "Puts, lists and deletes an environment's secrets, and changes their key"
    static let usage =
        "put NAME | list | delete NAME | rotate-key  --env ENVIRONMENT [--worker WORKER] [--tenant TENANT]"
    static let discussion = """
        put     stores standard input, without one line end behind it, under NAME, in the place of an older value
        list    prints the names and the worker that each is for; values are never shown
        delete  removes NAME
        rotate-key  seals all secrets of the environment, all tenants', with a new key, which takes the old one's place;
                what was interrupted goes on with the next rotate-key, and everything can be read meanwhile

        Secrets are a tenant's own: of the project's, unless --tenant names another. Values are encrypted (AES-256-GCM)
        under a key that is kept outside the state directory: --key-file, else EDGE_SECRET_KEY (64 hex digits), else systemd's
        credential edge-secret-key, else ~/.config/edge/ENVIRONMENT.key. A key file is made with the first secret. With
        EDGE_SECRET_KEY, rotate-key seals anew what EDGE_SECRET_KEY_PREVIOUS opens. A node reads secrets when it starts. In dev, secrets come from .dev.vars instead.

        example: edge secret put JWT_KEY --env staging <key.txt
        """
    static let options: [Option] = [
        .value("env", "ENVIRONMENT", "whose secrets; required"),
        .value("project", "DIRECTORY", "the folder with wrangler-like.toml (this one, or the next above that has one)"),
        .value("tenant", "TENANT", "whose secrets (the project's tenant)"),
        .value("worker", "WORKER", "for this worker alone (all workers)"),
        .value("state", "DIRECTORY", "the node's state (state/ENVIRONMENT)"),
        .value("key-file", "FILE", "the key (~/.config/edge/ENVIRONMENT.key)"),
        .flag("json", "prints the list as JSON"),
    ]

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        guard let environment = arguments.value("env") else { throw UsageError.missingArgument("--env ENVIRONMENT") }
        // A value on the command line would be in the shell's history and in everybody's list of processes.
        let words = ["list", "rotate-key"].contains(arguments.positional.first) ? 1 : 2
        if arguments.positional.count > words { throw UsageError.unexpectedArgument(arguments.positional[words]) }
        if let name = arguments.positional.dropFirst().first, !isName(name) {
            throw UsageError.invalidValue(option: "NAME", value: name, expected: "letters, digits and _, no digit first")
        }
        switch (arguments.positional.first, arguments.positional.dropFirst().first) {
        case (nil, _): throw UsageError.missingArgument("put, list, delete or rotate-key")
        case ("put", nil), ("delete", nil): throw UsageError.missingArgument("NAME")
        case ("put", _), ("delete", _), ("list", _), ("rotate-key", _): break
        case (let other?, _):
            throw UsageError.unknownSubcommand(other, of: name, among: ["put", "list", "delete", "rotate-key"])
        }
        let (tenant, base) = try owner(environment, arguments)
        let state = arguments.value("state") ?? "\(base)state/\(environment)"
        let database = state + "/control.sqlite"
        let worker = arguments.value("worker") ?? "*"
        // Only a secret makes anything: a look at a state that isn't there finds nothing.
        let isNew = !FileTree.exists(database)
        func open() throws -> SecretStore {
            try SecretStore(database: database, key: key(environment, arguments), tenant: tenant)
        }
        switch (arguments.positional.first, arguments.positional.dropFirst().first) {
        case ("put", let name?):
            let value = try standardInput()
            guard !value.isEmpty else { throw UsageError.missingArgument("the value on standard input") }
            try FileTree.makeDirectory(state, mode: 0o700)
            try open().put(name, of: worker, value: value, at: SystemClock().wallTime())
            print("stored \(name)")
        case ("delete", let name?):
            guard !isNew, try open().delete(name, of: worker) else {
                Edge.complain("edge secret: there is no secret \(name)")
                return ExitCode.failure
            }
            print("deleted \(name)")
        case ("rotate-key", _):
            guard !isNew else {
                Edge.complain("edge secret: \(state) has no secrets")
                return ExitCode.failure
            }
            let count = try open().changeKey()
            print("sealed \(count) secret\(count == 1 ? "" : "s") with a new key")
        default:
            let names = isNew ? [] : try open().list()
            if arguments.has("json") {
                print("[" + names.map { #"{"name":"\#($0.name)","worker":"\#($0.worker)"}"# }.joined(separator: ",") + "]")
            } else {
                for entry in names { print("\(entry.name)\t\(entry.worker)") }
            }
        }
        return ExitCode.success
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

    private static func isName(_ text: String) -> Bool {
        text.utf8.enumerated().allSatisfy { position, byte in
            switch byte {
            case 0x41...0x5A, 0x61...0x7A, 0x5F: true
            case 0x30...0x39: position > 0
            default: false
            }
        }
    }

    /// All of standard input, as keys in PEM have many lines; the line end that `echo` adds is none of it.
    private static func standardInput() throws -> String {
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 4096)
        while true {
            // SAFETY: read fills at most the array it is lent.
            let count = unsafe read(0, &piece, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw SystemError("read", errno: errno, on: "standard input") }
            if count == 0 { break }
            bytes += piece[..<count]
            guard bytes.count <= 1 << 20 else { throw SystemError("read", errno: EFBIG, on: "standard input") }
        }
        if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
        if bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw UsageError.invalidValue(option: "standard input", value: "(not shown)", expected: "UTF-8 text")
        }
        return text
    }

    static func key(_ environment: String, _ arguments: CommandLineArguments) -> SecretKeySource {
        SecretKeySource.find(named: arguments.value("key-file"), environment: environment)
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
