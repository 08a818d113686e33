package import Wire

/// The message of a `scheduled` event.
package struct ScheduledMessage: Equatable, Sendable {
    /// The expression exactly as configured.
    package var cron: String
    /// Milliseconds since 1970, a whole minute.
    package var scheduledTime: Int64

    package init(cron: String, scheduledTime: Int64) {
        self.cron = cron
        self.scheduledTime = scheduledTime
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(cron)
        encoder.put(scheduledTime)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        cron = try decoder.takeString()
        scheduledTime = try decoder.takeInt64()
        try decoder.finish()
    }
}

/// The message of a `queue` event: one batch.
package struct QueueBatchMessage: Equatable, Sendable {
    package struct Item: Equatable, Sendable {
        /// 32 lowercase hex digits.
        package var id: String
        /// When it was enqueued, in milliseconds since 1970.
        package var timestamp: Int64
        package var contentType: QueueContentType
        package var body: [UInt8]
        /// Deliveries including this one.
        package var attempts: UInt32

        package init(
            id: String, timestamp: Int64, contentType: QueueContentType, body: [UInt8], attempts: UInt32
        ) {
            self.id = id
            self.timestamp = timestamp
            self.contentType = contentType
            self.body = body
            self.attempts = attempts
        }
    }
    package var queue: String
    package var items: [Item]
    package var metrics: QueueMetrics

    package init(queue: String, items: [Item], metrics: QueueMetrics) {
        self.queue = queue
        self.items = items
        self.metrics = metrics
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(queue)
        encoder.put(list: items) { encoder, item in
            encoder.put(item.id)
            encoder.put(item.timestamp)
            encoder.put(item.contentType.rawValue)
            encoder.put(item.body)
            encoder.put(item.attempts)
        }
        metrics.encode(into: &encoder)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        queue = try decoder.takeString()
        items = try decoder.takeList { decoder throws(WireError) in
            let id = try decoder.takeString()
            let timestamp = try decoder.takeInt64()
            guard let contentType = QueueContentType(rawValue: try decoder.takeUInt8()) else {
                throw .invalidValue("queue content type", offset: decoder.offset - 1)
            }
            return Item(
                id: id, timestamp: timestamp, contentType: contentType, body: try decoder.takeBytes(),
                attempts: try decoder.takeUInt32())
        }
        metrics = try QueueMetrics(decoding: &decoder)
        try decoder.finish()
    }
}

/// The reply to a `queue` event: what is to become of each message, in the batch's order.
package struct QueueBatchReply: Equatable, Sendable {
    package enum Decision: Equatable, Sendable {
        case acknowledge
        /// `nil` leaves the delay to the consumer's configuration.
        case retry(delaySeconds: Int64?)
    }
    /// Whether the handler and its `waitUntil` work succeeded. The decisions already take it into account.
    package var succeeded: Bool
    package var decisions: [Decision]

    package init(succeeded: Bool, decisions: [Decision]) {
        self.succeeded = succeeded
        self.decisions = decisions
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(succeeded)
        encoder.put(list: decisions) { encoder, decision in
            switch decision {
            case .acknowledge: encoder.put(UInt8(0))
            case .retry(let delay):
                encoder.put(UInt8(1))
                encoder.put(delay)
            }
        }
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        succeeded = try decoder.takeBool()
        decisions = try decoder.takeList { decoder throws(WireError) in
            switch try decoder.takeUInt8() {
            case 0: return .acknowledge
            case 1:
                return .retry(
                    delaySeconds: try decoder.takeOptional { d throws(WireError) in try d.takeInt64() })
            default: throw .invalidValue("queue decision", offset: decoder.offset - 1)
            }
        }
        try decoder.finish()
    }
}

/// The message of a `log` call. It has no reply.
package struct LogMessage: Equatable, Sendable {
    /// What one event may log; the SDK says so where the log ends.
    package static let bytesPerEventMax = 256 << 10

    /// The level of what the SDK writes of an error that no answer tells the node of: background work that failed.
    package static let uncaughtLevel: UInt8 = 5

    /// 0 debug, 1 info, 2 log, 3 warn, 4 error, 5 an uncaught error.
    package var level: UInt8
    package var text: String
    package var fields: [(name: String, value: String)]

    package init(level: UInt8, text: String, fields: [(name: String, value: String)] = []) {
        self.level = level
        self.text = text
        self.fields = fields
    }

    package static func == (left: Self, right: Self) -> Bool {
        left.level == right.level && left.text == right.text
            && left.fields.elementsEqual(right.fields) { $0 == $1 }
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(level)
        encoder.put(text)
        encoder.put(list: fields) { encoder, field in
            encoder.put(field.name)
            encoder.put(field.value)
        }
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        level = try decoder.takeUInt8()
        text = try decoder.takeString()
        fields = try decoder.takeList { decoder throws(WireError) in
            (try decoder.takeString(), try decoder.takeString())
        }
        try decoder.finish()
    }
}
