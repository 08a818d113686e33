internal import Isolates
internal import Observability
internal import System

/// How many isolates a version may have.
package struct PoolSize: Sendable, Equatable {
    /// 0: none while nobody asks.
    package var min: Int
    package var max: Int
    /// An isolate beyond `min` that had nothing to do for so long is ended.
    package var idleTimeout: Duration

    package init(min: Int, max: Int, idleTimeout: Duration) {
        self.min = min
        self.max = max
        self.idleTimeout = idleTimeout
    }
}

/// Starts and ends isolates: the supervisor, or what stands for it in tests.
protocol IsolateSpawner: Sendable {
    func reserveID() -> IsolateID
    func spawn(_ specification: IsolateSpecification, as id: IsolateID?) async throws(SpawnError) -> SpawnedIsolate
    func kill(_ id: IsolateID, reason: KillReason)
}

extension Supervisor: IsolateSpawner {}

/// What pools need of their node.
struct PoolEnvironment: Sendable {
    let reactors: [Reactor]
    let spawner: any IsolateSpawner
    let directory: IsolateDirectory
    let clock: any NodeClock
    let logger: Logger
    /// How long WebSockets stay with an isolate that is to end.
    var webSocketDrain = Duration.seconds(300)
    /// Whether the events are logged that no client sent, as requests are.
    var logsEvents = false
}
