internal import Configuration
internal import ControlPlane
internal import Glibc
internal import System

/// The nodes of one environment that a command leads: `--nodes a,b,https://10.0.0.3:8788`.
struct NodeList {
    struct Entry: Sendable {
        /// As the command line has it.
        let name: String
        let client: APIClient
        /// Finds it anew: a node on this machine may come back under another address.
        let find: @Sendable () throws -> APIClient
    }

    let entries: [Entry]

    static let option = Option.value(
        "nodes", "NODE,...",
        "several nodes that switch together or not at all: control URLs, names of the environment's nodes, or state directories"
    )

    /// So many come from `--nodes`.
    private static let countMax = 100
    /// An answer that takes longer is none: a node that hangs must not hold up the others.
    private static let patience = Duration.seconds(20)

    /// - Parameters:
    ///   - nodes: Those that the environment's file names.
    ///   - environment: Of the nodes on this machine.
    /// - Returns: `nil` where the command line doesn't ask for several nodes.
    init?(_ arguments: CommandLineArguments, nodes: [String: String], environment: String) throws {
        guard let text = arguments.value("nodes") else { return nil }
        for option in ["remote", "state"] where arguments.has(option) {
            throw UsageError.unexpectedArgument("--\(option) beside --nodes")
        }
        let words = text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        guard words.allSatisfy({ !$0.isEmpty }), words.count <= Self.countMax else {
            throw UsageError.invalidValue(
                option: "--nodes", value: text, expected: "1 to \(Self.countMax) nodes, with commas between")
        }
        entries = try words.map { word in
            let find = { @Sendable () throws -> APIClient in try Self.client(word, nodes, environment, arguments) }
            return Entry(name: word, client: try find(), find: find)
        }
        var seen: Set<String> = []
        for entry in entries where !seen.insert(entry.client.node.address.origin).inserted {
            throw UsageError.invalidValue(
                option: "--nodes", value: text, expected: "each node once; \(entry.name) is there twice")
        }
    }

    private static func client(
        _ word: String, _ nodes: [String: String], _ environment: String, _ arguments: CommandLineArguments
    ) throws -> APIClient {
        func make(url: String?, state: String?, token: String?) throws -> APIClient {
            try APIClient(
                source: environment, url: url, state: state, token: token, authorities: arguments.value("ca"),
                tenant: arguments.value("tenant"), patience: patience)
        }
        if let url = nodes[word] {
            return try make(url: url, state: nil, token: ownToken(word) ?? arguments.value("token"))
        }
        if word.contains("://") { return try make(url: word, state: nil, token: arguments.value("token")) }
        guard FileTree.isDirectory(word) else {
            let known = nodes.isEmpty ? "its file names none" : "its file names \(nodes.keys.sorted().joined(separator: ", "))"
            throw UsageError.invalidValue(
                option: "--nodes", value: word,
                expected: "a control URL, a node of \(environment) (\(known)), or the state directory of a node on this machine"
            )
        }
        return try make(url: nil, state: word, token: arguments.value("token"))
    }

    /// `$EDGE_API_TOKEN_NAME`, in capitals.
    private static func ownToken(_ name: String) -> String? {
        let variable = "EDGE_API_TOKEN_" + name.uppercased().map { $0 == "-" || $0 == "." ? "_" : String($0) }.joined()
        // SAFETY: getenv's result is copied at once.
        let token = unsafe getenv(variable).map { unsafe String(cString: $0) }
        return token.flatMap { $0.isEmpty ? nil : $0 }
    }
}
