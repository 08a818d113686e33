internal import Interfaces
package import System

package struct QueueSettings: Equatable, Sendable {
    /// For messages sent without a delay of their own.
    package var deliveryDelaySeconds: Int64
    /// Nothing is leased while it is true.
    package var isPaused: Bool
    package var retentionSeconds: Int64
    /// More are refused; `nil` takes what comes.
    package var messagesPerSecondMax: Int64?
    /// What may wait, each message with 100 bytes on top of its body; `nil`: the product's 25 GB.
    package var backlogBytesMax: Int64?

    package init(
        deliveryDelaySeconds: Int64 = 0, isPaused: Bool = false, retentionSeconds: Int64 = 345_600,
        messagesPerSecondMax: Int64? = nil, backlogBytesMax: Int64? = nil
    ) {
        self.deliveryDelaySeconds = deliveryDelaySeconds
        self.isPaused = isPaused
        self.retentionSeconds = retentionSeconds
        self.messagesPerSecondMax = messagesPerSecondMax
        self.backlogBytesMax = backlogBytesMax
    }

    /// - Throws: 100128.
    func check() throws(CallFailure) {
        try QueueLimits.check(
            deliveryDelaySeconds, in: 0...QueueLimits.deliveryDelaySecondsMax, "delivery_delay", of: .queue)
        try QueueLimits.check(
            retentionSeconds, in: QueueLimits.retentionSeconds, "message_retention_period", of: .queue)
        if let messagesPerSecondMax {
            try QueueLimits.check(messagesPerSecondMax, in: 1 ... .max, "messages_per_second", of: .queue)
        }
        if let backlogBytesMax { try QueueLimits.check(backlogBytesMax, in: 1 ... .max, "backlog", of: .queue) }
    }
}

/// What is to be different; `nil` stays.
package struct QueueSettingsChange: Equatable, Sendable {
    package var deliveryDelaySeconds: Int64?
    package var isPaused: Bool?
    package var retentionSeconds: Int64?
    /// The inner `nil` takes the limit away.
    package var messagesPerSecondMax: Int64??
    package var backlogBytesMax: Int64??

    package init(
        deliveryDelaySeconds: Int64? = nil, isPaused: Bool? = nil, retentionSeconds: Int64? = nil,
        messagesPerSecondMax: Int64?? = nil, backlogBytesMax: Int64?? = nil
    ) {
        self.deliveryDelaySeconds = deliveryDelaySeconds
        self.isPaused = isPaused
        self.retentionSeconds = retentionSeconds
        self.messagesPerSecondMax = messagesPerSecondMax
        self.backlogBytesMax = backlogBytesMax
    }

    package func applied(to settings: QueueSettings) -> QueueSettings {
        QueueSettings(
            deliveryDelaySeconds: deliveryDelaySeconds ?? settings.deliveryDelaySeconds,
            isPaused: isPaused ?? settings.isPaused,
            retentionSeconds: retentionSeconds ?? settings.retentionSeconds,
            messagesPerSecondMax: messagesPerSecondMax ?? settings.messagesPerSecondMax,
            backlogBytesMax: backlogBytesMax ?? settings.backlogBytesMax)
    }
}

/// A queue as it is managed.
package struct QueueRecord: Equatable, Sendable {
    /// 32 lowercase hex digits, for as long as the queue exists.
    package var id: String
    package var name: String
    package var createdAt: UnixTime
    package var modifiedAt: UnixTime
    package var settings: QueueSettings
    package var consumer: QueueConsumerRecord?
}

/// What a consumer's configuration says about its queue (spec: queues, section 1).
package struct QueueConsumerSettings: Equatable, Sendable {
    package var batchSizeMax: Int
    /// How long a ready message waits for others.
    package var batchTimeout: Duration
    /// A message is delivered once more than this.
    package var retriesMax: Int
    package var retryDelaySeconds: Int64
    package var deadLetterQueue: String?
    /// `nil` follows the backlog.
    package var concurrencyMax: Int?
    /// How long a pull keeps its messages that doesn't say it.
    package var visibilityTimeout: Duration

    package init(
        batchSizeMax: Int = 10, batchTimeout: Duration = .seconds(5), retriesMax: Int = 3,
        retryDelaySeconds: Int64 = 0, deadLetterQueue: String? = nil, concurrencyMax: Int? = nil,
        visibilityTimeout: Duration = .seconds(30)
    ) {
        self.batchSizeMax = batchSizeMax
        self.batchTimeout = batchTimeout
        self.retriesMax = retriesMax
        self.retryDelaySeconds = retryDelaySeconds
        self.deadLetterQueue = deadLetterQueue
        self.concurrencyMax = concurrencyMax
        self.visibilityTimeout = visibilityTimeout
    }

    /// - Throws: 100127.
    func check(for queue: String) throws(CallFailure) {
        func check(_ value: Int64, _ range: ClosedRange<Int64>, _ name: String) throws(CallFailure) {
            try QueueLimits.check(value, in: range, name, of: .consumer)
        }
        try check(Int64(batchSizeMax), 1...Int64(QueueLimits.batchCountMax), "batch_size")
        try check(batchTimeout.wholeMilliseconds, 0...60_000, "max_wait_time_ms")
        try check(Int64(retriesMax), 0...100, "max_retries")
        try check(retryDelaySeconds, 0...QueueLimits.delaySecondsMax, "retry_delay")
        if let concurrencyMax { try check(Int64(concurrencyMax), 1...250, "max_concurrency") }
        try check(
            visibilityTimeout.wholeMilliseconds, 0...QueueLimits.visibilityMillisecondsMax,
            "visibility_timeout_ms")
        guard let deadLetterQueue else { return }
        guard EmbeddedQueueStore.isQueueName(deadLetterQueue) else {
            throw QueueLimits.invalidName(deadLetterQueue)
        }
        guard deadLetterQueue != queue else {
            throw CallFailure(
                "invalid consumer settings: queue \"\(queue)\" can't be its own dead_letter_queue", code: 100127)
        }
    }
}

/// What shall consume a queue.
package struct QueueConsumerDraft: Equatable, Sendable {
    package enum Kind: Equatable, Sendable {
        case worker(script: String)
        case pull
    }
    package var kind: Kind
    package var settings: QueueConsumerSettings

    /// - Parameter settings: `nil`: what the product gives a consumer of this kind.
    package init(_ kind: Kind, _ settings: QueueConsumerSettings? = nil) {
        self.kind = kind
        self.settings =
            settings ?? QueueConsumerSettings(batchSizeMax: kind == .pull ? QueueLimits.pullBatchSize : 10)
    }
}

/// A queue's consumer as it is stored.
package struct QueueConsumerRecord: Equatable, Sendable {
    /// Whoever made it may change it.
    package enum Origin: UInt8, Sendable {
        case release = 1
        case management = 2
    }
    /// 32 lowercase hex digits.
    package var id: String
    package var createdAt: UnixTime
    package var origin: Origin
    package var kind: QueueConsumerDraft.Kind
    package var settings: QueueConsumerSettings
}

/// Who sent a message, as pulls name it.
package enum QueueMessageSource: UInt8, Sendable {
    case worker = 0
    case management = 1
    case bucket = 2

    /// The value of `CF-sourceMessageSource`.
    package var name: String {
        switch self {
        case .worker: "worker"
        case .management: "api"
        case .bucket: "r2"
        }
    }
}

package struct QueuePurge: Equatable, Sendable {
    package var startedAt: UnixTime
    /// `nil` while it goes on.
    package var endedAt: UnixTime?
}

/// Acknowledged messages that are kept to be replayed.
package struct QueueHistory: Equatable, Sendable {
    package var count: Int64
    package var bytes: Int64
}
