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
    static let option = Option.value(
        "namespace", "NAME", "the namespace, by title or id; required", short: "n", aliases: ["namespace-id"], .namespaces)
    static let options = [option] + APIClient.tenantOptions
    /// With the word that wrangler has for it.
    static let confirmation = Option.flag(
        "yes", "asks nothing", short: "y", aliases: Confirmation.option.aliases + ["force"])

    /// The path of the namespace that is called so.
    static func find(_ name: String, _ client: APIClient) async throws -> APIPath {
        let all: APIPath = "\(try await client.account())/storage/kv/namespaces"
        let isID = name.utf8.count == 32 && name.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
        if isID { return "\(all)/\(name)" }
        let found = try await client.list(all, query: [("order", "title")])
        guard let id = found.first(where: { $0["title"]?.text == name })?["id"]?.text else {
            let nearest = Nearest.name(to: name, among: found.compactMap { $0["title"]?.text })
            throw APIFailure(
                "there is no namespace \"\(name)\"" + (nearest.map { "; did you mean \"\($0)\"?" } ?? ""))
        }
        return "\(all)/\(id)"
    }

    /// Where it may be a word as well.
    static func name(_ arguments: CommandLineArguments) throws(UsageError) -> String {
        guard let name = arguments.operand("NAMESPACE") ?? arguments.value("namespace") else {
            throw .missingArgument("NAMESPACE")
        }
        return name
    }

    static func find(_ client: APIClient, _ arguments: CommandLineArguments) async throws -> APIPath {
        try await find(try arguments.requiredValue("namespace", "NAME"), client)
    }
}
