internal import HTTP
internal import Interfaces
internal import OpenSSL
internal import Wire

/// The answer of a worker that makes a WebSocket of the connection.
extension HTTPStream {
    /// Takes the answer 101 of `event`.
    func becomeWebSocket(
        _ event: EventStream, _ head: ReplyHead, _ message: UnsafeRawBufferPointer
    ) throws(WireError) {
        guard parser.head.isWebSocketUpgrade, head.hasBody, exchange.unconsumedHead > 0, !requestBody.isPending else {
            node.logger.log(
                .error,
                "Worker tried to return a WebSocket in a response to a request which did not contain the header \"Upgrade: websocket\".",
                event.channel.isolate.logFields)
            return refuseWebSocket(of: event) { $0.answer(.exception) }
        }
        let handshake: WebSocketHandshake
        do {
            handshake = try WebSocketHandshake(method: "GET", headers: handshakeHeaders())
        } catch {
            return refuseWebSocket(of: event) { stream in
                let text = Array("\(error.description)\n".utf8)
                stream.consumeHead()
                stream.sendHead(
                    status: error.status,
                    headers: [("Content-Type", "text/plain; charset=utf-8")]
                        + error.headers.filter { $0.name != "connection" }, bodyLength: text.count)
                stream.startResponseBody(.stored(.bytes(text)))
            }
        }
        let lines = try unsafe headerLines(head, message, handshake)
        if let socket = event.hibernatingSocket(head) {
            self.event = nil
            guard let opening = switchProtocols(handshake, lines) else { return socket.refuse() }
            return socket.attach(WebSocketLink(opening, side: .server, delivery: .whole, reactor: reactor))
        }
        let stream = try event.socketStream(head)
        self.event = nil
        guard let opening = switchProtocols(handshake, lines) else { return stream.reset(.cancelled) }
        let link = WebSocketLink(opening, side: .server, delivery: .inPieces, reactor: reactor)
        WorkerSocket(link, idleTimeout: node.settings.webSocketIdleTimeout).begin(with: stream)
    }

    private func switchProtocols(_ handshake: WebSocketHandshake, _ lines: [UInt8]) -> WebSocketLink.Opening? {
        consumeHead()
        let accept = WebSocketHandshake.accept(handshake.key) { Digest.hash($0, with: .sha1) }
        return switchProtocols(accept: accept, lines, PerMessageDeflate(handshake.extensions))
    }

    private func refuseWebSocket(of event: EventStream, _ answer: (HTTPStream) -> Void) {
        self.event = nil
        event.abandon(.cancelled)
        answer(self)
    }

    /// What the handshake looks at.
    private func handshakeHeaders() -> [(name: String, value: String)] {
        unsafe input.withReadable { bytes in
            let span = unsafe bytes.bytes
            return (0..<parser.head.fields.count).map { index in
                let field = parser.head.fields[index]
                return (span.text(field.name).lowercased(), span.text(field.value))
            }
        }
    }

    /// The worker's own headers, as lines; the protocol that it chose is said only when the client offers it.
    private func headerLines(
        _ head: ReplyHead, _ message: UnsafeRawBufferPointer, _ handshake: WebSocketHandshake
    ) throws(WireError) -> [UInt8] {
        let bytes = unsafe message.bytes
        var cursor = HeaderBlockCursor(count: head.headerCount, from: ReplyHead.byteCount)
        var lines: [UInt8] = []
        while let entry = try cursor.next(bytes) {
            let (name, value) = (bytes.extracting(entry.name.range), bytes.extracting(entry.value.range))
            let known = KnownHeader.identify(name)
            switch known {
            case .secWebSocketKey, .secWebSocketVersion, .secWebSocketExtensions, .contentLength, .date, .server, .cfRay:
                continue
            case .secWebSocketProtocol:
                guard handshake.subprotocols.contains(bytes.text(entry.value)) else {
                    node.logger.log(
                        .warning, "the worker chose a WebSocket protocol that the client doesn't offer", [("ray", rayText)])
                    continue
                }
            default:
                let text = bytes.text(entry.name).lowercased()
                guard !known.isHopByHop, HeaderRules.isValidName(name), !isInternalName(name), text != "sec-websocket-accept"
                else { continue }
            }
            guard HeaderRules.isValidValue(value) else { continue }
            lines += Array("\(bytes.text(entry.name)): \(bytes.text(entry.value))\r\n".utf8)
        }
        return lines
    }
}
