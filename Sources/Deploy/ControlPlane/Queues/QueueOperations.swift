internal import Interfaces
internal import Releases
internal import StoresQueues

/// A tenant's queues over the API (spec queues.md §5).
enum QueueOperations {
    static func all(_ services: APIServices) -> [APIOperation] {
        let table = QueueTable(services)
        return queues(table) + QueueConsumerOperations.all(table) + QueueMessageOperations.all(table)
    }

    private static let settings = APISchema.object([
        .optional("delivery_delay", .nullable(.integer())), .optional("delivery_paused", .nullable(.bool)),
        .optional("message_retention_period", .nullable(.integer())),
    ])
    private static let change = APISchema.object([
        .optional("queue_name", .nullable(.string())), .optional("settings", .nullable(settings)),
    ])

    private static func queues(_ table: QueueTable) -> [APIOperation] {
        [
            table.operation(
                "GET", "", id: "list", "All queues, or those with the given names", .read,
                query: [
                    .init("name", .string(), "The name of a queue. It may be given several times."),
                    .init("page", .integer(1...1_000_000), "The page, from 1. Without, all are on one."),
                    .init("per_page", .integer(1...1000), "How many a page has."),
                ],
                result: .json(.array(QueueDocument.schema))
            ) { try await list($0) },
            table.operation(
                "POST", "", id: "create", "Makes a queue", .edit,
                body: .json(
                    .object([
                        .required("queue_name", .string()), .optional("settings", .nullable(settings)),
                        .optional("jurisdiction", .nullable(.string())),
                    ])),
                result: .json(QueueDocument.schema)
            ) { context in
                let record = try await context.store.createQueue(
                    context.call.json["queue_name"]?.text ?? "",
                    settings: changeOfSettings(context.call.json["settings"]).applied(to: QueueSettings()))
                return .result(try await QueueDocument(context, of: [record]).json(record))
            },
            table.operation("GET", "/{queue_id}", id: "get", "A queue", .read, result: .json(QueueDocument.schema)) { context in
                let record = try context.queue()
                return .result(try await QueueDocument(context, of: [record]).json(record))
            },
            table.operation(
                "PUT", "/{queue_id}", id: "update", "Replaces a queue's settings, and its name", .edit, body: .json(change),
                result: .json(QueueDocument.schema)
            ) { context in
                let settings = context.call.json["settings"]
                let isGiven = settings != nil && settings != .null
                return try await update(context, isGiven ? changeOfSettings(settings).filled : QueueSettingsChange())
            },
            table.operation(
                "PATCH", "/{queue_id}", id: "edit", "Changes what is given of a queue's settings, and its name", .edit,
                body: .json(change), result: .json(QueueDocument.schema)
            ) { context in try await update(context, changeOfSettings(context.call.json["settings"])) },
            table.operation(
                "DELETE", "/{queue_id}", id: "delete", "Removes a queue with its messages and its consumer", .edit,
                result: .json(.any)
            ) { context in
                try await context.store.deleteQueue(try context.queue().name)
                return .noResult
            },
            table.operation(
                "GET", "/{queue_id}/metrics", id: "metrics.get", "What waits in a queue", .read,
                result: .json(QueueDocument.metricsSchema)
            ) { context in
                .result(QueueDocument.json(try context.store.metrics(of: try context.queue().name)))
            },
            table.operation(
                "POST", "/{queue_id}/purge", id: "purge.start", "Removes all messages of a queue, for good", .edit,
                body: .json(.object([.required("delete_messages_permanently", .bool)])),
                result: .json(QueueDocument.schema)
            ) { try await purge($0) },
            table.operation(
                "GET", "/{queue_id}/purge", id: "purge.status", "What became of the last purge", .read,
                result: .json(
                    .object([.required("started_at", .nullable(.string())), .required("completed", .nullable(.bool))]))
            ) { context in
                .result(QueueDocument.json(try context.store.purgeStatus(of: try context.queue().name)))
            },
        ]
    }

    private static func list(_ context: QueueContext) async throws -> APIReply {
        let names = context.call.query.filter { $0.name == "name" }.map(\.value)
        let records = try context.store.queues().filter { names.isEmpty || names.contains($0.name) }
        let isPaged = context.call.queryValue("page") != nil || context.call.queryValue("per_page") != nil
        let page = Page(records, context.call, sizeDefault: isPaged ? 20 : max(1, records.count))
        let document = try await QueueDocument(context, of: Array(page.items))
        return page.reply { document.json($0) }
    }

    private static func changeOfSettings(_ json: JSON?) -> QueueSettingsChange {
        QueueSettingsChange(
            deliveryDelaySeconds: json?["delivery_delay"]?.integer, isPaused: json?["delivery_paused"]?.bool,
            retentionSeconds: json?["message_retention_period"]?.integer)
    }

    private static func update(_ context: QueueContext, _ change: QueueSettingsChange) async throws -> APIReply {
        let present = try context.queue()
        let name = context.call.json["queue_name"]?.text ?? present.name
        let record =
            if name == present.name { try await context.store.updateQueue(name, change) } else {
                try await context.runner.renameQueue(present.name, to: name, change)
            }
        return .result(try await QueueDocument(context, of: [record]).json(record))
    }

    private static func purge(_ context: QueueContext) async throws -> APIReply {
        guard context.call.json["delete_messages_permanently"] == true else {
            throw APIError(
                400, 10026, "delete_messages_permanently must be true: nothing brings the messages back",
                pointer: "/delete_messages_permanently")
        }
        let record = try context.queue()
        let purge = try await context.store.purge(record.name)
        let queue = try await QueueDocument(context, of: [record]).json(record)
        return .result(
            .object(
                (queue.members ?? []) + [
                    JSON.Member(name: "started_at", value: QueueDocument.json(purge.startedAt)),
                    JSON.Member(name: "complete", value: .bool(purge.endedAt != nil)),
                ]))
    }
}

extension QueueSettingsChange {
    /// What isn't given is as in a new queue.
    fileprivate var filled: QueueSettingsChange {
        let new = QueueSettings()
        return QueueSettingsChange(
            deliveryDelaySeconds: deliveryDelaySeconds ?? new.deliveryDelaySeconds, isPaused: isPaused ?? new.isPaused,
            retentionSeconds: retentionSeconds ?? new.retentionSeconds)
    }
}
