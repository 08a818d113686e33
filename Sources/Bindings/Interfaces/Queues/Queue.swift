internal import Wire

/// One message for `Queue.sendBatch`.
public struct QueueMessageToSend {
    public var body: any Encodable
    public var contentType: QueueContentType
    /// Seconds; wins over the batch's and the queue's delay, also when it is 0.
    public var delaySeconds: Int?

    public init(_ body: any Encodable, contentType: QueueContentType = .json, delaySeconds: Int? = nil) {
        self.body = body
        self.contentType = contentType
        self.delaySeconds = delaySeconds
    }
}

/// A queue to send to: `env.queue("EVENTS")`.
///
/// A message is delivered at least once, some time after its delay. What was sent is durable.
///
/// Errors are the product's, as `CallFailure`: its texts, and its number in `code` and in brackets at the end.
public struct Queue: Sendable {
    private let transport: any BindingTransport
    private let binding: UInt16

    package init(transport: any BindingTransport, binding: UInt16) {
        self.transport = transport
        self.binding = binding
    }

    /// Sends one message of at most 128,000 bytes.
    ///
    /// - Parameters:
    ///   - body: Any value for `.json`, a `String` for `.text`, a `[UInt8]` for `.bytes`.
    ///   - delaySeconds: 0...86,400; wins over the queue's delay, also when it is 0.
    /// - Returns: The queue's backlog, this message included.
    @discardableResult
    public func send(
        _ body: any Encodable, contentType: QueueContentType = .json, delaySeconds: Int? = nil
    ) async throws -> QueueMetrics {
        let message = QueueMessageToSend(body, contentType: contentType, delaySeconds: delaySeconds)
        return try await send(.single, [message], delaySeconds: nil)
    }

    /// Sends 1...100 messages, all or none, of at most 256,000 bytes together.
    ///
    /// - Parameter delaySeconds: For messages without a delay of their own.
    /// - Returns: The queue's backlog, these messages included.
    @discardableResult
    public func sendBatch(
        _ messages: [QueueMessageToSend], delaySeconds: Int? = nil
    ) async throws -> QueueMetrics {
        guard !messages.isEmpty else {
            throw CallFailure("sendBatch() requires at least one message", name: "TypeError")
        }
        return try await send(.batch, messages, delaySeconds: delaySeconds)
    }

    /// What waits in the queue, delayed messages and those being handled included.
    public func metrics() async throws -> QueueMetrics {
        let reply = try await transport.perform(BindingCall(.queueMetrics, binding: binding, message: []))
        return try Self.metrics(reply)
    }

    private func send(
        _ form: QueueLimits.Form, _ messages: [QueueMessageToSend], delaySeconds: Int?
    ) async throws -> QueueMetrics {
        let items = try messages.map { message in
            QueueSendMessage.Item(
                contentType: message.contentType, body: try message.contentType.encode(message.body),
                delaySeconds: message.delaySeconds.map(Int64.init))
        }
        try QueueLimits.check(bodyByteCounts: items.map(\.body.count), form)
        let message = QueueSendMessage(form: form, items: items, delaySeconds: delaySeconds.map(Int64.init))
        return try Self.metrics(
            try await transport.perform(BindingCall(.queueSend, binding: binding, message: message.encoded()))
        )
    }

    private static func metrics(_ reply: BindingReply) throws -> QueueMetrics {
        var decoder = WireDecoder(reply.message)
        return try QueueMetrics(decoding: &decoder)
    }
}

extension QueueContentType {
    /// The type that the product calls `name`, in any case: `json`, `text` or `bytes`.
    public init(named name: String) throws(CallFailure) {
        switch name.lowercased() {
        case "json": self = .json
        case "text": self = .text
        case "bytes": self = .bytes
        default: throw CallFailure("Unsupported queue message content type: \(name)", name: "TypeError")
        }
    }

    /// As the product calls it.
    public var name: String {
        switch self {
        case .json: "json"
        case .text: "text"
        case .bytes: "bytes"
        }
    }

    /// The bytes that are stored for `body`.
    func encode(_ body: any Encodable) throws -> [UInt8] {
        switch self {
        case .json: return try JSONText.encode(body)
        case .text:
            guard let text = body as? String else { throw Self.mismatch("text", "string", body) }
            return Array(text.utf8)
        case .bytes:
            guard let bytes = body as? [UInt8] else { throw Self.mismatch("bytes", "ArrayBufferView", body) }
            return bytes
        }
    }

    private static func mismatch(_ type: String, _ wanted: String, _ body: any Encodable) -> CallFailure {
        let received =
            switch body {
            case is String: "string"
            case is Bool: "boolean"
            case is any BinaryInteger, is any BinaryFloatingPoint: "number"
            default: "object"
            }
        return CallFailure(
            "Content Type \"\(type)\" requires a value of type \(wanted), but received: \(received)",
            name: "TypeError")
    }
}
