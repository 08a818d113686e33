internal import Interfaces
public import Workers

/// What an object has of itself: its id, its storage, its WebSockets, and its hold on time. One for each instance; touched on the
/// isolate's thread alone.
public final class DurableObjectState: @unchecked Sendable {  // Owner: the isolate's thread.
    /// With the name that it is known by, once somebody has called it by name.
    public internal(set) var id: DurableObjectID
    public let storage: ObjectStorage

    let scope: ObjectScope
    let sockets: ObjectSockets
    /// Ends the incarnation.
    var onAbort: ((CallFailure, _ retriesAlarm: Bool) -> Void)?

    init(id: DurableObjectID, storage: ObjectStorage, scope: ObjectScope, sockets: ObjectSockets) {
        self.id = id
        self.storage = storage
        self.scope = scope
        self.sockets = sockets
    }

    /// Requests to the outside, sleep, log, caches, the time: in the name of the event that runs.
    public var context: ExecutionContext { scope.context }
    public var log: Log { context.log }
    /// Milliseconds since 1970.
    public var now: Int64 { scope.now }

    /// Lets `work` go on after the event's answer. The object stays in memory as long as it runs, for 15 minutes at most.
    public func waitUntil(_ work: @escaping () async throws -> Void) { context.waitUntil(work) }

    // MARK: Critical sections

    /// Runs `body`, and no other event of the object until it is over. What it throws resets the object, and so does a body
    /// that takes longer than 30 seconds.
    public func blockConcurrencyWhile<Result>(_ body: @escaping () async throws -> Result) async throws -> Result {
        let box = Box<Result>()
        do {
            try await scope.section(limit: ObjectFailures.sectionTooLong) { box.value = try await body() }
        } catch {
            // The failure of the reset is what this code's caller gets, too.
            if scope.failure == nil { scope.reset(Self.failure(of: error)) }
            throw error
        }
        guard let value = box.value else { throw scope.failure ?? ObjectFailures.connectionLost }
        return value
    }

    /// As above, without waiting for the end: for `init`.
    public func blockConcurrencyWhile(_ body: @escaping () async throws -> Void) {
        do {
            try scope.section(limit: ObjectFailures.sectionTooLong, body) { [scope] result in
                if case .failure(let error) = result, scope.failure == nil { scope.reset(Self.failure(of: error)) }
            }
        } catch { scope.reset(Self.failure(of: error)) }
    }

    private final class Box<Value> { var value: Value? }

    private static func failure(of error: any Error) -> CallFailure {
        let failure = CallFailure(thrown: error)
        return CallFailure(
            failure.message, name: failure.name, code: failure.code,
            marks: failure.marks.union([.remote, .objectReset, .stubBroken]))
    }

    // MARK: The end

    /// Resets the object: what was not committed is dropped, all its callers get `reason`, and the next call makes it anew. Called
    /// in an alarm's handler, the alarm is tried again, unless `retryAlarm` is false.
    ///
    /// - Throws: always, so that the code that runs ends, too.
    public func abort(_ reason: String? = nil, retryAlarm: Bool = true) throws -> Never {
        let failure = CallFailure(
            reason ?? ObjectFailures.aborted, marks: [.remote, .objectReset, .stubBroken])
        onAbort?(failure, retryAlarm)
        throw failure
    }

    // MARK: WebSockets that may hibernate

    /// Takes one end of a pair whose other end `fetch` returns in its response. The node keeps the connection from then on, also
    /// while the object sleeps: what comes on it goes to `webSocketMessage`, and wakes the object.
    ///
    /// - Parameter tags: At most 10 different ones, each of at most 256 characters, by which `getWebSockets` finds it.
    public func acceptWebSocket(_ socket: WebSocket, tags: [String] = []) throws { try sockets.accept(socket, tags: tags) }

    /// The connections that were accepted so, the newest first; those with a tag, when one is given.
    public func getWebSockets(_ tag: String? = nil) -> [WebSocket] { sockets.list(tag) }

    /// - Throws: for a socket that wasn't accepted by this object.
    public func getTags(_ socket: WebSocket) throws -> [String] { try sockets.tags(of: socket) }

    /// What is answered to a text message without waking the object; `nil`: nothing.
    public func setWebSocketAutoResponse(_ pair: WebSocketAutoResponse?) throws { try sockets.setAutoResponse(pair) }
    public func getWebSocketAutoResponse() -> WebSocketAutoResponse? { sockets.autoResponse }

    /// When the automatic response was last given, in milliseconds since 1970, as far as the object was told.
    public func getWebSocketAutoResponseTimestamp(_ socket: WebSocket) throws -> Int64? {
        try sockets.autoResponseTime(of: socket)
    }

    /// How long a handler of a WebSocket's event may take, in milliseconds, 0...604,800,000; `nil`: as long as it likes.
    public func setHibernatableWebSocketEventTimeout(_ milliseconds: Int?) throws {
        try sockets.setEventTimeout(milliseconds)
    }
    public func getHibernatableWebSocketEventTimeout() -> Int? { sockets.eventTimeout }

    /// Sends one message to many connections: it goes to the node once, however many they are.
    ///
    /// - Parameters:
    ///   - tag: Only to those with this tag.
    ///   - except: Not to this one.
    public func broadcast(_ message: WebSocketMessage, tag: String? = nil, except: WebSocket? = nil) {
        sockets.broadcast(message, tag: tag, except: except)
    }

    /// As above, to connections of the caller's choice. Those that are closed are left out.
    public func broadcast(_ message: WebSocketMessage, to receivers: [WebSocket]) { sockets.broadcast(message, to: receivers) }
}

/// What an object answers to a text message without being woken.
public struct WebSocketAutoResponse: Equatable, Sendable {
    /// Each at most 2,048 bytes.
    public let request: String
    public let response: String

    public init(request: String, response: String) {
        self.request = request
        self.response = response
    }
}

extension WebSocket {
    /// Keeps a value with the connection, also while the object sleeps: at most 16,384 bytes, encoded. `nil` removes it.
    ///
    /// - Throws: for a socket that `acceptWebSocket` hasn't taken, `EncodingError`.
    public func serializeAttachment(_ value: (some Encodable)?) throws {
        try ObjectSocket.of(self).setAttachment(try value.map { try BinaryValueEncoder.encode($0) })
    }

    /// What was kept; `nil` when nothing was.
    ///
    /// - Throws: `DecodingError` when it is of another type.
    public func deserializeAttachment<Value: Decodable>(as type: Value.Type = Value.self) throws -> Value? {
        try ObjectSocket.of(self).attachment.map { try BinaryValueDecoder.decode(type, from: $0) }
    }
}
