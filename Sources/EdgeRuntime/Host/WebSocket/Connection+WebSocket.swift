internal import HTTP
internal import System
internal import Wire

/// The end of HTTP on a connection: a `WebSocketLink` goes on with its socket.
extension Connection {
    /// What `switchProtocols` does here.
    func becomeWebSocket(
        accept: String, _ lines: [UInt8], _ compression: PerMessageDeflate?
    ) -> WebSocketLink.Opening? {
        // A body, or a version of HTTP that knows no such upgrades: whatever the client means, it is no WebSocket.
        guard exchange.minorVersion >= 1, exchange.method == .get, !requestBody.isPending, let transport = transport.take()
        else {
            return nil
        }
        output.append("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" as StaticString)
        output.append("Sec-WebSocket-Accept: \(accept)\r\n")
        appendSwitch(lines, compression)
        exchange.status = 101
        noteEnd()
        phase = .closed
        reactor.unwatch(self, transport.rawValue)
        leaveExchange()
        var opening = WebSocketLink.Opening(
            transport: transport, compression: compression, place: WebSocketLink.Place(client: client, node: node))
        // What was read and not used, and what was not written yet.
        swap(&opening.output, &output)
        swap(&opening.input, &input)
        return opening
    }
}

extension HTTPStream {
    /// Makes a WebSocket of what carries `stream`, whose request `ray` a local handler has answered so. It may be gone by now, or
    /// be about another request.
    static func upgrade(_ stream: HTTPStream?, to upgrade: WebSocketUpgrade, ray: UInt64) {
        if let stream, stream.phase == .exchanging, stream.exchange.ray == ray, stream.exchange.isLocal,
            !stream.exchange.isHeadSent
        {
            let lines = upgrade.subprotocol.map { Array("Sec-WebSocket-Protocol: \($0)\r\n".utf8) } ?? []
            if let opening = stream.switchProtocols(accept: upgrade.accept, lines, upgrade.compression) {
                return WebSocketConnection.start(opening, session: upgrade.session, reactor: stream.reactor)
            }
            stream.exchange.mustClose = true
            stream.answer(.badRequest(status: 400, reason: "this request can't become a WebSocket"))
        }
        upgrade.session.ended(.abnormal, reason: "the client was gone")
    }

    /// The lines that both versions of HTTP have when they switch, and the end of the head.
    func appendSwitch(_ lines: [UInt8], _ compression: PerMessageDeflate?) {
        output.append(lines)
        if let compression { output.append("Sec-WebSocket-Extensions: \(compression.answer)\r\n") }
        output.append(reactor.cachedDate.lines)
        output.append(rayText + "\r\n\r\n")
    }
}
