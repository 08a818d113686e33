package import Wire

/// How a message's bytes are to be read (spec: queues, section 2).
public enum QueueContentType: UInt8, Sendable {
    case json = 1
    case text = 2
    case bytes = 3
}

/// What waits in a queue, delayed messages included.
public struct QueueMetrics: Equatable, Sendable {
    public var backlogCount: Int64
    public var backlogBytes: Int64
    /// Milliseconds since 1970; `nil` when the queue is empty.
    public var oldestMessageTimestamp: Int64?

    public init(backlogCount: Int64, backlogBytes: Int64, oldestMessageTimestamp: Int64?) {
        self.backlogCount = backlogCount
        self.backlogBytes = backlogBytes
        self.oldestMessageTimestamp = oldestMessageTimestamp
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(backlogCount)
        encoder.put(backlogBytes)
        encoder.put(oldestMessageTimestamp)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        backlogCount = try decoder.takeInt64()
        backlogBytes = try decoder.takeInt64()
        oldestMessageTimestamp = try decoder.takeOptional { decoder throws(WireError) in
            try decoder.takeInt64()
        }
    }
}
