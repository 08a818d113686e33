internal import ControlPlane
internal import Glibc
internal import Host
internal import Observability
internal import Releases
internal import Synchronization
internal import System

/// The process of this node that ran until now, as the one that follows it sees it.
final class Predecessor: Sendable {
    private let socket: RecordSocket
    /// Of the upgrade, over all processes of the node.
    private let state = Mutex(State())

    private struct State {
        var number: Int64 = 0
        var parked: [ParkedConnection] = []
        var sockets: [SocketLegacy] = []
        /// Of those, with a connection.
        var socketCount = 0
        /// Sockets that tenants have got are numbered up to here.
        var inheritedCount: UInt64 = 0
        /// It has ended before it could say so: what it had is free.
        var isGone = false
        var heldMilliseconds: Int64 = 0
    }

    /// The other one decides how long all may take, and ends this one.
    private static let patience = Duration.seconds(3600)

    /// `nil`: this process is the node's first.
    static func find() -> Predecessor? {
        // SAFETY: getenv's result is copied at once; nothing else runs yet that reads the environment.
        guard let text = unsafe getenv(HandOver.variable).map({ unsafe String(cString: $0) }), let number = Int32(text) else {
            return nil
        }
        unsafe unsetenv(HandOver.variable)
        return Predecessor(RecordSocket(owning: number))
    }

    private init(_ socket: RecordSocket) { self.socket = socket }

    var number: Int64 { state.withLock { $0.number } }
    /// How long requests had to wait.
    var heldMilliseconds: Int64 { state.withLock { $0.heldMilliseconds } }
    /// WebSockets that go on here.
    var socketCount: Int { state.withLock { $0.socketCount } }

    /// Takes over the listening sockets, and returns when the state directory is free.
    func awaitRelease(to node: Node) async throws {
        let socket = socket
        try await HandOver.blocking { () throws(SystemError) in
            try socket.send("hello \(HandOver.protocolVersion) \(Edge.version)\n\(StateDirectory.format)")
        }
        while true {
            guard let record = try await next() else { return }
            guard let (number, isAll, listeners) = HandOver.readListeners(record) else {
                throw SystemError("recvmsg", errno: EPROTO, on: "the process before")
            }
            state.withLock { $0.number = number }
            node.inherit(listeners)
            if isAll { break }
        }
        try await HandOver.blocking { () throws(SystemError) in try socket.send("prepared") }
        while let record = try await next() {
            if record.text.hasPrefix("sockets") {
                let sockets = try HandOver.readSockets(record)
                state.withLock { state in
                    state.sockets += sockets
                    state.socketCount += sockets.count { $0.descriptor != nil }
                }
                continue
            }
            guard record.text.hasPrefix("connections") else { return }
            let connections = try HandOver.readConnections(record)
            state.withLock { $0.parked += connections }
        }
    }

    /// Gives a tenant's objects the WebSockets that they had. Before they are served.
    func leaveSockets(to objects: ObjectSpace, of tenant: String) throws(SocketLegacyError) {
        let (own, first) = state.withLock { state in
            let own = state.sockets.filter { $0.tenant == tenant }
            state.sockets.removeAll { $0.tenant == tenant }
            defer { state.inheritedCount += UInt64(own.count) }
            return (own, state.inheritedCount)
        }
        try objects.inherit(own, numbersFrom: first)
    }

    /// - Returns: `nil` when the other process has ended.
    private func next() async throws(SystemError) -> RecordSocket.Record? {
        let socket = socket
        let record = try await HandOver.blocking { () throws(SystemError) in try socket.receive(within: Self.patience) }
        if record == nil { state.withLock { $0.isGone = true } }
        return record
    }

    /// This process serves: returns when it is the node. Its listeners take connections then, and it goes on with the other
    /// one's.
    func takeOver(_ node: Node, _ logger: Logger) async throws {
        let socket = socket
        if !state.withLock({ $0.isGone }) {
            try? await HandOver.blocking { () throws(SystemError) in try socket.send("serving") }
            // Without an answer the other one has ended, and this one has all that there is.
            if let record = try await next() {
                let held = record.text.split(separator: " ").last.flatMap { Int64($0) } ?? 0
                state.withLock { $0.heldMilliseconds = held }
                try? await HandOver.blocking { () throws(SystemError) in try socket.send("accepted") }
            }
        }
        node.closeInherited()
        let (parked, unwanted) = state.withLock { state in
            defer { (state.parked, state.sockets) = ([], []) }
            return (state.parked, state.sockets)
        }
        // Before anybody new: they have their places already.
        await node.adoptSockets()
        if !unwanted.isEmpty { logger.log(.warning, "WebSockets of tenants that aren't served any more are closed") }
        node.refuse(unwanted)
        try await node.letClientsIn()
        await node.adopt(parked)
        // Ends with the other process, which has a limit.
        SystemThread(name: "edge-upgrade") {
            while let record = try? socket.receive(within: Self.patience) {
                do throws(SystemError) {
                    let late = try HandOver.readConnections(record)
                    Task { await node.adopt(late) }
                } catch { logger.log(.error, "connections of the process before are lost: \(error)") }
            }
        }.start()
    }
}
