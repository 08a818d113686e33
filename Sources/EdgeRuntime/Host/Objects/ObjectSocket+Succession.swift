internal import HTTP
internal import Interfaces
internal import System
internal import Wire

// Hibernating WebSockets go with the node when another process becomes it (`edge upgrade`), while no object is in memory:
//
// 1. *Hold*: no client is read any more. What objects are hearing ends first.
// 2. `park`: nothing is read or written any more; what a socket has is said to the other process, with its connection.
// 3. The other process knows the sockets before it opens an object (`ObjectSpace.inherit`), and has what objects say to them
//    wait. It uses the connections when it is the node (`adoptSockets`).
// 4. This one lets go of them (`abandon`). Or all stays here after all: `goOn`.
//
// Connections with TLS and of HTTP/2, and those in the middle of a compressed message, can't be used elsewhere: these clients hear
// 1012 from this process, and their objects in the other one that they have gone.

/// A socket of another process, until its connection may be used.
struct InheritedSocket {
    let socket: ObjectSocket
    let connection: ParkedObjectSocket.Connection?
    let descriptor: Int32?
}

/// A socket that this process may leave to another one.
struct ParkedHere: Sendable {
    let namespace: ObjectNamespace
    let socket: ParkedObjectSocket
    /// Of all sockets of a tenant.
    let order: UInt64
    let descriptor: Int32?

    var space: ObjectSpace { namespace.space }
}

// Reactor thread only.
extension ObjectLines {
    func park() -> [ParkedHere] { sockets.values.compactMap { $0.park() } }

    func goOn() { for socket in Array(sockets.values) { socket.goOn() } }

    func abandon() {
        let abandoned = sockets
        sockets = [:]
        for socket in abandoned.values { socket.abandon() }
    }

    func inherit(_ parked: ParkedObjectSocket, _ namespace: ObjectNamespace, descriptor: Int32?) {
        let socket = ObjectSocket(parked.state.id, continuing: parked, namespace, on: reactor)
        sockets[parked.state.id.rawValue] = socket
        inherited.append(InheritedSocket(socket: socket, connection: parked.connection, descriptor: descriptor))
    }

    /// This process is the node: goes on with `count` of the connections.
    ///
    /// - Returns: whether there are more.
    func adoptInherited(_ count: Int, _ node: NodeContext) -> Bool {
        let some = inherited.prefix(count)
        inherited.removeFirst(some.count)
        for item in some {
            if let descriptor = item.descriptor, let connection = item.connection {
                adopt(item.socket, Descriptor(owning: descriptor), connection, node)
            } else {
                item.socket.goOn()
            }
        }
        return !inherited.isEmpty
    }

    private func adopt(
        _ socket: ObjectSocket, _ descriptor: consuming Descriptor, _ connection: ParkedObjectSocket.Connection,
        _ node: NodeContext
    ) {
        guard let client = reactor.peer(of: descriptor.rawValue, node) else { return socket.refuse() }
        guard node.admission.admit(client.address, isExempt: client.isTrusted) else {
            reactor.counters.connectionsRefused += 1
            Self.sayGoodbye(Transport(descriptor), connection)
            return socket.refuse()
        }
        reactor.connectionCount += 1
        var opening = WebSocketLink.Opening(
            transport: Transport(descriptor), compression: connection.windowBits.map { PerMessageDeflate(windowBits: $0) },
            isClosing: connection.isClosing, place: WebSocketLink.Place(client: client, node: node))
        opening.input.append(connection.input)
        opening.output.append(connection.output)
        socket.attach(WebSocketLink(opening, side: .server, delivery: .whole, reactor: reactor))
    }

    /// Nobody goes on with a connection.
    static func sayGoodbye(_ transport: consuming Transport, _ connection: ParkedObjectSocket.Connection) {
        var goodbye = ByteBuffer()
        goodbye.append(connection.output)
        if !connection.isClosing {
            goodbye.appendWebSocketClose(.serviceRestart, reason: "the node was replaced: connect again")
        }
        _ = transport.write(from: &goodbye)
        transport.close()
    }
}

extension ObjectSocket {
    /// - Returns: `nil` when there is nothing to leave: its client is still on the way.
    func park() -> ParkedHere? {
        guard link != nil || isGone, let (state, order) = space.parkedState(of: id, of: object) else { return nil }
        var connection: ParkedObjectSocket.Connection?
        var descriptor: Int32?
        if event == nil, lastWord == nil, let link, link.park() {
            connection = link.parkedConnection
            descriptor = connection == nil ? nil : link.descriptor
        }
        let parked = ParkedObjectSocket(
            object: object, state: state, connection: connection, frames: connection == nil ? [] : waitingFrames,
            isInMessage: isInMessage, close: close,
            lastWord: connection == nil ? lastWord ?? .close(.disconnected) : nil)
        return ParkedHere(namespace: namespace, socket: parked, order: order, descriptor: descriptor)
    }
}

extension WebSocketLink {
    /// How far it has come, while it is parked.
    var parkedConnection: ParkedObjectSocket.Connection? {
        guard isParked, let begun = reader.begun else { return nil }
        var pongs = ByteBuffer()
        for payload in sending.pongs { pongs.appendWebSocketFrame(.pong, payload) }
        return ParkedObjectSocket.Connection(
            isClosing: phase == .closing, windowBits: compression?.windowBits, input: begun + input.bytes,
            output: output.bytes + pongs.bytes)
    }
}

extension ByteBuffer {
    fileprivate var bytes: [UInt8] { unsafe withReadable { unsafe Array($0) } }
}

extension ObjectSpace {
    func parkedState(of socket: SocketID, of id: ObjectID) -> (ObjectSocketState, order: UInt64)? {
        withRegistry { registry in registry[id]?.sockets[socket].map { ($0.state, $0.order) } }
    }

    func parked(_ id: ObjectID, in namespace: ObjectNamespace) -> ParkedObject {
        withRegistry { registry in
            let entry = registry[id]
            return ParkedObject(
                id: id,
                namespace: ParkedObject.Namespace(
                    id: namespace.id, key: namespace.key, worker: namespace.worker, className: namespace.className,
                    hasSQL: namespace.hasSQL),
                name: entry?.name, autoResponse: entry?.autoResponse, eventTimeout: entry?.eventTimeout)
        }
    }

    /// Takes what another process of the node has left of this tenant's objects. Before any namespace is served: the first that is
    /// said to an object has to name its sockets.
    ///
    /// - Parameter first: Numbers of sockets begin there, and are used for nothing else in this process.
    package func inherit(_ legacies: [SocketLegacy], numbersFrom first: UInt64) throws(SocketLegacyError) {
        var namespaces: [String: ObjectNamespace] = [:]
        var owners: [ObjectID: ObjectNamespace] = [:]
        var shares = [[(ParkedObjectSocket, ObjectNamespace, Int32?)]](repeating: [], count: reactors.count)
        for (index, legacy) in legacies.enumerated() {
            switch try Self.record(of: legacy) {
            case .object(let object):
                let known = object.namespace
                let namespace =
                    namespaces[known.id]
                    ?? ObjectNamespace(
                        id: known.id, key: known.key, worker: known.worker, className: known.className, hasSQL: known.hasSQL,
                        space: self)
                namespaces[known.id] = namespace
                owners[object.id] = namespace
                inherit(object)
            case .socket(var socket):
                guard let namespace = owners[socket.object], (socket.connection == nil) == (legacy.descriptor == nil) else {
                    throw SocketLegacyError(description: "a WebSocket without its object, or without its connection")
                }
                let reactor = index % reactors.count
                socket.state.id = SocketID(reactor: reactor, number: Self.inheritedNumbers | first + UInt64(index))
                guard addSocket(socket.state, to: socket.object, in: namespace) else {
                    throw SocketLegacyError(description: "more WebSockets of an object than it may have")
                }
                shares[reactor].append((socket, namespace, legacy.descriptor))
            }
        }
        for (reactor, share) in zip(reactors, shares) where !share.isEmpty {
            reactor.post {
                for (socket, namespace, descriptor) in share {
                    reactor.objects.inherit(socket, namespace, descriptor: descriptor)
                }
            }
        }
    }

    /// The upper half of all numbers: reactors count theirs from 1.
    private static let inheritedNumbers: UInt64 = 1 << 47

    private static func record(of legacy: SocketLegacy) throws(SocketLegacyError) -> ParkedRecord {
        do { return try ParkedRecord(legacy.record) } catch { throw SocketLegacyError(description: "\(error)") }
    }
}

/// What another process says of its WebSockets can't be understood.
package struct SocketLegacyError: Error, CustomStringConvertible {
    package let description: String
}

extension Node {
    // MARK: The process that goes

    /// Hibernating WebSockets, once no object is in memory. They stay this process' until `abandonAll`, and rest until then or
    /// until `releaseAll`.
    package func parkSockets() async -> [SocketLegacy] {
        var parked: [ParkedHere] = []
        for reactor in reactors { parked += await reactor.call { reactor.objects.park() } }
        parked.sort { ($0.space.tenant, $0.order) < ($1.space.tenant, $1.order) }
        var legacies: [SocketLegacy] = []
        var tenant = ""
        var told: Set<ObjectID> = []
        for one in parked {
            if one.space.tenant != tenant { told = [] }
            tenant = one.space.tenant
            if told.insert(one.socket.object).inserted {
                let object = one.space.parked(one.socket.object, in: one.namespace)
                legacies.append(SocketLegacy(tenant: tenant, record: ParkedRecord.object(object).bytes, descriptor: nil))
            }
            legacies.append(
                SocketLegacy(tenant: tenant, record: ParkedRecord.socket(one.socket).bytes, descriptor: one.descriptor))
        }
        return legacies
    }

    // MARK: The process that comes

    /// Goes on with the connections of WebSockets that `ObjectSpace.inherit` has got.
    package func adoptSockets() async {
        for reactor in reactors {
            while await reactor.call({ [context] in reactor.objects.adoptInherited(Self.adoptedAtOnce, context) }) {}
        }
    }

    /// Other clients of a reactor wait no longer than these take.
    private static let adoptedAtOnce = 500

    /// Ends connections of WebSockets that nobody has inherited.
    package func refuse(_ legacies: [SocketLegacy]) {
        for legacy in legacies {
            guard let number = legacy.descriptor else { continue }
            let transport = Transport(Descriptor(owning: number))
            guard case .socket(let socket)? = try? ParkedRecord(legacy.record), let connection = socket.connection else {
                transport.close()
                continue
            }
            ObjectLines.sayGoodbye(transport, connection)
        }
    }
}
