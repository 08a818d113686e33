package import Interfaces

/// A WebSocket that the node keeps for a durable object, which may sleep meanwhile.
package protocol HibernatingSocket: AnyObject {
    /// What the node is to keep with it.
    var hibernation: HibernationMessage { get }
    var readyState: WebSocket.ReadyState { get }
    /// The answer has gone out: from now on it is known to the node.
    func opened(_ id: SocketID)
    func send(_ kind: SocketRecord.Kind, _ bytes: [UInt8]) throws
    /// The code and the reason were checked.
    func close(_ close: SocketClose)
}

extension WebSocket {
    /// The end of a connection that the node has kept.
    package convenience init(_ socket: any HibernatingSocket) { self.init(SocketEnd(socket)) }

    package var hibernating: (any HibernatingSocket)? { end.hibernating }
    package var isAccepted: Bool { end.isAccepted }

    /// Leaves the connection to the node.
    ///
    /// - Throws: a TypeError for what is no unaccepted end of a pair.
    package func accept(hibernating socket: any HibernatingSocket) throws { try end.accept(socket) }
}

extension WebSocketClose {
    package init(of close: SocketClose) { self.init(close) }
}
