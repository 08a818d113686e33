internal import ControlPlane

/// `edge durable-objects`: a tenant's durable objects, by the classes that make them.
enum ObjectsCommand: CommandGroup {
    static let name = "durable-objects"
    static let summary = "Shows durable objects, has them leave memory, and deletes them"
    static let commands = objectCommands
}

/// The same, for those who type it often.
enum ObjectsShortCommand: CommandGroup {
    static let name = "do"
    static let summary = ObjectsCommand.summary
    static let isHidden = true
    static let commands = objectCommands
}

private let objectCommands: [any Command.Type] = [
    ObjectsNamespacesCommand.self, ObjectsListCommand.self, ObjectsInspectCommand.self, ObjectsEvictCommand.self,
    ObjectsDeleteCommand.self,
]

/// A namespace that a command line names: by its id, as CLASS, or as WORKER/CLASS.
struct ObjectTarget {
    static let namespace = Operand.one("NAMESPACE")
    static let object = Operand.optional("OBJECT")
    static let options: [Option] = [.value("name", "TEXT", "the object with this name, in the place of its id")]
    static let naming = """
        NAMESPACE is a class, WORKER/CLASS where several workers have one of that name, or the namespace's id. OBJECT is 64
        hexadecimal digits; --name says what the worker has given to idFromName instead.
        """

    let client: APIClient
    let account: APIPath
    /// As the node describes it.
    let namespace: JSON
    var id: String { namespace["id"]?.text ?? "" }
    var title: String { "\(namespace["script"]?.text ?? "")/\(namespace["class"]?.text ?? "")" }
    var listPath: APIPath { "\(account)/workers/durable_objects/namespaces/\(id)/objects" }

    init(_ arguments: CommandLineArguments) async throws {
        let wanted = try arguments.required("NAMESPACE")
        client = try APIClient(arguments)
        account = try await client.account()
        let all = try await client.list("\(account)/workers/durable_objects/namespaces")
        let found = all.filter { namespace in
            let (worker, name) = (namespace["script"]?.text ?? "", namespace["class"]?.text ?? "")
            return [namespace["id"]?.text, name, "\(worker)/\(name)"].contains(wanted)
        }
        guard let first = found.first else {
            throw APIFailure("there is no namespace \"\(wanted)\"; `edge durable-objects namespaces` shows all")
        }
        guard found.count == 1 else {
            let names = found.map { "\($0["script"]?.text ?? "")/\($0["class"]?.text ?? "")" }
            throw APIFailure("several workers have a class \(wanted): say \(names.joined(separator: " or "))")
        }
        namespace = first
    }

    /// The object that the command line names.
    func object(_ arguments: CommandLineArguments) async throws -> (id: String, path: APIPath) {
        let own: APIPath = "\(account)/edge/durable_objects/namespaces/\(id)"
        let object: String
        switch (arguments.operand("OBJECT"), arguments.value("name")) {
        case (let id?, nil): object = id
        case (nil, let name?):
            object = try await client.result("GET", "\(own)/id", query: [("name", name)])["id"]?.text ?? ""
        default: throw UsageError.missingArgument("either OBJECT or --name TEXT")
        }
        return (object, "\(own)/objects/\(object)")
    }
}

enum ObjectsNamespacesCommand: Command {
    static let name = "namespaces"
    static let summary = "Shows the classes of durable objects that are in service"
    static let options = APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let client = try APIClient(arguments)
        let namespaces = try await client.list("\(client.account())/workers/durable_objects/namespaces")
        if arguments.has("json") {
            Output.json(.array(namespaces))
            return ExitCode.success
        }
        var table = Table("ID", "WORKER", "CLASS", "STORAGE", "CREATED")
        for namespace in namespaces {
            table.add(
                namespace["id"]?.text ?? "", namespace["script"]?.text ?? "", namespace["class"]?.text ?? "",
                namespace["use_sqlite"] == true ? "sqlite" : "kv", Output.time(namespace["created_on"]?.text))
        }
        table.print(orSay: "there are no classes of durable objects")
        return ExitCode.success
    }
}

enum ObjectsListCommand: Command {
    static let name = "list"
    static let summary = "Shows the objects of a class that have been written to"
    static let discussion = "\(summary).\n\n\(ObjectTarget.naming)"
    static let operands = [ObjectTarget.namespace]
    static let options =
        [Option.value("limit", "COUNT", "at most so many (all)"), .value("after", "OBJECT", "those behind this one, by id")]
        + APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let most = try arguments.integer("limit", 1...1_000_000)
        let target = try await ObjectTarget(arguments)
        var (objects, cursor): ([JSON], String?) = ([], arguments.value("after"))
        repeat {
            let wanted = min(10_000, (most ?? 1_000_000) - objects.count)
            let page = try await target.client.call(
                "GET", target.listPath, query: [("limit", "\(wanted)"), ("cursor", cursor)])
            objects += page["result"]?.items ?? []
            cursor = page["result_info"]?["cursor"]?.text
        } while !(cursor ?? "").isEmpty && objects.count < (most ?? .max)
        if arguments.has("json") {
            Output.json(.array(objects))
            return ExitCode.success
        }
        var table = Table("ID", "DATA")
        for object in objects { table.add(object["id"]?.text ?? "", object["hasStoredData"] == true ? "yes" : "no") }
        table.print(orSay: "\(target.title) has no objects")
        return ExitCode.success
    }
}

enum ObjectsInspectCommand: Command {
    static let name = "inspect"
    static let summary = "Shows where an object is, what it is at, its alarm, its WebSockets and its size"
    static let discussion = "\(summary).\n\n\(ObjectTarget.naming)"
    static let operands = [ObjectTarget.namespace, ObjectTarget.object]
    static let options = ObjectTarget.options + APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let target = try await ObjectTarget(arguments)
        let status = try await target.client.result("GET", target.object(arguments).path)
        if arguments.has("json") {
            Output.json(status)
            return ExitCode.success
        }
        var table = Table("", "")
        func number(_ key: String) -> String { "\(status[key]?.integer ?? 0)" }
        table.add("id", status["id"]?.text ?? "")
        table.add("name", status["name"]?.text ?? "-")
        table.add("state", status["state"]?.text ?? "")
        table.add("process", status["process"]?.integer.map { "\($0)" } ?? "-")
        table.add("version", status["version"]?.text ?? "-")
        table.add("events", "\(number("events")), and \(number("waiting")) that wait")
        table.add("WebSockets", number("sockets"))
        table.add("alarm", status["alarm"]?.text.map { Output.time($0) } ?? "none")
        table.add("stored", HumanText.bytes(status["stored_bytes"]?.integer ?? 0))
        table.print(orSay: "")
        return ExitCode.success
    }
}

enum ObjectsEvictCommand: Command {
    static let name = "evict"
    static let summary = "Has an object leave memory, once what it is at is done; hibernating WebSockets stay open"
    static let discussion = "\(summary).\n\n\(ObjectTarget.naming)"
    static let operands = [ObjectTarget.namespace, ObjectTarget.object]
    static let options = ObjectTarget.options + APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let target = try await ObjectTarget(arguments)
        let object = try await target.object(arguments)
        let answer = try await target.client.result("POST", "\(object.path)/evict")
        if arguments.has("json") {
            Output.json(answer)
        } else {
            print(answer["evicted"] == true ? "evicted \(object.id)" : "\(object.id) was not in memory")
        }
        return ExitCode.success
    }
}

enum ObjectsDeleteCommand: Command {
    static let name = "delete"
    static let summary = "Removes an object with all that it has stored, its alarm and its WebSockets"
    static let discussion = "\(summary).\n\n\(ObjectTarget.naming)"
    static let operands = [ObjectTarget.namespace, ObjectTarget.object]
    static let options = ObjectTarget.options + [Confirmation.option] + APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let target = try await ObjectTarget(arguments)
        let object = try await target.object(arguments)
        let bytes = try await target.client.result("GET", object.path)["stored_bytes"]?.integer ?? 0
        try Confirmation.ask(
            "Delete the durable object \(object.id) of \(target.title) with \(HumanText.bytes(bytes)) of data?", arguments)
        _ = try await target.client.call("DELETE", object.path)
        if arguments.has("json") { Output.json(.null) } else { print("deleted \(object.id)") }
        return ExitCode.success
    }
}
