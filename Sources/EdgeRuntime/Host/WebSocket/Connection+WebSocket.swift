internal import HTTP
internal import System
internal import Wire

/// The end of HTTP on a connection: a `WebSocketConnection` goes on with its socket.
extension Connection {
    /// Makes a WebSocket of the connection of `stream`, whose request `ray` a local handler has answered so. It may be gone by
    /// now, or be about another request.
    static func upgrade(_ stream: HTTPStream?, to upgrade: WebSocketUpgrade, ray: UInt64) {
        if let stream, stream.phase == .exchanging, stream.exchange.ray == ray, stream.exchange.isLocal,
            !stream.exchange.isHeadSent
        {
            // A body, or a version of HTTP that knows no such upgrades: whatever the client means, it is no WebSocket.
            if let connection = stream as? Connection, connection.exchange.minorVersion >= 1,
                connection.exchange.method == .get, !connection.requestBody.isPending
            {
                if connection.hand(over: upgrade) { return }
            } else {
                stream.exchange.mustClose = true
                stream.answer(.badRequest(status: 400, reason: "this request can't become a WebSocket"))
            }
        }
        upgrade.session.ended(.abnormal, reason: "the client was gone")
    }

    private func hand(over upgrade: WebSocketUpgrade) -> Bool {
        guard let transport = transport.take() else { return false }
        exchange.status = 101
        exchange.finish(on: self)
        writeSwitch(upgrade)
        WebSocketConnection.start(
            leave(transport, compression: upgrade.compression), session: upgrade.session, reactor: reactor)
        return true
    }

    /// Ends HTTP here: from now on this object has no socket, and does nothing when it is called. What it has read and not used,
    /// and what it has not written yet, goes on with the socket.
    func leave(_ transport: consuming Transport, compression: PerMessageDeflate?) -> WebSocketLink.Opening {
        phase = .closed
        reactor.unwatch(self, transport.rawValue)
        retainedConsumer = nil
        bodyConsumer = nil
        var opening = WebSocketLink.Opening(
            transport: transport, compression: compression, place: WebSocketLink.Place(client: client, node: node))
        swap(&opening.output, &output)
        swap(&opening.input, &input)
        return opening
    }

    private func writeSwitch(_ upgrade: WebSocketUpgrade) {
        output.append("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" as StaticString)
        output.append("Sec-WebSocket-Accept: \(upgrade.accept)\r\n")
        if let subprotocol = upgrade.subprotocol { output.append("Sec-WebSocket-Protocol: \(subprotocol)\r\n") }
        if let compression = upgrade.compression { output.append("Sec-WebSocket-Extensions: \(compression.answer)\r\n") }
        output.append(reactor.cachedDate.lines)
        output.append(rayText + "\r\n\r\n")
    }
}
