internal import ControlPlane

/// `edge queues`: a tenant's queues, with the words and options of wrangler.
enum QueuesCommand: CommandGroup {
    static let name = "queues"
    static let summary = "Makes, shows, pauses, purges and deletes queues, and says who consumes them"
    static let commands: [any Command.Type] = [
        QueuesListCommand.self, QueuesCreateCommand.self, QueuesUpdateCommand.self, QueuesDeleteCommand.self,
        QueuesInfoCommand.self, QueuesPauseCommand.self, QueuesResumeCommand.self, QueuesPurgeCommand.self,
        QueuesConsumerCommand.self,
    ]

    static let queue = Operand.one("QUEUE", .queues)
    /// Of `create` and `update`.
    static let settings: [Option] = [
        .value("delivery-delay-secs", "SECONDS", "how long messages wait before they are delivered"),
        .value("message-retention-period-secs", "SECONDS", "how long messages are kept"),
    ]

    /// What `create` and `update` send; `nil` when no option says anything.
    static func settings(_ arguments: CommandLineArguments) throws -> JSON? {
        let delay = try arguments.seconds("delivery-delay-secs")
        let retention = try arguments.seconds("message-retention-period-secs")
        guard delay != nil || retention != nil else { return nil }
        return .object([
            "delivery_delay": delay.map { .integer($0) }, "message_retention_period": retention.map { .integer($0) },
        ])
    }
}

/// The queue that a command line names, and the node that has it.
struct QueueTarget {
    let client: APIClient
    /// As the node describes it.
    let queue: JSON
    let path: APIPath
    var name: String { queue["queue_name"]?.text ?? "" }

    init(_ arguments: CommandLineArguments) async throws {
        let name = try arguments.required("QUEUE")
        client = try APIClient(arguments)
        let account = try await client.account()
        let found = try await client.result("GET", "\(account)/queues", query: [("name", name)])
        guard let queue = found.items?.first else {
            throw APIFailure("there is no queue \"\(name)\"; `edge queues list` shows all")
        }
        self.queue = queue
        path = "\(account)/queues/\(queue["queue_id"]?.text ?? "")"
    }
}

enum QueuesListCommand: Command {
    static let name = "list"
    static let summary = "Shows all queues"
    static let options = APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let client = try APIClient(arguments)
        let queues = try await client.list("\(client.account())/queues")
        return Output.list(
            queues, arguments, "ID", "NAME", "CREATED", "MODIFIED", .init("PRODUCERS", .right), .init("CONSUMERS", .right),
            "DELIVERY", orSay: "there are no queues"
        ) { queue in
            [
                queue["queue_id"]?.text ?? "", queue["queue_name"]?.text ?? "", Output.time(queue["created_on"]?.text),
                Output.time(queue["modified_on"]?.text), "\(queue["producers_total_count"]?.integer ?? 0)",
                "\(queue["consumers_total_count"]?.integer ?? 0)",
                queue["settings"]?["delivery_paused"] == true ? "paused" : "on",
            ]
        }
    }
}

enum QueuesCreateCommand: Command {
    static let name = "create"
    static let summary = "Makes a queue"
    static let discussion = """
        \(summary): lower-case letters, digits and inner hyphens, at most 63.

        example: edge queues create mails --message-retention-period-secs 86400
        """
    static let operands: [Operand] = [.one("QUEUE")]
    static let options = QueuesCommand.settings + APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let name = try arguments.required("QUEUE")
        let body = JSON.object(["queue_name": .string(name), "settings": try QueuesCommand.settings(arguments)])
        let client = try APIClient(arguments)
        let made = try await client.result("POST", "\(client.account())/queues", body)
        if arguments.has("json") { Output.json(made) } else { print("created queue \(name): \(made["queue_id"]?.text ?? "")") }
        return ExitCode.success
    }
}

enum QueuesUpdateCommand: Command {
    static let name = "update"
    static let summary = "Changes a queue's settings, or its name"
    static let operands = [QueuesCommand.queue]
    static let options =
        QueuesCommand.settings + [.value("name", "NAME", "the queue's new name")] + APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let (settings, name) = (try QueuesCommand.settings(arguments), arguments.value("name"))
        guard settings != nil || name != nil else { throw UsageError.missingArgument("what to change") }
        let target = try await QueueTarget(arguments)
        let changed = try await target.client.result(
            "PATCH", target.path, .object(["queue_name": name.map { .string($0) }, "settings": settings]))
        if arguments.has("json") { Output.json(changed) } else { print("updated queue \(name ?? target.name)") }
        return ExitCode.success
    }
}

enum QueuesDeleteCommand: Command {
    static let name = "delete"
    static let summary = "Removes a queue with its messages and its consumer"
    static let operands = [QueuesCommand.queue]
    static let options = [Confirmation.option] + APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let target = try await QueueTarget(arguments)
        let waiting = try await target.client.result("GET", "\(target.path)/metrics")["backlog_count"]?.integer ?? 0
        try Confirmation.ask(
            "Delete the queue \"\(target.name)\" with \(HumanText.count(waiting, "message"))?", arguments)
        _ = try await target.client.call("DELETE", target.path)
        if arguments.has("json") { Output.json(.null) } else { print("deleted queue \(target.name)") }
        return ExitCode.success
    }
}

enum QueuesPauseCommand: Command {
    static let name = "pause-delivery"
    static let summary = "Ends delivery: batches on their way finish, and sends go on"
    static let operands = [QueuesCommand.queue]
    static let options = APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 { try await set(true, arguments) }

    static func set(_ isPaused: Bool, _ arguments: CommandLineArguments) async throws -> Int32 {
        let target = try await QueueTarget(arguments)
        let changed = try await target.client.result(
            "PATCH", target.path, .object(["settings": .object(["delivery_paused": .bool(isPaused)])]))
        if arguments.has("json") {
            Output.json(changed)
        } else {
            print("\(isPaused ? "paused" : "resumed") delivery of queue \(target.name)")
        }
        return ExitCode.success
    }
}

enum QueuesResumeCommand: Command {
    static let name = "resume-delivery"
    static let summary = "Starts delivery again"
    static let operands = [QueuesCommand.queue]
    static let options = APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        try await QueuesPauseCommand.set(false, arguments)
    }
}

enum QueuesPurgeCommand: Command {
    static let name = "purge"
    static let summary = "Removes all messages of a queue, for good"
    static let operands = [QueuesCommand.queue]
    static let options =
        [Option.flag("yes", "asks nothing", short: "y", aliases: ["force", "skip-confirmation"])] + APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let target = try await QueueTarget(arguments)
        let waiting = try await target.client.result("GET", "\(target.path)/metrics")["backlog_count"]?.integer ?? 0
        try Confirmation.ask(
            "Delete \(HumanText.count(waiting, "message")) of the queue \"\(target.name)\", for good?", arguments)
        let purged = try await target.client.result(
            "POST", "\(target.path)/purge", .object(["delete_messages_permanently": true]))
        if arguments.has("json") { Output.json(purged) } else { print("purged queue \(target.name)") }
        return ExitCode.success
    }
}

extension CommandLineArguments {
    /// A number of seconds. What the range is, the node says.
    func seconds(_ name: String) throws(UsageError) -> Int64? { try number(name, "a number of seconds") }

    func number(_ name: String, _ expected: String = "a number") throws(UsageError) -> Int64? {
        guard let text = value(name) else { return nil }
        guard let number = Int64(text), (0...Int64(Int32.max)).contains(number) else {
            throw .invalidValue(option: "--\(name)", value: text, expected: expected)
        }
        return number
    }
}
