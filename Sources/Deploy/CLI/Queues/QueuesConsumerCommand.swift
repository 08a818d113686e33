internal import ControlPlane

/// `edge queues consumer`: the one worker, or the clients, that a queue is for.
enum QueuesConsumerCommand: CommandGroup {
    static let name = "consumer"
    static let summary = "Gives queues their consumers: a worker, or clients that pull over HTTP"
    static let commands: [any Command.Type] = [
        QueuesConsumerAddCommand.self, QueuesConsumerRemoveCommand.self, QueuesConsumerListCommand.self,
        QueuesConsumerWorkerCommand.self, QueuesConsumerHTTPCommand.self,
    ]

    /// Of consumers of both kinds.
    static let settings: [Option] = [
        .value("batch-size", "N", "how many messages a batch has at most"),
        .value("message-retries", "N", "how often a message is delivered again"),
        .value("dead-letter-queue", "QUEUE", "where messages go after their last attempt", .queues),
        .value("retry-delay-secs", "SECONDS", "how long a message waits to be delivered again"),
    ]

    static func settings(_ arguments: CommandLineArguments, _ own: KeyValuePairs<String, Int64?>) throws -> JSON {
        let shared = [
            ("batch_size", try arguments.number("batch-size")), ("max_retries", try arguments.number("message-retries")),
            ("retry_delay", try arguments.seconds("retry-delay-secs")),
        ]
        return .object(
            (shared + own.map { ($0.key, $0.value) }).compactMap { name, value in
                value.map { JSON.Member(name: name, value: .integer($0)) }
            })
    }

    static func add(_ body: JSON, _ arguments: CommandLineArguments) async throws -> Int32 {
        let target = try await QueueTarget(arguments)
        let made = try await target.client.result("POST", "\(target.path)/consumers", body)
        if arguments.has("json") { Output.json(made) } else { print("added \(text(made)) to queue \(target.name)") }
        return ExitCode.success
    }

    /// - Parameter isMeant: Whether the queue's consumer is the one that the command line speaks of.
    static func remove(
        _ arguments: CommandLineArguments, _ what: String, where isMeant: (JSON) -> Bool
    ) async throws -> Int32 {
        let target = try await QueueTarget(arguments)
        guard let consumer = target.queue["consumers"]?.items?.first, isMeant(consumer) else {
            throw APIFailure("queue \"\(target.name)\" has no \(what)")
        }
        try Confirmation.ask("Take \(text(consumer)) away from the queue \"\(target.name)\"?", arguments)
        _ = try await target.client.call("DELETE", "\(target.path)/consumers/\(consumer["consumer_id"]?.text ?? "")")
        if arguments.has("json") { Output.json(.null) } else { print("removed \(text(consumer)) from queue \(target.name)") }
        return ExitCode.success
    }

    /// - Parameter type: `nil`: of any.
    static func list(_ arguments: CommandLineArguments, type: String?) async throws -> Int32 {
        let target = try await QueueTarget(arguments)
        let consumers = (target.queue["consumers"]?.items ?? []).filter { type == nil || $0["type"]?.text == type }
        return Output.list(
            consumers, arguments, "ID", "TYPE", "WORKER", .init("BATCH", .right), .init("RETRIES", .right), "DEAD LETTERS",
            orSay: "queue \"\(target.name)\" has no \(type.map { "\($0) " } ?? "")consumer"
        ) { consumer in
            [
                consumer["consumer_id"]?.text ?? "", consumer["type"]?.text ?? "", consumer["script_name"]?.text ?? "",
                "\(consumer["settings"]?["batch_size"]?.integer ?? 0)", "\(consumer["settings"]?["max_retries"]?.integer ?? 0)",
                consumer["dead_letter_queue"]?.text ?? "",
            ]
        }
    }

    static func text(_ consumer: JSON) -> String {
        consumer["script_name"]?.text.map { "worker:\($0)" } ?? "http_pull"
    }
}

enum QueuesConsumerListCommand: Command {
    static let name = "list"
    static let summary = "Shows a queue's consumer"
    static let operands = [QueuesCommand.queue]
    static let options = APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        try await QueuesConsumerCommand.list(arguments, type: nil)
    }
}

// MARK: Workers

enum QueuesConsumerWorkerCommand: CommandGroup {
    static let name = "worker"
    static let summary = "Workers that consume queues"
    static let commands: [any Command.Type] = [
        QueuesConsumerAddCommand.self, QueuesConsumerRemoveCommand.self, QueuesConsumerWorkerListCommand.self,
    ]
}

enum QueuesConsumerAddCommand: Command {
    static let name = "add"
    static let summary = "Delivers a queue to a worker"
    static let operands = [QueuesCommand.queue, .one("WORKER", .workers)]
    static let options =
        QueuesConsumerCommand.settings + [
            .value("batch-timeout", "SECONDS", "how long a message waits for others of its batch"),
            .value("max-concurrency", "N", "how many batches are delivered at once (as the backlog needs)"),
        ] + APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let settings = try QueuesConsumerCommand.settings(
            arguments,
            [
                "max_wait_time_ms": try arguments.seconds("batch-timeout").map { $0 * 1000 },
                "max_concurrency": try arguments.number("max-concurrency"),
            ])
        return try await QueuesConsumerCommand.add(
            .object([
                "type": "worker", "script_name": .string(try arguments.required("WORKER")), "settings": settings,
                "dead_letter_queue": arguments.value("dead-letter-queue").map { .string($0) },
            ]), arguments)
    }
}

enum QueuesConsumerRemoveCommand: Command {
    static let name = "remove"
    static let summary = "Ends the delivery of a queue to a worker; its messages wait"
    static let operands = [QueuesCommand.queue, .one("WORKER", .workers)]
    static let options = [Confirmation.option] + APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let worker = try arguments.required("WORKER")
        return try await QueuesConsumerCommand.remove(arguments, "consumer \"\(worker)\"") { $0["script_name"]?.text == worker }
    }
}

enum QueuesConsumerWorkerListCommand: Command {
    static let name = "list"
    static let summary = "Shows the worker that consumes a queue"
    static let operands = [QueuesCommand.queue]
    static let options = APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        try await QueuesConsumerCommand.list(arguments, type: "worker")
    }
}

// MARK: Clients that pull

enum QueuesConsumerHTTPCommand: CommandGroup {
    static let name = "http"
    static let summary = "Clients that pull from queues over HTTP"
    static let commands: [any Command.Type] = [
        QueuesConsumerHTTPAddCommand.self, QueuesConsumerHTTPRemoveCommand.self, QueuesConsumerHTTPListCommand.self,
    ]
}

enum QueuesConsumerHTTPAddCommand: Command {
    static let name = "add"
    static let summary = "Lets clients pull from a queue"
    static let operands = [QueuesCommand.queue]
    static let options =
        QueuesConsumerCommand.settings + [
            .value("visibility-timeout-secs", "SECONDS", "how long a client may take before a message comes again")
        ] + APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let settings = try QueuesConsumerCommand.settings(
            arguments, ["visibility_timeout_ms": try arguments.seconds("visibility-timeout-secs").map { $0 * 1000 }])
        return try await QueuesConsumerCommand.add(
            .object([
                "type": "http_pull", "settings": settings,
                "dead_letter_queue": arguments.value("dead-letter-queue").map { .string($0) },
            ]), arguments)
    }
}

enum QueuesConsumerHTTPRemoveCommand: Command {
    static let name = "remove"
    static let summary = "Ends pulling from a queue; its messages wait"
    static let operands = [QueuesCommand.queue]
    static let options = [Confirmation.option] + APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        try await QueuesConsumerCommand.remove(arguments, "http_pull consumer") { $0["type"]?.text == "http_pull" }
    }
}

enum QueuesConsumerHTTPListCommand: Command {
    static let name = "list"
    static let summary = "Shows whether clients pull from a queue"
    static let operands = [QueuesCommand.queue]
    static let options = APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        try await QueuesConsumerCommand.list(arguments, type: "http_pull")
    }
}
