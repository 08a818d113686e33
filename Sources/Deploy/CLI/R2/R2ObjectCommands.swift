internal import ControlPlane

enum R2ObjectPutCommand: Command {
    static let name = "put"
    static let summary = "Stores a file, or standard input, as an object"
    static let discussion = """
        Stores what is in FILE, or what standard input has (--pipe). The file flows through, whatever its size.

        example: edge r2 object put photos/2026/one.jpg --file one.jpg --content-type image/jpeg
        """
    static let operands: [Operand] = [.one("BUCKET/KEY")]
    private static let headers = [
        ("content-type", "TYPE", "what it is (application/octet-stream)"), ("content-disposition", "TEXT", "how it is shown"),
        ("content-encoding", "CODING", "how it is coded"), ("content-language", "LANGUAGE", "what language it is in"),
        ("cache-control", "TEXT", "how long caches may keep it"), ("expires", "DATE", "until when it is fresh"),
    ]
    static let options =
        [
            .value("file", "FILE", "what is stored; - for standard input", short: "f", .files),
            .flag("pipe", "stores what standard input has", short: "p"),
            .value(
                "storage-class", "CLASS", "Standard or InfrequentAccess (the bucket's)", short: "s",
                .choices(["Standard", "InfrequentAccess"])),
        ] + headers.map { .value($0.0, $0.1, $0.2) } + R2Target.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let (bucket, key) = try R2Target.split(try arguments.required("BUCKET/KEY"))
        let path = arguments.has("pipe") ? "-" : arguments.value("file")
        guard let path else { throw UsageError.missingArgument("--file FILE or --pipe") }
        let file = try InputFile(path)
        let client = try R2Target.client(arguments)
        var fields: [(name: String, value: String)] = []
        for (name, _, _) in headers.dropFirst() {
            if let value = arguments.value(name) { fields.append((name, value)) }
        }
        if let value = arguments.value("storage-class") { fields.append(("cf-r2-storage-class", value)) }
        let body = UploadBody.file(file, contentType: arguments.value("content-type") ?? "application/octet-stream")
        let answer = try await client.upload(
            "PUT", "\(try await R2Target.bucket(bucket, client))/objects/\(key)", headers: fields, body, title: key)
        let stored = answer["result"] ?? .null
        if arguments.has("json") {
            Output.json(stored)
        } else {
            let size = stored["size"]?.text.flatMap { Int64($0) } ?? 0
            print("stored \(key), \(HumanText.bytes(size)), etag \(stored["etag"]?.text ?? "")")
        }
        return ExitCode.success
    }
}

enum R2ObjectGetCommand: Command {
    static let name = "get"
    static let summary = "Writes an object into a file, or to standard output"
    static let operands: [Operand] = [.one("BUCKET/KEY")]
    static let options =
        [
            .value("file", "FILE", "where it goes (the end of its key)", short: "f", .files),
            .flag("pipe", "writes it to standard output", short: "p"),
            .value("range", "FROM-TO", "only these bytes, as 0-99, 100- or -100 (all)"),
        ] + R2Target.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let (bucket, key) = try R2Target.split(try arguments.required("BUCKET/KEY"))
        let end = key.split(separator: "/").last.map { String($0) }
        guard let path = arguments.has("pipe") ? "-" : arguments.value("file") ?? end else {
            throw UsageError.missingArgument("--file FILE")
        }
        guard path != ".", path != ".." else { throw UsageError.missingArgument("--file FILE") }
        let client = try R2Target.client(arguments)
        let target = try OutputFile(path)
        try await client.download(
            "\(try await R2Target.bucket(bucket, client))/objects/\(key)",
            headers: arguments.value("range").map { [("range", "bytes=\($0)")] } ?? [], to: target,
            title: path == "-" ? nil : key)
        return ExitCode.success
    }
}

enum R2ObjectListCommand: Command {
    static let name = "list"
    static let summary = "Shows objects"
    static let operands: [Operand] = [.one("BUCKET", .buckets)]
    static let options =
        [
            .value("prefix", "TEXT", "only keys that begin with it (all)"),
            .value("delimiter", "TEXT", "folds keys that have it behind the prefix (none)"),
        ] + R2Target.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let client = try R2Target.client(arguments)
        let path = try await R2Target.bucket(try arguments.required("BUCKET"), client)
        var (objects, folded, cursor): ([JSON], [JSON], String?) = ([], [], nil)
        repeat {
            let page = try await client.call(
                "GET", "\(path)/objects",
                query: [
                    ("prefix", arguments.value("prefix")), ("delimiter", arguments.value("delimiter")), ("cursor", cursor),
                ])
            objects += page["result"]?.items ?? []
            folded += page["result_info"]?["delimited"]?.items ?? []
            cursor = page["result_info"]?["cursor"]?.text
        } while !(cursor ?? "").isEmpty
        if arguments.has("json") {
            Output.json(.array(objects))
            return ExitCode.success
        }
        var table = Table("KEY", Table.Column("SIZE", .right), "MODIFIED", "ETAG")
        for prefix in folded { table.add(prefix.text ?? "", "", "", "") }
        for object in objects {
            table.add(
                object["key"]?.text ?? "", HumanText.bytes(object["size"]?.integer ?? 0),
                Output.time(object["last_modified"]?.text), object["etag"]?.text ?? "")
        }
        table.print(orSay: "there are no objects")
        return ExitCode.success
    }
}

enum R2ObjectDeleteCommand: Command {
    static let name = "delete"
    static let summary = "Deletes an object"
    static let operands: [Operand] = [.one("BUCKET/KEY")]
    static let options = [Confirmation.option] + R2Target.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let word = try arguments.required("BUCKET/KEY")
        let (bucket, key) = try R2Target.split(word)
        let client = try R2Target.client(arguments)
        let path = try await R2Target.bucket(bucket, client)
        try Confirmation.ask("Delete the object \"\(word)\"?", arguments)
        let answer = try await client.result("DELETE", "\(path)/objects/\(key)")
        if arguments.has("json") { Output.json(answer) } else { print("deleted \(word)") }
        return ExitCode.success
    }
}
