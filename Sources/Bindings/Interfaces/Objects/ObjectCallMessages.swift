package import Wire

// What isolates say to the node about objects.

/// Stands in front of the message of `objectRequest` (then a fetch message, as a subrequest has it) and `objectInvoke` (then an
/// `RPCMessage`). The call's binding is the namespace. Their failures carry `CallFailure.Marks`.
package struct ObjectCallHead: Equatable, Sendable {
    package var object: ObjectReference

    package init(object: ObjectReference) { self.object = object }

    package func encode(into encoder: inout WireEncoder) { object.encode(into: &encoder) }

    package init(decoding decoder: inout WireDecoder) throws(WireError) { object = try ObjectReference(decoding: &decoder) }
}

/// The message of `objectAlarmTime`: the alarm is to be at `time`, or there is none any more. Answered, with nothing, when the node's
/// index is durable. The isolate moves the index earlier before it commits, and later, or away, after (spec: section 4), one move at
/// a time; it also says here what a handler has changed, so the time in an `ObjectAlarmReply` never moves the index later.
package struct ObjectAlarmTimeMessage: Equatable, Sendable {
    package var object: ObjectReference
    /// Milliseconds since 1970.
    package var time: Int64?

    package init(object: ObjectReference, time: Int64?) {
        self.object = object
        self.time = time
    }

    package func encode(into encoder: inout WireEncoder) {
        object.encode(into: &encoder)
        encoder.put(time)
    }

    package init(_ message: [UInt8]) throws(WireError) {
        var decoder = WireDecoder(message)
        try self.init(decoding: &decoder)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        object = try ObjectReference(decoding: &decoder)
        time = try decoder.takeOptional { d throws(WireError) in try d.takeInt64() }
        try decoder.finish()
    }
}

/// The message of `objectAbort`, one way: the incarnation is over (`abort`, a failed gate, a broken storage), its storage is
/// closed and it is forgotten. All its events that haven't been answered fail with `failure`; the next call opens it anew.
package struct ObjectAbortMessage: Equatable, Sendable {
    package var object: ObjectReference
    package var failure: CallFailure

    package init(object: ObjectReference, failure: CallFailure) {
        self.object = object
        self.failure = failure
    }

    package func encode(into encoder: inout WireEncoder) {
        object.encode(into: &encoder)
        failure.encode(into: &encoder)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        object = try ObjectReference(decoding: &decoder)
        failure = try CallFailure(decoding: &decoder)
        try decoder.finish()
    }
}

/// The message of `socketSend`, one way: one message to one or many sockets of one reactor. What is longer than a frame holds comes
/// in pieces, all but the last with `isFinal == false`; pieces of one message follow one another on the channel.
package struct SocketSendMessage: Equatable, Sendable {
    package var sockets: [SocketID]
    package var isText: Bool
    package var isFinal: Bool
    package var payload: [UInt8]

    package static let payloadByteCountMax = 256 << 10
    package static let socketCountMax = 16_384

    package init(sockets: [SocketID], isText: Bool, isFinal: Bool = true, payload: [UInt8]) {
        self.sockets = sockets
        self.isText = isText
        self.isFinal = isFinal
        self.payload = payload
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(list: sockets) { $0.put($1.rawValue) }
        encoder.put(isText)
        encoder.put(isFinal)
        encoder.put(payload)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        sockets = try decoder.takeList { d throws(WireError) in SocketID(try d.takeUInt64()) }
        isText = try decoder.takeBool()
        isFinal = try decoder.takeBool()
        payload = try decoder.takeBytes()
        try decoder.finish()
    }
}

/// The message of `socketClose`, one way: a Close frame to the client.
package struct SocketCloseMessage: Equatable, Sendable {
    package var socket: SocketID
    package var code: UInt16?
    package var reason: String

    package init(socket: SocketID, code: UInt16?, reason: String) {
        self.socket = socket
        self.code = code
        self.reason = reason
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(socket.rawValue)
        encoder.put(code ?? 0)
        encoder.put(reason)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        socket = SocketID(try decoder.takeUInt64())
        let code = try decoder.takeUInt16()
        self.code = code == 0 ? nil : code
        reason = try decoder.takeString()
        try decoder.finish()
    }
}

/// The message of `socketAttachment`, one way: what the node keeps for the object.
package struct SocketAttachmentMessage: Equatable, Sendable {
    package var socket: SocketID
    package var attachment: [UInt8]?

    package init(socket: SocketID, attachment: [UInt8]?) {
        self.socket = socket
        self.attachment = attachment
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(socket.rawValue)
        encoder.put(attachment)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        socket = SocketID(try decoder.takeUInt64())
        attachment = try decoder.takeOptional { d throws(WireError) in try d.takeBytes() }
        try decoder.finish()
    }
}

/// The message of `socketAutoResponse`, one way: what holds for all hibernating sockets of the object.
package struct SocketAutoResponseMessage: Equatable, Sendable {
    package var object: ObjectReference
    package var autoResponse: SocketAutoResponse?
    /// Milliseconds; `nil`: none.
    package var eventTimeout: Int64?

    package init(object: ObjectReference, autoResponse: SocketAutoResponse?, eventTimeout: Int64?) {
        self.object = object
        self.autoResponse = autoResponse
        self.eventTimeout = eventTimeout
    }

    package func encode(into encoder: inout WireEncoder) {
        object.encode(into: &encoder)
        encoder.put(autoResponse?.request)
        encoder.put(autoResponse?.response)
        encoder.put(eventTimeout)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        object = try ObjectReference(decoding: &decoder)
        let request = try decoder.takeOptional { d throws(WireError) in try d.takeString() }
        let response = try decoder.takeOptional { d throws(WireError) in try d.takeString() }
        if let request, let response { autoResponse = SocketAutoResponse(request: request, response: response) }
        eventTimeout = try decoder.takeOptional { d throws(WireError) in try d.takeInt64() }
        try decoder.finish()
    }
}

/// Stands behind the head of an answer 101 to an `objectFetch`, when the object has accepted the socket to hibernate
/// (bit 2 of the flags of the fetch reply; the `open` frame has the `end` flag, and the message stands behind the headers): the node keeps the socket under the number that the event's head gave, and the stream ends.
package struct HibernationMessage: Equatable, Sendable {
    package var tags: [String]
    package var attachment: [UInt8]?

    package init(tags: [String], attachment: [UInt8]?) {
        self.tags = tags
        self.attachment = attachment
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(list: tags) { $0.put($1) }
        encoder.put(attachment)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        tags = try decoder.takeList { d throws(WireError) in try d.takeString() }
        attachment = try decoder.takeOptional { d throws(WireError) in try d.takeBytes() }
    }
}
