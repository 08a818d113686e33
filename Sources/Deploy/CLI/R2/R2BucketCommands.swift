internal import ControlPlane

private let storageClass = Option.value(
    "storage-class", "CLASS", "of objects that come without one: Standard or InfrequentAccess (Standard)", short: "s",
    .choices(["Standard", "InfrequentAccess"]))

enum R2BucketCreateCommand: Command {
    static let name = "create"
    static let summary = "Makes a bucket"
    static let operands: [Operand] = [.one("NAME")]
    static let options =
        [storageClass, .value("location", "HINT", "where it should be: weur, eeur, enam, wnam, apac or oc (anywhere)")]
        + R2Target.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let name = try arguments.required("NAME")
        let client = try R2Target.client(arguments)
        let made = try await client.result(
            "POST", try await R2Target.buckets(client),
            .object([
                "name": .string(name), "storageClass": arguments.value("storage-class").map { .string($0) },
                "locationHint": arguments.value("location").map { .string($0) },
            ]))
        if arguments.has("json") { Output.json(made) } else { print("made \(made["name"]?.text ?? name)") }
        return ExitCode.success
    }
}

enum R2BucketListCommand: Command {
    static let name = "list"
    static let summary = "Shows buckets"
    static let options = R2Target.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let client = try R2Target.client(arguments)
        let path = try await R2Target.buckets(client)
        var (buckets, cursor): ([JSON], String?) = ([], nil)
        repeat {
            let page = try await client.call("GET", path, query: [("cursor", cursor)])
            buckets += page["result"]?["buckets"]?.items ?? []
            cursor = page["result_info"]?["cursor"]?.text
        } while !(cursor ?? "").isEmpty
        return Output.list(buckets, arguments, "NAME", "CREATED", "LOCATION", "STORAGE CLASS", orSay: "there are no buckets") {
            bucket in
            [
                bucket["name"]?.text ?? "", Output.time(bucket["creation_date"]?.text), bucket["location"]?.text ?? "",
                bucket["storage_class"]?.text ?? "",
            ]
        }
    }
}

enum R2BucketInfoCommand: Command {
    static let name = "info"
    static let summary = "Shows a bucket and what it holds"
    static let operands: [Operand] = [.one("BUCKET", .buckets)]
    static let options = R2Target.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let name = try arguments.required("BUCKET")
        let client = try R2Target.client(arguments)
        let path = try await R2Target.bucket(name, client)
        let bucket = try await client.result("GET", path)
        let usage = try await client.result("GET", "\(path)/usage")
        if arguments.has("json") {
            Output.json(.object((bucket.members ?? []) + [JSON.Member(name: "usage", value: usage)]))
            return ExitCode.success
        }
        func count(_ name: String) -> Int64 { usage[name]?.integer ?? 0 }
        var table = Table("", "")
        table.add("name", name)
        table.add("created", Output.time(bucket["creation_date"]?.text))
        table.add("location", bucket["location"]?.text ?? "")
        table.add("storage class", bucket["storage_class"]?.text ?? "")
        table.add("objects", "\(count("objectCount"))")
        table.add("size", HumanText.bytes(count("payloadSize")))
        table.add("metadata", HumanText.bytes(count("metadataSize")))
        table.add("unfinished uploads", "\(count("uploadCount")), \(HumanText.bytes(count("uploadPartsSize")))")
        table.print(orSay: "")
        return ExitCode.success
    }
}

enum R2BucketUpdateCommand: CommandGroup {
    static let name = "update"
    static let summary = "Changes a bucket"
    static let commands: [any Command.Type] = [R2BucketStorageClassCommand.self]
}

enum R2BucketStorageClassCommand: Command {
    static let name = "storage-class"
    static let summary = "Sets the class of what is stored from now on"
    static let operands: [Operand] = [.one("BUCKET", .buckets)]
    static let options = [storageClass] + R2Target.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let name = try arguments.required("BUCKET")
        let wanted = try arguments.requiredValue("storage-class", "CLASS")
        let client = try R2Target.client(arguments)
        let answer = try await client.upload(
            "PATCH", try await R2Target.bucket(name, client), headers: [("cf-r2-storage-class", wanted)], .json([]), title: nil)
        if arguments.has("json") { Output.json(answer["result"] ?? .null) } else { print("new objects are \(wanted)") }
        return ExitCode.success
    }
}

enum R2BucketDeleteCommand: Command {
    static let name = "delete"
    static let summary = "Deletes an empty bucket"
    static let operands: [Operand] = [.one("BUCKET", .buckets)]
    static let options = [Confirmation.option] + R2Target.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let name = try arguments.required("BUCKET")
        let client = try R2Target.client(arguments)
        let path = try await R2Target.bucket(name, client)
        try Confirmation.ask("Delete the bucket \"\(name)\" and what is set for it?", arguments)
        let answer = try await client.result("DELETE", path)
        if arguments.has("json") { Output.json(answer) } else { print("deleted \(name)") }
        return ExitCode.success
    }
}
