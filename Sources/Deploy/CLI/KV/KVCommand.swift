internal import ControlPlane

/// `edge kv`: namespaces, keys, and many keys at once.
enum KVCommand: CommandGroup {
    static let name = "kv"
    static let summary = "Manages KV namespaces and what is in them"
    static let commands: [any Command.Type] = [KVNamespaceCommand.self, KVKeyCommand.self, KVBulkCommand.self]
}

enum KVNamespaceCommand: CommandGroup {
    static let name = "namespace"
    static let summary = "Makes, lists, renames and deletes namespaces"
    static let commands: [any Command.Type] = [
        KVNamespaceCreateCommand.self, KVNamespaceListCommand.self, KVNamespaceRenameCommand.self,
        KVNamespaceDeleteCommand.self,
    ]
}

enum KVKeyCommand: CommandGroup {
    static let name = "key"
    static let summary = "Puts, gets, lists and deletes single keys"
    static let commands: [any Command.Type] = [
        KVKeyPutCommand.self, KVKeyGetCommand.self, KVKeyListCommand.self, KVKeyDeleteCommand.self,
    ]
}

enum KVBulkCommand: CommandGroup {
    static let name = "bulk"
    static let summary = "Puts, gets and deletes the keys that a file names"
    static let commands: [any Command.Type] = [
        KVBulkPutCommand.self, KVBulkGetCommand.self, KVBulkDeleteCommand.self,
    ]
}

/// Which namespace a command is about.
enum KVTarget {
    static let options: [Option] =
        [
            .value(
                "namespace", "NAME", "the namespace, by title or id; this or --binding is required", short: "n",
                aliases: ["namespace-id"], .namespaces),
            .value("binding", "NAME", "the namespace that the configuration binds under this name"),
            .flag("preview", "that of its preview_id, in wrangler's format"),
        ] + BoundStore.options + APIClient.storeOptions
    /// With the word that wrangler has for it.
    static let confirmation = Option.flag(
        "yes", "asks nothing", short: "y", aliases: Confirmation.option.aliases + ["force"])

    /// The node, and the path of the namespace that a command line means there.
    ///
    /// - Parameter operand: The operand that may have the namespace as well.
    static func find(
        _ arguments: CommandLineArguments, operand: String? = nil
    ) async throws -> (client: APIClient, path: APIPath, name: String) {
        var arguments = arguments
        let named = operand.flatMap { arguments.operand($0) } ?? arguments.value("namespace")
        guard let binding = arguments.value("binding") else {
            guard !arguments.has("preview") else { throw UsageError.missingArgument("--binding NAME beside --preview") }
            guard let named else {
                throw UsageError.missingArgument((operand.map { "\($0), " } ?? "") + "--namespace NAME or --binding NAME")
            }
            let client = try APIClient(arguments)
            return (client, try await path(of: named, client), named)
        }
        guard named == nil else { throw UsageError.unexpectedArgument("--binding beside a namespace") }
        let bound = try BoundStore.find(binding, .kv, &arguments)
        guard let name = arguments.has("preview") ? bound.preview : bound.resource else {
            throw APIFailure("the binding \"\(binding)\" has no preview_id")
        }
        let client = try APIClient(arguments)
        return (client, try await path(of: name, client, isFirstTitle: true), name)
    }

    /// The path of the namespace that is called so.
    ///
    /// - Parameter isFirstTitle: The name is a configuration's, and goes on meaning a namespace that was renamed.
    private static func path(of name: String, _ client: APIClient, isFirstTitle: Bool = false) async throws -> APIPath {
        let all: APIPath = "\(try await client.account())/storage/kv/namespaces"
        let isID = name.utf8.count == 32 && name.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
        if isID { return "\(all)/\(name)" }
        let found = try await client.list(all, query: [("order", "title")])
        let namespace =
            found.first { $0["title"]?.text == name } ?? found.first { isFirstTitle && $0["first_title"]?.text == name }
        guard let id = namespace?["id"]?.text else {
            let nearest = Nearest.name(to: name, among: found.compactMap { $0["title"]?.text })
            throw APIFailure(
                "there is no namespace \"\(name)\"" + (nearest.map { "; did you mean \"\($0)\"?" } ?? ""))
        }
        return "\(all)/\(id)"
    }
}
