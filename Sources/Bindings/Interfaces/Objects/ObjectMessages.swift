package import Wire

// Durable objects on the wire. An object is in one isolate at a time, its owner; the node decides which, opens it there before its
// first event and closes it there before any other isolate gets it.
//
//     node → isolate   objectOpen    the object is yours: open its storage, make the instance (several frames if it has many sockets)
//                      objectFetch, objectCall, objectAlarm, objectSocket   its events, each behind an `ObjectEventHead`
//                      objectClose   end the instance, close its storage, forget it; or say that it can't rest now
//     isolate → node   objectRequest, objectInvoke   a call of a stub, from any worker
//                      objectAlarmTime   the alarm's time moves: into the node's index
//                      socketSend, socketClose, socketAttachment, socketAutoResponse, objectAbort   one way
//
// Events of one stub go from one reactor through one channel, so they come in the order in which they were sent. What the
// isolate says one way about a socket goes on the channel of that socket's reactor.

/// 32 bytes that name an object, and what the node knows of it (spec: durable-objects, section 1).
package struct ObjectReference: Hashable, Sendable {
    /// 32 bytes.
    package var id: [UInt8]
    /// What the id was made from, where the caller's stub came from a name.
    package var name: String?

    package static let idByteCount = 32

    package init(id: [UInt8], name: String? = nil) {
        self.id = id
        self.name = name
    }

    package static func == (a: Self, b: Self) -> Bool { a.id == b.id }
    package func hash(into hasher: inout Hasher) { hasher.combine(id) }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(id)
        encoder.put(name)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        id = try decoder.takeBytes()
        guard id.count == Self.idByteCount else { throw .invalidValue("object id", offset: decoder.offset) }
        name = try decoder.takeOptional { d throws(WireError) in try d.takeString() }
    }
}

/// Names a hibernating WebSocket as long as it is open. The node gives the numbers; the upper 16 bits are the reactor's index.
package struct SocketID: Hashable, Sendable {
    package let rawValue: UInt64
    package init(_ rawValue: UInt64) { self.rawValue = rawValue }
    package init(reactor: Int, number: UInt64) { rawValue = UInt64(reactor) << 48 | number & 0xffff_ffff_ffff }
    /// The channel on which its messages go is the one of this reactor.
    package var reactor: Int { Int(rawValue >> 48) }
}

/// A hibernating WebSocket as an object finds it when it is opened.
package struct ObjectSocketState: Equatable, Sendable {
    package var id: SocketID
    /// At most 10, each of at most 256 characters.
    package var tags: [String]
    /// At most 16,384 bytes; `nil`: never set.
    package var attachment: [UInt8]?
    /// When the automatic response was last given, in milliseconds since 1970.
    package var autoResponseTime: Int64?

    package init(id: SocketID, tags: [String], attachment: [UInt8]? = nil, autoResponseTime: Int64? = nil) {
        self.id = id
        self.tags = tags
        self.attachment = attachment
        self.autoResponseTime = autoResponseTime
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(id.rawValue)
        encoder.put(list: tags) { $0.put($1) }
        encoder.put(attachment)
        encoder.put(autoResponseTime)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        id = SocketID(try decoder.takeUInt64())
        tags = try decoder.takeList { d throws(WireError) in try d.takeString() }
        attachment = try decoder.takeOptional { d throws(WireError) in try d.takeBytes() }
        autoResponseTime = try decoder.takeOptional { d throws(WireError) in try d.takeInt64() }
    }
}

/// What an object answers to a text message without being woken.
package struct SocketAutoResponse: Equatable, Sendable {
    /// Each at most 2,048 bytes.
    package var request: String
    package var response: String

    package init(request: String, response: String) {
        self.request = request
        self.response = response
    }
}

/// The message of `objectOpen`. One that has many sockets comes in several, of which all but the last say `hasMoreSockets`.
package struct ObjectOpenMessage: Equatable, Sendable {
    package var className: String
    package var object: ObjectReference
    /// The newest one first.
    package var sockets: [ObjectSocketState]
    package var hasMoreSockets: Bool
    package var autoResponse: SocketAutoResponse?
    /// Milliseconds, as `setHibernatableWebSocketEventTimeout` set it.
    package var socketEventTimeout: Int64?

    package init(
        className: String, object: ObjectReference, sockets: [ObjectSocketState] = [], hasMoreSockets: Bool = false,
        autoResponse: SocketAutoResponse? = nil, socketEventTimeout: Int64? = nil
    ) {
        self.className = className
        self.object = object
        self.sockets = sockets
        self.hasMoreSockets = hasMoreSockets
        self.autoResponse = autoResponse
        self.socketEventTimeout = socketEventTimeout
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(className)
        object.encode(into: &encoder)
        encoder.put(list: sockets) { $1.encode(into: &$0) }
        encoder.put(hasMoreSockets)
        encoder.put(autoResponse?.request)
        encoder.put(autoResponse?.response)
        encoder.put(socketEventTimeout)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        className = try decoder.takeString()
        object = try ObjectReference(decoding: &decoder)
        sockets = try decoder.takeList { d throws(WireError) in try ObjectSocketState(decoding: &d) }
        hasMoreSockets = try decoder.takeBool()
        let request = try decoder.takeOptional { d throws(WireError) in try d.takeString() }
        let response = try decoder.takeOptional { d throws(WireError) in try d.takeString() }
        if let request, let response { autoResponse = SocketAutoResponse(request: request, response: response) }
        socketEventTimeout = try decoder.takeOptional { d throws(WireError) in try d.takeInt64() }
        try decoder.finish()
    }
}

/// The reply to the last `objectOpen`: storage is open and the constructor has returned. A constructor that throws is a failure,
/// and the isolate has forgotten the object then.
package struct ObjectOpenReply: Equatable, Sendable {
    /// The alarm that the object's own row has, in milliseconds since 1970: what the node's index must not be later than.
    package var alarmTime: Int64?
    /// The name in its metadata: known names stay visible.
    package var name: String?

    package init(alarmTime: Int64?, name: String?) {
        self.alarmTime = alarmTime
        self.name = name
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(alarmTime)
        encoder.put(name)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        alarmTime = try decoder.takeOptional { d throws(WireError) in try d.takeInt64() }
        name = try decoder.takeOptional { d throws(WireError) in try d.takeString() }
        try decoder.finish()
    }
}

/// Stands in front of the message of each event of an object. What follows it is, by kind: a fetch message, an `RPCMessage`, an
/// `ObjectAlarmMessage`, an `ObjectSocketMessage`.
package struct ObjectEventHead: Equatable, Sendable {
    package var object: ObjectReference
    /// For a fetch that asks for a WebSocket: the number that the socket has if the object accepts it to hibernate; else 0.
    package var socket: SocketID

    package init(object: ObjectReference, socket: SocketID = SocketID(0)) {
        self.object = object
        self.socket = socket
    }

    package func encode(into encoder: inout WireEncoder) {
        object.encode(into: &encoder)
        encoder.put(socket.rawValue)
    }

    /// Leaves the decoder where what follows begins.
    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        object = try ObjectReference(decoding: &decoder)
        socket = SocketID(try decoder.takeUInt64())
    }
}

/// The message of `objectAlarm`. The reply is an `ObjectAlarmReply`.
package struct ObjectAlarmMessage: Equatable, Sendable {
    /// Counted tries before this one.
    package var retryCount: UInt32
    package var isRetry: Bool
    /// Milliseconds since 1970: what `setAlarm` asked for.
    package var scheduledTime: Int64

    package init(retryCount: UInt32, isRetry: Bool, scheduledTime: Int64) {
        self.retryCount = retryCount
        self.isRetry = isRetry
        self.scheduledTime = scheduledTime
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(retryCount)
        encoder.put(isRetry)
        encoder.put(scheduledTime)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        retryCount = try decoder.takeUInt32()
        isRetry = try decoder.takeBool()
        scheduledTime = try decoder.takeInt64()
        try decoder.finish()
    }
}

/// What became of an alarm. The isolate decides by the object's own row, whose change is durable when it answers.
package struct ObjectAlarmReply: Equatable, Sendable {
    package enum Outcome: UInt8, Sendable {
        /// The handler ran to its end.
        case done = 0
        /// No alarm is due by the object's own row: the index was early, or the alarm is gone.
        case notDue = 1
        /// The handler threw, or broke a limit: a counted try.
        case failed = 2
        /// It failed and is not to be tried again (`abort` with `retryAlarm: false`, or no handler).
        case abandoned = 3
    }
    package var outcome: Outcome
    /// The alarm that the object has now, in milliseconds since 1970: set anew by the handler, or not yet due.
    package var nextTime: Int64?
    /// What the handler threw, for the log.
    package var failure: String?

    package init(_ outcome: Outcome, nextTime: Int64? = nil, failure: String? = nil) {
        self.outcome = outcome
        self.nextTime = nextTime
        self.failure = failure
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(outcome.rawValue)
        encoder.put(nextTime)
        encoder.put(failure)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        guard let outcome = Outcome(rawValue: try decoder.takeUInt8()) else {
            throw .invalidValue("outcome of an alarm", offset: decoder.offset - 1)
        }
        self.outcome = outcome
        nextTime = try decoder.takeOptional { d throws(WireError) in try d.takeInt64() }
        failure = try decoder.takeOptional { d throws(WireError) in try d.takeString() }
        try decoder.finish()
    }
}

/// The message of `objectSocket`: what came on a hibernating WebSocket. A message's bytes are the event's body where they don't fit
/// (`payload == nil`). The reply is empty, and comes when the handler has returned: then the next one of that socket may go.
package struct ObjectSocketMessage: Equatable, Sendable {
    package enum Content: Equatable, Sendable {
        case text(String?)
        case binary([UInt8]?)
        case close(SocketClose)
        case error(String)
    }
    package var socket: SocketID
    package var content: Content

    /// Above this, the event's body carries the message.
    package static let inlineByteCountMax = 64 << 10

    package init(socket: SocketID, content: Content) {
        self.socket = socket
        self.content = content
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(socket.rawValue)
        switch content {
        case .text(let text):
            encoder.put(UInt8(1))
            encoder.put(text)
        case .binary(let bytes):
            encoder.put(UInt8(2))
            encoder.put(bytes)
        case .close(let close):
            encoder.put(UInt8(8))
            encoder.put(close.code ?? 0)
            encoder.put(close.reason)
            encoder.put(close.wasClean)
        case .error(let message):
            encoder.put(UInt8(9))
            encoder.put(message)
        }
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        socket = SocketID(try decoder.takeUInt64())
        switch try decoder.takeUInt8() {
        case 1: content = .text(try decoder.takeOptional { d throws(WireError) in try d.takeString() })
        case 2: content = .binary(try decoder.takeOptional { d throws(WireError) in try d.takeBytes() })
        case 8:
            let code = try decoder.takeUInt16()
            let reason = try decoder.takeString()
            content = .close(SocketClose(code: code == 0 ? nil : code, reason: reason, wasClean: try decoder.takeBool()))
        case 9: content = .error(try decoder.takeString())
        default: throw .invalidValue("event of a WebSocket", offset: decoder.offset - 1)
        }
        try decoder.finish()
    }
}

/// Why an object is to be closed.
package enum ObjectCloseReason: UInt8, Sendable {
    /// It had nothing to do for `hibernate_after`: only if nothing of it would be lost; else it answers `isBusy`.
    case hibernation = 1
    /// It had nothing to do for `evict_after`.
    case inactivity = 2
    /// Another version gets it: events that run finish, within the deadline.
    case codeUpdated = 3
    /// An operator's wish; also before its deletion.
    case requested = 4
}

/// The message of `objectClose`. The reply comes when the instance is gone, its outputs are flushed and its file is closed, or at
/// once when it is busy.
package struct ObjectCloseMessage: Equatable, Sendable {
    package var object: ObjectReference
    package var reason: ObjectCloseReason
    /// Milliseconds for what runs; afterwards it is cut off with the reason's error.
    package var patience: Int64

    package init(object: ObjectReference, reason: ObjectCloseReason, patience: Int64) {
        self.object = object
        self.reason = reason
        self.patience = patience
    }

    package func encode(into encoder: inout WireEncoder) {
        object.encode(into: &encoder)
        encoder.put(reason.rawValue)
        encoder.put(patience)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        object = try ObjectReference(decoding: &decoder)
        guard let reason = ObjectCloseReason(rawValue: try decoder.takeUInt8()) else {
            throw .invalidValue("reason to close an object", offset: decoder.offset - 1)
        }
        self.reason = reason
        patience = try decoder.takeInt64()
        try decoder.finish()
    }
}

package struct ObjectCloseReply: Equatable, Sendable {
    /// The object stays where it is: it holds a timer, an outgoing call, a socket that can't hibernate, a critical section.
    package var isBusy: Bool

    package init(isBusy: Bool) { self.isBusy = isBusy }

    package func encode(into encoder: inout WireEncoder) { encoder.put(isBusy) }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        isBusy = try decoder.takeBool()
        try decoder.finish()
    }
}
