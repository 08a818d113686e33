internal import ControlPlane

enum KVNamespaceCreateCommand: Command {
    static let name = "create"
    static let summary = "Makes a namespace and prints its id"
    static let operands: [Operand] = [.one("TITLE")]
    static let options =
        [.flag("preview", "with _preview behind the title, as wrangler calls a preview_id's namespace")]
        + APIClient.storeOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let title = try arguments.required("TITLE") + (arguments.has("preview") ? "_preview" : "")
        let client = try APIClient(arguments)
        let made = try await client.result(
            "POST", "\(try await client.account())/storage/kv/namespaces", .object(["title": .string(title)]))
        if arguments.has("json") { Output.json(made) } else { print(made["id"]?.text ?? "") }
        return ExitCode.success
    }
}

enum KVNamespaceListCommand: Command {
    static let name = "list"
    static let summary = "Shows ids and titles"
    static let options = APIClient.storeOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let client = try APIClient(arguments)
        let found = try await client.list(
            "\(try await client.account())/storage/kv/namespaces", query: [("order", "title")])
        return Output.list(found, arguments, "ID", "TITLE", orSay: "there are no namespaces") { namespace in
            [namespace["id"]?.text ?? "", namespace["title"]?.text ?? ""]
        }
    }
}

enum KVNamespaceRenameCommand: Command {
    static let name = "rename"
    static let summary = "Gives a namespace another title; configurations find it under the old one too"
    static let operands: [Operand] = [.optional("NAMESPACE", .namespaces)]
    static let options = [.value("new-name", "TITLE", "the new title; required")] + KVTarget.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let title = try arguments.requiredValue("new-name", "TITLE")
        let (client, path, _) = try await KVTarget.find(arguments, operand: "NAMESPACE")
        let renamed = try await client.result("PUT", path, .object(["title": .string(title)]))
        if arguments.has("json") { Output.json(renamed) } else { print("renamed to \(title)") }
        return ExitCode.success
    }
}

enum KVNamespaceDeleteCommand: Command {
    static let name = "delete"
    static let summary = "Deletes a namespace with all its keys"
    static let operands: [Operand] = [.optional("NAMESPACE", .namespaces)]
    static let options = [KVTarget.confirmation] + KVTarget.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let (client, path, name) = try await KVTarget.find(arguments, operand: "NAMESPACE")
        try Confirmation.ask("Delete the namespace \"\(name)\" with all its keys?", arguments)
        let answer = try await client.result("DELETE", path)
        if arguments.has("json") { Output.json(answer) } else { print("deleted \(name)") }
        return ExitCode.success
    }
}
