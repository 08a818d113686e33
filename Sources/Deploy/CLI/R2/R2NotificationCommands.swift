internal import ControlPlane

/// `edge r2 bucket notification`: which changes go to which queue.
enum R2NotificationCommand: CommandGroup {
    static let name = "notification"
    static let summary = "Which changes of a bucket are told to a queue"
    static let commands: [any Command.Type] = [List.self, Create.self, Delete.self]

    private static let bucket: [Operand] = [.one("BUCKET", .buckets)]
    private static let queue = Option.value("queue", "QUEUE", "the queue, by name or id; required", .queues)

    private static func path(_ client: APIClient, _ arguments: CommandLineArguments) async throws -> APIPath {
        "\(try await client.account())/event_notifications/r2/\(try arguments.required("BUCKET"))/configuration"
    }

    /// What wrangler calls them, and the actions that these are.
    private static let kinds = [
        "object-create": ["PutObject", "CopyObject", "CompleteMultipartUpload"],
        "object-delete": ["DeleteObject", "LifecycleDeletion"],
    ]

    enum List: Command {
        static let name = "list"
        static let summary = "Shows the rules"
        static let operands = bucket
        static let options = R2Target.options

        static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
            let client = try R2Target.client(arguments)
            let found = try await client.result("GET", try await path(client, arguments))
            if arguments.has("json") {
                Output.json(found)
                return ExitCode.success
            }
            var table = Table("RULE", "QUEUE", "ACTIONS", "PREFIX", "SUFFIX", "DESCRIPTION")
            for queue in found["queues"]?.items ?? [] {
                for rule in queue["rules"]?.items ?? [] {
                    table.add(
                        rule["ruleId"]?.text ?? "", queue["queueName"]?.text ?? "",
                        (rule["actions"]?.items ?? []).compactMap(\.text).joined(separator: " "), rule["prefix"]?.text ?? "",
                        rule["suffix"]?.text ?? "", rule["description"]?.text ?? "")
                }
            }
            table.print(orSay: "there are no rules")
            return ExitCode.success
        }
    }

    enum Create: Command {
        static let name = "create"
        static let summary = "Adds a rule"
        static let operands = bucket
        static let options =
            [
                queue,
                .values(
                    "event-types", "TYPE", "object-create or object-delete; may be repeated; required",
                    aliases: ["event-type"], .choices(["object-create", "object-delete"])),
                .value("prefix", "TEXT", "only keys that begin with it (all)"),
                .value("suffix", "TEXT", "only keys that end with it (all)"),
                .value("description", "TEXT", "what the rule is for"),
            ] + R2Target.options

        static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
            let types = arguments.all("event-types").flatMap { $0.split(separator: ",").map { String($0) } }
            guard !types.isEmpty else { throw UsageError.missingArgument("--event-types TYPE") }
            let actions = try types.flatMap { type throws(UsageError) in
                guard let actions = kinds[type] else {
                    throw UsageError.invalidValue(
                        option: "--event-types", value: type, expected: "object-create or object-delete")
                }
                return actions
            }
            let name = try arguments.requiredValue("queue", "QUEUE")
            let client = try R2Target.client(arguments)
            let rule = JSON.object([
                "actions": .strings(actions), "prefix": arguments.value("prefix").map { .string($0) },
                "suffix": arguments.value("suffix").map { .string($0) },
                "description": arguments.value("description").map { .string($0) },
            ])
            _ = try await client.result(
                "PUT", "\(try await path(client, arguments))/queues/\(name)", .object(["rules": .array([rule])]))
            print("changes go to \(name)")
            return ExitCode.success
        }
    }

    enum Delete: Command {
        static let name = "delete"
        static let summary = "Removes a queue's rules, or one of them"
        static let operands = bucket
        static let options =
            [queue, .value("rule", "ID", "only this rule (all of the queue)"), Confirmation.option] + R2Target.options

        static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
            let name = try arguments.requiredValue("queue", "QUEUE")
            let client = try R2Target.client(arguments)
            let path = try await path(client, arguments)
            let rule = arguments.value("rule")
            try Confirmation.ask(
                rule.map { "Remove the rule \"\($0)\"?" } ?? "Remove all rules for the queue \"\(name)\"?", arguments)
            _ = try await client.result(
                "DELETE", "\(path)/queues/\(name)", rule.map { .object(["ruleIds": .strings([$0])]) })
            print("removed")
            return ExitCode.success
        }
    }
}
