internal import Configuration
internal import HTTP
internal import System

/// A node's control listener, as commands reach it.
struct NodeAddress: Equatable, Sendable {
    /// Scheme, host and port: `http://127.0.0.1:8788`.
    let origin: String
    /// Whether it is this machine, as its name says.
    let isLoopback: Bool
    /// A file of certificates that are trusted for https; `nil` for the system's.
    let authorities: String?

    static let options: [Option] = [
        .value(
            "remote", "URL", "the control URL of a node (that of the node on this machine that has --state)",
            aliases: ["control"]),
        .value("state", "DIRECTORY", "the state of a node on this machine (state/dev, or that of --environment)", .directories),
        .value("ca", "FILE", "certificates to trust for https, in PEM (the system's)", .files),
    ]

    /// - Parameter url: `http://HOST:PORT` or `https://HOST[:PORT]`. The path that other clients of the API are given may
    ///   stand behind it.
    init?(_ url: String, authorities: String? = nil) {
        guard let parsed = WebURL(url), parsed.scheme == "http" || parsed.scheme == "https", !parsed.hostname.isEmpty,
            parsed.username.isEmpty, parsed.password.isEmpty, parsed.query == nil, parsed.fragment == nil,
            ["", "/", "/client/v4", "/client/v4/"].contains(parsed.path)
        else { return nil }
        origin = "\(parsed.scheme)://\(parsed.host)"
        let host = parsed.hostname
        isLoopback = host == "localhost" || host.hasSuffix(".localhost") || host.hasPrefix("127.") || host == "[::1]"
        self.authorities = authorities
    }

    /// The node that the command line means.
    ///
    /// - Throws: `NodeNotFound` when it names none and none runs here.
    static func find(_ arguments: CommandLineArguments) throws -> NodeAddress {
        let authorities = arguments.value("ca")
        if let authorities, !FileTree.exists(authorities) {
            throw UsageError.invalidValue(option: "--ca", value: authorities, expected: "a file that exists")
        }
        guard let url = arguments.value("remote") else {
            let found = try ControlFile.read(in: stateDirectory(arguments))
            return authorities.flatMap { NodeAddress(found.origin, authorities: $0) } ?? found
        }
        guard let address = NodeAddress(url, authorities: authorities) else {
            throw UsageError.invalidValue(
                option: "--remote", value: url, expected: "http://HOST:PORT or https://HOST:PORT")
        }
        return address
    }

    /// `--state`, else `state/dev`, or `state/ENVIRONMENT` of `--environment`, here or in the project that this folder belongs to.
    static func stateDirectory(_ arguments: CommandLineArguments) -> String {
        if let named = arguments.value("state") { return named }
        // Beside a file in wrangler's format, it is one of the file's.
        let environment = arguments.value("config") == nil ? arguments.value("environment") : nil
        return stateDirectory(of: environment ?? "dev")
    }

    static func stateDirectory(of environment: String) -> String {
        let usual = "state/\(environment)"
        guard !FileTree.exists(usual), let project = ConfigurationLoader.findFromHere(), !project.isHere else { return usual }
        return "\(project.directory)/\(usual)"
    }
}
