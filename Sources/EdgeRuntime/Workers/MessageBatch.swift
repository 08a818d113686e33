internal import FoundationEssentials
internal import Interfaces

/// Messages of one queue, delivered together. Which of them are done and which come again follows from the calls
/// made on the batch and its messages, in their order, and from whether the handler succeeded
/// (spec: queues, section 3). Touched by the isolate's thread alone.
public final class MessageBatch: @unchecked Sendable {
    /// The queue's name.
    public let queue: String
    public let messages: [Message]
    public let metrics: QueueMetrics

    fileprivate enum Mark {
        case none, acknowledged
        case retry(delaySeconds: Int?)
    }
    private var mark = Mark.none
    private let warn: (String) -> Void

    init(_ message: QueueBatchMessage, warn: @escaping (String) -> Void) {
        queue = message.queue
        metrics = message.metrics
        messages = message.items.map { Message($0) }
        self.warn = warn
        for message in messages { message.batch = self }
    }

    /// Every message is done, except those marked otherwise before. It holds even when the handler throws later.
    public func ackAll() {
        if case .retry = mark {
            warn(
                "Received a call to ackAll() after retryAll() was already called. Calling ackAll() after calling "
                    + "retryAll() has no effect.")
            return
        }
        mark = .acknowledged
    }

    /// Every message that isn't acknowledged comes again.
    ///
    /// - Parameter delaySeconds: `nil` takes the consumer's `retry_delay`; 0 means at once.
    public func retryAll(delaySeconds: Int? = nil) {
        if case .acknowledged = mark {
            warn(
                "Received a call to retryAll() after ackAll() was already called. Calling retryAll() after calling "
                    + "ackAll() has no effect.")
            return
        }
        mark = .retry(delaySeconds: delaySeconds)
    }

    /// What is to become of each message, in order.
    func reply(succeeded: Bool) -> QueueBatchReply {
        QueueBatchReply(
            succeeded: succeeded,
            decisions: messages.map { message in
                switch (message.mark, mark) {
                case (.retry(let own), .retry(let all)): .retry(delaySeconds: (own ?? all).map { Int64($0) })
                case (.retry(let own), _): .retry(delaySeconds: own.map { Int64($0) })
                case (.acknowledged, _): .acknowledge
                case (.none, .acknowledged): .acknowledge
                case (.none, .retry(let all)): .retry(delaySeconds: all.map { Int64($0) })
                case (.none, .none): succeeded ? .acknowledge : .retry(delaySeconds: nil)
                }
            })
    }

    /// One message of a batch.
    public final class Message: @unchecked Sendable {
        /// 32 lowercase hex digits.
        public let id: String
        /// When it was enqueued, in milliseconds since 1970.
        public let timestamp: Int64
        public let contentType: QueueContentType
        /// The body as it was sent: JSON text, UTF-8 or bytes.
        public let bytes: [UInt8]
        /// Deliveries, this one included.
        public let attempts: Int
        fileprivate var mark = Mark.none
        fileprivate weak var batch: MessageBatch?

        init(_ item: QueueBatchMessage.Item) {
            id = item.id
            timestamp = item.timestamp
            contentType = item.contentType
            bytes = item.body
            attempts = Int(item.attempts)
        }

        public var text: String { String(decoding: bytes, as: UTF8.self) }

        /// - Throws: `DecodingError`.
        public func json<Value: Decodable>(as type: Value.Type = Value.self) throws -> Value {
            try JSONDecoder().decode(type, from: Data(bytes))
        }

        /// The message is done, even when the handler throws later.
        public func ack() {
            guard let batch else { return }
            if case .acknowledged = batch.mark { return }
            if case .retry = batch.mark { return batch.warn(ignored("ack", after: "retryAll")) }
            if case .retry = mark { return batch.warn(ignored("ack", after: "retry")) }
            mark = .acknowledged
        }

        /// The message comes again; a second call changes the delay.
        ///
        /// - Parameter delaySeconds: `nil` takes that of `retryAll` or the consumer; 0 means at once.
        public func retry(delaySeconds: Int? = nil) {
            guard let batch else { return }
            if case .acknowledged = batch.mark { return batch.warn(ignored("retry", after: "ackAll")) }
            if case .acknowledged = mark { return batch.warn(ignored("retry", after: "ack")) }
            mark = .retry(delaySeconds: delaySeconds)
        }

        private func ignored(_ call: String, after earlier: String) -> String {
            "Received a call to \(call)() on message \(id) after \(earlier)() was already called. Calling \(call)() "
                + "on a message after calling \(earlier)() has no effect."
        }
    }
}
