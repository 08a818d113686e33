internal import ControlPlane

private let bucket: [Operand] = [.one("BUCKET", .buckets)]
/// With the word that wrangler has for it.
private let confirmation = Option.flag(
    "yes", "asks nothing", short: "y", aliases: Confirmation.option.aliases + ["force"])

private func path(_ arguments: CommandLineArguments, _ client: APIClient) async throws -> APIPath {
    "\(try await R2Target.bucket(try arguments.required("BUCKET"), client))/domains"
}

// MARK: The node's own name

/// `edge r2 bucket dev-url`: whether everybody may read a bucket under a name of the node's.
enum R2DevURLCommand: CommandGroup {
    static let name = "dev-url"
    static let summary = "Makes a bucket public under a name of the node's"
    static let commands: [any Command.Type] = [Enable.self, Disable.self, Get.self]

    enum Enable: Command {
        static let name = "enable"
        static let summary = "Lets everybody read the bucket's objects"
        static let operands = bucket
        static let options = [confirmation] + R2Target.options
        static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
            try Confirmation.ask("Let everybody read what is in \"\(try arguments.required("BUCKET"))\"?", arguments)
            return try await set(true, arguments)
        }
    }

    enum Disable: Command {
        static let name = "disable"
        static let summary = "Takes the bucket out of the public"
        static let operands = bucket
        static let options = [confirmation] + R2Target.options
        static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
            try Confirmation.ask(
                "Take \"\(try arguments.required("BUCKET"))\" out of the public? Links to its objects break.", arguments)
            return try await set(false, arguments)
        }
    }

    enum Get: Command {
        static let name = "get"
        static let summary = "Shows whether the bucket is public"
        static let operands = bucket
        static let options = R2Target.options
        static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
            let client = try R2Target.client(arguments)
            show(try await client.result("GET", "\(try await path(arguments, client))/managed"), arguments)
            return ExitCode.success
        }
    }

    private static func set(_ isEnabled: Bool, _ arguments: CommandLineArguments) async throws -> Int32 {
        let client = try R2Target.client(arguments)
        let body = JSON.object(["enabled": isEnabled ? true : false])
        show(try await client.result("PUT", "\(try await path(arguments, client))/managed", body), arguments)
        return ExitCode.success
    }

    private static func show(_ answer: JSON, _ arguments: CommandLineArguments) {
        if arguments.has("json") { return Output.json(answer) }
        let host = answer["domain"]?.text ?? ""
        print(answer["enabled"] == true ? "public at \(host)" : "not public; it would be at \(host)")
    }
}

// MARK: Domains of its owner

private let domain = Option.value("domain", "HOST", "the host name; required")
private let minimumTLS = Option.value(
    "min-tls", "VERSION", "the oldest TLS that clients may speak (1.0)", .choices(["1.0", "1.1", "1.2", "1.3"]))

/// `edge r2 bucket domain`: host names of its owner under which everybody may read a bucket.
enum R2DomainCommand: CommandGroup {
    static let name = "domain"
    static let summary = "Makes a bucket public under domains of yours"
    static let commands: [any Command.Type] = [Add.self, Remove.self, Update.self, Get.self, List.self]

    enum Add: Command {
        static let name = "add"
        static let summary = "Lets everybody read the bucket's objects under a domain"
        static let operands = bucket
        static let options =
            [
                domain, minimumTLS, .value("zone-id", "ID", "the domain's zone; it follows from the host name"),
                confirmation,
            ] + R2Target.options
        static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
            let (name, host) = (try arguments.required("BUCKET"), try arguments.requiredValue("domain", "HOST"))
            try Confirmation.ask("Let everybody read what is in \"\(name)\" at \(host)?", arguments)
            let client = try R2Target.client(arguments)
            let made = try await client.result(
                "POST", "\(try await path(arguments, client))/custom",
                .object([
                    "domain": .string(host), "enabled": true, "minTLS": arguments.value("min-tls").map { .string($0) },
                    "zoneId": arguments.value("zone-id").map { .string($0) },
                ]))
            if arguments.has("json") { Output.json(made) } else { print("public at \(made["domain"]?.text ?? host)") }
            return ExitCode.success
        }
    }

    enum Remove: Command {
        static let name = "remove"
        static let summary = "Takes a domain from the bucket"
        static let operands = bucket
        static let options = [domain, confirmation] + R2Target.options
        static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
            let host = try arguments.requiredValue("domain", "HOST")
            try Confirmation.ask("Take \(host) from \"\(try arguments.required("BUCKET"))\"? Links break.", arguments)
            let client = try R2Target.client(arguments)
            let answer = try await client.result("DELETE", "\(try await path(arguments, client))/custom/\(host)")
            if arguments.has("json") { Output.json(answer) } else { print("removed \(host)") }
            return ExitCode.success
        }
    }

    enum Update: Command {
        static let name = "update"
        static let summary = "Changes what a domain asks of clients"
        static let operands = bucket
        static let options = [domain, minimumTLS] + R2Target.options
        static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
            let host = try arguments.requiredValue("domain", "HOST")
            let client = try R2Target.client(arguments)
            let changed = try await client.result(
                "PUT", "\(try await path(arguments, client))/custom/\(host)",
                .object([
                    "domain": .string(host), "minTLS": .string(try arguments.requiredValue("min-tls", "VERSION")),
                ]))
            if arguments.has("json") {
                Output.json(changed)
            } else {
                print("\(host) asks for TLS \(changed["minTLS"]?.text ?? "")")
            }
            return ExitCode.success
        }
    }

    enum Get: Command {
        static let name = "get"
        static let summary = "Shows a domain of the bucket"
        static let operands = bucket
        static let options = [domain] + R2Target.options
        static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
            let host = try arguments.requiredValue("domain", "HOST")
            let client = try R2Target.client(arguments)
            let found = try await client.result("GET", "\(try await path(arguments, client))/custom/\(host)")
            if arguments.has("json") {
                Output.json(found)
                return ExitCode.success
            }
            return list([found], arguments)
        }
    }

    enum List: Command {
        static let name = "list"
        static let summary = "Shows the domains of the bucket"
        static let operands = bucket
        static let options = R2Target.options
        static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
            let client = try R2Target.client(arguments)
            let answer = try await client.result("GET", "\(try await path(arguments, client))/custom")
            return list(answer["domains"]?.items ?? [], arguments)
        }
    }

    private static func list(_ domains: [JSON], _ arguments: CommandLineArguments) -> Int32 {
        Output.list(
            domains, arguments, "DOMAIN", "ENABLED", "MINIMUM TLS", "ZONE", orSay: "the bucket has no domains"
        ) { domain in
            [
                domain["domain"]?.text ?? "", domain["enabled"] == true ? "yes" : "no", domain["minTLS"]?.text ?? "",
                domain["zoneName"]?.text ?? "",
            ]
        }
    }
}
