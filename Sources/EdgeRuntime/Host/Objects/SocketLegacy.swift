internal import Interfaces
internal import Wire

/// What one process of a node leaves to the next of durable objects' hibernating WebSockets: an object that has some, or one of
/// them. Sockets come behind their object, the oldest one first.
package struct SocketLegacy: Sendable {
    package let tenant: String
    /// For the `ObjectSpace` of the other process.
    package let record: [UInt8]
    /// The client's connection; `nil`: of an object, or of a socket that has none any more. Whoever has this value closes it.
    package let descriptor: Int32?

    package init(tenant: String, record: [UInt8], descriptor: Int32?) {
        self.tenant = tenant
        self.record = record
        self.descriptor = descriptor
    }
}

/// The record of a `SocketLegacy`.
enum ParkedRecord: Equatable {
    case object(ParkedObject)
    case socket(ParkedObjectSocket)

    private enum Kind: UInt8 { case object = 1, socket = 2 }

    var bytes: [UInt8] {
        var encoder = WireEncoder()
        switch self {
        case .object(let object):
            encoder.put(Kind.object.rawValue)
            object.encode(into: &encoder)
        case .socket(let socket):
            encoder.put(Kind.socket.rawValue)
            socket.encode(into: &encoder)
        }
        return encoder.bytes
    }

    init(_ bytes: [UInt8]) throws(WireError) {
        var decoder = WireDecoder(bytes)
        switch Kind(rawValue: try decoder.takeUInt8()) {
        case .object: self = .object(try ParkedObject(decoding: &decoder))
        case .socket: self = .socket(try ParkedObjectSocket(decoding: &decoder))
        case nil: throw .invalidValue("record of a WebSocket", offset: 0)
        }
        try decoder.finish()
    }
}

/// What a node knows of an object that has hibernating WebSockets, in memory or not.
struct ParkedObject: Equatable, Sendable {
    /// Its namespace, as `ObjectNamespace` has it.
    struct Namespace: Equatable, Sendable {
        var id: String
        var key: [UInt8]
        var worker: String
        var className: String
        var hasSQL: Bool
    }
    var id: ObjectID
    var namespace: Namespace
    var name: String?
    var autoResponse: SocketAutoResponse?
    /// Milliseconds.
    var eventTimeout: Int64?
}

extension ParkedObject {
    func encode(into encoder: inout WireEncoder) {
        encoder.put(id.bytes)
        encoder.put(namespace.id)
        encoder.put(namespace.key)
        encoder.put(namespace.worker)
        encoder.put(namespace.className)
        encoder.put(namespace.hasSQL)
        encoder.put(name)
        encoder.put(autoResponse?.request)
        encoder.put(autoResponse?.response)
        encoder.put(eventTimeout)
    }

    init(decoding decoder: inout WireDecoder) throws(WireError) {
        id = try decoder.takeObjectID()
        namespace = Namespace(
            id: try decoder.takeString(), key: try decoder.takeBytes(), worker: try decoder.takeString(),
            className: try decoder.takeString(), hasSQL: try decoder.takeBool())
        name = try decoder.takeOptional { d throws(WireError) in try d.takeString() }
        let request = try decoder.takeOptional { d throws(WireError) in try d.takeString() }
        let response = try decoder.takeOptional { d throws(WireError) in try d.takeString() }
        if let request, let response { autoResponse = SocketAutoResponse(request: request, response: response) }
        eventTimeout = try decoder.takeOptional { d throws(WireError) in try d.takeInt64() }
    }
}

/// A hibernating WebSocket between two messages, or what its object has still to hear of one.
struct ParkedObjectSocket: Equatable, Sendable {
    /// How far its connection has come. Compression knows no more: both sides begin each message anew.
    struct Connection: Equatable, Sendable {
        /// The node's Close frame is out, or in the output.
        var isClosing: Bool
        /// Of what is compressed for the client; `nil`: nothing is.
        var windowBits: Int?
        /// What was read and not used, in front of what the kernel has.
        var input: [UInt8]
        /// What was not written.
        var output: [UInt8]
    }
    var object: ObjectID
    var state: ObjectSocketState
    var connection: Connection?
    /// Behind the output.
    var frames: [UInt8]
    /// A message of the object has begun and not ended.
    var isInMessage: Bool
    /// Behind the frames.
    var close: SocketClose?
    /// What the object is to hear last.
    var lastWord: ObjectSocketMessage.Content?
}

extension ParkedObjectSocket {
    func encode(into encoder: inout WireEncoder) {
        encoder.put(object.bytes)
        state.encode(into: &encoder)
        encoder.put(connection) { encoder, connection in
            encoder.put(connection.isClosing)
            encoder.put(UInt8(connection.windowBits ?? 0))
            encoder.put(connection.input)
            encoder.put(connection.output)
        }
        encoder.put(frames)
        encoder.put(isInMessage)
        encoder.put(close) { encoder, close in
            encoder.put(close.code ?? 0)
            encoder.put(close.reason)
            encoder.put(close.wasClean)
        }
        encoder.put(
            lastWord.map { word in
                var message = WireEncoder()
                ObjectSocketMessage(socket: state.id, content: word).encode(into: &message)
                return message.bytes
            })
    }

    init(decoding decoder: inout WireDecoder) throws(WireError) {
        object = try decoder.takeObjectID()
        state = try ObjectSocketState(decoding: &decoder)
        connection = try decoder.takeOptional { d throws(WireError) in
            let isClosing = try d.takeBool()
            let windowBits = Int(try d.takeUInt8())
            guard windowBits == 0 || (9...15).contains(windowBits) else {
                throw .invalidValue("window of a compression", offset: d.offset - 1)
            }
            return Connection(
                isClosing: isClosing, windowBits: windowBits == 0 ? nil : windowBits, input: try d.takeBytes(),
                output: try d.takeBytes())
        }
        frames = try decoder.takeBytes()
        isInMessage = try decoder.takeBool()
        close = try decoder.takeOptional { d throws(WireError) in
            let code = try d.takeUInt16()
            let reason = try d.takeString()
            return SocketClose(code: code == 0 ? nil : code, reason: reason, wasClean: try d.takeBool())
        }
        let word = try decoder.takeOptional { d throws(WireError) in try d.takeBytes() }
        if let word {
            var message = WireDecoder(word)
            lastWord = try ObjectSocketMessage(decoding: &message).content
        }
    }
}

extension WireDecoder {
    fileprivate mutating func takeObjectID() throws(WireError) -> ObjectID {
        guard let id = ObjectID(try takeBytes()) else { throw .invalidValue("object id", offset: offset) }
        return id
    }
}
