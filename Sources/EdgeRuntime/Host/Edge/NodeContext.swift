package import HTTP
internal import Observability
internal import Synchronization
internal import System

/// How a node behaves at its edge. Values only; read by every reactor.
package struct EdgeSettings: Sendable {
    package enum ErrorPages: Sendable { case trace, plain }

    package var limits = HTTPLimits()
    package var trustedProxies = TrustedProxies.none
    package var errorPages = ErrorPages.plain
    /// Three letters, at the end of `CF-Ray`.
    package var colo = "LOC"
    package var logsRequests = false
    /// From the first byte of a head to its end: a slow client holds its place no longer.
    package var headTimeout = Duration.seconds(10)
    /// Between two requests of one connection.
    package var idleTimeout = Duration.seconds(75)
    /// Without any byte of a body, either way.
    package var bodyTimeout = Duration.seconds(30)
    /// After so long without a message a worker's WebSocket is closed; `nil`: never.
    package var webSocketIdleTimeout: Duration?
    /// How long WebSockets stay with an isolate that was replaced.
    package var webSocketDrain = Duration.seconds(300)
    /// Descriptors and some 20 KiB each at work bound the node.
    package var connectionsMax = 65_536
    /// One client behind one address; browsers use six, load generators thousands.
    package var connectionsPerAddressMax = 16_384

    package init() {}

    /// Leaves descriptors for what isn't a connection: isolates' channels, stores' files, requests of workers.
    mutating func fitConnections(to descriptorsMax: Int) {
        let left = max(64, descriptorsMax - max(512, descriptorsMax / 8))
        connectionsMax = min(connectionsMax, left)
        connectionsPerAddressMax = min(connectionsPerAddressMax, max(32, connectionsMax / 2))
    }
}

/// What all reactors of a node share.
final class NodeContext: Sendable {
    let settings: EdgeSettings
    /// `settings.trustedProxies`, which an operator may change; asked once per connection.
    let trustedProxies: Mutex<TrustedProxies>
    let logger: Logger
    let clock: any NodeClock
    let admission: Admission
    /// Answers on the control listener and under `/cdn-cgi/`.
    let local: any LocalHandler
    /// What each client must pass, whichever worker it asks.
    let clientLimit: (any RequestLimit)?
    /// `settings.idleTimeout`, which each request adds to a time.
    let idleNanoseconds: Int64

    init(
        settings: EdgeSettings, logger: Logger, clock: any NodeClock, local: any LocalHandler,
        clientLimit: (any RequestLimit)? = nil
    ) {
        self.clientLimit = clientLimit
        self.settings = settings
        trustedProxies = Mutex(settings.trustedProxies)
        self.logger = logger
        self.clock = clock
        self.local = local
        idleNanoseconds = settings.idleTimeout.wholeNanoseconds
        admission = Admission(
            connectionsMax: settings.connectionsMax, perAddressMax: settings.connectionsPerAddressMax)
    }
}
