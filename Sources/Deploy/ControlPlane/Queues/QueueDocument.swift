internal import HTTP
internal import Interfaces
internal import Releases
internal import StoresQueues
internal import System

/// How queues and what belongs to them are written (spec queues.md §5).
struct QueueDocument: Sendable {
    private let producers: [String: [ReleaseRunner.QueueProducer]]

    /// - Parameter records: What is going to be written.
    init(_ context: QueueContext, of records: [QueueRecord]) async throws {
        producers = records.isEmpty ? [:] : try await context.runner.queueProducers()
    }

    static let schema = APISchema.object([
        .required("queue_id", .string(32...32)), .required("queue_name", .string(1...63)),
        .required("created_on", .string()), .required("modified_on", .string()), .required("producers", .array(.any)),
        .required("producers_total_count", .integer()), .required("consumers", .array(consumerSchema)),
        .required("consumers_total_count", .integer()),
        .required(
            "settings",
            .object([
                .required("delivery_delay", .integer()), .required("delivery_paused", .bool),
                .required("message_retention_period", .integer()),
            ])),
    ])

    static let consumerSchema = APISchema.object([
        .required("consumer_id", .string(32...32)), .required("queue_name", .string(1...63)),
        .required("type", .choice(["worker", "http_pull"])), .required("created_on", .string()),
        .required("settings", .any), .optional("script_name", .string()),
        .required("dead_letter_queue", .nullable(.string())),
    ])

    static let metricsSchema = APISchema.object([
        .required("backlog_count", .integer()), .required("backlog_bytes", .integer()),
        .required("oldest_message_timestamp_ms", .integer()),
    ])

    func json(_ record: QueueRecord) -> JSON {
        let producers = producers[record.name] ?? []
        let consumers = record.consumer.map { [Self.json($0, of: record)] } ?? []
        return .object([
            "queue_id": .string(record.id), "queue_name": .string(record.name), "created_on": Self.json(record.createdAt),
            "modified_on": Self.json(record.modifiedAt), "producers": .array(producers.map(Self.json)),
            "producers_total_count": .integer(Int64(producers.count)), "consumers": .array(consumers),
            "consumers_total_count": .integer(Int64(consumers.count)),
            "settings": .object([
                "delivery_delay": .integer(record.settings.deliveryDelaySeconds),
                "delivery_paused": .bool(record.settings.isPaused),
                "message_retention_period": .integer(record.settings.retentionSeconds),
            ]),
        ])
    }

    private static func json(_ producer: ReleaseRunner.QueueProducer) -> JSON {
        switch producer {
        case .worker(let name): .object(["type": "worker", "script": .string(name)])
        case .bucket(let name): .object(["type": "r2_bucket", "bucket_name": .string(name)])
        }
    }

    static func json(_ consumer: QueueConsumerRecord, of queue: QueueRecord) -> JSON {
        var script: String?
        if case .worker(let name) = consumer.kind { script = name }
        let named = script.map { JSON.string($0) }
        return .object([
            "consumer_id": .string(consumer.id), "created_on": json(consumer.createdAt), "queue_id": .string(queue.id),
            "queue_name": .string(queue.name), "type": script == nil ? "http_pull" : "worker",
            // Clients look at any of the three.
            "script_name": named, "script": named, "service": named, "environment": named.map { _ in "production" },
            "dead_letter_queue": consumer.settings.deadLetterQueue.map { .string($0) } ?? .null,
            "settings": settings(consumer.settings, isPulled: script == nil),
        ])
    }

    private static func settings(_ settings: QueueConsumerSettings, isPulled: Bool) -> JSON {
        let (size, retries) = (JSON.integer(Int64(settings.batchSizeMax)), JSON.integer(Int64(settings.retriesMax)))
        return isPulled
            ? .object([
                "batch_size": size, "max_retries": retries,
                "visibility_timeout_ms": .integer(settings.visibilityTimeout.wholeMilliseconds),
                "retry_delay": .integer(settings.retryDelaySeconds),
            ])
            : .object([
                "batch_size": size, "max_retries": retries,
                "max_wait_time_ms": .integer(settings.batchTimeout.wholeMilliseconds),
                // Null: as many as the backlog needs.
                "max_concurrency": settings.concurrencyMax.map { .integer(Int64($0)) } ?? .null,
                "retry_delay": .integer(settings.retryDelaySeconds),
            ])
    }

    static func json(_ metrics: QueueMetrics) -> JSON {
        .object([
            "backlog_count": .integer(metrics.backlogCount), "backlog_bytes": .integer(metrics.backlogBytes),
            "oldest_message_timestamp_ms": .integer(metrics.oldestMessageTimestamp ?? 0),
        ])
    }

    static func json(_ purge: QueuePurge?) -> JSON {
        .object([
            "started_at": purge.map { json($0.startedAt) } ?? .null,
            "completed": purge.map { .bool($0.endedAt != nil) } ?? .null,
        ])
    }

    static func json(_ time: UnixTime) -> JSON { .string(HTTPDate(unixSeconds: time.seconds).iso8601) }
}
