package import Interfaces
package import Stores
internal import Wire

/// A queue's producer binding: decodes the calls of one worker on one queue and answers them.
package struct QueueService: StoreService {
    private let store: any QueueStore
    private let queue: String
    private let deliveryDelaySeconds: Int64?

    /// - Parameter deliveryDelaySeconds: The binding's `delivery_delay`; `nil` leaves it to the queue.
    package init(_ store: any QueueStore, queue: String, deliveryDelaySeconds: Int64? = nil) {
        self.store = store
        self.queue = queue
        self.deliveryDelaySeconds = deliveryDelaySeconds
    }

    package func answer(_ call: StoreCall) async throws(CallFailure) -> StoreReply {
        do {
            switch call.kind {
            case .queueSend: return try await send(call)
            case .queueMetrics: return Self.reply(try store.metrics(of: queue))
            default:
                throw CallFailure(
                    "a queue binding has no call of kind \(call.kind.rawValue)", name: "TypeError")
            }
        } catch let failure as CallFailure {
            throw failure
        } catch let error as WireError {
            throw .malformedCall(error)
        } catch let error as QueueError {
            throw Self.failure(error)
        } catch {
            throw QueueLimits.failure("Unknown Internal Error", 15000)
        }
    }

    private func send(_ call: StoreCall) async throws -> StoreReply {
        var decoder = WireDecoder(call.message)
        let message = try QueueSendMessage(decoding: &decoder)
        guard !message.items.isEmpty else {
            throw CallFailure("sendBatch() requires at least one message", name: "TypeError")
        }
        try QueueLimits.check(delaySeconds: message.delaySeconds)
        var (largest, total) = (0, 0)
        for item in message.items {
            largest = max(largest, item.body.count)
            total += item.body.count
        }
        call.note(largest, of: .queueMessage, QueueLimits.messageByteCountMax)
        call.note(
            total, of: .queueBatch,
            QueueLimits.batchByteCountMax + QueueLimits.batchMessageByteCount * message.items.count)
        let delay = message.delaySeconds ?? deliveryDelaySeconds
        let items = message.items.map { item in
            QueueSendMessage.Item(
                contentType: item.contentType, body: item.body, delaySeconds: item.delaySeconds ?? delay)
        }
        return Self.reply(try await store.send(items, form: message.form, to: queue))
    }

    private static func reply(_ metrics: QueueMetrics) -> StoreReply {
        var encoder = WireEncoder()
        metrics.encode(into: &encoder)
        return StoreReply(message: encoder.bytes)
    }

    private static func failure(_ error: QueueError) -> CallFailure {
        switch error {
        case .refused(let failure): failure
        case .noSuchQueue: QueueLimits.failure("Queue does not exist", 10104)
        case .deliveryPaused: CallFailure("queue_delivery_paused")
        case .overloaded: QueueLimits.failure("Queue is overloaded. Please back off.", 10250)
        case .failed: QueueLimits.failure("Unknown Internal Error", 15000)
        }
    }
}
