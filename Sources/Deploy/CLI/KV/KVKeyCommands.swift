internal import ControlPlane
internal import HTTP

enum KVKeyPutCommand: Command {
    static let name = "put"
    static let summary = "Stores a value, given as a word, or in a file"
    static let discussion = """
        Stores VALUE, what is in the file of --path, or what standard input has (--path -). All that stood under the key is
        replaced: value, metadata and expiry.

        example: edge kv key put greeting hello --namespace TEXTS --ttl 3600
        """
    static let operands: [Operand] = [.one("KEY"), .optional("VALUE")]
    static let options =
        [
            .value("path", "FILE", "the value is in this file; - for standard input", .files),
            .value("ttl", "SECONDS", "the key is gone after so long, 60 at least (never)"),
            .value("expiration", "TIME", "the key is gone then, in seconds since 1970 (never)"),
            .value("metadata", "JSON", "what stands beside the value, at most 1024 bytes (nothing)"),
        ] + KVTarget.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let key = try arguments.required("KEY")
        let (word, path) = (arguments.operand("VALUE"), arguments.value("path"))
        guard (word == nil) != (path == nil) else { throw UsageError.missingArgument("either VALUE or --path FILE") }
        let file = try path.map { path in try InputFile(path) }
        let (client, namespace, _) = try await KVTarget.find(arguments)
        let answer = try await client.upload(
            "PUT", "\(namespace)/values/\(key)",
            query: [("expiration_ttl", arguments.value("ttl")), ("expiration", arguments.value("expiration"))],
            body(word, file, metadata: arguments.value("metadata")), title: file == nil ? nil : key)
        if arguments.has("json") { Output.json(answer["result"] ?? .null) }
        return ExitCode.success
    }

    private static func body(_ word: String?, _ file: InputFile?, metadata: String?) -> UploadBody {
        guard let metadata else { return file.map { .file($0) } ?? .bytes(Array((word ?? "").utf8)) }
        var form = MultipartForm()
        if let file { form.add("value", file, filename: "value") } else { form.add("value", word ?? "") }
        form.add("metadata", metadata, contentType: "application/json")
        return form.body
    }
}

enum KVKeyGetCommand: Command {
    static let name = "get"
    static let summary = "Prints a value as it is stored"
    static let operands: [Operand] = [.one("KEY")]
    static let options =
        [
            .value("path", "FILE", "writes it into this file (standard output)", aliases: ["out"], .files),
            .flag("text", "as wrangler has it: values are printed as they are in any case"),
        ] + KVTarget.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let key = try arguments.required("KEY")
        let (client, namespace, _) = try await KVTarget.find(arguments)
        let path = arguments.value("path") ?? "-"
        let target = try OutputFile(path)
        try await client.download("\(namespace)/values/\(key)", to: target, title: path == "-" ? nil : key)
        return ExitCode.success
    }
}

enum KVKeyListCommand: Command {
    static let name = "list"
    static let summary = "Shows keys, when they expire, and their metadata"
    static let options =
        [.value("prefix", "TEXT", "only keys that begin with it (all)")] + KVTarget.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let (client, namespace, _) = try await KVTarget.find(arguments)
        var (keys, cursor): ([JSON], String?) = ([], nil)
        repeat {
            let page = try await client.call(
                "GET", "\(namespace)/keys", query: [("prefix", arguments.value("prefix")), ("cursor", cursor)])
            keys += page["result"]?.items ?? []
            cursor = page["result_info"]?["cursor"]?.text
        } while !(cursor ?? "").isEmpty
        if arguments.has("json") {
            Output.json(.array(keys))
            return ExitCode.success
        }
        var table = Table("NAME", "EXPIRES", "METADATA")
        for key in keys {
            let expiry = key["expiration"]?.integer.map { Output.time(HTTPDate(unixSeconds: $0).iso8601) }
            let metadata = key["metadata"].map { String(decoding: $0.bytes, as: UTF8.self) }
            table.add(key["name"]?.text ?? "", expiry ?? "never", metadata ?? "")
        }
        table.print(orSay: "there are no keys")
        return ExitCode.success
    }
}

enum KVKeyDeleteCommand: Command {
    static let name = "delete"
    static let summary = "Deletes a key"
    static let operands: [Operand] = [.one("KEY")]
    static let options = [KVTarget.confirmation] + KVTarget.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let key = try arguments.required("KEY")
        let (client, namespace, _) = try await KVTarget.find(arguments)
        try Confirmation.ask("Delete the key \"\(key)\"?", arguments)
        let answer = try await client.result("DELETE", "\(namespace)/values/\(key)")
        if arguments.has("json") { Output.json(answer) } else { print("deleted \(key)") }
        return ExitCode.success
    }
}
