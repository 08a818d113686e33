internal import HTTP
internal import Observability
internal import System
internal import TLS
internal import Wire

/// The start of a TLS connection, and what a listener does with clients that speak the other language.
extension Connection {
    /// Goes on with the handshake as far as the client's bytes reach.
    func shakeHands() {
        // Otherwise epoll reports it again at once, after those that are waiting now.
        guard reactor.takeHandshakeStep(), let session = transport?.tls else { return }
        if !session.hasBegun, let first = transport?.peekFirstByte(), Self.startsPlainRequest(first) {
            return refusePlainRequest()
        }
        switch session.handshake() {
        case .moved:
            reactor.counters.handshakes += 1
            if session.isResumed { reactor.counters.handshakesResumed += 1 }
            if session.applicationProtocol == .http2 { return becomeHTTP2() }
            phase = .idle
            deadline = reactor.now + node.settings.headTimeout
            updateInterest()
            // The first request may have come with the client's last message.
            readInput()
        case .wantsRead, .wantsWrite: updateInterest()
        case .ended: handshakeFailed("the client has closed")
        case .failed(let reason): handshakeFailed(reason ?? "the connection is gone")
        }
    }

    func tickHandshake(_ now: Instant) {
        // What has come is served, as on a plain connection; who has sent nothing is not waited for.
        if reactor.isDraining { shakeHands() }
        guard phase == .handshake else { return }
        if now >= deadline || reactor.isDraining && transport?.tls?.hasBegun != true { handshakeFailed("it took too long") }
    }

    private func handshakeFailed(_ reason: String) {
        reactor.counters.handshakesFailed += 1
        node.logger.log(.debug, "a TLS handshake failed", [("reason", reason), ("client", client.address.text)])
        close()
    }

    /// A TLS record starts with 22, a request with a letter of its method.
    private static func startsPlainRequest(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte & 0xDF)
    }

    /// A client that speaks HTTP to the port for https learns that in the only language it understands.
    private func refusePlainRequest() {
        transport?.becomePlain()
        reactor.counters.parseErrors += 1
        refuseRequest(.badRequest(status: 400, reason: "the plain HTTP request was sent to the HTTPS port"))
    }
}

extension HTTPStream {
    /// Sends a request that came in the clear to the listener for https (308: the method stays, RFC 9110 §15.4.9).
    ///
    /// - Returns: false when a trusted proxy says that its client has come by https.
    func redirect(toPort port: UInt16) -> Bool {
        guard !(unsafe input.withReadable { unsafe EdgeHeaders.isSecure(self, $0) }) else { return false }
        let location = unsafe withTarget { host, target -> String? in
            guard parser.head.host != nil, unsafe !host.isEmpty else { return nil }
            let authority = unsafe host.bytes.text(ByteRange(offset: 0, count: host.count))
            let path = unsafe target.bytes.text(ByteRange(offset: 0, count: target.count))
            return "https://\(authority)\(port == 443 ? "" : ":\(port)")\(path)"
        }
        guard let location else {
            exchange.mustClose = true
            answer(.badRequest(status: 400, reason: "it names no host, and can't be redirected to https"))
            return true
        }
        consumeHead()
        sendHead(status: 308, headers: [("Location", location)], bodyLength: 0)
        completeResponse()
        return true
    }
}
