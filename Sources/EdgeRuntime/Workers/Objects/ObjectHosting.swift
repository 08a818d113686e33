package import Interfaces
package import System

/// What the room DurableObjects adds to an isolate's loop: a worker that has no objects links nothing of it.
package protocol ObjectHosting: AnyObject {
    /// The classes that the worker has.
    var classes: [(name: String, hasAlarm: Bool)] { get }
    func configured(_ configuration: IsolateConfiguration)

    /// The object comes here. Its code begins to run by `construct`, in the name of the event.
    func prepare(_ message: ObjectOpenMessage, _ scope: ObjectScope) throws
    func construct(_ id: [UInt8]) throws -> ObjectOpenReply
    /// The object's gates, as long as it is here.
    func scope(of id: [UInt8]) -> ObjectScope?
    func instance(_ id: [UInt8]) -> (any ObjectInstance)?
    /// Asks each object's scope.
    func checkForDeadlocks(_ now: Instant, grace: Duration)
    /// Ends when the object is gone, or says at once that it stays.
    func close(_ message: ObjectCloseMessage) async -> ObjectCloseReply
}

/// An object that is there: what its events call, each behind the input gate.
package protocol ObjectInstance: AnyObject {
    var methods: RPCTable { get }
    /// Whoever calls knows it by this name.
    func noteName(_ name: String?)
    /// - Parameter socket: What the client's WebSocket is called if the object lets it hibernate.
    func fetch(_ request: Request) async throws -> Response
    func alarm(_ message: ObjectAlarmMessage) async throws -> ObjectAlarmReply
    /// How long a handler of a WebSocket's event may take, in milliseconds.
    var socketEventTimeout: Int? { get }
    /// - Parameter payload: The message's bytes, where the event's body had them.
    func socket(_ message: ObjectSocketMessage, payload: [UInt8]?) async throws
}
