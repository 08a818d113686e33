internal import Interfaces
internal import Releases
internal import StoresQueues
internal import System

/// Who consumes a queue: one worker, or clients that pull.
enum QueueConsumerOperations {
    /// Settings of both kinds; each kind has its own of them.
    private static let body = APISchema.object([
        .optional("type", .nullable(.choice(["worker", "http_pull"]))), .optional("script_name", .nullable(.string())),
        .optional("environment_name", .nullable(.string())), .optional("dead_letter_queue", .nullable(.string())),
        .optional(
            "settings",
            .nullable(
                .object(
                    [
                        "batch_size", "max_retries", "max_wait_time_ms", "max_concurrency", "retry_delay",
                        "visibility_timeout_ms",
                    ].map { .optional($0, .nullable(.integer())) }))),
    ])

    static func all(_ table: QueueTable) -> [APIOperation] {
        let consumers = "/{queue_id}/consumers"
        return [
            table.operation(
                "GET", consumers, id: "consumers.list", "A queue's consumers: one, or none", .read,
                result: .json(.array(QueueDocument.consumerSchema))
            ) { context in
                let queue = try context.queue()
                let list = queue.consumer.map { [QueueDocument.json($0, of: queue)] } ?? []
                return Page(list, context.call, sizeDefault: 20).reply { $0 }
            },
            table.operation(
                "POST", consumers, id: "consumers.create", "Gives a queue its consumer", .edit, body: .json(body),
                result: .json(QueueDocument.consumerSchema)
            ) { context in
                let queue = try context.queue()
                let draft = try await draft(context, present: nil)
                let record = try await context.store.addConsumer(draft, to: queue.name)
                return .result(QueueDocument.json(record, of: queue))
            },
            table.operation(
                "GET", consumers + "/{consumer_id}", id: "consumers.get", "A consumer", .read,
                result: .json(QueueDocument.consumerSchema)
            ) { context in
                let (queue, consumer) = try find(context)
                return .result(QueueDocument.json(consumer, of: queue))
            },
            table.operation(
                "PUT", consumers + "/{consumer_id}", id: "consumers.update", "Replaces a consumer's settings", .edit,
                body: .json(body), result: .json(QueueDocument.consumerSchema)
            ) { context in
                let (queue, present) = try find(context)
                let draft = try await draft(context, present: present)
                guard let record = try await context.store.updateConsumer(present.id, of: queue.name, draft) else {
                    throw unknown
                }
                return .result(QueueDocument.json(record, of: queue))
            },
            table.operation(
                "DELETE", consumers + "/{consumer_id}", id: "consumers.delete", "Takes a queue's consumer away", .edit,
                result: .json(.any)
            ) { context in
                let (queue, consumer) = try find(context)
                guard try await context.store.removeConsumer(consumer.id, of: queue.name) else { throw unknown }
                return .noResult
            },
        ]
    }

    private static var unknown: APIError { APIError(404, 11000, "Consumer not found.") }

    private static func find(_ context: QueueContext) throws -> (QueueRecord, QueueConsumerRecord) {
        let queue = try context.queue()
        guard let consumer = queue.consumer, consumer.id == context.call.parameters["consumer_id"]?.lowercased() else {
            throw unknown
        }
        return (queue, consumer)
    }

    /// - Parameter present: What is replaced: its kind is kept where the body says none.
    private static func draft(_ context: QueueContext, present: QueueConsumerRecord?) async throws -> QueueConsumerDraft {
        let json = context.call.json
        let kind = try await kind(context, present)
        var settings = QueueConsumerDraft(kind).settings
        func integer(_ name: String) -> Int64? { json["settings"]?[name]?.integer }
        if let size = integer("batch_size") { settings.batchSizeMax = Int(size) }
        if let retries = integer("max_retries") { settings.retriesMax = Int(retries) }
        if let wait = integer("max_wait_time_ms") { settings.batchTimeout = .milliseconds(wait) }
        if let timeout = integer("visibility_timeout_ms") { settings.visibilityTimeout = .milliseconds(timeout) }
        if let delay = integer("retry_delay") { settings.retryDelaySeconds = delay }
        settings.concurrencyMax = integer("max_concurrency").map { Int($0) }
        // Clients also say "none" by an empty text.
        settings.deadLetterQueue = json["dead_letter_queue"]?.text.flatMap { $0.isEmpty ? nil : $0 }
        return QueueConsumerDraft(kind, settings)
    }

    private static func kind(
        _ context: QueueContext, _ present: QueueConsumerRecord?
    ) async throws -> QueueConsumerDraft.Kind {
        let json = context.call.json
        let script = json["script_name"]?.text.flatMap { $0.isEmpty ? nil : $0 }
        switch json["type"]?.text {
        case "http_pull": return .pull
        case nil where script == nil:
            guard let present else { throw APIError(400, 10026, "/type must be a value", pointer: "/type") }
            return present.kind
        default:
            if let script {
                try await check(script, context)
                return .worker(script: script)
            }
            guard case .worker(let name)? = present?.kind else {
                throw APIError(400, 10026, "/script_name must be the name of a worker", pointer: "/script_name")
            }
            return .worker(script: name)
        }
    }

    /// A worker that can't take batches would retry each message until it is a dead letter.
    private static func check(_ script: String, _ context: QueueContext) async throws {
        switch await context.runner.queueHandler(of: script) {
        case .present: return
        case .missing: throw QueueLimits.noQueueHandler(script)
        case .noWorker: throw APIError(404, 10007, "This Worker does not exist on your account.")
        }
    }
}
