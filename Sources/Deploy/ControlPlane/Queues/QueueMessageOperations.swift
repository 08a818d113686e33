internal import Interfaces
internal import StoresQueues

/// Messages: sending, pulling, settling (spec queues.md §4 and §5).
enum QueueMessageOperations {
    private static let messageFields: [APISchema.Field] = [
        .required("body", .any), .optional("content_type", .nullable(.choice(["text", "json"]))),
        .optional("delay_seconds", .nullable(.integer())),
    ]
    private static let acknowledged = APISchema.object([
        .required("ackCount", .integer()), .required("retryCount", .integer()), .required("warnings", .map(.string())),
    ])
    private static let sent = APISchema.object([
        .required("metadata", .object([.required("metrics", QueueDocument.metricsSchema)]))
    ])
    private static let leases = APISchema.object([
        .optional("acks", .nullable(.array(.object([.required("lease_id", .string())])))),
        .optional(
            "retries",
            .nullable(
                .array(
                    .object([.required("lease_id", .string()), .optional("delay_seconds", .nullable(.integer()))])))),
    ])

    static func all(_ table: QueueTable) -> [APIOperation] {
        let messages = "/{queue_id}/messages"
        return [
            table.operation(
                "POST", messages, id: "messages.push", "Sends a message", .edit, .data, body: .json(.object(messageFields)),
                result: .json(sent)
            ) { try await push($0) },
            table.operation(
                "POST", messages + "/batch", id: "messages.bulk_push", "Sends up to 100 messages: all, or none", .edit, .data,
                // Escapes can make six bytes of one.
                body: .json(
                    .object([
                        .required("messages", .array(.object(messageFields))),
                        .optional("delay_seconds", .nullable(.integer())),
                    ]), bytesMax: 2 << 20),
                result: .json(sent)
            ) { try await pushBatch($0) },
            table.operation(
                "POST", messages + "/pull", id: "messages.pull", "Leases what is ready to a client, at once", .edit, .data,
                body: .json(
                    .object([
                        .optional("batch_size", .nullable(.integer())),
                        .optional("visibility_timeout_ms", .nullable(.integer())),
                        // What it was called before.
                        .optional("visibility_timeout", .nullable(.integer())),
                    ])),
                result: .json(
                    .object([
                        .required("message_backlog_count", .integer()), .required("messages", .array(.any)),
                        .required("metadata", .any),
                    ])), isPolled: true
            ) { try await pull($0) },
            table.operation(
                "POST", messages + "/ack", id: "messages.ack", "Ends leases: what was done is removed, what wasn't comes again",
                .edit, .data, body: .json(leases), result: .json(acknowledged), isPolled: true
            ) { try await settle($0) },
            table.operation(
                "POST", messages + "/peek", id: "messages.peek", "What would be pulled next, without taking it", .read, .data,
                body: .json(.object([.optional("batch_size", .nullable(.integer()))])),
                result: .json(.object([.required("messages", .array(.any))]))
            ) { context in
                let peeked = try context.store.peek(
                    into: try context.queue().name, batchSize: context.call.json["batch_size"]?.integer.map { Int($0) })
                return .result(.object(["messages": .array(peeked.map(json))]))
            },
            table.operation(
                "POST", messages + "/purge", id: "messages.purge", "Removes the messages that a peek or a pull named", .edit,
                .data, body: .json(.object([.required("refs", .array(.string()))])),
                result: .json(.object([.required("deleted_count", .integer()), .required("warnings", .map(.string()))]))
            ) { context in
                let references = Set((context.call.json["refs"]?.items ?? []).compactMap(\.text))
                let unknown = try await context.store.purge(try context.queue().name, references: Array(references))
                return .result(
                    .object([
                        "deleted_count": .integer(Int64(references.count - unknown.count)),
                        "warnings": warnings(unknown.map { ($0, "unknown ref: the message is gone") }),
                    ]))
            },
        ]
    }

    // MARK: Sending

    private static func push(_ context: QueueContext) async throws -> APIReply {
        let body = JSONSlice(context.call.text)
        let item = try item(context.call.json, body?.member("body"), "")
        return try await send([item], .single, context)
    }

    private static func pushBatch(_ context: QueueContext) async throws -> APIReply {
        let json = context.call.json
        let parts = JSONSlice(context.call.text)?.member("messages")?.items ?? []
        let messages = json["messages"]?.items ?? []
        guard !messages.isEmpty else {
            throw APIError(400, 10206, "sendBatch() requires at least one message", pointer: "/messages")
        }
        // Before any is looked at: there may be very many.
        try QueueLimits.check(count: messages.count)
        let delay = json["delay_seconds"]?.integer
        var items: [QueueSendMessage.Item] = []
        for (index, (message, part)) in zip(messages, parts).enumerated() {
            var item = try item(message, part.member("body"), "/messages/\(index)")
            item.delaySeconds = item.delaySeconds ?? delay
            items.append(item)
        }
        return try await send(items, .batch, context)
    }

    /// - Parameters:
    ///   - body: As it was written: what a consumer gets has the members in that order, and numbers of any length.
    ///   - place: In the request, for what is wrong with it.
    private static func item(_ message: JSON, _ body: JSONSlice?, _ place: String) throws -> QueueSendMessage.Item {
        let value = message["body"] ?? .null
        let delay = message["delay_seconds"]?.integer
        switch (message["content_type"]?.text ?? (value.text == nil ? "json" : "text"), value) {
        case ("text", .string(let text)): return .init(contentType: .text, body: Array(text.utf8), delaySeconds: delay)
        case ("text", _):
            throw APIError(
                400, 10026, "Content Type \"text\" requires a value of type string, but received: \(value.typeName)",
                pointer: place + "/body")
        default: return .init(contentType: .json, body: body?.compact ?? value.bytes, delaySeconds: delay)
        }
    }

    private static func send(
        _ items: [QueueSendMessage.Item], _ form: QueueLimits.Form, _ context: QueueContext
    ) async throws -> APIReply {
        let metrics = try await context.store.send(items, form: form, from: .management, to: try context.queue().name)
        return .result(.object(["metadata": .object(["metrics": QueueDocument.json(metrics)])]))
    }

    // MARK: Pulling

    private static func pull(_ context: QueueContext) async throws -> APIReply {
        let wanted = context.call.json
        let timeout = wanted["visibility_timeout_ms"]?.integer ?? wanted["visibility_timeout"]?.integer
        let pull = try await context.store.pull(
            from: try context.queue().name, batchSize: wanted["batch_size"]?.integer.map { Int($0) },
            visibilityTimeout: timeout.map { .milliseconds($0) })
        return .result(
            .object([
                "message_backlog_count": .integer(pull.metrics.backlogCount), "messages": .array(pull.messages.map(json)),
                "metadata": .object(["metrics": QueueDocument.json(pull.metrics)]),
            ]))
    }

    private static func settle(_ context: QueueContext) async throws -> APIReply {
        let json = context.call.json
        let settlement = try await context.store.settle(
            pulled: try context.queue().name,
            acknowledge: (json["acks"]?.items ?? []).compactMap { $0["lease_id"]?.text },
            retry: (json["retries"]?.items ?? []).map {
                QueuePullRetry(leaseID: $0["lease_id"]?.text ?? "", delaySeconds: $0["delay_seconds"]?.integer)
            })
        return .result(
            .object([
                "ackCount": .integer(Int64(settlement.acknowledgedCount)),
                "retryCount": .integer(Int64(settlement.retriedCount)),
                "warnings": warnings(settlement.warnings.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }),
            ]))
    }

    private static func warnings(_ warnings: [(name: String, text: String)]) -> JSON {
        .object(warnings.map { JSON.Member(name: $0.name, value: .string($0.text)) })
    }

    private static func json(_ message: QueuePulledMessage) -> JSON {
        .object([
            "id": .string(message.id), "body": .string(message.body), "attempts": .integer(Int64(message.attempts)),
            "timestamp_ms": .integer(message.timestamp.milliseconds), "lease_id": .string(message.leaseID),
            "metadata": metadata(message.contentType, message.source),
        ])
    }

    private static func json(_ message: QueuePeekedMessage) -> JSON {
        .object([
            "id": .string(message.id), "body": .string(message.body), "attempts": .integer(Int64(message.attempts)),
            "timestamp_ms": .integer(message.timestamp.milliseconds), "ref": .string(message.reference),
            "metadata": metadata(message.contentType, message.source),
        ])
    }

    private static func metadata(_ contentType: QueueContentType, _ source: QueueMessageSource) -> JSON {
        .object(["CF-Content-Type": .string(contentType.name), "CF-sourceMessageSource": .string(source.name)])
    }
}

extension QueueContentType {
    fileprivate var name: String {
        switch self {
        case .json: "json"
        case .text: "text"
        case .bytes: "bytes"
        }
    }
}

extension JSON {
    /// As JavaScript's `typeof`.
    fileprivate var typeName: String {
        switch self {
        case .null, .array, .object: "object"
        case .bool: "boolean"
        case .integer, .number: "number"
        case .string: "string"
        }
    }
}
