/// The class of objects that exist once: each has a name or a number, its own memory and its own storage, and lives in one place
/// at a time.
///
/// ```swift
/// final class Counter: DurableObject, DurableObjectFetchHandler {
///     private let state: DurableObjectState
///
///     init(state: DurableObjectState, env: Env) throws { self.state = state }
///
///     func fetch(_ request: Request) async throws -> Response {
///         let count = (try state.storage.kv.get("count", as: Int.self) ?? 0) + 1
///         try state.storage.kv.put("count", count)
///         return .text("\(count)")  // Leaves when the write is on the disk.
///     }
/// }
/// ```
///
/// An instance is made before the first event, and again after the object slept, was moved or was reset: what has to last is in
/// `state.storage`. All its code runs on one thread, and events interleave only where it awaits something that isn't storage.
/// What `init` throws goes to whoever called; the next call tries again.
///
/// See docs/durable-objects.md.
public protocol DurableObject: AnyObject {
    /// The name by which the configuration knows the class: that of the Swift class, unless it says otherwise.
    static var className: String { get }

    /// Runs before the first event. May begin work that others have to wait for: `state.blockConcurrencyWhile`.
    init(state: DurableObjectState, env: Env) throws
}

extension DurableObject {
    public static var className: String { String(describing: Self.self) }
}

/// An object that answers HTTP requests: those of `DurableObjectStub.fetch`.
public protocol DurableObjectFetchHandler: DurableObject {
    func fetch(_ request: Request) async throws -> Response
}

/// An object that may set alarms.
public protocol DurableObjectAlarmHandler: DurableObject {
    /// Runs when the alarm is due, at least once. One that throws is tried again, up to six times, later each time.
    func alarm(_ info: AlarmInfo) async throws
}

/// An object whose WebSockets may hibernate: those given to `state.acceptWebSocket`.
public protocol DurableObjectWebSocketHandler: DurableObject {
    /// The next message comes when this has returned; those of other sockets may come meanwhile.
    func webSocketMessage(_ socket: WebSocket, _ message: WebSocketMessage) async throws
    /// The client has closed, and was answered; or it is gone (code 1006, not clean).
    func webSocketClose(_ socket: WebSocket, _ close: WebSocketClose) async throws
    func webSocketError(_ socket: WebSocket, _ error: any Error) async throws
}

extension DurableObjectWebSocketHandler {
    public func webSocketClose(_ socket: WebSocket, _ close: WebSocketClose) async throws {}
    public func webSocketError(_ socket: WebSocket, _ error: any Error) async throws {}
}

/// A worker that has classes of durable objects.
///
/// ```swift
/// @main final class Chat: FetchHandler, DurableObjectWorker {
///     static var durableObjects: [any DurableObject.Type] { [Room.self, Member.self] }
///     …
/// }
/// ```
public protocol DurableObjectWorker: Worker {
    static var durableObjects: [any DurableObject.Type] { get }
}

extension DurableObjectWorker {
    /// The isolate's entry point, for `@main`. Does not return.
    public static func main() { main(objects: ObjectIsolate(durableObjects)) }
}

/// Which run of an alarm this is.
public struct AlarmInfo: Equatable, Sendable {
    /// Runs before this one that failed.
    public let retryCount: Int
    public let isRetry: Bool
    /// What `setAlarm` asked for, in milliseconds since 1970.
    public let scheduledTime: Int64
}
