package import Wire

/// The message of `queueSend`. The reply is a `QueueMetrics`, and comes once the messages are durable.
package struct QueueSendMessage: Equatable, Sendable {
    package struct Item: Equatable, Sendable {
        package var contentType: QueueContentType
        package var delaySeconds: Int64?
        package var body: [UInt8]

        package init(contentType: QueueContentType, body: [UInt8], delaySeconds: Int64? = nil) {
            self.contentType = contentType
            self.body = body
            self.delaySeconds = delaySeconds
        }
    }
    /// Whether it came from `send` or from `sendBatch`: errors are worded after it.
    package var form: QueueLimits.Form
    /// For messages that have no delay of their own.
    package var delaySeconds: Int64?
    package var items: [Item]

    package init(form: QueueLimits.Form, items: [Item], delaySeconds: Int64? = nil) {
        self.form = form
        self.items = items
        self.delaySeconds = delaySeconds
    }

    package func encoded() -> [UInt8] {
        var encoder = WireEncoder(capacity: items.reduce(16) { $0 + $1.body.count + 16 })
        encoder.put(form == .batch)
        encoder.put(delaySeconds)
        encoder.put(list: items) { encoder, item in
            encoder.put(item.contentType.rawValue)
            encoder.put(item.delaySeconds)
            encoder.put(item.body)
        }
        return encoder.bytes
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        form = try decoder.takeBool() ? .batch : .single
        delaySeconds = try decoder.takeOptional { decoder throws(WireError) in try decoder.takeInt64() }
        items = try decoder.takeList { decoder throws(WireError) in
            guard let contentType = QueueContentType(rawValue: try decoder.takeUInt8()) else {
                throw .invalidValue("queue content type", offset: decoder.offset - 1)
            }
            let delaySeconds = try decoder.takeOptional { decoder throws(WireError) in try decoder.takeInt64()
            }
            return Item(contentType: contentType, body: try decoder.takeBytes(), delaySeconds: delaySeconds)
        }
        try decoder.finish()
    }
}
