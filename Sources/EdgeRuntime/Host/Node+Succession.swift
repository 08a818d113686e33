internal import Glibc
internal import Observability
internal import Synchronization
internal import System

/// A listening socket of another process of this node, which the kernel goes on filling.
package struct InheritedListener: Sendable {
    package let role: LocalRequest.Listener
    package let asked: ListenAddress
    package let bound: ListenAddress
    /// Whoever has this value closes it.
    package let descriptor: Int32

    package init(role: LocalRequest.Listener, asked: ListenAddress, bound: ListenAddress, descriptor: Int32) {
        self.role = role
        self.asked = asked
        self.bound = bound
        self.descriptor = descriptor
    }
}

/// A client's connection between two requests: plain HTTP/1.1, with the bytes of the next request that were read already.
package struct ParkedConnection: Sendable {
    package let role: LocalRequest.Listener
    /// As its listener sends clients to https.
    package let redirectPort: UInt16?
    package let bytes: [UInt8]
    /// Whoever has this value closes it.
    package let descriptor: Int32

    package init(role: LocalRequest.Listener, redirectPort: UInt16?, bytes: [UInt8], descriptor: Int32) {
        self.role = role
        self.redirectPort = redirectPort
        self.bytes = bytes
        self.descriptor = descriptor
    }
}

/// What one process of a node leaves to the next.
///
/// The one that goes: `holdAll` leaves new connections in the kernel and parks those without a request, each of the others as
/// soon as it has its answer; then either `releaseAll`, as if nothing had been, or `abandonAll`.
/// The one that comes: `inherit` before it listens, `adopt` when it serves.
extension Node {
    // MARK: The process that goes

    /// The listening sockets, which stay this process'.
    package func listeners() async -> [InheritedListener] {
        var all: [InheritedListener] = []
        for reactor in reactors {
            all += await reactor.call {
                reactor.listeners.compactMap { listener in
                    listener.rawValue.map {
                        InheritedListener(
                            role: listener.role.listener, asked: listener.asked, bound: listener.address, descriptor: $0)
                    }
                }
            }
        }
        return all
    }

    /// Whether there are any that another process can't have: with TLS, or of HTTP/2.
    package func hasConnectionsThatStay() async -> Bool {
        for reactor in reactors {
            let has = await reactor.call {
                !reactor.http2Connections.isEmpty || reactor.connections.contains(where: \.staysHere)
            }
            if has { return true }
        }
        return false
    }

    /// Nothing new begins from now on, on any connection.
    package func holdAll() async {
        for reactor in reactors { await reactor.call { reactor.hold() } }
    }

    /// All goes on that `holdAll` has stopped.
    package func releaseAll() async {
        for reactor in reactors { await reactor.call { [context] in reactor.goOn(context) } }
    }

    /// The connections that are parked; they stay this process'.
    package func parked() async -> [ParkedConnection] {
        var all: [ParkedConnection] = []
        for reactor in reactors { all += await reactor.call { reactor.parked } }
        return all
    }

    /// Another process has the listeners and the parked connections: this one closes its part of them.
    /// Nothing new begins here from now on; connections that have their answers go on being parked, for `takeParked`.
    package func abandonAll() async {
        for reactor in reactors { await reactor.call { reactor.abandon() } }
    }

    /// The connections that were parked since `abandonAll`; the caller closes them.
    package func takeParked() async -> [ParkedConnection] {
        var all: [ParkedConnection] = []
        for reactor in reactors {
            all += await reactor.call {
                defer { reactor.parked = [] }
                return reactor.parked
            }
        }
        return all
    }

    /// What runs on in isolates can't reach stores any more.
    package func cutOffStores() { for pool in pools { pool.cutOff() } }

    /// Ends connections with TLS whose clients have sent no request in all the time that they had.
    package func endNewcomers() async {
        for reactor in reactors { await reactor.call { for connection in reactor.connections { connection.endNewcomer() } } }
    }

    /// What a node has to do before another process can have its stores.
    package struct Unfinished: Sendable {
        /// Requests whose answer hasn't begun, or that fill the cache.
        package var requestCount = 0
        /// Answers that are being sent: streams, downloads.
        package var streamCount = 0
        /// Crons, batches, and what isolates do after their answers.
        package var eventCount = 0
        /// Clients with TLS that are about to send their first request.
        package var newcomerCount = 0

        /// Whether anything needs stores, or will.
        package var isIdle: Bool { requestCount == 0 && eventCount == 0 && newcomerCount == 0 }
    }

    package func unfinished() async -> Unfinished {
        var all = Unfinished()
        for reactor in reactors {
            let one = await reactor.call { reactor.unfinished }
            all.requestCount += one.requestCount
            all.streamCount += one.streamCount
            all.eventCount += one.eventCount
            all.newcomerCount += one.newcomerCount
        }
        all.eventCount += pools.reduce(0) { $0 + $1.backgroundCount }
        return all
    }

    // MARK: The process that comes

    /// Sockets to be used, in place of own ones, where the same is asked for.
    package func inherit(_ listeners: [InheritedListener]) { state.withLock { $0.inherited += listeners } }

    func takeInherited(_ asked: ListenAddress, for role: LocalRequest.Listener) -> [InheritedListener] {
        state.withLock { state in
            let first = state.inherited.first { listener in
                listener.role == role && (listener.asked == asked || asked.port != 0 && listener.bound == asked)
            }
            guard let first else { return [] }
            // One for each of the other process' reactors.
            let found = state.inherited.filter { $0.role == role && $0.bound == first.bound }
            state.inherited.removeAll { $0.role == role && $0.bound == first.bound }
            return found
        }
    }

    /// Closes inherited sockets that nothing listens on any more.
    package func closeInherited() {
        let left = state.withLock { state in
            defer { state.inherited = [] }
            return state.inherited
        }
        for listener in left { close(listener.descriptor) }
    }

    /// Goes on with connections of the other process, as if they had always been this one's.
    package func adopt(_ connections: [ParkedConnection]) async {
        for (index, reactor) in reactors.enumerated() {
            let share = connections.enumerated().filter { $0.offset % reactors.count == index }.map(\.element)
            await reactor.call { [context] in for connection in share { reactor.adopt(connection, context) } }
        }
    }
}

// Reactor thread only.
extension Reactor {
    func hold() {
        isHolding = true
        for listener in listeners { listener.hold() }
        for connection in connections {
            if !park(connection) { connection.endIfServed() }
        }
        for connection in http2Connections { connection.hold() }
        // Clients of hibernating WebSockets aren't read from now on: `ObjectSocket.canReceive`.
    }

    /// - Returns: false when it has something to do, or can't be handed on.
    @discardableResult
    func park(_ connection: Connection) -> Bool {
        guard let one = connection.park() else { return false }
        parked.append(one)
        return true
    }

    func goOn(_ node: NodeContext) {
        isHolding = false
        let connections = parked
        parked = []
        for connection in connections { adopt(connection, node) }
        objects.goOn()
        for listener in listeners {
            do throws(SystemError) { try listener.open() } catch { logger.log(.error, "cannot listen any more: \(error)") }
        }
    }

    func abandon() {
        for connection in parked { close(connection.descriptor) }
        parked = []
        for listener in listeners { listener.abandon() }
        listeners = []
        objects.abandon()
        noteSuccessor()
    }

    /// - Returns: `nil` when the client has gone meanwhile.
    func peer(of descriptor: Int32, _ node: NodeContext) -> Client? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        // SAFETY: sockaddr_storage is large enough for any address, and the length says so.
        let result = unsafe withUnsafeMutablePointer(to: &storage) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe getpeername(descriptor, $0, &length)
            }
        }
        guard result == 0 else { return nil }
        let address = NetworkAddress(storage)
        return Client(address, isTrusted: node.trustedProxies.withLock { $0.contains(address) }, scheme: .http)
    }

    func adopt(_ parked: ParkedConnection, _ node: NodeContext) {
        let socket = Descriptor(owning: parked.descriptor)
        guard let client = peer(of: parked.descriptor, node) else { return }
        let address = client.address
        guard node.admission.admit(address, isExempt: client.isTrusted) else {
            counters.connectionsRefused += 1
            return
        }
        do throws(SystemError) {
            let connection = try Connection(
                socket, client: client, role: ListenerRole(parked.role),
                security: parked.redirectPort.map { .redirecting(toPort: $0) } ?? .plain, reactor: self, node: node)
            connection.goOn(with: parked.bytes)
        } catch {
            node.admission.leave(address, isExempt: client.isTrusted)
            logger.log(.error, "cannot watch a connection: \(error)")
        }
    }
}
